"""What to delete, and when something is gone.

Absence is only inferred from complete listings that began after the deletion was accepted; what is ours is
only known from owner marks. Both kinds of proof are made here, from facts, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from poolmgr.config.settings import Label
from poolmgr.model.node import Node, NodeState
from poolmgr.model.server import FloatingIp, Listing, Port, Server, ServerStatus
from poolmgr.model.snapshot import Snapshot
from poolmgr.policy.growth import doubling
from poolmgr.policy.tuning import Tuning

#: In these the cloud has done all it will do for us; a soft-deleted server is reclaimed in its own time (3.17).
_DELETED = frozenset({ServerStatus.DELETED, ServerStatus.SOFT_DELETED})
#: Seconds; a whole number in a record may be too large for a float.
_CENTURIES = 1e10


@dataclass(frozen=True, kw_only=True, slots=True)
class Doomed:
    """A server that is to go. Monotonic seconds; `asked_at` is when the cloud last accepted the deletion."""

    server_id: str
    asked_at: float | None = None
    asks: int = 0
    not_before: float = 0.0
    busy: bool = False  # a delete call is in flight
    sightings: int = 0  # complete listings without it
    seen_until: float = 0.0  # start of the last listing that was counted


def observe(doomed: Doomed, listing: Listing[Server]) -> Doomed:
    """`doomed` with what `listing` says about it."""
    if doomed.asked_at is None or not listing.complete or listing.started_at <= doomed.seen_until:
        return doomed
    if listing.started_at < doomed.asked_at:
        return doomed
    server = listing.items.get(doomed.server_id)
    if server is None:
        return replace(doomed, sightings=doomed.sightings + 1, seen_until=listing.started_at)
    if server.status in _DELETED:
        return replace(doomed, sightings=1_000, seen_until=listing.started_at)
    return replace(doomed, sightings=0, seen_until=listing.started_at)


def is_gone(doomed: Doomed, tuning: Tuning) -> bool:
    return doomed.sightings >= tuning.absence_sightings


def ask_due(doomed: Doomed, server: Server | None, *, now: float, tuning: Tuning) -> bool:
    """Whether to send a delete call now: the first, or one more as the last had no effect (cloud.md 3.17)."""
    if doomed.busy or now < doomed.not_before:
        return False
    if doomed.asked_at is None:
        return True
    if server is None or doomed.sightings:
        return False
    patience = doubling(tuning.delete_reissue, doomed.asks - 1, tuning.delete_reissue_max)
    if server.task_state == "deleting":
        patience = max(patience, 10 * tuning.delete_reissue)
    return now - doomed.asked_at >= patience


def by_node(listing: Listing[Server]) -> Mapping[str, Sequence[Server]]:
    """The listed servers by the node that their metadata names, whoever's that is."""
    found: dict[str, list[Server]] = {}
    for server in listing.items.values():
        owner = server.owner
        if owner is not None:
            found.setdefault(owner.node_id, []).append(server)
    return found


def servers_of(node: Node, provider: str, servers: Iterable[Server], *, deployment: str) -> frozenset[str]:
    """Ids of every server made for `node`: the recorded one, and those of `servers` whose metadata names the node.

    `deployment` is ours: another installation may have a node of the same id.
    """
    found = {node.external_id} if isinstance(node.external_id, str) and node.external_id else set()
    for server in servers:
        owner = server.owner
        if owner and owner.node_id == node.id and owner.belongs_to(provider, deployment):
            found.add(server.id)
    return frozenset(found)


def aged(
    snapshot: Snapshot,
    provider: str,
    *,
    labels: Mapping[str, Label],
    max_hold_age: float,
    now: float,
) -> Iterator[tuple[Node, str]]:
    """Nodes of the provider that are too old, with the reason. `now`: epoch seconds (launcher.md 8)."""
    for node in snapshot.nodes_of(provider, NodeState.READY):
        label = labels.get(node.label)
        limit = label.max_ready_age if label else 0.0
        if limit > 0 and not node.allocated_to and now - node.state_time >= limit:
            yield node, "max-ready-age"
    for node in snapshot.nodes_of(provider, NodeState.HOLD):
        limit = hold_limit(node, max_hold_age)
        if limit > 0 and now - node.state_time >= limit:
            yield node, "max-hold-age"


