"""The requests that launchers make themselves, so that labels have their min-ready nodes (launcher.md 8)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace

from poolmgr.config.settings import Label
from poolmgr.errors import Conflict, RecordGone, StoreUnavailable
from poolmgr.model.node import NodeState
from poolmgr.model.request import (
    MIN_READY_PRIORITY,
    MIN_READY_REQUESTOR,
    NodeRequest,
    RequestState,
)
from poolmgr.policy.supply import is_settled, shortfalls
from poolmgr.runtime.clock import Clock
from poolmgr.store.api import Store

log = logging.getLogger(__name__)

#: A min-ready request that failed is kept so long before the next one is made, in seconds.
FAILED_PAUSE = 30.0


class Supply:
    """The min-ready requests of this process. Only the janitor's thread touches it.

    `labels` gives the labels of the settings in force.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        new_id: Callable[[], str],
        labels: Callable[[], Mapping[str, Label]],
    ) -> None:
        self._store = store
        self._clock = clock
        self._new_id = new_id
        self._labels = labels
        self._own: set[str] = set()  # ids of our min-ready requests

    def forget_all(self) -> None:
        """The session is lost: they were ephemeral."""
        self._own.clear()

    def request(self) -> None:
        """Make the requests that are missing."""
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

    def settle(self, now: float) -> float:
        """Deal with those that have run their course; returns when to look again (monotonic seconds)."""
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

    def withdraw(self) -> None:
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
