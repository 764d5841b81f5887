"""Whether a server needs a floating IP (cloud.md 3.11)."""

from __future__ import annotations

import pytest

from poolmgr.cloud.openstack.floating import (
    Bind,
    GuestPort,
    Leave,
    NatPlan,
    Refuse,
    decide,
    may_come_up,
    nat_plan,
    no_need,
    pool_plan,
    port_for,
)
from poolmgr.cloud.openstack.topology import Network, Router, Subnet, Topology
from poolmgr.config.settings import CloudNetwork, CloudSettings, NetworkApi
from poolmgr.model.server import Addresses
from poolmgr.model.trouble import Trouble

EXT = Network(id="x", name="ext", external=True)
EXT2 = Network(id="y", name="ext2", external=True)
INSIDE = Network(id="i", name="inside")
OTHER = Network(id="o", name="other")


def subnet(network, **more):
    values = {"cidr": "10.0.0.0/24", "gateway_ip": "10.0.0.1", **more}
    return Subnet(id=f"s-{network.id}", network_id=network.id, **values)


def topology(networks, subnets=(), routers=()):
    return Topology(
        networks={n.id: n for n in networks},
        subnets={s.id: s for s in subnets},
        routers={r.id: r for r in routers},
    )


def router(*networks, to="x", **more):
    ids = frozenset(f"s-{network.id}" for network in networks)
    return Router(id=f"r-{to}", gateway_network_id=to, subnet_ids=ids, **more)


def cloud(**more):
    return CloudSettings(name="north", **more)


NAT = topology([EXT, INSIDE], [subnet(INSIDE)], [router(INSIDE)])
PLAN = NatPlan(source="x", destinations=frozenset({"i"}))
FIXED = Addresses(private_v4="10.0.0.5", fixed_v4="10.0.0.5", interface_ip="10.0.0.5")


@pytest.mark.parametrize(
    ("settings", "found", "plan"),
    [
        (cloud(), NAT, PLAN),
        # a network without a router to the outside
        (cloud(), topology([EXT, INSIDE], [subnet(INSIDE)]), NatPlan(source="x")),
        # a subnet without a gateway, an IPv6 subnet
        (
            cloud(),
            topology([EXT, INSIDE], [subnet(INSIDE, gateway_ip=None)], [router(INSIDE)]),
            NatPlan(source="x"),
        ),
        (
            cloud(),
            topology([EXT, INSIDE], [subnet(INSIDE, cidr="fd00::/64", ip_version=6)], [router(INSIDE)]),
            NatPlan(source="x"),
        ),
        # no external network in sight, but a router that leads to one
        (cloud(), topology([INSIDE], [subnet(INSIDE)], [router(INSIDE)]), PLAN),
        # two external networks: the one our router leads to
        (cloud(), topology([EXT, EXT2, INSIDE], [subnet(INSIDE)], [router(INSIDE)]), PLAN),
        # an external network of IPv6 only gives no floating IPs
        (
            cloud(),
            topology([EXT, INSIDE], [subnet(EXT, cidr="fd00::/64", ip_version=6), subnet(INSIDE)]),
            NatPlan(),
        ),
        (cloud(), topology([INSIDE], [subnet(INSIDE)]), NatPlan()),
        (cloud(use_external_network=False), NAT, NatPlan()),
        # configured
        (
            cloud(networks=(CloudNetwork(name="ext2", nat_source=True),)),
            topology([EXT, EXT2]),
            NatPlan(source="y"),
        ),
        (
            cloud(networks=(CloudNetwork(name="other", nat_destination=True),)),
            topology([EXT, INSIDE, OTHER], [subnet(INSIDE)], [router(INSIDE)]),
            NatPlan(source="x", destinations=frozenset({"o"})),
        ),
    ],
)
def test_what_the_networks_of_a_cloud_allow(settings, found, plan):
    assert nat_plan(settings, found) == plan


def test_several_possible_sources_are_a_problem_that_names_them():
    plan = nat_plan(cloud(), topology([EXT, EXT2, INSIDE]))
    assert plan.source is None
    assert plan.problem.message.endswith("source of floating IPs: ext (x), ext2 (y)")
    assert plan.problem.trouble is Trouble.SEVERAL_NAT_SOURCES


@pytest.mark.parametrize("flag", ["nat_source", "nat_destination"])
def test_a_configured_network_that_is_not_there_is_a_problem(flag):
    plan = nat_plan(cloud(networks=(CloudNetwork(name="gone", **{flag: True}),)), NAT)
    assert plan.problem.message.startswith(f"{flag}: network gone: not found")


@pytest.mark.parametrize(
    ("settings", "addresses", "auto", "reason"),
    [
        (cloud(floating_ip_source=None), FIXED, True, "no floating IPs"),
        (cloud(requires_floating_ip=False), FIXED, True, "requires_floating_ip is false"),
        (cloud(private=True), FIXED, True, "private"),
        (cloud(), FIXED, False, "auto-floating-ip is false"),
        (cloud(), Addresses(fixed_v4="10.0.0.5", floating_v4="127.0.0.9"), True, "has one"),
        (cloud(), Addresses(fixed_v4="127.0.0.8", public_v4="127.0.0.8"), True, "public address"),
        (cloud(), Addresses(public_v6="2600::5"), True, "no fixed IPv4"),
        (cloud(requires_floating_ip=True), Addresses(), True, "no fixed IPv4"),
    ],
)
def test_servers_that_need_none(settings, addresses, auto, reason):
    assert reason in no_need(addresses, settings, auto=auto)


