"""The pace of calls to a cloud, in time that costs nothing."""

from __future__ import annotations

import pytest

from poolmgr.cloud.openstack.limiter import RateLimiter
from poolmgr.errors import CloudUnavailable, Throttled
from tests.fakes import FakeClock


def times_of(limiter: RateLimiter, clock: FakeClock, calls: int, service: str = "compute") -> list[float]:
    times = []
    for _ in range(calls):
        limiter.acquire(service)
        times.append(round(clock.monotonic(), 3))
    return times


def test_calls_are_spaced_after_a_burst_of_two():
    clock = FakeClock()
    assert times_of(RateLimiter(0.5, clock), clock, 5) == [0.0, 0.0, 0.5, 1.0, 1.5]


def test_idle_time_is_not_saved_up():
    clock = FakeClock()
    limiter = RateLimiter(0.5, clock)
    times_of(limiter, clock, 3)
    clock.advance(3600.0)
    began = clock.monotonic()
    assert [t - began for t in times_of(limiter, clock, 4)] == [0.0, 0.0, 0.5, 1.0]


def test_no_rate_means_no_waiting():
    clock = FakeClock()
    assert times_of(RateLimiter(0.0, clock), clock, 100) == [0.0] * 100


def test_all_services_share_the_providers_rate():
    clock = FakeClock()
    limiter = RateLimiter(1.0, clock)
    limiter.acquire("identity")
    limiter.acquire("network")
    limiter.acquire("compute")
    assert clock.monotonic() == 1.0


def test_a_services_own_rate_holds_for_it_alone():
    clock = FakeClock()
    limiter = RateLimiter(0.0, clock, service_intervals={"network": 2.0})
    assert times_of(limiter, clock, 3, "network") == [0.0, 0.0, 2.0]
    assert times_of(limiter, clock, 3, "compute") == [2.0, 2.0, 2.0]


def test_a_refusal_holds_its_service_for_as_long_as_the_cloud_says():
    clock = FakeClock()
    limiter = RateLimiter(0.0, clock)
    assert limiter.pause("compute", 7.0) == 7.0
    limiter.acquire("network")
    assert clock.monotonic() == 0.0
    limiter.acquire("compute")
    assert clock.monotonic() == 7.0


def test_a_refused_service_goes_on_slower_and_recovers():
    clock = FakeClock()
    limiter = RateLimiter(0.0, clock)
    limiter.pause("compute", 1.0)
    assert times_of(limiter, clock, 3) == [1.0, 1.1, 1.2]
    for _ in range(50):
        limiter.answered("compute")
    start = clock.monotonic()
    assert len(set(times_of(limiter, clock, 5))) == 1
    assert clock.monotonic() - start < 0.2


def test_refusals_that_do_not_say_how_long_pause_twice_as_long_each_time():
    clock = FakeClock()
    limiter = RateLimiter(0.0, clock, max_wait=600.0)
    pauses = []
    for _ in range(7):
        pauses.append(limiter.pause("compute", None))
        limiter.acquire("compute")
    assert pauses == [2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]


def test_refusals_of_calls_under_way_together_are_one_event():
    clock = FakeClock()
    limiter = RateLimiter(0.0, clock)
    assert [limiter.pause("compute", None) for _ in range(3)] == [2.0, 4.0, 4.0]


def test_a_long_pause_is_an_error_at_once_and_takes_no_thread():
    clock = FakeClock()
    limiter = RateLimiter(0.0, clock, max_wait=30.0)
    limiter.pause("compute", 3600.0)
    with pytest.raises(Throttled) as caught:
        limiter.acquire("compute")
    assert caught.value.retry_after == 3600.0
    assert clock.waits == []


def test_a_call_that_waits_while_its_service_is_refused_waits_longer():
    clock = FakeClock()
    limiter = RateLimiter(5.0, clock)
    limiter.acquire("compute")
    limiter.acquire("compute")
    clock.at(2.0, lambda: limiter.pause("compute", 10.0))
    limiter.acquire("compute")
    assert clock.monotonic() >= 12.0


def test_closing_ends_every_wait():
    clock = FakeClock()
    limiter = RateLimiter(20.0, clock)
    limiter.acquire("compute")
    limiter.acquire("compute")
    clock.at(3.0, limiter.close)
    with pytest.raises(CloudUnavailable, match="stopped"):
        limiter.acquire("compute")
    assert clock.monotonic() == 3.0
