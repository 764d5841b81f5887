"""Several real launchers on one ZooKeeper: who dies, stops or stands still loses nothing; no server is built twice."""

from __future__ import annotations

import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from poolmgr.model.component import Component, ComponentKind, ComponentState
from poolmgr.model.node import NodeState
from tests.integration.launcher_place import LauncherPlace, launcher_place
from tests.sites import eventually

pytestmark = pytest.mark.integration

CLOUDS = ("east", "mars", "north", "south", "west")
CREATE = "compute.POST.servers"
#: Seconds of the configured session timeout, and some for a machine that is busy with something else.
SESSION = 6.0


def fleet_place(directory: Any, hosts: str, *names: str, boot: float) -> Any:
    return launcher_place(directory, hosts, **{name: {"boot": boot} for name in names})


def owners(place: LauncherPlace) -> dict[str, int]:
    """The pid of the launcher that owns each provider which is owned. Two with pools of one provider must not be."""
    with place.store.reading() as snapshot:
        pools = Counter((c.provider_name, c.name) for c in snapshot.pools() if c.hostname != "elsewhere")
        pids = {peer.id: peer.pid for peer in snapshot.peers()}
        found = {}
        for name in place.sim.world.clouds:
            status = snapshot.provider_status(name)
            if status is not None and snapshot.provider_owned(name) and status.owner in pids:
                found[name] = pids[status.owner]
    assert max(pools.values(), default=1) == 1, pools
    return found


def shares(place: LauncherPlace, *processes: subprocess.Popen[bytes]) -> list[int]:
    """How many providers each of them owns."""
    count = Counter(owners(place).values())
    return sorted(count[process.pid] for process in processes)


def watched(place: LauncherPlace, condition: Callable[[], bool], within: float = 90.0) -> None:
    """Wait for `condition`, looking all the time that no provider is served twice."""

    def held() -> bool:
        owners(place)
        return condition()

    try:
        eventually(held, within=within)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{place.log[-6000:]}") from error


def roomy(place: LauncherPlace) -> None:
    for one in place.config["providers"]:
        one["pools"][0]["max-servers"] = 100
    place.config["zookeeper-timeout"] = SESSION
    place.write()


def created(place: LauncherPlace) -> int:
    return sum(place.calls(name, CREATE) for name in place.sim.world.clouds)


def alone_then_joined(place: LauncherPlace) -> tuple[Any, Any]:
    """One launcher that owns everything, and another that has come."""
    first = place.start()
    watched(place, lambda: set(owners(place).values()) == {first.pid})
    watched(place, lambda: len(owners(place)) == len(place.sim.world.clouds))
    second = place.start(wait=False)
    place.says("is running", 2)
    return first, second


@pytest.mark.parametrize("servers", [12, 50], ids=["in the middle", "all sent"])
def test_of_fifty_launches_none_is_lost_or_built_again_when_their_launcher_is_killed(
    tmp_path: Any, zookeeper_hosts: str, servers: int
) -> None:
    with fleet_place(tmp_path, zookeeper_hosts, "north", boot=20.0) as place:
        roomy(place)
        first, second = alone_then_joined(place)
        asked = [place.submit("small") for _ in range(50)]
        watched(place, lambda: place.servers("north") >= servers)
        first.kill()
        first.wait()
        assert not any(place.fulfilled(one) for one in asked)
        watched(place, lambda: owners(place) == {"north": second.pid})
        watched(place, lambda: place.fulfilled(*asked))
        assert created(place) == 50
        assert place.servers("north") == 50
        with place.store.reading() as snapshot:
            ready = [n for n in snapshot.nodes() if n.state is NodeState.READY]
            assert len(ready) == len(list(snapshot.nodes())) == 50
        if servers == 50:
            assert place.log.count("adopted in north") == 50
        assert "Traceback" not in place.log


