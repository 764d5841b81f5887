"""Who gets a floating IP, and how long one is remembered that nova does not show."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from poolmgr.cloud.openstack.addresses import AddressRules, Roles
from poolmgr.cloud.openstack.errors import StaleName
from poolmgr.cloud.openstack.expose import KEPT, Exposer
from poolmgr.cloud.openstack.floating import Bind, NatPlan, Refuse
from poolmgr.config.settings import CloudSettings
from poolmgr.errors import OverQuota, Rejected
from poolmgr.model.server import Addresses, FloatingIp, Listing, Owner, Server, ServerStatus
from poolmgr.model.trouble import Trouble

OWNER = Owner(provider="north", node_id="7", deployment="d")
FIXED = Addresses(private_v4="10.0.0.5", fixed_v4="10.0.0.5", interface_ip="10.0.0.5")
SERVER = Server(id="s-1", name="np1", status=ServerStatus.ACTIVE, addresses=FIXED)
PLAN = NatPlan(source="x", destinations=frozenset({"i"}))


@dataclass
class FakeFloatingIps:
    """Gives `made`, or raises it."""

    made: FloatingIp | Exception | None = FloatingIp(id="f-1", address="127.0.0.1", port_id="p-1")  # noqa: RUF009
    found: NatPlan = PLAN
    given: list[tuple[str, Bind]] = field(default_factory=list)

    def plan(self) -> NatPlan:
        return self.found

    def give(self, server: Server, owner: Owner, bind: Bind) -> FloatingIp | None:
        self.given.append((server.id, bind))
        if isinstance(self.made, StaleName) and bind.source == "fresh":
            return FloatingIp(id="f-9", address="127.0.0.9", port_id="p-1")
        if isinstance(self.made, Exception):
            raise self.made
        return self.made

    def drop_caches(self) -> None:
        self.found = replace(self.found, source="fresh")

    def list(self) -> Listing[FloatingIp]:
        raise AssertionError

    def delete(self, floating_ip_id: str) -> None:
        raise AssertionError

    def release(self, server_id: str) -> None:
        raise AssertionError


def exposer(floating_ips, **settings):
    rules = AddressRules(role=Roles().role)
    return Exposer(CloudSettings(name="north", **settings), floating_ips, lambda: rules)


def test_what_was_given_is_told_before_nova_shows_it():
    giver = FakeFloatingIps()
    addresses = exposer(giver).expose(SERVER, OWNER, auto=True)
    assert (addresses.interface_ip, addresses.floating_v4, addresses.fixed_v4) == (
        *("127.0.0.1", "127.0.0.1"),
        "10.0.0.5",
    )
    assert giver.given == [("s-1", Bind("x", frozenset({"i"})))]


def test_it_is_remembered_until_nova_shows_it_or_it_is_deleted():
    giver = FakeFloatingIps()
    exposing = exposer(giver)
    first = exposing.expose(SERVER, OWNER, auto=True)
    assert exposing.expose(SERVER, OWNER, auto=True) == first
    assert len(giver.given) == 1
    exposing.forget_floating_ip("f-1")
    exposing.expose(SERVER, OWNER, auto=True)
    assert len(giver.given) == 2
    shown = Server(id="s-1", name="np1", status=ServerStatus.ACTIVE, addresses=first)
    assert exposing.expose(shown, OWNER, auto=True) == first
    exposing.expose(SERVER, OWNER, auto=True)
    assert len(giver.given) == 3


def test_of_very_many_the_oldest_are_forgotten():
    giver = FakeFloatingIps()
    exposing = exposer(giver)
    for number in range(KEPT + 1):
        server = Server(id=f"s-{number}", name="", status=ServerStatus.ACTIVE, addresses=FIXED)
        exposing.expose(server, OWNER, auto=True)
    exposing.expose(SERVER, OWNER, auto=True)  # the second of them, still known
    assert len(giver.given) == KEPT + 1
    exposing.expose(Server(id="s-0", name="", status=ServerStatus.ACTIVE, addresses=FIXED), OWNER, auto=True)
    assert len(giver.given) == KEPT + 2


@pytest.mark.parametrize(
    ("settings", "auto", "found", "made"),
    [
        ({"requires_floating_ip": False}, True, PLAN, None),
        ({}, False, PLAN, None),
        ({}, True, NatPlan(), None),
        ({}, True, PLAN, None),  # no port of it can have one
    ],
)
def test_without_a_floating_ip_the_addresses_stay(settings, auto, found, made):
    giver = FakeFloatingIps(made=made, found=found)
    assert exposer(giver, **settings).expose(SERVER, OWNER, auto=auto) == SERVER.addresses


def test_an_impossible_configuration_is_refused_with_what_to_change():
    giver = FakeFloatingIps(found=NatPlan(problem=Refuse("there are two", Trouble.SEVERAL_NAT_SOURCES)))
    with pytest.raises(
        Rejected, match="cloud north: a floating IP is needed, but there are two; set nat_source"
    ):
        exposer(giver).expose(SERVER, OWNER, auto=True)


def test_a_refusal_is_not_remembered():
    giver = FakeFloatingIps(made=OverQuota("quota"))
    exposing = exposer(giver)
    with pytest.raises(OverQuota):
        exposing.expose(SERVER, OWNER, auto=True)
    giver.made = FloatingIp(id="f-2", address="127.0.0.2", port_id="p-1")
    assert exposing.expose(SERVER, OWNER, auto=True).floating_v4 == "127.0.0.2"


def test_a_network_from_an_old_list_is_looked_up_once_more():
    giver = FakeFloatingIps(made=StaleName("Network x could not be found."))
    assert exposer(giver).expose(SERVER, OWNER, auto=True).floating_v4 == "127.0.0.9"
    assert [bind.source for _, bind in giver.given] == ["x", "fresh"]
