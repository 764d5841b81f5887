"""What is judged before a cloud is talked to, and right after."""

from __future__ import annotations

import pytest

from poolmgr.cloud.openstack.cloud import (
    check_networks,
    embeds_flavors,
    may_need_floating_ips,
    refuse_unsupported,
)
from poolmgr.cloud.openstack.topology import Network, Router, Subnet, Topology
from poolmgr.config.settings import CloudNetwork, CloudSettings, NetworkApi
from poolmgr.errors import ConfigError, NotSupported

NETWORKS = {
    "x": Network(id="x", name="ext", external=True),
    "i": Network(id="i", name="inside"),
}
FLAT = Topology(networks=NETWORKS)
NAT = Topology(
    networks=NETWORKS,
    subnets={"s": Subnet(id="s", network_id="i", cidr="10.0.0.0/24", gateway_ip="10.0.0.1")},
    routers={"r": Router(id="r", gateway_network_id="x", subnet_ids=frozenset({"s"}))},
)
TWO = Topology(networks={**NETWORKS, "y": Network(id="y", name="ext2", external=True)})


def cloud(**more):
    return CloudSettings(name="north", **more)


@pytest.mark.parametrize(
    ("settings", "topology", "may"),
    [
        (cloud(), NAT, True),
        (cloud(), FLAT, False),
        (cloud(), TWO, True),  # refused when one is needed, so it must be asked
        (cloud(), Topology(), False),
        (cloud(requires_floating_ip=True), FLAT, True),
        (cloud(requires_floating_ip=False), NAT, False),
        (cloud(floating_ip_source=None), NAT, False),
        (cloud(floating_ip_source=NetworkApi.NOVA), NAT, False),
        (cloud(private=True), NAT, False),
    ],
)
def test_clouds_in_which_floating_ips_may_come_up(settings, topology, may):
    assert may_need_floating_ips(settings, topology) is may


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        (cloud(port_mode="precreate"), "port_mode precreate"),
        (cloud(volume_mode="precreate"), "volume_mode precreate"),
        (cloud(server_poll="incremental"), "server_poll incremental"),
        (cloud(floating_ip_source=NetworkApi.NOVA, requires_floating_ip=True), "compute service"),
    ],
)
def test_settings_that_ask_for_what_is_not_done_yet(settings, word):
    with pytest.raises(NotSupported, match=f"{word}.* not supported yet"):
        refuse_unsupported(settings)


def test_other_settings_pass():
    refuse_unsupported(cloud())
    refuse_unsupported(cloud(server_poll="full", floating_ip_source=NetworkApi.NOVA))


def test_every_wrong_network_of_clouds_yaml_is_named():
    settings = cloud(networks=(CloudNetwork(name="one"), CloudNetwork(name="ext"), CloudNetwork(name="two")))
    with pytest.raises(ConfigError) as caught:
        check_networks(settings, NAT)
    assert len(caught.value.problems) == 2
    assert "network one: not found" in caught.value.problems[0]


@pytest.mark.parametrize(
    ("microversion", "embeds"),
    [(None, False), ("2.37", False), ("2.46", False), ("2.47", True), ("2.67", True)],
)
def test_listings_that_hold_the_flavor(microversion, embeds):
    assert embeds_flavors(microversion) is embeds
