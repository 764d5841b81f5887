"""Slots of static hosts: who has them, what is done about them, and when hosts are looked at."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolmgr.config.settings import StaticNode, StaticPool, StaticProvider
from poolmgr.model.node import Node, NodeState
from poolmgr.model.request import MIN_READY_REQUESTOR, NodeRequest
from poolmgr.policy.requests import Decline, Defer, Take, judge, keeps_room
from poolmgr.policy.static import (
    Check,
    Findings,
    Health,
    Host,
    Register,
    Remove,
    Rewrite,
    View,
    answered,
    described,
    garbage,
    hosts_of,
    is_down,
    is_live,
    is_up,
    new_node,
    next_check,
    occupy,
    pool_facts,
    steps,
    unanswered,
    wanted_hosts,
    wanted_labels,
)
from poolmgr.policy.tuning import Tuning
from tests.unit.policy.worlds import pool as component

TUNING = Tuning()
NOW = 1000.0
KEY = "ssh-ed25519 AAAA"
FOUND = Findings(keys=(KEY,), address="192.0.2.1")
UP = Health(findings=FOUND, scanned_at=NOW, seen_at=NOW, tried_at=NOW)
DOWN = replace(UP, failures=2, trouble="refused")


def host(name: str = "h1", **fields: Any) -> Host:
    fields.setdefault("labels", ("a",))
    return Host(provider="racks", pool="main", settings=StaticNode(name=name, **fields))


def node(
    id_: str, of: Host, slot: int | None = 0, *, state: NodeState = NodeState.READY, **more: Any
) -> Node:
    return replace(new_node(of, slot or 0, FOUND, at=1.0), id=id_, slot=slot, state=state, **more)


def judged(
    hosts: list[Host],
    records: list[Node],
    health: Health = UP,
    *,
    locked: tuple[str, ...] = (),
    served: tuple[str, ...] = ("racks",),
) -> list[Any]:
    """The steps, each as (what, node or slot, reason or changed fields)."""
    view = View(provider="racks", records=records, locked=locked, served=served)
    occupations, strangers = occupy({one.key: one for one in hosts}, view)
    healths = {one.key: health for one in hosts}
    told: list[Any] = []
    for step in steps(occupations, strangers, healths, view, now=NOW, tuning=TUNING):
        match step:
            case Register():
                told.append(("register", step.host.settings.name, step.slot))
            case Rewrite():
                told.append(("rewrite", step.node.id, tuple(step.changes)))
            case Remove():
                told.append(("remove", step.node.id, step.reason))
    return told


ONE, FOUR = host(), host(max_parallel_jobs=4)


@pytest.mark.parametrize(
    ("hosts", "records", "expected"),
    [
        ([FOUR], [], [("register", "h1", slot) for slot in range(4)]),
        ([host(max_parallel_jobs=0)], [], []),
        ([ONE], [node("1", ONE)], []),
        ([FOUR], [node("1", FOUR, 2), node("2", FOUR, 0)], [("register", "h1", 1), ("register", "h1", 3)]),
        # A busy record keeps its slot, in whatever state, until it is gone.
        *(([ONE], [node("1", ONE, state=state)], []) for state in NodeState if state is not NodeState.READY),
        ([ONE], [node("1", ONE, allocated_to="r")], []),
        # Records without a slot get one; busy ones hold one, unwritten.
        ([ONE], [node("1", ONE, None)], [("rewrite", "1", ("slot",))]),
        ([ONE], [node("1", ONE, None, state=NodeState.IN_USE)], []),
        ([FOUR], [node("1", FOUR, None, state=NodeState.IN_USE)], [("register", "h1", s) for s in (1, 2, 3)]),
        # Never two for one slot; the busy one keeps it, the free one moves or goes.
        ([ONE], [node("1", ONE), node("2", ONE)], [("remove", "2", "slot")]),
        ([ONE], [node("1", ONE), node("2", ONE, state=NodeState.IN_USE)], [("remove", "1", "slot")]),
        ([ONE], [node("1", ONE, allocated_to="r"), node("2", ONE, allocated_to="s")], []),
        # Fewer slots: free ones beyond them go, busy ones are left alone and make nobody's place free twice.
        ([ONE], [node("1", FOUR, 0), node("2", FOUR, 3)], [("remove", "2", "slot")]),
        ([ONE], [node("1", FOUR, 3, state=NodeState.IN_USE)], []),
        # Another host, a host that is gone, a host without its pool.
        ([host("h2")], [node("1", ONE)], [("remove", "1", "removed"), ("register", "h2", 0)]),
        ([], [node("1", ONE), node("2", ONE, allocated_to="r")], [("remove", "1", "removed")]),
    ],
)
def test_each_slot_gets_one_node(hosts: list[Host], records: list[Node], expected: list[Any]) -> None:
    assert judged(hosts, records) == expected


def test_locked_nodes_are_left_alone() -> None:
    assert judged([], [node("1", ONE)], locked=("1",)) == []
    assert judged([ONE], [node("1", ONE)], DOWN, locked=("1",)) == []
    assert judged([host(shell_type="cmd")], [node("1", ONE)], locked=("1",)) == []


@pytest.mark.parametrize(
    ("change", "fields"),
    [
        ({"labels": ("a", "b")}, ("labels",)),
        ({"username": "root"}, ("username",)),
        ({"connection_port": 2222}, ("connection_port",)),
        ({"connection_type": "winrm"}, ("connection_type",)),
        ({"shell_type": "cmd"}, ("shell_type",)),
        ({"python_path": "/p"}, ("python_path",)),
        ({"host_key_checking": False, "host_keys": ("k",)}, ("host_keys",)),
    ],
)
def test_changed_settings_are_written_into_free_nodes_only(change: dict[str, Any], fields: Any) -> None:
    new = host(**change)
    assert judged([new], [node("1", ONE)]) == [("rewrite", "1", fields)]
    assert judged([new], [node("1", ONE, allocated_to="r")]) == []
    assert judged([new], [node("1", ONE, state=NodeState.IN_USE)]) == []


def test_what_a_scan_has_not_found_yet_is_not_rewritten() -> None:
    old = node("1", ONE, host_keys=("old",))
    assert judged([ONE], [old], Health()) == []
    assert judged([ONE], [old]) == [("rewrite", "1", ("host_keys",))]


def test_attributes_and_pool_follow_the_configuration() -> None:
    new = Host(provider="racks", pool="other", settings=ONE.settings, attributes={"zone": "x"})
    assert judged([new], [node("1", ONE)]) == [("rewrite", "1", ("pool", "attributes"))]


@pytest.mark.parametrize(
    ("health", "expected"),
    [
        (DOWN, [("remove", "1", "unreachable")]),
        (replace(UP, failures=1, trouble="refused"), [("register", "h1", 1)]),
        (Health(failures=2, trouble="refused"), [("remove", "1", "unreachable")]),
        (Health(), []),  # nobody has looked yet: what is there stays
        (replace(UP, scanned_at=NOW - TUNING.static_fresh - 1), []),  # looked at too long ago to register
    ],
)
def test_hosts_that_are_down_lose_their_free_nodes_and_get_none(health: Health, expected: list[Any]) -> None:
    two = host(max_parallel_jobs=2)
    assert judged([two], [node("1", two)], health) == expected
    busy = node("1", two, state=NodeState.IN_USE)
    assert ("remove", "1", "unreachable") not in judged([two], [busy], health)


def test_a_host_of_another_provider_keeps_its_slot_until_nobody_serves_that() -> None:
    foreign = node("1", ONE, provider="other")
    assert judged([ONE], [foreign], served=("racks", "other")) == []
    assert judged([ONE], [foreign]) == [("rewrite", "1", ("provider",))]
    assert judged([ONE], [replace(foreign, state=NodeState.IN_USE)]) == []


def test_one_name_with_two_users_is_two_hosts() -> None:
    other = host(username="root")
    assert judged([ONE, other], [node("1", ONE)]) == [("register", "h1", 0)]
    assert judged([ONE, other], [node("1", other), node("2", ONE)]) == []


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (node("1", ONE, state=NodeState.USED), "used"),
        (node("1", ONE, state=NodeState.DELETING), "deleting"),
        (node("1", ONE, state=NodeState.BUILDING), "building"),
        (node("1", ONE, state=NodeState.INIT), "stillborn"),
        (node("1", ONE, state=NodeState.INIT, state_time=NOW - 1), None),
        (node("1", ONE), None),
        (node("1", ONE, state=NodeState.HOLD), None),
        (node("1", ONE, state=NodeState.USED, provider="other"), None),
        (node("1", ONE, state=NodeState.USED, provider="nobodys"), "used"),
    ],
)
def test_garbage(record: Node, expected: str | None) -> None:
    view = View(provider="racks", records=[record], served=("racks", "other"))
    found = [remove.reason for remove in garbage(view, now=NOW, tuning=TUNING)]
    assert found == ([expected] if expected else [])
    assert not list(garbage(replace(view, locked=("1",)), now=NOW, tuning=TUNING))


slots_of = st.sampled_from([None, 0, 1, 2, 7])
records_of = st.lists(
    st.tuples(slots_of, st.sampled_from(NodeState), st.booleans(), st.booleans()), max_size=6
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.integers(0, 3), records_of, st.sampled_from([UP, DOWN, Health()]))
def test_whatever_the_records_are_no_slot_is_doubled_and_nothing_promised_is_touched(
    slots: int, drawn: list[Any], health: Health
) -> None:
    one = host(max_parallel_jobs=slots)
    records = [
        node(str(i), one, slot, state=state, allocated_to="r" if promised else None)
        for i, (slot, state, promised, _) in enumerate(drawn)
    ]
    locked = tuple(str(i) for i, (*_, is_locked) in enumerate(drawn) if is_locked)
    view = View(provider="racks", records=records, locked=locked, served=("racks",))
    occupations, strangers = occupy({one.key: one}, view)
    after = {r.id: r for r in records}
    for step in steps(occupations, strangers, {one.key: health}, view, now=NOW, tuning=TUNING):
        match step:
            case Register(slot=slot):
                after[f"new-{slot}"] = node(f"new-{slot}", one, slot)
            case Rewrite(node=old, changes=changes):
                assert view.is_free(old)
                after[old.id] = replace(old, **changes)
            case Remove(node=old):
                assert view.is_free(old)
                del after[old.id]
    free = [r.slot for r in after.values() if r.id.startswith("new") or view.is_free(r)]
    assert len(free) == len(set(free))
    assert all(slot in range(slots) for slot in free)
    assert len(after) <= max(slots, len(records))
    taken = [r.slot for r in after.values() if not (r.id.startswith("new") or view.is_free(r))]
    assert not set(taken) & set(free)
    if health is UP:
        assert len(after) >= slots


def test_the_record_of_a_slot_has_all_that_zuul_reads() -> None:
    one = replace(host(labels=("a", "b"), username="u", connection_port=2200), attributes={"k": 1})
    made = new_node(one, 3, FOUND, at=5.0)
    assert made.labels == ("a", "b")
    assert made.external_id == made.hostname == made.interface_ip == "h1"
    assert (made.public_ipv4, made.public_ipv6, made.private_ipv4) == ("192.0.2.1", None, None)
    assert (made.launcher, made.slot, made.resources, made.attributes) == ("static driver", 3, None, {"k": 1})
    assert (made.provider, made.pool, made.host_keys) == ("racks", "main", (KEY,))
    assert (made.username, made.connection_port, made.python_path) == ("u", 2200, "auto")
    assert (made.state_time, made.created_time, made.state) == (5.0, 5.0, NodeState.READY)
    v6 = described(one, 0, Findings(address="2001:db8::1"))
    assert (v6["public_ipv4"], v6["public_ipv6"]) == (None, "2001:db8::1")
    unchecked = host(host_key_checking=False, host_keys=("k",))
    assert described(unchecked, 0, Findings())["host_keys"] == ("k",)


# Health


def test_a_host_is_out_after_failing_often_enough_and_back_after_one_scan() -> None:
    health = unanswered(UP, "refused", now=NOW)
    assert is_up(health, TUNING)
    assert not is_live(health, ONE, now=NOW, tuning=TUNING)  # not sure any more: not handed out
    health = unanswered(health, "refused", now=NOW)
    assert is_down(health, TUNING)
    assert is_up(answered(health, ONE, FOUND, now=NOW, tuning=TUNING), TUNING)


@pytest.mark.parametrize(
    ("configured", "fits"),
    [((), True), ((KEY,), True), ((KEY, "ssh-rsa B"), False), (("ssh-rsa B",), False)],
)
def test_all_configured_keys_must_be_among_those_found(configured: tuple[str, ...], fits: bool) -> None:
    health = answered(Health(), host(host_keys=configured), FOUND, now=NOW, tuning=TUNING)
    assert is_up(health, TUNING) is fits
    assert is_down(health, TUNING) is not fits
    assert (health.trouble is None) is fits
    changed = answered(UP, host(host_keys=configured), FOUND, now=NOW, tuning=TUNING)
    assert is_down(changed, TUNING) is not fits


def test_a_host_is_live_for_some_time_after_it_has_answered() -> None:
    later = NOW + TUNING.static_live
    assert is_live(UP, ONE, now=later, tuning=TUNING)
    assert not is_live(UP, ONE, now=later + 1, tuning=TUNING)
    assert is_live(UP, host(host_key_checking=False), now=later + 1, tuning=TUNING)
    assert is_live(answered(UP, ONE, None, now=later, tuning=TUNING), ONE, now=later + 1, tuning=TUNING)


@pytest.mark.parametrize(
    ("health", "vacant", "free", "wanted", "expected"),
    [
        (Health(), False, False, False, None),
        (UP, False, False, False, None),
        (Health(), True, False, False, (NOW, Check.SCAN)),
        (Health(), False, True, False, (NOW, Check.SCAN)),
        (UP, True, False, False, (NOW + 10, Check.SCAN)),
        (UP, False, True, False, (NOW + 60, Check.CONNECT)),
        (UP, False, True, True, (NOW + 10, Check.CONNECT)),
        (replace(UP, seen_at=NOW + 590), False, True, False, (NOW + 600, Check.SCAN)),
        (unanswered(UP, "x", now=NOW), False, True, True, (NOW + 1, Check.CONNECT)),
        (unanswered(UP, "x", now=NOW), True, True, True, (NOW + 1, Check.SCAN)),
        (replace(UP, failures=2), True, False, False, (NOW + 2, Check.SCAN)),
        (replace(UP, failures=5), True, False, False, (NOW + 16, Check.SCAN)),
        (replace(UP, failures=5000), True, False, False, (NOW + 60, Check.SCAN)),
        (Health(failures=1, tried_at=NOW), False, True, False, (NOW + 1, Check.SCAN)),
    ],
)
def test_when_a_host_is_looked_at(
    health: Health, vacant: bool, free: bool, wanted: bool, expected: Any
) -> None:
    due = next_check(health, vacant=vacant, free=free, wanted=wanted, now=NOW, tuning=TUNING)
    assert due == expected


# Requests


def test_only_as_many_hosts_are_asked_as_requests_want() -> None:
    hosts = [host(f"h{i}", labels=("a", "b") if i == 3 else ("a",)) for i in range(4)]
    nodes = [replace(node(str(i), one), state_time=10.0 - i) for i, one in enumerate(hosts)]
    view = View(provider="racks", records=nodes)
    occupations, _ = occupy({one.key: one for one in hosts}, view)

    def asked(wanted: dict[str, int], live: set[int]) -> set[str]:
        found = wanted_hosts(wanted, occupations, {hosts[i].key for i in live})
        return {key[0] for key in found}

    assert asked({"a": 1}, set()) == {"h3"}  # free for longest
    assert asked({"a": 2}, set()) == {"h3", "h2"}
    assert asked({"a": 1}, {0}) == set()
    assert asked({"a": 1, "b": 1}, {0}) == {"h3"}
    assert asked({"c": 1}, set()) == set()


def test_labels_wanted_here_are_those_of_requests_that_could_be_served() -> None:
    requests = [
        NodeRequest(labels=("a", "a")),
        NodeRequest(labels=("a", "cloud")),
        NodeRequest(labels=("b",), reuse=False),
    ]
    assert wanted_labels(requests, {"a", "b"}) == {"a": 2}


PROVIDER = StaticProvider(
    name="racks",
    pools={
        "main": StaticPool(
            name="main",
            priority=7,
            nodes=(
                StaticNode(name="h1", labels=("a", "b"), max_parallel_jobs=2),
                StaticNode(name="h2", labels=("a",)),
            ),
        )
    },
)


def verdict(
    labels: tuple[str, ...], ready: dict[str, int], provider: StaticProvider = PROVIDER, **more: Any
) -> Any:
    unasked = more.pop("unasked", frozenset())
    facts = pool_facts(
        provider,
        provider.pools["main"],
        pool_id="p",
        unasked=unasked,
        closed=more.pop("closed", None),
        awaited=(),
        patience=300.0,
    )
    crowded = more.pop("crowded", ())
    request = NodeRequest(labels=labels, **more)
    return judge(
        request, facts, [component("p", ["a", "b"], "racks")], ready=ready, tenant={}, crowded=crowded
    )


@pytest.mark.parametrize(
    ("labels", "ready", "expected"),
    [
        (("a",), {"a": 1}, Take("ready")),
        (("a",), {}, Defer("capacity")),
        (("a", "a"), {"a": 1}, Defer("capacity")),  # all or nothing
        (("a", "b"), {"a": 1, "b": 1}, Take("ready")),
        (("a",) * 3, {}, Defer("capacity")),
        (("a",) * 4, {}, Decline("too-big")),
        (("b",) * 3, {}, Decline("too-big")),
        (("a", "a", "b", "b"), {}, Decline("too-big")),
    ],
)
def test_requests_are_served_whole_wait_or_are_too_big(labels: Any, ready: Any, expected: Any) -> None:
    assert verdict(labels, ready) == expected


def test_what_is_free_but_not_asked_waits_for_the_answer() -> None:
    assert verdict(("a",), {}, unasked=frozenset({"a"})) == Defer("liveness")


def test_min_ready_is_never_served_from_hosts() -> None:
    assert verdict(("a",), {"a": 1}, requestor=MIN_READY_REQUESTOR, reuse=False) == Decline("only-ready")
    assert verdict(("a",), {"a": 1}, requestor=MIN_READY_REQUESTOR) == Decline("only-ready")


def test_limits_of_pool_and_provider() -> None:
    pool = replace(PROVIDER.pools["main"], limits={"instances": 0})
    assert verdict(("a",), {"a": 1}, replace(PROVIDER, pools={"main": pool})) == Decline("disabled")
    pool = replace(pool, limits={"instances": 1})
    assert verdict(("a", "a"), {"a": 2}, replace(PROVIDER, pools={"main": pool})) == Take("ready")
    assert verdict(("a",), {"a": 1}, replace(PROVIDER, max_concurrency=0)) == Defer("max-concurrency")
    assert verdict(("a",), {"a": 1}, replace(PROVIDER, max_concurrency=1)) == Take("ready")


def test_hosts_by_identity_with_their_place() -> None:
    hosts = hosts_of(PROVIDER)
    assert set(hosts) == {("h1", "zuul", 22), ("h2", "zuul", 22)}
    assert {one.pool for one in hosts.values()} == {"main"}


def test_who_wants_several_nodes_lets_others_pass_for_a_time_only() -> None:
    facts = pool_facts(
        PROVIDER, PROVIDER.pools["main"], pool_id="p", unasked=(), closed=None, awaited=(), patience=300.0
    )
    two, one = NodeRequest(labels=("a", "a"), created_time=0.0), NodeRequest(labels=("a",), created_time=0.0)
    assert not keeps_room(two, facts, "capacity", now=299.0)
    assert keeps_room(two, facts, "capacity", now=300.0)
    assert not keeps_room(one, facts, "capacity", now=300.0)
    assert not keeps_room(two, facts, "liveness", now=300.0)
    assert verdict(("a",), {"a": 1}, crowded={"a"}) == Defer("behind")
    assert verdict(("b",), {"b": 1}, crowded={"a"}) == Take("ready")
