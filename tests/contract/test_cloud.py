"""What every `Cloud` must do, for the real layer over HTTP and for the simulated one, which scenarios trust."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

import pytest

from poolmgr.errors import (
    CloudUnavailable,
    ImageGone,
    NotFound,
    OutcomeUnknown,
    OverQuota,
    Rejected,
    Throttled,
)
from poolmgr.model.server import FaultKind, Port, ServerStatus
from tests.contract.clouds import IMAGE, IMPLEMENTATIONS, METADATA, OWNER, SHAPES, Stage

LIST = "compute.GET.servers_detail"


@pytest.fixture(params=sorted(IMPLEMENTATIONS))
def implementation(request):
    return IMPLEMENTATIONS[request.param]


@pytest.fixture
def staged(implementation) -> Iterator[Callable[..., Stage]]:
    """Sets up a cloud of a shape, with options of simcloud's configuration."""
    with ExitStack() as stack:
        yield lambda shape, **more: stack.enter_context(implementation(shape, **more))


@pytest.fixture
def stage(staged) -> Stage:
    """A cloud that needs floating IPs."""
    return staged("nat")


def guest_ports(stage: Stage) -> list[Port]:
    """The ports that are not the cloud's own."""
    return [p for p in stage.cloud.list_ports().items.values() if not p.device_owner.startswith("network:")]


# -- every shape -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
def test_a_server_from_its_creation_until_nothing_is_left(staged, shape):
    stage = staged(shape)
    info = stage.cloud.connect()
    assert info.cloud == "north"
    server_id = stage.cloud.create_server(stage.spec())
    young = stage.cloud.list_servers().items[server_id]
    assert young.status is ServerStatus.BUILD
    assert dict(young.metadata) == METADATA
    assert young.owner is not None
    assert young.owner.node_id == OWNER.node_id
    assert young.resources == {"instances": 1, "cores": 1, "ram": 2048}

    stage.clock.advance(5.0)
    server = stage.cloud.list_servers().items[server_id]
    assert server.status is ServerStatus.ACTIVE
    assert stage.cloud.get_server(server_id).addresses == server.addresses
    addresses = stage.cloud.expose(server, owner=OWNER, auto_floating_ip=True)
    guest = stage.world.guest_at(addresses.interface_ip)
    assert guest is not None
    assert guest.id == server_id
    assert "Linux" in stage.cloud.console(server_id)

    stage.remove(server)
    listing = stage.cloud.list_servers()
    assert server_id not in listing.items or listing.items[server_id].status is ServerStatus.DELETED
    assert stage.left() == (0, 0, 0)
    assert guest_ports(stage) == []
    assert stage.cloud.list_floating_ips().items == {}


@pytest.mark.parametrize(
    ("shape", "has_network", "floating"),
    [
        ("direct", True, False),
        ("nat", True, True),
        ("novanet", False, False),
        ("novafip", False, True),
        ("v6", True, False),
        ("tasks", False, False),
    ],
)
def test_what_is_known_of_a_cloud_after_connecting(staged, shape, has_network, floating):
    info = staged(shape).cloud.connect()
    assert (info.region, info.has_network, info.may_need_floating_ips) == ("RegionOne", has_network, floating)


@pytest.mark.parametrize("shape", SHAPES)
def test_exposing_again_changes_nothing(staged, shape):
    stage = staged(shape)
    server = stage.boot()
    first = stage.cloud.expose(server, owner=OWNER, auto_floating_ip=True)
    assert stage.cloud.expose(server, owner=OWNER, auto_floating_ip=True) == first
    stage.clock.advance(5.0)  # by now nova shows a floating IP
    shown = stage.cloud.list_servers().items[server.id]
    assert stage.cloud.expose(shown, owner=OWNER, auto_floating_ip=True) == first
    assert stage.counts()["floating_ips"] == (1 if shape in ("nat", "novafip") else 0)


