"""The shapes a server's life can take in an OpenStack cloud, over HTTP: ports made in advance, floating IPs of nova."""

from __future__ import annotations

import pytest

from poolmgr.config.settings import CloudNetwork, CloudService, NetworkApi
from poolmgr.errors import (
    CloudUnavailable,
    ConfigError,
    ImageGone,
    NoCapacity,
    NotFound,
    OutcomeUnknown,
    OverQuota,
    Rejected,
)
from poolmgr.model.server import META_NODE_ID, Port, ServerStatus
from tests.contract.clouds import IMAGE, METADATA, OWNER, CallsOf, Stage, clouds

CREATE = "compute.POST.servers"


# -- ports made in advance -------------------------------------------------------------------------------


@pytest.fixture
def ahead():
    """A cloud whose servers get ports made in advance."""
    with clouds() as (_, login):
        yield login(settings={"port_mode": "precreate"})


def own_ports(stage: Stage) -> list[Port]:
    return [port for port in stage.cloud.list_ports().items.values() if port.owner == OWNER]


def test_with_ports_in_advance_a_server_costs_one_call_more_and_its_floating_ip_one_less(ahead):
    stage = ahead
    gone = stage.boot()
    stage.cloud.delete_server(gone.id)
    stage.clock.advance(5.0)
    for port in own_ports(stage):
        stage.cloud.delete_port(port.id)
    spec = stage.spec("np2")
    with CallsOf(stage) as create:
        server_id = stage.cloud.create_server(spec)
    assert create.made == {"network.POST.ports": 1, CREATE: 1}
    stage.clock.advance(5.0)
    server = stage.cloud.list_servers().items[server_id]
    with CallsOf(stage) as expose:
        addresses = stage.cloud.expose(server, owner=OWNER, auto_floating_ip=True)
    assert expose.made == {"network.POST.floatingips": 1}
    assert stage.world.guest_at(addresses.interface_ip).id == server_id
    (port,) = own_ports(stage)
    assert port.device_id == server_id


def test_ports_in_advance_bear_groups_and_outlive_their_server(ahead):
    stage = ahead
    with stage.far.lock:
        group = stage.far.networking.create_group("web", "")
    server = stage.boot(security_groups=("web",))
    with stage.far.lock:
        (made,) = [p for p in stage.far.networking.ports.values() if p.description == OWNER.tag()]
    assert (made.name, made.security_groups) == (OWNER.tag(), (group.id,))
    stage.cloud.delete_server(server.id)
    stage.clock.advance(5.0)
    (port,) = own_ports(stage)  # nova leaves it: whoever deleted the server finds it by its owner
    assert port.device_id == ""
    stage.cloud.delete_port(port.id)
    assert stage.left() == (0, 0, 0)


def test_addresses_of_ports_in_advance_are_known_before_nova_shows_them(ahead):
    ahead.strike("late-address", times=1, seconds=60.0)
    server = ahead.boot()
    assert server.addresses.interface_ip == ""
    addresses = ahead.cloud.expose(server, owner=OWNER, auto_floating_ip=True)
    assert ahead.world.guest_at(addresses.interface_ip).id == server.id


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"kind": "quota"}, OverQuota),
        ({"kind": "refuse", "operations": [CREATE], "status": 400, "message": "no"}, Rejected),
        ({"kind": "refuse", "operations": [CREATE], "status": 404, "message": "no"}, Rejected),
        ({"kind": "throttle", "operations": [CREATE]}, CloudUnavailable),
    ],
)
def test_a_refused_create_leaves_no_port(ahead, fault, error):
    spec = ahead.spec()
    ahead.strike(fault.pop("kind"), **fault)
    with pytest.raises(error):
        ahead.cloud.create_server(spec)
    assert ahead.left() == (0, 0, 0)


def test_without_an_answer_the_ports_stay_and_are_found_by_their_owner(ahead):
    ahead.strike("lost-answer", times=1)
    with pytest.raises(OutcomeUnknown):
        ahead.cloud.create_server(ahead.spec())
    ahead.clock.advance(5.0)
    (server,) = ahead.cloud.list_servers().items.values()
    assert [port.device_id for port in own_ports(ahead)] == [server.id]


def test_a_second_port_that_cannot_be_had_takes_the_first_one_with_it():
    with clouds("nat", quota={"ports": 2}) as (_, login):  # one is the router's
        stage = login(settings={"port_mode": "precreate"})
        with pytest.raises(OverQuota):
            stage.cloud.create_server(stage.spec(networks=("private", "private")))
        assert stage.left() == (0, 0, 0)
        assert stage.far.calls[CREATE] == 0


