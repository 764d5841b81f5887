"""Requests whose launcher is gone: pending, and nobody works on them. They go back to the start (zookeeper.md 9.2).

Those that someone could go on with (`policy.adoption`) are left to him for `adoption_grace`.
"""

from __future__ import annotations

import logging

from poolmgr.errors import BadRecord, Conflict, LockBusy, LockLost, RecordGone
from poolmgr.launcher.claims import Claims
from poolmgr.model.node import Node, NodeState
from poolmgr.model.request import RequestState
from poolmgr.observe.context import context_logger
from poolmgr.policy.adoption import adoptable
from poolmgr.policy.tuning import Tuning
from poolmgr.runtime.clock import Clock
from poolmgr.store.api import Store

log = logging.getLogger(__name__)


class LostRequests:
    """Those that this process has seen, and since when. Only the janitor's thread touches it."""

    def __init__(self, store: Store, clock: Clock, tuning: Tuning, claims: Claims) -> None:
        self._store = store
        self._clock = clock
        self._tuning = tuning
        self._claims = claims
        self._unlocked_since: dict[str, float] = {}  # pending requests that nobody has locked

    def reset(self, now: float) -> float:
        """Reset those that are due; returns when to look again (monotonic seconds)."""
        with self._store.reading() as snapshot:
            served = {name for peer in snapshot.peers() if not peer.draining for name in peer.providers}
            lost = {
                r.id: self._grace(adoptable(r.id, snapshot, served))
                for r in snapshot.requests(RequestState.PENDING)
                if not snapshot.request_locked(r.id) and r.id not in self._claims
            }
        self._unlocked_since = {i: self._unlocked_since.get(i, now) for i in lost}
        due = float("inf")
        for request_id, since in list(self._unlocked_since.items()):
            at = since + lost[request_id]
            if now >= at:
                self._reset(request_id)
                del self._unlocked_since[request_id]
            else:
                due = min(due, at)
        return due

    def _grace(self, adoptable: bool) -> float:
        return self._tuning.adoption_grace if adoptable else self._tuning.lost_request_grace

    def _reset(self, request_id: str) -> None:
        store = self._store
        try:
            lock, request = store.lock_request(request_id)
        except (LockBusy, RecordGone, BadRecord):
            return
        logger = context_logger(log, event=request.event_id, request=request.id)
        try:
            if request.state is not RequestState.PENDING:
                return
            with store.reading() as snapshot:
                nodes = [n for n in snapshot.nodes_for(request_id) if not snapshot.node_locked(n.id)]
            for node in nodes:
                self._deallocate(node)
            back = request.moved(RequestState.REQUESTED, at=self._clock.time(), nodes=())
            store.finish_request(back, lock)
            logger.info("its launcher is gone: requested again")
        except (Conflict, LockLost, RecordGone) as error:
            logger.info("not reset: %s", error)
        finally:
            store.unlock(lock)

    def _deallocate(self, node: Node) -> None:
        """A node of a lost request: ready ones become free, ones never begun are to be deleted."""
        try:
            lock, fresh = self._store.lock_node(node.id)
        except (LockBusy, RecordGone, BadRecord):
            return
        try:
            if fresh.state is NodeState.READY:
                self._store.save_node(fresh.freed(), lock)
            elif fresh.state is NodeState.INIT:
                self._store.save_node(fresh.moved(NodeState.DELETING, at=self._clock.time()), lock)
        except (Conflict, LockLost, RecordGone):
            pass
        finally:
            self._store.unlock(lock)
