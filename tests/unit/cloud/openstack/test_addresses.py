"""Which address is which (cloud.md 3.9), in layouts that clouds are known to have."""

from __future__ import annotations

import pytest

from poolmgr.cloud.openstack.addresses import AddressRules, addresses_of, is_global, roles_of, with_floating
from poolmgr.cloud.openstack.topology import Network, Subnet, Topology
from poolmgr.config.settings import CloudNetwork

GLOBAL, GLOBAL2, TEN, CARRIER = "8.8.8.8", "9.9.9.9", "10.0.0.5", "100.64.0.5"
V6, ULA = "2600::5", "fd00::5"

EXTERNAL = Network(id="x", name="ext", external=True)
INSIDE = Network(id="i", name="inside")
VLAN = Network(id="v", name="vlan", physical=True)
TOPOLOGY = Topology(networks={"x": EXTERNAL, "i": INSIDE})


def ip(addr, kind="fixed", mac="aa"):
    entry = {"addr": addr, "version": 6 if ":" in addr else 4, "OS-EXT-IPS-MAC:mac_addr": mac}
    return {**entry, "OS-EXT-IPS:type": kind} if kind else entry


def rules(*configured, topology=TOPOLOGY, **flags):
    return AddressRules(role=roles_of(configured, topology).role, **flags)


def said(name, v4=False, v6=False, **more):
    return CloudNetwork(name=name, routes_ipv4_externally=v4, routes_ipv6_externally=v6, **more)


def found(addresses):
    return (addresses.public_v4, addresses.private_v4, addresses.interface_ip)


@pytest.mark.parametrize(
    ("listed", "more", "public", "private", "interface"),
    [
        ({}, {}, "", "", ""),
        ({"inside": []}, {}, "", "", ""),
        # a floating IP shows up under the fixed network's name
        ({"inside": [ip(TEN), ip("127.7.0.1", "floating")]}, {}, "127.7.0.1", TEN, "127.7.0.1"),
        # a private network alone: reachable or not, it is all there is
        ({"inside": [ip(TEN)]}, {}, "", TEN, TEN),
        # straight on an external network, whatever its range
        ({"ext": [ip("127.8.0.1")]}, {}, "127.8.0.1", "", "127.8.0.1"),
        ({"ext": [ip(GLOBAL)], "inside": [ip(TEN)]}, {}, GLOBAL, TEN, GLOBAL),
        # unknown networks: only globally routable numbers are public; 100.64/10 is not
        ({"other": [ip(GLOBAL)]}, {}, GLOBAL, "", GLOBAL),
        ({"other": [ip(CARRIER)]}, {}, "", CARRIER, CARRIER),
        # nova-network: no types, the names stand in
        ({"public": [ip("127.9.0.1", None)], "private": [ip(TEN, None)]}, {}, "127.9.0.1", TEN, "127.9.0.1"),
        # accessIPv4 is the cloud's own word for it
        ({"inside": [ip(TEN)]}, {"access_v4": GLOBAL}, GLOBAL, TEN, GLOBAL),
        # IPv6 is not connected to without a route of our own
        ({"ext": [ip(V6), ip(GLOBAL)]}, {}, GLOBAL, "", GLOBAL),
    ],
)
def test_addresses_of_common_layouts(listed, more, public, private, interface):
    assert found(addresses_of(listed, rules(), **more)) == (public, private, interface)


def test_configured_roles_win_over_what_the_cloud_tells():
    listed = {"ext": [ip(GLOBAL)], "inside": [ip(TEN)]}
    told = rules(said("inside", v4=True), said("ext"))
    assert found(addresses_of(listed, told)) == (TEN, GLOBAL, TEN)


def test_a_network_configured_by_id_is_known_by_name_too():
    assert addresses_of({"inside": [ip(TEN)]}, rules(said("i", v4=True))).public_v4 == TEN


def test_configured_external_wins_over_a_floating_ip():
    listed = {"inside": [ip(TEN), ip(GLOBAL, "floating")], "ext": [ip(GLOBAL2)]}
    assert addresses_of(listed, rules(said("ext", v4=True))).public_v4 == GLOBAL2
    assert addresses_of(listed, rules()).public_v4 == GLOBAL


