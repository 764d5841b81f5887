"""What clouds.yaml, secure.yaml and clouds-public.yaml come to: a table of cases, by section of cloud.md."""

import json

import pytest

from poolmgr.config.clouds import choose, load_clouds
from poolmgr.config.settings import CloudNetwork, NetworkApi
from poolmgr.errors import ConfigError

PLUGINS = [
    "password",
    "v2password",
    "v3password",
    "v3applicationcredential",
    "v3totp",
    "v3multifactor",
    "token",
    "none",
    "admin_token",
    "http_basic",
    "v3oidcpassword",
    "v3oidcclientcredentials",
    "of_a_vendor",
]
AUTH = {
    "auth_url": "https://keystone.example/v3",
    "username": "ci",
    "password": "secret-word",
    "project_name": "ci",
    "user_domain_name": "Default",
    "project_domain_name": "Default",
}


class Files:
    """A directory of files, and the clouds they come to."""

    def __init__(self, path):
        self.path = path
        self.environ = {"HOME": str(path)}

    def write(self, name, content):
        target = self.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content if isinstance(content, str) else json.dumps(content))
        return str(target)

    def load(self, **options):
        options.setdefault("paths", [str(self.path / "clouds.yaml")])
        return load_clouds(environ=self.environ, plugins=PLUGINS, **options)

    def cloud(self, keys, region=None, *, auth=AUTH, strict=False):
        """The settings that `keys` give, in YAML or as a mapping, beside good credentials."""
        self.write("clouds.yaml", {"clouds": {"north": {"auth": auth, **keys}}})
        return self.load(strict=strict).get("north", region)

    def lines(self, keys, region=None, *, auth=AUTH, strict=False):
        """What is found in them, all lines."""
        self.write("clouds.yaml", {"clouds": {"north": {"auth": auth, **keys}}})
        found = self.load(strict=strict).examine("north", region).problems
        return "\n".join(str(problem) for problem in found)


@pytest.fixture
def files(tmp_path):
    return Files(tmp_path)


