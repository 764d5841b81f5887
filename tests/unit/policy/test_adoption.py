from __future__ import annotations

from dataclasses import replace

import pytest

from poolmgr.model.node import Node, NodeState
from poolmgr.model.request import NodeRequest, RequestState
from poolmgr.policy import static
from poolmgr.policy.adoption import (
    Continue,
    GiveUp,
    Spare,
    Verdict,
    Wait,
    adoptable,
    age,
    fresh_attempt,
    half_done,
    judge,
    left_behind,
    places,
    pool_of,
)
from tests.unit.policy.worlds import OTHER_DEPLOYMENT, TUNING, ready, server, snapshot_of


def building(id_: str = "1", request: str | None = "200-1", label: str = "small", **fields) -> Node:
    fields = {"state": NodeState.BUILDING, "provider": "north", "pool": "main", **fields}
    return Node(id=id_, labels=(label,), allocated_to=request, **fields)


def request(state: RequestState = RequestState.PENDING, *labels: str, id_: str = "200-1") -> NodeRequest:
    return NodeRequest(id=id_, state=state, labels=labels or ("small",))


def judged(about: NodeRequest | None, **facts) -> Verdict:
    usual = {"locked": False, "configured": True, "since": 100.0, "now": 101.0}
    return judge(about, tuning=TUNING, **{**usual, **facts})


def test_a_launch_goes_on_for_a_pending_request_that_nobody_has():
    assert judged(request()) == Continue("200-1")


def test_while_someone_seems_to_have_the_request_nothing_is_decided():
    """The locks of a dead launcher vanish together, but we are told of one after the other."""
    assert judged(request(), locked=True) == Wait("its request is locked", 105.0)
    assert judged(request(), locked=True, now=105.0) == Spare("someone else has its request")


@pytest.mark.parametrize(
    ("about", "reason"),
    [
        (request(RequestState.REQUESTED), "its request is requested"),
        (request(RequestState.FULFILLED), "its request is fulfilled"),
        (request(RequestState.FAILED), "its request is failed"),
        (None, "its request is gone"),
    ],
)
def test_without_its_request_it_goes_on_as_one_that_no_request_wants(about, reason):
    assert judged(about) == Spare(reason)
    assert judged(about, locked=True) == Spare(reason)


def test_what_is_not_configured_any_more_is_given_up():
    assert judged(request(), configured=False) == GiveUp("its label is not configured any more")


def test_what_was_left_behind_is_building_and_unlocked():
    snapshot = snapshot_of(
        building("1"), building("2"), building("3", provider="south"), building("4", state=NodeState.USED)
    )
    snapshot.put_node_contender("2", "c")
    assert [node.id for node in left_behind(snapshot, "north")] == ["1"]


def test_requests_with_nothing_but_ready_nodes_are_half_done():
    snapshot = snapshot_of(
        *(request(id_=f"200-{n}") for n in (1, 2)),
        request(RequestState.FULFILLED, id_="200-3"),
        request(id_="200-4"),
        request(id_="200-5"),
        *(ready(str(n), allocated_to=f"200-{n}") for n in (1, 3, 4, 5, 6)),
        ready("2", provider="south", allocated_to="200-2"),
    )
    snapshot.put_request_contender("200-4", "c")
    snapshot.put_node_contender("5", "c")
    assert half_done(snapshot, "north") == {"200-1"}


@pytest.mark.parametrize(
    ("node", "providers", "expected"),
    [
        (building(), ["north"], True),
        (ready("1", allocated_to="200-1"), ["north"], True),
        (building(), ["south"], False),
        (building(), [], False),
        (building(state=NodeState.INIT), ["north"], False),
        (building(request="200-2"), ["north"], False),
    ],
)
def test_a_request_can_be_adopted_by_who_serves_the_provider_of_its_nodes(node, providers, expected):
    assert adoptable("200-1", snapshot_of(node), providers) is expected


def test_what_a_static_pool_began_is_begun_anew():
    node = ready("1", allocated_to="200-1", launcher=static.LAUNCHER)
    assert not adoptable("200-1", snapshot_of(node), ["north"])
    assert adoptable("200-1", snapshot_of(replace(node, launcher="pool")), ["north"])


def test_the_pool_with_most_nodes_goes_on():
    nodes = [
        building("1", pool="b"),
        building("2", pool="a"),
        building("3", pool="a"),
        building("4", pool="x"),
    ]
    assert pool_of(nodes, {"a", "b"}) == "a"
    assert pool_of(nodes[:2], {"a", "b"}) == "a"
    assert pool_of(nodes, {"c"}) is None


def test_nodes_take_the_places_of_their_labels_and_none_is_taken_twice():
    nodes = [building("1"), building("2", label="large"), ready("3"), building("4"), building("5", label="x")]
    taken = places(["large", "small", "small", "small", "x", "x"], nodes)
    assert {place: node.id for place, node in taken.items()} == {0: "2", 1: "3", 2: "1", 3: "4", 4: "5"}
    assert {place: node.id for place, node in places(["small"], nodes).items()} == {0: "3"}


@pytest.mark.parametrize(
    ("state_time", "timeout", "expected"),
    [(900.0, 600.0, 100.0), (0.0, 600.0, 540.0), (1100.0, 600.0, 0.0), (0.0, 60.0, 30.0)],
)
def test_the_time_gone_by_counts_but_leaves_enough_to_look_at_the_server(state_time, timeout, expected):
    node = building(state_time=state_time)
    assert age(node, time=1000.0, launch_timeout=timeout, tuning=TUNING) == expected


@pytest.mark.parametrize(
    ("seen", "number"),
    [([], 101), ([1, 2], 101), ([None], 101), ([99], 101), ([101], 201), ([7, 250], 301)],
)
def test_an_adopters_attempts_have_numbers_of_their_own(seen, number):
    servers = [server(f"s-{n}", node="1", attempt=attempt) for n, attempt in enumerate(seen)]
    assert fresh_attempt([*servers, server("s-x", deployment=OTHER_DEPLOYMENT)]) == number
