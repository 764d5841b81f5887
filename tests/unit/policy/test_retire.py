from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolmgr.config.settings import Label
from poolmgr.model.node import Node, NodeState
from poolmgr.model.server import FloatingIp, Listing, Owner, Port, Server, ServerStatus, Volume
from poolmgr.policy.retire import (
    Doomed,
    Mark,
    aged,
    ask_due,
    by_force,
    by_node,
    hold_limit,
    is_gone,
    leftover_floating_ips,
    leftover_ports,
    leftover_volumes,
    may_be_forced,
    observe,
    servers_of,
)
from tests.unit.policy.worlds import DEPLOYMENT, OTHER_DEPLOYMENT, TUNING, listing, ready, server, snapshot_of

HERE = {"provider": "north", "deployment": DEPLOYMENT}
ASKED = Doomed(server_id="s-1", asked_at=100.0, asks=1)


def watched(*listings: Listing[Server], doomed: Doomed = ASKED) -> Doomed:
    for one in listings:
        doomed = observe(doomed, one)
    return doomed


# Gone


def test_a_server_is_gone_when_two_complete_listings_lack_it():
    once = watched(listing(at=101.0))
    assert not is_gone(once, TUNING)
    assert is_gone(observe(once, listing(at=102.0)), TUNING)


@pytest.mark.parametrize(
    "listings",
    [
        [listing(at=101.0), listing(at=101.0)],  # the same one, seen twice
        [listing(at=98.0), listing(at=99.0)],  # from before the deletion
        [listing(at=101.0), listing(at=99.0)],
        [listing(at=101.0, complete=False), listing(at=102.0, complete=False)],
        [listing(at=101.0), listing(server("s-1"), at=102.0), listing(at=103.0)],  # it came back
        [listing(server("s-1", ServerStatus.ERROR), at=101.0)],
        [listing(at=101.0, complete=False, partial=True), listing(at=102.0, complete=False, partial=True)],
        [listing(server("s-1", ServerStatus.DELETED), at=99.0)],
    ],
)
def test_nothing_less_proves_that_it_is_gone(listings):
    assert not is_gone(watched(*listings), TUNING)


def test_nothing_is_gone_before_the_cloud_accepted_its_deletion():
    doomed = Doomed(server_id="s-1")
    assert watched(listing(at=1.0), listing(at=2.0), doomed=doomed) == doomed


@pytest.mark.parametrize("partial", [False, True])
def test_a_server_that_the_cloud_lists_as_deleted_is_gone_at_once(partial):
    deleted = server("s-1", ServerStatus.DELETED)
    assert is_gone(watched(listing(deleted, at=101.0, complete=not partial, partial=partial)), TUNING)


def test_a_soft_deleted_server_is_asked_for_once_more_and_then_counts_as_gone():
    soft = server("s-1", ServerStatus.SOFT_DELETED)
    seen = watched(listing(soft, at=101.0))
    assert not is_gone(seen, TUNING)
    assert ask_due(seen, soft, now=102.0, tuning=TUNING)
    asked = replace(seen, asks=2)
    assert not ask_due(asked, soft, now=1e6, tuning=TUNING)
    assert not is_gone(asked, TUNING)  # it may have worked
    assert is_gone(observe(asked, listing(soft, at=103.0)), TUNING)


def test_what_was_soft_deleted_before_is_deleted_first():
    soft = server("s-1", ServerStatus.SOFT_DELETED)
    assert not ask_due(ASKED, soft, now=102.0, tuning=TUNING)  # that listing is from before


looks = st.builds(
    lambda at, status, complete: listing(
        *([server("s-1", status)] if status else []), at=at, complete=complete
    ),
    st.integers(95, 110).map(float),
    st.sampled_from([None, None, None, ServerStatus.ACTIVE, ServerStatus.ERROR, ServerStatus.DELETED]),
    st.booleans(),
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(looks, max_size=6), st.sampled_from([None, 100.0]))
def test_gone_means_proved_by_complete_listings_begun_after_the_deletion(listings, asked_at):
    doomed = watched(*listings, doomed=replace(ASKED, asked_at=asked_at))
    if not is_gone(doomed, TUNING):
        return
    assert asked_at is not None
    later = [one for one in listings if one.started_at >= asked_at]
    deleted = [one for one in later if one.items and one.items["s-1"].status is ServerStatus.DELETED]
    without = {one.started_at for one in later if one.complete and not one.items}
    assert deleted or len(without) >= TUNING.absence_sightings


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.integers(100, 130), min_size=2, unique=True))
def test_what_all_listings_lack_is_gone_in_the_end(times):
    doomed = watched(*(listing(at=float(at)) for at in sorted(times)))
    assert is_gone(doomed, TUNING)


# Asking again


