"""Each rule finds what it is for, and nothing where all is well."""

from __future__ import annotations

import pytest

from tests.chaos import violations as rules
from tests.chaos.violations import Look, Standing

NODE, REQUEST, OTHER = "0000000001", "200-0000000001", "200-0000000002"


def node(**more):
    return {
        "state": "ready",
        "provider": "north",
        "allocated_to": REQUEST,
        "external_id": "s-1",
        "tenant_name": "alpha",
        "resources": {"instances": 1, "cores": 4},
        **more,
    }


def server(id_="s-1", **more):
    return {
        "id": id_,
        "status": "ACTIVE",
        "task_state": None,
        "foreign": False,
        "metadata": {"nodepool_node_id": NODE, "poolmgr_attempt": "1"},
        **more,
    }


def look(**more) -> Look:
    """A fulfilled request with its node, and the node's server."""
    facts = {
        "at": 1.0,
        "nodes": {NODE: node()},
        "requests": {REQUEST: {"state": "fulfilled", "nodes": [NODE]}},
        "pools": [{"provider_name": "north", "name": "main"}],
        "servers": {"north": [server(), server("s-2", foreign=True)]},
        **more,
    }
    return Look(**facts)


RULES = {
    "given twice": rules.given_twice,
    "promises": rules.promises_broken,
    "without server": rules.without_server,
    "without record": rules.without_record,
    "in use": lambda facts: rules.in_use_gone(facts, {NODE: REQUEST}),
    "pool limits": lambda facts: rules.over_pool_limits(facts, {"north": 1}),
    "core limits": lambda facts: rules.over_core_limits(facts, {"north": 4}),
    "tenant limits": lambda facts: rules.over_tenant_limits(facts, {"alpha": 1}),
    "built again": rules.built_again,
    "twins": rules.twins,
    "owned twice": rules.owned_twice,
}
TWO_NODES = {NODE: node(), "0000000002": node(external_id="s-2")}


@pytest.mark.parametrize("name", RULES)
def test_nothing_is_found_where_all_is_well(name):
    nodes = {NODE: node(state="in-use")} if name == "in use" else {NODE: node()}
    assert RULES[name](look(nodes=nodes)) == []


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("given twice", {"requests": {one: {"state": "fulfilled", "nodes": [NODE]} for one in (REQUEST, OTHER)}}),
        ("promises", {"nodes": {NODE: node(allocated_to=OTHER)}}),
        ("promises", {"nodes": {}}),
        ("without server", {"servers": {"north": []}}),
        ("without server", {"nodes": {NODE: node(state="hold", external_id="s-9")}}),
        ("without record", {"nodes": {}}),
        ("in use", {"nodes": {}}),
        ("in use", {"nodes": {NODE: node(state="deleting")}}),
        ("in use", {"nodes": {NODE: node(state="in-use")}, "servers": {"north": []}}),
        ("in use", {"nodes": {NODE: node(state="in-use")}, "servers": {"north": [server(status="ERROR")]}}),
        ("pool limits", {"nodes": TWO_NODES}),
        ("pool limits", {"servers": {"north": [server(f"s-{n}") for n in range(2 + rules.SPARE_SERVERS)]}}),
        ("core limits", {"nodes": TWO_NODES}),
        ("tenant limits", {"nodes": {NODE: node(), "0000000002": node(provider="south")}}),
        ("built again", {"servers": {"north": [server(), server("s-3")]}}),
        (
            "twins",
            {
                "servers": {
                    "north": [
                        server(),
                        server("s-3", metadata={"nodepool_node_id": NODE, "poolmgr_attempt": "2"}),
                    ]
                }
            },
        ),
        ("owned twice", {"pools": [{"provider_name": "north", "name": "main"}] * 2}),
    ],
)  # fmt: skip
def test_each_rule_finds_what_is_wrong(name, facts):
    assert RULES[name](look(**facts))


def test_what_was_made_in_advance_may_be_given_to_whoever_asks():
    ready = {"state": "fulfilled", "nodes": [NODE], "requestor": "NodePool:min-ready"}
    found = look(requests={"900-0000000001": ready, REQUEST: {"state": "fulfilled", "nodes": [NODE]}})
    assert rules.given_twice(found) == rules.promises_broken(found) == []


def test_a_second_server_that_is_going_is_no_twin():
    going = server("s-3", task_state="deleting")
    assert rules.twins(look(servers={"north": [server(), going]})) == []
    assert rules.built_again(look(servers={"north": [server(), going]})) == []


def test_what_somebody_else_had_must_stay():
    assert rules.foreign_gone("north", "servers", {"s-2"}, ["s-1", "s-2"]) == []
    assert rules.foreign_gone("north", "servers", {"s-2"}, ["s-1"]) == [
        "servers s-2 of somebody else in north is gone"
    ]


def test_in_the_end_nothing_of_ours_may_be_left():
    assert rules.left_over(Look(at=1.0), {"north": {"servers": 0}}) == []
    found = rules.left_over(look(), {"north": {"servers": 0, "ports": 2}})
    assert found == [
        f"node {NODE} is left: ready",
        f"request {REQUEST} is left: fulfilled",
        "2 ports of ours are left in north",
    ]


def test_what_passes_is_no_violation_and_what_stays_is_told_once():
    standing = Standing(seconds=3.0)
    assert standing.judge(["a"], 0.0) == []
    assert standing.judge([], 2.0) == []
    assert standing.judge(["a"], 4.0) == []
    assert standing.judge(["a"], 6.9) == []
    assert standing.judge(["a"], 7.0) == ["a"]
    assert standing.judge(["a"], 8.0) == []
