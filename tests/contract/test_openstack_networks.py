"""Networks of every kind, over HTTP: which a server gets, whether with a floating IP, and which address counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from poolmgr.cloud.openstack.addresses import is_global
from poolmgr.config.settings import CloudNetwork
from poolmgr.errors import ConfigError, NoCapacity, OutcomeUnknown, OverQuota, Rejected
from poolmgr.model.server import Addresses, ServerStatus
from tests.contract.clouds import OWNER, CallsOf, Stage, clouds

EXT = {"name": "ext", "v4": "floating", "external": True}
INSIDE = {"name": "inside", "v4": "private", "routed-to": "ext"}


@pytest.fixture
def cloud() -> Iterator[Callable[..., Stage]]:
    """A cloud with these networks, and `settings` of clouds.yaml."""
    with ExitStack() as stack:

        def make(*networks: dict[str, Any], settings: dict[str, Any] | None = None, **more: Any) -> Stage:
            _, login = stack.enter_context(clouds("nat", networks=list(networks), **more))
            return login(settings=settings or {})

        yield make


def addressed(stage: Stage, **spec: Any) -> Addresses:
    """The addresses of a new server."""
    return stage.cloud.expose(stage.boot(**spec), owner=OWNER, auto_floating_ip=True)


# -- which networks a server gets ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"name": "bare"}, r"bare .*no subnet"),
        ({"name": "off", "v4": "private", "admin_state_up": False}, r"off.*admin_state_up"),
    ],
)
def test_a_network_that_gives_no_address_is_refused_before_anything_is_made(cloud, wrong, words):
    stage = cloud(EXT, INSIDE, wrong)
    with pytest.raises(Rejected, match=words):
        stage.cloud.create_server(stage.spec(networks=(wrong["name"],)))
    assert stage.far.calls["compute.POST.servers"] == 0
    assert addressed(stage).private_v4  # unless it is named it does not count


def test_of_several_networks_one_has_to_be_named(cloud):
    other = {"name": "other", "v4": "private"}
    stage = cloud(EXT, INSIDE, other)
    with pytest.raises(Rejected, match=r"inside \(.*other \("):
        stage.cloud.create_server(stage.spec())
    assert stage.far.calls["compute.POST.servers"] == 0
    assert addressed(stage, networks=("inside",)).floating_v4
    chosen = cloud(
        EXT, INSIDE, other, settings={"networks": (CloudNetwork(name="other", default_interface=True),)}
    )
    assert addressed(chosen).floating_v4 == ""


def test_two_networks_of_one_name_are_told_apart_by_id(cloud):
    stage = cloud(EXT, INSIDE, {"name": "inside", "v4": "private"})
    with pytest.raises(Rejected, match=r"inside.*use (an id|one of the ids)"):
        stage.cloud.create_server(stage.spec(networks=("inside",)))
    ids = [n.id for n in stage.far.networking.networks.values() if n.name == "inside"]
    server = stage.boot(networks=(ids[1],))
    with stage.far.lock:
        (port,) = stage.far.networking.ports_of(server.id)
    assert port.network_id == ids[1]


def test_groups_are_left_out_where_port_security_is_off(cloud):
    stage = cloud(EXT, {**INSIDE, "port_security": False}, security_groups=["web"])
    server = stage.boot(security_groups=("web",))
    with stage.far.lock:
        assert "web" not in stage.far.compute.servers[server.id].security_groups


def test_groups_go_on_those_ports_that_can_have_them(cloud):
    networks = (EXT, INSIDE, {"name": "open", "v4": "private", "port_security": False})
    both = {"networks": ("inside", "open"), "security_groups": ("web",)}
    stage = cloud(*networks, security_groups=["web"])
    with pytest.raises(Rejected, match="cannot be applied on network open"):
        stage.cloud.create_server(stage.spec(**both))
    ahead = cloud(*networks, security_groups=["web"], settings={"port_mode": "precreate"})
    assert ahead.boot(**both).status is ServerStatus.ACTIVE


def test_two_security_groups_of_one_name_are_told_apart_by_id(cloud):
    stage = cloud(EXT, INSIDE, security_groups=["web", "web"])
    with pytest.raises(Rejected, match=r"web.*use (an id|one of the ids)"):
        stage.cloud.create_server(stage.spec(security_groups=("web",)))
    group = next(g for g in stage.far.networking.groups.values() if g.name == "web")
    assert stage.boot(security_groups=(group.id,)).id


# -- whether it gets a floating IP -----------------------------------------------------------------------

EXT2 = {"name": "ext2", "v4": "floating", "external": True}


def test_of_two_external_networks_the_one_that_is_routed_to_counts(cloud):
    stage = cloud(EXT, EXT2, INSIDE)
    assert stage.world.guest_at(addressed(stage).floating_v4) is not None


OTHER = {"name": "other", "v4": "private", "routed-to": "ext2"}


def test_two_sources_of_floating_ips_are_never_chosen_from_by_chance(cloud):
    stage = cloud(EXT, EXT2, INSIDE, OTHER)
    server = stage.boot(networks=("inside",))
    with pytest.raises(Rejected, match=r"ext \(.*ext2 \("):
        stage.cloud.expose(server, owner=OWNER, auto_floating_ip=True)
    assert stage.counts()["floating_ips"] == 0
    assert stage.cloud.expose(server, owner=OWNER, auto_floating_ip=False) == server.addresses
    named = cloud(
        EXT, EXT2, INSIDE, OTHER, settings={"networks": (CloudNetwork(name="ext", nat_source=True),)}
    )
    assert addressed(named, networks=("inside",)).floating_v4


def test_where_floating_ips_are_required_two_sources_are_an_error_at_the_start(cloud):
    stage = cloud(EXT, EXT2, INSIDE, OTHER, settings={"requires_floating_ip": True})
    with pytest.raises(ConfigError, match=r"ext \(.*ext2 \("):
        stage.cloud.connect()


def test_of_two_networks_of_a_server_the_routed_one_gets_it(cloud):
    stage = cloud(EXT, INSIDE, {"name": "storage", "v4": "cgnat"})
    addresses = addressed(stage, networks=("storage", "inside"))
    assert stage.world.guest_at(addresses.floating_v4) is not None


def test_two_routed_networks_of_a_server_are_never_chosen_from_by_chance(cloud):
    networks = (EXT, INSIDE, {"name": "second", "v4": "private", "routed-to": "ext"})
    stage = cloud(*networks)
    server = stage.boot(networks=("inside", "second"))
    with pytest.raises(Rejected, match="nat_destination"):
        stage.cloud.expose(server, owner=OWNER, auto_floating_ip=True)
    chosen = cloud(*networks, settings={"networks": (CloudNetwork(name="second", nat_destination=True),)})
    server = chosen.boot(networks=("inside", "second"))
    addresses = chosen.cloud.expose(server, owner=OWNER, auto_floating_ip=True)
    (found,) = chosen.cloud.list_floating_ips().items.values()
    with chosen.far.lock:
        port = chosen.far.networking.ports[found.port_id]
        assert chosen.far.networking.networks[port.network_id].name == "second"
    assert addresses.floating_v4 == found.address


def test_a_subnet_without_a_gateway_is_routed_nowhere(cloud):
    stage = cloud(EXT, {**INSIDE, "gateway": False})
    addresses = addressed(stage)
    assert (addresses.floating_v4, addresses.interface_ip) == ("", addresses.private_v4)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"kind": "quota", "operations": ["network.POST.floatingips"]}, OverQuota),
        ({"kind": "refuse", "text": "no-external-address"}, NoCapacity),
        ({"kind": "refuse", "text": "no-route"}, Rejected),
        ({"kind": "http-503"}, OutcomeUnknown),
        ({"kind": "missing"}, Rejected),  # no such API: told to set floating_ip_source
    ],
)
def test_a_floating_ip_that_cannot_be_had_leaves_nothing(cloud, fault, error):
    stage = cloud(EXT, INSIDE)
    server = stage.boot()
    stage.strike(fault["kind"], operations=["network.POST.floatingips"], text=fault.get("text", ""))
    with pytest.raises(error):
        stage.cloud.expose(server, owner=OWNER, auto_floating_ip=True)
    assert stage.counts()["floating_ips"] == 0


def test_a_floating_ip_that_stays_down_is_not_waited_for(cloud):
    stage = cloud(EXT, INSIDE)
    stage.strike("down-floating-ip")
    server, began = stage.boot(), stage.clock.monotonic()
    assert stage.cloud.expose(server, owner=OWNER, auto_floating_ip=True).floating_v4
    assert stage.clock.monotonic() == began


def test_a_floating_ip_that_the_cloud_keeps_is_still_listed_and_can_be_deleted_again(cloud):
    stage = cloud(EXT, INSIDE)
    addressed(stage)
    (found,) = stage.cloud.list_floating_ips().items.values()
    stage.strike("ignored-delete", operations=["network.DELETE.floatingip"], times=1)
    stage.cloud.delete_floating_ip(found.id)
    assert found.id in stage.cloud.list_floating_ips().items
    stage.cloud.delete_floating_ip(found.id)
    assert stage.cloud.list_floating_ips().items == {}


def test_a_floating_ip_that_was_stolen_is_told_by_the_list(cloud):
    stage = cloud(EXT, INSIDE)
    stage.strike("stolen-floating-ip", times=1)
    server = stage.boot()
    stage.cloud.expose(server, owner=OWNER, auto_floating_ip=True)
    stage.clock.advance(5.0)
    (found,) = stage.cloud.list_floating_ips().items.values()
    own = [p.id for p in stage.cloud.list_ports().items.values() if p.device_id == server.id]
    assert found.owner == OWNER
    assert found.port_id not in own
    assert stage.cloud.list_servers().items[server.id].addresses.floating_v4 == ""


# -- which address counts --------------------------------------------------------------------------------


def test_carriers_addresses_and_unique_local_ones_are_not_public(cloud):
    stage = cloud({"name": "only", "v4": "cgnat", "v6": "ula"})
    addresses = addressed(stage)
    assert (addresses.public_v4, addresses.public_v6) == ("", "")
    assert addresses.private_v4.startswith("100.64.")
    assert addresses.interface_ip in (addresses.private_v4, addresses.private_v6)


def test_an_address_that_looks_global_is_public_wherever_it_is(cloud):
    addresses = addressed(cloud({"name": "odd", "v4": "global"}))
    assert is_global(addresses.public_v4)
    assert addresses.interface_ip == addresses.public_v4


def test_a_network_with_ipv6_only(cloud):
    stage = cloud({"name": "six", "v6": "global"})
    addresses = addressed(stage)
    assert addresses.interface_ip == addresses.public_v6 != ""
    assert (addresses.public_v4, addresses.private_v4) == ("", "")


def test_addresses_without_a_type_are_told_apart_all_the_same(cloud):
    stage = cloud(
        {"name": "public", "v4": "public", "external": True},
        INSIDE | {"routed-to": None},
        typed_addresses=False,
    )
    addresses = addressed(stage, networks=("public", "inside"))
    assert stage.world.guest_at(addresses.public_v4) is not None
    assert addresses.private_v4.startswith("10.")


def test_addresses_that_come_late_are_waited_for_and_found_by_ports_meanwhile(cloud):
    stage = cloud(EXT, INSIDE)
    stage.strike("late-address", times=1, seconds=30.0)
    server = stage.boot()
    assert stage.cloud.expose(server, owner=OWNER, auto_floating_ip=True).interface_ip == ""
    with CallsOf(stage) as look:
        looked = stage.cloud.get_server(server.id)
    assert look.made == {"compute.GET.server": 1, "network.GET.ports": 1}
    assert stage.cloud.expose(looked, owner=OWNER, auto_floating_ip=True).floating_v4


# -- lists that lie --------------------------------------------------------------------------------------

LIST = "compute.GET.servers_detail"


@pytest.mark.parametrize("kind", ["foreign-next", "link-header"])
def test_pages_are_found_wherever_a_link_says_that_they_are(kind):
    with clouds("direct", page_size=2) as (_, login):
        stage = login()
        made = {stage.cloud.create_server(stage.spec(f"np{n}")) for n in range(5)}
        stage.strike(kind, operations=[LIST])
        listing = stage.cloud.list_servers()
        assert (set(listing.items), listing.complete) == (made, True)


def test_pages_that_go_in_circles_prove_nothing():
    with clouds("direct", page_size=2) as (_, login):
        stage = login()
        for number in range(5):
            stage.cloud.create_server(stage.spec(f"np{number}"))
        stage.strike("repeated-page", operations=[LIST])
        listing = stage.cloud.list_servers()
        assert not listing.complete
        assert listing.items


def test_servers_of_a_cell_that_is_down_stay_whose_they_were():
    with clouds("direct") as (_, login):
        stage = login()
        server = stage.boot()
        stage.strike("down-cell")
        listing = stage.cloud.list_servers()
        found = listing.items[server.id]
        assert listing.complete
        assert (found.status, found.owner) == (ServerStatus.UNKNOWN, server.owner)
        assert found.addresses == server.addresses


def test_zones_that_are_closed_take_no_servers():
    with clouds("direct", zones=["a", "b"], closed_zones=["b"]) as (_, login):
        assert login().cloud.zones() == ("a",)
