from __future__ import annotations

import random
import threading

import pytest

from poolmgr.cloud.openstack.retry import Retrier, RetryPolicy
from poolmgr.errors import CloudUnavailable, OutcomeUnknown, Throttled
from tests.fakes import FakeClock


class Failing:
    """A call that raises what it is given, one after the other, then returns "done"."""

    def __init__(self, clock: FakeClock, *errors: Exception, seconds: float = 0.0) -> None:
        self.tries = 0
        self._clock, self._errors, self._seconds = clock, list(errors), seconds

    def __call__(self) -> str:
        self.tries += 1
        self._clock.advance(self._seconds)
        if self._errors:
            raise self._errors.pop(0)
        return "done"


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def closed():
    return threading.Event()


@pytest.fixture
def retrier(clock, closed):
    return Retrier(RetryPolicy(), clock, random.Random(1), closed)


def test_a_call_is_tried_three_times_with_growing_pauses(retrier, clock):
    call = Failing(clock, *(CloudUnavailable(str(n)) for n in range(9)))
    with pytest.raises(CloudUnavailable, match="2"):
        retrier.run(call)
    assert call.tries == 3
    first, second = clock.waits
    assert 0.25 <= first <= 0.5 <= second <= 1.0


def test_it_returns_what_a_later_try_returns(retrier, clock):
    assert retrier.run(Failing(clock, CloudUnavailable("once"))) == "done"


def test_a_call_that_took_long_is_not_tried_again(retrier, clock):
    call = Failing(clock, CloudUnavailable("timeout"), seconds=60.0)
    with pytest.raises(CloudUnavailable):
        retrier.run(call)
    assert call.tries == 1
    assert clock.waits == []


def test_a_throttled_call_waits_as_long_as_it_was_told(retrier, clock):
    assert retrier.run(Failing(clock, Throttled("slow down", retry_after=7.0))) == "done"
    assert clock.waits == [7.0]


def test_a_throttled_call_is_not_waited_for_beyond_the_budget(retrier, clock):
    with pytest.raises(Throttled):
        retrier.run(Failing(clock, Throttled("slow down", retry_after=3600.0)))
    assert clock.waits == []


def test_other_errors_are_not_repeated(retrier, clock):
    call = Failing(clock, OutcomeUnknown("who knows"))
    with pytest.raises(OutcomeUnknown):
        retrier.run(call)
    assert call.tries == 1


def test_nothing_is_repeated_after_close(retrier, clock, closed):
    closed.set()
    call = Failing(clock, CloudUnavailable("no"))
    with pytest.raises(CloudUnavailable):
        retrier.run(call)
    assert call.tries == 1
