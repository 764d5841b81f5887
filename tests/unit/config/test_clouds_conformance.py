"""clouds.yaml as users of the OpenStack tools know it: cloud.md 1.1 to 1.7, sentence by sentence.

Each case is files, who asks for what, and what comes of it: settings, or lines that name file, line and column. Keys
are written as in clouds.yaml; `KEY from` is who set it. Where the reference does otherwise, the comment says so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import pytest

from poolmgr.config.clouds import load_clouds
from poolmgr.config.clouds_explain import effective
from poolmgr.config.problem import Severity
from poolmgr.errors import ConfigError

AUTH = (
    "auth: {auth_url: 'https://k.example/v3', username: ci, password: secret-word, project_name: ci, "
    "user_domain_name: D, project_domain_name: D}"
)
#: Keys of a case stand from line 4 on, column 5.
HEAD = f"clouds:\n  north:\n    {AUTH}\n"
LOGIN = {
    "OS_AUTH_URL": "https://e.example/v3",
    "OS_USERNAME": "env",
    "OS_PASSWORD": "secret-word",
    "OS_PROJECT_NAME": "env",
    "OS_USER_DOMAIN_NAME": "D",
    "OS_PROJECT_DOMAIN_NAME": "D",
}
APP = (
    "auth_type: v3applicationcredential\n"
    "auth: {auth_url: a, application_credential_id: i, application_credential_secret: s}"
)
USUAL = ".config/openstack/"


@dataclass(kw_only=True)
class Case:
    """`keys` are those of the cloud north beside good credentials; `files` by name, in the home directory."""

    name: str
    keys: str = ""
    files: dict[str, str] = field(default_factory=dict)
    cloud: str | None = "north"
    region: str | None = None
    env: dict[str, str] | None = None  # None: not read
    selectors: dict[str, str] = field(default_factory=dict)  # there, whether read or not
    overrides: dict[str, Any] = field(default_factory=dict)
    cwd: bool = False  # the home directory is the working directory, and searched
    named: bool = False  # the file is named, not searched for
    usual: bool = True  # there is a clouds.yaml in the user's directory, from `keys` unless `files` has one
    lasting: bool = True
    gives: dict[str, Any] = field(default_factory=dict)
    says: str | None = None  # a warning
    fails: str | None = None  # an error


def indented(keys: str) -> str:
    return "".join(f"    {line}\n" for line in keys.splitlines())


def ok(name: str, keys: str = "", **more: Any) -> Case:
    return Case(name=name, keys=keys, **more)


FILES = [
    ok("1.1 ~/.config/openstack is searched", gives={"auth_type": "password"}),
    ok(
        "1.1 the working directory comes first when it is asked for",
        files={"clouds.yaml": HEAD + "    image_format: raw\n", USUAL + "clouds.yaml": HEAD},
        cwd=True,
        gives={"image_format": "raw"},
    ),
    ok(
        "1.1 a daemon does not search the working directory",
        files={"clouds.yaml": HEAD + "    image_format: raw\n", USUAL + "clouds.yaml": HEAD},
        gives={"image_format": "qcow2"},
    ),
    ok(
        "1.1 .yaml comes before .yml, and that before .json",
        files={
            USUAL + "clouds.json": "{}",
            USUAL + "clouds.yml": HEAD + "    image_format: vhd\n",
            USUAL + "clouds.yaml": HEAD + "    image_format: raw\n",
        },
        gives={"image_format": "raw"},
    ),
    ok(
        "1.1 JSON may be indented with tabs",
        usual=False,
        files={USUAL + "clouds.json": '{\n\t"clouds": {"north": {"auth_type": "none"}}}'},
        gives={"auth_type": "none"},
    ),
    ok(
        "1.1 files of one kind are not merged",
        files={"clouds.yaml": "clouds: {south: {auth_type: none}}\n", USUAL + "clouds.yaml": HEAD},
        cwd=True,
        fails="clouds.yaml has no cloud 'north'; it has south",
    ),
    ok(
        "1.1 the kinds are searched independently",
        files={
            "secure.yaml": "clouds: {north: {auth: {password: other}}}\n",
            USUAL + "clouds.yaml": HEAD,
        },
        cwd=True,
        gives={"auth.password from": "secure.yaml:1"},
    ),
    ok(
        "1.1 OS_CLIENT_CONFIG_FILE goes first",
        files={"mine.yaml": "clouds: {north: {auth_type: none}}\n", USUAL + "clouds.yaml": HEAD},
        selectors={"OS_CLIENT_CONFIG_FILE": "~/mine.yaml"},
        gives={"auth_type": "none"},
    ),
    ok(
        "1.1 OS_CLIENT_SECURE_FILE goes first",
        files={"mine.yaml": "clouds: {north: {private: true}}\n", USUAL + "clouds.yaml": HEAD},
        selectors={"OS_CLIENT_SECURE_FILE": "~/mine.yaml"},
        gives={"private": True, "private from": "mine.yaml:1"},
    ),
    ok(
        "1.1 under a snap the home is the user's",
        files={"real/.config/openstack/clouds.yaml": HEAD},
        selectors={"SNAP_REAL_HOME": "~/real"},
        gives={"auth_type": "password"},
    ),
    # The reference goes on to the next file in each of these.
    ok(
        "1.1 a file that does not parse ends the search",
        files={"clouds.yaml": "clouds:\n  north: [\n", USUAL + "clouds.yaml": HEAD},
        cwd=True,
        fails="clouds.yaml:3:1: error: not YAML",
    ),
    ok(
        "1.1 so does a secure.yaml that does not parse",
        files={USUAL + "clouds.yaml": HEAD, USUAL + "secure.yaml": "clouds:\n\tnorth: {}\n"},
        fails="secure.yaml:2:1: error: not YAML",
    ),
    ok(
        "1.1 so does one that cannot be read",
        files={"clouds.yaml/here": "", USUAL + "clouds.yaml": HEAD},
        cwd=True,
        fails="clouds.yaml: error: cannot read the file: Is a directory",
    ),
    ok(
        "1.1 a file that is named is the only one",
        files={"clouds.yaml": HEAD, USUAL + "secure.yaml": "clouds: {north: {private: true}}\n"},
        named=True,
        gives={"private": False},
    ),
    ok(
        "1.1 no file at all",
        usual=False,
        fails=r"there is no clouds.yaml; looked for .*/.config/openstack/clouds.yaml.*/etc/openstack",
    ),
]

PUBLIC = USUAL + "clouds-public.yaml"
MERGING = [
    ok(
        "1.2 the profile lies under the cloud",
        "profile: vendor",
        files={PUBLIC: "public-clouds: {vendor: {image_format: raw}}\n"},
        gives={"image_format": "raw", "image_format from": "profile vendor, .*clouds-public.yaml:1"},
    ),
    ok(
        "1.2 the cloud covers the profile; `cloud` is the old name of `profile`",
        "cloud: vendor\nimage_format: vhd",
        files={PUBLIC: "public-clouds: {vendor: {image_format: raw}}\n"},
        gives={"image_format": "vhd", "image_format from": "clouds.yaml:5", "profile": "vendor"},
    ),
    ok(
        "1.2 profiles come with us",
        "profile: switchcloud",
        gives={"image_format": "raw", "region_name": "zhw"},
    ),
    ok(
        "1.2 a profile of the site covers ours of the same name",
        "profile: switchcloud",
        files={PUBLIC: "public-clouds: {switchcloud: {image_format: vmdk}}\n"},
        gives={"image_format": "vmdk", "region_name": None},
    ),
    ok(
        "1.2 secure.yaml covers clouds.yaml, mappings merged at every depth",
        "metrics: {statsd: {host: a, port: 1}}",
        files={USUAL + "secure.yaml": "clouds: {north: {metrics: {statsd: {port: 2}}}}\n"},
        gives={"metrics.statsd.host": "a", "metrics.statsd.port": 2},
    ),
    ok(
        "1.2 secure.yaml replaces lists",
        "networks: [{name: a}, {name: b}]",
        files={USUAL + "secure.yaml": "clouds: {north: {networks: [{name: c}]}}\n"},
        gives={"networks[0]": {"name": "c"}, "networks[1]": None},
    ),
    ok(
        "1.2 values of the region cover the cloud",
        "image_format: vhd\nregions:\n- name: R1\n  values: {image_format: iso}",
        gives={"image_format": "iso", "image_format from": "clouds.yaml:7, values of region R1"},
    ),
    ok(
        "1.2 arguments cover the region",
        "regions: [{name: R1, values: {image_format: iso}}]",
        overrides={"image-format": "raw"},
        gives={"image_format": "raw", "image_format from": "argument"},
    ),
    ok(
        "1.2 of auth the profile's keys stay",
        "profile: vendor",
        files={PUBLIC: "public-clouds: {vendor: {auth: {default_domain_id: d, username: v}}}\n"},
        gives={"auth.default_domain_id": "d", "auth.username": "ci"},
    ),
    ok(
        "1.2 of auth the cloud's keys stay under the region's",
        "regions: [{name: R1, values: {auth: {username: r}}}]",
        gives={"auth.username": "r", "auth.project_name": "ci"},
    ),
    ok(
        "1.2 of auth the region's keys stay under the arguments'",
        "regions: [{name: R1, values: {auth: {username: r}}}]",
        overrides={"auth": {"project_name": "x"}},
        gives={"auth.username": "r", "auth.project_name": "x", "auth.project_name from": "argument"},
    ),
    ok(
        "1.2 networks are replaced whole",
        "profile: vendor\nnetworks: [{name: b}]",
        files={PUBLIC: "public-clouds: {vendor: {networks: [{name: a, nat_source: true}]}}\n"},
        gives={"networks[0]": {"name": "b"}, "networks[1]": None},
    ),
    ok(
        "1.2 None of a region covers nothing",
        "image_format: raw\nregions: [{name: R1, values: {image_format: null}}]",
        gives={"image_format": "raw"},
    ),
    ok(
        "1.2 None of a caller covers nothing",
        "image_format: raw",
        overrides={"image_format": None, "auth": {"username": None}},
        gives={"image_format": "raw", "auth.username": "ci"},
    ),
    ok("1.2 - is _", "image-api-use-tasks: true", gives={"image_api_use_tasks": True}),
    ok(
        "1.2 endpoint_type is interface", "endpoint_type: internal", gives={"compute_interface": ["internal"]}
    ),
    ok("1.2 of services too", "image_endpoint-type: adminURL", gives={"image_interface": ["admin"]}),
    ok("1.2 auth_plugin is auth_type", "auth_plugin: v3password", gives={"auth_type": "v3password"}),
    ok("1.2 tenant is project", "tenant-name: t", gives={"auth.project_name": "t"}),
    ok("1.2 any _timeout is api_timeout", "socket_timeout: 9", gives={"api_timeout": 9}),
    ok("1.2 timeout is not", "timeout: 9", gives={"api_timeout": None}),
    ok(
        "1.2 a domain beside auth wins", "user_domain_name: beside", gives={"auth.user_domain_name": "beside"}
    ),
    ok("1.2 a project beside auth wins", "project_id: beside", gives={"auth.project_id": "beside"}),
    ok(
        "1.2 a token beside auth wins",
        "auth_type: token\ntoken: beside\nauth: {auth_url: a, token: within, project_id: p}",
        lasting=False,
        gives={"auth.token from": "clouds.yaml:5"},
    ),
    ok("1.2 of other options auth wins", "username: beside", gives={"auth.username": "ci"}),
    ok(
        "1.2 domain_name is shorthand for both domains of a project",
        "auth: {auth_url: 'https://k/v3', username: u, password: p, project_name: x, domain_name: D}",
        gives={"auth.user_domain_name": "D", "auth.project_domain_name": "D", "auth.domain_name": None},
    ),
    ok(
        "1.2 domain_id without a project stays the scope",
        "auth: {auth_url: a, username: u, user_domain_id: U, password: p, system_scope: all, domain_id: D}",
        gives={"auth.domain_id": "D", "auth.project_domain_id": None},
    ),
    ok(
        "1.2 {region_name} in auth_url",
        "regions: [R1, R2]\nauth_url: x\nauth: {auth_url: 'https://{region_name}.example/{x}', username: u, "
        "password: p, project_id: x, user_domain_id: d}",
        region="R2",
        gives={"auth.auth_url": "https://R2.example/{x}"},
    ),
    ok(
        "1.2 {region_name} in an endpoint_override",
        "region_name: R1\nimage_endpoint_override: 'https://{region_name}.example/%(project_id)s'",
        gives={"image_endpoint_override": "https://R1.example/%(project_id)s"},
    ),
    # The reference raises KeyError here.
    ok(
        "1.2 braces elsewhere are braces",
        "region_name: R1\nimage_format: '{raw'",
        gives={"image_format": "{raw"},
    ),
    # The reference makes texts of numbers, on which its own limiter fails.
    ok("1.2 YAML's types are kept", "rate_limit: {compute: 0.5}", gives={"rate_limit.compute": 0.5}),
]

TWO = HEAD + "  south: {auth_type: none}\n"
SELECTION = [
    ok(
        "1.3 the argument chooses",
        files={USUAL + "clouds.yaml": TWO},
        cloud="south",
        gives={"auth_type": "none"},
    ),
    ok(
        "1.3 the argument comes before OS_CLOUD",
        files={USUAL + "clouds.yaml": TWO},
        env={"OS_CLOUD": "north"},
        cloud="south",
        gives={"auth_type": "none"},
    ),
    ok(
        "1.3 OS_CLOUD comes before the cloud of the environment",
        files={USUAL + "clouds.yaml": TWO},
        env={"OS_CLOUD": "south", **LOGIN},
        cloud=None,
        gives={"auth_type": "none"},
    ),
    ok(
        "1.3 the cloud of the environment comes before the only one",
        env=LOGIN,
        cloud=None,
        gives={"auth.username": "env", "auth.username from": "environment OS_USERNAME"},
    ),
    ok("1.3 the only one", cloud=None, gives={"auth.username": "ci"}),
    ok(
        "1.3 else it is an error",
        files={USUAL + "clouds.yaml": TWO},
        cloud=None,
        fails="which cloud. .*clouds.yaml has north, south",
    ),
    ok(
        "1.3 OS_* is not read unless asked for",
        files={USUAL + "clouds.yaml": TWO},
        selectors={"OS_CLOUD": "south", **LOGIN},
        cloud=None,
        fails="which cloud",
    ),
    ok("1.3 so there is no such cloud", selectors=LOGIN, cloud="envvars", fails="has no cloud 'envvars'"),
    ok(
        "1.3 the file may ask for it",
        files={USUAL + "clouds.yaml": HEAD + "poolmgr: {env: true}\n"},
        selectors=LOGIN,
        cloud="envvars",
        gives={"auth.username": "env"},
    ),
    ok("1.3 it is named envvars", env=LOGIN, cloud="envvars", gives={"auth.username": "env"}),
    ok(
        "1.3 or as OS_CLOUD_NAME says",
        env={**LOGIN, "OS_CLOUD_NAME": "mine"},
        cloud="mine",
        gives={"auth.username": "env"},
    ),
    ok(
        "1.3 a file's cloud of that name is an error",
        env={**LOGIN, "OS_CLOUD_NAME": "north"},
        fails=r"clouds.yaml:2:3: error: clouds.north: the OS_\* variables describe a cloud of this name too",
    ),
    ok(
        "1.3 selectors and the variables of others describe no cloud",
        env={
            "OS_REGION_NAME": "R",
            "OS_CLOUD_NAME": "x",
            "OS_TEST_PATH": "t",
            "OS_STDOUT_CAPTURE": "1",
            "OS_LOG_CAPTURE": "1",
            "OS_FORCE_IPV4": "true",
        },
        cloud="x",
        fails="has no cloud 'x'",
    ),
    ok("1.3 an empty variable says nothing", env={"OS_USERNAME": ""}, cloud="envvars", fails="has no cloud"),
    ok("1.3 the environment never changes a file's cloud", env=LOGIN, gives={"auth.username": "ci"}),
    ok(
        "1.3 the region of the environment's cloud",
        env={**LOGIN, "OS_REGION_NAME": "R9"},
        cloud="envvars",
        gives={"region_name": "R9", "region_name from": "environment OS_REGION_NAME"},
    ),
    ok(
        "1.3 old names of variables",
        env={**LOGIN, "OS_TENANT_NAME": "old", "OS_ENDPOINT_TYPE": "internalURL"},
        cloud="envvars",
        gives={"auth.project_name": "env", "compute_interface": ["internal"]},
    ),
    ok(
        "1.3 what the environment lacks is told by variable",
        env={"OS_AUTH_URL": "https://e.example/v3"},
        cloud=None,
        fails="environment: error: auth: password is missing; .*; set OS_PASSWORD",
    ),
    ok("1.3 regions: a list", "regions: [R1, R2]", gives={"region_name": "R1", "regions": ["R1", "R2"]}),
    ok("1.3 regions with values", "regions: [R1, {name: R2}]", region="R2", gives={"region_name": "R2"}),
    ok(
        "1.3 region_name", "region_name: R1", gives={"region_name": "R1", "region_name from": "clouds.yaml:4"}
    ),
    ok(
        "1.3 region_name with commas is out of date",
        "region_name: R1,R2",
        region="R2",
        gives={"region_name": "R2"},
        says="clouds.yaml:4:18: warning: clouds.north.region_name: a list of regions",
    ),
    ok("1.3 else the profile's", "profile: switchcloud", region="zhc", gives={"regions": ["zhw", "zhc"]}),
    ok(
        "1.3 region_name comes before the profile's, whose values it keeps",
        "profile: limestonenetworks\nregion_name: us-slc",
        gives={"regions": ["us-slc"], "networks[1]": {"name": "Private Network (10.0.0.0/8 only)"}},
    ),
    ok(
        "1.3 a region outside of the list",
        "regions: [R1, R2]",
        region="R3",
        fails="clouds.yaml:3:5: error: clouds.north: it has no region 'R3'; allowed: R1, R2; names are case-sens",
    ),
    ok("1.3 names are case-sensitive", "regions: [R1]", region="r1", fails="allowed: R1; did you mean 'R1'"),
    ok(
        "1.3 without a list any region",
        region="Rx",
        gives={"region_name": "Rx", "region_name from": "argument"},
    ),
    ok(
        "1.3 values of a region may be any key",
        "regions: [{name: R1, values: {auth: {auth_url: 'https://r1/v3'}, private: true}}]",
        gives={"auth.auth_url": "https://r1/v3", "private": True},
    ),
]

AUTHENTICATION = [
    ok("1.4 password is the default", gives={"auth_type": "password", "auth_type from": "default"}),
    ok("1.4 none is a plugin", "auth_type: none", gives={"auth_type": "none"}),
    ok("1.4 null is none", "auth_type: null", gives={"auth_type": "none"}),
    ok("1.4 nothing is none", "auth_type: ''", gives={"auth_type": "none"}),
    ok(
        "1.4 token_endpoint is admin_token; `url` is the old name of its endpoint",
        "auth_type: token_endpoint\nauth: {url: u, token: t}",
        gives={"auth_type": "admin_token", "auth.endpoint": "u"},
    ),
    ok(
        "1.4 a plugin that is not there",
        "auth_type: v3pasword",
        fails="clouds.yaml:4:16: error: clouds.north.auth_type: no such .*found 'v3pasword'; allowed: admin_token.*"
        "did you mean 'v3password'",
    ),
    ok(
        "1.4 a plugin of keystoneauth that lacks a library",
        "auth_type: v3samlpassword",
        fails=r"no such authentication plugin is installed; .*install keystoneauth1\[saml2\]",
    ),
    ok(
        "1.4 names with - are options", "auth: {auth-url: a, user-name: u}", fails="auth: password is missing"
    ),
    ok(
        "1.4 a federated user is in no domain",
        "auth_type: v3oidcpassword\nauth: {auth_url: 'https://k/v3', identity_provider: i, protocol: p, client_id: c,"
        " discovery_endpoint: d, username: u, password: p, project_id: x}",
        gives={"auth.username": "u"},
    ),
    ok(
        "1.4 several factors bring the options of each",
        "auth_type: v3multifactor\npasscode: '123'\nauth_methods: [v3password, v3totp]",
        lasting=False,
        gives={
            "auth.auth_methods": ["v3password", "v3totp"],
            "auth.username": "ci",
            "auth.passcode": "<hidden>",
        },
    ),
    ok(
        "1.4 and want them all",
        "auth_type: v3multifactor\nauth_methods: v3password,v3totp",
        lasting=False,
        fails="passcode is missing; allowed: auth_type v3multifactor needs it",
    ),
    ok(
        "1.4 a factor that is none",
        "auth_type: v3multifactor\nauth_methods: [totp]",
        fails="clouds.yaml:5:19: error: clouds.north.auth_methods: 'totp' is no method",
    ),
    *(
        ok(
            f"1.4 a daemon refuses {plugin}",
            f"auth_type: {plugin}\n{more}",
            fails=f"clouds.yaml:3:5: error: clouds.north: auth_type {plugin} cannot renew its token",
        )
        for plugin, more in (
            ("v3totp", "passcode: '1'"),
            ("v3multifactor", "passcode: '1'\nauth_methods: [v3password, v3totp]"),
            ("token", "token: t"),
            ("v3token", "token: t"),
            ("v3websso", "identity_provider: i\nprotocol: p"),
            ("v3oidcauthcode", "code: c"),
            ("v3oidcdeviceauthz", ""),
        )
    ),
    ok(
        "1.4 unless it may",
        "auth_type: token\ntoken: t\nallow_unrenewable_auth: true",
        gives={"auth_type": "token"},
    ),
    ok("1.4 a command may", "auth_type: token\ntoken: t", lasting=False, gives={"auth_type": "token"}),
    ok(
        "1.4 two renewable factors are renewable",
        "auth_type: v3multifactor\nauth_methods: [v3password]",
        gives={"auth_type": "v3multifactor"},
    ),
    ok(
        "1.4 a profile's scope is not for an application credential",
        f"{APP}\nprofile: vendor",
        files={PUBLIC: "public-clouds: {vendor: {auth: {project_domain_id: d}}}\n"},
        gives={"auth.project_domain_id": None},
    ),
    ok(
        "1.4 nor is the environment's",
        env={
            "OS_AUTH_TYPE": "v3applicationcredential",
            "OS_AUTH_URL": "a",
            "OS_APPLICATION_CREDENTIAL_ID": "i",
            "OS_APPLICATION_CREDENTIAL_SECRET": "s",
            "OS_PROJECT_NAME": "left over",
        },
        cloud=None,
        gives={"auth.project_name": None, "auth.application_credential_secret": "<hidden>"},
    ),
    ok(
        "1.4 its own scope is refused",
        f"{APP}\nproject_id: p",
        fails="clouds.yaml:6:5: error: clouds.north.project_id: an application credential has a scope of its own",
    ),
    ok(
        "1.4 a certificate that says who we are",
        "auth_type: v3tokenlessauth",
        fails="auth_type v3tokenlessauth needs 'cert'",
    ),
    # The reference finds these out at the first call.
    *(
        ok(
            f"1.4 without {name}",
            "auth: {"
            + ", ".join(f"{k}: x" for k in ("auth_url", "username", "password", "project_id") if k != name)
            + "}",
            fails=f"clouds.yaml:4:11: error: clouds.north.auth: .*{name}.* is missing; .*neither there nor beside auth",
        )
        for name in ("auth_url", "username", "password", "project_id")
    ),
    ok(
        "1.4 system_scope is a scope",
        "auth: {auth_url: a, username: u, password: p, system_scope: all}",
        gives={"auth.system_scope": "all"},
    ),
    ok(
        "1.4 trust_id is one",
        "auth: {auth_url: a, username: u, password: p, trust_id: t}",
        gives={"auth.trust_id": "t"},
    ),
    ok(
        "1.4 secrets are hidden",
        gives={"auth.password": "<hidden>", "auth.username": "ci", "auth.auth_url": "https://k.example/v3"},
    ),
]

DEFAULTS = {
    "profile": None, "region_name": None, "regions": [], "verify": True, "cacert": None, "cert": None, "key": None,
    "api_timeout": None, "image_format": "qcow2", "image_api_use_tasks": False, "disable_vendor_agent": {},
    "floating_ip_source": "neutron", "requires_floating_ip": None, "secgroup_source": "neutron",
    "use_external_network": True, "use_internal_network": True, "private": False, "force_ipv4": False,
    "server_poll": "auto", "port_mode": "nova", "volume_mode": "nova", "image_upload_method": "auto",
    "image_content_may_change": False, "project_is_dedicated": False, "metrics.statsd.host": None,
    "metrics.statsd.port": 8125, "metrics.statsd.prefix": None, "compute_interface": ["public"],
    "has_network": True, "compute_api_version": None, "compute_default_microversion": None,
    "image_endpoint_override": None, "identity_service_type": None, "rate_limit.compute": None,
    "concurrency.compute": None, "networks[0]": None, "cache.expiration.server": None,
}  # fmt: skip
KEYS = [
    ok("1.5 defaults", gives=DEFAULTS),
    ok(
        "1.5 a prefix narrows to a service",
        "interface: internal\nimage_interface: public",
        gives={"image_interface": ["public"], "compute_interface": ["internal"]},
    ),
    ok(
        "1.5 interfaces in order",
        "interface: [internal, public]",
        gives={"compute_interface": ["internal", "public"], "compute_interface from": "clouds.yaml:4"},
    ),
    *(
        ok(
            f"1.5 {alias}_ is block_storage_",
            f"{alias}_api_version: 3",
            gives={"block_storage_api_version": "3", "block_storage_api_version from": "clouds.yaml:4"},
        )
        for alias in ("volume", "volumev2", "volumev3", "block_storage", "block-storage")
    ),
    *(
        ok(f"1.5 keys of {service}", f"{service}_service_name: n", gives={f"{service}_service_name": "n"})
        for service in ("compute", "image", "network", "object_store", "identity")
    ),
    ok(
        "1.5 2.N of compute is a microversion",
        "compute_api_version: '2.60'",
        gives={"compute_api_version": "2", "compute_default_microversion": "2.60"},
    ),
    ok(
        "1.5 which has to be quoted",
        "compute_default_microversion: 2.60",
        fails="clouds.yaml:4:35: error: .*: wrong value; found 2.6; .*; quote it: YAML cannot tell 2.6 from 2.60",
    ),
    ok(
        "1.5 service types and names",
        "database_service_type: 'rax:database'\ncompute_service_name: cloudServersOpenStack",
        gives={"compute_service_name": "cloudServersOpenStack"},
    ),
    ok(
        "1.5 verify: false beats cacert",
        "verify: false\ncacert: /nowhere",
        gives={"verify": False, "cacert": None},
        says="clouds.yaml:5:5: warning: clouds.north.cacert: certificates are not verified",
    ),
    ok(
        "1.5 insecure beats verify, and is out of date",
        "verify: true\ninsecure: true",
        gives={"verify": False, "verify from": "clouds.yaml:5"},
        says="'insecure' is out of date; use 'verify'",
    ),
    ok("1.5 ~ is the home", "cacert: ~/ca.pem", files={"ca.pem": ""}, gives={"cacert": ".*[^~]/ca.pem"}),
    ok("1.5 api_timeout", "api_timeout: 30", gives={"api_timeout": 30.0}),
    ok("1.5 retries are ours", "connect_retries: 3", says="connect_retries: this key does nothing"),
    ok("1.5 of services too", "baremetal_status_code_retries: 3", says="poolmgr decides by itself what"),
    ok("1.5 image_format may be anything", "image_format: vmdk", gives={"image_format": "vmdk"}),
    ok(
        "1.5 properties of images are texts",
        "disable_vendor_agent: {vm_mode: hvm, xenapi_use_agent: false}",
        gives={"disable_vendor_agent": {"vm_mode": "hvm", "xenapi_use_agent": "False"}},
    ),
    *(
        ok(
            f"1.5 floating_ip_source {text}",
            f"floating_ip_source: {text}",
            gives={"floating_ip_source": None, "requires_floating_ip": False},
        )
        for text in ("none", "None", "NONE", "null")
    ),
    ok("1.5 nova makes floating IPs", "floating_ip_source: Nova", gives={"floating_ip_source": "nova"}),
    ok(
        "1.5 without a source none are required",
        "floating_ip_source: none\nrequires_floating_ip: true",
        gives={"requires_floating_ip": False, "requires_floating_ip from": "clouds.yaml:4"},
    ),
    ok("1.5 secgroup_source", "secgroup_source: None", gives={"secgroup_source": None}),
    ok(
        "1.5 external_network",
        "external_network: wan",
        gives={
            "networks[0]": {
                "name": "wan",
                "routes_ipv4_externally": True,
                "routes_ipv6_externally": True,
                "default_interface": True,
            }
        },
        says="clouds.yaml:4:5: warning: clouds.north.external_network: 'external_network' is out of date",
    ),
    ok(
        "1.5 internal_network",
        "internal_network: lan",
        gives={"networks[0]": {"name": "lan", "nat_destination": True}},
    ),
    ok(
        "1.5 neither goes with networks",
        "external_network: wan\nnetworks: [{name: a}]",
        fails="clouds.yaml:4:5: error: clouds.north.external_network: cannot stand beside 'networks'",
    ),
    ok(
        "1.5 the lookup of a class can be left out",
        "use_external_network: false\nuse_internal_network: 'False'",
        gives={"use_external_network": False, "use_internal_network": False},
    ),
    ok("1.5 private", "private: true", gives={"private": True}),
    ok("1.5 force_ipv4 of a cloud", "force_ipv4: true", gives={"force_ipv4": True}),
    ok(
        "1.5 force_ipv4 of all clouds",
        files={USUAL + "clouds.yaml": HEAD + "client:\n  force_ipv4: true\n"},
        gives={"force_ipv4": True, "force_ipv4 from": "clouds.yaml:5"},
    ),
    ok(
        "1.5 prefer_ipv6",
        "prefer_ipv6: false",
        gives={"force_ipv4": True, "force_ipv4 from": "clouds.yaml:4"},
    ),
    ok("1.5 broken-ipv6", "broken-ipv6: true", gives={"force_ipv4": True}),
    ok("1.5 OS_FORCE_IPV4", env={"OS_FORCE_IPV4": "true"}, gives={"force_ipv4": True}),
    ok(
        "1.5 which a cloud covers",
        "force_ipv4: false",
        env={"OS_FORCE_IPV4": "true"},
        gives={"force_ipv4": False},
    ),
    ok("1.5 and which is not read unasked", selectors={"OS_FORCE_IPV4": "true"}, gives={"force_ipv4": False}),
    ok("1.5 has_network", "has_network: false", gives={"has_network": False, "has_compute": True}),
    ok("1.5 has_volume", "has_volume: 'false'", gives={"has_block_storage": False}),
    ok(
        "1.5 limits by service",
        "rate_limit: {compute: 2, block-storage: 1}\nconcurrency: {compute: 3}",
        gives={"rate_limit.compute": 2.0, "rate_limit.block_storage": 1.0, "concurrency.compute": 3},
    ),
    ok("1.5 limits of all", "rate_limit: 7", gives={"rate_limit.compute": 7.0, "rate_limit.image": 7.0}),
    ok(
        "1.5 cache.expiration",
        files={USUAL + "clouds.yaml": HEAD + "cache: {expiration: {server: 5, port: 6, floating-ip: 7}}\n"},
        gives={"cache.expiration.server": 5.0, "cache.expiration.floating-ip": 7.0},
    ),
    ok(
        "1.5 the rest of cache gets one notice",
        files={USUAL + "clouds.yaml": HEAD + "cache: {class: dogpile.cache.memory, max_age: 3600}\n"},
        says="clouds.yaml:4:1: warning: cache: only 'expiration' of server, port, floating-ip",
    ),
    ok(
        "1.5 metrics of a cloud cover those of the file, and these the environment's",
        "metrics: {statsd: {host: own}}",
        selectors={"STATSD_HOST": "e", "STATSD_PORT": "1", "STATSD_PREFIX": "p"},
        gives={
            "metrics.statsd.host": "own",
            "metrics.statsd.host from": "clouds.yaml:4",
            "metrics.statsd.port": 1,
            "metrics.statsd.port from": "environment STATSD_PORT",
        },
    ),
    ok("1.5 influxdb", "metrics: {influxdb: {host: h}}", says="metrics.influxdb: only statsd metrics"),
    ok("1.5 vendor_hook", "vendor_hook: a:b", says="vendor_hook: this key does nothing; code of others"),
    ok(
        "1.5 our own",
        "server_poll: full\nport_mode: precreate\nvolume_mode: precreate\nimage_upload_method: web-download\n"
        "image_content_may_change: true\nproject_is_dedicated: true",
        gives={
            "server_poll": "full",
            "port_mode": "precreate",
            "volume_mode": "precreate",
            "image_upload_method": "web-download",
            "image_content_may_change": True,
            "project_is_dedicated": True,
        },
    ),
]

FLAGS = ("nat_source", "nat_destination", "default_interface")
NETWORKS = [
    ok(
        "1.6 both families route as routes_externally says",
        "networks: [{name: n, routes_externally: true}]",
        gives={"networks[0]": {"name": "n", "routes_ipv4_externally": True, "routes_ipv6_externally": True}},
    ),
    ok(
        "1.6 unless one is named",
        "networks: [{name: n, routes_externally: true, routes_ipv4_externally: false}]",
        gives={"networks[0]": {"name": "n", "routes_ipv6_externally": True}},
    ),
    *(
        ok(
            f"1.6 {flag}",
            f"networks: [{{name: n, {flag}: true}}]",
            gives={"networks[0]": {"name": "n", flag: True}},
        )
        for flag in FLAGS
    ),
    # The reference lets two networks be nat_source.
    *(
        ok(
            f"1.6 one {flag}",
            f"networks:\n- {{name: a, {flag}: true}}\n- {{name: b, {flag}: true}}",
            fails=rf"clouds.yaml:6:\d+: error: clouds.north.networks\[1\].{flag}: network a has {flag} already",
        )
        for flag in FLAGS
    ),
    ok(
        "1.6 a name is required",
        "networks:\n- nat_source: true",
        fails=r"clouds.yaml:5:7: error: clouds.north.networks\[0\]: 'name' is missing",
    ),
    ok(
        "1.6 a text may be a boolean",
        "networks: [{name: n, nat_source: 'true'}]",
        gives={"networks[0]": {"name": "n", "nat_source": True}},
    ),
    # The reference takes it for false.
    ok(
        "1.6 but not any text",
        "networks: [{name: n, nat_source: 'yes'}]",
        fails=r"clouds.yaml:4:38: error: .*\.nat_source: wrong value; found 'yes'; allowed: true or false",
    ),
    ok(
        "1.6 an id that YAML reads as a number",
        "networks: [{name: 123}]",
        fails="name: wrong value; found 123; .*; quote it",
    ),
]

ERRORS = [
    ok(
        "1.7 unknown cloud",
        cloud="nort",
        fails="clouds.yaml has no cloud 'nort'; did you mean 'north'. it has north",
    ),
    ok(
        "1.7 regions with other keys",
        "regions: [{name: R1, vals: {}}]",
        fails=r"clouds.yaml:4:26: error: clouds.north.regions\[0\].vals: unknown key of a region; allowed: name,",
    ),
    # The reference warns, and fails later for something else.
    ok(
        "1.7 unknown profile",
        "profile: rackspce",
        fails="clouds.yaml:4:14: error: clouds.north.profile: no such vendor profile; found 'rackspce'; .*did you "
        "mean 'rackspace'",
    ),
    ok(
        "1.7 a profile of a cloud that is gone",
        "profile: hp",
        fails="clouds.yaml:4:14: error: clouds.north.profile: this cloud is gone; found 'hp'; HP's public cloud closed",
    ),
    ok(
        "1.7 a site's profile that shut down",
        "profile: vendor",
        files={PUBLIC: "public-clouds: {vendor: {status: shutdown, message: moved to Mars}}\n"},
        fails="this cloud is gone; found 'vendor'; moved to Mars",
    ),
    ok(
        "1.7 a site's profile that is deprecated",
        "profile: vendor",
        files={PUBLIC: "public-clouds: {vendor: {status: deprecated, message: moves to Mars}}\n"},
        says="clouds.yaml:4:14: warning: clouds.north.profile: .*moves to Mars",
    ),
    ok(
        "1.7 missing CA file",
        "cacert: /nowhere.pem",
        fails="clouds.yaml:4:13: error: .*cacert: there is no such file",
    ),
    ok(
        "1.7 missing key file",
        "cert: ~/c.pem\nkey: /nowhere.key",
        files={"c.pem": ""},
        fails="clouds.yaml:5:10: error: clouds.north.key: there is no such file; found '/nowhere.key'",
    ),
    # The reference passes over unknown keys; files are shared with other tools, so it takes --strict to refuse them.
    ok(
        "1.7 unknown keys",
        "floating_ip_sorce: none",
        says="clouds.yaml:4:5: warning: .*floating_ip_sorce: unknown key; did you mean 'floating_ip_source'",
    ),
    # YAML reads it as octal, and the reference takes the number.
    *(
        ok(
            f"1.7 {option} that YAML reads as a number",
            f"auth: {{auth_url: a, username: u, password: p, project_id: x, {option}: 000610275}}",
            fails=f"clouds.yaml:4:{68 + len(option)}: error: .*auth.{option}: not a text; found a number; .*quote it",
        )
        for option in ("user_domain_id", "project_domain_id", "domain_id", "user_id")
    ),
    ok(
        "1.7 a project that YAML reads as a number",
        "project_id: 000610275",
        fails="clouds.yaml:4:17: error: clouds.north.project_id: not a text; found a number; allowed: a text; quote it",
    ),
    ok(
        "1.7 a password that YAML reads as a number",
        "auth: {auth_url: a, username: u, project_id: x, password: 1234}",
        fails="clouds.yaml:4:63: error: clouds.north.auth.password: not a text; found a number; .*quote it",
    ),
    ok(
        "1.7 or as a date",
        "auth: {auth_url: a, username: u, project_id: x, password: 2024-01-02}",
        fails="clouds.yaml:4:63: error: clouds.north.auth.password: not a text; found a date; .*quote it",
    ),
]

CASES = [*FILES, *MERGING, *SELECTION, *AUTHENTICATION, *KEYS, *NETWORKS, *ERRORS]
PLUGINS = [
    "password", "v2password", "v3password", "v3applicationcredential", "v3totp", "v3multifactor", "token", "v3token",
    "none", "admin_token", "http_basic", "v3oidcpassword", "v3oidcauthcode", "v3oidcdeviceauthz", "v3websso",
    "v3tokenlessauth",
]  # fmt: skip


@pytest.fixture
def site(tmp_path):
    """Writes a case's files; gives the function that asks as the case does: (settings, lines of warnings)."""

    def ask(case: Case):
        files = dict(case.files)
        if case.usual and not any(name.endswith("clouds.yaml") for name in files):
            files[USUAL + "clouds.yaml"] = head_of(case)
        for name, text in files.items():
            file = tmp_path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        environ = {"HOME": str(tmp_path), "XDG_CONFIG_DIRS": str(tmp_path / "none")}
        environ |= {key: value.replace("~", str(tmp_path)) for key, value in case.selectors.items()}
        clouds = load_clouds(
            paths=[str(tmp_path / "clouds.yaml")] if case.named else None,
            environ=environ | (case.env or {}),
            cwd=str(tmp_path) if case.cwd else None,
            plugins=PLUGINS,
            env=case.env is not None,
            lasting=case.lasting,
        )
        name, region = clouds.chosen(case.cloud, case.region)
        settings = clouds.get(name, region, overrides=case.overrides)
        found = (*clouds.warnings, *clouds.examine(name, region, overrides=case.overrides).problems)
        return settings, [str(p) for p in found if p.severity is Severity.WARNING]

    return ask


