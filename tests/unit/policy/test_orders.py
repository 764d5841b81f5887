from __future__ import annotations

import pytest

from poolmgr.config.settings import OpenStackProvider, Pool
from poolmgr.model.fleet import Peer, ProviderMode, ProviderOrder
from poolmgr.model.node import Node, NodeState
from poolmgr.model.snapshot import Snapshot
from poolmgr.policy.capacity import Capacity
from poolmgr.policy.orders import (
    REMOVED,
    Standing,
    capped,
    configured_elsewhere,
    configured_servers,
    is_drained,
    standing,
    takes_requests,
    to_drain,
    unserved,
)
from tests.unit.policy.worlds import pool, ready, snapshot_of

PAUSED, DRAINING, RUNNING = ProviderMode.PAUSED, ProviderMode.DRAINING, ProviderMode.RUNNING


def order(mode: ProviderMode = PAUSED, **fields: object) -> ProviderOrder:
    return ProviderOrder(provider="north", mode=mode, **fields)


@pytest.mark.parametrize(
    ("given", "removed", "mode", "limit", "reason"),
    [
        (None, False, RUNNING, float("inf"), "configured"),
        (order(), False, PAUSED, float("inf"), "ordered"),
        (order(DRAINING), False, DRAINING, float("inf"), "ordered"),
        (order(RUNNING, max_servers=3), False, RUNNING, 3, "ordered"),
        (order(RUNNING, max_servers=-1), False, RUNNING, 0, "ordered"),
        (order(until=100.5), False, PAUSED, float("inf"), "ordered"),
        (order(until=100.0), False, RUNNING, float("inf"), "configured"),  # just over
        (None, True, DRAINING, float("inf"), REMOVED),
        (order(RUNNING, max_servers=3), True, DRAINING, float("inf"), REMOVED),
    ],
)
def test_how_a_provider_stands(given, removed, mode, limit, reason):
    found = standing(given, now=100.0, removed=removed)
    assert (found.mode, found.max_servers, found.reason) == (mode, limit, reason)


@pytest.mark.parametrize(("mode", "closed"), [(RUNNING, None), (PAUSED, "paused"), (DRAINING, "draining")])
def test_what_is_paused_or_drained_takes_nothing(mode, closed):
    assert Standing(mode=mode).closed == closed


def test_an_order_has_to_be_judged_anew_when_it_ends():
    assert standing(order(until=150.0), now=100.0).until == 150.0
    assert standing(order(until=50.0), now=100.0).until is None
    assert standing(order(), now=100.0).until is None


@pytest.mark.parametrize(
    ("available", "limit", "use", "expected"),
    [
        ({"instances": 10, "cores": 4}, 6, {"instances": 2}, {"instances": 4, "cores": 4}),
        ({"instances": 1}, 6, {"instances": 2}, {"instances": 1}),  # the configuration is narrower
        ({}, 6, {}, {"instances": 6}),  # no limit but the ordered one
        ({"instances": 10}, 2, {"instances": 5}, {"instances": -3}),  # what runs is not killed
        ({"instances": 10}, float("inf"), {"instances": 5}, {"instances": 10}),
    ],
)
def test_an_ordered_limit_counts_over_all_pools_and_leaves_the_ceiling(available, limit, use, expected):
    capacity = Capacity(ceiling={"instances": 20}, available=available)
    assert capped(capacity, limit, use) == Capacity(ceiling={"instances": 20}, available=expected)


def test_free_ready_nodes_are_drained_and_no_others():
    snapshot = snapshot_of(
        ready("free"),
        ready("promised", allocated_to="200-1"),
        ready("locked"),
        ready("elsewhere", provider="south"),
        *(Node(id=s.value, state=s, provider="north") for s in NodeState if s is not NodeState.READY),
    )
    snapshot.put_node_contender("locked", "c-1")
    assert [node.id for node in to_drain(snapshot, "north")] == ["free"]


def test_it_is_drained_when_no_node_is_left():
    snapshot = snapshot_of(Node(id="1", state=NodeState.HOLD, provider="north"))
    assert not is_drained(snapshot, "north")
    assert is_drained(snapshot, "south")


def test_whoever_chooses_among_providers_learns_which_take_requests():
    snapshot = Snapshot()
    snapshot.put_provider_order(order(until=200.0))
    assert not takes_requests(snapshot, "north", 100.0)
    assert takes_requests(snapshot, "north", 200.0)
    assert takes_requests(snapshot, "south", 100.0)


def test_configured_servers_are_those_of_all_pools():
    def provider(*limits: dict[str, float]) -> OpenStackProvider:
        pools = {str(n): Pool(name=str(n), limits=one) for n, one in enumerate(limits)}
        return OpenStackProvider(name="north", cloud="north", pools=pools)

    assert configured_servers(provider({"instances": 3}, {"instances": 4}, {"instances": -1})) == 7
    assert configured_servers(provider({"instances": 3}, {"cores": 4})) == float("inf")


def test_nodes_whose_provider_nobody_has_are_counted():
    snapshot = snapshot_of(
        ready("1", provider="gone"),
        ready("2", provider="gone"),
        ready("3", provider="ours"),
        ready("4", provider="reference"),
        ready("5", provider="announced"),
        pool("p", ["small"], "reference"),
    )
    snapshot.put_peer(Peer(znode="p-1", providers=("announced",)))
    assert unserved(snapshot, ["ours"]) == {"gone": 2}


def test_another_launcher_may_have_a_provider_in_its_configuration_still():
    snapshot = Snapshot()
    snapshot.put_peer(Peer(znode="1", id="me", providers=("north",), offers={"north": {}}))
    snapshot.put_peer(Peer(znode="2", id="other", providers=("north", "south"), offers={"south": {}}))
    assert not configured_elsewhere(snapshot, "north", "me")  # the other drains it, too
    assert configured_elsewhere(snapshot, "south", "me")
    assert configured_elsewhere(snapshot, "north", "other")
