"""What is written into a request at its end here, whoever worked on it: fulfilled, declined, or given back."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace

from poolmgr.errors import Conflict, LockLost, RecordGone
from poolmgr.launcher.context import ProviderContext
from poolmgr.model.node import Node
from poolmgr.model.request import NodeRequest, RequestState
from poolmgr.observe.context import context_logger
from poolmgr.policy.requests import decline
from poolmgr.store.api import Lock

log = logging.getLogger(__name__)


class Answers:
    """Those of one provider's worker."""

    def __init__(self, context: ProviderContext) -> None:
        self._context = context

    def decline(self, request: NodeRequest, lock: Lock, pool_ids: Iterable[str], reason: str) -> None:
        """Write our refusal and let go."""
        context = self._context
        declined = self.declined(request, pool_ids)
        logger = context_logger(log, event=request.event_id, request=request.id)
        logger.info("declined by %s: %s (%s)", context.name, reason, declined.state.value)
        try:
            context.store.finish_request(declined, lock)
        except (Conflict, RecordGone, LockLost) as error:
            logger.info("not declined: %s", error)
            context.store.unlock(lock)
            return
        self.count(declined)

    def declined(self, request: NodeRequest, pool_ids: Iterable[str]) -> NodeRequest:
        """`request` declined by these pools: failed, or requested again."""
        context = self._context
        with context.store.reading() as snapshot:
            registered = [pool.id for pool in snapshot.pools() if pool.id]
            awaited = context.awaited(snapshot)
        return decline(request, pool_ids, registered, at=context.clock.time(), awaited=awaited)

    def finish(self, request: NodeRequest, lock: Lock, pairs: Iterable[tuple[Node, Lock]]) -> None:
        """Save `request` and release everything at once; on a conflict keep what others may change.

        Raises Conflict, LockLost, RecordGone.
        """
        store = self._context.store
        pairs = list(pairs)
        try:
            store.finish_request(request, lock, pairs)
        except Conflict:
            fresh = store.read_request(request.id)
            merged = replace(request, version=fresh.version, relative_priority=fresh.relative_priority)
            store.finish_request(merged, lock, pairs)

    def count(self, request: NodeRequest) -> None:
        """Tell how long it took, if that was its end."""
        outcomes = {RequestState.FULFILLED: "fulfilled", RequestState.FAILED: "failed"}
        if request.state in outcomes and request.created_time:
            seconds = max(0.0, self._context.clock.time() - request.created_time)
            self._context.stats.request_finished(outcomes[request.state], seconds)


def allocated(node: Node, request: NodeRequest) -> Node:
    """`node`, promised to `request`."""
    return replace(
        node,
        allocated_to=request.id,
        tenant_name=request.tenant_name,
        requestor=request.requestor,
    )
