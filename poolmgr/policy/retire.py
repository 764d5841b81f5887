"""What to delete of nodes, and when it is gone.

Absence is only inferred from complete listings that began after the deletion was accepted; what is ours is
only known from owner marks and from records. Both kinds of proof are made here and in `leaks`, from facts, and nowhere
else.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from poolmgr.config.settings import Label
from poolmgr.model.node import Node, NodeState
from poolmgr.model.server import FloatingIp, Listing, Owner, Port, Server, ServerStatus, Volume
from poolmgr.model.snapshot import Snapshot
from poolmgr.policy.growth import doubling
from poolmgr.policy.tuning import Tuning

#: Seconds; a whole number in a record may be too large for a float.
_CENTURIES = 1e10


@dataclass(frozen=True, kw_only=True, slots=True)
class Doomed:
    """A server that is to go. Monotonic seconds; `asked_at` is when the cloud last accepted the deletion."""

    server_id: str
    asked_at: float | None = None
    asks: int = 0
    vain: int = 0  # deletions that the cloud accepted, or refused for what the server is
    not_before: float = 0.0
    busy: bool = False  # a delete call is in flight
    soft_after: int | None = None  # so many `asks` it took until it was first listed as soft-deleted
    sightings: int = 0  # complete listings without it
    seen_until: float = 0.0  # start of the last listing that was counted


def observe(doomed: Doomed, listing: Listing[Server]) -> Doomed:
    """`doomed` with what `listing` says about it. A partial one may show it, also as deleted, but not its absence."""
    if doomed.asked_at is None or listing.started_at <= doomed.seen_until:
        return doomed
    if listing.started_at < doomed.asked_at:
        return doomed
    server = listing.items.get(doomed.server_id)
    if server is None and not listing.complete:
        return doomed
    sightings, soft_after = 0, doomed.soft_after
    if server is None:
        sightings = doomed.sightings + 1
    elif server.status is ServerStatus.DELETED:
        sightings = 1_000
    elif server.status is ServerStatus.SOFT_DELETED and soft_after is None:
        soft_after = doomed.asks
    elif server.status is ServerStatus.SOFT_DELETED and doomed.asks > (soft_after or 0):
        # Asked for once more, whatever came of it: the cloud reclaims it in its own time, and as its node is gone, it
        # is priced as someone else's until then.
        sightings = 1_000
    return replace(doomed, sightings=sightings, soft_after=soft_after, seen_until=listing.started_at)


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
    if server.status is ServerStatus.SOFT_DELETED:
        return doomed.soft_after == doomed.asks
    at_it = server.task_state == "deleting" and server.status is not ServerStatus.ERROR
    first = tuning.delete_patience if at_it else tuning.delete_reissue
    return now - doomed.asked_at >= doubling(first, doomed.asks - 1, tuning.delete_reissue_max)


def by_force(doomed: Doomed, tuning: Tuning) -> str:
    """Why the deletion that is due now should be by force; "" if it should not."""
    if doomed.vain < tuning.force_after:
        return ""
    return f"by force after {doomed.vain} deletions without effect"


def by_node(listing: Listing[Server]) -> Mapping[str, Sequence[Server]]:
    """The servers that are there by the node that their metadata names, whoever's that is."""
    found: dict[str, list[Server]] = {}
    for server in listing.items.values():
        owner = server.owner
        if owner is not None and server.status is not ServerStatus.DELETED:
            found.setdefault(owner.node_id, []).append(server)
    return found


def servers_of(node: Node, provider: str, servers: Iterable[Server], *, deployment: str) -> frozenset[str]:
    """Ids of every server made for `node`: the recorded one, and those of `servers` whose metadata names the node.

    `deployment` is ours: another installation may have a node of the same id.
    """
    found = {node.external_id} if isinstance(node.external_id, str) and node.external_id else set()
    for server in servers:
        owner = server.owner
        if owner and owner.node_id == node.id and owner.made_by(provider, deployment):
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """Whose leftovers are looked for: the node's, whichever attempt they were made for."""

    provider: str
    deployment: str
    node_id: str  # "": no node's

    def is_on(self, owner: Owner | None) -> bool:
        if owner is None or not self.node_id:
            return False
        return (owner.provider, owner.deployment, owner.node_id) == (
            self.provider,
            self.deployment,
            self.node_id,
        )


def leftover_ports(ports: Listing[Port], server_ids: Collection[str], mark: Mark) -> frozenset[str]:
    """Ids of ports that name one of these servers, all of them gone, or that were made for the node in advance."""
    return frozenset(p.id for p in ports.items.values() if p.device_id in server_ids or mark.is_on(p.owner))


def leftover_floating_ips(ips: Listing[FloatingIp], mark: Mark) -> frozenset[str]:
    """Ids of floating IPs made for the node."""
    return frozenset(ip.id for ip in ips.items.values() if mark.is_on(ip.owner))


def leftover_volumes(
    volumes: Listing[Volume], seen: Collection[str], server_ids: Collection[str], mark: Mark
) -> Mapping[str, bool]:
    """Volumes of servers that are gone, and whether the state of each allows its deletion.

    They are known by their id, if one of the servers was listed with it, or by their mark. What somebody has attached
    to another server since is not ours any more.
    """
    return {
        volume.id: may_be_deleted(volume)
        for volume in volumes.items.values()
        if (volume.id in seen or mark.is_on(volume.owner)) and set(volume.server_ids) <= set(server_ids)
    }


def may_be_forced(volume: Volume) -> bool:
    """Whether it may be deleted by force, whatever its state: never while a server has it, gone or not."""
    return not volume.server_ids and volume.status != "in-use"


def may_be_deleted(volume: Volume) -> bool:
    """Whether Block Storage would take a deletion now (API v3 reference, "Delete a volume": preconditions)."""
    return volume.status == "available" or volume.status.startswith("error")