# Values as the keys give them (1.5). Each case: the cloud's keys, and what of its settings they make.
@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, {"auth_type": "password", "verify": True, "region_name": None, "image_format": "qcow2"}),
        ({"region_name": "R1"}, {"region_name": "R1", "regions": ("R1",)}),
        ({"verify": False}, {"verify": False}),
        ({"verify": "false"}, {"verify": False}),
        ({"insecure": True}, {"verify": False}),
        ({"insecure": True, "verify": True}, {"verify": False}),
        ({"insecure": False}, {"verify": True}),
        ({"verify": False, "cacert": "/nowhere.pem"}, {"verify": False, "cacert": None}),
        ({"api_timeout": 30}, {"api_timeout": 30.0}),
        ({"read_timeout": 7.5}, {"api_timeout": 7.5}),
        ({"timeout": 7}, {"api_timeout": None}),
        ({"image_format": "vhd"}, {"image_format": "vhd"}),
        ({"image-format": "raw"}, {"image_format": "raw"}),
        ({"image_api_use_tasks": "True"}, {"image_api_use_tasks": True}),
        (
            {"disable_vendor_agent": {"vm_mode": "hvm", "xenapi_use_agent": False}},
            {"disable_vendor_agent": {"vm_mode": "hvm", "xenapi_use_agent": "False"}},
        ),
        ({}, {"floating_ip_source": NetworkApi.NEUTRON, "secgroup_source": NetworkApi.NEUTRON}),
        ({"floating_ip_source": "nova"}, {"floating_ip_source": NetworkApi.NOVA}),
        ({"floating_ip_source": "none"}, {"floating_ip_source": None, "requires_floating_ip": False}),
        ({"floating_ip_source": "None"}, {"floating_ip_source": None}),
        ({"floating_ip_source": None}, {"floating_ip_source": None}),
        ({"floating_ip_source": None, "requires_floating_ip": True}, {"requires_floating_ip": False}),
        ({"requires_floating_ip": None}, {"requires_floating_ip": None}),
        ({"requires_floating_ip": True}, {"requires_floating_ip": True}),
        ({"secgroup_source": "None"}, {"secgroup_source": None}),
        ({"private": True}, {"private": True}),
        ({"force_ipv4": True}, {"force_ipv4": True}),
        ({"prefer_ipv6": False}, {"force_ipv4": True}),
        ({"prefer_ipv6": True}, {"force_ipv4": False}),
        ({"broken-ipv6": True}, {"force_ipv4": True}),
        ({"use_external_network": False}, {"use_external_network": False, "use_internal_network": True}),
        ({"server_poll": "incremental", "port_mode": "precreate"}, {"server_poll": "incremental"}),
        ({"project_is_dedicated": True}, {"project_is_dedicated": True}),
        ({"metrics": {"statsd": {"host": "s", "port": 9125}}}, {"statsd_host": "s", "statsd_port": 9125}),
        ({}, {"statsd_host": None, "statsd_port": 8125, "statsd_prefix": None}),
    ],
)
def test_keys_of_a_cloud(files, keys, expected):
    settings = files.cloud(keys)
    assert {name: getattr(settings, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("keys", "service", "expected"),
    [
        ({}, "compute", {"present": True, "interfaces": ("public",), "api_version": None}),
        ({"interface": "internal"}, "image", {"interfaces": ("internal",)}),
        ({"endpoint_type": "internalURL"}, "image", {"interfaces": ("internal",)}),
        ({"interface": ["admin", "public"]}, "image", {"interfaces": ("admin", "public")}),
        ({"interface": "internal", "image_interface": "public"}, "image", {"interfaces": ("public",)}),
        ({"interface": "internal", "image_interface": "public"}, "compute", {"interfaces": ("internal",)}),
        ({"image_endpoint_type": "admin"}, "image", {"interfaces": ("admin",)}),
        ({"identity_api_version": 3}, "identity", {"api_version": "3"}),
        ({"identity_api_version": "2.0"}, "identity", {"api_version": "2.0"}),
        ({"network_api_version": 2.0}, "network", {"api_version": "2.0"}),
        ({"image_api_version": "v2"}, "image", {"api_version": "2"}),
        ({"compute_api_version": "2"}, "compute", {"api_version": "2", "default_microversion": None}),
        ({"compute_api_version": "2.0"}, "compute", {"api_version": "2.0", "default_microversion": None}),
        ({"compute_api_version": "2.53"}, "compute", {"api_version": "2", "default_microversion": "2.53"}),
        ({"compute_api_version": 2.53}, "compute", {"api_version": "2", "default_microversion": "2.53"}),
        ({"compute_default_microversion": "2.60"}, "compute", {"default_microversion": "2.60"}),
        ({"compute_default_microversion": 2.67}, "compute", {"default_microversion": "2.67"}),
        ({"volume_api_version": "2"}, "block_storage", {"api_version": "2"}),
        ({"volumev3_service_type": "vol"}, "block_storage", {"service_type": "vol"}),
        (
            {"volume_api_version": "2", "block_storage_api_version": "3"},
            "block_storage",
            {"api_version": "3"},
        ),
        ({"compute_service_name": "cloudServers"}, "compute", {"service_name": "cloudServers"}),
        ({"has_network": False}, "network", {"present": False}),
        ({"has_volume": False}, "block_storage", {"present": False}),
        ({"has_network": False}, "compute", {"present": True}),
        (
            {"image_endpoint_override": "https://{region_name}.example/%(project_id)s", "region_name": "R1"},
            "image",
            {"endpoint_override": "https://R1.example/%(project_id)s"},
        ),
        ({"image_endpoint": "https://i.example"}, "image", {"endpoint_override": "https://i.example"}),
        ({"rate_limit": 20}, "image", {"rate_limit": 20.0, "concurrency": None}),
        ({"rate_limit": {"compute": 0.5, "image": 2}}, "compute", {"rate_limit": 0.5}),
        ({"rate_limit": {"block-storage": 3}}, "block_storage", {"rate_limit": 3.0}),
        ({"rate_limit": {"compute": 0.5}}, "image", {"rate_limit": None}),
        ({"concurrency": {"compute": 4}}, "compute", {"concurrency": 4}),
    ],
)
def test_keys_of_a_service(files, keys, service, expected):
    settings = files.cloud(keys).service(service)
    assert {name: getattr(settings, name) for name in expected} == expected


# Merging (1.2). Each case: profile, cloud, secure, region's values; what they come to.
@pytest.mark.parametrize(
    ("profile", "own", "secure", "region", "expected"),
    [
        ({"image_format": "raw"}, {}, {}, {}, {"image_format": "raw"}),
        ({"image_format": "raw"}, {"image_format": "vhd"}, {}, {}, {"image_format": "vhd"}),
        ({}, {"image_format": "raw"}, {"image_format": "vhd"}, {}, {"image_format": "vhd"}),
        (
            {},
            {"image_format": "raw"},
            {"image_format": "vhd"},
            {"image_format": "iso"},
            {"image_format": "iso"},
        ),
        ({}, {"image_format": "raw"}, {}, {"image_format": None}, {"image_format": "raw"}),
        ({}, {"image_format": "raw"}, {}, {"image-format": "vhd"}, {"image_format": "vhd"}),
        ({"floating_ip_source": "nova"}, {"floating_ip_source": None}, {}, {}, {"floating_ip_source": None}),
        (
            {"networks": [{"name": "a"}]},
            {"networks": [{"name": "b"}]},
            {},
            {},
            {"networks": (CloudNetwork(name="b"),)},
        ),
        ({}, {"networks": [{"name": "a"}]}, {}, {"networks": []}, {"networks": ()}),
        (
            {},
            {"disable_vendor_agent": {"a": "1", "b": "1"}},
            {"disable_vendor_agent": {"b": "2"}},
            {},
            {"disable_vendor_agent": {"a": "1", "b": "2"}},
        ),
        (
            {"disable_vendor_agent": {"a": "1"}},
            {"disable_vendor_agent": {"b": "2"}},
            {},
            {},
            {"disable_vendor_agent": {"b": "2"}},
        ),
    ],
)
def test_layers_cover_each_other_in_order(files, profile, own, secure, region, expected):
    files.write("clouds-public.yaml", {"public-clouds": {"vendor": profile}})
    regions = [{"name": "R1", "values": region}]
    files.write(
        "clouds.yaml", {"clouds": {"north": {"auth": AUTH, "profile": "vendor", "regions": regions, **own}}}
    )
    files.write("secure.yaml", {"clouds": {"north": secure}})
    settings = files.load().get("north")
    assert {name: getattr(settings, name) for name in expected} == expected


def without(mapping, *keys):
    return {key: value for key, value in mapping.items() if key not in keys}


NO_DOMAINS = without(AUTH, "user_domain_name", "project_domain_name")
DOMAINS = {"user_domain_name": "Default", "project_domain_name": "Default"}


# Authentication (1.2, 1.4). Each case: keys beside `auth`, `auth`, the options it comes to.
@pytest.mark.parametrize(
    ("keys", "auth", "options"),
    [
        ({}, AUTH, AUTH),
        ({}, {**without(AUTH, "project_name"), "tenant_name": "t"}, {**AUTH, "project_name": "t"}),
        ({}, {**without(AUTH, "username"), "user-name": "u"}, {**AUTH, "username": "u"}),
        ({"project_name": "beside"}, AUTH, {**AUTH, "project_name": "beside"}),
        ({"tenant_name": "beside"}, AUTH, {**AUTH, "project_name": "beside"}),
        ({"username": "beside", "password": "beside"}, AUTH, AUTH),
        ({"password": "beside"}, without(AUTH, "password"), {**AUTH, "password": "beside"}),
        (
            {"auth_url": "https://a.example/v3"},
            without(AUTH, "auth_url"),
            {**AUTH, "auth_url": "https://a.example/v3"},
        ),
        ({}, {**NO_DOMAINS, "domain_name": "Default"}, AUTH),
        ({}, {**AUTH, "domain_name": "Other"}, AUTH),
        ({"domain_id": "d"}, NO_DOMAINS, {**NO_DOMAINS, "user_domain_id": "d", "project_domain_id": "d"}),
        (
            {},
            {**NO_DOMAINS, "user_domain_name": "U", "domain_id": "d"},
            {**NO_DOMAINS, "user_domain_name": "U", "project_domain_id": "d"},
        ),
        (
            {},
            {**without(NO_DOMAINS, "project_name"), **DOMAINS, "system_scope": "all"},
            {**without(NO_DOMAINS, "project_name"), **DOMAINS, "system_scope": "all"},
        ),
        ({}, {**NO_DOMAINS, "default_domain_id": "default"}, {**NO_DOMAINS, "default_domain_id": "default"}),
        (
            {},
            {**NO_DOMAINS, "auth_url": "https://old.example/v2.0"},
            {**NO_DOMAINS, "auth_url": "https://old.example/v2.0"},
        ),
        (
            {"region_name": "R1"},
            {**AUTH, "auth_url": "https://{region_name}.example/{id}/v3"},
            {**AUTH, "auth_url": "https://R1.example/{id}/v3"},
        ),
        (
            {"auth_type": "v3applicationcredential"},
            {"auth_url": "a", "application_credential_id": "i", "application_credential_secret": "s"},
            {"auth_url": "a", "application_credential_id": "i", "application_credential_secret": "s"},
        ),
        ({"auth_type": "of_a_vendor"}, {"mutual_auth": True}, {"mutual_auth": True}),
        ({"auth_plugin": "token_endpoint"}, {"endpoint": "e", "token": "t"}, {"endpoint": "e", "token": "t"}),
        ({"auth_type": "token", "allow_unrenewable_auth": True}, {**AUTH, "token": "t"}, None),
        ({"auth_type": None}, {}, {}),
    ],
)
def test_authentication_options(files, keys, auth, options):
    found = files.cloud(keys, auth=auth).auth
    assert options is None or found == options


# What the file says of all clouds
def test_sections_of_the_whole_file(files):
    top = {
        "client": {"force_ipv4": True},
        "cache": {"expiration": {"server": 5, "floating_ip": 7, "flavor": 9}},
        "metrics": {"statsd": {"host": "all", "prefix": "p"}},
    }
    own = {"auth": AUTH, "metrics": {"statsd": {"host": "own"}}}
    files.write(
        "clouds.yaml", {"clouds": {"north": own, "south": {"auth": AUTH, "force_ipv4": False}}, **top}
    )
    files.environ |= {"STATSD_HOST": "env", "STATSD_PORT": "99"}
    north, south = (files.load().get(name) for name in ("north", "south"))
    assert (north.force_ipv4, south.force_ipv4) == (True, False)
    assert north.expiration == {"server": 5.0, "floating-ip": 7.0}
    assert (north.statsd_host, south.statsd_host) == ("own", "all")
    assert (north.statsd_port, north.statsd_prefix) == (99, "p")


# Findings (1.7). Each case: keys, auth, what a line of the findings has.
@pytest.mark.parametrize(
    ("keys", "auth", "line"),
    [
        (
            {"floating_ip_source": "neutrn"},
            AUTH,
            "floating_ip_source: wrong value; found 'neutrn'; allowed: neutron",
        ),
        ({"verify": "yes"}, AUTH, "verify: wrong value; found 'yes'; allowed: true or false"),
        ({"cacert": "/nowhere.pem"}, AUTH, "cacert: there is no such file; found '/nowhere.pem'"),
        ({"cert": "~/nowhere.pem"}, AUTH, "cert: there is no such file"),
        ({"key": "/etc/hostname"}, AUTH, "key: a client key without 'cert'"),
        ({"compute_default_microversion": 2.6}, AUTH, "quote it: YAML cannot tell 2.6 from 2.60"),
        ({"compute_api_version": 2.6}, AUTH, "quote it: YAML cannot tell 2.6 from 2.60"),
        (
            {"compute_api_version": "2.53", "compute_default_microversion": "2.67"},
            AUTH,
            "compute_api_version asks for microversion 2.53 already",
        ),
        ({"rate_limit": {"compute": "fast"}}, AUTH, "rate_limit: wrong value"),
        ({"interface": "outer"}, AUTH, "interface: wrong value; found 'outer'; allowed: public, internal"),
        ({"image_upload_method": "push"}, AUTH, "allowed: auto, put, import"),
        ({"api_timeout": 0}, AUTH, "allowed: seconds, more than 0"),
        ({"networks": [{"nat_source": True}]}, AUTH, "'name' is missing"),
        ({"networks": [{"name": "a", "nat_source": "yes"}]}, AUTH, "networks[0].nat_source: wrong value"),
        (
            {"networks": [{"name": "a", "nat_source": True}, {"name": "b", "nat_source": True}]},
            AUTH,
            "networks[1].nat_source: network a has nat_source already",
        ),
        (
            {"networks": [{"name": "a", "nat_destination": True}, {"name": "b", "nat_destination": True}]},
            AUTH,
            "network a has nat_destination already",
        ),
        (
            {
                "networks": [
                    {"name": "a", "default_interface": True},
                    {"name": "b", "default_interface": True},
                ]
            },
            AUTH,
            "network a has default_interface already",
        ),
        (
            {"networks": [{"name": "a"}, {"name": "a"}]},
            AUTH,
            "networks[1].name: this network is listed already",
        ),
        ({"networks": [{"name": "a"}], "external_network": "b"}, AUTH, "cannot stand beside 'networks'"),
        ({"regions": ["R1", {"name": "R2", "vales": {}}]}, AUTH, "regions[1].vales: unknown key of a region"),
        ({"regions": [{"values": {}}]}, AUTH, "regions[0]: a region without a name"),
        ({"regions": [1]}, AUTH, "regions[0]: a region without a name"),
        ({"regions": ["R1", "R1"]}, AUTH, "region R1 is listed twice"),
        ({"regions": "R1"}, AUTH, "regions: not a list"),
        ({"region_name": 1}, AUTH, "region_name: wrong value; found 1; allowed: a text; quote it"),
        ({"auth_type": "v3pasword"}, AUTH, "no such authentication plugin is installed; found 'v3pasword'"),
        ({"auth_type": "v3pasword"}, AUTH, "did you mean 'v3password'?"),
        ({"auth_type": "v3totp"}, AUTH, "auth_type v3totp cannot renew its token"),
        ({"auth_type": "token"}, AUTH, "auth_type token cannot renew its token"),
        (
            {"auth_type": "v3multifactor"},
            {"auth_methods": ["v3password", "v3totp"]},
            "cannot renew its token",
        ),
        ({}, without(AUTH, "password"), "north.auth: password is missing"),
        ({}, without(AUTH, "username"), "username or user_id is missing"),
        ({}, without(AUTH, "auth_url"), "auth_url is missing"),
        (
            {},
            without(AUTH, "project_name"),
            "project_id or project_name or system_scope or trust_id is missing",
        ),
        ({}, without(AUTH, "user_domain_name"), "user_domain_id or user_domain_name is missing"),
        ({}, without(AUTH, "project_domain_name"), "project_domain_id or project_domain_name is missing"),
        (
            {"auth_type": "v3applicationcredential"},
            {"auth_url": "a"},
            "application_credential_secret is missing",
        ),
        (
            {"auth_type": "v3applicationcredential"},
            {"auth_url": "a", "application_credential_id": "i", "project_name": "p"},
            "auth.project_name: an application credential has a scope of its own",
        ),
        (
            {"auth_type": "v3applicationcredential"},
            {"auth_url": "a", "application_credential_name": "i", "application_credential_secret": "s"},
            "username or user_id is missing",
        ),
        ({"auth_type": "v3oidcpassword"}, AUTH, "identity_provider is missing"),
        ({}, {**AUTH, "project_id": 200893}, "auth.project_id: not a text; found a number"),
        ({}, {**AUTH, "password": 1234}, "auth.password: not a text; found a number"),
        ({}, {**AUTH, "auth_url": "https://{region_name}.example"}, "{region_name} stands for the region"),
        ({"auth": "secret-word"}, None, "auth: not a mapping"),
        ({"profile": "ohv"}, AUTH, "profile: no such vendor profile; found 'ohv'"),
        ({"profile": "rakspace"}, AUTH, "did you mean 'rackspace'?"),
        ({"profile": 5}, AUTH, "profile: wrong value; found 5; allowed: the name of a profile"),
    ],
)
def test_errors(files, keys, auth, line):
    keys = {"auth": auth, **keys}
    assert line in files.lines(keys)
    with pytest.raises(ConfigError):
        files.cloud(keys)


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ({"floating_ip_sorce": "none"}, "floating_ip_sorce: unknown key; did you mean 'floating_ip_source'?"),
        ({"image_api_versoin": 2}, "did you mean 'image_api_version'?"),
        ({"auth": {**AUTH, "pasword": "secret-word"}}, "no such option"),
        ({"networks": [{"name": "a", "nat_sorce": True}]}, "did you mean 'nat_source'?"),
    ],
)
def test_unknown_keys_are_warned_about_and_refused_when_strict(files, keys, line):
    assert line in files.lines(keys)
    assert files.cloud(keys)
    with pytest.raises(ConfigError, match=r"unknown key|no such option"):
        files.cloud(keys, strict=True)


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ({"vendor_hook": "some:code"}, "vendor_hook: this key does nothing; code of others is not loaded"),
        ({"compute_connect_retries": 3}, "poolmgr decides by itself what may be repeated"),
        ({"default_microversion": "2.67"}, "write compute_default_microversion"),
        ({"metrics": {"influxdb": {}}}, "only statsd metrics are supported"),
        ({"insecure": True}, "'insecure' is out of date"),
        ({"verify": False, "cacert": "/x"}, "certificates are not verified, so this is not used"),
        ({"region_name": "R1,R2"}, "use 'regions'"),
        ({"image_format": "raw", "image-format": "vhd"}, "the same as 'image_format' above"),
    ],
)
def test_warnings(files, keys, line):
    assert line in files.lines(keys)
    assert files.cloud(keys)


