from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolmgr.policy.polling import PollFacts, next_poll, patience, slackening
from poolmgr.policy.tuning import Tuning

TUNING = Tuning(
    patience_samples=3,
    patience_share=0.8,
    patience_max=20.0,
    poll_min=0.75,
    poll_max=10.0,
    poll_idle=60.0,
    poll_backoff_max=60.0,
    poll_per_duration=3.0,
    stuck_after=60.0,
    stuck_share=0.05,
    stuck_look_max=30.0,
)
ROUND = PollFacts(last_end=100.0, last_duration=0.1)


def due(facts: PollFacts, *, wanted: bool = True, rate: float = 0.0) -> float:
    return next_poll(facts, wanted=wanted, rate=rate, tuning=TUNING)


def test_the_first_listing_is_due_at_once():
    assert due(PollFacts()) == 0.0
    assert due(PollFacts(), wanted=False) == 0.0


@pytest.mark.parametrize(
    ("duration", "rate", "pause"),
    [
        (0.1, 0.0, 0.75),
        (1.0, 0.0, 3.0),  # a listing that takes long is made rarely
        (30.0, 0.0, 10.0),  # but not more rarely than this
        (0.1, 1.0, 3.0),  # with one call a second, two of three are left for real work
        (0.1, 60.0, 10.0),
    ],
)
def test_while_something_is_in_transition_one_listing_follows_the_other(duration, rate, pause):
    assert due(PollFacts(last_end=100.0, last_duration=duration), rate=rate) == 100.0 + pause


def test_with_nobody_waiting_a_listing_is_made_once_a_minute():
    assert due(ROUND, wanted=False) == 160.0


@pytest.mark.parametrize(("failures", "pause"), [(1, 1.5), (2, 3.0), (6, 48.0), (7, 60.0), (5000, 60.0)])
@pytest.mark.parametrize("wanted", [True, False])
def test_a_cloud_that_fails_is_asked_less_and_less(failures, pause, wanted):
    """5,000 failures in a row are three days of outage; 2.0 ** 1024 raises OverflowError."""
    assert due(PollFacts(last_end=100.0, failures=failures), wanted=wanted) == 100.0 + pause


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    st.floats(0, 1e6),
    st.floats(0, 1e4),
    st.integers(0, 10**6),
    st.booleans(),
    st.floats(0, 1e4),
)
def test_pauses_are_bounded(end, duration, failures, wanted, rate):
    facts = PollFacts(last_end=end, last_duration=duration, failures=failures)
    when = due(facts, wanted=wanted, rate=rate)
    most = max(TUNING.poll_backoff_max if failures else 0.0, TUNING.poll_max if wanted else TUNING.poll_idle)
    assert end + TUNING.poll_min <= when <= end + most


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.floats(0, 1e4), st.integers(0, 100), st.floats(0, 1e4))
def test_whoever_waits_never_waits_longer_than_nobody(duration, failures, rate):
    facts = PollFacts(last_end=0.0, last_duration=duration, failures=failures)
    assert due(facts, wanted=True, rate=rate) <= due(facts, wanted=False, rate=rate)


@pytest.mark.parametrize(
    ("durations", "seconds"),
    [
        ([], 0.0),
        ([10.0, 10.0], 0.0),  # too few to believe in
        ([10.0, 10.0, 10.0], 8.0),
        ([10.0, 5.0, 90.0], 4.0),  # the shortest counts: it may be over as soon as that
        ([100.0, 90.0, 80.0], 20.0),
        ([10.0, 0.0, 10.0], 0.0),
    ],
)
def test_what_takes_its_time_is_not_looked_for_before(durations, seconds):
    assert patience(durations, TUNING) == seconds


@pytest.mark.parametrize(
    ("waited", "pause"), [(0.0, 0.0), (60.0, 0.0), (160.0, 5.0), (660.0, 30.0), (1e9, 30.0)]
)
def test_what_seems_stuck_is_looked_at_ever_more_rarely(waited, pause):
    assert slackening(waited, TUNING) == pause
