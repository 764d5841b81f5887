"""A server's life in a pretend cloud, and all that can go wrong in it."""

from __future__ import annotations

from typing import Any

import pytest

from poolmgr.simcloud.fault_texts import TEXTS
from poolmgr.simcloud.faults import FaultKind
from poolmgr.simcloud.refusal import Refusal
from tests.unit.simcloud.worlds import START, Scene


def fault(kind: str, **more: Any) -> list[dict[str, Any]]:
    return [{"kind": kind, **more}]


def test_a_server_boots_step_by_step():
    scene = Scene(boot={"seconds": 10, "ssh": 2})
    made = scene.create()
    assert (made.status, made.task_state, made.addresses) == ("BUILD", "scheduling", ())
    scene.go(4)
    spawning = scene.server(made)
    assert (spawning.status, spawning.task_state) == ("BUILD", "spawning")
    assert scene.addresses(made) == ["127.1.0.10"]
    assert scene.world.guest_at("127.1.0.10") is None
    scene.go(6)
    active = scene.server(made)
    assert (active.status, active.task_state, active.launched) == ("ACTIVE", None, START + 10)
    assert scene.world.guest_at("127.1.0.10") is None  # its SSH server takes two seconds more
    scene.go(2)
    found = scene.world.guest_at("127.1.0.10")
    assert found is not None
    assert found.id == made.id


def test_nothing_happens_before_somebody_looks_and_then_all_of_it_at_its_own_time():
    scene = Scene(boot=10)
    made = scene.create()
    scene.go(1000)
    assert scene.server(made).launched == START + 10


def test_a_deleted_server_is_listed_a_while_and_leaves_nothing():
    scene = Scene(boot=1, delete_seconds=5)
    made = scene.create()
    scene.go(2)
    scene.delete(made)
    assert scene.server(made).task_state == "deleting"
    scene.go(4)
    assert scene.cloud.compute.list() != ()
    scene.go(1)
    assert scene.cloud.compute.list() == ()
    assert scene.world.counts()["one"]["ports"] == 0
    assert scene.cloud.compute.deleted[-1].status == "DELETED"
    with pytest.raises(Refusal, match="could not be found"):
        scene.delete(made)


@pytest.mark.parametrize("after", [0.0, 0.4, 1.5])
def test_a_server_may_be_deleted_in_any_state(after: float):
    scene = Scene(boot=1, delete_seconds=0.2)
    made = scene.create()
    scene.go(after)
    scene.delete(made)
    scene.go(60)
    counts = scene.world.counts()["one"]
    assert (counts["servers"], counts["ports"]) == (0, 0)


def test_boots_differ_as_told_and_the_same_way_for_one_seed():
    def times(distribution: str) -> list[float]:
        scene = Scene(boot={"seconds": 10, "spread": 4, "distribution": distribution})
        servers = [scene.create() for _ in range(50)]
        scene.go(1000)
        return [(scene.server(s).launched or 0) - START for s in servers]

    uniform = times("uniform")
    assert all(6 <= t <= 14 for t in uniform)
    assert len(set(uniform)) == 50
    assert uniform == times("uniform")
    assert min(times("exponential")) >= 10
    assert 9 < sum(times("normal")) / 50 < 11


def test_quota_is_checked_at_the_call_in_novas_words():
    scene = Scene(quota={"instances": 2, "cores": 1})
    scene.create()
    with pytest.raises(Refusal) as caught:
        scene.create()
    assert (caught.value.status, caught.value.kind) == (403, "forbidden")
    assert caught.value.message == "Quota exceeded for cores: Requested 1, but already used 1 of 1 cores"


def test_quota_may_change_at_any_time():
    scene = Scene(quota={"instances": 0})
    with pytest.raises(Refusal):
        scene.create()
    scene.cloud.quota.set({"instances": None})
    scene.create()


def test_the_quota_of_ports_holds_at_the_call():
    scene = Scene(quota={"ports": 0})
    with pytest.raises(Refusal, match="Maximum number of ports exceeded"):
        scene.create()