@pytest.mark.parametrize("key", ["dns_api_version", "orchestration_interface", "has_baremetal", "app_name"])
def test_keys_of_other_tools_pass_in_silence(files, key):
    assert files.lines({key: "1"}, strict=True) == ""


def test_all_findings_come_at_once_with_file_and_line(files):
    text = (
        "clouds:\n  north:\n    auth:\n      auth_url: https://a.example/v3\n"
        "    private: maybe\n    verify: perhaps\n"
    )
    file = files.write("clouds.yaml", text)
    with pytest.raises(ConfigError) as caught:
        files.load().get("north")
    assert f"{file}:5:14: error: clouds.north.private" in caught.value.problems[-2]
    assert f"{file}:6:13: error: clouds.north.verify" in caught.value.problems[-1]
    assert len(caught.value.problems) == 5  # and who, the password, the scope


def test_secrets_are_never_shown(files):
    files.write("clouds.yaml", {"clouds": {"north": {"auth": AUTH, "token": ["secret-word"]}}})
    secure = {
        "auth": {"password": ["secret-word"], "passcode": 5},
        "verify": "secret-word",
        "cert": "secret-word",
    }
    files.write("secure.yaml", {"clouds": {"north": secure}})
    with pytest.raises(ConfigError) as caught:
        files.load().get("north")
    assert "secret-word" not in str(caught.value) + "".join(caught.value.problems)