@pytest.mark.parametrize("kind", ["lost-answer", "drop", "http-500"])
def test_a_port_whose_answer_was_lost_is_deleted_and_the_create_may_be_repeated(ahead, kind):
    ahead.strike(kind, operations=["network.POST.ports"], times=1)
    with pytest.raises(CloudUnavailable):
        ahead.cloud.create_server(ahead.spec())
    assert ahead.left() == (0, 0, 0)
    assert ahead.boot().id


def test_ports_are_not_made_for_nobody(ahead):
    metadata = {key: value for key, value in METADATA.items() if key != META_NODE_ID}
    with pytest.raises(Rejected, match="names no owner"):
        ahead.cloud.create_server(ahead.spec(metadata=metadata))
    assert ahead.left() == (0, 0, 0)


def test_ports_in_advance_need_a_network_service():
    with clouds() as (_, login):
        absent = {"network": CloudService(present=False)}
        stage = login(settings={"port_mode": "precreate", "services": absent})
        with pytest.raises(ConfigError, match="port_mode precreate"):
            stage.cloud.connect()


# -- boot volumes ----------------------------------------------------------------------------------------


def test_an_image_that_does_not_fit_on_the_volume_is_refused_before_anything_is_made():
    with clouds("nat", images=[{"name": IMAGE, "min_disk": 10}]) as (_, login):
        stage = login()
        with pytest.raises(Rejected, match="needs a volume of 10 GiB, volume-size is 5"):
            stage.cloud.create_server(stage.spec(boot_from_volume=True, volume_gib=5))
        assert stage.left() == (0, 0, 0)
        stage.boot(boot_from_volume=True, volume_gib=10)
        stage.boot("np2", boot_from_volume=True, volume_gib=10)
        assert stage.far.calls["image.GET.image"] == 1


def test_an_image_of_which_the_size_is_not_told_is_left_to_the_cloud():
    with clouds("nat") as (_, login):
        stage = login()
        stage.strike("http-503", operations=["image.GET.image"])
        assert stage.boot(boot_from_volume=True).volumes


def test_a_volume_of_an_image_that_is_gone():
    with clouds("nat") as (_, login):
        stage = login()
        gone = {"image": "7f3f6c7e-0000-4000-8000-000000000000", "image_is_id": True}
        with pytest.raises(ImageGone):
            stage.cloud.create_server(stage.spec(boot_from_volume=True, **gone))


@pytest.fixture
def filled():
    """A cloud whose servers boot from volumes that are made in advance."""
    with clouds() as (_, login):
        yield login(settings={"volume_mode": "precreate"})


def volumes(stage: Stage) -> int:
    return int(stage.counts()["volumes"])


def test_a_volume_in_advance_bears_its_owner_from_the_start_and_goes_with_its_server(filled):
    stage = filled
    server_id = stage.cloud.create_server(
        stage.spec(boot_from_volume=True, volume_gib=30, volume_type="fast")
    )
    (volume,) = stage.cloud.list_volumes().items.values()
    assert (volume.owner.same(OWNER), volume.name, volume.size_gib) == (True, OWNER.tag(), 30)
    stage.clock.advance(5.0)
    server = stage.cloud.list_servers().items[server_id]
    assert server.volumes == (volume.id,)
    stage.remove(server)
    assert volumes(stage) == 0


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"kind": "error-volume"}, NoCapacity),
        ({"kind": "quota", "operations": ["block-storage.POST.volumes"]}, OverQuota),
        ({"kind": "http-500", "operations": ["block-storage.POST.volumes"]}, CloudUnavailable),
        ({"kind": "refuse", "operations": [CREATE], "status": 400, "message": "no"}, Rejected),
    ],
)
def test_a_failed_create_leaves_no_volume(filled, fault, error):
    spec = filled.spec(boot_from_volume=True)
    filled.strike(fault.pop("kind"), times=1, **fault)
    with pytest.raises(error):
        filled.cloud.create_server(spec)
    filled.clock.advance(5.0)
    assert (filled.left(), filled.cloud.list_volumes().items) == ((0, 0, 0), {})


def test_a_volume_whose_answer_was_lost_is_used(filled):
    filled.strike("lost-answer", operations=["block-storage.POST.volumes"], times=1)
    server = filled.boot(boot_from_volume=True)
    assert list(server.volumes) == list(filled.cloud.list_volumes().items)


