from __future__ import annotations

import pytest

from poolmgr.policy.growth import doubling


@pytest.mark.parametrize(
    ("times", "pause"),
    [(0, 2.0), (1, 4.0), (3, 16.0), (5, 60.0), (1024, 60.0), (10**9, 60.0), (-3, 2.0), (float("inf"), 60.0)],
)
def test_a_pause_doubles_up_to_its_limit_however_often(times, pause):
    assert doubling(2.0, times, 60.0) == pause


def test_the_limit_holds_from_the_start():
    assert doubling(90.0, 0, 60.0) == 60.0
