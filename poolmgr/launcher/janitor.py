"""Work that belongs to no provider: min-ready requests, lost requests, and what locks leave behind.

Every launcher has one janitor; they need no agreement, as each act is guarded by the record's own lock or version.
"""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace

from poolmgr.config.settings import Label
from poolmgr.errors import BadRecord, Conflict, LockBusy, LockLost, RecordGone, StoreUnavailable
from poolmgr.launcher.claims import Claims
from poolmgr.model.node import Node, NodeState
from poolmgr.model.request import (
    MIN_READY_PRIORITY,
    MIN_READY_REQUESTOR,
    NodeRequest,
    RequestState,
)
from poolmgr.observe.context import context_logger
from poolmgr.policy.supply import is_settled, shortfalls
from poolmgr.policy.tuning import Tuning
from poolmgr.runtime.clock import Clock
from poolmgr.runtime.worker import Worker
from poolmgr.store.api import Change, ChangeKind, Store

log = logging.getLogger(__name__)

#: A min-ready request that failed is kept so long before the next one is made, in seconds.
FAILED_PAUSE = 30.0
#: Empty znodes that others left behind are looked for so often, in seconds.
PURGE_INTERVAL = 60.0


class Janitor:
    """`labels` gives the labels of the settings in force."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        tuning: Tuning,
        *,
        claims: Claims,
        new_id: Callable[[], str],
        labels: Callable[[], Mapping[str, Label]],
    ) -> None:
        self._store = store
        self._clock = clock
        self._tuning = tuning
        self._claims = claims
        self._new_id = new_id
        self._labels = labels
        self._own: set[str] = set()  # ids of our min-ready requests
        self._unlocked_since: dict[str, float] = {}  # pending requests that nobody has locked
        self._touched: queue.SimpleQueue[str] = (
            queue.SimpleQueue()
        )  # ids of requests, from the store's threads
        self._locks_to_drop: set[str] = set()  # of those that are gone
        self._next_full_look = 0.0
        self._next_purge = clock.monotonic() + PURGE_INTERVAL
        self._epoch = store.epoch
        self._draining = False
        self._worker = Worker("janitor", self.cycle, clock, retry_after=1.0, spacing=0.1)
        self._unsubscribe = store.subscribe(self._changed)

    def start(self) -> None:
        self._worker.start()

    def wake(self) -> None:
        self._worker.wake.set()

    def drain(self) -> None:
        """Make no more min-ready requests."""
        self._draining = True

    def stop(self, timeout: float) -> bool:
        self._worker.stop()
        ended = self._worker.join(timeout)
        self._unsubscribe()
        if ended and self._store.connected:
            self._withdraw()
        return ended

    def _changed(self, change: Change) -> None:
        if change.kind is ChangeKind.IMAGE:
            return
        if change.kind is ChangeKind.REQUEST and change.id:
            self._touched.put(change.id)
        if not self._worker.wake.is_set():
            self._worker.wake.set()

    def cycle(self) -> float:
        now = self._clock.monotonic()
        if self._store.epoch != self._epoch:
            self._epoch = self._store.epoch
            self._own.clear()  # they were ephemeral
        if not self._store.connected:
            return 1.0
        try:
            due = [
                self._settle_min_ready(now),
                self._reset_lost(now),
                self._drop_request_locks(now),
                self._purge(now),
            ]
            if not self._draining:
                self._supply()
        except StoreUnavailable as error:
            log.warning("the store is away: %s", error)
            return 1.0
        return max(0.0, min(self._tuning.idle_cycle, min(due) - now))

    # min-ready

    def _supply(self) -> None:
        with self._store.reading() as snapshot:
            missing = shortfalls(self._labels().values(), snapshot)
        for label, count in missing.items():
            log.info("label %s lacks %d ready nodes", label, count)
            for _ in range(count):
                self._request_one(label)

    def _request_one(self, label: str) -> None:
        at = self._clock.time()
        request = NodeRequest(
            state=RequestState.REQUESTED,
            state_time=at,
            created_time=at,
            labels=(label,),
            reuse=False,
            requestor=MIN_READY_REQUESTOR,
            event_id=self._new_id(),
        )
        made = self._store.create_request(request, priority=MIN_READY_PRIORITY, ephemeral=True)
        self._own.add(made.id)

    def _settle_min_ready(self, now: float) -> float:
        due = float("inf")
        for request_id in list(self._own):
            with self._store.reading() as snapshot:
                request = snapshot.request(request_id)
            if request is None:
                self._own.discard(request_id)
            elif not is_settled(request):
                continue
            elif request.state is RequestState.FAILED:
                due = min(due, self._after_failure(request, now))
            elif request.state is RequestState.FULFILLED:
                self._release_nodes(request)
                self._store.delete_request(request_id)
                self._own.discard(request_id)
        return due

    def _after_failure(self, request: NodeRequest, now: float) -> float:
        """Keep a failed request for a while: it stands for the nodes we cannot have."""
        until = now + max(0.0, request.state_time + FAILED_PAUSE - self._clock.time())
        if until > now:
            return until
        self._store.delete_request(request.id)
        self._own.discard(request.id)
        return now

    def _release_nodes(self, request: NodeRequest) -> None:
        """Its ready nodes belong to nobody now. Nobody else writes them while the request exists."""
        with self._store.reading() as snapshot:
            nodes = [n for n in map(snapshot.node, request.nodes) if n is not None]
        for node in nodes:
            if node.allocated_to == request.id and node.state is NodeState.READY:
                # On a conflict someone has it; without its request it becomes free by itself.
                with suppress(Conflict, RecordGone):
                    self._store.save_node(replace(node, allocated_to=None))

    def _withdraw(self) -> None:
        """Stopping: our min-ready requests would vanish with the session; delete them while we can."""
        try:
            for request_id in list(self._own):
                with self._store.reading() as snapshot:
                    request = snapshot.request(request_id)
                if request is not None and request.state is RequestState.FULFILLED:
                    self._release_nodes(request)
                self._store.delete_request(request_id)
                self._store.drop_request_lock(request_id)
        except StoreUnavailable as error:
            log.warning("min-ready requests are left to the end of the session: %s", error)

    # Lost requests

    def _reset_lost(self, now: float) -> float:
        """Requests that are pending though nobody works on them go back to the start (zookeeper.md 9.2)."""
        with self._store.reading() as snapshot:
            lost = {
                r.id
                for r in snapshot.requests(RequestState.PENDING)
                if not snapshot.request_locked(r.id) and r.id not in self._claims
            }
        self._unlocked_since = {i: self._unlocked_since.get(i, now) for i in lost}
        due = float("inf")
        for request_id, since in list(self._unlocked_since.items()):
            at = since + self._tuning.lost_request_grace
            if now >= at:
                self._reset(request_id)
                del self._unlocked_since[request_id]
            else:
                due = min(due, at)
        return due

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
                self._store.save_node(replace(fresh, allocated_to=None), lock)
            elif fresh.state is NodeState.INIT:
                self._store.save_node(fresh.moved(NodeState.DELETING, at=self._clock.time()), lock)
        except (Conflict, LockLost, RecordGone):
            pass
        finally:
            self._store.unlock(lock)

    # What locks leave behind

    def _drop_request_locks(self, now: float) -> float:
        """Lock directories of requests that are gone, as soon as nobody contends."""
        if now >= self._next_full_look:
            self._next_full_look = now + self._tuning.request_locks_interval
            self._locks_to_drop.update(self._store.stale_request_locks())
        while not self._touched.empty():
            self._locks_to_drop.add(self._touched.get())
        for request_id in list(self._locks_to_drop):
            with self._store.reading() as snapshot:
                alive = snapshot.request(request_id) is not None
                locked = snapshot.request_locked(request_id)
            if alive:
                self._locks_to_drop.discard(request_id)  # its deletion will be another event
            elif not locked and request_id not in self._claims:
                self._locks_to_drop.discard(request_id)
                self._store.drop_request_lock(request_id)
        return self._next_full_look

    def _purge(self, now: float) -> float:
        if now >= self._next_purge:
            self._next_purge = now + PURGE_INTERVAL
            removed = self._store.purge_empty()
            if removed:
                log.info("removed %d empty znodes", removed)
        return self._next_purge