def test_a_volume_that_is_never_filled_is_given_up(filled):
    filled.strike("stuck-volume")
    with pytest.raises(NoCapacity, match="is still creating after 900 s"):
        filled.cloud.create_server(filled.spec(boot_from_volume=True))


def test_closing_ends_the_wait_for_a_volume(filled):
    filled.strike("stuck-volume")
    spec = filled.spec(boot_from_volume=True)
    filled.clock.after(10.0, filled.cloud.close)
    with pytest.raises(CloudUnavailable, match="stopped"):
        filled.cloud.create_server(spec)


def test_a_server_without_an_answer_keeps_its_volume(filled):
    filled.strike("lost-answer", times=1)
    with pytest.raises(OutcomeUnknown):
        filled.cloud.create_server(filled.spec(boot_from_volume=True))
    filled.clock.advance(5.0)
    (server,) = filled.cloud.list_servers().items.values()
    assert list(server.volumes) == list(filled.cloud.list_volumes().items)


# -- floating IPs of nova --------------------------------------------------------------------------------


@pytest.fixture
def nova():
    """A cloud with floating IPs of the nova kind, and the microversions in which they are gone."""
    with clouds() as (_, login):
        yield login(settings={"floating_ip_source": NetworkApi.NOVA})


def test_a_floating_ip_of_novas_kind_from_its_pool_until_it_is_released(nova):
    stage = nova
    assert stage.cloud.connect().may_need_floating_ips
    server = stage.boot()
    addresses = stage.cloud.expose(server, owner=OWNER, auto_floating_ip=True)
    assert stage.world.guest_at(addresses.interface_ip).id == server.id
    (found,) = stage.cloud.list_floating_ips().items.values()
    assert (found.address, found.port_id, found.owner) == (addresses.floating_v4, server.id, None)
    assert stage.cloud.expose(server, owner=OWNER, auto_floating_ip=True) == addresses
    stage.cloud.delete_server(server.id)
    stage.clock.advance(5.0)
    assert stage.left() == (0, 0, 0)


def test_one_that_a_crash_left_on_the_server_is_found():
    with clouds() as (_, login):
        asked = {"floating_ip_source": NetworkApi.NOVA}
        before, after = login(settings=asked), login(settings=asked)
        server = before.boot()
        first = before.cloud.expose(server, owner=OWNER, auto_floating_ip=True)
        assert after.cloud.expose(server, owner=OWNER, auto_floating_ip=True) == first
        assert after.counts()["floating_ips"] == 1


@pytest.mark.parametrize(
    ("operations", "error"),
    [
        (["compute.POST.server_action"], CloudUnavailable),
        (["compute.POST.os-floating-ips"], OutcomeUnknown),
    ],
)
def test_one_that_could_not_be_bound_is_released(nova, operations, error):
    server = nova.boot()
    nova.strike("http-500", operations=operations, times=1)
    with pytest.raises(error):
        nova.cloud.expose(server, owner=OWNER, auto_floating_ip=True)
    assert nova.counts()["floating_ips"] == 0


def test_a_server_that_is_gone_gets_none(nova):
    server = nova.boot()
    nova.cloud.delete_server(server.id)
    nova.clock.advance(5.0)
    with pytest.raises(NotFound):
        nova.cloud.expose(server, owner=OWNER, auto_floating_ip=True)
    assert nova.counts()["floating_ips"] == 0


def test_no_floating_ip_of_novas_kind_beyond_the_quota():
    with clouds(quota={"floating-ips": 0}) as (_, login):
        stage = login(settings={"floating_ip_source": NetworkApi.NOVA})
        server = stage.boot()
        with pytest.raises(OverQuota):
            stage.cloud.expose(server, owner=OWNER, auto_floating_ip=True)


def test_a_server_stays_while_its_floating_ip_cannot_be_released(nova):
    server = nova.boot()
    nova.cloud.expose(server, owner=OWNER, auto_floating_ip=True)
    nova.strike("http-503", operations=["compute.DELETE.os-floating-ip"])
    with pytest.raises(CloudUnavailable):
        nova.cloud.delete_server(server.id)
    nova.clock.advance(5.0)
    assert nova.counts()["servers"] == 1
    nova.calm()
    nova.strike(
        "refuse", operations=["compute.DELETE.os-floating-ip"], status=403, message="Policy doesn't allow"
    )
    nova.cloud.delete_server(server.id)  # that will not change: it is left behind, and said
    nova.clock.advance(5.0)
    assert nova.left() == (0, 0, 1)