def test_settings_can_be_printed(files):
    assert "secret-word" not in repr(files.cloud({}))


def test_a_missing_option_is_told_with_the_files_that_lack_it(files):
    secure = files.write("secure.yaml", {"clouds": {"north": {"verify": False}}})
    assert f"clouds.yaml and {secure}" in files.lines({}, auth=without(AUTH, "password"))


def test_origins_tell_where_each_key_was_set(files):
    file = files.write("clouds.yaml", "clouds:\n  north:\n    auth_type: none\n    image-format: raw\n")
    secure = files.write("secure.yaml", "clouds:\n  north:\n    auth:\n      endpoint: e\n")
    origins = files.load().get("north").origins
    assert origins == {"auth_type": f"{file}:3", "image_format": f"{file}:4", "auth.endpoint": f"{secure}:4"}


# For library and command line
@pytest.fixture
def working(files, monkeypatch):
    """A working directory with a clouds.yaml of one cloud."""
    monkeypatch.chdir(files.path)
    files.write("clouds.yaml", {"clouds": {"north": {"auth": AUTH, "regions": ["R1", "R2"]}}})
    return files


def test_choose_searches_the_working_directory(working):
    settings = choose(region="R2", environ=working.environ, overrides={"private": True})
    assert (settings.name, settings.region_name, settings.private) == ("north", "R2", True)
    assert settings.origins["region_name"] == "argument"


