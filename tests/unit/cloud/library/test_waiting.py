from __future__ import annotations

import threading

import pytest

from poolmgr.cloud.library.waiting import SharedList
from poolmgr.errors import AuthFailed, CloudUnavailable
from poolmgr.model.server import Listing
from poolmgr.policy.tuning import Tuning
from tests.fakes import FakeClock


class Source:
    """A cloud that lists numbers, and fails when told."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.made = 0
        self.trouble: list[object] = []

    def fetch(self) -> Listing[int]:
        self.made += 1
        now = self.clock.monotonic()
        trouble = self.trouble.pop(0) if self.trouble else None
        if isinstance(trouble, Exception):
            raise trouble
        return Listing(items={"n": self.made}, started_at=now, finished_at=now, complete=trouble is None)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def source(clock) -> Source:
    return Source(clock)


@pytest.fixture
def shared(clock, source) -> SharedList[int]:
    return SharedList("numbers", source.fetch, clock, Tuning(poll_min=1.5), threading.Event())


def test_a_fresh_list_is_made_after_the_pause(shared, clock):
    assert shared.fresh().items == {"n": 1}
    assert shared.fresh().items == {"n": 2}
    assert clock.monotonic() == 1.5


def test_who_has_not_seen_the_newest_list_gets_that(shared, source):
    first = shared.next(None)
    second = shared.next(first)
    assert (first.items, second.items) == ({"n": 1}, {"n": 2})
    assert shared.next(first) is second
    assert source.made == 2
    assert shared.last is second


@pytest.mark.parametrize("trouble", [CloudUnavailable("away"), "incomplete"])
def test_a_list_that_fails_is_asked_for_again(shared, source, trouble):
    source.trouble = [trouble, trouble]
    assert shared.fresh().items == {"n": 3}


@pytest.mark.parametrize(
    ("trouble", "words"), [(CloudUnavailable("away"), "away"), ("incomplete", "a page is missing")]
)
def test_not_for_ever(shared, source, clock, trouble, words):
    source.trouble = [trouble] * 1000
    with pytest.raises(CloudUnavailable, match=f"numbers cannot be listed: {words}"):
        shared.fresh(deadline=60.0)
    assert clock.monotonic() == 60.0


def test_other_errors_are_raised_at_once(shared, source, clock):
    source.trouble = [AuthFailed("no")]
    with pytest.raises(AuthFailed):
        shared.fresh()
    assert clock.monotonic() == 0.0


def test_the_end_of_the_connection_ends_the_pause(clock, source):
    closed = threading.Event()
    shared = SharedList("numbers", source.fetch, clock, Tuning(), closed)
    shared.fresh()
    closed.set()
    with pytest.raises(CloudUnavailable, match="was closed"):
        shared.fresh()
