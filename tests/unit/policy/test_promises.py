from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolmgr.model.fleet import TenantPromises
from poolmgr.model.request import NodeRequest, RequestState
from poolmgr.model.snapshot import Snapshot
from poolmgr.policy.promises import FRESH, outstanding, promised
from tests.unit.policy.worlds import ready, snapshot_of

NOW = 1000.0
OLD = NOW - FRESH - 1


def promise(at: float = OLD, cores: float = 4) -> dict[str, Any]:
    return {"at": at, "resources": {"instances": 1, "cores": cores}}


def world(promises: dict[str, Any], *records: Any, locked: tuple[str, ...] = ()) -> Snapshot:
    snapshot = snapshot_of(*records)
    snapshot.put_promises(TenantPromises(tenant="t", promised=promises, version=3))
    for request_id in locked:
        snapshot.put_request_contender(request_id, "launcher")
    return snapshot


def asked(state: RequestState, id_: str = "r") -> NodeRequest:
    return NodeRequest(id=id_, state=state, tenant_name="t")


def has(cores: int, tenant: str = "t") -> Any:
    return ready("1", allocated_to="r", tenant_name=tenant, resources={"instances": 1, "cores": cores})


OPEN = {"instances": 1, "cores": 4}


@pytest.mark.parametrize(
    ("at", "records", "locked", "expected"),
    [
        (OLD, [asked(RequestState.PENDING)], (), OPEN),
        (OLD, [asked(RequestState.REQUESTED)], ("r",), OPEN),  # on its way to pending
        (OLD, [asked(RequestState.REQUESTED)], (), {}),  # given back
        (OLD, [asked(RequestState.FULFILLED)], (), {}),
        (OLD, [asked(RequestState.FAILED)], (), {}),
        (OLD, [], (), {}),
        (NOW - 0.1, [], (), OPEN),
        (NOW + 0.1, [], (), OPEN),  # clocks differ
        (OLD, [asked(RequestState.PENDING), has(4)], (), {}),  # seen as a node already
        (OLD, [asked(RequestState.PENDING), has(1)], (), {"cores": 3}),
        (OLD, [asked(RequestState.PENDING), has(4, "other")], (), OPEN),
    ],
)
def test_a_promise_counts_until_its_nodes_do(at, records, locked, expected):
    snapshot = world({"r": promise(at)}, *records, locked=locked)
    assert outstanding("t", snapshot, now=NOW) == expected
    assert outstanding("t", snapshot, now=NOW, besides="r") == {}
    assert outstanding("other", snapshot, now=NOW) == {}


@pytest.mark.parametrize(
    "nonsense", [None, 7, {}, {"at": "x"}, {"resources": 3}, {"resources": {"cores": "x"}}]
)
def test_a_promise_that_makes_no_sense_is_none(nonsense):
    assert outstanding("t", world({"r": nonsense}, asked(RequestState.PENDING)), now=NOW) == {}


def test_who_promises_adds_to_what_stands_and_drops_the_rest():
    snapshot = world({"r": promise(), "gone": promise()}, asked(RequestState.PENDING))
    record = promised("t", "new", {"cores": 2}, snapshot, now=NOW)
    assert record.version == 3
    assert record.promised == {"r": promise(), "new": {"at": NOW, "resources": {"cores": 2}}}
    assert promised("other", "new", {}, snapshot, now=NOW).version == -1


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.dictionaries(st.sampled_from("abcd"), st.tuples(st.sampled_from([OLD, NOW]), st.integers(0, 5))),
    st.dictionaries(st.sampled_from("abcd"), st.sampled_from(RequestState)),
)
def test_what_is_dropped_was_not_counted(promises, states):
    snapshot = world(
        {i: promise(at, cores) for i, (at, cores) in promises.items()},
        *(asked(s, i) for i, s in states.items()),
    )
    before = outstanding("t", snapshot, now=NOW, besides="new")
    snapshot.put_promises(promised("t", "new", {"cores": 1}, snapshot, now=NOW))
    assert outstanding("t", snapshot, now=NOW, besides="new") == before