def test_choose_takes_the_region_of_the_environment_only_with_a_cloud_of_it(working):
    environ = {**working.environ, "OS_CLOUD": "north", "OS_REGION_NAME": "R2"}
    assert choose(env=True, environ=environ).region_name == "R2"
    assert choose("north", env=True, environ=environ).region_name == "R1"
    assert choose("north", environ=environ).region_name == "R1"


def test_choose_takes_logins_that_end_unless_they_have_to_last(working):
    overrides = {"auth_type": "token", "token": "t"}
    assert choose(environ=working.environ, overrides=overrides).auth_type == "token"
    with pytest.raises(ConfigError, match="cannot renew its token"):
        choose(environ=working.environ, overrides=overrides, lasting=True)


def test_a_wrong_argument_is_told_as_one(working):
    with pytest.raises(
        ConfigError, match=r"^argument: error: networks\[0\].nat_source: wrong value; found 'yes'"
    ):
        choose(environ=working.environ, overrides={"networks": [{"name": "a", "nat_source": "yes"}]})


def test_secrets_in_arguments_are_not_told(working):
    with pytest.raises(ConfigError) as caught:
        choose(environ=working.environ, overrides={"auth": {"password": ["secret-word"]}})
    assert "secret-word" not in "".join(caught.value.problems)


