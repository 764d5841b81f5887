"""DEBUG for a while."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from poolmgr.observe.loudness import LOUD, Loudness
from tests.fakes import FakeClock

NAMES = ("poolmgr", "poolmgr.test_loudness", "poolmgr.test_loudness.follows", "nodepool", "keystoneauth")


@pytest.fixture
def levels() -> Iterator[dict[str, int]]:
    before = {name: logging.getLogger(name).level for name in NAMES}
    given = dict(
        zip(NAMES, (logging.INFO, logging.ERROR, logging.NOTSET, logging.INFO, logging.WARNING), strict=True)
    )
    for name, level in given.items():
        logging.getLogger(name).setLevel(level)
    yield given
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)


def now_at() -> dict[str, int]:
    return {name: logging.getLogger(name).level for name in NAMES}


def test_ours_are_at_debug_and_others_stay(levels):
    loudness = Loudness(FakeClock())
    loudness.begin()
    assert now_at() == {
        **levels,
        "poolmgr": logging.DEBUG,
        "poolmgr.test_loudness": logging.DEBUG,
        "nodepool": logging.DEBUG,
    }
    loudness.stop()
    assert now_at() == levels


def test_it_ends_by_itself_and_asking_again_extends_it(levels):
    clock = FakeClock()
    loudness = Loudness(clock)
    loudness._alarm._started = True  # its cycle is called here
    loudness.begin()
    clock.advance(LOUD - 1.0)
    loudness.begin()
    clock.advance(LOUD - 1.0)
    loudness._alarm.cycle()
    assert logging.getLogger("poolmgr").level == logging.DEBUG
    clock.advance(1.0)
    loudness._alarm.cycle()
    assert now_at() == levels