def hold_limit(node: Node, max_hold_age: float) -> float:
    """Seconds that `node` may be held, 0 for ever: the smaller of the node's own and the global limit."""
    own = node.hold_expiration
    if not isinstance(own, (int, float)) or isinstance(own, bool):
        own = 0  # what is no number says nothing (zookeeper.md 7.1)
    return float(min((min(limit, _CENTURIES) for limit in (own, max_hold_age) if limit > 0), default=0.0))


def leaked_servers(
    listing: Listing[Server],
    snapshot: Snapshot,
    *,
    provider: str,
    deployment: str,
    in_hand: Collection[str],
) -> frozenset[str]:
    """Ids of our servers that no node accounts for. `in_hand`: ids of nodes this process is working on.

    A server is leaked when its node is unknown, or known with another server's id (an attempt whose create
    call was answered too late). A node that is there but cannot be read accounts for its servers. Two listings
    must agree before anything is done about it.
    """
    if not listing.complete:
        return frozenset()
    leaked = set()
    for server in listing.items.values():
        owner = server.owner
        if owner is None or not owner.belongs_to(provider, deployment) or owner.node_id in in_hand:
            continue
        if server.status in _DELETED or snapshot.node_unreadable(owner.node_id):
            continue
        node = snapshot.node(owner.node_id)
        unknown = node is None or node.provider != provider
        # Nodepool's own servers name no deployment, and it records the id only after the server is there.
        stray = node is not None and owner.deployment and node.external_id not in (None, "", server.id)
        if unknown or stray:
            leaked.add(server.id)
    return frozenset(leaked)


def lost_nodes(listing: Listing[Server], snapshot: Snapshot, provider: str) -> frozenset[str]:
    """Ids of free ready nodes whose server is gone or broken: they must not be handed to anyone (cloud.md 3.17).

    A node that names no server (a foreign record) is not judged. A node may have become ready after the listing
    was made, so two listings must agree.
    """
    if not listing.complete:
        return frozenset()
    return frozenset(
        node.id
        for node in snapshot.nodes_of(provider, NodeState.READY)
        if not node.allocated_to
        and isinstance(node.external_id, str)
        and not _serves(listing.items.get(node.external_id))
    )


def _serves(server: Server | None) -> bool:
    """UNKNOWN says nothing about a server; any other state but ACTIVE says that nobody can use it."""
    return server is not None and server.status in (ServerStatus.ACTIVE, ServerStatus.UNKNOWN)


def leaked_floating_ips(
    listing: Listing[FloatingIp],
    snapshot: Snapshot,
    *,
    provider: str,
    deployment: str,
    in_hand: Collection[str],
    any_unattached: bool,
) -> frozenset[str]:
    """Ids of floating IPs made for nodes that are gone; with `any_unattached` (clean-floating-ips) all idle ones."""
    leaked = set()
    for ip in listing.items.values() if listing.complete else ():
        owner = ip.owner
        if owner is None:
            if any_unattached and ip.port_id is None:
                leaked.add(ip.id)
        elif owner.provider != provider or owner.deployment != deployment or owner.node_id in in_hand:
            continue
        elif snapshot.node(owner.node_id) is None and not snapshot.node_unreadable(owner.node_id):
            leaked.add(ip.id)
    return frozenset(leaked)


def idle_ports(ports: Listing[Port], servers: Listing[Server]) -> frozenset[str]:
    """Ids of DOWN ports of no listed server: `compute:*` or no owner (launcher.md 9.6, cloud.md 3.13).

    A port with the mark of some poolmgr is not idle but made in advance: its server may be about to come.
    """
    if not (ports.complete and servers.complete):
        return frozenset()
    return frozenset(
        port.id
        for port in ports.items.values()
        if port.status == "DOWN"
        and (port.device_owner == "" or port.device_owner.startswith("compute:"))
        and port.device_id not in servers.items
        and port.owner is None
    )


def leftover_ports(ports: Listing[Port], server_ids: Collection[str]) -> frozenset[str]:
    """Ids of ports that still name one of these servers, all of them gone."""
    return frozenset(p.id for p in ports.items.values() if p.device_id in server_ids)


def leftover_floating_ips(
    ips: Listing[FloatingIp], *, provider: str, deployment: str, node_id: str
) -> frozenset[str]:
    """Ids of floating IPs made for this node."""
    mine = (deployment, provider, node_id)
    return frozenset(
        ip.id
        for ip in ips.items.values()
        if ip.owner and (ip.owner.deployment, ip.owner.provider, ip.owner.node_id) == mine
    )