def test_warnings_are_logged_once(files, caplog):
    files.write("clouds.yaml", {"clouds": {"north": {"auth": AUTH, "privte": True}}})
    clouds = files.load()
    for _ in range(2):
        clouds.get("north")
    assert [record.message.count("did you mean 'private'?") for record in caplog.records] == [1]


# Which cloud
def test_an_unknown_cloud_is_told_with_those_that_are_known(files):
    files.cloud({})
    with pytest.raises(
        ConfigError, match=r"clouds.yaml has no cloud 'nort'; did you mean 'north'\? it has north"
    ):
        files.load().get("nort")


def test_a_broken_cloud_does_not_disturb_another(files):
    files.write("clouds.yaml", {"clouds": {"north": {"auth": AUTH}, "south": {"auth": 5, "profile": "gone"}}})
    clouds = files.load()
    assert clouds.names() == ("north", "south")
    assert clouds.all_regions() == {"north": (), "south": ()}
    assert clouds.get("north")


# Files (1.1)
HERE = {"clouds": {"here": {"auth_type": "none"}}}


def usual(files, **options):
    return load_clouds(environ=files.environ, plugins=PLUGINS, **options)


def test_the_first_file_wins_and_others_are_not_merged(files):
    files.write(".config/openstack/clouds.yml", {"clouds": {"two": {}}})
    files.write(".config/openstack/clouds.yaml", HERE)
    assert usual(files).names() == ("here",)