@pytest.mark.parametrize(
    ("doomed", "seen", "now", "due"),
    [
        (Doomed(server_id="s-1"), None, 0.0, True),  # the first time, listed or not
        (Doomed(server_id="s-1", busy=True), None, 0.0, False),
        (Doomed(server_id="s-1", not_before=5.0), None, 4.0, False),  # the call failed just now
        (ASKED, server(), 129.0, False),
        (ASKED, server(), 130.0, True),  # still there, and nobody is at it
        (ASKED, server(task_state="deleting"), 399.0, False),
        (ASKED, server(task_state="deleting"), 400.0, True),
        (replace(ASKED, asks=2), server(task_state="deleting"), 699.0, False),
        (replace(ASKED, asks=2), server(task_state="deleting"), 700.0, True),
        (ASKED, server("s-1", ServerStatus.ERROR, task_state="deleting"), 130.0, True),  # it has given up
        (ASKED, None, 1e6, False),  # not listed: nothing to ask for
        (replace(ASKED, sightings=1), server(), 1e6, False),
        (replace(ASKED, busy=True), server(), 1e6, False),
        (replace(ASKED, asks=2), server(), 159.0, False),  # patience doubles
        (replace(ASKED, asks=2), server(), 160.0, True),
        (replace(ASKED, asks=50), server(), 1899.0, False),
        (replace(ASKED, asks=50), server(), 1900.0, True),  # but ends at half an hour
        (replace(ASKED, asks=5000), server(), 1900.0, True),  # 2.0 ** 1024 would raise
    ],
)
def test_a_deletion_without_effect_is_asked_for_again(doomed, seen, now, due):
    assert ask_due(doomed, seen, now=now, tuning=TUNING) is due


# Whose servers


@pytest.mark.parametrize(
    ("mark", "found"),
    [
        ({"node": "7"}, True),
        ({"node": "7", "deployment": None}, False),  # some Nodepool's: known by the recorded id only
        ({"node": "7", "deployment": OTHER_DEPLOYMENT}, False),  # another installation's node 7
        ({"node": "7", "provider": "south"}, False),
        ({"node": "8"}, False),
        ({"node": None}, False),
    ],
)
def test_a_node_takes_along_the_servers_that_name_it(mark, found):
    node = Node(id="7", provider="north")
    seen = listing(server("s-1", **mark))
    assert servers_of(node, "north", seen.items.values(), deployment=DEPLOYMENT) == (
        {"s-1"} if found else set()
    )


@pytest.mark.parametrize(
    ("external_id", "ids"), [("s-9", {"s-9"}), (None, set()), ("", set()), ({"ns": "x"}, set()), (7, set())]
)
def test_a_node_takes_along_the_server_it_records_listed_or_not(external_id, ids):
    node = Node(id="7", provider="north", external_id=external_id)
    assert servers_of(node, "north", [], deployment=DEPLOYMENT) == ids
    assert servers_of(node, "north", [server("s-1", node="7")], deployment=DEPLOYMENT) == ids | {"s-1"}


def test_servers_are_sorted_by_the_node_they_name_if_they_are_there():
    one, two = server("s-1", node="7"), server("s-2", node="7", provider="south")
    gone, foreign = server("s-3", ServerStatus.DELETED, node="7"), server("s-4", node=None)
    assert by_node(listing(one, two, gone, foreign)) == {"7": [one, two]}


# Age


def reasons(*nodes: Node, max_hold_age: float = 0.0, now: float = 1000.0) -> list[tuple[str, str]]:
    labels = {"small": Label(name="small", max_ready_age=100.0), "ageless": Label(name="ageless")}
    found = aged(snapshot_of(*nodes), "north", labels=labels, max_hold_age=max_hold_age, now=now)
    return [(node.id, reason) for node, reason in found]


@pytest.mark.parametrize(
    ("fields", "old"),
    [
        ({"state_time": 900.0}, True),
        ({"state_time": 901.0}, False),
        ({"state_time": 900.0, "allocated_to": "200-1"}, False),  # promised to someone
        ({"state_time": 0.0, "label": "ageless"}, False),
        ({"state_time": 0.0, "label": "unknown"}, False),
        ({"state_time": 0.0, "provider": "south"}, False),
        ({"state_time": 5000.0}, False),  # another host's clock is ahead
    ],
)
def test_free_ready_nodes_age(fields, old):
    assert reasons(ready("1", **fields)) == ([("1", "max-ready-age")] if old else [])


@pytest.mark.parametrize("state", [s for s in NodeState if s not in (NodeState.READY, NodeState.HOLD)])
def test_nodes_in_other_states_do_not_age(state):
    node = Node(id="1", state=state, labels=("small",), provider="north")
    assert reasons(node, max_hold_age=1.0) == []