@pytest.mark.parametrize("shape", SHAPES)
def test_servers_of_others_are_listed_and_not_taken_for_ours(staged, shape):
    stage = staged(shape)
    with stage.far.lock:
        foreign = stage.far.compute.put_foreign(name="db", metadata={}, networks=(), flavor=None)
    server = stage.cloud.list_servers().items[foreign.id]
    assert (server.name, server.owner) == ("db", None)


# -- what a cloud offers ---------------------------------------------------------------------------------


def test_limits_are_told_and_unlimited_ones_are_absent(staged):
    stage = staged("direct", quota={"instances": 20, "ram": 51200})
    assert dict(stage.cloud.limits()) == {"instances": 20, "ram": 51200}


def test_every_limit_is_told_with_its_use(staged):
    stage = staged("nat", quota={"instances": 20, "ports": 30, "floating-ips": 5, "volumes": 7})
    stage.boot(boot_from_volume=True, volume_gib=30)
    told = {(q.service, q.resource): (q.limit, q.used) for q in stage.cloud.quotas()}
    assert told["compute", "instances"] == (20, 1)
    assert told["compute", "cores"] == (None, 1)
    assert told["block-storage", "volumes"] == (7, 1)
    assert told["block-storage", "volume-gb"] == (None, 30)
    assert told["network", "ports"] == (30, 2)  # one is the router's
    assert told["network", "floating-ips"] == (5, 0)
    assert stage.cloud.limits() == {"instances": 20}
    assert stage.cloud.limits(volumes=True) == {"instances": 20, "volumes": 7}


@pytest.mark.parametrize(
    ("shape", "told"),
    [
        ("nat", {("network", "ports"): (30, 2), ("network", "floating-ips"): (5, 1)}),
        ("direct", {("network", "ports"): (30, 1), ("network", "floating-ips"): (5, 0)}),
        ("novafip", {("compute", "floating-ips"): (5, 1)}),
        ("novanet", {}),
    ],
)
def test_ports_and_floating_ips_have_limits_that_everybody_uses(staged, shape, told):
    stage = staged(shape, quota={"instances": 20, "ports": 30, "floating-ips": 5})
    stage.cloud.expose(stage.boot(), owner=OWNER, auto_floating_ip=True)
    found = {(q.service, q.resource): (q.limit, q.used) for q in stage.cloud.network_quotas()}
    assert found == told


def test_a_project_without_limits_of_ports_and_floating_ips_has_nothing_to_count(staged):
    assert staged("nat", quota={"instances": 20}).cloud.network_quotas() == ()


@pytest.mark.parametrize(
    ("shape", "price"),
    [
        ("nat", {"ports": 1, "floating-ips": 1}),
        ("direct", {"ports": 1}),
        ("v6", {"ports": 1}),
        ("novafip", {"floating-ips": 1}),
        ("novanet", {}),
    ],
)
def test_what_a_server_takes_of_them_is_known_before_it_is_there(staged, shape, price):
    stage = staged(shape)
    stage.cloud.connect()
    assert stage.cloud.network_price(()) == price


def test_a_server_on_two_networks_has_two_ports(staged):
    plans = [
        {"name": "ext", "v4": "floating", "external": True},
        {"name": "inside", "v4": "private", "routed-to": "ext"},
        {"name": "storage", "v4": "private"},
    ]
    cloud = staged("nat", networks=plans).cloud
    assert cloud.network_price(("inside", "storage")) == {"ports": 2, "floating-ips": 1}
    assert cloud.network_price(("nonsense",)) == {}


def test_services_that_are_not_there_have_no_quotas(staged):
    assert {q.service for q in staged("novanet").cloud.quotas()} == {"compute", "block-storage"}


def test_flavors_and_zones(staged):
    stage = staged("direct", zones=["b", "a"], flavors=[{"name": "one", "vcpus": 3, "ram": 512, "disk": 7}])
    (flavor,) = stage.cloud.flavors()
    assert (flavor.name, flavor.vcpus, flavor.ram_mib, flavor.disk_gib) == ("one", 3, 512, 7)
    assert stage.cloud.zones() == ("a", "b")


