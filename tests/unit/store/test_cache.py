"""The order in which the cache believes what it is told: late, early, doubled and overtaken items."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from poolmgr.errors import StoreUnavailable
from poolmgr.model.node import Node, NodeState
from poolmgr.store.api import Change, ChangeKind
from poolmgr.store.cache import Cache
from poolmgr.store.codec import encode
from poolmgr.store.tree import Check, Create, Delete, Done, EventKind, Refusal, Refused, SetData, Stat, Write
from tests.fakes import FakeClock

PATH = "/nodepool/nodes/0000000001"
CONTENDER = f"{PATH}/lock/{'a' * 32}__lock__0000000000"


class FakeSession:
    """Takes reads and answers them when the test says so."""

    def __init__(self) -> None:
        self.reads: list[tuple[str, Callable[[int, Any], None]]] = []
        self.lists: list[tuple[str, Callable[[int, Any], None]]] = []
        self.up = True
        self.connection = 3

    def place(self) -> int:
        return 50

    def fetch(self, path: str, then: Callable[[int, Any], None]) -> None:
        if not self.up:
            raise StoreUnavailable("down")
        self.reads.append((path, then))

    def fetch_children(self, path: str, then: Callable[[int, Any], None]) -> None:
        if not self.up:
            raise StoreUnavailable("down")
        self.lists.append((path, then))

    def asked(self) -> list[str]:
        return [path for path, _ in self.reads]

    def answer(self, place: int, found: tuple[bytes, Stat] | None) -> None:
        _, then = self.reads.pop(0)
        then(place, found)


@pytest.fixture
def session() -> FakeSession:
    return FakeSession()


@pytest.fixture
def cache(session: FakeSession) -> Cache:
    return Cache(session, FakeClock())  # type: ignore[arg-type]


def node(state: NodeState) -> Node:
    return Node(state=state, provider="north")


def stored(state: NodeState, zxid: int) -> tuple[bytes, Stat]:
    return encode(node(state)), Stat(version=zxid, zxid=zxid, owner=0)


def shown(cache: Cache) -> NodeState | None:
    with cache.reading() as snapshot:
        found = snapshot.node("0000000001")
        return found.state if found else None


def locked(cache: Cache) -> bool:
    with cache.reading() as snapshot:
        return snapshot.node_locked("0000000001")


def told(cache: Cache) -> list[Change]:
    changes: list[Change] = []
    undo = cache.subscribe(changes.append)
    cache.flush()
    undo()
    return changes


def saving(cache: Cache, state: NodeState) -> Write:
    write = Write(SetData(PATH, b"", 0, node(state)))
    cache.begin(write)
    return write


def succeeded(write: Write, *, place: int, zxid: int) -> None:
    write.results = [Done(PATH, Stat(zxid, zxid, 0))]
    write.place = place


def failed(write: Write, *, place: int) -> None:
    write.error = Refused(Refusal.BAD_VERSION, PATH)
    write.place = place


def test_an_event_leads_to_one_read_whose_answer_is_shown_and_reported(cache, session):
    cache.event(1, EventKind.CHANGED, PATH)
    assert session.asked() == [PATH]
    assert told(cache) == []  # not before there is something to see
    session.answer(2, stored(NodeState.READY, 10))
    assert shown(cache) is NodeState.READY
    assert told(cache) == [Change(ChangeKind.NODE, "0000000001", "north")]
    assert told(cache) == []


def test_answers_that_are_older_than_what_is_shown_are_dropped(cache, session):
    cache.event(1, EventKind.CHANGED, PATH)
    cache.event(2, EventKind.CHANGED, PATH)
    session.answer(3, stored(NodeState.USED, 11))
    session.answer(4, stored(NodeState.READY, 10))
    assert shown(cache) is NodeState.USED


def test_an_own_write_shows_as_soon_as_it_is_settled(cache, session):
    write = saving(cache, NodeState.READY)
    succeeded(write, place=5, zxid=10)
    cache.settle(write)
    assert shown(cache) is NodeState.READY
    assert write.stored[PATH].version == 10
    cache.reached(write)
    assert shown(cache) is NodeState.READY
    assert told(cache) == [Change(ChangeKind.NODE, "0000000001", "north")]


def test_an_own_write_shows_even_if_its_writer_is_slower_than_the_sequence(cache, session):
    write = saving(cache, NodeState.READY)
    succeeded(write, place=5, zxid=10)
    cache.reached(write)
    assert shown(cache) is NodeState.READY
    cache.event(6, EventKind.DELETED, PATH)
    cache.settle(write)
    assert shown(cache) is None


def test_an_event_of_the_own_write_costs_no_read(cache, session):
    write = saving(cache, NodeState.READY)
    cache.event(4, EventKind.CHANGED, PATH)
    succeeded(write, place=5, zxid=10)
    cache.settle(write)
    cache.reached(write)
    assert session.asked() == []


def test_an_event_of_the_own_write_that_comes_late_costs_no_read(cache, session):
    write = saving(cache, NodeState.READY)
    succeeded(write, place=5, zxid=10)
    cache.settle(write)
    cache.event(4, EventKind.CHANGED, PATH)  # it was still queued
    cache.reached(write)
    assert session.asked() == []
    cache.event(6, EventKind.CHANGED, PATH)  # this one is somebody else's
    assert session.asked() == [PATH]


def test_an_event_during_an_own_write_that_fails_is_looked_into(cache, session):
    write = saving(cache, NodeState.READY)
    cache.event(4, EventKind.CHANGED, PATH)
    failed(write, place=5)
    cache.settle(write)
    assert session.asked() == []
    cache.reached(write)
    assert session.asked() == [PATH]


def test_the_creation_of_an_own_record_costs_no_read_but_others_beside_it_do(cache, session):
    write = Write(Create("/nodepool/nodes/", b"", sequence=True, record=node(NodeState.INIT)))
    cache.begin(write)
    cache.event(3, EventKind.CREATED, PATH)
    cache.event(4, EventKind.CREATED, "/nodepool/nodes/0000000002")
    assert session.asked() == []
    succeeded(write, place=5, zxid=10)
    cache.settle(write)
    cache.reached(write)
    assert session.asked() == ["/nodepool/nodes/0000000002"]
    assert shown(cache) is NodeState.INIT


def test_an_answer_from_before_an_own_deletion_does_not_bring_the_record_back(cache, session):
    cache.event(1, EventKind.CHANGED, PATH)
    write = Write(Delete(PATH))
    cache.begin(write)
    write.results, write.place = [Done(PATH)], 8
    cache.settle(write)
    session.answer(7, stored(NodeState.READY, 10))
    assert shown(cache) is None
    cache.event(7, EventKind.DELETED, PATH)
    cache.reached(write)
    assert shown(cache) is None


def test_a_contender_event_from_before_an_own_release_does_not_lock_again(cache, session):
    write = Write(Delete(CONTENDER))
    cache.begin(write)
    write.results, write.place = [Done(CONTENDER)], 8
    cache.settle(write)
    cache.event(7, EventKind.CREATED, CONTENDER)
    assert not locked(cache)
    cache.reached(write)
    cache.event(9, EventKind.CREATED, CONTENDER.replace("__lock__0000000000", "__lock__0000000001"))
    assert locked(cache)


def test_contenders_cost_no_reads(cache, session):
    cache.event(1, EventKind.CREATED, f"{PATH}/lock")
    cache.event(2, EventKind.CREATED, CONTENDER)
    assert locked(cache)
    cache.event(3, EventKind.DELETED, CONTENDER)
    assert not locked(cache)
    assert session.asked() == []


def test_nothing_is_noted_for_ever(cache, session):
    for place in range(0, 100, 4):
        write = saving(cache, NodeState.READY)
        cache.event(place, EventKind.CHANGED, PATH)
        succeeded(write, place=place + 1, zxid=place + 1)
        cache.settle(write)
        cache.reached(write)
    assert (cache._ahead, cache._writing, cache._creating) == ({}, {}, {})


def test_a_refill_drops_what_is_not_there_any_more_and_keeps_what_came_meanwhile(cache, session):
    for number in (1, 2):
        cache.event(number, EventKind.CREATED, PATH[:-1] + str(number))
        session.answer(number, stored(NodeState.READY, number))
    cache.event(3, EventKind.CREATED, CONTENDER)
    clock = cache._clock
    assert isinstance(clock, FakeClock)
    clock.at(0.5, lambda: _answer_lists(session, {"/nodepool/nodes": ["0000000001"]}))
    clock.at(1.0, lambda: cache.event(500, EventKind.CREATED, "/nodepool/nodes/0000000003"))
    clock.at(1.5, lambda: _answer_reads(session))
    cache.refill()
    with cache.reading() as snapshot:
        assert sorted(n.id for n in snapshot.nodes()) == ["0000000001", "0000000003"]
    assert not locked(cache)  # its lock directory was not listed


@pytest.mark.parametrize("settles_late", [True, False])
def test_what_comes_from_before_a_refill_counts_only_if_it_is_still_there(cache, session, settles_late):
    """An own write, an event and an answer of the old connection are applied while everything is read anew."""
    write = Write(Create("/nodepool/nodes/", b"", sequence=True, record=node(NodeState.INIT)))
    cache.begin(write)
    succeeded(write, place=20, zxid=10)
    cache.event(21, EventKind.CHANGED, "/nodepool/nodes/0000000002")
    clock = cache._clock
    assert isinstance(clock, FakeClock)

    def late() -> None:
        if settles_late:
            cache.settle(write)
        cache.reached(write)
        session.answer(22, stored(NodeState.READY, 9))
        cache.event(23, EventKind.CREATED, CONTENDER)

    clock.at(0.5, late)
    clock.at(1.0, lambda: _answer_lists(session, {}))
    cache.refill()
    assert shown(cache) is None
    assert not locked(cache)
    with cache.reading() as snapshot:
        assert list(snapshot.nodes()) == []


def test_a_list_from_before_an_own_release_does_not_lock_again(cache, session):
    write = Write(Delete(CONTENDER))
    cache.begin(write)
    clock = cache._clock
    assert isinstance(clock, FakeClock)

    def late() -> None:
        write.results, write.place = [Done(CONTENDER)], 190
        cache.settle(write)
        names = {"/nodepool/nodes": ["0000000001"], f"{PATH}/lock": [CONTENDER.rpartition("/")[2]]}
        _answer_lists(session, names)
        _answer_reads(session)
        cache.event(189, EventKind.DELETED, CONTENDER)
        cache.reached(write)

    clock.at(0.5, late)
    cache.refill()
    assert shown(cache) is NodeState.USED
    assert not locked(cache)


def test_a_refill_ends_when_the_connection_breaks(cache, session):
    clock = cache._clock
    assert isinstance(clock, FakeClock)
    clock.at(0.5, lambda: cache.forget_connection(4))
    with pytest.raises(StoreUnavailable):
        cache.refill()
    session.up = False
    with pytest.raises(StoreUnavailable):
        cache.refill()


def test_a_refill_goes_on_when_news_of_an_earlier_break_comes_late(cache, session):
    clock = cache._clock
    assert isinstance(clock, FakeClock)
    clock.at(0.5, lambda: cache.forget_connection(2))
    clock.at(1.0, lambda: _answer_lists(session, {}))
    cache.refill()


def test_whoever_waits_for_a_lock_wakes_when_a_contender_goes_or_the_connection_breaks(cache, session):
    with cache.wait_for(f"{PATH}/lock") as wait:
        cache.event(1, EventKind.CREATED, CONTENDER)
        assert not wait.event.is_set()
        cache.event(2, EventKind.DELETED, CONTENDER)
        assert wait.event.is_set()
        wait.event.clear()
        cache.event(3, EventKind.DELETED, f"{PATH}/lock")
        assert wait.event.is_set()
        wait.event.clear()
        cache.forget_connection(4)
        assert wait.event.is_set()


def test_changes_of_one_thing_are_reported_once(cache, session):
    for place in range(5):
        cache.event(place, EventKind.CREATED, CONTENDER)
    assert told(cache) == [Change(ChangeKind.NODE, "0000000001")]


def test_a_record_that_makes_no_sense_is_reported_as_a_change(cache, session):
    cache.event(1, EventKind.CHANGED, PATH)
    session.answer(2, (json.dumps({"state": "exploded"}).encode(), Stat(0, 10, 0)))
    assert told(cache) == [Change(ChangeKind.NODE, "0000000001")]


def _answer_lists(session: FakeSession, names: dict[str, list[str]]) -> None:
    place = 100
    while session.lists:
        path, then = session.lists.pop(0)
        place += 1
        then(place, names.get(path, []))


def _answer_reads(session: FakeSession) -> None:
    place = 1000
    while session.reads:
        place += 1
        session.answer(place, stored(NodeState.USED, place))


def test_a_write_that_only_checks_a_record_hides_no_news_of_it(cache, session):
    """Taking a lock checks the record: an event about it that is still queued must lead to a read."""
    write = Write(Check(PATH), Create(f"{PATH}/lock"))
    cache.begin(write)
    write.results = [Done(PATH), Done(f"{PATH}/lock")]
    write.place = 5
    cache.settle(write)
    cache.event(4, EventKind.CHANGED, PATH)
    assert session.asked() == [PATH]
