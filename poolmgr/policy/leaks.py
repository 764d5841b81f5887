"""What no record accounts for: servers without a node, and what hung on servers whose node is gone (cloud.md 3.17).

Only what names us as its owner is ours, and only complete listings are judged. One look is no proof: nodes come and go
between a listing and the look at the records. A proof are two complete listings that both began after the records were
looked at, with a store that was there all the time; whoever deletes asks for the record itself right before.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from poolmgr.model.node import NodeState
from poolmgr.model.server import FloatingIp, Listing, Owner, Port, Server, ServerStatus, Volume
from poolmgr.model.snapshot import Snapshot
from poolmgr.policy.retire import may_be_deleted
from poolmgr.policy.tuning import Tuning

_Owned = TypeVar("_Owned", FloatingIp, Port, Volume)


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """One look at a complete listing and at the records. Monotonic seconds."""

    listed_at: float  # when the listing began
    viewed_at: float  # when the records were looked at, afterwards
    session: tuple[int, int]  # changes when the connection to the store was away, however short


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """What speaks for a thing belonging to nobody. Monotonic seconds.

    The records were looked at first, and did not account for it; of the complete listings that began after that, and
    have it, the first and the last are named. The store was there all the time: `session` was the same at each look.
    """

    viewed_at: float
    session: tuple[int, int]
    listings: tuple[float, ...] = ()

    def holds(self, session: tuple[int, int], *, apart: float = 0.0) -> bool:
        """Whether it is a proof now: two listings, the last `apart` seconds or more after the first look."""
        if session != self.session or len(self.listings) < 2:
            return False
        return self.listings[-1] - self.viewed_at >= apart


#: What speaks against each suspect; each look since its evidence began has found it again.
Sightings = Mapping[str, Evidence]

#: In these the cloud has done all it will do for us; a soft-deleted server is reclaimed in its own time.
_DELETED = frozenset({ServerStatus.DELETED, ServerStatus.SOFT_DELETED})


def sighted(before: Sightings, found: Collection[str], look: Look) -> Sightings:
    """The sightings after a look that found these ids."""
    return {thing: _seen(before.get(thing), look) for thing in found}


def _seen(before: Evidence | None, look: Look) -> Evidence:
    if before is None or before.session != look.session:
        return Evidence(viewed_at=look.viewed_at, session=look.session)
    if look.listed_at <= (before.listings[-1] if before.listings else before.viewed_at):
        return before  # it began before the records were looked at, or was counted already
    return replace(before, listings=(*before.listings[:1], look.listed_at))


def confirmed(
    sightings: Sightings, session: tuple[int, int], *, apart: float = 0.0
) -> Mapping[str, Evidence]:
    """Those that are proved by now, with the evidence."""
    return {thing: seen for thing, seen in sightings.items() if seen.holds(session, apart=apart)}


# Servers


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
    call was answered too late). A node that is there but cannot be read accounts for its servers. What Nodepool made
    names no deployment, so nothing tells it from another Nodepool's: its own launchers look for it.
    """
    if not listing.complete:
        return frozenset()
    leaked = set()
    for server in listing.items.values():
        owner = server.owner
        if owner is None or not owner.made_by(provider, deployment) or owner.node_id in in_hand:
            continue
        if server.status in _DELETED or snapshot.node_unreadable(owner.node_id):
            continue
        node = snapshot.node(owner.node_id)
        unknown = node is None or node.provider != provider
        stray = node is not None and node.external_id not in (None, "", server.id)
        if unknown or stray:
            leaked.add(server.id)
    return frozenset(leaked)


def old_enough(server: Server, *, seen_for: float, time: float, tuning: Tuning) -> bool:
    """Whether a leaked server is old enough to be deleted. `time`: epoch seconds by our clock.

    Its age is what the cloud says, or the time for which we have watched it, whichever is more. So a cloud whose clock
    is ahead delays the deletion until we have watched long enough; behind one that is late stand the two sightings,
    which are all there is where the cloud does not tell.
    """
    if server.created_at is None:
        return True
    return max(time - server.created_at, seen_for) >= tuning.leak_age


def sees_nothing(listing: Listing[Server], snapshot: Snapshot, provider: str) -> bool:
    """Whether `listing` has none of the servers that two or more nodes of the provider name.

    All of them gone at once is rarer than a list that does not tell the truth: of another project, or of a cloud whose
    database was lost.
    """
    named = [node.external_id for node in snapshot.nodes_of(provider) if isinstance(node.external_id, str)]
    named = [server_id for server_id in named if server_id]
    return len(named) > 1 and not any(server_id in listing.items for server_id in named)


def lost_nodes(listing: Listing[Server], snapshot: Snapshot, provider: str) -> frozenset[str]:
    """Ids of free ready nodes whose server is gone or broken: they must not be handed to anyone.

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


# What hung on servers


def of_dead_nodes(
    listing: Listing[_Owned],
    snapshot: Snapshot,
    *,
    provider: str,
    deployment: str,
    in_hand: Collection[str],
) -> frozenset[str]:
    """Ids of floating IPs, ports or volumes that bear our mark and the id of a node that is gone."""
    return frozenset(
        thing.id
        for thing in (listing.items.values() if listing.complete else ())
        if thing.owner is not None
        and (thing.owner.provider, thing.owner.deployment) == (provider, deployment)
        and thing.owner.node_id not in in_hand
        and _is_dead(thing.owner, snapshot)
    )


def _is_dead(owner: Owner, snapshot: Snapshot) -> bool:
    return snapshot.node(owner.node_id) is None and not snapshot.node_unreadable(owner.node_id)


def deletable_volumes(listing: Listing[Volume], ids: Collection[str]) -> frozenset[str]:
    """Those of `ids` that are attached to nothing and in a state that allows their deletion."""
    volumes = (listing.items[one] for one in ids)
    return frozenset(v.id for v in volumes if may_be_deleted(v) and not v.server_ids)


def idle_floating_ips(listing: Listing[FloatingIp]) -> frozenset[str]:
    """Ids of floating IPs without a mark that lead nowhere (`clean-floating-ips`): only where nobody else's can be.

    Nova's own have no mark, and are bound by a second call after they were made. That takes seconds, so those found
    idle for minutes are no such ones, and none of them is ever taken up for a new server.
    """
    return frozenset(
        ip.id
        for ip in (listing.items.values() if listing.complete else ())
        if ip.owner is None and ip.port_id is None
    )


def idle_ports(ports: Listing[Port], servers: Listing[Server], *, dedicated: bool) -> frozenset[str]:
    """Ids of DOWN ports of no listed server (launcher.md 9.6, cloud.md 3.13): Nova's own (`compute:*`).

    With `dedicated` also those that belong to nothing: in a project with other users they may be somebody's, such as
    virtual addresses. A port with the mark of some poolmgr is not idle but made in advance: its server may be about
    to come.
    """
    if not (ports.complete and servers.complete):
        return frozenset()
    return frozenset(
        port.id
        for port in ports.items.values()
        if port.status == "DOWN"
        and (port.device_owner.startswith("compute:") or (dedicated and port.device_owner == ""))
        and port.device_id not in servers.items
        and port.owner is None
    )