def test_images_are_found_by_name_and_by_id_if_active(stage):
    image_id = stage.cloud.find_image(IMAGE)
    assert image_id is not None
    assert stage.cloud.find_image(image_id) == image_id
    assert stage.cloud.find_image("nonsense") is None


def test_two_images_of_one_name_are_refused(staged):
    stage = staged("direct", images=[{"name": "twin"}, {"name": "twin"}])
    with pytest.raises(Rejected, match="several"):
        stage.cloud.find_image("twin")


# -- creating --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["instances", "cores", "ram"])
def test_a_create_beyond_the_quota_makes_nothing(staged, kind):
    stage = staged("nat", quota={kind: 0})
    with pytest.raises(OverQuota):
        stage.cloud.create_server(stage.spec())
    assert stage.left() == (0, 0, 0)


def test_a_server_that_no_host_has_room_for_shows_its_fault(staged):
    stage = staged("nat", zones=["full", "free"], full_zones=["full"])
    server_id = stage.cloud.create_server(stage.spec(az="full"))
    stage.clock.advance(5.0)
    server = stage.cloud.list_servers().items[server_id]
    assert server.status is ServerStatus.ERROR
    assert "No valid host" in (server.fault or stage.cloud.get_server(server_id).fault)


def test_a_server_that_fails_to_build_shows_its_fault(stage):
    stage.strike("error-server", message="the disk is full")
    server_id = stage.cloud.create_server(stage.spec())
    stage.clock.advance(5.0)
    assert stage.cloud.list_servers().items[server_id].status is ServerStatus.ERROR
    assert stage.cloud.get_server(server_id).fault == "the disk is full"
    stage.cloud.delete_server(server_id)
    stage.clock.advance(5.0)
    assert stage.left() == (0, 0, 0)


def test_a_create_without_an_answer_is_found_by_its_metadata(stage):
    stage.strike("lost-answer", times=1)
    with pytest.raises(OutcomeUnknown):
        stage.cloud.create_server(stage.spec())
    (server,) = stage.cloud.list_servers().items.values()
    assert server.owner is not None
    assert (server.owner.node_id, dict(server.metadata)) == (OWNER.node_id, METADATA)


@pytest.mark.parametrize("kind", ["http-500", "http-503", "drop", "hang", "garbage"])
def test_a_create_is_sent_once_whatever_goes_wrong(stage, kind):
    spec = stage.spec()
    stage.cloud.find_image(IMAGE)
    stage.strike(kind, operations=["compute.POST.servers"])
    with pytest.raises(OutcomeUnknown):
        stage.cloud.create_server(spec)
    assert stage.far.calls["compute.POST.servers"] == 1
    assert stage.left() == (0, 0, 0)


def test_an_image_that_is_not_there(stage):
    with pytest.raises(ImageGone):
        stage.cloud.create_server(stage.spec(image="7f3f6c7e-0000-4000-8000-000000000000", image_is_id=True))
    with pytest.raises(Rejected, match="no active image nonsense"):
        stage.cloud.create_server(stage.spec(image="nonsense"))
    assert stage.left() == (0, 0, 0)


@pytest.mark.parametrize("wrong", [{"networks": ("nonsense",)}, {"security_groups": ("nonsense",)}])
def test_a_name_that_the_cloud_does_not_know_is_refused(stage, wrong):
    with pytest.raises(Rejected, match="nonsense"):
        stage.cloud.create_server(stage.spec(**wrong))
    assert stage.left() == (0, 0, 0)


@pytest.mark.parametrize("wrong", [{"az": "nonsense"}, {"key_name": "nonsense"}])
def test_a_zone_or_key_that_the_cloud_does_not_know_is_refused(stage, wrong):
    with pytest.raises(Rejected):
        stage.cloud.create_server(stage.spec(**wrong))
    assert stage.left() == (0, 0, 0)


def test_networks_and_groups_go_by_name(stage):
    server = stage.boot(networks=("private",), security_groups=("default",))
    assert server.addresses.fixed_v4


