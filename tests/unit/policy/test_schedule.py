from __future__ import annotations

import time
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolmgr.policy.schedule import cron_time, cron_time_from


def stamp(text: str) -> float:
    return datetime.fromisoformat(f"{text}+00:00").timestamp()


@pytest.mark.parametrize(
    ("expression", "after", "later", "from_then_on"),
    [
        ("30 2 * * *", "2026-03-01T01:00:00", "2026-03-01T02:30:00", "2026-03-01T02:30:00"),
        ("30 2 * * *", "2026-03-01T02:30:00", "2026-03-02T02:30:00", "2026-03-01T02:30:00"),
        ("30 2 * * *", "2026-03-01T02:30:00.250", "2026-03-02T02:30:00", "2026-03-02T02:30:00"),
        ("30 2 * * *", "2026-03-01T02:29:59.750", "2026-03-01T02:30:00", "2026-03-01T02:30:00"),
        ("0 0 * * SUN", "2026-03-02T00:00:00", "2026-03-08T00:00:00", "2026-03-08T00:00:00"),
        ("0 12 29 2 *", "2026-03-01T00:00:00", "2028-02-29T12:00:00", "2028-02-29T12:00:00"),
    ],
)
def test_the_next_time_of_an_expression_is_utc(expression, after, later, from_then_on):
    assert cron_time(expression, stamp(after)) == stamp(later)
    assert cron_time_from(expression, stamp(after)) == stamp(from_then_on)


@given(
    expression=st.sampled_from(["* * * * *", "30 2 * * *", "*/7 3-5 * * MON-FRI", "0 0 1 * *"]),
    after=st.floats(min_value=0, max_value=4e9),
)
def test_the_next_time_is_later_and_there_is_none_between(expression, after):
    at = cron_time(expression, after)
    assert at > after
    assert cron_time_from(expression, at) == at
    assert cron_time(expression, at - 0.5) == at


@pytest.mark.parametrize("after", [-5.0, 0.0])
def test_a_clock_that_was_never_set_is_no_trouble(after):
    assert cron_time("0 0 * * *", after) == timedelta(days=1).total_seconds()


def test_it_is_not_local_time(monkeypatch):
    monkeypatch.setenv("TZ", "PKT-5")
    time.tzset()
    try:
        assert cron_time("0 0 * * *", stamp("2026-03-01T20:00:00.5")) == stamp("2026-03-02T00:00:00")
    finally:
        monkeypatch.undo()
        time.tzset()
