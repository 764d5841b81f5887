"""One order of nodes, and how nodes change hands (zookeeper.md 9.1, steps 6 and 7).

Everything here may be repeated after any failure: a lock that is held is not taken again, a node that is in the
wanted state is not written again.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from poolmgr.errors import BadRecord, Conflict, LockBusy, LockLost, RecordGone, Refused
from poolmgr.model.node import Node, NodeState
from poolmgr.model.request import NodeRequest
from poolmgr.store.api import Lock, Store


class Stage(enum.Enum):
    """How far an order has come; see client.py for the way through them."""

    WAITING = "waiting"
    ACCEPTING = "accepting"
    HELD = "held"
    RELEASED = "released"
    FAILED = "failed"
    LOST = "lost"


#: Nothing more happens to an order in one of these.
FINAL = frozenset({Stage.RELEASED, Stage.FAILED, Stage.LOST})


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What one request asks for. `priority` is the id's part (100 first, 200 normal, 300 last)."""

    labels: tuple[str, ...]
    priority: int = 200
    relative_priority: int = 0
    tenant: str | None = None
    provider: str | None = None


@dataclass(kw_only=True, eq=False)
class Order:
    """One request and what became of it; changed by its client only. Times are monotonic seconds."""

    wanted: Wanted
    request: NodeRequest  # as last seen
    submitted_at: float
    fulfilled_at: float | None = None  # when the client saw it
    held_at: float | None = None
    stage: Stage = Stage.WAITING
    reason: str = ""  # why it is FAILED or LOST
    nodes: list[Node] = field(default_factory=list)  # in the order of the labels, as far as locked
    locks: dict[str, Lock] = field(default_factory=dict)  # by node id

    @property
    def locked(self) -> bool:
        """Whether all locks taken so far are still ours."""
        return all(lock.valid for lock in self.locks.values())

    @property
    def latency(self) -> float | None:
        """Seconds from submitting to seeing it fulfilled."""
        return None if self.fulfilled_at is None else self.fulfilled_at - self.submitted_at


def lock_nodes(store: Store, order: Order) -> bool:
    """Lock the nodes of a fulfilled request; False when one is busy, the locks so far are kept.

    Raises Refused when the nodes are not what was promised, StoreUnavailable.
    """
    request = order.request
    if len(request.nodes) != len(order.wanted.labels):
        raise Refused(f"fulfilled with {len(request.nodes)} nodes for {len(order.wanted.labels)} labels")
    for node_id in request.nodes[len(order.nodes) :]:
        try:
            lock, node = store.lock_node(node_id)
        except LockBusy:
            return False
        except (RecordGone, BadRecord) as error:
            raise Refused(f"node {node_id} is gone or unreadable") from error
        order.locks[node_id] = lock
        order.nodes.append(node)
        if node.allocated_to != request.id or node.state is not NodeState.READY:
            raise Refused(f"node {node_id} is {node.state.value} and allocated to {node.allocated_to}")
    return True


def mark_in_use(store: Store, order: Order, *, at: float, user_data: Mapping[str, Any] | None) -> None:
    """Write all nodes as in use. Raises Refused when one is gone, LockLost, StoreUnavailable."""
    for index, node in enumerate(order.nodes):
        try:
            order.nodes[index] = _saved(
                store, node, order.locks[node.id], NodeState.IN_USE, at, {"user_data": user_data}
            )
        except (RecordGone, Conflict) as error:
            raise Refused(f"node {node.id} was taken away: {error}") from error


def mark_used(store: Store, order: Order, *, at: float) -> None:
    """Write all nodes as used, those that are still ours. Raises StoreUnavailable.

    A node whose lock was lost while in use is cleaned up just the same.
    """
    for index, node in enumerate(order.nodes):
        try:
            order.nodes[index] = _saved(store, node, order.locks[node.id], NodeState.USED, at, {})
        except (RecordGone, Conflict, LockLost):
            continue


def unlock_nodes(store: Store, order: Order) -> None:
    for lock in order.locks.values():
        store.unlock(lock)
    order.locks.clear()


def _saved(
    store: Store, node: Node, lock: Lock, state: NodeState, at: float, changes: Mapping[str, Any]
) -> Node:
    """The node as stored in `state`. Tried twice: the first write may have had its effect without an answer."""
    if node.state is state:
        return node
    try:
        return store.save_node(node.moved(state, at=at, **changes), lock)
    except Conflict:
        current = store.read_node(node.id)
    if current.state is state:
        return current
    return store.save_node(current.moved(state, at=at, **changes), lock)
