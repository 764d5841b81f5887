from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolmgr.config.settings import Label
from poolmgr.model.node import Node, NodeState
from poolmgr.model.server import FloatingIp, Listing, Owner, Port, Server, ServerStatus
from poolmgr.policy.retire import (
    Doomed,
    aged,
    ask_due,
    hold_limit,
    idle_ports,
    is_gone,
    leaked_floating_ips,
    leaked_servers,
    leftover_floating_ips,
    leftover_ports,
    lost_nodes,
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
    ],
)
def test_nothing_less_proves_that_it_is_gone(listings):
    assert not is_gone(watched(*listings), TUNING)


def test_nothing_is_gone_before_the_cloud_accepted_its_deletion():
    doomed = Doomed(server_id="s-1")
    assert watched(listing(at=1.0), listing(at=2.0), doomed=doomed) == doomed


@pytest.mark.parametrize("status", [ServerStatus.DELETED, ServerStatus.SOFT_DELETED])
def test_a_server_that_the_cloud_lists_as_deleted_is_gone_at_once(status):
    assert is_gone(watched(listing(server("s-1", status), at=101.0)), TUNING)


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
    proof = [one for one in listings if one.complete and one.started_at >= asked_at]
    deleted = [one for one in proof if one.items and one.items["s-1"].status is ServerStatus.DELETED]
    without = {one.started_at for one in proof if not one.items}
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
        ({"node": "7", "deployment": None}, True),  # Nodepool's, in a mixed fleet
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


# Leaked servers


def leaked(*servers: Server, nodes: tuple[Node, ...] = (), in_hand=(), complete: bool = True) -> set[str]:
    seen = listing(*servers, complete=complete)
    return set(leaked_servers(seen, snapshot_of(*nodes), in_hand=in_hand, **HERE))


def test_a_server_of_ours_without_node_is_leaked():
    assert leaked(server(node="7")) == {"s-1"}
    assert leaked(server(node="7", deployment=None)) == {"s-1"}  # Nodepool's: the fleet's nodes are all known
    assert leaked(server(node="7"), nodes=(Node(id="7", provider="south"),)) == {"s-1"}


@pytest.mark.parametrize(
    ("external_id", "deployment", "is_leaked"),
    [
        ("s-1", DEPLOYMENT, False),
        ("s-2", DEPLOYMENT, True),  # an attempt whose create call was answered too late
        (None, DEPLOYMENT, False),  # being made
        ("", DEPLOYMENT, False),
        ("s-2", None, False),  # Nodepool records the id only when the server is there
    ],
)
def test_a_server_beside_its_nodes_own_one_is_leaked(external_id, deployment, is_leaked):
    node = Node(id="7", provider="north", external_id=external_id)
    assert leaked(server(node="7", deployment=deployment), nodes=(node,)) == ({"s-1"} if is_leaked else set())


@pytest.mark.parametrize("status", [ServerStatus.DELETED, ServerStatus.SOFT_DELETED])
def test_what_the_cloud_has_deleted_is_not_leaked(status):
    assert leaked(server(status=status, node="7")) == set()


def test_what_is_in_hand_is_not_leaked():
    assert leaked(server(node="7"), in_hand={"7"}) == set()


def test_an_incomplete_listing_shows_no_leak():
    assert leaked(server(node="7"), complete=False) == set()


def test_a_node_that_cannot_be_read_accounts_for_its_servers():
    snapshot = snapshot_of()
    snapshot.put_unreadable_node("7")
    assert leaked_servers(listing(server(node="7")), snapshot, in_hand=(), **HERE) == frozenset()
    ip = FloatingIp(id="f", address="192.0.2.1", port_id=None, owner=Owner(node_id="7", **HERE))
    found = leaked_floating_ips(listing(ip), snapshot, in_hand=(), any_unattached=True, **HERE)
    assert found == frozenset()


# Lost nodes


@pytest.mark.parametrize(
    ("seen", "lost"),
    [
        ([], True),
        ([server("s-1", ServerStatus.ERROR)], True),
        ([server("s-1", ServerStatus.OTHER)], True),
        ([server("s-1", ServerStatus.ACTIVE)], False),
        ([server("s-1", ServerStatus.UNKNOWN)], False),  # no information
    ],
)
def test_a_free_node_whose_server_serves_nobody_is_lost(seen, lost):
    snapshot = snapshot_of(ready("1", external_id="s-1"))
    assert lost_nodes(listing(*seen), snapshot, "north") == ({"1"} if lost else set())


@pytest.mark.parametrize(
    "node",
    [
        ready("1", external_id="s-1", allocated_to="200-1"),
        ready("1", external_id=None),  # foreign: names no server
        ready("1", external_id={"namespace": "x"}),
        ready("1", external_id="s-1", provider="south"),
        Node(id="1", provider="north", external_id="s-1", state=NodeState.IN_USE),
        Node(id="1", provider="north", external_id="s-1", state=NodeState.HOLD),
    ],
)
def test_no_other_node_is_lost(node):
    assert lost_nodes(listing(), snapshot_of(node), "north") == frozenset()


def test_an_incomplete_listing_loses_no_node():
    snapshot = snapshot_of(ready("1", external_id="s-1"))
    assert lost_nodes(listing(complete=False), snapshot, "north") == frozenset()


# Floating IPs and ports


def floating(owner: Owner | None, port_id: str | None = None) -> FloatingIp:
    return FloatingIp(id="f-1", address="192.0.2.1", port_id=port_id, owner=owner)


def mark(node_id: str = "7", **fields: Any) -> Owner:
    return Owner(**{"node_id": node_id, **HERE, **fields})