@pytest.mark.parametrize("settings", [cloud(), cloud(requires_floating_ip=True)])
def test_a_fixed_private_address_alone_may_need_one(settings):
    assert no_need(FIXED, settings, auto=True) == ""


@pytest.mark.parametrize(
    ("settings", "possible"),
    [
        (cloud(), True),
        (cloud(floating_ip_source=NetworkApi.NOVA), True),
        (cloud(floating_ip_source=None), False),
        (cloud(requires_floating_ip=False), False),
        (cloud(private=True), False),
    ],
)
def test_clouds_yaml_may_rule_them_out(settings, possible):
    assert may_come_up(settings) is possible


def test_a_private_address_that_is_routed_to_a_source_gets_one():
    assert decide(cloud(), PLAN) == Bind("x", frozenset({"i"}))


def test_without_a_source_or_a_route_none_is_made():
    assert decide(cloud(), NatPlan()) == Leave("no source of floating IPs")
    routeless = decide(cloud(), NatPlan(source="x"))
    assert routeless == Leave("no network is routed to the source of floating IPs")


def test_a_required_one_is_bound_even_if_the_route_cannot_be_seen():
    assert decide(cloud(requires_floating_ip=True), NatPlan(source="x")) == Bind("x", frozenset())


def test_a_required_one_without_a_source_is_refused():
    decision = decide(cloud(requires_floating_ip=True), NatPlan())
    assert isinstance(decision, Refuse)
    assert "no external network" in decision.message


def test_an_ambiguous_source_is_refused():
    assert isinstance(decide(cloud(), NatPlan(problem=Refuse("two", Trouble.SEVERAL_NAT_SOURCES))), Refuse)


@pytest.mark.parametrize(
    ("plan", "usable"),
    [
        (PLAN, True),
        (NatPlan(source="pool", destinations=None), True),
        (
            NatPlan(problem=Refuse("two", Trouble.SEVERAL_NAT_SOURCES)),
            True,
        ),  # refused when needed
        (NatPlan(source="x"), False),
        (NatPlan(), False),
    ],
)
def test_whether_floating_ips_can_come_up_at_all(plan, usable):
    assert plan.usable is usable


@pytest.mark.parametrize(
    ("networks", "pools", "plan"),
    [
        ((), ("public",), NatPlan(source="public", destinations=None)),
        ((), (), NatPlan()),
        (
            (CloudNetwork(name="b", nat_source=True),),
            ("a", "b"),
            NatPlan(source="b", destinations=None),
        ),
    ],
)
def test_pools_of_the_compute_service(networks, pools, plan):
    assert pool_plan(cloud(networks=networks), pools) == plan


def test_a_pool_is_never_guessed():
    assert (
        "several pools that floating IPs could come from: a, b"
        in pool_plan(cloud(), ("b", "a")).problem.message
    )
    gone = cloud(networks=(CloudNetwork(name="gone", nat_source=True),))
    assert "pool gone: not found (the cloud's pools: a)" in pool_plan(gone, ("a",)).problem.message


def test_an_external_network_that_is_switched_off_is_no_source():
    off = Network(id="y", name="ext2", external=True, admin_up=False)
    assert nat_plan(cloud(), topology([EXT, off, INSIDE], [subnet(INSIDE)])).source == "x"


def test_of_the_nova_kind_any_address_can_have_one():
    assert decide(cloud(), NatPlan(source="public", destinations=None)) == Bind("public", frozenset())


def port(ident, network, *ips):
    return GuestPort(id=ident, network_id=network, fixed_v4=ips)


BIND = Bind("x", frozenset({"i"}))


@pytest.mark.parametrize(
    ("ports", "bind", "chosen"),
    [
        ([port("1", "i", "10.0.0.5")], BIND, "1"),
        ([port("1", "x", "8.8.8.8"), port("2", "i", "10.0.0.5")], BIND, "2"),
        ([port("1", "i", "10.0.0.4"), port("2", "i", "10.0.0.5")], BIND, "2"),  # the listed address
        ([port("1", "i")], BIND, None),
        ([port("1", "o", "10.1.0.5")], BIND, None),
        ([port("1", "x", "8.8.8.8"), port("2", "o", "10.1.0.5")], Bind("x", frozenset()), "2"),
        ([port("1", "unseen", "10.1.0.5")], Bind("x", frozenset()), "1"),
        ([], BIND, None),
    ],
)
def test_the_port_that_gets_it(ports, bind, chosen):
    found = port_for(ports, bind, FIXED, NAT)
    assert (found and found.id) == chosen


def test_ports_on_several_routed_networks_are_refused():
    both = Bind("x", frozenset({"i", "o"}))
    found = port_for([port("1", "i", "10.0.0.5"), port("2", "o", "10.1.0.5")], both, FIXED, NAT)
    assert isinstance(found, Refuse)
    assert "several of the server's networks could have a floating IP: i, o" in found.message