def test_a_throttled_create_did_nothing_and_says_how_long_to_wait(stage):
    stage.strike("throttle", operations=["compute.POST.servers"], retry_after=7.0, times=1)
    with pytest.raises(Throttled) as caught:
        stage.cloud.create_server(stage.spec())
    assert caught.value.retry_after == 7.0
    assert stage.left() == (0, 0, 0)


# -- listing ---------------------------------------------------------------------------------------------


def test_a_new_server_may_be_missing_from_the_list_at_first(staged):
    stage = staged("direct", visible_after=3.0)
    server_id = stage.cloud.create_server(stage.spec())
    assert server_id not in stage.cloud.list_servers().items
    stage.clock.advance(4.0)
    assert server_id in stage.cloud.list_servers().items


def test_a_stale_list_looks_like_any_other(stage):
    server_id = stage.cloud.create_server(stage.spec())
    stage.strike("stale-list", seconds=60.0, times=1)
    listing = stage.cloud.list_servers()
    assert (server_id in listing.items, listing.complete) == (False, True)
    assert server_id in stage.cloud.list_servers().items


def test_a_list_of_several_pages_is_read_to_its_end(staged):
    stage = staged("direct", page_size=2)
    made = {stage.cloud.create_server(stage.spec(f"np{n}")) for n in range(5)}
    listing = stage.cloud.list_servers()
    assert (set(listing.items), listing.complete) == (made, True)


def test_a_failed_page_leaves_what_was_read_and_says_so(staged):
    stage = staged("direct", page_size=2)
    made = {stage.cloud.create_server(stage.spec(f"np{n}")) for n in range(5)}
    stage.strike("http-500", operations=[LIST], skip=1)
    listing = stage.cloud.list_servers()
    assert not listing.complete
    assert len(listing.items) == 2
    assert set(listing.items) < made


@pytest.mark.parametrize("kind", ["http-500", "http-503", "drop", "hang", "garbage"])
def test_a_list_of_which_nothing_can_be_read_is_an_error(stage, kind):
    stage.boot()
    stage.strike(kind, operations=[LIST])
    with pytest.raises(CloudUnavailable):
        stage.cloud.list_servers()
    stage.calm()
    assert len(stage.cloud.list_servers().items) == 1


def test_a_listing_says_when_it_began(stage):
    stage.cloud.list_servers()
    stage.clock.advance(10.0)
    listing = stage.cloud.list_servers()
    assert (listing.started_at, listing.finished_at) == (stage.clock.monotonic(),) * 2


def test_a_token_that_the_cloud_forgot_is_replaced(stage):
    server = stage.boot()
    stage.strike("expired-token", operations=[LIST], times=1)
    assert server.id in stage.cloud.list_servers().items
    stage.strike("expired-token", operations=["compute.POST.servers"], times=1)
    stage.cloud.create_server(stage.spec("np2"))
    assert len(stage.cloud.list_servers().items) == 2


# -- deleting --------------------------------------------------------------------------------------------


def test_deleting_what_is_gone_succeeds(stage):
    gone = "7f3f6c7e-0000-4000-8000-000000000000"
    stage.cloud.delete_server(gone)
    stage.cloud.delete_port(gone)
    stage.cloud.delete_floating_ip(gone)
    with pytest.raises(NotFound):
        stage.cloud.get_server(gone)
    assert stage.cloud.console(gone) == ""


def test_a_delete_that_the_servers_state_forbids_is_refused(stage):
    server = stage.boot()
    stage.strike("refuse", operations=["compute.DELETE.server"], times=1, message="it is locked")
    with pytest.raises(Rejected, match="it is locked"):
        stage.cloud.delete_server(server.id)


def test_a_delete_that_the_cloud_ignores_can_be_repeated(stage):
    server = stage.boot()
    stage.strike("ignored-delete", times=1)
    stage.remove(server)
    assert server.id in stage.cloud.list_servers().items
    stage.remove(server)
    assert stage.left() == (0, 0, 0)


def test_a_deleted_server_stays_listed_for_a_while(stage):
    server = stage.boot()
    stage.cloud.delete_server(server.id)
    assert stage.cloud.list_servers().items[server.id].task_state == "deleting"


