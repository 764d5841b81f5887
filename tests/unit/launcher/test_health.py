"""What a launcher says of its own health."""

from __future__ import annotations

import pytest

from poolmgr.launcher.health import STUCK_AFTER, stuck, unready


@pytest.mark.parametrize(
    ("configured", "failed", "connected", "settled", "why"),
    [
        ((), {}, {}, True, None),
        (("a", "b"), {}, {}, True, None),  # others own them
        (("a", "b"), {"a": "no such cloud"}, {}, True, None),
        (("a", "b"), {"a": "no such cloud"}, {"b": True}, True, None),
        (("a", "b"), {}, {"a": False, "b": True}, True, None),
        (("a", "b"), {}, {"a": False, "b": False}, True, "no cloud has answered yet: a, b"),
        (("a", "b"), {}, {}, False, "it has not found its place in the fleet yet"),
        (("b", "a"), {"a": "x", "b": "y"}, {}, True, "no provider can be served: a: x; b: y"),
        (("b", "a"), {"a": "x", "b": "y"}, {"a": True}, False, "no provider can be served: a: x; b: y"),
    ],
)
def test_it_is_ready_when_it_serves_or_stands_by(configured, failed, connected, settled, why):
    assert unready(configured, failed, connected, settled=settled) == why


def test_everyone_who_is_stuck_is_named():
    now = 10_000.0
    at = {"provider a": now, "fleet": now - STUCK_AFTER - 1, "janitor": now - 2 * STUCK_AFTER}
    assert stuck(at, now) == (
        "fleet has not finished a cycle for 601 s; janitor has not finished a cycle for 1200 s"
    )
    assert stuck({"provider a": now - STUCK_AFTER}, now) is None
