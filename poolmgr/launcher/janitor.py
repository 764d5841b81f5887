"""Work that belongs to no provider: min-ready requests, lost requests, and what locks leave behind.

Every launcher has one janitor; they need no agreement, as each act is guarded by the record's own lock or version.
"""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable, Mapping

from poolmgr.config.settings import Label
from poolmgr.errors import StoreUnavailable
from poolmgr.launcher.claims import Claims
from poolmgr.launcher.lost import LostRequests
from poolmgr.launcher.supply import Limits, Supply
from poolmgr.policy.tuning import Tuning
from poolmgr.runtime.clock import Clock
from poolmgr.runtime.worker import Worker
from poolmgr.store.api import Change, ChangeKind, Store

log = logging.getLogger(__name__)

#: Empty znodes that others left behind are looked for so often, in seconds.
PURGE_INTERVAL = 60.0


class Janitor:
    """`labels` and `limits` (of pools, by provider and name) give those of the settings in force."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        tuning: Tuning,
        *,
        claims: Claims,
        new_id: Callable[[], str],
        labels: Callable[[], Mapping[str, Label]],
        limits: Callable[[], Limits] = dict,
    ) -> None:
        self._store = store
        self._clock = clock
        self._tuning = tuning
        self._claims = claims
        self._supply = Supply(store, clock, new_id=new_id, labels=labels, limits=limits)
        self._lost = LostRequests(store, clock, tuning, claims)
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

    @property
    def last_cycle_at(self) -> float:
        return self._worker.last_cycle_at

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
            self._supply.withdraw()
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
            self._supply.forget_all()
        if not self._store.connected:
            return 1.0
        try:
            due = [
                self._supply.settle(now),
                self._lost.reset(now),
                self._drop_request_locks(now),
                self._purge(now),
            ]
            if self._draining:
                self._supply.resign()
            else:
                self._supply.request(now)
        except StoreUnavailable as error:
            log.warning("the store is away: %s", error)
            return 1.0
        return max(0.0, min(self._tuning.idle_cycle, min(due) - now))

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