def test_the_private_address_is_the_one_that_carries_the_floating_ip():
    listed = {"inside": [ip(TEN, mac="one"), ip("10.0.0.6", mac="two"), ip(GLOBAL, "floating", mac="two")]}
    addresses = addresses_of(listed, rules())
    assert (addresses.private_v4, addresses.fixed_v4) == ("10.0.0.6", "10.0.0.6")


def test_a_private_cloud_is_connected_to_from_the_inside():
    listed = {"inside": [ip(TEN), ip(GLOBAL, "floating")]}
    addresses = addresses_of(listed, rules(private=True), access_v4=GLOBAL2)
    assert (addresses.public_v4, addresses.interface_ip) == (GLOBAL, TEN)


def test_default_interface_is_connected_to_first():
    listed = {"ext": [ip(GLOBAL)], "inside": [ip(TEN)]}
    told = rules(said("inside", default_interface=True))
    assert addresses_of(listed, told).interface_ip == TEN


@pytest.mark.parametrize(
    ("flags", "interface", "public_v6"),
    [
        ({"reachable_v6": True}, V6, V6),
        ({"reachable_v6": False}, GLOBAL, V6),
        ({"reachable_v6": True, "force_ipv4": True}, GLOBAL, ""),
    ],
)
def test_ipv6_is_preferred_only_with_a_route_to_it(flags, interface, public_v6):
    addresses = addresses_of({"ext": [ip(GLOBAL), ip(V6)]}, rules(**flags))
    assert (addresses.interface_ip, addresses.public_v6) == (interface, public_v6)


def test_a_unique_local_ipv6_address_is_not_public():
    addresses = addresses_of({"inside": [ip(ULA)]}, rules(reachable_v6=True))
    assert (addresses.public_v6, addresses.private_v6, addresses.interface_ip) == ("", ULA, ULA)


def test_public_ipv6_beside_private_ipv4():
    dual = {"dual": [ip("127.1.0.5"), ip("::ffff:127.1.0.5")]}
    told = rules(said("dual", v6=True, default_interface=True), reachable_v6=True)
    addresses = addresses_of(dual, told)
    assert (addresses.public_v6, addresses.private_v4) == ("::ffff:127.1.0.5", "127.1.0.5")
    assert addresses.interface_ip == "::ffff:127.1.0.5"
    without = rules(said("dual", v6=True, default_interface=True))
    assert addresses_of(dual, without).interface_ip == "127.1.0.5"


def test_of_two_networks_with_one_name_the_subnet_tells_which_is_meant():
    twin = Topology(
        networks={
            "a": Network(id="a", name="net", external=True),
            "b": Network(id="b", name="net"),
        },
        subnets={
            "sa": Subnet(id="sa", network_id="a", cidr="127.20.0.0/16"),
            "sb": Subnet(id="sb", network_id="b", cidr="10.0.0.0/8"),
        },
    )
    addresses = addresses_of({"net": [ip(TEN), ip("127.20.0.9")]}, rules(topology=twin))
    assert (addresses.public_v4, addresses.private_v4) == ("127.20.0.9", TEN)


def test_classes_of_networks_can_be_left_to_clouds_yaml():
    roles = roles_of([], TOPOLOGY, find_external=False)
    listed = {"ext": [ip("127.8.0.1")]}
    assert addresses_of(listed, AddressRules(role=roles.role)).public_v4 == ""


@pytest.mark.parametrize(("others", "public"), [([INSIDE], "127.8.0.1"), ([], ""), ([VLAN], "")])
def test_a_physical_network_tells_of_a_provider_unless_all_networks_have_one(others, public):
    provider = Network(id="p", name="provider", physical=True)
    found = Topology(networks={network.id: network for network in (provider, *others)})
    assert addresses_of({"provider": [ip("127.8.0.1")]}, rules(topology=found)).public_v4 == public


def test_a_floating_ip_that_nova_does_not_show_yet_counts():
    before = addresses_of({"inside": [ip(TEN), ip(V6)]}, rules())
    after = with_floating(before, GLOBAL, rules())
    assert found(after) == (GLOBAL, TEN, GLOBAL)
    assert (after.floating_v4, after.fixed_v4) == (GLOBAL, TEN)
    assert with_floating(before, GLOBAL, rules(reachable_v6=True)).interface_ip == V6


def test_documentation_ranges_are_not_global():
    assert not any(map(is_global, ("192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "nonsense")))
