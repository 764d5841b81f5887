"""A CI system's side of the store: ask for nodes, take them over, give them back (zookeeper.md 9.1, steps 1, 6, 7).

One `NodeClient` drives any number of orders from one thread:

    WAITING --fulfilled--> ACCEPTING --all nodes locked, request deleted--> HELD --release--> RELEASED
       |                       |                                             |
       +--- FAILED (declined by all, a node cannot be had) ------------------+--- LOST (request or locks gone)

The store's events only cut `wait` short; `step` looks at every open order again and moves each as far as it goes.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from poolmgr.cli.orders import (
    FINAL,
    Order,
    Stage,
    Wanted,
    lock_nodes,
    mark_in_use,
    mark_used,
    unlock_nodes,
)
from poolmgr.errors import LockLost, Refused, StoreUnavailable
from poolmgr.model.request import NodeRequest, RequestState
from poolmgr.runtime.clock import Clock
from poolmgr.store.api import Change, ChangeKind, Store

log = logging.getLogger(__name__)

#: How long a fulfilled request may wait for the locks of its nodes; Zuul's executor gives up after as long.
LOCK_TIMEOUT = 30.0
#: Between two tries of a node lock that is busy: nothing wakes us when it gets free.
LOCK_RETRY = 0.1
#: `requestor_data` names the client under this key, so that it finds requests whose creation was not answered.
CLIENT_KEY = "poolmgr_client"


class NodeClient:
    """Orders nodes from `store`, which must be started. All methods belong to one thread.

    `requestor` goes into the requests and from there into metric names, so it should be one of few.
    `ephemeral` requests vanish with this process, as Zuul 3's did. `user_data` goes into the nodes in use.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        requestor: str,
        ephemeral: bool = False,
        user_data: Mapping[str, Any] | None = None,
        new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
    ) -> None:
        self._store = store
        self._clock = clock
        self._requestor = requestor
        self._ephemeral = ephemeral
        self._user_data = user_data
        self._new_id = new_id
        self._client_id = new_id()
        self._epoch = store.epoch
        self._changed = threading.Event()
        self._open: dict[str, Order] = {}  # by request id
        self._unsubscribe = store.subscribe(self._on_change)

    @property
    def orders(self) -> list[Order]:
        """Those that are not final."""
        return list(self._open.values())

    def submit(self, wanted: Wanted) -> Order:
        """Store a request. Raises StoreUnavailable; then `close` removes what may have been made all the same."""
        now = self._clock.time()
        request = NodeRequest(
            state=RequestState.REQUESTED,
            state_time=now,
            created_time=now,
            labels=wanted.labels,
            requestor=self._requestor,
            requestor_data={CLIENT_KEY: self._client_id},
            provider=wanted.provider,
            relative_priority=wanted.relative_priority,
            event_id=self._new_id(),
            tenant_name=wanted.tenant,
        )
        submitted_at = self._clock.monotonic()
        stored = self._store.create_request(request, priority=wanted.priority, ephemeral=self._ephemeral)
        order = Order(wanted=wanted, request=stored, submitted_at=submitted_at)
        self._open[stored.id] = order
        return order

    def wait(self, seconds: float) -> None:
        """Return when a request or the session changed, a busy lock is due again, or `seconds` have passed."""
        if any(order.stage is Stage.ACCEPTING for order in self._open.values()):
            seconds = min(seconds, LOCK_RETRY)
        self._clock.wait(self._changed, seconds)

    def wake(self) -> None:
        """End the wait, now or the next one; the only method for other threads and signal handlers."""
        self._changed.set()

    def step(self) -> list[Order]:
        """Move every open order as far as it goes now; returns those whose stage changed.

        Without a session nothing moves: the step after the reconnection goes on.
        """
        self._changed.clear()  # before looking: what changes meanwhile must end the next wait
        if not self._store.connected:
            return []
        before = {order.request.id: order.stage for order in self.orders}
        try:
            self._note_lost_locks()
            self._look()
            for order in self.orders:
                self._accept(order)
        except StoreUnavailable as error:
            log.warning("Store away, orders stay as they are: %s", error)
        moved = [o for o in self.orders if o.stage is not before[o.request.id]]
        for order in moved:
            if order.stage in FINAL:
                del self._open[order.request.id]
        return moved

    def release(self, order: Order) -> None:
        """Give nodes back as used, or cancel the request, whichever it has come to. May be repeated.

        Raises StoreUnavailable; then the order is still open.
        """
        if order.stage in FINAL:
            return
        if order.stage is Stage.HELD:
            mark_used(self._store, order, at=self._clock.time())
        else:
            self._store.delete_request(order.request.id)
        self._end(order, Stage.RELEASED, "")
        self._open.pop(order.request.id, None)

    def close(self) -> None:
        """Release everything, also requests whose creation was never answered. Raises StoreUnavailable."""
        for order in self.orders:
            self.release(order)
        with self._store.reading() as snapshot:
            ours = [request.id for request in snapshot.requests() if self._is_ours(request)]
        for request_id in ours:
            self._store.delete_request(request_id)
        self._unsubscribe()

    def _on_change(self, change: Change) -> None:
        if change.kind in (ChangeKind.REQUEST, ChangeKind.SESSION):
            self._changed.set()

    def _is_ours(self, request: NodeRequest) -> bool:
        data = request.requestor_data
        return isinstance(data, Mapping) and data.get(CLIENT_KEY) == self._client_id

    def _note_lost_locks(self) -> None:
        """After a lost session, nodes in use belong to the launchers' clean-up; others can be locked again."""
        if self._store.epoch == self._epoch:
            return
        self._epoch = self._store.epoch
        for order in self.orders:
            if order.stage is Stage.HELD and not order.locked:
                self._end(order, Stage.LOST, "the session was lost, and with it the locks of the nodes")
            elif order.stage is Stage.ACCEPTING and not order.locked:
                self._start_over(order)

    def _look(self) -> None:
        """Take the news about waiting orders from the snapshot."""
        with self._store.reading() as snapshot:
            seen = [(o, snapshot.request(o.request.id)) for o in self.orders if o.stage is Stage.WAITING]
        for order, request in seen:
            if request is None:
                self._end(order, Stage.LOST, "the request was deleted by someone else")
                continue
            order.request = request
            if request.state is RequestState.FAILED:
                self._store.delete_request(request.id)
                self._end(order, Stage.FAILED, f"declined by {len(request.declined_by)} pool(s)")
            elif request.state is RequestState.FULFILLED:
                order.fulfilled_at = self._clock.monotonic()
                order.stage = Stage.ACCEPTING

    def _accept(self, order: Order) -> None:
        """Lock all nodes, delete the request, mark the nodes in use. A busy lock ends it until the next step."""
        if order.stage is not Stage.ACCEPTING:
            return
        try:
            if not lock_nodes(self._store, order):
                self._check_patience(order)
                return
            self._store.delete_request(order.request.id)  # from here on only the locks keep the nodes
            mark_in_use(self._store, order, at=self._clock.time(), user_data=self._user_data)
        except Refused as error:
            self._store.delete_request(order.request.id)
            self._end(order, Stage.FAILED, str(error))
        except LockLost:
            self._start_over(order)
        else:
            order.held_at = self._clock.monotonic()
            order.stage = Stage.HELD

    def _start_over(self, order: Order) -> None:
        """Locks were lost before the nodes were in use: look whether the request is still there."""
        self._end(order, Stage.WAITING, "")
        order.nodes.clear()
        self._changed.set()

    def _check_patience(self, order: Order) -> None:
        if self._clock.monotonic() - (order.fulfilled_at or 0.0) >= LOCK_TIMEOUT:
            busy = order.request.nodes[len(order.nodes)]
            raise Refused(f"node {busy} stayed locked for {LOCK_TIMEOUT:.0f} seconds")

    def _end(self, order: Order, stage: Stage, reason: str) -> None:
        unlock_nodes(self._store, order)
        order.stage = stage
        order.reason = reason
