from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolmgr.policy.zones import Next, Shortage, in_turn, next_zone, no_room
from tests.unit.policy.worlds import TUNING

ZONES = ("a", "b", "c")


@pytest.mark.parametrize(
    ("turn", "full", "order"),
    [
        (0, set(), ("a", "b", "c")),
        (1, set(), ("b", "c", "a")),
        (5, set(), ("c", "a", "b")),
        (1, {"b"}, ("c", "a", "b")),  # full ones come last, but they come
        (1, {"a", "b", "c"}, ("b", "c", "a")),
        (0, {None, "z"}, ("a", "b", "c")),
    ],
)
def test_zones_take_turns(turn, full, order):
    assert in_turn(ZONES, turn, full) == order
    assert in_turn((), turn, full) == ()


@pytest.mark.parametrize(
    ("zones", "here", "tried", "full", "following"),
    [
        (ZONES, "a", {"a"}, {"a"}, Next("b", untried=True)),
        (ZONES, "c", {"c"}, {"c"}, Next("a", untried=True)),
        (ZONES, "a", {"a"}, {"a", "b"}, Next("c", untried=True)),  # others found out about b
        (ZONES, "b", {"a", "b"}, {"a", "b"}, Next("c", untried=True)),
        (ZONES, "c", {"a", "b", "c"}, {"a", "b", "c"}, Next("a", untried=False)),
        (ZONES, "c", {"a", "b", "c"}, {"c", "a"}, Next("b", untried=False)),
        (
            ZONES,
            "a",
            {"a"},
            {"a", "b", "c"},
            Next("b", untried=False),
        ),  # known to be full: not worth a free try
        (("a",), "a", {"a"}, {"a"}, Next("a", untried=False)),
        (("a", "b"), "z", {"z"}, {"z"}, Next("z", untried=False)),  # not one of ours: stay
        (("a", "b"), None, {None}, {None}, Next(None, untried=False)),
        ((), "a", {"a"}, {"a"}, Next("a", untried=False)),
    ],
)
def test_after_a_full_zone_comes_the_next(zones, here, tried, full, following):
    assert next_zone(zones, here, tried=tried, full=full) == following


@given(st.lists(st.sampled_from("abcdef"), min_size=1, unique=True), st.sets(st.sampled_from("abcdef")))
def test_free_tries_come_to_an_end(zones, full):
    """Each goes to a zone that was not tried before."""
    here: str | None = zones[0]
    tried: set[str | None] = {here}
    for _ in range(len(zones)):
        following = next_zone(zones, here, tried=tried, full={*full, *tried})
        if not following.untried:
            return
        here = following.zone
        assert here not in tried
        tried.add(here)
    pytest.fail("more free tries than zones")


def test_a_zone_without_room_is_left_alone_ever_longer():
    known: Shortage | None = None
    now, pauses = 0.0, []
    for _ in range(6):
        known = no_room(known, now=now, tuning=TUNING)
        pauses.append(known.until - now)
        now = known.until
    assert pauses == [60.0, 120.0, 240.0, 480.0, 900.0, 900.0]


def test_servers_that_were_asked_for_together_fail_together():
    first = no_room(None, now=100.0, tuning=TUNING)
    assert no_room(first, now=101.0, tuning=TUNING) is first
    assert no_room(first, now=160.0, tuning=TUNING).failures == 2
