"""When changes are asked for instead of a whole list, and what is made of them (cloud.md 3.8)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from poolmgr.cloud.openstack.addresses import AddressRules, Roles
from poolmgr.cloud.openstack.paging import Pages
from poolmgr.cloud.openstack.poll import MANY, WHOLE_EVERY, ServerPoll
from poolmgr.cloud.openstack.servers import ServerReader
from poolmgr.errors import CloudUnavailable, Rejected
from poolmgr.model.server import ServerStatus
from tests.fakes import EPOCH, FakeClock

READER = ServerReader(rules=AddressRules(role=Roles().role))


def raw(ident: str, status: str = "ACTIVE", **more: Any) -> dict[str, Any]:
    return {"id": ident, "name": ident, "status": status, "metadata": {"owner": ident}, **more}


@dataclass
class FakeCompute:
    """`whole` and `changes` are the servers of the next answers, or an exception."""

    clock: FakeClock = field(default_factory=FakeClock)
    whole: list[dict[str, Any]] = field(default_factory=lambda: [raw("a"), raw("b")])
    changes: list[dict[str, Any]] | Exception = field(default_factory=list)
    complete: bool = True
    seconds: float = 0.0  # that an answer takes
    tells_time: bool = True
    asked: list[str | None] = field(default_factory=list)

    def servers(self, *, changes_since: str | None = None) -> Pages:
        self.asked.append(changes_since)
        self.clock.advance(self.seconds)
        found = self.whole if changes_since is None else self.changes
        if isinstance(found, Exception):
            raise found
        answered_at = self.clock.time() if self.tells_time else None
        return Pages(items=found, complete=self.complete, answered_at=answered_at)


@pytest.fixture
def compute():
    return FakeCompute()


def poll(compute, mode="incremental") -> ServerPoll:
    return ServerPoll("north", mode, compute, lambda: READER, compute.clock)


def statuses(listing):
    return {server.id: server.status_text for server in listing.items.values()}


def test_changes_are_put_on_what_was_known(compute):
    polling = poll(compute)
    assert polling.list(partial_ok=True).complete
    compute.changes = [raw("b", "ERROR"), raw("c", "BUILD"), raw("a", "DELETED")]
    listing = polling.list(partial_ok=True)
    assert statuses(listing) == {"a": "DELETED", "b": "ERROR", "c": "BUILD"}
    assert (listing.complete, listing.partial) == (False, True)
    compute.changes = []
    assert statuses(polling.list(partial_ok=True)) == statuses(listing)
    compute.whole = [raw("b", "ERROR")]
    assert statuses(polling.list(partial_ok=False)) == {"b": "ERROR"}


def test_changes_are_asked_for_from_a_minute_before_the_last_answer_by_the_clouds_clock(compute):
    polling = poll(compute)
    compute.seconds = 1.0
    polling.list(partial_ok=True)
    compute.clock.advance(100.0)
    polling.list(partial_ok=True)
    compute.clock.advance(100.0)
    polling.list(partial_ok=True)
    assert EPOCH == 1_700_000_000  # 22:13:20
    assert compute.asked == [None, "2023-11-14T22:12:20Z", "2023-11-14T22:14:01Z"]


def test_a_whole_list_is_due_every_five_minutes(compute):
    polling = poll(compute)
    polling.list(partial_ok=True)
    compute.clock.advance(WHOLE_EVERY - 1.0)
    assert polling.list(partial_ok=True).partial
    compute.clock.advance(1.0)
    assert polling.list(partial_ok=True).complete


def test_who_needs_a_proof_gets_a_whole_list(compute):
    polling = poll(compute)
    for _ in range(3):
        assert polling.list(partial_ok=False).complete
    assert compute.asked == [None] * 3


@pytest.mark.parametrize(
    ("mode", "seconds", "servers", "partial"),
    [
        ("full", 10.0, MANY + 1, False),
        ("auto", 0.5, 3, False),
        ("auto", 2.5, 3, True),
        ("auto", 0.5, MANY + 1, True),
        ("incremental", 0.5, 3, True),
    ],
)
def test_changes_only_are_asked_for_where_that_is_worth_it(compute, mode, seconds, servers, partial):
    compute.seconds = seconds
    compute.whole = [raw(str(n)) for n in range(servers)]
    polling = poll(compute, mode)
    polling.list(partial_ok=True)
    assert polling.list(partial_ok=True).partial is partial


def test_without_the_clouds_time_there_is_no_point_to_ask_from(compute):
    compute.tells_time = False
    polling = poll(compute)
    polling.list(partial_ok=True)
    assert polling.list(partial_ok=True).complete


def test_an_incomplete_list_is_nothing_to_build_on(compute):
    compute.complete = False
    polling = poll(compute)
    assert not polling.list(partial_ok=True).complete
    polling.list(partial_ok=True)
    assert compute.asked == [None, None]


def test_changes_of_which_a_page_failed_are_asked_for_again(compute):
    polling = poll(compute)
    polling.list(partial_ok=True)
    compute.clock.advance(30.0)
    compute.changes, compute.complete = [raw("b", "ERROR")], False
    listing = polling.list(partial_ok=True)
    assert (listing.complete, listing.partial, statuses(listing)["b"]) == (False, False, "ERROR")
    compute.complete = True
    polling.list(partial_ok=True)
    assert compute.asked[1] == compute.asked[2]


def test_a_cloud_that_refuses_to_tell_changes_is_not_asked_again(compute):
    polling = poll(compute)
    polling.list(partial_ok=True)
    compute.changes = Rejected("400")
    assert polling.list(partial_ok=True).complete
    assert polling.list(partial_ok=True).complete
    assert [bool(since) for since in compute.asked] == [False, True, False, False]


def test_a_cloud_that_does_not_answer_is_an_error(compute):
    polling = poll(compute)
    polling.list(partial_ok=True)
    compute.changes = CloudUnavailable("503")
    with pytest.raises(CloudUnavailable):
        polling.list(partial_ok=True)


def test_a_server_of_a_cell_that_is_down_stays_whose_it_was(compute):
    polling = poll(compute)
    polling.list(partial_ok=True)
    compute.whole = [{"id": "a", "status": "UNKNOWN"}, {"id": "new", "status": "UNKNOWN"}]
    listing = polling.list(partial_ok=False)
    assert listing.items["a"].status is ServerStatus.UNKNOWN
    assert listing.items["a"].metadata == {"owner": "a"}
    assert listing.items["new"].metadata == {}


@pytest.mark.parametrize(
    ("more", "keeps"),
    [
        ({}, False),
        ({"status": "DELETED"}, False),
        ({"OS-EXT-STS:task_state": "deleting"}, False),
        ({"status": "SOFT_DELETED"}, True),
        ({"OS-EXT-STS:task_state": "soft-deleting"}, True),
    ],
)
def test_a_cloud_that_keeps_deleted_servers_gives_itself_away(compute, more, keeps):
    compute.whole = [{**raw("a"), **more}]
    polling = poll(compute)
    polling.list(partial_ok=True)
    assert polling.keeps_deleted is keeps