def test_a_failed_build_holds_its_quota_until_it_is_deleted():
    scene = Scene(boot=1, delete_seconds=1, quota={"instances": 1}, faults=fault("error-server", times=1))
    made = scene.create()
    scene.go(2)
    failed = scene.server(made)
    assert failed.status == "ERROR"
    assert failed.addresses == ()
    assert scene.world.counts()["one"]["ports"] == 0
    with pytest.raises(Refusal):
        scene.create()
    scene.delete(made)
    scene.go(2)
    scene.create()


def test_no_valid_host():
    scene = Scene(boot=1, faults=fault("no-valid-host"))
    made = scene.create()
    scene.go(2)
    failed = scene.server(made)
    assert failed.fault is not None
    assert (failed.status, failed.fault.message) == ("ERROR", TEXTS["no-valid-host"].message)


def test_a_full_zone_has_no_valid_host_but_others_do():
    scene = Scene(boot=1, zones=["a", "b"], full_zones=["a"])
    full, free = scene.create(zone="a"), scene.create(zone="b")
    scene.go(2)
    assert scene.server(full).status == "ERROR"
    assert (scene.server(free).status, scene.server(free).zone) == ("ACTIVE", "b")


def test_an_unknown_zone_is_refused():
    with pytest.raises(Refusal, match="availability zone is not available"):
        Scene().create(zone="moon")


def test_an_unknown_key_is_refused():
    with pytest.raises(Refusal, match="Invalid key_name"):
        Scene().create(key_name="nobody")


def test_the_fault_of_an_error_server_can_be_told():
    scene = Scene(boot=1, faults=fault("error-server", message="Image i could not be found."))
    made = scene.create()
    scene.go(2)
    found = scene.server(made).fault
    assert found is not None
    assert found.message == "Image i could not be found."


def test_a_quota_fault_refuses_with_its_own_words_if_it_has_some():
    with pytest.raises(Refusal, match=r"Quota exceeded for instances"):
        Scene(faults=fault("quota")).create()
    with pytest.raises(Refusal, match="Maximum number of ports exceeded"):
        Scene(faults=fault("quota", message="Maximum number of ports exceeded")).create()


def test_a_stuck_build_stays_in_build():
    scene = Scene(boot=1, faults=fault("stuck-build"))
    made = scene.create()
    scene.go(10_000)
    assert scene.server(made).status == "BUILD"


def test_no_address():
    scene = Scene(boot=1, faults=fault("no-address"))
    made = scene.create()
    scene.go(2)
    assert (scene.server(made).status, scene.server(made).addresses) == ("ACTIVE", ())


def test_no_ssh():
    scene = Scene(boot=1, faults=fault("no-ssh"))
    made = scene.create()
    scene.go(10_000)
    assert scene.world.guest_at(scene.addresses(made)[0]) is None


def test_an_ignored_delete_changes_nothing():
    scene = Scene(boot=1, faults=fault("ignored-delete", times=1))
    made = scene.create()
    scene.go(2)
    scene.delete(made)
    scene.go(100)
    assert (scene.server(made).status, scene.server(made).task_state) == ("ACTIVE", None)
    scene.delete(made)
    scene.go(100)
    assert scene.cloud.compute.list() == ()


def test_a_delete_that_fails_leaves_the_server_in_error():
    scene = Scene(boot=1, faults=fault("error-delete", times=1))
    made = scene.create()
    scene.go(2)
    scene.delete(made)
    scene.go(100)
    assert scene.server(made).status == "ERROR"


def test_a_leaked_port_stays_down_with_the_id_of_the_dead_server():
    scene = Scene(boot=1, faults=fault("leaked-port", times=1))
    made = scene.create()
    scene.go(2)
    scene.delete(made)
    scene.go(100)
    assert scene.cloud.compute.list() == ()
    (port,) = scene.cloud.networking.ports.values()
    assert (port.status, port.device_id, port.device_owner) == ("DOWN", made.id, "compute:nova")


