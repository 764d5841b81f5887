from __future__ import annotations

import pytest

from poolmgr.simcloud.addresses import AddressPool
from poolmgr.simcloud.refusal import Refusal
from poolmgr.simcloud.shapes import SHAPES
from poolmgr.simcloud.world import Server
from tests.unit.simcloud.worlds import Scene


def booted(shape: str, **cloud: object) -> tuple[Scene, Server]:
    scene = Scene(shape=shape, boot=1, **cloud)
    server = scene.create()
    scene.go(2)
    return scene, server


SHOWN = {
    "direct": [("public", "127.1.0.10", 4, "fixed")],
    "nat": [("private", "10.1.0.10", 4, "fixed")],
    "novanet": [("public", "127.1.0.10", 4, ""), ("private", "10.1.0.10", 4, "")],
    "v6": [("dual", "127.1.64.10", 4, "fixed"), ("dual", "::ffff:127.1.0.10", 6, "fixed")],
    "tasks": [("public", "127.1.0.10", 4, ""), ("private", "10.1.0.10", 4, "")],
}


@pytest.mark.parametrize("shape", SHOWN)
def test_the_addresses_of_a_shape(shape: str):
    scene, server = booted(shape)
    shown = [(a.network, a.address, a.version, a.kind) for a in scene.server(server).addresses]
    assert shown == SHOWN[shape]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_guest_answers_on_its_loopback_addresses_only(shape: str):
    scene, server = booted(shape)
    for address in scene.addresses(server):
        found = scene.world.guest_at(address)
        assert (found is not None) == ("127." in address), address


def test_clouds_have_ranges_of_their_own():
    scene = Scene(shape="nat", private="loopback", boot=1)
    server = scene.create()
    scene.go(2)
    assert scene.addresses(server) == ["127.1.64.10"]
    assert scene.world.guest_at("127.2.64.10") is None
    assert scene.world.guest_at("127.0.0.1") is None


def floating_ip(scene: Scene, server: Server | None = None, **more: str) -> object:
    networking = scene.cloud.networking
    port = networking.ports_of(server.id)[0].id if server else None
    return networking.create_floating_ip(networking.network_named("ext-net").id, port_id=port, **more)


def test_a_floating_ip_leads_to_its_server_at_once_and_nova_shows_it_later():
    scene, server = booted("nat", address_delay=1)
    made = floating_ip(scene, server, description="tag")
    assert (made.address, made.status, made.description) == ("127.1.128.10", "ACTIVE", "tag")
    assert made.fixed_address == "10.1.0.10"
    assert scene.world.guest_at(made.address).id == server.id
    assert scene.addresses(server) == ["10.1.0.10"]
    scene.go(1)
    last = scene.server(server).addresses[-1]
    assert (last.network, last.address, last.kind) == ("private", made.address, "floating")


def test_the_death_of_a_server_leaves_its_floating_ip_unbound_and_down():
    scene, server = booted("nat")
    made = floating_ip(scene, server)
    scene.delete(server)
    scene.go(5)
    (left,) = scene.cloud.networking.floating_ips.values()
    assert (left.id, left.port_id, left.status) == (made.id, None, "DOWN")
    assert scene.world.guest_at(made.address) is None


def test_a_port_has_one_floating_ip():
    scene, server = booted("nat")
    floating_ip(scene, server)
    with pytest.raises(Refusal) as caught:
        floating_ip(scene, server)
    assert (caught.value.status, caught.value.kind) == (409, "FloatingIPPortAlreadyAssociated")
    assert len(scene.cloud.networking.floating_ips) == 1


def test_floating_ips_have_a_quota():
    scene, _ = booted("nat", quota={"floating_ips": 1})
    floating_ip(scene)
    with pytest.raises(Refusal) as caught:
        floating_ip(scene)
    assert (caught.value.status, caught.value.kind) == (409, "OverQuota")


def test_floating_ips_come_only_from_external_networks():
    scene, _ = booted("nat")
    with pytest.raises(Refusal, match="not a valid external network"):
        scene.cloud.networking.create_floating_ip(scene.cloud.networking.network_named("private").id)


def test_a_floating_ip_can_be_moved_and_deleted():
    scene, first = booted("nat")
    second = scene.create()
    scene.go(2)
    networking = scene.cloud.networking
    made = floating_ip(scene, first)
    networking.bind(made.id, networking.ports_of(second.id)[0].id)
    assert scene.world.guest_at(made.address).id == second.id
    networking.bind(made.id, None)
    assert scene.world.guest_at(made.address) is None
    networking.delete_floating_ip(made.id)
    with pytest.raises(Refusal) as caught:
        networking.delete_floating_ip(made.id)
    assert caught.value.status == 404


def test_a_port_made_before_the_server_outlives_it():
    scene = Scene(boot=1, delete_seconds=1)
    networking = scene.cloud.networking
    port = networking.create_port(networking.network_named("public").id, description="mine")
    server = scene.create(networks=(), ports=(port.id,))
    scene.go(2)
    assert scene.addresses(server) == [port.fixed_ips[0][1]]
    scene.delete(server)
    scene.go(2)
    (left,) = networking.ports.values()
    assert (left.id, left.device_id, left.status) == (port.id, "", "DOWN")


def test_a_router_port_cannot_be_deleted():
    scene = Scene(shape="nat")
    (port,) = scene.cloud.networking.ports.values()
    with pytest.raises(Refusal, match="network:router_interface"):
        scene.cloud.networking.delete_port(port.id)


def test_a_pool_hands_a_freed_address_out_as_late_as_possible():
    pool = AddressPool("127.9.0.0/28")
    taken = [pool.take() for _ in range(5)]
    assert taken == [f"127.9.0.{n}" for n in range(10, 15)]
    assert pool.take() is None
    pool.give_back("127.9.0.12")
    assert pool.take() == "127.9.0.12"


def test_an_empty_pool_fails_the_build():
    scene = Scene(boot=1)
    for pool in scene.cloud.networking._land.pools.values():  # a real one has 16,000
        while pool.take():
            pass
    server = scene.create()
    scene.go(2)
    assert "No more IP addresses" in (scene.server(server).fault or "").message