@pytest.mark.parametrize(
    ("ip", "any_unattached", "is_leaked"),
    [
        (floating(mark()), False, True),
        (floating(mark(), port_id="p-1"), False, True),
        (floating(mark("8")), False, False),  # a living node's
        (floating(mark("9")), False, False),  # in hand
        (floating(mark(deployment=OTHER_DEPLOYMENT)), True, False),
        (floating(mark(provider="south")), True, False),
        (floating(None), False, False),
        (floating(None), True, True),  # clean-floating-ips
        (floating(None, port_id="p-1"), True, False),
    ],
)
def test_leaked_floating_ips(ip, any_unattached, is_leaked):
    snapshot = snapshot_of(Node(id="8", provider="north"))
    for complete in (True, False):
        found = leaked_floating_ips(
            listing(ip, complete=complete), snapshot, in_hand={"9"}, any_unattached=any_unattached, **HERE
        )
        assert found == ({"f-1"} if is_leaked and complete else set())


def port(**fields: Any) -> Port:
    return Port(
        **{"id": "p-1", "device_id": "s-gone", "device_owner": "compute:nova", "status": "DOWN", **fields}
    )


@pytest.mark.parametrize(
    ("one", "idle"),
    [
        (port(), True),
        (port(device_id="", device_owner=""), True),
        (port(device_id="s-1"), False),  # its server lives
        (port(status="ACTIVE"), False),
        (port(status="BUILD"), False),
        (port(device_owner="network:router_interface"), False),
        (port(device_owner="network:dhcp"), False),
        (port(owner=mark()), False),  # made in advance: its server may be about to come
        (port(owner=mark(deployment=OTHER_DEPLOYMENT)), False),
    ],
)
def test_idle_ports(one, idle):
    servers = listing(server("s-1"))
    assert idle_ports(listing(one), servers) == ({"p-1"} if idle else set())
    assert idle_ports(listing(one, complete=False), servers) == set()
    assert idle_ports(listing(one), listing(complete=False)) == set()


def test_leftovers_of_a_node_are_what_names_it_or_its_servers():
    ports = listing(
        port(id="p-1", device_id="s-1"), port(id="p-2", device_id="s-2"), port(id="p-3", device_id="")
    )
    assert leftover_ports(ports, ["s-1", "s-9"]) == {"p-1"}
    assert leftover_ports(ports, []) == set()


@pytest.mark.parametrize(
    ("owner", "left"),
    [
        (mark(), True),
        (mark(attempt=2), True),  # whichever attempt it was made for
        (mark("8"), False),
        (mark(provider="south"), False),
        (mark(deployment=OTHER_DEPLOYMENT), False),
        (mark(deployment=None), False),
        (None, False),
    ],
)
def test_leftover_floating_ips_are_those_made_for_the_node(owner, left):
    found = leftover_floating_ips(listing(floating(owner)), node_id="7", **HERE)
    assert found == ({"f-1"} if left else set())


# Foreign things, in all worlds

providers = st.sampled_from(["north", "south", "", None])
deployments = st.sampled_from([DEPLOYMENT, OTHER_DEPLOYMENT, "", None])
node_ids = st.sampled_from(["7", "8", "", None])
any_nodes = st.lists(
    st.builds(
        Node,
        id=st.sampled_from(["7", "8"]),
        provider=st.sampled_from(["north", "south", None]),
        external_id=st.sampled_from(["s-1", "s-2", None]),
    ),
    max_size=2,
)
any_servers = st.lists(
    st.builds(
        server,
        st.sampled_from(["s-1", "s-2", "s-3"]),
        st.sampled_from(ServerStatus),
        node=node_ids,
        provider=providers,
        deployment=deployments,
    ),
    max_size=4,
)
owners = st.none() | st.builds(
    Owner,
    provider=st.sampled_from(["north", "south", ""]),
    node_id=st.sampled_from(["7", "8", ""]),
    deployment=deployments,
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(any_servers, any_nodes)
def test_no_foreign_server_is_ever_taken_for_ours(servers, nodes):
    seen = listing(*servers)
    snapshot = snapshot_of(*nodes)
    found = leaked_servers(seen, snapshot, in_hand={"8"}, **HERE)
    for node in nodes:
        found |= servers_of(
            replace(node, external_id=None), "north", seen.items.values(), deployment=DEPLOYMENT
        )
    for server_id in found:
        metadata = seen.items[server_id].metadata
        assert metadata.get("nodepool_provider_name") == "north"
        assert metadata.get("poolmgr_deployment") in (None, DEPLOYMENT)
        assert metadata.get("nodepool_node_id")
    leaked_ids = leaked_servers(seen, snapshot, in_hand=(), **HERE)
    for node in snapshot.nodes_of("north"):  # and what a node records is never leaked
        recorded = seen.items.get(str(node.external_id))
        if recorded and recorded.owner and recorded.owner.node_id == node.id:
            assert recorded.id not in leaked_ids


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(owners, max_size=4), any_nodes)
def test_no_marked_floating_ip_of_others_is_ever_taken_for_ours(marks, nodes):
    ips = [
        FloatingIp(id=f"f-{n}", address="192.0.2.1", port_id=None, owner=owner)
        for n, owner in enumerate(marks)
    ]
    found = leaked_floating_ips(
        listing(*ips), snapshot_of(*nodes), in_hand={"8"}, any_unattached=False, **HERE
    )
    for ip in ips:
        if ip.id in found:
            assert ip.owner is not None
            assert (ip.owner.provider, ip.owner.deployment) == ("north", DEPLOYMENT)
            assert ip.owner.node_id not in {n.id for n in nodes} | {"8"}
