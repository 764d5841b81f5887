from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolmgr.model.node import Node, NodeState
from poolmgr.model.server import FloatingIp, Owner, Port, Server, ServerStatus, Volume
from poolmgr.policy.leaks import (
    Look,
    Sightings,
    confirmed,
    deletable_volumes,
    idle_floating_ips,
    idle_ports,
    leaked_servers,
    lost_nodes,
    of_dead_nodes,
    old_enough,
    sees_nothing,
    sighted,
)
from poolmgr.policy.retire import servers_of
from tests.unit.policy.worlds import DEPLOYMENT, OTHER_DEPLOYMENT, TUNING, listing, ready, server, snapshot_of

HERE = {"provider": "north", "deployment": DEPLOYMENT}


def mark(node_id: str = "7", **fields: Any) -> Owner:
    return Owner(**{"node_id": node_id, **HERE, **fields})


def floating(owner: Owner | None, port_id: str | None = None) -> FloatingIp:
    return FloatingIp(id="f-1", address="192.0.2.1", port_id=port_id, owner=owner)


# Sightings


SESSION = (1, 0)


def look(at: float, session: tuple[int, int] = SESSION) -> Look:
    """One whose listing began at `at`, and was looked at a second later."""
    return Look(listed_at=at, viewed_at=at + 1.0, session=session)


def looks(*found: set[str], every: float = 10.0) -> Sightings:
    """The sightings after looks at 10, 20, 30..."""
    seen: Sightings = {}
    for n, ids in enumerate(found, start=1):
        seen = sighted(seen, ids, look(n * every))
    return seen


@pytest.mark.parametrize(
    ("found", "apart", "ids"),
    [
        ([], 0.0, set()),
        ([{"a"}], 0.0, set()),
        ([{"a"}, {"a"}], 0.0, set()),  # only one of the listings began after the records were looked at
        ([{"a"}, {"a", "b"}, {"a", "b"}], 0.0, {"a"}),
        ([{"a"}, {"a"}, set(), {"a"}, {"a"}], 0.0, set()),  # it was not there all the time
        ([{"a"}, {"a"}, {"a"}], 19.0, {"a"}),
        ([{"a"}, {"a"}, {"a"}], 19.1, set()),
        ([{"a"}, set(), {"a"}, {"a"}, {"a"}], 20.0, set()),
    ],
)
def test_what_two_listings_after_the_look_at_the_records_have_is_proved(found, apart, ids):
    assert set(confirmed(looks(*found), SESSION, apart=apart)) == ids


def test_a_listing_counts_once_and_only_if_it_began_after_the_records_were_looked_at():
    seen = sighted({}, {"a"}, Look(listed_at=10.0, viewed_at=25.0, session=SESSION))
    for at in (10.0, 20.0, 25.0, 30.0, 30.0):
        seen = sighted(seen, {"a"}, look(at))
        assert not confirmed(seen, SESSION)
    seen = sighted(seen, {"a"}, look(40.0))
    assert confirmed(seen, SESSION)["a"].listings == (30.0, 40.0)


def test_a_store_that_was_away_in_between_or_since_disproves_everything():
    seen = looks({"a"}, {"a"}, {"a"})
    for session in ((2, 0), (1, 1)):
        assert not confirmed(seen, session)
        again = sighted(seen, {"a"}, look(40.0, session))
        again = sighted(again, {"a"}, look(50.0, session))
        assert not confirmed(again, session)
        assert confirmed(sighted(again, {"a"}, look(60.0, session)), session)


# Leaked servers


def leaked(*servers: Server, nodes: tuple[Node, ...] = (), in_hand=(), complete: bool = True) -> set[str]:
    seen = listing(*servers, complete=complete)
    return set(leaked_servers(seen, snapshot_of(*nodes), in_hand=in_hand, **HERE))


def test_a_server_of_ours_without_node_is_leaked():
    assert leaked(server(node="7")) == {"s-1"}
    assert leaked(server(node="7", deployment=None)) == set()  # some Nodepool's, and nobody can tell which
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


def test_a_node_that_cannot_be_read_accounts_for_what_is_its_own():
    snapshot = snapshot_of()
    snapshot.put_unreadable_node("7")
    assert leaked_servers(listing(server(node="7")), snapshot, in_hand=(), **HERE) == frozenset()
    assert of_dead_nodes(listing(floating(mark())), snapshot, in_hand=(), **HERE) == frozenset()


@pytest.mark.parametrize(
    ("created_at", "seen_for", "old"),
    [
        (None, 0.0, True),  # the cloud does not tell: two sightings have to do
        (10_000.0 - 300.0, 0.0, True),
        (10_000.0 - 299.0, 0.0, False),
        (10_000.0 - 299.0, 300.0, True),  # a clock may be wrong, but we have watched it so long
        (10_000.0 + 7200.0, 299.0, False),  # the cloud's clock is ahead
        (10_000.0 + 7200.0, 300.0, True),
    ],
)
def test_only_what_has_been_there_for_a_while_is_leaked(created_at, seen_for, old):
    young = server(created_at=created_at)
    assert old_enough(young, seen_for=seen_for, time=10_000.0, tuning=TUNING) is old