def test_a_port_that_its_server_left_behind_can_be_found_and_deleted(stage):
    server = stage.boot()
    stage.strike("leaked-port", times=1)
    stage.remove(server)
    (port,) = guest_ports(stage)
    assert port.status == "DOWN"
    stage.cloud.delete_port(port.id)
    assert stage.left() == (0, 0, 0)


# -- volumes ---------------------------------------------------------------------------------------------


def test_a_server_boots_from_a_volume_that_can_be_marked_and_goes_with_it(stage):
    server = stage.boot(boot_from_volume=True, volume_gib=30)
    assert server.image_id is None
    (volume_id,) = server.volumes
    assert stage.cloud.connect().has_volumes
    stage.cloud.mark_volumes(server, owner=OWNER)
    stage.cloud.mark_volumes(server, owner=OWNER)
    (volume,) = stage.cloud.list_volumes().items.values()
    assert (volume.id, volume.size_gib, volume.server_ids) == (volume_id, 30, (server.id,))
    assert volume.owner is not None
    assert volume.owner.same(OWNER)
    with pytest.raises(Rejected):
        stage.cloud.delete_volume(volume_id)
    stage.remove(server)
    assert stage.cloud.list_volumes().items == {}


def test_a_volume_of_someone_else_is_listed_and_can_be_deleted(stage):
    with stage.far.lock:
        made = stage.far.volumes.create(name="data", size_gib=5, foreign=True)
    stage.clock.advance(5.0)
    volume = stage.cloud.list_volumes().items[made.id]
    assert (volume.name, volume.status, volume.owner, volume.server_ids) == ("data", "available", None, ())
    assert volume.created_at == pytest.approx(made.created, abs=1.0)
    stage.cloud.delete_volume(made.id)
    stage.clock.advance(5.0)
    stage.cloud.delete_volume(made.id)
    assert stage.cloud.list_volumes().items == {}


def test_volumes_of_a_server_that_is_gone_cannot_be_marked(stage):
    server = stage.boot(boot_from_volume=True)
    stage.remove(server)
    with pytest.raises(NotFound):
        stage.cloud.mark_volumes(server, owner=OWNER)


def test_a_server_whose_volume_exceeds_the_quota_fails_with_its_fault(staged):
    stage = staged("nat", quota={"gigabytes": 10})
    server_id = stage.cloud.create_server(stage.spec(boot_from_volume=True, volume_gib=30))
    stage.clock.advance(5.0)
    server = stage.cloud.list_servers().items[server_id]
    assert (server.status, server.fault_kind) == (ServerStatus.ERROR, FaultKind.QUOTA)
    assert stage.cloud.list_volumes().items == {}


# -- addresses -------------------------------------------------------------------------------------------


def test_without_auto_floating_ip_none_is_made(stage):
    server = stage.boot()
    addresses = stage.cloud.expose(server, owner=OWNER, auto_floating_ip=False)
    assert addresses == server.addresses
    assert addresses.interface_ip == addresses.private_v4 != ""
    assert stage.counts()["floating_ips"] == 0


def test_a_floating_ip_names_its_owner(stage):
    server = stage.boot()
    addresses = stage.cloud.expose(server, owner=OWNER, auto_floating_ip=True)
    (found,) = stage.cloud.list_floating_ips().items.values()
    assert (found.address, found.owner) == (addresses.floating_v4, OWNER)
    assert found.port_id in stage.cloud.list_ports().items


def test_no_floating_ip_beyond_the_quota(staged):
    stage = staged("nat", quota={"floating-ips": 0})
    server = stage.boot()
    with pytest.raises(OverQuota):
        stage.cloud.expose(server, owner=OWNER, auto_floating_ip=True)
    assert stage.counts()["floating_ips"] == 0


def test_exposing_a_server_that_is_gone(stage):
    server = stage.boot()
    stage.remove(server)
    with pytest.raises(NotFound):
        stage.cloud.expose(server, owner=OWNER, auto_floating_ip=True)
    assert stage.left() == (0, 0, 0)