def head_of(case: Case) -> str:
    """clouds.yaml with the case's keys; its own `auth` takes the place of the usual one."""
    if "\nauth:" in f"\n{case.keys}":
        return f"clouds:\n  north:\n    # no other login\n{indented(case.keys)}"
    return HEAD + indented(case.keys)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_conformance(site, case):
    if case.fails is not None:
        with pytest.raises(ConfigError) as caught:
            site(case)
        assert re.search(case.fails, "\n".join(caught.value.problems))
        return
    settings, warnings = site(case)
    rows = {row.key: row.value for row in effective(settings)}
    rows |= {f"{row.key} from": row.source for row in effective(settings)}
    for key, expected in case.gives.items():
        if isinstance(expected, str):
            assert re.search(
                f"{expected if '.*' in expected or ' from' in key else re.escape(expected)}$",
                str(rows.get(key)),
            ), key
        else:
            assert rows.get(key) == expected, key
    if case.says is not None:
        assert re.search(case.says, "\n".join(warnings))


def test_the_cases_are_many_and_each_has_its_name():
    names = [case.name for case in CASES]
    assert len(names) == len(set(names)) >= 60
    assert {name[:3] for name in names} == {f"1.{section}" for section in range(1, 8)}
    assert all(case.gives or case.says or case.fails for case in CASES)
