from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolmgr.config.settings import Label
from poolmgr.model.node import Node, NodeState
from poolmgr.model.request import MIN_READY_REQUESTOR, NodeRequest, RequestState
from poolmgr.policy.supply import is_settled, shortfalls
from tests.unit.policy.worlds import pool, ready, snapshot_of

OFFER = pool("p", ["small", "large"])


def label(count: int, name: str = "small") -> Label:
    return Label(name=name, min_ready=count)


def asked(
    id_: str, name: str = "small", state=RequestState.REQUESTED, requestor=MIN_READY_REQUESTOR
) -> NodeRequest:
    return NodeRequest(id=id_, labels=(name,), state=state, requestor=requestor)


def test_what_is_missing_is_asked_for():
    assert shortfalls([label(3), label(1, "large")], snapshot_of(OFFER, ready("1"))) == {
        "small": 2,
        "large": 1,
    }


@pytest.mark.parametrize("count", [0, -1])
def test_labels_without_min_ready_need_nothing(count):
    assert shortfalls([label(count)], snapshot_of(OFFER)) == {}


def test_more_than_wanted_is_no_shortfall():
    assert shortfalls([label(1)], snapshot_of(OFFER, ready("1"), ready("2"))) == {}


def test_labels_that_no_pool_offers_are_left_out():
    assert shortfalls([label(1, "arm")], snapshot_of(OFFER)) == {}
    assert shortfalls([label(1)], snapshot_of()) == {}


def test_free_nodes_of_all_providers_count():
    assert (
        shortfalls([label(2)], snapshot_of(OFFER, ready("1", provider="a"), ready("2", provider="b"))) == {}
    )


@pytest.mark.parametrize("state", list(RequestState))
def test_min_ready_requests_of_anyone_count_in_every_state(state):
    """A failed one too, until its maker has dealt with it: a full pool does not churn (launcher.md 17.8)."""
    assert shortfalls([label(2)], snapshot_of(OFFER, asked("900-1", state=state))) == {"small": 1}


def test_requests_of_others_do_not_count():
    request = asked("200-1", requestor="zuul")
    assert shortfalls([label(1)], snapshot_of(OFFER, request)) == {"small": 1}


@pytest.mark.parametrize("state", [s for s in NodeState if s is not NodeState.READY])
def test_nodes_that_are_not_ready_do_not_count(state):
    node = Node(id="1", state=state, labels=("small",), provider="north")
    assert shortfalls([label(1)], snapshot_of(OFFER, node)) == {"small": 1}


def test_a_node_that_a_living_request_has_does_not_count():
    node = ready("1", allocated_to="200-1")
    assert shortfalls([label(1)], snapshot_of(OFFER, node, asked("200-1", requestor="zuul"))) == {"small": 1}


def test_a_node_whose_request_is_gone_counts():
    """The request's end may be seen before the node's release, though it comes after it (zookeeper.md 15.9)."""
    node = ready("1", allocated_to="900-1")
    assert shortfalls([label(1)], snapshot_of(OFFER, node)) == {}


def test_a_node_that_a_job_has_locked_does_not_count_though_its_request_is_gone():
    snapshot = snapshot_of(OFFER, ready("1", allocated_to="200-1"))
    snapshot.put_node_contender("1", "executor")
    assert shortfalls([label(1)], snapshot) == {"small": 1}


@pytest.mark.parametrize(
    ("state", "settled"),
    [
        (RequestState.REQUESTED, False),
        (RequestState.PENDING, False),
        (RequestState.FULFILLED, True),
        (RequestState.FAILED, True),
    ],
)
def test_a_request_is_settled_when_its_maker_has_to_deal_with_it(state, settled):
    assert is_settled(asked("900-1", state=state)) is settled


nodes = st.builds(
    Node,
    id=st.integers(0, 9).map(str),
    state=st.sampled_from([NodeState.READY, NodeState.READY, NodeState.BUILDING, NodeState.IN_USE]),
    labels=st.lists(st.sampled_from(["small", "large"]), min_size=1, max_size=2).map(tuple),
    provider=st.sampled_from(["north", "south"]),
    allocated_to=st.sampled_from([None, None, "900-1", "900-7", "200-1"]),
)
requests = st.builds(
    asked,
    st.sampled_from(["900-1", "900-2", "900-3"]),
    st.sampled_from(["small", "large"]),
    st.sampled_from(RequestState),
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.lists(nodes, max_size=8),
    st.lists(requests, max_size=3),
    st.integers(-1, 5),
    st.integers(-1, 5),
    st.lists(st.sampled_from(["small", "large"])),
)
def test_what_is_asked_for_is_enough_and_never_too_much(some, asked_for, small, large, offered):
    snapshot = snapshot_of(*some, *asked_for, pool("p", offered))
    wanted = [label(small), label(large, "large")]
    missing = shortfalls(wanted, snapshot)
    for name, count in missing.items():
        for number in range(count):
            snapshot.put_request(asked(f"900-{name}-{number}", name))
    assert shortfalls(wanted, snapshot) == {}
    for one in wanted:
        coming = [r for r in snapshot.requests() if r.labels == (one.name,)]
        if missing.get(one.name):
            assert len(snapshot.ready(one.name)) + len(coming) <= one.min_ready
        elif one.name in offered:
            orphans = sum(one.name in n.labels for n in snapshot.orphans())
            assert len(snapshot.ready(one.name)) + len(coming) + orphans >= one.min_ready