def test_a_cloud_without_pools_needs_no_floating_ips():
    with clouds() as (_, login):
        stage = login(settings={"floating_ip_source": NetworkApi.NOVA})
        stage.strike("refuse", operations=["compute.GET.os-floating-ip-pools"], status=404, message="gone")
        assert not stage.cloud.connect().may_need_floating_ips
        server = stage.boot()
        assert stage.cloud.expose(server, owner=OWNER, auto_floating_ip=True) == server.addresses
        assert stage.cloud.list_floating_ips().items == {}


def test_a_pool_that_clouds_yaml_names_and_the_cloud_lacks():
    with clouds() as (_, login):
        named = (CloudNetwork(name="private", nat_source=True),)
        asked = {"floating_ip_source": NetworkApi.NOVA, "requires_floating_ip": True, "networks": named}
        with pytest.raises(ConfigError, match=r"pool private: not found \(the cloud's pools: ext-net\)"):
            login(settings=asked).cloud.connect()


# -- lists of changes ------------------------------------------------------------------------------------


def test_changes_tell_of_new_servers_and_of_those_that_are_gone():
    with clouds("direct", page_size=3) as (_, login):
        stage = login(settings={"server_poll": "incremental"})
        old = stage.boot("np0")
        stage.clock.advance(100.0)
        made = {stage.cloud.create_server(stage.spec(f"np{n}")) for n in range(1, 5)}
        stage.cloud.delete_server(old.id)
        stage.clock.advance(5.0)
        with CallsOf(stage) as poll:
            listing = stage.cloud.list_servers(partial_ok=True)
        assert poll.made == {"compute.GET.servers_detail": 2}  # pages
        assert (listing.complete, listing.partial) == (False, True)
        assert listing.items[old.id].status is ServerStatus.DELETED
        assert {i for i, server in listing.items.items() if server.status is ServerStatus.ACTIVE} == made
        whole = stage.cloud.list_servers()
        assert (set(whole.items), whole.complete, whole.partial) == (made, True, False)


# -- clouds that keep deleted servers for a while --------------------------------------------------------


@pytest.fixture
def keeping():
    """A cloud in which somebody's server was seen that is deleted and not yet reclaimed."""
    with clouds("direct") as (_, login):
        stage = login()
        other = stage.boot("other")
        with stage.far.lock:
            stage.far.compute.set_status(other.id, "SOFT_DELETED")
        assert stage.cloud.list_servers().items[other.id].status is ServerStatus.SOFT_DELETED
        yield stage


def test_where_deleted_servers_are_kept_ours_are_deleted_at_once(keeping):
    server = keeping.boot()
    with CallsOf(keeping) as delete:
        keeping.cloud.delete_server(server.id)
    assert delete.made == {"compute.POST.server_action": 1}
    keeping.clock.advance(5.0)
    assert server.id not in keeping.cloud.list_servers().items
    keeping.cloud.delete_server(server.id)


def test_a_server_that_is_kept_can_be_deleted_again_for_good(keeping):
    (kept,) = keeping.cloud.list_servers().items.values()
    keeping.cloud.delete_server(kept.id)
    keeping.clock.advance(5.0)
    assert keeping.left() == (0, 0, 0)


@pytest.mark.parametrize("status", [400, 403, 409])
def test_a_cloud_that_does_not_let_us_is_asked_the_plain_way(keeping, status):
    server = keeping.boot()
    keeping.strike(
        "refuse", operations=["compute.POST.server_action"], status=status, message="not authorized"
    )
    keeping.cloud.delete_server(server.id)
    keeping.clock.advance(5.0)
    assert server.id not in keeping.cloud.list_servers().items


# -- quotas ----------------------------------------------------------------------------------------------


def quotas(stage: Stage) -> dict[tuple[str, str], tuple[float | None, float | None]]:
    return {(q.service, q.resource): (q.limit, q.used) for q in stage.cloud.quotas()}


def test_what_a_policy_does_not_show_of_quotas_is_left_out(ahead):
    policy = {"status": 403, "message": "Policy doesn't allow it to be performed."}
    ahead.strike("refuse", operations=["network.GET.quota_details"], **policy)
    told = quotas(ahead)
    assert told["network", "ports"] == (None, None)  # the plain list of limits
    ahead.strike("refuse", operations=["network.GET.quota*", "*.GET.limits"], **policy)
    assert ahead.cloud.quotas() == ()
