from __future__ import annotations

import threading

import pytest

from poolmgr.runtime.pace import BURST, Pace, pacing
from tests.fakes import FakeClock

BLOCK = 1000


def pace(rate: float, clock: FakeClock) -> Pace:
    return Pace(lambda: rate, clock)


def sent_for(seconds: float, clock: FakeClock, *limits: Pace) -> int:
    """Bytes that one sender who never rests gets through."""
    wait, end, sent = pacing(limits, clock, threading.Event()), clock.monotonic() + seconds, 0
    while True:
        wait(BLOCK)
        if clock.monotonic() >= end:
            return sent
        sent += BLOCK


def test_so_many_bytes_a_second_go():
    clock = FakeClock()
    assert sent_for(10.0, clock, pace(50_000.0, clock)) == pytest.approx(500_000, abs=BLOCK)


def test_a_long_rest_is_not_made_up_for():
    clock = FakeClock()
    limit = pace(50_000.0, clock)
    sent_for(1.0, clock, limit)
    clock.advance(3600.0)
    assert sent_for(1.0, clock, limit) == pytest.approx(50_000 * (1 + BURST), abs=2 * BLOCK)


def test_no_limit_never_waits():
    clock = FakeClock()
    wait = pacing([pace(0.0, clock)], clock, threading.Event())
    for _ in range(1000):
        wait(BLOCK)
    pacing([], clock, threading.Event())(BLOCK)
    assert clock.waits == []


@pytest.mark.parametrize("rates", [(10_000.0, 50_000.0), (50_000.0, 10_000.0), (10_000.0, 0.0)])
def test_of_two_limits_the_narrower_holds(rates):
    clock = FakeClock()
    assert sent_for(10.0, clock, *(pace(rate, clock) for rate in rates)) == pytest.approx(
        100_000, abs=2 * BLOCK
    )


def test_who_shares_a_limit_has_equal_parts_of_it():
    clock = FakeClock()
    limit = pace(10_000.0, clock)
    turns = [(limit.take(BLOCK), who) for _ in range(5) for who in ("one", "two")]
    assert [who for _, who in sorted(turns)] == ["one", "two"] * 5
    assert turns[-1][0] - turns[0][0] == pytest.approx(0.9)


def test_the_wait_ends_when_the_upload_does():
    clock, ended = FakeClock(), threading.Event()
    wait = pacing([pace(1.0, clock)], clock, ended)
    wait(BLOCK)  # the next one has to wait for a quarter of an hour
    clock.at(2.0, ended.set)
    wait(BLOCK)
    assert clock.monotonic() == 2.0


def test_a_new_rate_holds_at_once():
    clock = FakeClock()
    rates = [1.0]
    limit = Pace(lambda: rates[0], clock)
    limit.take(BLOCK)
    assert limit.take(BLOCK) > 900.0
    rates[0] = 0.0
    assert limit.take(BLOCK) == clock.monotonic()
    rates[0] = 1000.0
    assert limit.take(BLOCK) <= clock.monotonic()


def test_threads_together_keep_the_limit():
    clock = FakeClock()
    limit, taken = pace(1000.0, clock), []

    def send() -> None:
        taken.extend(limit.take(10) for _ in range(200))

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(taken)) == 800
    assert max(taken) - min(taken) == pytest.approx(799 * 10 / 1000.0)
