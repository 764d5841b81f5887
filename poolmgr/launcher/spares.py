"""Nodes that a request has left behind: who has them next, and what becomes of those that nobody wants.

They wait `spare_grace` for the next request, unless others need their room; what min-ready would have made anew goes on
for it; the rest goes.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable

from poolmgr.errors import BadRecord, LockBusy, LockLost, RecordGone, StoreUnavailable
from poolmgr.launcher.cloudfacts import CloudFacts
from poolmgr.launcher.context import Context
from poolmgr.launcher.launch import Launch
from poolmgr.launcher.launches import Launches
from poolmgr.launcher.removals import Removals
from poolmgr.model.node import Node, NodeState
from poolmgr.policy.supply import demand, kept
from poolmgr.store.api import Lock

log = logging.getLogger(__name__)


class Spares:
    """Those of one worker: launches whose locks it holds, and nodes that were ready, which it has let go."""

    def __init__(self, context: Context, removals: Removals, launches: Launches, facts: CloudFacts) -> None:
        self._context = context
        self._removals = removals
        self._launches = launches
        self._facts = facts
        self._building: dict[str, float] = {}  # node ids, since when (monotonic seconds)
        self._ready: dict[str, float] = {}

    def add(self, node_ids: Iterable[str]) -> None:
        """No request wants these launches (any more)."""
        now = self._context.clock.monotonic()
        self._building |= {node_id: now for node_id in node_ids if node_id in self._launches}

    def add_ready(self, node_ids: Iterable[str]) -> None:
        """These ready nodes were let go, and had better not stay if nobody wants them."""
        now = self._context.clock.monotonic()
        self._ready |= dict.fromkeys(node_ids, now)

    def taken(self, node_id: str) -> None:
        """A request has this launch, or it has ended."""
        self._building.pop(node_id, None)

    def forget_all(self) -> None:
        self._building.clear()
        self._ready.clear()

    def building(self, label: str, pool: str) -> list[Node]:
        """Those launches that a request for the label may have; none while the cloud does not go on with any."""
        if self._facts.paused(self._context.clock.monotonic()) == "cloud":
            return []
        found = (self._launches.get(node_id) for node_id in self._building)
        return [n.node for n in found if n is not None and n.label.name == label and n.pool.name == pool]

    def node_ready(self, node: Node, lock: Lock) -> None:
        """One was faster than the next request."""
        self.taken(node.id)
        self.add_ready([node.id])
        context = self._context
        try:
            context.save_node(node.freed(), lock)
        except (LockLost, RecordGone):
            return
        except StoreUnavailable:
            log.warning("node %s stays reserved until its lock is gone", node.id)
        context.store.unlock(lock)

    def tend(self, now: float, *, short: Collection[str]) -> float:
        """Keep those that are wanted and let the others go; returns when to look again (monotonic seconds).

        Call it after new requests were looked at. `short`: the pools in which some wait for room.
        """
        if not self._building and not self._ready:
            return float("inf")
        context = self._context
        launches = [launch for launch in self._launches if launch.node.id in self._building]
        with context.store.reading() as snapshot:
            free = [n for n in map(snapshot.node, self._ready) if n and _is_free(n)]
            free = [n for n in free if not snapshot.node_locked(n.id)]
            wanted = demand(context.config.labels.values(), snapshot.peers())
            keep = kept([*free, *(launch.node for launch in launches)], wanted, snapshot)
        self._building = {launch.node.id: self._building[launch.node.id] for launch in launches}
        self._ready = {node.id: self._ready[node.id] for node in free if node.id not in keep}
        due = float("inf")
        for launch in launches:
            until = self._until(self._building[launch.node.id], launch.pool.name, short)
            if launch.node.id in keep:
                self._disown(launch)
            elif now < until:
                due = min(due, until)
                if launch.node.tenant_name in context.config.tenants:
                    self._disown(launch)  # else it would keep its tenant from asking for it again
            else:
                self._remove(launch)
        for node in free:
            if node.id in self._ready:
                until = self._until(self._ready[node.id], node.pool or "", short)
                if now < until:
                    due = min(due, until)
                else:
                    self.remove_ready(node.id)
        return due

    def _until(self, since: float, pool: str, short: Collection[str]) -> float:
        return since if pool in short else since + self._context.tuning.spare_grace

    def _disown(self, launch: Launch) -> None:
        """It belongs to nobody; said in its record, so that it counts as what will be free."""
        if launch.node.allocated_to is None:
            return
        launch.log.info("goes on for nobody")
        launch.request = None
        try:
            launch.node = self._context.save_node(launch.node.freed(), launch.lock)
        except (LockLost, RecordGone) as error:
            launch.log.warning("not ours any more: %s", error)
            self._drop(launch)

    def _remove(self, launch: Launch) -> None:
        launch.log.info("not wanted any more")
        try:
            self._begin_removal(launch.node, launch.lock)
        except (LockLost, RecordGone) as error:
            launch.log.warning("not ours any more: %s", error)
        self._drop(launch)

    def _drop(self, launch: Launch) -> None:
        self.taken(launch.node.id)
        self._launches.abandon(launch.node.id)

    def remove_ready(self, node_id: str) -> None:
        """Begin the removal of a free ready node, if it still is one that nobody has locked."""
        store = self._context.store
        self._ready.pop(node_id, None)
        try:
            lock, fresh = store.lock_node(node_id)
        except (LockBusy, RecordGone, BadRecord):
            return  # somebody has it
        if not _is_free(fresh) or fresh.provider != self._context.name:
            store.unlock(lock)
            return
        log.info("[node: %s] not wanted any more", node_id)
        try:
            self._begin_removal(fresh, lock)
        except (LockLost, RecordGone):
            return
        except StoreUnavailable:
            store.unlock(lock)
            raise

    def _begin_removal(self, node: Node, lock: Lock) -> None:
        """Delete a node that nobody wants, whose lock we hold. Raises LockLost, RecordGone, StoreUnavailable."""
        context = self._context
        doomed = context.save_node(node.moved(NodeState.DELETING, at=context.clock.time()), lock)
        self._removals.begin_for_node(doomed, lock, lambda: self._gone(doomed, lock))

    def _gone(self, node: Node, lock: Lock) -> None:
        self._context.store.delete_node(node, lock)
        self._facts.room_made()


def _is_free(node: Node) -> bool:
    return node.state is NodeState.READY and not node.allocated_to
