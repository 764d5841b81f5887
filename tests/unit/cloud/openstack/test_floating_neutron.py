"""Floating IPs of the Network service, and what is left when it goes wrong at each point."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from poolmgr.cloud.openstack.errors import AlreadyBound, NoSuchApi
from poolmgr.cloud.openstack.floating import Bind, GuestPort
from poolmgr.cloud.openstack.floating_neutron import KEPT, NeutronFloatingIps
from poolmgr.cloud.openstack.topology import Network, Router, Subnet, Topology
from poolmgr.config.settings import CloudSettings
from poolmgr.errors import (
    CloudUnavailable,
    NotFound,
    OutcomeUnknown,
    OverQuota,
    Rejected,
)
from poolmgr.model.server import Addresses, FloatingIp, Owner, Server, ServerStatus

OWNER = Owner(provider="north", node_id="7", deployment="d")
OTHER = Owner(provider="north", node_id="8", deployment="d")
PORT = GuestPort(id="p-1", network_id="i", fixed_v4=("10.0.0.5",))
NAT = Topology(
    networks={
        "x": Network(id="x", name="ext", external=True),
        "i": Network(id="i", name="inside"),
    },
    subnets={"s": Subnet(id="s", network_id="i", cidr="10.0.0.0/24", gateway_ip="10.0.0.1")},
    routers={"r": Router(id="r", gateway_network_id="x", subnet_ids=frozenset({"s"}))},
)
SERVER = Server(
    id="s-1",
    name="np1",
    status=ServerStatus.ACTIVE,
    addresses=Addresses(private_v4="10.0.0.5", fixed_v4="10.0.0.5", interface_ip="10.0.0.5"),
)


def bound(ident: str, owner: Owner | None = OWNER, port_id: str | None = "p-1") -> FloatingIp:
    return FloatingIp(id=ident, address=f"127.0.0.{ident}", port_id=port_id, owner=owner)


@dataclass
class FakeNetworks:
    """Answers as told; an exception is raised."""

    ports: tuple[GuestPort, ...] = (PORT,)
    made: FloatingIp | Exception = field(default_factory=lambda: bound("1"))
    there: tuple[FloatingIp, ...] | Exception = ()
    seen: FloatingIp | Exception = field(default_factory=lambda: NotFound("gone"))
    deletes: Exception | None = None
    calls: list[str] = field(default_factory=list)
    found: Topology = field(default_factory=lambda: NAT)

    def topology(self) -> Topology:
        return self.found

    def guest_ports(self, server_id: str) -> tuple[GuestPort, ...]:
        self.calls.append("ports")
        return self.ports

    def create_floating_ip(self, source: str, port_id: str, fixed_v4: str, tag: str) -> FloatingIp:
        self.calls.append(f"create from {source} on {port_id} {fixed_v4} for {tag}")
        return _or_raise(self.made)

    def floating_ips_on(self, port_id: str) -> tuple[FloatingIp, ...]:
        self.calls.append(f"look on {port_id}")
        return _or_raise(self.there)

    def floating_ip(self, floating_ip_id: str) -> FloatingIp:
        self.calls.append(f"look at {floating_ip_id}")
        return _or_raise(self.seen)

    def delete_floating_ip(self, floating_ip_id: str) -> None:
        self.calls.append(f"delete {floating_ip_id}")
        if self.deletes:
            raise self.deletes


def _or_raise(answer):
    if isinstance(answer, Exception):
        raise answer
    return answer


BIND = Bind("x", frozenset({"i"}))


def give(networks, *, bind=BIND, **settings):
    return NeutronFloatingIps(CloudSettings(name="north", **settings), networks).give(SERVER, OWNER, bind)


def test_one_call_allocates_binds_and_names_the_owner():
    networks = FakeNetworks()
    assert give(networks) == bound("1")
    assert networks.calls == ["ports", "create from x on p-1 10.0.0.5 for poolmgr:d:north:7"]


def test_ports_that_were_made_before_the_server_are_not_asked_for():
    networks = FakeNetworks(ports=())
    giver = NeutronFloatingIps(CloudSettings(name="north"), networks)
    giver.learn_ports("s-1", (PORT,))
    assert giver.give(SERVER, OWNER, BIND) == bound("1")
    assert networks.calls == ["create from x on p-1 10.0.0.5 for poolmgr:d:north:7"]
    giver.release("s-1")
    with pytest.raises(NotFound):
        giver.give(SERVER, OWNER, BIND)


def test_of_very_many_servers_the_oldest_ports_are_forgotten():
    networks = FakeNetworks(ports=())
    giver = NeutronFloatingIps(CloudSettings(name="north"), networks)
    giver.learn_ports("s-1", (PORT,))
    for number in range(KEPT):
        giver.learn_ports(f"other-{number}", (PORT,))
    with pytest.raises(NotFound):
        giver.give(SERVER, OWNER, BIND)


def test_one_that_is_there_already_is_used_the_owners_own_first():
    networks = FakeNetworks(made=AlreadyBound("409"), there=(bound("2", OTHER), bound("3", OWNER)))
    assert give(networks) == bound("3", OWNER)
    networks = FakeNetworks(made=AlreadyBound("409"), there=(bound("2", None),))
    assert give(networks) == bound("2", None)


def test_one_that_was_there_and_is_gone_means_try_again():
    with pytest.raises(CloudUnavailable, match="was bound, and is not now"):
        give(FakeNetworks(made=AlreadyBound("409")))


def test_a_lost_answer_is_looked_for():
    assert give(FakeNetworks(made=OutcomeUnknown("lost"), there=(bound("4"),))) == bound("4")


@pytest.mark.parametrize("there", [(), CloudUnavailable("503")])
def test_a_lost_answer_without_a_trace_stays_open(there):
    networks = FakeNetworks(made=OutcomeUnknown("lost"), there=there)
    with pytest.raises(OutcomeUnknown, match="lost"):
        give(networks)
    assert networks.calls[-1] == "look on p-1"


def test_one_that_was_not_bound_in_the_answer_is_looked_at_once_more():
    networks = FakeNetworks(made=bound("5", port_id=None), seen=bound("5"))
    assert give(networks) == bound("5")
    assert networks.calls[-1] == "look at 5"


@pytest.mark.parametrize("seen", [bound("5", port_id=None), bound("5", port_id="p-9"), NotFound("gone")])
@pytest.mark.parametrize("deletes", [None, CloudUnavailable("503")])
def test_one_that_was_made_and_not_bound_or_stolen_is_given_up(seen, deletes):
    networks = FakeNetworks(made=bound("5", port_id="p-9"), seen=seen, deletes=deletes)
    with pytest.raises(CloudUnavailable, match="was not bound"):
        give(networks)
    assert networks.calls[-1] == "delete 5"


@pytest.mark.parametrize("error", [OverQuota("quota"), NotFound("port is gone"), Rejected("no")])
def test_refusals_leave_nothing_to_clean(error):
    networks = FakeNetworks(made=error)
    with pytest.raises(type(error)):
        give(networks)
    assert not any(call.startswith("delete") for call in networks.calls)


def test_a_service_without_floating_ips_is_told_with_what_to_set():
    with pytest.raises(Rejected, match="set floating_ip_source: nova"):
        give(FakeNetworks(made=NoSuchApi("404")))


def test_a_server_without_ports_is_gone():
    with pytest.raises(NotFound, match="server s-1 has no port"):
        give(FakeNetworks(ports=()))


def test_a_server_elsewhere_gets_none_unless_one_is_required():
    elsewhere = (GuestPort(id="p-2", network_id="other", fixed_v4=("10.9.0.5",)),)
    assert give(FakeNetworks(ports=elsewhere)) is None
    outside = (GuestPort(id="p-3", network_id="x", fixed_v4=("10.9.0.5",)),)
    networks = FakeNetworks(ports=outside, found=Topology(networks=NAT.networks))
    with pytest.raises(Rejected, match="no port of server s-1 can have"):
        give(networks, bind=Bind("x", frozenset()), requires_floating_ip=True)