def test_a_stale_list_shows_what_was():
    scene = Scene(boot=1, delete_seconds=1, faults=fault("stale-list", skip=3, times=1, seconds=5))
    compute = scene.cloud.compute

    def listed() -> list[str]:
        return [s.name for s in compute.list(scene.cloud.call("compute.GET.servers_detail"))]

    assert listed() == []
    first = scene.create("first")
    scene.go(2)
    assert listed() == ["first"]
    scene.delete(first)
    scene.go(5)
    assert listed() == []
    assert listed() == ["first"]
    assert listed() == []


def test_a_new_server_may_be_missing_from_lists_for_a_while():
    scene = Scene(visible_after=3)
    made = scene.create()
    assert scene.cloud.compute.list() == ()
    assert scene.server(made).id == made.id
    scene.go(3)
    assert len(scene.cloud.compute.list()) == 1


def test_lists_show_the_newest_first():
    scene = Scene()
    for name in ("a", "b", "c"):
        scene.create(name)
    assert [s.name for s in scene.cloud.compute.list()] == ["c", "b", "a"]


def test_a_list_kept_from_before_does_not_change():
    scene = Scene(boot=1)
    scene.create()
    kept = scene.cloud.compute.list()
    scene.go(2)
    assert kept[0].status == "BUILD"


def test_a_faults_name_finds_the_server_behind_an_id():
    scene = Scene(boot=1, faults=fault("ignored-delete", name="keep-*"))
    keep, drop = scene.create("keep-1"), scene.create("drop-1")
    scene.go(2)
    scene.delete(keep)
    scene.delete(drop)
    scene.go(5)
    assert [s.name for s in scene.cloud.compute.list()] == ["keep-1"]


def test_boot_from_volume_makes_a_volume_that_goes_with_the_server():
    scene = Scene(boot=1, delete_seconds=1)
    made = scene.create(volume_gib=20)
    scene.go(2)
    server = scene.server(made)
    (volume,) = scene.cloud.volumes.volumes.values()
    assert (server.image_id, server.volumes, volume.size_gib) == (None, (volume.id,), 20)
    scene.delete(made)
    scene.go(2)
    assert not scene.cloud.volumes.volumes


def test_a_volume_that_is_not_deleted_with_its_server_becomes_available():
    scene = Scene(boot=1, delete_seconds=1)
    made = scene.create(volume_gib=20, delete_volume=False)
    scene.go(2)
    scene.delete(made)
    scene.go(2)
    (volume,) = scene.cloud.volumes.volumes.values()
    assert volume.status == "available"


def test_a_boot_that_gets_no_volume_fails_and_leaves_no_port():
    scene = Scene(boot=1, quota={"volumes": 0})
    made = scene.create(volume_gib=20)
    scene.go(2)
    assert scene.server(made).status == "ERROR"
    assert not scene.cloud.networking.ports


def test_a_foreign_server_is_there_at_once_past_any_quota():
    scene = Scene(quota={"instances": 0, "ports": 0})
    networks = [n.id for n in scene.cloud.networking.networks.values()]
    made = scene.cloud.compute.put_foreign(name="theirs", metadata={"a": "b"}, networks=networks)
    assert (made.status, made.foreign, len(made.addresses)) == ("ACTIVE", True, 1)


def test_the_console_is_there_once_the_server_is():
    scene = Scene(boot=1)
    made = scene.create()
    with pytest.raises(Refusal, match="not ready"):
        scene.cloud.compute.console(made.id)
    scene.go(2)
    assert "login:" in scene.cloud.compute.console(made.id)


def test_two_worlds_of_one_seed_are_equal():
    def ids() -> list[str]:
        scene = Scene(faults=fault("http-500", probability=0.5))
        return [scene.create().id for _ in range(3)]

    assert ids() == ids()


def test_calls_are_counted_with_what_struck_them():
    scene = Scene(faults=fault(FaultKind.SLOW.value))
    scene.create()
    counts = scene.world.counts()["one"]
    assert counts["calls_by_operation"] == {"compute.POST.servers": 1}
    assert counts["faults"] == {"slow": 1}
