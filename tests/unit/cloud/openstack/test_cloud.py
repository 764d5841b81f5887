"""What is judged before a cloud is talked to, and right after."""

from __future__ import annotations

import pytest

from poolmgr.cloud.openstack.cloud import (
    check_networks,
    check_without_network,
)
from poolmgr.cloud.openstack.topology import Network, Topology
from poolmgr.config.settings import CloudNetwork, CloudSettings, NetworkApi
from poolmgr.errors import ConfigError

NAT = Topology(
    networks={
        "x": Network(id="x", name="ext", external=True),
        "i": Network(id="i", name="inside"),
    },
)


def cloud(**more):
    return CloudSettings(name="north", **more)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (cloud(port_mode="precreate"), "port_mode precreate: there is no network service"),
        (cloud(requires_floating_ip=True), "set floating_ip_source: nova"),
    ],
)
def test_what_needs_a_network_service_is_refused_without_one(settings, words):
    with pytest.raises(ConfigError, match=f"cloud north: .*{words}"):
        check_without_network(settings)


def test_other_settings_need_no_network_service():
    check_without_network(cloud())
    check_without_network(cloud(requires_floating_ip=True, floating_ip_source=NetworkApi.NOVA))


def test_every_wrong_network_of_clouds_yaml_is_named():
    settings = cloud(networks=(CloudNetwork(name="one"), CloudNetwork(name="ext"), CloudNetwork(name="two")))
    with pytest.raises(ConfigError) as caught:
        check_networks(settings, NAT)
    assert len(caught.value.problems) == 2
    assert "network one: not found" in caught.value.problems[0]
