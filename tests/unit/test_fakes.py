"""The fakes that other tests rely on."""

from __future__ import annotations

import math
import threading

import pytest

from tests.fakes import EPOCH, FakeClock


def test_time_passes_only_when_somebody_waits():
    clock = FakeClock()
    assert (clock.monotonic(), clock.time()) == (0.0, EPOCH)
    clock.wait(threading.Event(), 2.5)
    clock.advance(1.0)
    assert (clock.monotonic(), clock.time()) == (3.5, EPOCH + 3.5)
    assert clock.waits == [2.5]


def test_plans_run_in_order_of_time_and_see_their_time():
    clock = FakeClock()
    seen: list[tuple[str, float]] = []
    clock.at(5.0, lambda: seen.append(("late", clock.monotonic())))
    clock.after(1.0, lambda: seen.append(("soon", clock.monotonic())))
    clock.after(1.0, lambda: clock.after(1.0, lambda: seen.append(("then", clock.monotonic()))))
    assert clock.next_plan() == 1.0
    clock.advance(4.0)
    assert seen == [("soon", 1.0), ("then", 2.0)]
    clock.advance(1.0)
    assert seen[-1] == ("late", 5.0)
    assert clock.next_plan() == math.inf


def test_a_plan_of_the_past_runs_at_the_next_step():
    clock = FakeClock()
    clock.advance(10.0)
    ran: list[float] = []
    clock.at(3.0, lambda: ran.append(clock.monotonic()))
    clock.advance(0.0)
    assert ran == [10.0]


def test_an_event_ends_the_wait_when_it_is_set():
    clock, event = FakeClock(), threading.Event()
    clock.at(2.0, event.set)
    clock.wait(event, 60.0)
    assert clock.monotonic() == 2.0
    clock.wait(event, 60.0)  # set already
    assert clock.monotonic() == 2.0
    assert clock.waits == [60.0, 60.0]


def test_a_wait_without_end_needs_a_plan_that_ends_it():
    clock, event = FakeClock(), threading.Event()
    clock.at(2.0, event.set)
    clock.wait(event, math.inf)
    assert clock.monotonic() == 2.0
    with pytest.raises(AssertionError, match="for ever"):
        clock.wait(threading.Event(), math.inf)
