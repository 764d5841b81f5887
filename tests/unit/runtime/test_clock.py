from __future__ import annotations

import threading

import pytest

from poolmgr.runtime.clock import SystemClock


@pytest.mark.parametrize("seconds", [float("inf"), 1e300, 5.0, 0.0, -1.0])
def test_any_wait_ends_at_once_when_its_event_is_set(seconds):
    event = threading.Event()
    event.set()
    SystemClock().wait(event, seconds)


@pytest.mark.parametrize("seconds", [0.0, -5.0, float("-inf")])
def test_a_wait_that_is_over_already_returns_without_the_event(seconds):
    SystemClock().wait(threading.Event(), seconds)


def test_monotonic_time_does_not_run_backwards():
    clock = SystemClock()
    assert clock.monotonic() <= clock.monotonic()
