from __future__ import annotations

from typing import Any

import pytest

from poolmgr.errors import ConfigError
from poolmgr.simcloud.config import changed, fault_of, load
from poolmgr.simcloud.faults import FaultKind
from poolmgr.simcloud.settings import Boot, RateLimit

FILE = """
seed: 7
ssh: {port: 0, key-types: [ed25519, rsa]}
defaults: {latency: 0.02, boot: 3}
clouds:
  north:
    shape: nat
    boot: {seconds: 2.0, spread: 0.5, ssh: 0.3}
    quota: {instances: 50, floating-ips: 5}
    rate-limit: {rate: 20, retry-after: 2}
    zones: [az1, az2]
    images: [debian-12, {name: other, format: raw}]
    faults:
    - {kind: http-500, probability: 0.02}
    - {kind: error-server, name: "*-0003", times: 1}
  south: {}
"""


def test_a_whole_file(tmp_path):
    file = tmp_path / "sim.yaml"
    file.write_text(FILE)
    config = load(file)
    north, south = config.clouds
    assert config.seed == 7
    assert config.ssh.key_types == ("ed25519", "rsa")
    assert north.boot == Boot(seconds=2.0, spread=0.5, ssh=0.3)
    assert north.quota == {"instances": 50, "floating_ips": 5}
    assert north.rate_limit == RateLimit(rate=20, retry_after=2)
    assert north.zones == ("az1", "az2")
    assert [i.name for i in north.images] == ["debian-12", "other"]
    assert [f.kind for f in north.faults] == [FaultKind.HTTP_500, FaultKind.ERROR_SERVER]
    assert south.boot == Boot(seconds=3.0)
    assert south.latency == north.latency == 0.02


@pytest.mark.parametrize(
    ("cloud", "says"),
    [
        ({"shape": "round"}, "clouds.x.shape: must be one of direct"),
        ({"boots": 3}, "clouds.x: unknown boots; known: address_delay, boot"),
        ({"boot": "fast"}, "clouds.x.boot: must be a mapping"),
        ({"boot": {"seconds": "2"}}, "clouds.x.boot.seconds: must be a number, not '2'"),
        ({"boot": {"distribution": "odd"}}, "clouds.x.boot.distribution: must be one of uniform"),
        ({"quota": {"servers": 3}}, "clouds.x.quota: unknown servers; known: instances"),
        ({"quota": {"cores": None}}, "clouds.x.quota.cores: must be a number"),
        ({"latency": True}, "clouds.x.latency: must be a number"),
        ({"zones": "nova"}, "clouds.x.zones: must be a list"),
        ({"microversions": [2.1, 2.90]}, "in quotes"),
        ({"without": ["compute", "dns"]}, "clouds.x.without: unknown dns; known: compute, identity"),
        ({"without": "network"}, "clouds.x.without: must be a list"),
        ({"catalog": {"image": 7}}, "clouds.x.catalog.image: must be text"),
        ({"catalog": {"dns": "dns"}}, "clouds.x.catalog: unknown dns"),
        ({"image-api": {"methods": ["fax"]}}, "clouds.x.image_api: unknown fax; known: put"),
        ({"image-api": {"versions": ["v3"]}}, "clouds.x.image_api: unknown v3; known: v1, v2"),
        ({"image-api": {"max-bytes": "1"}}, "clouds.x.image_api.max_bytes: must be a whole number"),
        ({"object-store": {"slow": 1}}, "clouds.x.object_store: unknown slow; known: listing_limit"),
        ({"typed-addresses": "yes"}, "clouds.x.typed_addresses: must be true or false"),
        ({"security-groups": ["default"]}, "there is a `default` in any case"),
        ({"networks": [{"name": "n", "v4": "odd"}]}, "clouds.x.networks[0].v4: must be one of private"),
        ({"networks": [{"name": "n", "v6": "private"}]}, "clouds.x.networks[0].v6: must be one of mapped"),
        ({"networks": [{"name": "n", "v4": "private", "routed-to": "e"}]}, "n is routed to e, which is no"),
        ({"networks": [{"v4": "private"}]}, "clouds.x.networks[0]: "),
        ({"faults": [{"kind": "refuse", "text": "odd"}]}, "clouds.x.faults[0].text: must be one of"),
        ({"faults": [{"kind": "throttle", "header": "odd"}]}, "header: must be one of seconds, date, none"),
        ({"faults": [{"kind": "throttle", "envelope": "odd"}]}, "envelope: must be one of service, gateway"),
        ({"private": "maybe"}, "clouds.x.private: must be unreachable or loopback"),
        ({"faults": [{"kind": "flood"}]}, "clouds.x.faults[0]: kind must be one of http-500"),
        ({"faults": [{"kind": "hang", "often": 1}]}, "clouds.x.faults[0]: unknown often"),
        ([], "clouds.x: must be a mapping"),
    ],
)
def test_a_wrong_cloud_is_refused_with_its_place(cloud: Any, says: str):
    if cloud == []:
        cloud = ["x"]
    with pytest.raises(ConfigError) as caught:
        load({"clouds": {"x": cloud}})
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "there must be at least one"),
        ({"clouds": {"a/b": {}}}, "becomes part of URLs"),
        ({"clouds": {"a": {}}, "ssh": {"key-types": ["dsa"]}}, "ed25519, ecdsa, rsa are known"),
        ({"clouds": {str(n): {} for n in range(201)}}, "at most 200"),
        ({"clouds": {"a": {}}, "tls": "yes"}, "tls: must be one of self-signed"),
        ({"clouds": {"a": {"region-of": "b"}}}, "must be a cloud with a Keystone of its own"),
        ({"clouds": {"a": {}, "b": {"region-of": "a"}}}, "a has a region RegionOne already"),
    ],
)
def test_a_wrong_file_is_refused(body: dict[str, Any], says: str):
    with pytest.raises(ConfigError, match=says):
        load(body)


def test_a_file_that_is_not_yaml_is_named(tmp_path):
    file = tmp_path / "sim.yaml"
    file.write_text("clouds: [")
    with pytest.raises(ConfigError, match=r"sim\.yaml"):
        load(file)


def test_a_fault_may_name_one_operation_or_several():
    assert fault_of({"kind": "drop", "operation": "image.*"}).operations == ("image.*",)
    assert fault_of({"kind": "drop", "operations": ["a", "b"]}).operations == ("a", "b")


def test_a_running_cloud_takes_what_can_be_changed_and_keeps_the_rest():
    (cloud,) = load({"clouds": {"x": {"image-api": {"max-bytes": 5}, "page-size": 7}}}).clouds
    fresh = changed(cloud, {"image-api": {"sha512": False}, "latency": 1})
    assert (fresh.latency, fresh.page_size) == (1, 7)
    assert fresh.image_api == {"max_bytes": 5, "sha512": False}
    assert fresh.kind.image_api.max_bytes == 5
    for wrong, says in (
        ({"zones": ["a"]}, "zones cannot be changed"),
        ({"page-size": "7"}, "a whole number"),
    ):
        with pytest.raises(ConfigError, match=says):
            changed(cloud, wrong)


def test_networks_of_floating_ips_take_no_servers_unless_told():
    plans = [{"name": "a", "v4": "floating"}, {"name": "b", "v4": "floating", "pluggable": True}]
    (cloud,) = load({"clouds": {"x": {"networks": plans}}}).clouds
    assert [plan.pluggable for plan in cloud.kind.networks] == [False, True]