def test_providers_are_spread_and_each_is_served_once_whoever_comes_or_goes(
    tmp_path: Any, zookeeper_hosts: str
) -> None:
    with fleet_place(tmp_path, zookeeper_hosts, *CLOUDS, boot=0.5) as place:
        roomy(place)
        first, second = alone_then_joined(place)
        watched(place, lambda: shares(place, first, second) == [2, 3])
        third = place.start(wait=False)
        place.says("is running", 3)
        watched(place, lambda: shares(place, first, second, third) == [1, 2, 2])
        first.kill()
        first.wait()
        watched(place, lambda: shares(place, second, third) == [2, 3], within=SESSION + 20)
        second.terminate()
        assert second.wait(40.0) == 0, place.log
        watched(place, lambda: shares(place, third) == [5], within=10.0)
        asked = [place.submit("small") for _ in range(10)]
        watched(place, lambda: place.fulfilled(*asked))
        third.terminate()
        assert third.wait(40.0) == 0, place.log
        assert place.components() == []
        assert place.locked() == []
        assert "Traceback" not in place.log


def test_one_that_stood_still_beyond_its_session_harms_nothing_and_joins_again(
    tmp_path: Any, zookeeper_hosts: str
) -> None:
    with fleet_place(tmp_path, zookeeper_hosts, *CLOUDS, boot=15.0) as place:
        roomy(place)
        elsewhere = Component(  # a nodepool-launcher's, that serves the same
            kind=ComponentKind.POOL,
            hostname="elsewhere",
            state=ComponentState.RUNNING,
            id="elsewhere-PoolWorker.north-main-1",
            name="main",
            provider_name="north",
            supported_labels=("other",),
        )
        place.store.register(elsewhere)
        first, second = alone_then_joined(place)
        watched(place, lambda: shares(place, first, second) == [2, 3])
        asked = [place.submit("small") for _ in range(20)]
        watched(place, lambda: created(place) >= 10)
        first.send_signal(signal.SIGSTOP)
        watched(place, lambda: shares(place, second) == [5], within=SESSION + 20)
        watched(place, lambda: created(place) >= 20)
        first.send_signal(signal.SIGCONT)
        watched(place, lambda: place.fulfilled(*asked))
        assert created(place) == 20
        watched(place, lambda: shares(place, first, second) == [2, 3])
        assert sum(place.servers(name) for name in CLOUDS) == 20
        assert "Traceback" not in place.log


def test_a_clean_stop_of_one_of_two_under_load_rebuilds_nothing(tmp_path: Any, zookeeper_hosts: str) -> None:
    with fleet_place(tmp_path, zookeeper_hosts, *CLOUDS, boot=12.0) as place:
        roomy(place)
        first, second = alone_then_joined(place)
        watched(place, lambda: shares(place, first, second) == [2, 3])
        asked = [place.submit("small") for _ in range(30)]
        watched(place, lambda: created(place) >= 15)
        began = time.monotonic()
        first.terminate()
        assert first.wait(40.0) == 0, place.log
        assert time.monotonic() - began < 15.0, "it did not wait for what the other can have"
        watched(place, lambda: shares(place, second) == [5], within=5.0)
        watched(place, lambda: place.fulfilled(*asked))
        assert created(place) == 30
        assert "Traceback" not in place.log


def test_the_only_launcher_is_stopped_and_started_and_goes_on_where_it_was(
    tmp_path: Any, zookeeper_hosts: str
) -> None:
    with fleet_place(tmp_path, zookeeper_hosts, "north", boot=20.0) as place:
        roomy(place)
        first = place.start("--stop-timeout", "4")
        asked = [place.submit("small") for _ in range(10)]
        watched(place, lambda: created(place) == 10)
        first.terminate()
        assert first.wait(40.0) == 0, place.log
        assert place.locked() == []
        assert place.servers("north") == 10
        place.start(wait=False)
        watched(place, lambda: place.fulfilled(*asked))
        assert created(place) == 10
        assert "Traceback" not in place.log
