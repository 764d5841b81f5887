"""A launcher that is told to stop: in any state, it hands over, releases, and is gone within the time it was given."""

from __future__ import annotations

import signal
import time

import pytest

from poolmgr.model.request import RequestState
from poolmgr.simcloud.faults import Fault, FaultKind
from tests.integration.launcher_place import launcher_place
from tests.sites import eventually

pytestmark = pytest.mark.integration

#: Seconds for an interpreter to end, and for a machine that is busy with something else.
SLACK = 8.0


@pytest.fixture
def place(tmp_path, zookeeper_hosts):
    with launcher_place(tmp_path, zookeeper_hosts, north={"boot": 1.0}) as made:
        yield made


def stopped(process, seconds):
    """The exit code; it fails if the process takes longer than that."""
    began = time.monotonic()
    code = process.wait(seconds + SLACK + 30.0)
    assert time.monotonic() - began < seconds + SLACK
    return code


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_requests_in_hand_are_left_for_whoever_comes_next_and_nothing_stays_locked(place, number):
    with place.sim.world.clouds["north"].lock:
        place.sim.world.clouds["north"].faults.add(Fault(kind=FaultKind.STUCK_BUILD))
    process = place.start("--stop-timeout", "4")
    asked = [place.submit("small") for _ in range(3)]
    eventually(lambda: place.servers("north") == 3)
    process.send_signal(number)
    assert stopped(process, 4.0) == 0, place.log
    # At once, not when the session would have expired.
    assert eventually(lambda: not place.locked(), within=3.0)
    assert place.components() == []
    assert [place.state(one) for one in asked] == [RequestState.PENDING] * 3
    assert place.servers("north") == 3


def test_what_can_be_finished_in_time_is_finished(place):
    process = place.start()
    asked = place.submit("small")
    eventually(lambda: place.servers("north") == 1)
    process.terminate()
    assert stopped(process, 30.0) == 0
    assert place.fulfilled(asked)


def test_it_stops_in_time_although_a_cloud_answers_nothing(place):
    process = place.start("--stop-timeout", "6")
    place.says("cloud north answers")
    with place.sim.world.clouds["north"].lock:
        place.sim.world.clouds["north"].faults.add(
            Fault(kind=FaultKind.HANG, operations=("*",), seconds=600.0)
        )
    asked = place.submit("small")
    eventually(lambda: place.state(asked) is RequestState.PENDING)
    process.terminate()
    assert stopped(process, 6.0) == 0, place.log
    assert place.state(asked) is RequestState.PENDING
    assert place.components() == []
    assert place.locked() == []


def test_it_stops_in_time_although_zookeeper_is_away(place):
    process = place.start("--stop-timeout", "6")
    place.says("cloud north answers")
    place.proxy.cut()
    place.says("connection")
    process.terminate()
    assert stopped(process, 6.0) in (0, 1), place.log
    assert "Traceback" not in place.log


def test_a_cloud_that_hangs_from_the_start_does_not_keep_it(place):
    with place.sim.world.clouds["north"].lock:
        place.sim.world.clouds["north"].faults.add(
            Fault(kind=FaultKind.HANG, operations=("*",), seconds=600.0)
        )
    process = place.start("--stop-timeout", "6")
    process.send_signal(signal.SIGINT)
    assert stopped(process, 6.0) == 0, place.log
    assert place.components() == []


def test_a_second_signal_hurries_it(place):
    with place.sim.world.clouds["north"].lock:
        place.sim.world.clouds["north"].faults.add(Fault(kind=FaultKind.STUCK_BUILD))
    process = place.start("--stop-timeout", "120")
    asked = place.submit("small")
    eventually(lambda: place.servers("north") == 1)
    process.terminate()
    place.says("Stopping, in at most 120 s")
    process.terminate()
    assert stopped(process, 5.0) == 0, place.log
    assert place.state(asked) is RequestState.PENDING
    assert place.locked() == []