@pytest.mark.parametrize(
    ("own", "everyones", "limit"),
    [
        (None, 0.0, 0.0),
        (None, 60.0, 60.0),
        (30, 60.0, 30.0),
        (90, 60.0, 60.0),
        (30, 0.0, 30.0),
        (0, 60.0, 60.0),
        (-5, 60.0, 60.0),
        ("30", 60.0, 60.0),  # no number: read as 0
        (True, 0.0, 0.0),  # not one second
        ([30], 0.0, 0.0),
        (float("nan"), 0.0, 0.0),
        pytest.param(10**400, 60.0, 60.0, id="huge"),
        pytest.param(10**400, 0.0, 1e10, id="huge-alone"),
    ],
)
def test_a_node_is_held_for_the_smaller_of_its_own_and_everyones_limit(own, everyones, limit):
    assert hold_limit(Node(hold_expiration=own), everyones) == limit


@pytest.mark.parametrize(("since", "old"), [(940.0, True), (941.0, False)])
def test_held_nodes_age(since, old):
    node = Node(id="1", state=NodeState.HOLD, state_time=since, provider="north", allocated_to="200-1")
    assert reasons(node, max_hold_age=60.0) == ([("1", "max-hold-age")] if old else [])
    assert reasons(node) == []


# Leftovers


def owner(node_id: str = "7", **fields: Any) -> Owner:
    return Owner(**{"node_id": node_id, **HERE, **fields})


OWNERS = [
    (owner(), True),
    (owner(attempt=2), True),  # whichever attempt it was made for
    (owner("8"), False),
    (owner(provider="south"), False),
    (owner(deployment=OTHER_DEPLOYMENT), False),
    (owner(deployment=None), False),
    (None, False),
]
MARK = Mark(node_id="7", **HERE)
NOBODYS = Mark(node_id="", **HERE)


@pytest.mark.parametrize(("made_for", "left"), OWNERS)
def test_leftovers_are_those_made_for_the_node(made_for, left):
    ip = FloatingIp(id="f-1", address="192.0.2.1", port_id=None, owner=made_for)
    assert leftover_floating_ips(listing(ip), MARK) == ({"f-1"} if left else set())
    port = Port(id="p-1", device_id="", owner=made_for)  # made in advance; perhaps no server came of it
    assert leftover_ports(listing(port), [], MARK) == ({"p-1"} if left else set())
    volume = Volume(id="v-1", status="available", owner=made_for)
    assert leftover_volumes(listing(volume), [], [], MARK) == ({"v-1": True} if left else {})


def test_what_a_leaked_server_leaves_is_never_found_by_a_mark():
    """Its node may be alive and have another server."""
    unnamed = owner("")
    assert (
        leftover_floating_ips(listing(FloatingIp(id="f", address="", port_id=None, owner=unnamed)), NOBODYS)
        == set()
    )
    assert leftover_ports(listing(Port(id="p", device_id="", owner=unnamed)), [], NOBODYS) == set()
    assert leftover_volumes(listing(Volume(id="v", owner=unnamed)), [], [], NOBODYS) == {}


def test_ports_that_name_a_server_which_is_gone_are_left():
    ports = listing(*(Port(id=f"p-{n}", device_id=device) for n, device in enumerate(["s-1", "s-2", ""])))
    assert leftover_ports(ports, ["s-1", "s-9"], MARK) == {"p-0"}
    assert leftover_ports(ports, [], MARK) == set()


@pytest.mark.parametrize(
    ("status", "attached", "left"),
    [
        ("available", (), True),
        ("error", (), True),
        ("error_deleting", (), True),
        ("deleting", (), False),  # on its way
        ("in-use", ("s-1",), False),  # still attached to the server that is gone
        ("detaching", ("s-1",), False),
        ("reserved", (), False),
        ("", (), False),
    ],
)
def test_volumes_are_left_until_they_are_gone_and_deleted_when_that_is_possible(status, attached, left):
    volume = Volume(id="v-1", status=status, server_ids=attached)
    assert leftover_volumes(listing(volume), ["v-1"], ["s-1"], MARK) == {"v-1": left}


def test_a_volume_that_somebody_has_attached_to_another_server_is_not_ours_any_more():
    volume = Volume(id="v-1", status="in-use", server_ids=("s-2",), owner=owner())
    assert leftover_volumes(listing(volume), ["v-1"], ["s-1"], MARK) == {}


# By force


@pytest.mark.parametrize(("vain", "forced"), [(0, False), (2, False), (3, True), (9, True)])
def test_after_some_deletions_without_effect_a_server_goes_by_force(vain, forced):
    why = by_force(Doomed(server_id="s-1", asked_at=100.0, asks=9, vain=vain), TUNING)
    assert why == (f"by force after {vain} deletions without effect" if forced else "")


@pytest.mark.parametrize(
    ("status", "attached", "may"),
    [
        ("available", (), True),
        ("error_deleting", (), True),
        ("detaching", (), True),
        ("detaching", ("s-1",), False),
        ("in-use", (), False),
        ("in-use", ("s-2",), False),
    ],
)
def test_no_volume_is_forced_that_a_server_has(status, attached, may):
    assert may_be_forced(Volume(id="v-1", status=status, server_ids=attached)) is may
