"""What goes wrong when: the seed says all."""

from __future__ import annotations

import pytest

from poolmgr.simcloud.faults import FaultKind
from tests.chaos.breaking import ACTS
from tests.chaos.plan import API_FAULTS, ELSEWHERE, Fault, Strike, from_json, make_plan, to_json

LAUNCHERS = ("launcher1", "launcher2", "launcher3")
ZOOKEEPERS = ("zookeeper1", "zookeeper2", "zookeeper3")
CLOUDS = ("north", "south", "east")


def plan(seed: int = 7, **more) -> tuple[Strike, ...]:
    arguments = {
        "seconds": 1800.0,
        "launchers": LAUNCHERS,
        "zookeepers": ZOOKEEPERS,
        "clouds": CLOUDS,
        **more,
    }
    return make_plan(seed, **arguments)


def test_the_same_seed_makes_the_same_plan_and_another_one_another():
    assert plan(7) == plan(7)
    assert plan(7) != plan(8)


def test_a_plan_that_was_written_is_the_same_when_it_is_read():
    assert from_json(to_json(plan())) == plan()


@pytest.mark.parametrize("seed", range(5))
def test_with_time_every_fault_comes_and_every_one_of_the_clouds(seed):
    strikes = plan(seed, seconds=3600.0)
    assert {strike.fault for strike in strikes} == set(Fault)
    assert {strike.kind for strike in strikes if strike.fault is Fault.API} == set(API_FAULTS)


def test_only_the_faults_that_are_asked_for_come():
    asked = {Fault.KILL, Fault.EXPIRE}
    assert {strike.fault for strike in plan(faults=asked)} == asked


def test_every_fault_that_a_cloud_knows_is_used_or_named_as_none_of_this():
    assert sorted([*API_FAULTS, *ELSEWHERE]) == sorted(kind.value for kind in FaultKind)


def test_every_fault_can_be_done_and_undone():
    assert set(ACTS) == set(Fault)


@pytest.mark.parametrize("seed", range(20))
def test_no_part_is_struck_twice_at_a_time(seed):
    """Else the end of the first fault would end the second one too."""
    parts = {
        Fault.ZK_MEMBER: ["zookeeper"],
        Fault.ZK_LEADER: ["zookeeper"],
        Fault.ZK_ALL: ["zookeeper"],
        Fault.RELOAD: ["file"],
        Fault.BAD_FILE: ["file"],
        Fault.ROLLING: LAUNCHERS,
    }
    free_at: dict[str, float] = {}
    for strike in plan(seed, pause=2.0):
        for part in parts.get(strike.fault, [strike.target]):
            assert strike.at >= free_at.get(part, 0.0), strike
            free_at[part] = strike.at + strike.seconds


def test_strikes_come_in_order_and_none_after_the_end():
    times = [strike.at for strike in plan()]
    assert times == sorted(times)
    assert times[0] >= 5.0
    assert times[-1] < 1800.0
