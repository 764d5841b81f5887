"""Who is to have which provider: every launcher judges alone, so the tables ask all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolmgr.model.fleet import Peer
from poolmgr.policy.ownership import Acquire, HandOver, Keep, Leave, View, successor, verdicts, weight
from poolmgr.policy.tuning import Tuning

TUNING = Tuning(peer_settle=5.0, takeover_grace=3.0)
CLOUDS = ("north", "east", "south", "west", "mars")


def peer(id_: str, *providers: str, **fields: Any) -> Peer:
    return Peer(znode=id_, id=id_, providers=providers or CLOUDS, **fields)


def view(me: str, peers: Iterable[Peer], owners: Mapping[str, str] | None = None, **more: Any) -> View:
    peers = list(peers)
    more.setdefault("seen_since", {one.id: -100.0 for one in peers})
    return View(me=me, peers=peers, owners=owners or {}, **more)


def judged(me: str, peers: Iterable[Peer], owners: Mapping[str, str], now: float = 0.0, **more: Any) -> Any:
    return verdicts(view(me, peers, owners, **more), now, TUNING)


def test_a_launcher_alone_takes_everything():
    assert set(judged("a", [peer("a")], {}).values()) == {Acquire("preferred")}


def test_before_it_is_announced_it_takes_nothing():
    assert set(judged("a", [peer("b")], {}).values()) == {Leave("not for us")}


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7])
def test_free_providers_are_spread_and_each_has_one_who_takes_it(count):
    peers = [peer(f"{n:032x}") for n in range(count)]
    takers = Counter[str]()
    for name in CLOUDS:
        takes = [p.id for p in peers if judged(p.id, peers, {})[name] == Acquire("preferred")]
        assert len(takes) == 1
        takers.update(takes)
    assert max(takers.values()) - min(takers[p.id] for p in peers) <= 1


def test_a_free_provider_that_stays_free_is_taken_by_anyone():
    peers = [peer("a", "north"), peer("b", "north")]
    other = min("ab", key=lambda one: weight("north", one))
    free = {"north": 10.0}
    assert judged(other, peers, {}, 12.9, free_since=free) == {"north": Leave("preferred elsewhere", 13.0)}
    assert judged(other, peers, {}, 13.0, free_since=free) == {"north": Acquire("nobody else took it")}


def test_only_who_can_serve_a_provider_takes_it():
    peers = [peer("a", "north"), peer("b", "east")]
    assert judged("a", peers, {}) == {"north": Acquire("preferred"), "east": Leave("not for us")}


def test_a_launcher_that_stops_takes_nothing_and_hands_over():
    peers = [peer("a", draining=True), peer("b")]
    found = judged("a", peers, {"north": "a"})
    assert found.pop("north") == HandOver("b", "we serve it no longer")
    assert set(found.values()) == {Leave("not for us")}


def test_one_that_stops_alone_keeps_what_it_has():
    found = judged("a", [peer("a", draining=True)], {"north": "a"})
    assert found["north"] == Keep("nobody else can serve it")


def test_what_nobody_can_serve_any_more_is_let_go():
    assert judged("a", [peer("a", "east")], {"north": "a", "east": "a"})["north"] == HandOver(
        None, "we serve it no longer"
    )


def test_before_we_see_ourselves_nothing_of_ours_is_let_go_to_nobody():
    """After a lost session our own record comes back a moment later."""
    assert judged("a", [], {"north": "a"}) == {"north": Keep("not announced")}


def test_a_provider_that_we_cannot_serve_any_more_goes_to_who_can():
    peers = [peer("a", "east"), peer("b", "north", "east")]
    assert judged("a", peers, {"north": "a", "east": "b"})["north"] == HandOver("b", "we serve it no longer")


def test_what_another_owns_is_left_alone_even_if_it_cannot_be_told_who_that_is():
    assert judged("a", [peer("a", "north")], {"north": ""}) == {"north": Leave("owned by another")}


ALL = dict.fromkeys(CLOUDS, "a")


def test_who_joins_gets_one_provider_at_a_time_until_all_have_their_share():
    owners, moved = dict(ALL), 0
    peers = [peer("a"), peer("b")]
    while True:
        found = judged("a", peers, owners)
        moves = {name: v for name, v in found.items() if isinstance(v, HandOver)}
        if not moves:
            break
        (name,) = moves
        assert moves[name] == HandOver("b", "balance")
        owners[name], moved = "b", moved + 1
    assert (moved, Counter(owners.values())) == (2, {"a": 3, "b": 2})


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"seen_since": {"a": 0.0, "b": 6.0}}, "b came just now"),
        ({"seen_since": {"a": 0.0}}, "b was not seen before"),
        ({"moving": ["east"]}, "one at a time"),
        ({"refused": [(name, "b") for name in CLOUDS]}, "b did not take them"),
    ],
)
def test_nothing_is_moved_when(more, why):
    assert set(judged("a", [peer("a"), peer("b")], ALL, 10.0, **more).values()) == {Keep()}, why


def test_nothing_is_moved_while_some_provider_is_free():
    owners = {name: "a" for name in CLOUDS if name != "north"}
    found = judged("a", [peer("a"), peer("b")], owners)
    assert found.pop("north") == Leave("preferred elsewhere", 3.0), "b has fewer"
    assert set(found.values()) == {Keep()}


def test_a_difference_of_one_is_no_reason_to_move():
    owners = {"north": "a", "east": "a", "south": "b"}
    peers = [peer("a", *owners), peer("b", *owners)]
    assert set(judged("a", peers, owners).values()) == {Keep(), Leave("owned by another")}


def test_a_successor_is_named_only_among_those_that_could():
    peers = [peer("a"), peer("b", "east"), peer("c", draining=True)]
    assert successor("north", view("a", peers, {"north": "a"})) is None
    assert successor("east", view("a", peers, {"east": "a"})) == "b"


@settings(max_examples=60, deadline=None)
@given(
    holders=st.lists(st.integers(0, 4), min_size=1, max_size=12),
    capable=st.lists(st.sets(st.integers(0, 11), min_size=1), min_size=5, max_size=5),
    live=st.sets(st.integers(0, 4), min_size=1),
)
def test_whatever_the_fleet_looks_like_it_settles_without_going_round_in_circles(holders, capable, live):
    """Any owners, any launchers alive, each with its own providers: obeying all verdicts comes to rest, balanced."""
    names = [f"p{n:02}" for n in range(len(holders))]
    peers = [
        peer(f"{n:032x}", *(names[i] for i in capable[n] if i < len(names)), "own") for n in sorted(live)
    ]
    ids = {p.id for p in peers}
    owners = {name: f"{holder:032x}" for name, holder in zip(names, holders, strict=True)}
    owners = {name: owner for name, owner in owners.items() if owner in ids}
    for _ in range(60):
        changes = 0
        for one in peers:
            for name, verdict in judged(one.id, peers, owners).items():
                match verdict:
                    case Acquire():
                        assert name not in owners
                        owners[name] = one.id
                        changes += 1
                        break
                    case HandOver():
                        del owners[name]
                        changes += 1
                        break
        if not changes:
            break
    else:
        raise AssertionError("it never settles")
    assert {name for p in peers for name in p.providers} <= owners.keys()
    load = Counter(owners.values())
    for name, owner in owners.items():
        able = [p.id for p in peers if name in p.providers]
        assert not able or load[owner] - min(load[one] for one in able) < 2
