"""Requests in hand: from taking one to handing over its nodes, or giving it back.

A held request is filled place by place, as often as needed: whatever is missing (a node that was aborted, one that
someone else locked first) is simply filled again in the next cycle.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial

from poolmgr.errors import BadRecord, LockBusy, LockLost, RecordGone, StoreError
from poolmgr.launcher.answers import Answers, allocated
from poolmgr.launcher.cloudfacts import CloudFacts
from poolmgr.launcher.context import Context
from poolmgr.launcher.launch import Launch
from poolmgr.launcher.launches import Launches
from poolmgr.launcher.pools import PoolDesk
from poolmgr.launcher.removals import Removals
from poolmgr.launcher.spares import Spares
from poolmgr.model.node import Node, NodeState
from poolmgr.model.request import NodeRequest, RequestState
from poolmgr.model.resources import short_of, total
from poolmgr.model.server import Flavor
from poolmgr.model.snapshot import Snapshot
from poolmgr.observe.context import context_logger
from poolmgr.policy.allocate import Plan, allocate
from poolmgr.policy.holding import has_rival, judge_hold, judge_outage
from poolmgr.policy.launch import Phase, Result
from poolmgr.policy.promises import room
from poolmgr.policy.requests import covering
from poolmgr.store.api import Lock

log = logging.getLogger(__name__)


@dataclass
class Held:
    """A request whose lock we hold. Only `HeldRequests` changes it."""

    request: NodeRequest
    lock: Lock
    pool: str
    taken_at: float  # monotonic
    zone: str | None = None
    places: dict[int, str] = field(default_factory=dict)  # index into its labels -> node id
    ready: dict[str, tuple[Node, Lock]] = field(default_factory=dict)
    failed: str | None = None  # why it must be declined
    idle: float = (
        0.0  # seconds, since one became ready, in which it held ready nodes and had nothing under way
    )
    away_at: float | None = None  # monotonic, since when the cloud has been away
    idle_at: float | None = None  # monotonic, of the last look while that was so

    @property
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        return context_logger(log, event=self.request.event_id, request=self.request.id)

    @property
    def missing(self) -> list[str]:
        return [label for place, label in enumerate(self.request.labels) if place not in self.places]


class HeldRequests:
    """All requests one worker holds, and the spare launches that cancelled ones have left."""

    def __init__(
        self, context: Context, removals: Removals, facts: CloudFacts, pools: Mapping[str, PoolDesk]
    ) -> None:
        self._context = context
        self._removals = removals
        self._facts = facts
        self._pools = pools
        self._held: dict[str, Held] = {}
        self._by_node: dict[str, Held] = {}
        self._returned: dict[str, int] = {}  # request id -> how often it was given back for holding in vain
        self.pauses: dict[str, float] = {}  # request id -> not to be taken again before (monotonic)
        #: Pool -> the first held one that waits for room there, and what it lacks.
        self.waiting: dict[str, tuple[NodeRequest, list[str]]] = {}
        self._answers = Answers(context)
        self.launches = Launches(context, removals, self)
        self.spares = Spares(context, removals, self.launches, facts)

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, request_id: str) -> bool:
        return request_id in self._held

    @property
    def launching(self) -> int:
        return len(self.launches)

    def ids(self) -> Iterable[str]:
        return self._held.keys()

    # Taking

    def take(self, request: NodeRequest, lock: Lock, pool: str) -> None:
        """Begin to work on a request that was just locked and judged."""
        context = self._context
        try:
            pending = context.store.save_request(
                request.moved(RequestState.PENDING, at=context.clock.time()), lock
            )
        except StoreError:
            context.store.unlock(lock)
            raise
        held = Held(request=pending, lock=lock, pool=pool, taken_at=context.clock.monotonic())
        self._held[request.id] = held
        held.log.info("taken by pool %s of %s", pool, context.name)
        self._guarded(held, partial(self._fill, held))

    def decline(self, request: NodeRequest, lock: Lock, pool_ids: Iterable[str], reason: str) -> None:
        """Write our refusal and let go."""
        self._answers.decline(request, lock, pool_ids, reason)

    def resume(self, held: Held, launches: Iterable[Launch] = ()) -> None:
        """Go on with a request that another launcher had, and with the launches of its nodes."""
        self._held[held.request.id] = held
        for node_id in held.places.values():
            self._by_node[node_id] = held
        for launch in launches:
            self.launches.resume(launch)

    def resume_spare(self, launch: Launch) -> None:
        """Go on with another launcher's launch that no request wants (yet)."""
        self.launches.resume(launch)
        self.spares.add([launch.node.id])

    # Each cycle

    def advance(self, *, stopping: bool = False) -> None:
        """Look at every held request: cancelled, complete, failed, or something still missing."""
        self.waiting.clear()
        for held in list(self._held.values()):
            with self._context.store.reading() as snapshot:
                alive = snapshot.request(held.request.id) is not None
            if alive:
                self._guarded(held, partial(self._step, held, stopping=stopping))
            else:
                self._cancelled(held)

    def _step(self, held: Held, *, stopping: bool) -> None:
        if held.failed is not None:
            self._give_back(held, declined_for=held.failed)
        elif len(held.ready) == len(held.request.labels):
            self._fulfil(held)
        elif held.missing and stopping:
            self._give_back(held, declined_for=None)
        elif self._is_stranded(held):
            held.log.info("the cloud is away, and others could serve it")
            self._let_go(held)
        elif held.missing:
            self._fill(held)
            if held.missing and held.request.id in self._held:
                self._mind_idle(held)

    def _is_stranded(self, held: Held) -> bool:
        """Whether the cloud is away while something of it is missing that another provider could have."""
        now = self._context.clock.monotonic()
        if self._facts.paused(now) != "cloud":
            held.away_at = None
            return False
        held.away_at = now if held.away_at is None else held.away_at
        launches = [one for node_id in held.places.values() if (one := self.launches.get(node_id))]
        begun = any(one.facts.phase is not Phase.NEW for one in launches)
        away, idle_hold = now - held.away_at, self._context.config.idle_hold
        return bool(judge_outage(away, begun=begun, idle_hold=idle_hold)) and self._others_could(held)

    def _mind_idle(self, held: Held) -> None:
        """Something of it is missing and not even begun: whether it may hold what it has."""
        now = self._context.clock.monotonic()
        if not held.places:
            self._give_back(held, declined_for=None)
            return
        if any(node_id in self.launches for node_id in held.places.values()):
            held.idle_at = None
            return
        held.idle += now - held.idle_at if held.idle_at is not None else 0.0
        held.idle_at = now
        idle_hold = self._context.config.idle_hold
        with self._context.store.reading() as snapshot:
            rival = has_rival(held.request, snapshot)
            self._returned = {i: n for i, n in self._returned.items() if snapshot.request(i)}
        times = self._returned.get(held.request.id, 0)
        verdict = judge_hold(held.idle, idle_hold=idle_hold, has_rival=rival, times=times)
        if verdict is None:
            return
        held.log.info("has held %d ready nodes in vain for %.0f s", len(held.ready), held.idle)
        self._returned[held.request.id] = times + 1
        self.pauses = {i: until for i, until in self.pauses.items() if until > now}
        self.pauses[held.request.id] = now + verdict.pause
        self._let_go(held)

    def _let_go(self, held: Held) -> None:
        """There is no room for all of it: give it back; what it has is for whoever comes next, or makes room."""
        nodes = list(held.ready)
        self._give_back(held, declined_for=None)
        self.spares.add_ready(nodes)

    def _guarded(self, held: Held, act: Callable[[], None]) -> None:
        """`act()`, for which the request's lock is needed; without it the request is not ours any more."""
        try:
            act()
        except (LockLost, RecordGone) as error:
            held.log.warning("lost: %s", error)
            self._cancelled(held)

    def let_go(self) -> None:
        """Leave everything as it is to who owns the provider next: nothing is deleted, pending requests stay so.

        Those for which nothing was done yet are handed back.
        """
        for held in list(self._held.values()):
            try:
                if held.failed is not None or not held.places:
                    self._give_back(held, declined_for=held.failed)
                else:
                    self._finish(held, held.request, self._locks_of(held))
                    held.log.info("left to the next owner of %s", self._context.name)
            except StoreError as error:
                held.log.warning("not let go as it should be: %s", error)
            for _, lock in self._locks_of(held):
                self._context.store.unlock(lock)
            self._forget(held)
        self.spares.forget_all()
        self.launches.forget_all()

    def _locks_of(self, held: Held) -> list[tuple[Node, Lock]]:
        launches = (self.launches.get(node_id) for node_id in held.places.values())
        return [*held.ready.values(), *((one.node, one.lock) for one in launches if one)]

    def forget_all(self) -> None:
        """The session is lost: we own nothing. What was locked since then, in the same cycle, is let go."""
        for held in list(self._held.values()):
            for _, lock in held.ready.values():
                self._context.store.unlock(lock)
            self._forget(held)
        self._by_node.clear()
        self.spares.forget_all()
        self.launches.forget_all()

    # What launches report

    def node_ready(self, node: Node, lock: Lock) -> None:
        held = self._by_node.get(node.id)
        if held is None:  # a spare that was faster than the next request
            self.spares.node_ready(node, lock)
            return
        held.ready[node.id] = (node, lock)
        held.idle = 0.0
        if len(held.ready) == len(held.request.labels):
            self._fulfil(held)

    def node_lost(self, node_id: str, result: Result) -> None:
        now = self._context.clock.monotonic()
        if result is Result.QUOTA:
            self._facts.quota_hit(now)
        self.spares.taken(node_id)
        held = self._by_node.pop(node_id, None)
        if held is None:
            return
        place = next(p for p, n in held.places.items() if n == node_id)
        if result is Result.IMAGE:
            self._facts.image_missing(held.request.labels[place], now)
        del held.places[place]

    def node_failed(self, node_id: str, result: Result, reason: str) -> None:
        self.spares.taken(node_id)
        held = self._by_node.pop(node_id, None)
        if held is None:
            return
        held.failed = held.failed or f"{result.value}: {reason}"
        for place in [p for p, n in held.places.items() if n == node_id]:
            del held.places[place]

    def label_rejected(self, label: str, reason: str) -> None:
        self._facts.label_rejected(label, reason, self._context.clock.monotonic())

    def no_room(self, flavor: Flavor, zone: str | None, reason: str) -> frozenset[str | None]:
        now = self._context.clock.monotonic()
        self._facts.no_room(flavor, zone, reason, now)
        return self._facts.full_zones(flavor, now)

    def had_room(self, flavor: Flavor, zone: str | None) -> None:
        self._facts.had_room(flavor, zone)

    # Filling

    def _fill(self, held: Held) -> None:
        context = self._context
        desk = self._pools.get(held.pool)
        if desk is None:  # a reload has removed the pool
            held.failed = held.failed or "the pool was removed from the configuration"
            return
        with context.store.reading() as snapshot:
            if not self._tenant_has_room(held, desk, snapshot):
                return
            plan = self._plan(held, desk, snapshot)
        for place, node in plan.reuse.items():
            self._reuse(held, place, node)
        if plan.launch:
            self._launch_all(held, desk, plan)

    def _plan(self, held: Held, desk: PoolDesk, snapshot: Snapshot) -> Plan:
        request = held.request
        taken = {place: self._node(held, node_id) for place, node_id in held.places.items()}
        free: dict[str, list[Node]] = {}
        for label in set(held.missing):
            ready = desk.free_ready(label, snapshot) if request.reuse else []
            free[label] = [*ready, *self.spare_nodes(label, held.pool)]
        zone = held.zone or next((n.az for n in taken.values() if n.az), None)
        zones = desk.zones_in_turn(held.missing, self._context.clock.monotonic())
        return allocate(request.labels, taken, free, zone=zone, zones=zones)

    def _node(self, held: Held, node_id: str) -> Node:
        if node_id in held.ready:
            return held.ready[node_id][0]
        launch = self.launches.get(node_id)
        return launch.node if launch else Node(id=node_id)

    def spare_nodes(self, label: str, pool: str) -> list[Node]:
        return self.spares.building(label, pool)

    def _reuse(self, held: Held, place: int, node: Node) -> None:
        launch = self.launches.get(node.id)
        if launch is not None:
            self.spares.taken(node.id)
            launch.node = self._context.save_node(allocated(launch.node, held.request), launch.lock)
            launch.request = held.request
            self._put(held, place, launch.node)
            return
        store = self._context.store
        try:
            lock, fresh = store.lock_node(node.id)
        except (LockBusy, RecordGone, BadRecord):
            return  # the next cycle finds another
        if fresh.state is not NodeState.READY or fresh.allocated_to or fresh.provider != self._context.name:
            store.unlock(lock)
            return
        try:
            fresh = self._context.save_node(allocated(fresh, held.request), lock)
        except StoreError:
            store.unlock(lock)
            raise
        self._put(held, place, fresh)
        held.ready[fresh.id] = (fresh, lock)
        held.idle = 0.0
        held.log.info("reuses ready node %s", fresh.id)

    def _launch_all(self, held: Held, desk: PoolDesk, plan: Plan) -> None:
        """Launch what the plan says if all of it fits now; otherwise it waits."""
        now = self._context.clock.monotonic()
        with self._context.store.reading() as snapshot:
            facts = desk.facts(snapshot, now, launching=len(self.launches))
        wanted = [facts.labels[label] for label in plan.launch.values() if label in facts.labels]
        if facts.closed:  # nothing is launched any more, and nobody knows for how long
            self._give_back(held, declined_for=None)
            return
        needs = total(f.need or {} for f in wanted)
        blocked = facts.paused or next((f.waiting or f.broken for f in wanted if f.waiting or f.broken), None)
        short = short_of(needs, facts.capacity.available)
        if len(wanted) < len(plan.launch) or any(f.broken for f in wanted):
            held.failed = f"cannot launch: {blocked or 'label removed'}"
            return
        if blocked or short:
            if not blocked:
                self.waiting.setdefault(held.pool, (held.request, list(plan.launch.values())))
            if self._others_could(held):
                self._let_go(held)
            return
        if held.zone is None and plan.zone is not None:
            desk.took_turn(plan.zone)
        held.zone = plan.zone
        for place, label in plan.launch.items():
            self._launch(held, desk, place, label, plan.zone)

    def _tenant_has_room(self, held: Held, desk: PoolDesk, snapshot: Snapshot) -> bool:
        """Whether what is missing fits its tenant's limit now: nodes whose place is empty again may not be gone yet."""
        context, request = self._context, held.request
        tenants = context.config.tenants
        if request.tenant_name not in tenants:
            return True
        facts = desk.facts(snapshot, context.clock.monotonic(), launching=len(self.launches))
        needs = total(f.need or {} for label in held.missing if (f := facts.labels.get(label)))
        left = room(request.tenant_name, tenants, snapshot, now=context.clock.time(), besides=request.id)
        return short_of(needs, left) is None

    def _launch(self, held: Held, desk: PoolDesk, place: int, label_name: str, zone: str | None) -> None:
        context = self._context
        label = desk.pool.labels[label_name]
        flavor = self._facts.flavor(label)
        if flavor is None:
            return
        record = allocated(desk.new_node(label, flavor, zone), held.request)
        lock, node = context.store.create_node(record, owner=context.tenure.lock)
        self._put(held, place, node)
        single = len(held.request.labels) == 1
        launch = Launch(
            node,
            lock,
            pool=desk.pool,
            label=label,
            flavor=flavor,
            request=held.request,
            zones=desk.zones() if single else (),
            now=context.clock.monotonic(),
        )
        launch.log.info("launching %s in %s", label_name, context.name)
        self.launches.begin(launch)

    def _put(self, held: Held, place: int, node: Node) -> None:
        held.places[place] = node.id
        self._by_node[node.id] = held

    def _others_could(self, held: Held) -> bool:
        """Whether another pool that is not paused might serve it instead."""
        mine = {desk.pool_id for desk in self._pools.values()}
        with self._context.store.reading() as snapshot:
            candidates = covering(held.request.labels, snapshot.pools())
        return any(
            c.id not in mine and c.id not in held.request.declined_by and not c.paused for c in candidates
        )

    # Ending

    def _fulfil(self, held: Held) -> None:
        context, request = self._context, held.request
        ids = tuple(held.places[place] for place in range(len(request.labels)))
        now = context.clock.time()
        done = request.moved(RequestState.FULFILLED, at=now, nodes=ids)
        pairs = [held.ready[node_id] for node_id in ids]
        try:
            self._finish(held, done, pairs)
        except RecordGone:
            self._cancelled(held)
            return
        held.log.info("fulfilled with %s", ",".join(ids))
        self._answers.count(done)
        self._forget(held)

    def _give_back(self, held: Held, declined_for: str | None) -> None:
        """Let others have it: free its ready nodes, keep its launches as spares, decline it if we failed it."""
        context = self._context
        request = held.request
        pairs = self._deallocate(held)
        if declined_for is None:
            back = request.moved(RequestState.REQUESTED, at=context.clock.time(), nodes=())
        else:
            desk = self._pools.get(held.pool)
            back = self._answers.declined(request, [desk.pool_id] if desk else [])
        try:
            self._finish(held, back, pairs)
        except RecordGone:
            self._cancelled(held)
            return
        held.log.info("given back as %s: %s", back.state.value, declined_for or "no room, or stopping")
        self._answers.count(back)
        self._forget(held)

    def _finish(self, held: Held, request: NodeRequest, pairs: Iterable[tuple[Node, Lock]]) -> None:
        self._answers.finish(request, held.lock, pairs)
        held.ready.clear()

    def _deallocate(self, held: Held) -> list[tuple[Node, Lock]]:
        """Its ready nodes, belonging to nobody again, still locked."""
        for node_id, (node, lock) in list(held.ready.items()):
            if node.allocated_to:
                try:
                    free = self._context.save_node(node.freed(), lock)
                except (LockLost, RecordGone):
                    del held.ready[node_id]
                    continue
                held.ready[node_id] = (free, lock)
        return list(held.ready.values())

    def _cancelled(self, held: Held) -> None:
        """Its maker has deleted it: ready nodes become free, launches become spares."""
        held.log.info("cancelled")
        for _, lock in self._deallocate(held):
            self._context.store.unlock(lock)
        held.ready.clear()
        self._forget(held)

    def _forget(self, held: Held) -> None:
        for node_id in held.places.values():
            self._by_node.pop(node_id, None)
        self.spares.add(held.places.values())
        self._held.pop(held.request.id, None)
        self._context.parts.claims.release(held.request.id)
        self._context.store.unlock(held.lock)
