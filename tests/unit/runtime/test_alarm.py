"""A call at a later time; the cycle is called here, the thread is the worker's."""

from __future__ import annotations

import threading

import pytest

from poolmgr.runtime.alarm import Alarm
from poolmgr.runtime.clock import SystemClock
from tests.fakes import FakeClock


class Rung:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.times: list[float] = []
        self.alarm = Alarm("test", lambda: self.times.append(self.clock.monotonic()), self.clock)
        self.alarm._started = True  # no thread of its own


@pytest.fixture
def rung() -> Rung:
    return Rung()


def test_it_rings_once_when_its_time_has_come(rung):
    rung.alarm.set(10.0)
    assert rung.alarm.cycle() == 10.0
    rung.clock.advance(10.0)
    rung.alarm.cycle()
    rung.clock.advance(10.0)
    rung.alarm.cycle()
    assert rung.times == [10.0]


@pytest.mark.parametrize("again", [3.0, 30.0])
def test_a_new_time_takes_the_place_of_the_old_one(rung, again):
    rung.alarm.set(10.0)
    rung.alarm.set(again)
    assert rung.alarm.cycle() == again


def test_it_does_not_ring_after_a_stop(rung):
    rung.alarm.set(10.0)
    rung.alarm.stop()
    rung.clock.advance(10.0)
    rung.alarm.cycle()
    assert rung.times == []


def test_it_rings_on_a_thread_of_its_own():
    rang = threading.Event()
    alarm = Alarm("test", rang.set, SystemClock())
    alarm.set(3600.0)
    alarm.set(0.0)
    assert rang.wait(30.0)
    alarm.stop()