# Lost nodes


@pytest.mark.parametrize(
    ("nodes", "seen", "blind"),
    [
        ([], [], False),
        (["s-1"], [], False),  # one server may be gone
        (["s-1", "s-2"], [], True),
        (["s-1", "s-2"], ["s-9"], True),  # a list of somebody else's project
        (["s-1", "s-2"], ["s-2"], False),
        (["s-1", None, ""], [], False),  # being made
    ],
)
def test_a_list_without_one_of_several_servers_tells_of_something_else(nodes, seen, blind):
    snapshot = snapshot_of(*(ready(str(n), external_id=one) for n, one in enumerate(nodes)))
    assert sees_nothing(listing(*map(server, seen)), snapshot, "north") is blind


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


# What hung on servers


@pytest.mark.parametrize(
    ("owner", "is_leaked"),
    [
        (mark(), True),
        (mark("8"), False),  # a living node's
        (mark("9"), False),  # in hand
        (mark(deployment=OTHER_DEPLOYMENT), False),
        (mark(deployment=None), False),
        (mark(deployment="library"), False),
        (mark(provider="south"), False),
        (None, False),
    ],
)
def test_what_bears_the_mark_of_a_dead_node_is_leaked(owner, is_leaked):
    snapshot = snapshot_of(Node(id="8", provider="north"))
    things = [
        floating(owner),
        floating(owner, port_id="p-1"),
        Port(id="f-1", device_id="", owner=owner),
        Volume(id="f-1", owner=owner),
    ]
    for thing in things:
        for complete in (True, False):
            found = of_dead_nodes(listing(thing, complete=complete), snapshot, in_hand={"9"}, **HERE)
            assert found == ({"f-1"} if is_leaked and complete else set())


@pytest.mark.parametrize(
    ("status", "attached", "deletable"),
    [
        ("available", (), True),
        ("error", (), True),
        ("error", ("s-1",), False),
        ("in-use", ("s-1",), False),
        ("creating", (), False),
        ("deleting", (), False),
    ],
)
def test_a_leaked_volume_is_deleted_when_nothing_has_it(status, attached, deletable):
    volumes = listing(
        Volume(id="v-1", status=status, server_ids=attached), Volume(id="v-2", status="available")
    )
    assert deletable_volumes(volumes, {"v-1"}) == ({"v-1"} if deletable else set())


@pytest.mark.parametrize(
    ("ip", "idle"),
    [
        (floating(None), True),
        (floating(None, port_id="p-1"), False),
        (floating(mark()), False),
        (floating(mark(deployment=OTHER_DEPLOYMENT)), False),
    ],
)
def test_idle_floating_ips_bear_no_mark_and_lead_nowhere(ip, idle):
    assert idle_floating_ips(listing(ip)) == ({"f-1"} if idle else set())
    assert idle_floating_ips(listing(ip, complete=False)) == set()


def port(**fields: Any) -> Port:
    return Port(
        **{"id": "p-1", "device_id": "s-gone", "device_owner": "compute:nova", "status": "DOWN", **fields}
    )


@pytest.mark.parametrize(
    ("one", "idle", "idle_if_dedicated"),
    [
        (port(), True, True),
        (port(device_id="", device_owner=""), False, True),  # somebody's virtual address looks like that
        (port(device_owner=""), False, True),
        (port(device_id="s-1"), False, False),  # its server lives
        (port(device_id="s-1", device_owner=""), False, False),
        (port(status="ACTIVE"), False, False),
        (port(status="BUILD"), False, False),
        (port(device_owner="network:router_interface"), False, False),
        (port(device_owner="network:dhcp"), False, False),
        (port(device_owner="Octavia"), False, False),
        (port(owner=mark()), False, False),  # made in advance: its server may be about to come
        (port(owner=mark(deployment=OTHER_DEPLOYMENT)), False, False),
    ],
)
def test_idle_ports(one, idle, idle_if_dedicated):
    servers = listing(server("s-1"))
    for dedicated, expected in ((False, idle), (True, idle_if_dedicated)):
        assert idle_ports(listing(one), servers, dedicated=dedicated) == ({"p-1"} if expected else set())
        assert idle_ports(listing(one, complete=False), servers, dedicated=dedicated) == set()
        assert idle_ports(listing(one), listing(complete=False), dedicated=dedicated) == set()


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
def test_nothing_with_a_mark_of_others_is_ever_taken_for_ours(marks, nodes):
    ports = [Port(id=f"p-{n}", device_id="", owner=owner) for n, owner in enumerate(marks)]
    found = of_dead_nodes(listing(*ports), snapshot_of(*nodes), in_hand={"8"}, **HERE)
    for one in ports:
        if one.id in found:
            assert one.owner is not None
            assert (one.owner.provider, one.owner.deployment) == ("north", DEPLOYMENT)
            assert one.owner.node_id not in {n.id for n in nodes} | {"8"}
