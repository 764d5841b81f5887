from __future__ import annotations

import logging
import math
from dataclasses import replace

import pytest

from poolmgr.errors import CloudUnavailable
from poolmgr.launcher.jobs import Jobs
from poolmgr.launcher.listings import Round, SharedListing
from poolmgr.model.server import Listing
from poolmgr.policy.tuning import Tuning
from tests.fakes import FakeClock, ManualExecutor

TUNING = Tuning(poll_min=1.0, poll_max=10.0, poll_idle=60.0, poll_backoff_max=60.0, poll_per_duration=3.0)


class Cloud:
    """A cloud with one list; every call takes `duration` seconds."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.executor = ManualExecutor()
        self.jobs = Jobs(lambda: None)
        self.calls = 0
        self.error: Exception | None = None
        self.complete = True
        self.duration = 0.2
        self.partial_calls = 0
        self.listing = SharedListing(
            "servers",
            self._list,
            self.jobs,
            self.executor,
            self.clock,
            TUNING,
            fetch_states=self._list_states,
        )

    def _list_states(self) -> Listing[str]:
        self.partial_calls += 1
        return replace(self._list(), complete=False, partial=True)

    def _list(self) -> Listing[str]:
        self.calls += 1
        began = self.clock.monotonic()
        self.clock.advance(self.duration)
        if self.error is not None:
            raise self.error
        return Listing(
            items={"call": str(self.calls)},
            started_at=began,
            finished_at=self.clock.monotonic(),
            complete=self.complete,
        )

    def poll(self, rate: float = 0.0) -> float:
        """What a cycle does: begin a listing if due, let it end, take it."""
        due = self.listing.poll(rate)
        self.executor.run_all()
        self.jobs.deliver()
        return due


@pytest.fixture
def cloud() -> Cloud:
    return Cloud()


def test_the_first_listing_is_made_at_once(cloud):
    assert cloud.listing.last is None
    cloud.poll()
    assert cloud.listing.last.items == {"call": "1"}


def test_never_two_at_a_time(cloud):
    assert cloud.listing.poll(0.0) == math.inf  # its end wakes the worker
    assert cloud.listing.poll(0.0) == math.inf
    assert len(cloud.executor) == 1


def test_with_nobody_waiting_one_a_minute(cloud):
    cloud.poll()
    assert cloud.poll() == pytest.approx(60.2)
    assert cloud.calls == 1
    cloud.clock.advance(60.0)
    cloud.poll()
    assert cloud.calls == 2


def test_whoever_waits_gets_one_soon_and_then_it_is_quiet_again(cloud):
    cloud.poll()
    cloud.listing.want(cloud.clock.monotonic())
    assert cloud.poll() == pytest.approx(1.2)
    cloud.clock.advance(1.0)
    cloud.poll()
    assert cloud.calls == 2
    assert cloud.poll() == pytest.approx(cloud.clock.monotonic() + 60.0)


def test_a_listing_that_began_before_the_wish_does_not_fulfil_it(cloud):
    cloud.poll()
    cloud.clock.advance(60.0)
    cloud.listing.poll(0.0)
    cloud.executor.run_one()  # begins at 60.2
    wish = cloud.clock.monotonic()
    assert cloud.listing.since(wish) is None
    cloud.jobs.deliver()
    assert cloud.listing.since(wish) is None
    assert cloud.poll() == pytest.approx(wish + 1.0)  # still wanted: not in a minute
    cloud.clock.advance(1.0)
    cloud.poll()
    assert cloud.listing.since(wish) is cloud.listing.last


@pytest.mark.parametrize("wishes", [(50.0, 10.0), (10.0, 50.0)])
def test_one_listing_serves_all_who_wait_and_the_latest_wish_counts(cloud, wishes):
    for wish in wishes:
        cloud.listing.want(wish)
    cloud.clock.advance(20.0)
    cloud.poll()
    assert cloud.listing.since(10.0) is cloud.listing.last
    cloud.clock.advance(30.0)  # 50.2, and no minute later
    cloud.poll()
    assert cloud.calls == 2
    assert cloud.listing.since(50.0) is cloud.listing.last


def test_since_takes_a_listing_that_began_right_then(cloud):
    cloud.poll()
    assert cloud.listing.since(0.0) is cloud.listing.last
    assert cloud.listing.since(0.1) is None


def test_a_kind_of_thing_that_nobody_asks_for_is_not_listed(cloud):
    assert cloud.listing.poll_if_wanted(0.0) == math.inf
    assert len(cloud.executor) == 0
    cloud.listing.want(0.0)
    cloud.listing.poll_if_wanted(0.0)
    assert len(cloud.executor) == 1


def test_a_listing_and_the_one_before_it_are_kept(cloud):
    cloud.poll()
    assert cloud.listing.whole_before is None
    cloud.clock.advance(60.0)
    cloud.poll()
    assert cloud.listing.whole_before.items == {"call": "1"}
    assert cloud.listing.whole is cloud.listing.last
    assert cloud.listing.last.items == {"call": "2"}


def test_whoever_wants_only_states_may_get_a_partial_listing(cloud):
    cloud.poll()
    whole = cloud.listing.whole
    cloud.clock.advance(10.0)
    cloud.listing.want_states(10.0)
    cloud.poll()
    assert (cloud.partial_calls, cloud.listing.last.items) == (1, {"call": "2"})
    assert cloud.listing.last.partial
    assert (cloud.listing.whole, cloud.listing.whole_before) == (whole, None)
    assert cloud.listing.failures == 0
    assert cloud.listing.since(0.0) is whole
    assert cloud.poll() == pytest.approx(cloud.clock.monotonic() + 60.0)  # nobody waits any more


def test_a_partial_listing_is_none_for_whoever_wants_a_complete_one(cloud):
    cloud.poll()
    cloud.clock.advance(10.0)
    cloud.listing.want_states(10.0)
    assert cloud.listing.since(10.0) is None
    cloud.poll()
    assert cloud.partial_calls == 0
    assert cloud.listing.since(10.0) is cloud.listing.last


@pytest.mark.parametrize("incomplete", [True, False])
def test_an_outage_keeps_the_last_knowledge_and_is_told_once(cloud, caplog, incomplete):
    cloud.poll()
    before = cloud.listing.last
    cloud.listing.want(cloud.clock.monotonic())
    if incomplete:
        cloud.complete = False
    else:
        cloud.error = CloudUnavailable("503")
    pauses = []
    with caplog.at_level(logging.INFO):
        for _ in range(8):
            cloud.clock.advance(max(0.0, cloud.poll() - cloud.clock.monotonic()))
            began = cloud.clock.monotonic()
            cloud.poll()
            pauses.append(round(cloud.listing.poll(0.0) - began - 0.2, 3))
        assert cloud.listing.failures == 8
        assert cloud.listing.last is before
        assert [r.levelname for r in caplog.records] == ["WARNING"]
        assert ("a page is missing" if incomplete else "503") in caplog.text
        assert pauses == [2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]
        cloud.error, cloud.complete = None, True
        cloud.clock.advance(60.0)
        cloud.poll()
    assert cloud.listing.failures == 0
    assert cloud.listing.last is not before
    assert [r.levelname for r in caplog.records] == ["WARNING", "INFO"]


def test_a_bug_in_a_listing_does_not_end_listing(cloud):
    cloud.error = ZeroDivisionError("a bug")
    with pytest.raises(ZeroDivisionError):
        cloud.poll()
    cloud.error = None
    cloud.clock.advance(2.0)
    cloud.poll()
    assert cloud.listing.last is not None


def test_few_listings_are_made_where_calls_are_few(cloud):
    cloud.poll()
    cloud.listing.want(cloud.clock.monotonic())
    assert cloud.poll(rate=2.0) == pytest.approx(0.2 + 6.0)


def test_a_slow_listing_is_made_rarely(cloud):
    cloud.duration = 2.0
    cloud.poll()
    cloud.listing.want(cloud.clock.monotonic())
    assert cloud.poll() == pytest.approx(2.0 + 6.0)


def test_all_being_well_is_not_worth_a_line(cloud, caplog):
    with caplog.at_level(logging.INFO):
        cloud.poll()
        cloud.clock.advance(60.0)
        cloud.poll()
    assert caplog.records == []


def test_a_round_waits_for_a_listing_that_begins_when_it_is_due(cloud):
    cloud.poll()
    cloud.clock.advance(5.0)
    rounds = Round(cloud.listing)
    assert not rounds.ready(5.2, 60.0)
    assert (
        rounds.next == math.inf
    )  # nothing to be asked for until the listing is there, however long that takes
    assert not rounds.ready(300.0, 60.0)
    assert rounds.next == math.inf
    cloud.clock.advance(1.0)
    cloud.poll()
    assert rounds.ready(6.5, 60.0)
    assert not rounds.ready(6.5, 60.0)
    assert rounds.next == pytest.approx(65.2)
    assert not rounds.ready(65.2, 60.0)
    assert rounds.next == math.inf


def test_a_round_of_several_kinds_wants_all_of_them_at_once(cloud):
    other = Cloud()
    rounds = Round(cloud.listing, other.listing)
    assert not rounds.ready(0.0, 60.0)
    for one in (cloud, other):
        assert not rounds.ready(0.1, 60.0)
        assert one.listing.poll_if_wanted(0.0) == math.inf
        one.executor.run_all()
        one.jobs.deliver()
    assert rounds.ready(0.5, 60.0)
