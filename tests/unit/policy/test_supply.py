from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolmgr.config.settings import Label
from poolmgr.model.fleet import Peer
from poolmgr.model.node import Node, NodeState
from poolmgr.model.request import MIN_READY_REQUESTOR, NodeRequest, RequestState
from poolmgr.policy import supply
from poolmgr.policy.supply import Outlook, is_settled
from tests.unit.policy.worlds import pool, ready, snapshot_of

OFFER = pool("p", ["small", "large"])


def label(count: int, name: str = "small") -> Label:
    return Label(name=name, min_ready=count)


def asked(
    id_: str, name: str = "small", state=RequestState.REQUESTED, requestor=MIN_READY_REQUESTOR
) -> NodeRequest:
    return NodeRequest(id=id_, labels=(name,), state=state, requestor=requestor)


def shortfalls(labels, snapshot):
    return supply.shortfalls(supply.demand(labels, snapshot.peers()), snapshot)


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


@pytest.mark.parametrize("state", sorted(set(NodeState) - {NodeState.READY, NodeState.BUILDING}, key=str))
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
            orphans += sum(one.name == n.label and n.provider == "north" for n in snapshot.strays())
            assert len(snapshot.ready(one.name)) + len(coming) + orphans >= one.min_ready


# What is being built for nobody


def building(id_: str, name: str = "small", provider: str = "north", **fields) -> Node:
    return Node(id=id_, state=NodeState.BUILDING, labels=(name,), provider=provider, **fields)


def world(*records: Node | NodeRequest, locked: tuple[str, ...] = ()):
    snapshot = snapshot_of(OFFER, *records)
    for node_id in locked:
        snapshot.put_node_contender(node_id, "launcher")
    return snapshot


def test_a_node_that_is_built_for_nobody_counts():
    assert shortfalls([label(2)], world(building("1"), locked=("1",))) == {"small": 1}
    gone = building("1", allocated_to="200-9")
    assert shortfalls([label(2)], world(gone, locked=("1",))) == {"small": 1}
    assert shortfalls([label(2)], world(gone)) == {"small": 1}  # the owner of its provider will take it over
    nobodys = building("1", provider="nowhere")
    assert shortfalls([label(2)], world(nobodys)) == {"small": 2}
    assert shortfalls([label(2)], world(nobodys, locked=("1",))) == {"small": 1}
    between_owners = world(nobodys)
    between_owners.put_peer(Peer(znode="p", providers=("nowhere",)))
    assert shortfalls([label(2)], between_owners) == {"small": 1}
    wanted = world(gone, asked("200-9", requestor="zuul"), locked=("1",))
    assert shortfalls([label(2)], wanted) == {"small": 2}


@pytest.mark.parametrize(
    ("min_ready", "records", "expected"),
    [
        (0, (), set()),
        (1, (), {"1"}),
        (2, (), {"1", "2"}),
        (5, (), {"1", "2"}),
        (2, (ready("9"),), {"1"}),
        (2, (asked("900-1"),), {"1"}),
        (1, (asked("900-1"),), set()),
        (2, (building("9"),), {"1"}),  # another launcher's spare
    ],
)
def test_spares_are_kept_as_far_as_min_ready_would_have_made_them_anew(min_ready, records, expected):
    spares = [building("1", allocated_to="200-1"), building("2", allocated_to="200-1")]
    snapshot = world(*spares, *records, locked=("1", "2", "9"))
    wanted = supply.demand([label(min_ready)], ())
    assert supply.kept(spares, wanted, snapshot) == expected
    assert supply.kept([], wanted, snapshot) == set()


# For the whole fleet


def test_the_most_that_any_live_launcher_wants_is_wanted():
    peers = [
        Peer(id="1", min_ready={"small": 3, "large": 1}),
        Peer(id="2", min_ready={"large": 2}),
        Peer(id="3", min_ready={"small": 9}, draining=True),
    ]
    assert supply.demand([label(2), label(0, "none")], peers) == {"small": 3, "large": 2}
    assert supply.demand([label(4)], peers)["small"] == 4


# Where


def outlook(provider: str, **fields) -> Outlook:
    return Outlook(provider=provider, pool="main", **fields)


