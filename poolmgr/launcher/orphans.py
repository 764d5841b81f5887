"""Ready nodes whose request is gone: they belong to nobody, and are free again (launcher.md 11.1)."""

from __future__ import annotations

import logging

from poolmgr.errors import BadRecord, LockBusy, LockLost, RecordGone
from poolmgr.launcher.context import ProviderContext
from poolmgr.model.node import Node, NodeState
from poolmgr.model.request import RequestState
from poolmgr.model.snapshot import Snapshot

log = logging.getLogger(__name__)

#: Seconds before a node that could not be freed is tried again.
_PAUSE = 2.0


class Orphans:
    """Those of one provider."""

    def __init__(self, context: ProviderContext) -> None:
        self._context = context
        self._not_before: dict[str, float] = {}  # node id -> when to try again

    def free_all(self, now: float) -> None:
        """`now`: monotonic seconds."""
        with self._context.store.reading() as snapshot:
            orphans = [n for n in snapshot.promised(self._context.name) if _is_orphan(n, snapshot)]
        for node in orphans:
            if now >= self._not_before.get(node.id, 0.0):
                self._not_before[node.id] = now + _PAUSE
                self._free(node)
        if len(self._not_before) > 1000:
            self._not_before = {k: v for k, v in self._not_before.items() if v > now}

    def _free(self, node: Node) -> None:
        context = self._context
        try:
            lock, fresh = context.store.lock_node(node.id)
        except (LockBusy, RecordGone):
            return
        except BadRecord as error:
            log.warning("node %s cannot be read: %s", node.id, error)
            self._not_before[node.id] = context.clock.monotonic() + 60.0
            return
        try:
            if fresh.state is NodeState.READY and fresh.allocated_to and self._abandoned(fresh.allocated_to):
                context.save_node(fresh.freed(), lock)
                log.info("[node: %s] is free again: its request is gone", node.id)
        except (LockLost, RecordGone):
            pass
        finally:
            context.store.unlock(lock)

    def _abandoned(self, request_id: str) -> bool:
        """Read past the cache: a fulfilled request that still exists keeps its nodes (zookeeper.md 15.2)."""
        try:
            request = self._context.store.read_request(request_id)
        except RecordGone:
            return True
        except BadRecord:
            return False
        return request.state in (RequestState.REQUESTED, RequestState.FAILED)


def _is_orphan(node: Node, snapshot: Snapshot) -> bool:
    """Whether its request seems gone or does not mean it any more, and nobody has it locked."""
    if snapshot.node_locked(node.id):
        return False
    request = snapshot.request(node.allocated_to or "")
    return request is None or request.state in (RequestState.REQUESTED, RequestState.FAILED)
