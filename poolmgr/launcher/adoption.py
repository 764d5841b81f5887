"""Going on with what another launcher began and cannot end: it died, stopped, or was ourselves before a restart.

Judged in `policy.adoption`. Each cycle looks: what is found is locked, request first, read again, and written with our
pool's id as the node's launcher. Nothing is rebuilt; addresses and host keys are asked for again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial

from poolmgr.config.settings import PoolLabel
from poolmgr.errors import BadRecord, Conflict, LockBusy, LockLost, RecordGone
from poolmgr.launcher.cloudfacts import CloudFacts
from poolmgr.launcher.context import Context
from poolmgr.launcher.launch import Launch
from poolmgr.launcher.pools import PoolDesk
from poolmgr.launcher.requests import Held, HeldRequests
from poolmgr.model.node import Node, NodeState
from poolmgr.model.request import NodeRequest, RequestState
from poolmgr.model.snapshot import Snapshot
from poolmgr.policy import adoption as policy
from poolmgr.policy.launch import LaunchFacts, Phase
from poolmgr.store.api import Lock

log = logging.getLogger(__name__)

#: What someone else had locked is tried again after so many seconds.
BUSY_PAUSE = 1.0
#: Requests and spare nodes adopted in one cycle, so that a flood of them does not hold up everything else.
ADOPTIONS_PER_CYCLE = 50

_GOES_ON = (NodeState.BUILDING, NodeState.READY)


class Adoption:
    """One worker's. `given_up` has the BUILDING nodes that are garbage after all."""

    def __init__(
        self,
        context: Context,
        facts: CloudFacts,
        pools: Mapping[str, PoolDesk],
        requests: HeldRequests,
    ) -> None:
        self._context = context
        self._facts = facts
        self._pools = pools
        self._requests = requests
        self._seen: dict[str, float] = {}  # BUILDING nodes that nobody had locked, since when
        self._not_before: dict[str, float] = {}  # by id of request or node: someone had it locked
        self.given_up: set[str] = set()

    def run(self, now: float) -> float:
        """Adopt what can be; returns when to look again (monotonic seconds).

        Waits for the cloud: without its flavors a launch cannot go on.
        """
        context = self._context
        if context.info is None:
            return float("inf")
        with context.store.reading() as snapshot:
            left = policy.left_behind(snapshot, context.name)
            found = {node.id: self._judge(node, snapshot, now) for node in left}
            half_done = sorted(policy.half_done(snapshot, context.name))
        self._seen = {node_id: self._seen.get(node_id, now) for node_id in found}
        self._not_before = {id_: at for id_, at in self._not_before.items() if at > now}
        self.given_up = {node_id for node_id, verdict in found.items() if isinstance(verdict, policy.GiveUp)}
        acts: dict[str, Callable[[], None]] = {}
        due = float("inf")
        for request_id in half_done:
            acts[request_id] = partial(self._continue, request_id, now)
        for node_id, verdict in found.items():
            match verdict:
                case policy.Continue(request_id=request_id):
                    acts[request_id] = partial(self._continue, request_id, now)
                case policy.Spare(reason=reason):
                    acts[node_id] = partial(self._spare, node_id, reason, now)
                case policy.Wait(until=until):
                    due = min(due, until)
        return min(due, self._act(acts, now))

    def _act(self, acts: Mapping[str, Callable[[], None]], now: float) -> float:
        """`acts` by id of request or node; returns when to look again."""
        due = [id_ for id_ in acts if id_ not in self._not_before]
        for id_ in due[:ADOPTIONS_PER_CYCLE]:
            acts[id_]()
        if len(due) > ADOPTIONS_PER_CYCLE:
            return now
        return min(self._not_before.values(), default=float("inf"))

    def _judge(self, node: Node, snapshot: Snapshot, now: float) -> policy.Verdict:
        request_id = node.allocated_to or ""
        return policy.judge(
            snapshot.request(request_id),
            locked=snapshot.request_locked(request_id) or request_id in self._context.parts.claims,
            configured=self._label_of(node) is not None,
            since=self._seen.get(node.id, now),
            now=now,
            tuning=self._context.tuning,
        )

    def _label_of(self, node: Node) -> PoolLabel | None:
        """None too if no flavor fits it any more."""
        desk = self._pools.get(node.pool or "")
        label = desk.pool.labels.get(node.label) if desk else None
        return label if label and self._facts.flavor(label) else None

    # Requests

    def _continue(self, request_id: str, now: float) -> None:
        claims = self._context.parts.claims
        if not claims.claim(request_id):
            return
        try:
            self._continue_claimed(request_id, now)
        finally:
            if request_id not in self._requests:
                claims.release(request_id)

    def _continue_claimed(self, request_id: str, now: float) -> None:
        store = self._context.store
        try:
            lock, request = store.lock_request(request_id)
        except (LockBusy, RecordGone, BadRecord):
            self._not_before[request_id] = now + BUSY_PAUSE
            return
        kept: list[tuple[Node, Lock]] = []
        try:
            if request.state is RequestState.PENDING:
                kept = self._lock_nodes(request)
                self._resume(request, lock, kept, now)
        finally:
            if request_id not in self._requests:
                self._not_before[request_id] = now + BUSY_PAUSE
                for _, node_lock in kept:
                    store.unlock(node_lock)
                store.unlock(lock)

    def _lock_nodes(self, request: NodeRequest) -> list[tuple[Node, Lock]]:
        """Those of its nodes that it goes on with, locked; the others go their way."""
        context = self._context
        with context.store.reading() as snapshot:
            nodes = [
                node
                for node in snapshot.nodes_for(request.id)
                if node.provider == context.name
                and node.state in _GOES_ON
                and not snapshot.node_locked(node.id)
            ]
        pool = policy.pool_of(nodes, self._pools)
        locked: list[tuple[Node, Lock]] = []
        for node in nodes:
            if node.pool == pool and (node.state is NodeState.READY or self._label_of(node)):
                with suppress(LockBusy, RecordGone, BadRecord):
                    lock, fresh = context.store.lock_node(node.id)
                    locked.append((fresh, lock))
        return locked

    def _resume(self, request: NodeRequest, lock: Lock, locked: list[tuple[Node, Lock]], now: float) -> None:
        """The request is ours from here on, with those of the `locked` nodes that are still its own."""
        fit = [(n, k) for n, k in locked if n.allocated_to == request.id and n.state in _GOES_ON]
        taken = policy.places(request.labels, (node for node, _ in fit))
        ours = {node.id: place for place, node in taken.items()}
        pool = next((node.pool for node in taken.values() if node.pool), None)
        if pool is None:
            self._give_back(request, lock)
            return
        held = Held(request=request, lock=lock, pool=pool, taken_at=now)
        launches = []
        for node, node_lock in locked:
            place = ours.get(node.id)
            adopted = self._write(node, node_lock) if place is not None else None
            if place is None or adopted is None:
                self._let_be(node, node_lock)
            elif adopted.state is NodeState.READY:
                held.places[place], held.ready[node.id] = node.id, (adopted, node_lock)
            else:
                held.places[place] = node.id
                launches.append(self._launch(adopted, node_lock, request, now))
        held.zone = next((node.az for node in taken.values() if node.az), None)
        self._requests.resume(held, launches)
        held.log.info(
            "adopted in %s: %d nodes are being built, %d are ready",
            self._context.name,
            len(launches),
            len(held.ready),
        )

    def _give_back(self, request: NodeRequest, lock: Lock) -> None:
        """Nothing of it is left that we could go on with: it begins anew. Its ready nodes will be free by that."""
        back = request.moved(RequestState.REQUESTED, at=self._context.clock.time(), nodes=())
        try:
            self._context.store.finish_request(back, lock)
        except (Conflict, LockLost, RecordGone):
            return  # whoever resets lost requests does so
        log.info(
            "[node_request: %s] its launcher is gone, and nothing is left of it: requested again", request.id
        )

    def _let_be(self, node: Node, lock: Lock) -> None:
        """It is not one of those the request goes on with: a ready one becomes free, another is judged alone."""
        with suppress(LockLost, RecordGone):
            if node.state is NodeState.READY and node.allocated_to:
                self._context.save_node(replace(node, allocated_to=None), lock)
        self._context.store.unlock(lock)

    # Nodes

    def _spare(self, node_id: str, reason: str, now: float) -> None:
        store = self._context.store
        try:
            lock, node = store.lock_node(node_id)
        except (LockBusy, RecordGone, BadRecord):
            self._not_before[node_id] = now + BUSY_PAUSE
            return
        adopted = None
        try:
            if node.state is NodeState.BUILDING and self._label_of(node):
                adopted = self._write(node, lock)
        finally:
            if adopted is None:
                store.unlock(lock)
        if adopted is not None:
            log.info("[node: %s] adopted in %s for nobody: %s", node_id, self._context.name, reason)
            self._requests.resume_spare(self._launch(adopted, lock, None, now))

    def _write(self, node: Node, lock: Lock) -> Node | None:
        """With our pool's id; None when it is not ours to write. The next record of whoever had it conflicts."""
        desk = self._pools.get(node.pool or "")
        if desk is None:
            return None
        try:
            return self._context.save_node(replace(node, launcher=desk.pool_id), lock)
        except (LockLost, RecordGone, Conflict):
            return None

    def _launch(self, node: Node, lock: Lock, request: NodeRequest | None, now: float) -> Launch:
        context = self._context
        desk = self._pools[node.pool or ""]
        label = desk.pool.labels[node.label]
        flavor = self._facts.flavor(label)
        assert flavor is not None, "asked for before the node was taken"
        timeout = context.config.provider.launch_timeout
        age = policy.age(node, time=context.clock.time(), launch_timeout=timeout, tuning=context.tuning)
        known = isinstance(node.external_id, str) and bool(node.external_id)
        facts = LaunchFacts(
            node_id=node.id,
            phase=Phase.BOOTING if known else Phase.UNKNOWN,
            since=now - age if known else now,
            attempt_since=now - age,
            server_id=node.external_id if known else None,
            adopted=True,
        )
        single = request is None or len(request.labels) == 1
        launch = Launch(
            node,
            lock,
            pool=desk.pool,
            label=label,
            flavor=flavor,
            request=request,
            zones=desk.zones() if single else (),
            now=now,
            facts=facts,
        )
        launch.log.info(
            "goes on, %s", f"with server {node.external_id}" if known else "its server is looked for"
        )
        return launch