def test_a_server_without_addresses_is_exposed_as_it_is(stage):
    stage.strike("no-address", times=1)
    server = stage.boot()
    addresses = stage.cloud.expose(server, owner=OWNER, auto_floating_ip=True)
    assert addresses.interface_ip == ""


def test_a_floating_ip_whose_answer_was_lost_is_found_again(stage):
    server = stage.boot()
    stage.strike("lost-answer", operations=["network.POST.floatingips"], times=1)
    with suppress(OutcomeUnknown):
        stage.cloud.expose(server, owner=OWNER, auto_floating_ip=True)
    addresses = stage.cloud.expose(server, owner=OWNER, auto_floating_ip=True)
    assert addresses.floating_v4
    assert stage.counts()["floating_ips"] == 1


@pytest.mark.parametrize("kind", ["http-500", "drop"])
def test_a_floating_ip_that_was_not_made_leaves_nothing(stage, kind):
    server = stage.boot()
    stage.strike(kind, operations=["network.POST.floatingips"], times=1)
    with pytest.raises(OutcomeUnknown):
        stage.cloud.expose(server, owner=OWNER, auto_floating_ip=True)
    assert stage.counts()["floating_ips"] == 0
    assert stage.cloud.expose(server, owner=OWNER, auto_floating_ip=True).floating_v4


# -- counting, threads -----------------------------------------------------------------------------------


def test_calls_are_counted_as_the_cloud_counts_them(stage):
    server = stage.boot()
    stage.cloud.expose(server, owner=OWNER, auto_floating_ip=True)
    stage.remove(server)
    counted = {key: n for key, n in stage.cloud.calls.items() if key.startswith("compute.")}
    seen = {
        key: n
        for key, n in stage.far.calls.items()
        if key.startswith("compute.") and not key.endswith("discovery")
    }
    assert counted == seen
    assert counted["compute.POST.servers"] == counted["compute.DELETE.server"] == 1


def test_many_threads_may_use_one_cloud(staged):
    stage = staged("nat")
    spec = stage.spec
    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(lambda n: stage.cloud.create_server(spec(f"np{n}")), range(24)))
        lists = list(pool.map(lambda _: stage.cloud.list_servers(), range(8)))
    assert len(made) == 24
    assert all(set(listing.items) == made for listing in lists)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(stage.cloud.delete_server, made))
    stage.clock.advance(5.0)
    assert stage.left() == (0, 0, 0)


def test_a_server_that_only_goes_by_force_goes_by_force(stage):
    server = stage.boot()
    stage.strike("unforced-delete")
    for force, left in ((False, True), (True, False)):
        stage.cloud.delete_server(server.id, force=force)
        stage.clock.advance(10.0)
        assert (server.id in stage.cloud.list_servers().items) is left


def test_a_server_that_may_not_be_forced_is_deleted_as_usual(stage):
    server = stage.boot()
    stage.strike("policy", operations=["compute.POST.server_action"])
    stage.cloud.delete_server(server.id, force=True)
    stage.clock.advance(10.0)
    assert server.id not in stage.cloud.list_servers().items


def test_a_volume_that_only_goes_by_force_goes_by_force_but_none_of_a_server(stage):
    server = stage.boot(boot_from_volume=True)
    (attached,) = server.volumes
    with stage.far.lock:
        stuck = stage.far.volumes.create(size_gib=5, status="error_deleting", foreign=True)
    with pytest.raises(Rejected):
        stage.cloud.delete_volume(stuck.id)
    with pytest.raises(Rejected):
        stage.cloud.delete_volume(attached, force=True)
    stage.cloud.delete_volume(stuck.id, force=True)
    stage.cloud.delete_volume(stuck.id, force=True)
    assert set(stage.cloud.list_volumes().items) == {attached}


def test_a_volume_that_may_not_be_forced_is_deleted_as_usual(stage):
    with stage.far.lock:
        made = stage.far.volumes.create(size_gib=5, status="available", foreign=True)
    stage.strike("policy", operations=["block-storage.POST.volume_action"])
    stage.cloud.delete_volume(made.id, force=True)
    assert stage.cloud.list_volumes().items == {}
