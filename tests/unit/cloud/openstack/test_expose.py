"""Binding floating IPs, and what is left when it goes wrong at each point."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from poolmgr.cloud.openstack.addresses import AddressRules, Roles
from poolmgr.cloud.openstack.errors import AlreadyBound
from poolmgr.cloud.openstack.expose import Exposer
from poolmgr.cloud.openstack.floating import GuestPort
from poolmgr.cloud.openstack.topology import Network, Router, Subnet, Topology
from poolmgr.config.settings import CloudSettings, NetworkApi
from poolmgr.errors import (
    CloudUnavailable,
    NotFound,
    NotSupported,
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

    def delete_floating_ip(self, floating_ip_id: str) -> None:
        self.calls.append(f"delete {floating_ip_id}")
        if self.deletes:
            raise self.deletes


def _or_raise(answer):
    if isinstance(answer, Exception):
        raise answer
    return answer


RULES: Callable[[], AddressRules] = lambda: AddressRules(role=Roles().role)  # noqa: E731


def exposer(networks, **settings):
    return Exposer(CloudSettings(name="north", **settings), networks, RULES)


def test_one_call_allocates_binds_and_names_the_owner():
    networks = FakeNetworks()
    addresses = exposer(networks).expose(SERVER, OWNER, auto=True)
    assert (addresses.interface_ip, addresses.floating_v4) == ("127.0.0.1", "127.0.0.1")
    assert networks.calls == ["ports", "create from x on p-1 10.0.0.5 for poolmgr:d:north:7"]


def test_what_was_bound_is_remembered_until_nova_shows_it_or_it_is_deleted():
    networks = FakeNetworks()
    giver = exposer(networks)
    first = giver.expose(SERVER, OWNER, auto=True)
    assert giver.expose(SERVER, OWNER, auto=True) == first
    assert len(networks.calls) == 2
    giver.forget_floating_ip("1")
    giver.expose(SERVER, OWNER, auto=True)
    assert len(networks.calls) == 4


def test_one_that_is_there_already_is_used_the_owners_own_first():
    networks = FakeNetworks(made=AlreadyBound("409"), there=(bound("2", OTHER), bound("3", OWNER)))
    assert exposer(networks).expose(SERVER, OWNER, auto=True).floating_v4 == "127.0.0.3"
    networks = FakeNetworks(made=AlreadyBound("409"), there=(bound("2", None),))
    assert exposer(networks).expose(SERVER, OWNER, auto=True).floating_v4 == "127.0.0.2"


def test_one_that_was_there_and_is_gone_means_try_again():
    with pytest.raises(CloudUnavailable, match="was bound, and is not now"):
        exposer(FakeNetworks(made=AlreadyBound("409"))).expose(SERVER, OWNER, auto=True)


def test_a_lost_answer_is_looked_for():
    networks = FakeNetworks(made=OutcomeUnknown("lost"), there=(bound("4"),))
    assert exposer(networks).expose(SERVER, OWNER, auto=True).floating_v4 == "127.0.0.4"


@pytest.mark.parametrize("there", [(), CloudUnavailable("503")])
def test_a_lost_answer_without_a_trace_stays_open(there):
    networks = FakeNetworks(made=OutcomeUnknown("lost"), there=there)
    with pytest.raises(OutcomeUnknown, match="lost"):
        exposer(networks).expose(SERVER, OWNER, auto=True)
    assert networks.calls[-1] == "look on p-1"


@pytest.mark.parametrize("deletes", [None, CloudUnavailable("503")])
def test_one_that_was_made_and_not_bound_is_given_up(deletes):
    networks = FakeNetworks(made=bound("5", port_id=None), deletes=deletes)
    with pytest.raises(CloudUnavailable, match="was not bound"):
        exposer(networks).expose(SERVER, OWNER, auto=True)
    assert networks.calls[-1] == "delete 5"


@pytest.mark.parametrize("error", [OverQuota("quota"), NotFound("port is gone"), Rejected("no")])
def test_refusals_leave_nothing_to_clean(error):
    networks = FakeNetworks(made=error)
    with pytest.raises(type(error)):
        exposer(networks).expose(SERVER, OWNER, auto=True)
    assert not any(call.startswith("delete") for call in networks.calls)


def test_a_server_without_ports_is_gone():
    with pytest.raises(NotFound, match="server s-1 has no port"):
        exposer(FakeNetworks(ports=())).expose(SERVER, OWNER, auto=True)


def test_a_server_elsewhere_gets_none_unless_one_is_required():
    elsewhere = (GuestPort(id="p-2", network_id="other", fixed_v4=("10.9.0.5",)),)
    assert exposer(FakeNetworks(ports=elsewhere)).expose(SERVER, OWNER, auto=True) == SERVER.addresses
    outside = (GuestPort(id="p-3", network_id="x", fixed_v4=("10.9.0.5",)),)
    required = exposer(
        FakeNetworks(ports=outside, found=Topology(networks=NAT.networks)), requires_floating_ip=True
    )
    with pytest.raises(Rejected, match="no port of server s-1 can have"):
        required.expose(SERVER, OWNER, auto=True)


def test_an_impossible_configuration_is_refused_with_what_to_change():
    two = {**NAT.networks, "y": Network(id="y", name="ext2", external=True)}
    networks = FakeNetworks(found=Topology(networks=two))
    with pytest.raises(Rejected, match="set nat_source on one in clouds"):
        exposer(networks).expose(SERVER, OWNER, auto=True)


@pytest.mark.parametrize(
    ("auto", "requires", "refused"),
    [(True, None, True), (True, True, True), (True, False, False), (False, None, False)],
)
def test_floating_ips_of_the_compute_service_are_refused_with_a_sentence(auto, requires, refused):
    giver = exposer(FakeNetworks(), floating_ip_source=NetworkApi.NOVA, requires_floating_ip=requires)
    if refused:
        with pytest.raises(NotSupported, match="compute service are not supported yet"):
            giver.expose(SERVER, OWNER, auto=auto)
    else:
        assert giver.expose(SERVER, OWNER, auto=auto) == SERVER.addresses
