"""What becomes of launches whose launcher is gone: who owns the provider now goes on with them.

What it left in the store is enough: the request is pending and nobody has it locked, its nodes are BUILDING or READY
and name the request in `allocated_to`. Which server a node has is in its record, or in the servers' metadata.
Whoever acts on this locks the request first, then the nodes, and reads both again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from poolmgr.model.node import Node, NodeState
from poolmgr.model.request import NodeRequest, RequestState
from poolmgr.model.server import Server, ServerStatus
from poolmgr.model.snapshot import Snapshot
from poolmgr.policy import static
from poolmgr.policy.tuning import Tuning


@dataclass(frozen=True, slots=True)
class Continue:
    """Take the request with all its nodes and go on."""

    request_id: str
    reason: str = "its request waits for it"


@dataclass(frozen=True, slots=True)
class Spare:
    """Take the node alone: it goes on as one that no request wants (yet), as long as such ones may."""

    reason: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Do nothing, also do not delete it; `until`: monotonic seconds at which that changes by itself."""

    reason: str
    until: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """It is garbage."""

    reason: str


Verdict = Continue | Spare | Wait | GiveUp


def judge(
    request: NodeRequest | None,
    *,
    locked: bool,
    configured: bool,
    since: float,
    now: float,
    tuning: Tuning,
) -> Verdict:
    """What to do with a BUILDING node that nobody has locked, of a provider that we own.

    `request`: the one that it is allocated to, None if there is none; `locked`: whether someone has that. `configured`:
    whether our configuration has its pool and label. `since`: when it was first seen so (monotonic seconds).
    """
    if not configured:
        return GiveUp("its label is not configured any more")
    if request is None:
        return Spare("its request is gone")
    if request.state is not RequestState.PENDING:
        return Spare(f"its request is {request.state.value}")
    if not locked:
        return Continue(request.id)
    until = since + tuning.adoption_patience
    if now < until:  # what we see of locks may lag behind
        return Wait("its request is locked", until)
    return Spare("someone else has its request")


def left_behind(snapshot: Snapshot, provider: str) -> list[Node]:
    """BUILDING nodes of `provider` that nobody has locked."""
    return [node for node in snapshot.garbage(provider) if node.state is NodeState.BUILDING]


def half_done(snapshot: Snapshot, provider: str) -> set[str]:
    """Ids of pending requests that nobody has locked, and that have READY nodes of `provider`."""
    return {
        node.allocated_to or ""
        for node in snapshot.promised(provider)
        if node.allocated_to
        and not snapshot.node_locked(node.id)
        and not snapshot.request_locked(node.allocated_to)
        and _is_pending(snapshot.request(node.allocated_to))
    }


def adoptable(request_id: str, snapshot: Snapshot, providers: Collection[str]) -> bool:
    """Whether a request has something that the owner of one of `providers` could go on with.

    Static pools take a request in one step, so nobody goes on with what is half of one.
    """
    return any(
        node.provider in providers
        and node.state in (NodeState.BUILDING, NodeState.READY)
        and node.launcher != static.LAUNCHER
        for node in snapshot.nodes_for(request_id)
    )


def pool_of(nodes: Iterable[Node], pools: Collection[str]) -> str | None:
    """The pool that goes on with a request: the one of ours that has most of its `nodes`."""
    names = [node.pool for node in nodes if node.pool is not None and node.pool in pools]
    return max(sorted(set(names)), key=names.count, default=None)


def places(labels: Sequence[str], nodes: Iterable[Node]) -> Mapping[int, Node]:
    """Which node serves which place of a request (an index into `labels`); READY ones first. The rest is too many."""
    order = sorted(nodes, key=lambda node: (node.state is not NodeState.READY, node.id))
    empty = dict(enumerate(labels))
    taken: dict[int, Node] = {}
    for node in order:
        place = next((p for p, label in empty.items() if label in node.labels), None)
        if place is not None:
            del empty[place]
            taken[place] = node
    return taken


def age(node: Node, *, time: float, launch_timeout: float, tuning: Tuning) -> float:
    """Seconds that count as gone by of an adopted node's launch-timeout. `time`: epoch seconds by our clock.

    At least `adoption_grace` is left (a part of short timeouts): the time of other attempts is in it, and other clocks.
    """
    most = launch_timeout - min(tuning.adoption_grace, launch_timeout / 2)
    return max(0.0, min(time - node.state_time, most))


# Servers


def servers_there(
    servers: Iterable[Server], node_id: str, *, provider: str, deployment: str
) -> Sequence[Server]:
    """The servers that bear a node's mark and are there, the newest attempt first."""
    found = [
        server
        for server in servers
        if (owner := server.owner) is not None
        and owner.node_id == node_id
        and owner.belongs_to(provider, deployment)
        and server.status not in (ServerStatus.DELETED, ServerStatus.SOFT_DELETED)
    ]
    return sorted(found, key=_attempt, reverse=True)


def fresh_attempt(servers: Iterable[Server]) -> int:
    """The number of an adopter's first attempt: in the next hundred above those seen.

    So the servers of a launcher that was thought dead, however late they come, bear other numbers than ours.
    """
    seen = max((_attempt(server)[0] for server in servers), default=0)
    return (seen // 100 + 1) * 100 + 1


def _attempt(server: Server) -> tuple[int, float, str]:
    attempt = server.owner.attempt if server.owner else None
    return (attempt or 0, server.created_at or 0.0, server.id)


def _is_pending(request: NodeRequest | None) -> bool:
    return request is not None and request.state is RequestState.PENDING
