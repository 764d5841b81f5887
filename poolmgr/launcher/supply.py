"""The requests that one launcher makes for all, so that labels have their min-ready nodes (launcher.md 8).

They live as long as its session. When another launcher takes over it counts what there is: nodes that were ready
stay, nodes being built for a request that went with its maker are finished for nobody (`policy.supply`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress

from poolmgr.config.settings import Label
from poolmgr.errors import Conflict, RecordGone, StoreUnavailable
from poolmgr.model.node import NodeState
from poolmgr.model.request import (
    MIN_READY_PRIORITY,
    MIN_READY_REQUESTOR,
    NodeRequest,
    RequestState,
)
from poolmgr.model.resources import Resources
from poolmgr.model.snapshot import Snapshot
from poolmgr.policy.supply import demand, failed_pause, is_settled, outlooks, shortfalls, spread
from poolmgr.runtime.clock import Clock
from poolmgr.store.api import Election, Store

log = logging.getLogger(__name__)

#: Who wins this election makes the min-ready requests.
ELECTION = "poolmgr-supply"

Limits = Mapping[tuple[str, str], Resources]


class Supply:
    """The min-ready requests of this process. Only the janitor's thread touches it.

    `labels` and `limits` (of pools, by provider and name) give those of the settings in force.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        new_id: Callable[[], str],
        labels: Callable[[], Mapping[str, Label]],
        limits: Callable[[], Limits] = dict,
    ) -> None:
        self._store = store
        self._clock = clock
        self._new_id = new_id
        self._labels = labels
        self._limits = limits
        self._own: set[str] = set()  # ids of our min-ready requests
        self._election: Election | None = None
        self._failures: dict[
            str, tuple[int, float]
        ] = {}  # label -> rounds in a row, the pause's end (monotonic)

    def forget_all(self) -> None:
        """The session is lost: they were ephemeral."""
        self._own.clear()

    def request(self, now: float) -> None:
        """Make the requests that are missing, if it is ours to make them."""
        if self._election is None:
            self._election = self._store.elect(ELECTION, self._new_id())
        if not self._election.leading:
            return
        with self._store.reading() as snapshot:
            missing = shortfalls(demand(self._labels().values(), snapshot.peers()), snapshot)
            orders = {label: self._orders(label, count, snapshot, now) for label, count in missing.items()}
        for label, providers in orders.items():
            if providers:
                log.info(
                    "label %s lacks %d ready nodes, asking for %d", label, missing[label], len(providers)
                )
            for provider in providers:
                self._request_one(label, provider)

    def _orders(self, label: str, count: int, snapshot: Snapshot, now: float) -> list[str | None]:
        """The provider of each request to make now."""
        failures, until = self._failures.get(label, (0, 0.0))
        if failures and now < until:
            return []
        waiting = sum(
            r.is_min_ready and r.labels == (label,) for r in snapshot.requests(RequestState.REQUESTED)
        )
        pools = outlooks(label, snapshot, self._limits())
        return spread(count, pools, waiting=waiting, probing=failures > 0)

    def _request_one(self, label: str, provider: str | None) -> None:
        at = self._clock.time()
        request = NodeRequest(
            state=RequestState.REQUESTED,
            state_time=at,
            created_time=at,
            labels=(label,),
            reuse=False,
            requestor=MIN_READY_REQUESTOR,
            provider=provider,
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
                self._failures.pop(request.labels[0], None)
                self._release_nodes(request)
                self._store.delete_request(request_id)
                self._own.discard(request_id)
        return due

    def _after_failure(self, request: NodeRequest, now: float) -> float:
        """Keep a failed request for a while: it stands for the nodes we cannot have."""
        label = request.labels[0]
        failures, until = self._failures.get(label, (0, 0.0))
        ended = now - max(0.0, self._clock.time() - request.state_time)  # when it failed
        if ended >= until:  # of a new round, not of the one we pause for
            failures += 1
            until = now + failed_pause(failures)
            self._failures[label] = failures, until
        if now < until:
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
                    self._store.save_node(node.freed())

    def resign(self) -> None:
        """Leave it to another launcher to make more of them; ours go on until `withdraw`."""
        election, self._election = self._election, None
        if election is not None:
            election.withdraw()

    def withdraw(self) -> None:
        """Stopping: our min-ready requests would vanish with the session; delete them while we can."""
        self.resign()
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