def test_xdg_directories_and_the_home_outside_of_a_snap_are_searched(files):
    files.write("x/openstack/clouds.yaml", HERE)
    files.environ = {"HOME": "/nonexistent", "XDG_CONFIG_HOME": str(files.path / "x")}
    assert usual(files).names() == ("here",)
    files.environ = {"HOME": "/nonexistent", "XDG_CONFIG_DIRS": f"/nonexistent:{files.path / 'x'}"}
    assert usual(files).names() == ("here",)
    files.write(".config/openstack/clouds.yaml", {"clouds": {"real": {}}})
    files.environ = {"HOME": "/nonexistent", "SNAP_REAL_HOME": str(files.path)}
    assert usual(files).names() == ("real",)


def test_a_file_named_in_the_environment_that_is_missing_is_warned_about(files):
    files.write(".config/openstack/clouds.yaml", HERE)
    files.environ["OS_CLIENT_CONFIG_FILE"] = "/nonexistent/clouds.yaml"
    (warning,) = usual(files).warnings
    assert "OS_CLIENT_CONFIG_FILE names this file" in str(warning)


def test_companions_of_a_file_that_was_named_come_from_beside_it_only(files):
    files.write(".config/openstack/secure.yaml", {"clouds": {"north": {"auth": {"password": "other"}}}})
    assert files.cloud({}).auth["password"] == "secret-word"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("clouds:\n  a: [\n", "not YAML"),
        ("clouds: 5\n", "clouds: not a mapping"),
        ("- a\n", "not a mapping"),
        ("clouds:\n  1: {}\n", "the name is no text"),
    ],
)
def test_a_file_that_cannot_be_used_ends_the_search_with_an_error(files, content, message):
    broken = files.write("work/clouds.yaml", content)
    files.write(".config/openstack/clouds.yaml", HERE)
    with pytest.raises(ConfigError, match=message) as caught:
        usual(files, cwd=str(files.path / "work"))
    assert broken in str(caught.value)


def test_no_file_at_all_is_told_when_a_cloud_is_asked_for(files):
    clouds = files.load()
    assert (clouds.file, clouds.names()) == (None, ())
    with pytest.raises(ConfigError, match=r"there is no clouds.yaml; looked for .*/clouds.yaml"):
        clouds.get("north")


def test_an_empty_file_has_no_clouds(files):
    files.write("clouds.yaml", "")
    with pytest.raises(ConfigError, match="has no cloud 'north'; it has none at all"):
        files.load().get("north")


def test_secrets_of_a_cloud_that_no_other_file_has_are_warned_about(files):
    files.write("secure.yaml", {"clouds": {"nroth": {"auth": {"password": "secret-word"}}}})
    files.cloud({})
    (warning,) = files.load().warnings
    assert "no other file has this cloud; did you mean 'north'?" in str(warning)
    assert "secret-word" not in str(warning)
