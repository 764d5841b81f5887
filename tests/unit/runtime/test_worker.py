from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import pytest

from poolmgr.errors import StoreUnavailable
from poolmgr.runtime.worker import Worker
from tests.fakes import FakeClock


class Script:
    """A cycle that plays one item after the other: seconds to return, an error to raise, a function to call."""

    def __init__(self, *items: float | Exception | Callable[[], float]) -> None:
        self._items = list(items)
        self.calls = 0

    def __call__(self) -> float:
        self.calls += 1
        item = self._items.pop(0)
        if isinstance(item, Exception):
            raise item
        return item() if callable(item) else item


def test_a_cycle_says_when_the_next_one_is_due():
    clock = FakeClock()
    worker = Worker("north", Script(3.0, 0.5, 60.0), clock)
    clock.at(10.0, worker.stop)
    worker.run()
    assert clock.waits == [3.0, 0.5, 60.0]
    assert clock.monotonic() == 10.0  # the stop cut the last wait short


def test_a_worker_outlives_expected_trouble_and_waits_before_it_retries(caplog):
    clock = FakeClock()
    worker = Worker("north", Script(StoreUnavailable("session lost"), 1.0), clock, retry_after=5.0)
    clock.at(6.0, worker.stop)
    with caplog.at_level(logging.INFO):
        worker.run()
    assert clock.waits == [5.0, 1.0]
    assert [(r.levelname, r.exc_info) for r in caplog.records] == [("WARNING", None)]
    assert "session lost" in caplog.text


def test_a_worker_outlives_a_bug_and_shows_where_it_is(caplog):
    clock = FakeClock()
    worker = Worker("north", Script(ZeroDivisionError("a bug"), 1.0), clock, retry_after=5.0)
    clock.at(6.0, worker.stop)
    worker.run()
    assert clock.waits == [5.0, 1.0]
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert record.exc_info


def test_a_change_during_a_cycle_ends_the_wait_after_it():
    clock = FakeClock()

    def changed() -> float:
        worker.wake.set()
        return 60.0

    worker = Worker("north", Script(changed, 60.0), clock)
    clock.at(1.0, worker.stop)
    worker.run()
    assert clock.waits == [60.0, 60.0]
    assert clock.monotonic() == 1.0


def test_a_change_during_the_wait_ends_it():
    clock = FakeClock()
    cycle = Script(60.0, 60.0)
    worker = Worker("north", cycle, clock)
    clock.at(2.0, worker.wake.set)
    clock.at(5.0, worker.stop)
    worker.run()
    assert cycle.calls == 2
    assert clock.monotonic() == 5.0


def test_a_burst_of_changes_costs_one_cycle_per_spacing():
    clock = FakeClock()
    times: list[float] = []

    def cycle() -> float:
        times.append(clock.monotonic())
        worker.wake.set()  # there is always something new
        return 60.0

    worker = Worker("north", cycle, clock, spacing=0.5)
    clock.at(1.75, worker.stop)
    worker.run()
    assert times == [0.0, 0.5, 1.0, 1.5]


def test_a_long_cycle_needs_no_spacing_after_it():
    clock = FakeClock()
    times: list[float] = []

    def cycle() -> float:
        times.append(clock.monotonic())
        clock.advance(0.8)
        return 0.0

    worker = Worker("north", cycle, clock, spacing=0.5)
    clock.at(1.7, worker.stop)
    worker.run()
    assert times == pytest.approx([0.0, 0.8, 1.6])


def test_a_stop_during_the_cycle_is_not_waited_out():
    clock = FakeClock()

    def cycle() -> float:
        worker.stop()
        return 60.0

    worker = Worker("north", cycle, clock, spacing=30.0)
    worker.run()
    assert clock.monotonic() == 0.0


def test_a_stop_at_the_unluckiest_moment_is_not_lost():
    """Just as the worker forgets what woke it: between two cycles, after it last looked."""
    clock = FakeClock()
    worker = Worker("north", Script(60.0), clock)

    class Unlucky(threading.Event):
        def clear(self) -> None:
            worker.stop()
            super().clear()

    worker.wake = Unlucky()
    worker.run()
    assert clock.waits == []


def test_a_worker_that_was_stopped_before_it_started_does_nothing():
    cycle = Script()
    worker = Worker("north", cycle, FakeClock())
    worker.stop()
    worker.run()
    assert cycle.calls == 0


def test_the_end_of_the_last_cycle_is_known_for_liveness_checks():
    clock = FakeClock()

    def slow() -> float:
        clock.advance(7.0)
        worker.stop()
        return 60.0

    worker = Worker("north", slow, clock)
    assert worker.last_cycle_at == 0.0
    worker.run()
    assert worker.last_cycle_at == 7.0


def test_join_tells_whether_the_thread_has_ended():
    inside, go_on = threading.Event(), threading.Event()

    def cycle() -> float:
        inside.set()
        go_on.wait(10.0)
        return 0.0

    worker = Worker("north", cycle, FakeClock())
    assert worker.join(0.0)  # never started: nothing to wait for
    worker.start()
    assert inside.wait(10.0)
    worker.stop()
    assert not worker.join(0.0)
    go_on.set()
    assert worker.join(10.0)
