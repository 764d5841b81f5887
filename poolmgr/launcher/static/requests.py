"""Requests that static pools take: all nodes at once, or none. Nothing is held from one cycle to the next."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from poolmgr.errors import BadRecord, Conflict, LockBusy, LockLost, RecordGone, StoreError
from poolmgr.launcher.answers import Answers, allocated
from poolmgr.launcher.static.context import StaticContext
from poolmgr.launcher.static.pools import StaticDesk
from poolmgr.model.node import Node, NodeState
from poolmgr.model.request import NodeRequest, RequestState
from poolmgr.observe.context import context_logger
from poolmgr.policy.allocate import allocate
from poolmgr.store.api import Lock

log = logging.getLogger(__name__)

Pairs = list[tuple[Node, Lock]]


class StaticRequests:
    """Only the worker's thread touches it. A `Taker`."""

    launching = 0

    def __init__(self, context: StaticContext, pools: Mapping[str, StaticDesk]) -> None:
        self._context = context
        self._pools = pools
        self._answers = Answers(context)

    def __contains__(self, request_id: str, /) -> bool:
        return False

    def spare_nodes(self, label: str, pool: str) -> list[Node]:  # noqa: ARG002
        return []

    def decline(self, request: NodeRequest, lock: Lock, pool_ids: Iterable[str], reason: str) -> None:
        self._answers.decline(request, lock, pool_ids, reason)

    def take(self, request: NodeRequest, lock: Lock, pool: str) -> None:
        """Hand out free nodes, or give the request back when someone was faster.

        PENDING is written first: whatever is cut short after that is found by who resets lost requests.
        """
        context = self._context
        pairs: Pairs = []
        try:
            pending = context.store.save_request(
                request.moved(RequestState.PENDING, at=context.clock.time()), lock
            )
            self._promise_all(pending, pool, pairs)
            self._finish(pending, lock, pairs)
        except RecordGone:
            self._free_all(pairs)
            context_logger(log, event=request.event_id, request=request.id).info("cancelled")
        finally:
            for _, node_lock in pairs:
                context.store.unlock(node_lock)
            context.store.unlock(lock)

    def _promise_all(self, request: NodeRequest, pool: str, pairs: Pairs) -> None:
        """Lock and allocate a node for each of its labels, in that order, as long as that succeeds."""
        with self._context.store.reading() as snapshot:
            desk = self._pools[pool]
            free = {label: desk.free_ready(label, snapshot) for label in set(request.labels)}
        plan = allocate(request.labels, {}, free, zone=None, zones=())
        if plan.launch:
            return
        for place, node in sorted(plan.reuse.items()):
            pair = self._promise(node, request.labels[place], request)
            if pair is None:
                return
            pairs.append(pair)

    def _promise(self, node: Node, label: str, request: NodeRequest) -> tuple[Node, Lock] | None:
        context = self._context
        try:
            lock, fresh = context.store.lock_node(node.id)
        except (LockBusy, RecordGone, BadRecord):
            return None
        free = fresh.state is NodeState.READY and not fresh.allocated_to
        if (
            not free
            or label not in fresh.labels
            or (fresh.provider, fresh.pool) != (node.provider, node.pool)
        ):
            context.store.unlock(lock)
            return None
        try:
            return context.save_node(allocated(fresh, request), lock), lock
        except (LockLost, RecordGone):
            context.store.unlock(lock)
            return None
        except StoreError:
            context.store.unlock(lock)
            raise

    def _finish(self, request: NodeRequest, lock: Lock, pairs: Pairs) -> None:
        context = self._context
        now = context.clock.time()
        logger = context_logger(log, event=request.event_id, request=request.id)
        if len(pairs) == len(request.labels):
            ids = tuple(node.id for node, _ in pairs)
            done = request.moved(RequestState.FULFILLED, at=now, nodes=ids)
            self._answers.finish(done, lock, pairs)
            self._answers.count(done)
            logger.info("fulfilled with %s by %s", ",".join(ids), context.name)
        else:
            pairs[:] = self._free_all(pairs)
            self._answers.finish(request.moved(RequestState.REQUESTED, at=now, nodes=()), lock, pairs)
            logger.info("given back: others were faster")

    def _free_all(self, pairs: Pairs) -> Pairs:
        """The nodes as they are, nobody's again; without those that are not ours any more."""
        kept = []
        for node, lock in pairs:
            try:
                kept.append((self._context.save_node(node.freed(), lock), lock))
            except (Conflict, LockLost, RecordGone):
                self._context.store.unlock(lock)
        return kept
