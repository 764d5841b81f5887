"""Vendor profiles: the bundled facts, whose profile counts, and vendors that publish their own."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from poolmgr.config.clouds import load_clouds
from poolmgr.config.clouds_explain import effective
from poolmgr.config.clouds_layers import read_layer
from poolmgr.config.clouds_profiles import (
    ProfileStatus,
    bundled_document,
    bundled_profiles,
    check_profile,
    read_remote,
)
from poolmgr.config.settings import CloudNetwork, NetworkApi
from poolmgr.config.shape import Spot
from poolmgr.errors import CloudUnavailable, ConfigError

LOGIN = {
    "username": "u", "password": "p", "project_id": "x", "user_domain_name": "D", "project_domain_name": "D",
}  # fmt: skip
LIVING = [name for name, p in bundled_profiles().items() if p.status is not ProfileStatus.DEAD]
DEAD = [name for name, p in bundled_profiles().items() if p.status is ProfileStatus.DEAD]
WITHOUT_REGIONS = {"infomaniak"}


class Vendors:
    """Web servers of vendors: texts by URL."""

    def __init__(self, texts):
        self.texts = texts
        self.asked = []

    def text(self, url, *, check):
        self.asked.append(url)
        if url not in self.texts:
            raise CloudUnavailable(f"{url} does not answer")
        check(self.texts[url])
        return self.texts[url]


@pytest.fixture
def clouds(tmp_path):
    """`clouds(keys)`: the clouds of a file with one cloud, north, that has these keys and a login."""

    def load(keys, *, remote=None, top=None, login=LOGIN):
        north = {"auth": login, **keys}
        (tmp_path / "clouds.yaml").write_text(json.dumps({"clouds": {"north": north}, **(top or {})}))
        return load_clouds(paths=[str(tmp_path / "clouds.yaml")], environ={"HOME": "/"}, remote=remote)

    return load


# The bundled ones
@pytest.mark.parametrize("name", LIVING)
def test_a_profile_and_a_login_are_a_cloud(clouds, name):
    login = LOGIN if name != "rackspace" else {k: v for k, v in LOGIN.items() if "domain" not in k}
    settings = clouds({"profile": name}, login=login).get("north")
    assert settings.profile == name
    assert re.fullmatch(r"https://[a-zA-Z0-9.-]+(:\d+)?(/[a-z0-9./]*)?", settings.auth["auth_url"])
    assert bool(settings.regions) is (name not in WITHOUT_REGIONS)


@pytest.mark.parametrize("name", DEAD)
def test_a_cloud_that_is_gone_is_told_with_the_message(clouds, name):
    with pytest.raises(ConfigError, match="this cloud is gone") as caught:
        clouds({"profile": name}).get("north")
    assert bundled_profiles()[name].message in str(caught.value)


def test_every_profile_passes_its_check_when_strict():
    problems = [*bundled_document().problems]
    top = Spot(bundled_document(), problems, ("public-clouds",))
    for name in bundled_profiles():
        check_profile(read_layer(top.step(name)))
    assert [str(problem) for problem in problems] == []


@pytest.mark.parametrize("profile", bundled_profiles().values(), ids=lambda profile: profile.name)
def test_every_profile_says_when_and_where_it_was_checked(profile):
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", profile.checked)
    assert profile.source
    assert profile.message or profile.status is ProfileStatus.ACTIVE
    spot = Spot(bundled_document(), [], ("public-clouds", profile.name))
    written = {"status", "message", "checked"}
    assert written <= spot.value.keys() or profile.status is ProfileStatus.ACTIVE
    assert spot.value.keys() == written or profile.status is not ProfileStatus.DEAD


# Facts that decide whether a server starts, as the specification has them (cloud.md 2)
@pytest.mark.parametrize(
    ("profile", "key", "value"),
    [
        ("catalyst", "auth.auth_url", "https://api.nz-por-1.catalystcloud.io:5000/v3"),
        ("citycloud", "requires_floating_ip", True),
        ("cleura", "auth.auth_url", "https://Buf1.citycloud.com:5000/v3/"),
        ("conoha", "identity_api_version", "2.0"),
        ("entercloudsuite", "image_api_version", "1"),
        ("otc-swiss", "auth.auth_url", "https://iam-pub.eu-ch2.sc.otc.t-systems.com/v3"),
        ("ovh", "floating_ip_source", None),
        ("ovh", "auth.user_domain_name", "D"),
        ("ovh", "rate_limit.compute", 20.0),
        ("ovh", "rate_limit.identity", 1.0),
        ("pluscloudopen", "regions", ["prod1", "prod2", "prod3", "prod4"]),
        ("rackspace", "image_format", "vhd"),
        ("rackspace", "image_api_use_tasks", True),
        ("rackspace", "floating_ip_source", None),
        ("rackspace", "secgroup_source", None),
        ("rackspace", "requires_floating_ip", False),
        ("rackspace", "has_network", False),
        ("rackspace", "compute_service_name", "cloudServersOpenStack"),
        ("rackspace", "disable_vendor_agent", {"vm_mode": "hvm", "xenapi_use_agent": "False"}),
        ("rackspace", "regions", ["DFW", "HKG", "IAD", "ORD", "SYD", "LON"]),
        ("rackspace", "block_storage_api_version", "2"),
        (
            "rackspace",
            "block_storage_endpoint_override",
            "https://DFW.blockstorage.api.rackspacecloud.com/v2/%(project_id)s",
        ),
        ("rackspace-flex", "auth.auth_url", "https://keystone.api.SJC3.rackspacecloud.com/v3"),
        ("vexxhost", "image_format", "raw"),
        ("vexxhost", "floating_ip_source", None),
    ],
)
def test_facts(clouds, profile, key, value):
    login = LOGIN if profile != "rackspace" else {k: v for k, v in LOGIN.items() if "domain" not in k}
    settings = clouds({"profile": profile}, login=login).get("north")
    assert {row.key: row.value for row in effective(settings)}.get(key) == value


def test_domains_of_a_profile_are_enough_of_them(clouds):
    login = {k: v for k, v in LOGIN.items() if "domain" not in k}
    flex = clouds({"profile": "rackspace-flex"}, login=login).get("north")
    assert flex.auth["project_domain_name"] == "rackspace_cloud_domain"


def test_networks_by_region(clouds):
    dfw, slc = (clouds({"profile": "limestonenetworks"}).get("north", r) for r in ("us-dfw-1", "us-slc"))
    assert {"DDoS Protected"} == {n.name for n in dfw.networks} - {n.name for n in slc.networks}
    assert CloudNetwork(name="Private Network (Floating Public)", nat_destination=True) in slc.networks
    assert [n.name for n in dfw.networks if n.nat_source and n.default_interface] == ["Public Internet"]


def test_a_cloud_s_own_keys_cover_the_profile(clouds):
    keys = {
        "profile": "ovh",
        "floating_ip_source": "neutron",
        "region_name": "GRA11",
        "rate_limit": {"compute": 5},
    }
    settings = clouds(keys).get("north")
    assert (settings.floating_ip_source, settings.region_name) == (NetworkApi.NEUTRON, "GRA11")
    assert (settings.service("compute").rate_limit, settings.service("image").rate_limit) == (5.0, None)


def test_the_file_is_read_only_when_a_profile_is_named():
    program = (
        "import poolmgr.wiring, poolmgr.config.clouds_profiles as p;"
        "assert p.bundled_document.cache_info().misses == 0"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


# Vendors that publish their own
URL = "https://vendor.example"
WELL_KNOWN = f"{URL}/.well-known/openstack/api"
PROFILE = {
    "name": "vendor",
    "profile": {"auth": {"auth_url": "https://k.vendor.example"}, "image_format": "raw"},
}
ALLOWED = {"poolmgr": {"remote_profiles": True}}


def test_a_vendor_is_asked_at_the_well_known_place(clouds):
    vendors = Vendors({WELL_KNOWN: json.dumps(PROFILE)})
    settings = clouds({"profile": URL + "/some/path"}, remote=vendors, top=ALLOWED).get("north")
    assert vendors.asked == [WELL_KNOWN]
    assert (settings.image_format, settings.auth["auth_url"]) == ("raw", "https://k.vendor.example")
    assert settings.origins["image_format"] == f"profile {WELL_KNOWN}"


def test_a_bundled_profile_of_the_same_name_wins(clouds):
    vendors = Vendors({WELL_KNOWN: json.dumps({**PROFILE, "name": "switchcloud"})})
    settings = clouds({"profile": URL}, remote=vendors, top=ALLOWED).get("north")
    assert settings.auth["auth_url"] == "https://identity.compute.cloud.switch.ch/v3"


def test_a_password_in_the_url_is_not_told(clouds):
    for top in (None, ALLOWED):
        with pytest.raises(ConfigError) as caught:
            clouds({"profile": "https://u:hidden-word@vendor.example"}, remote=Vendors({}), top=top).get(
                "north"
            )
        assert "hidden-word" not in "".join(caught.value.problems)


def test_nobody_is_asked_unless_the_file_allows_it(clouds):
    vendors = Vendors({WELL_KNOWN: json.dumps(PROFILE)})
    with pytest.raises(
        ConfigError, match=r"profiles of web servers are off; .*poolmgr: {remote_profiles: true}"
    ):
        clouds({"profile": URL}, remote=vendors).get("north")
    assert vendors.asked == []


def test_the_bundled_profile_of_a_url_is_named(clouds):
    with pytest.raises(ConfigError, match="write 'vexxhost' for the profile that comes with poolmgr"):
        clouds({"profile": "https://vexxhost.com"}).get("north")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://vendor.example", "not a URL like https://vendor.example"),
        ("https://user:hidden-word@vendor.example", "not a URL like https://vendor.example"),
        ("https://", "not a URL like https://vendor.example"),
        (
            "https://silent.example",
            "the profile cannot be had: .*silent.example/.well-known/openstack/api does not",
        ),
    ],
)
def test_a_vendor_that_cannot_be_asked(clouds, url, message):
    with pytest.raises(ConfigError, match=message):
        clouds({"profile": url}, remote=Vendors({}), top=ALLOWED).get("north")


def published(**keys):
    """What a vendor publishes, with more `keys` in its profile."""
    return json.dumps({"name": "v", "profile": {**PROFILE["profile"], **keys}})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<html>", "not a profile"),
        ("{", "not YAML"),
        ("[]", "not a profile"),
        (json.dumps({"profile": PROFILE["profile"]}), "not a profile"),
        (json.dumps({"name": "v", "profile": "x"}), "profile: not a mapping"),
        (json.dumps({"name": "v", "profile": {}}), "it has no auth_url"),
        (published(auth={"auth_url": "http://k"}), "auth_url: not a URL with https"),
        (published(interface="x"), "interface: wrong value"),
        (published(image_endpoint_override="http://i"), "image_endpoint_override: not a URL with https"),
        (published(regions=[{"name": "R", "values": {"networks": 5}}]), "networks: not a list"),
        (published(regions=[{"name": "R", "values": {"verify": False}}]), "verify: a vendor cannot decide"),
        (published(verify=False), "verify: a vendor cannot decide"),
        (published(insecure=True), "insecure: a vendor cannot decide"),
        (published(cacert="/etc/x"), "cacert: a vendor cannot decide"),
        (published(project_is_dedicated=True), "project_is_dedicated: a vendor cannot decide"),
    ],
)
def test_what_is_no_profile_is_refused(text, message):
    with pytest.raises(ConfigError) as caught:
        read_remote(text, WELL_KNOWN, [])
    assert re.search(message, "\n".join(caught.value.problems))
    assert WELL_KNOWN in str(caught.value)
