from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolmgr.model.node import Node, NodeState
from poolmgr.model.request import NodeRequest, RequestState
from poolmgr.model.resources import short_of
from poolmgr.policy.holding import GiveBack, has_rival, judge_hold, judge_outage, may_hold, room_by
from tests.unit.policy.worlds import ready, snapshot_of


@pytest.mark.parametrize(
    ("idle", "rival", "times", "expected"),
    [
        (0, False, 0, None),
        (119, False, 0, None),
        (120, False, 0, GiveBack(15)),
        (59, True, 0, None),
        (60, True, 0, GiveBack(60)),  # lets the one before it have the room
        (120, False, 2, GiveBack(60)),
        (120, False, 99, GiveBack(480)),
        (60, True, 99, GiveBack(480)),
    ],
)
def test_ready_nodes_are_held_in_vain_for_so_long(idle, rival, times, expected):
    assert judge_hold(idle, idle_hold=120.0, has_rival=rival, times=times) == expected


@pytest.mark.parametrize(
    ("away", "begun", "expected"),
    [(0, False, "cloud"), (0, True, None), (119, True, None), (120, True, "cloud")],
)
def test_others_may_have_what_a_cloud_that_is_away_has_not_begun_or_does_not_end(away, begun, expected):
    assert judge_outage(away, begun=begun, idle_hold=120.0) == expected


def pending(id_: str, count: int = 2, **fields) -> NodeRequest:
    return NodeRequest(id=id_, **{"labels": ("small",) * count, "state": RequestState.PENDING, **fields})


MINE = pending("200-0000000005")


@pytest.mark.parametrize(
    ("other", "nodes", "expected"),
    [
        (pending("200-0000000001"), 1, True),
        (pending("100-0000000009"), 1, True),
        (pending("200-0000000009"), 1, False),  # behind us
        (pending("200-0000000009", relative_priority=-1), 1, True),
        (pending("200-0000000001"), 0, False),  # holds nothing
        (pending("200-0000000001"), 2, False),  # has all it wants
        (pending("200-0000000001", count=1), 1, False),
        (pending("200-0000000001", state=RequestState.FULFILLED), 1, False),
    ],
)
def test_a_rival_is_before_us_and_holds_a_part(other, nodes, expected):
    mine = ready("m", allocated_to=MINE.id)
    theirs = [ready(str(n), allocated_to=other.id) for n in range(nodes)]
    assert has_rival(MINE, snapshot_of(MINE, other, mine, *theirs)) is expected


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 99), min_size=1, max_size=8, unique=True), st.floats(1, 1000))
def test_of_all_that_hold_a_part_just_one_waits_longest_and_none_for_ever(numbers, idle_hold):
    requests = [pending(f"200-{n:010d}") for n in numbers]
    nodes = [ready(r.id, allocated_to=r.id) for r in requests]
    snapshot = snapshot_of(*requests, *nodes)
    holds = [may_hold(idle_hold=idle_hold, has_rival=has_rival(r, snapshot)) for r in requests]
    assert max(holds) == idle_hold
    assert holds.count(idle_hold) == 1
    assert holds.index(idle_hold) == numbers.index(min(numbers))


def free(id_: str, cores: int, **fields) -> Node:
    return ready(id_, resources={"instances": 1, "cores": cores}, **fields)


@pytest.mark.parametrize(
    ("available", "going", "nodes", "doomed"),
    [
        ({}, {}, "1", ""),  # no limit
        ({"cores": 4}, {}, "1", ""),  # fits
        ({"cores": 0}, {}, "4", "4"),
        ({"cores": 0}, {}, "2", ""),  # would not help
        ({"cores": 0}, {}, "248", "24"),  # the first that are enough
        ({"cores": 0}, {"cores": 4}, "4", ""),  # comes by itself
        ({"cores": 0}, {"cores": 2}, "24", "2"),
        ({"cores": 0, "ram": 9}, {}, "04", "4"),  # what has none of it stays
        ({"instances": 0, "cores": 9}, {}, "24", "2"),
    ],
)
def test_free_nodes_make_room_for_those_that_wait(available, going, nodes, doomed):
    need = {"instances": 1, "cores": 4}
    found = room_by(need, available, going, [free(c, int(c)) for c in nodes])
    assert "".join(node.id for node in found) == doomed


amounts = st.dictionaries(st.sampled_from(["instances", "cores", "ram"]), st.integers(0, 6).map(float))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(amounts, amounts, amounts, st.lists(amounts, max_size=5))
def test_what_goes_is_enough_or_nothing_goes(need, available, going, nodes):
    free_nodes = [
        Node(id=str(n), state=NodeState.READY, resources=resources) for n, resources in enumerate(nodes)
    ]
    doomed = room_by(need, available, going, free_nodes)
    left = {
        name: limit + going.get(name, 0) + sum((n.resources or {}).get(name, 0) for n in doomed)
        for name, limit in available.items()
    }
    assert not doomed or short_of(need, left) is None
    fits_anyway = short_of(need, {name: v + going.get(name, 0) for name, v in available.items()}) is None
    if fits_anyway:
        assert not doomed