@pytest.mark.parametrize(
    ("count", "pools", "expected"),
    [
        (3, [outlook("a"), outlook("b")], ["a", "b", "a"]),
        (3, [outlook("a", nodes=2), outlook("b")], ["b", "b", "a"]),
        (3, [outlook("a", free=2), outlook("b", free=3)], ["b", "a", "b"]),
        (3, [outlook("a", free=1), outlook("b", free=1)], ["a", "b"]),
        (2, [outlook("a", priority=50), outlook("b", free=100)], ["a", "a"]),
        (2, [outlook("a", priority=50, free=1), outlook("b")], ["a", "b"]),
        (2, [outlook("a", shut=True), outlook("b")], ["b", "b"]),
        (2, [outlook("a", free=0), outlook("b", shut=True)], [None]),  # waits for any to have room
        (2, [], [None]),
        (0, [outlook("a")], []),
        (99, [outlook("a")], ["a"] * supply.WAVE),
    ],
)
def test_requests_are_spread_by_priority_and_by_what_is_free(count, pools, expected):
    assert supply.spread(count, pools, waiting=0) == expected
    assert supply.spread(count, list(reversed(pools)), waiting=0) == expected


def test_where_everything_is_full_one_waits_and_no_more():
    assert supply.spread(5, [outlook("a", free=0)], waiting=0) == [None]
    assert supply.spread(5, [outlook("a", free=0)], waiting=1) == []


def test_only_so_many_wait_at_a_time():
    assert supply.spread(99, [outlook("a")], waiting=supply.WAVE - 1) == ["a"]
    assert supply.spread(99, [outlook("a")], waiting=supply.WAVE) == []


def test_after_a_failure_one_is_enough_to_try():
    assert supply.spread(5, [outlook("a")], waiting=0, probing=True) == ["a"]
    assert supply.spread(5, [outlook("a")], waiting=1, probing=True) == []


def test_pauses_after_failures_grow():
    pauses = [supply.failed_pause(n) for n in range(1, 8)]
    assert pauses == [30, 60, 120, 240, 480, 600, 600]


def test_what_is_to_be_expected_of_pools():
    used = ready("1", resources={"instances": 1, "cores": 8})
    waits = NodeRequest(
        id="900-1", labels=("small",), requestor=MIN_READY_REQUESTOR, provider="north", declined_by=("d",)
    )
    pools = [
        pool("n", ["small"], "north", name="main", priority=7),
        pool("f", ["small"], "full", name="main"),
        pool("d", ["small"], "declined", name="main"),
        pool("p", ["small"], "paused", name="main", paused=True),
        pool("o", ["large"], "other", name="main"),
    ]
    limits = {
        ("north", "main"): {"instances": 5, "cores": 100},
        ("full", "main"): {"instances": 5, "cores": 0},
    }
    snapshot = snapshot_of(used, waits, *pools)
    assert {o.provider: o for o in supply.outlooks("small", snapshot, limits)} == {
        "north": outlook("north", priority=7, free=3, nodes=2),
        "full": outlook("full", free=0),
        "declined": outlook("declined", shut=True),
        "paused": outlook("paused", shut=True),
    }


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.integers(0, 30),
    st.lists(
        st.builds(
            Outlook,
            provider=st.sampled_from("abc"),
            pool=st.sampled_from("xy"),
            priority=st.sampled_from([50, 100]),
            free=st.sampled_from([0.0, 1.0, 3.0, float("inf")]),
            nodes=st.integers(0, 3),
            shut=st.booleans(),
        ),
        max_size=4,
        unique_by=lambda o: (o.provider, o.pool),
    ),
    st.integers(0, 12),
)
def test_no_more_is_asked_for_than_is_missing_nor_of_a_pool_than_it_may_have(count, pools, waiting):
    chosen = supply.spread(count, pools, waiting=waiting)
    assert len(chosen) <= count
    assert len(chosen) + waiting <= max(waiting, supply.WAVE)
    for provider in {p for p in chosen if p is not None}:
        room = sum(p.free for p in pools if p.provider == provider and not p.shut)
        assert chosen.count(provider) <= room
    if count and not waiting:
        assert chosen
