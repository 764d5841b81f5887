"""Counting nodes and requests for the gauges of the whole system."""

from __future__ import annotations

from poolmgr.model.component import Component, ComponentKind
from poolmgr.model.node import Node, NodeState
from poolmgr.model.request import NodeRequest, RequestState
from poolmgr.observe.census import take_census


def pool(provider: str, name: str, *labels: str) -> Component:
    return Component(kind=ComponentKind.POOL, name=name, provider_name=provider, supported_labels=labels)


def node(provider: str | None, state: NodeState, *labels: str) -> Node:
    return Node(provider=provider, state=state, labels=labels)


def test_offered_providers_and_labels_count_even_without_nodes():
    census = take_census([], [], [pool("north", "main", "small")])
    assert census.provider_nodes == {"north": dict.fromkeys(NodeState, 0)}
    assert census.label_nodes == {"small": dict.fromkeys(NodeState, 0)}
    assert census.nodes == dict.fromkeys(NodeState, 0)


def test_a_node_counts_in_each_of_its_labels_and_once_in_all():
    nodes = [
        node("north", NodeState.READY, "small", "docker"),
        node("south", NodeState.READY, "small"),
        node("north", NodeState.IN_USE, "small"),
    ]
    census = take_census(nodes, [], [])
    assert census.nodes[NodeState.READY] == 2
    assert census.provider_nodes["north"][NodeState.READY] == 1
    assert census.label_nodes["small"][NodeState.READY] == 2
    assert census.label_nodes["docker"][NodeState.READY] == 1
    assert census.label_nodes["small"][NodeState.IN_USE] == 1


def test_a_node_without_provider_counts_only_in_the_total():
    census = take_census([node(None, NodeState.INIT)], [], [])
    assert census.nodes[NodeState.INIT] == 1
    assert census.provider_nodes == {}


def test_a_pool_addresses_the_requests_all_of_whose_labels_it_offers():
    requests = [
        NodeRequest(id="200-1", labels=("small",)),
        NodeRequest(id="200-2", labels=("small", "small", "large"), state=RequestState.FULFILLED),
        NodeRequest(id="200-3", labels=("huge",), state=RequestState.PENDING),
    ]
    pools = [pool("north", "main", "small", "large"), pool("north", "spare", "small"), pool("south", "main")]
    census = take_census([], requests, pools)
    assert census.addressable == {("north", "main"): 2, ("north", "spare"): 1, ("south", "main"): 0}
    assert census.requests == {
        RequestState.REQUESTED: 1,
        RequestState.PENDING: 1,
        RequestState.FULFILLED: 1,
        RequestState.FAILED: 0,
    }


def test_pools_of_one_name_in_two_launchers_are_one_pool():
    requests = [NodeRequest(id="200-1", labels=("small", "large"))]
    census = take_census([], requests, [pool("north", "main", "small"), pool("north", "main", "large")])
    assert census.addressable == {("north", "main"): 1}
