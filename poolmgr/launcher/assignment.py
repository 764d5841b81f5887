"""One pass over the requests that wait: which of them this provider's pools take, put off or decline.

The judging is `policy.requests`; this gathers its facts from one snapshot, locks what looks servable, re-reads it and
asks again before anything is written.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from poolmgr.errors import BadRecord, Conflict, LockBusy, LockLost, RecordGone, StoreError
from poolmgr.launcher.context import ProviderContext
from poolmgr.launcher.desk import Desk, Taker
from poolmgr.model.component import Component
from poolmgr.model.node import Node
from poolmgr.model.request import NodeRequest, RequestState
from poolmgr.model.resources import Resources, short_of, total
from poolmgr.model.snapshot import Snapshot
from poolmgr.observe.context import context_logger
from poolmgr.policy.allocate import reusable
from poolmgr.policy.fairness import by_rank, in_turn
from poolmgr.policy.promises import promised, room
from poolmgr.policy.requests import (
    Decline,
    Defer,
    PoolFacts,
    Skip,
    Take,
    Verdict,
    covering,
    judge,
    keeps_room,
    to_launch,
)
from poolmgr.store.api import Lock

log = logging.getLogger(__name__)

#: How long a free ready node elsewhere makes us leave a young request to its pool, in seconds.
READY_ELSEWHERE = 2.0
#: A pass over thousands of waiting requests takes milliseconds of CPU: it is followed by so many times its length of
#: rest, so that no backlog can make a worker do nothing else.
REST = 10.0
#: How long a request that someone else has locked is left alone, in seconds.
BUSY_PAUSE = 0.5
#: Reasons for waiting that let pools of lower priority have the request (zookeeper.md 5, `paused`).
_NO_ROOM = ("quota", "cloud", "behind", "image", "capacity")
#: Reasons for waiting that the end of any node may end.
_NO_SPACE = "quota-"


@dataclass
class _Sight:
    """What one look at the snapshot gives the judging; thrown away after each act."""

    snapshot: Snapshot
    peers: Sequence[Component]
    facts: Mapping[str, PoolFacts]
    crowded: dict[str, set[str]]  # pool -> labels that an earlier request of the pass waits for
    candidates: dict[tuple[str, ...], list[Component]] = field(default_factory=dict)
    free: dict[tuple[str, str], list[Node]] = field(default_factory=dict)  # by (pool, label)
    tenants: dict[tuple[str, str], Resources] = field(default_factory=dict)  # what they may have
    put_off: dict[tuple[object, ...], str] = field(default_factory=dict)  # alike requests wait alike


@dataclass(frozen=True)
class _Action:
    index: int
    request: NodeRequest
    take: str | None  # the pool that takes it
    declining: tuple[str, ...] = ()  # pools that decline it
    reason: str = ""


class Assignment:
    """The requests of others, as seen by one provider.

    `pauses`: ids of requests that are not to be taken before some time (monotonic seconds).
    """

    def __init__(
        self,
        context: ProviderContext,
        pools: Mapping[str, Desk],
        requests: Taker,
        *,
        pauses: Callable[[], Mapping[str, float]] = dict,
    ) -> None:
        self._context = context
        self._pools = pools
        self._requests = requests
        self._busy_until: dict[str, float] = {}
        self._rest_until = 0.0
        self._takes = 0  # in this pass
        self._reported: Counter[tuple[str, str]] = Counter()
        self._pauses = pauses
        self.waiting: dict[str, NodeRequest] = {}  # pools in which some wait for room: the first one
        self._told: dict[str, str] = {}  # request id -> the last reason logged for it

    def run(self, now: float) -> float:
        """Take and decline what can be; returns when to look again (monotonic seconds)."""
        context, clock = self._context, self._context.clock
        if now < self._rest_until:
            return self._rest_until
        began = clock.monotonic()
        with context.store.reading() as snapshot:
            waiting = self._in_order(snapshot)
        reasons: Counter[tuple[str, str]] = Counter()
        crowded: dict[str, set[str]] = {}
        self.waiting.clear()
        due, index, self._takes = float("inf"), 0, 0
        looking = clock.monotonic() - began
        while index < len(waiting):
            if self._takes >= context.tuning.takes_per_cycle:
                due = now
                break
            began = clock.monotonic()
            with context.store.reading() as snapshot:
                action = self._next_action(snapshot, waiting, index, now, reasons, crowded)
            looking += clock.monotonic() - began
            if action is None:
                break
            index = action.index + 1
            self._act(action, now)
        self._rest_until = clock.monotonic() + REST * looking
        due = min([due, *(until for until in self._pauses().values() if until > now)])
        if self._busy_until:
            self._busy_until = {k: v for k, v in self._busy_until.items() if v > now}
            due = min([due, *self._busy_until.values()])
        if len(self._told) > 2 * len(waiting) + 100:
            self._told = {r.id: self._told[r.id] for r in waiting if r.id in self._told}
        if reasons != self._reported:
            self._reported = reasons
            context.stats.deferred(context.name, reasons)
        return due

    # Looking

    def _in_order(self, snapshot: Snapshot) -> list[NodeRequest]:
        waiting = snapshot.requests(RequestState.REQUESTED)
        if self._context.config.fair_tenants:
            return in_turn(waiting, snapshot.nodes_by_tenant)
        return by_rank(waiting)

    def _look(self, snapshot: Snapshot, now: float, crowded: dict[str, set[str]]) -> _Sight:
        launching = self._requests.launching
        peers = list(snapshot.pools())
        known = {peer.id for peer in peers}
        facts = {
            name: desk.facts(snapshot, now, launching=launching)
            for name, desk in self._pools.items()
            if desk.pool_id in known  # until it sees itself it may not see the others either
        }
        return _Sight(snapshot=snapshot, peers=peers, facts=facts, crowded=crowded)

    def _next_action(
        self,
        snapshot: Snapshot,
        waiting: Sequence[NodeRequest],
        start: int,
        now: float,
        reasons: Counter[tuple[str, str]],
        crowded: dict[str, set[str]],
    ) -> _Action | None:
        sight, pauses = self._look(snapshot, now, crowded), self._pauses()
        for index in range(start, len(waiting)):
            request = snapshot.request(waiting[index].id)
            if request is None or request.state is not RequestState.REQUESTED:
                continue
            if request.id in self._context.parts.claims or now < max(
                self._busy_until.get(request.id, 0.0), pauses.get(request.id, 0.0)
            ):
                continue
            action = self._judge_all(sight, index, request, now, reasons)
            if action is not None:
                return action
        return None

    def _judge_all(
        self,
        sight: _Sight,
        index: int,
        request: NodeRequest,
        now: float,
        reasons: Counter[tuple[str, str]],
    ) -> _Action | None:
        """What this provider does about `request`: the first pool that takes it, else who declines it."""
        declining: list[str] = []
        reason = ""
        for name in sorted(sight.facts, key=lambda n: (sight.facts[n].priority, n)):
            verdict = self._judge(sight, name, request)
            match verdict:
                case Take():
                    return _Action(index, request, name, reason=verdict.reason)
                case Decline():
                    declining.append(name)
                    reason = verdict.reason
                case Defer():
                    reasons[name, verdict.reason] += 1
                    self._put_off(sight, name, request, verdict.reason, now)
                case Skip():
                    pass
        if declining:
            return _Action(index, request, None, tuple(declining), reason)
        return None

    def _judge(self, sight: _Sight, name: str, request: NodeRequest) -> Verdict:
        facts = sight.facts[name]
        known = sight.put_off.get(_kind(name, request))
        if known is not None:
            return Defer(known)
        candidates = sight.candidates.get(request.labels)
        if candidates is None:
            candidates = sight.candidates[request.labels] = covering(request.labels, sight.peers)
        free = {label: self._free(sight, name, label) for label in set(request.labels)}
        spare = (
            {label: self._requests.spare_nodes(label, name) for label in free} if not request.reuse else {}
        )
        return judge(
            request,
            facts,
            candidates,
            ready=reusable(request.labels, free),
            tenant=self._tenant(sight, request),
            spare=reusable(request.labels, spare),
            crowded=sight.crowded.get(name, ()),
            ready_elsewhere=self._ready_elsewhere(sight, request, facts, candidates),
        )

    def _tenant(self, sight: _Sight, request: NodeRequest) -> Resources:
        """What its tenant may still have."""
        tenants, snapshot = self._context.config.tenants, sight.snapshot
        tenant = request.tenant_name
        if tenant is None or tenant not in tenants:
            return {}
        besides = request.id if request.id in snapshot.promises(tenant).promised else ""
        if (tenant, besides) not in sight.tenants:
            now = self._context.clock.time()
            sight.tenants[tenant, besides] = room(tenant, tenants, snapshot, now=now, besides=besides)
        return sight.tenants[tenant, besides]

    def _free(self, sight: _Sight, name: str, label: str) -> list[Node]:
        """Nodes of the label that need no launch: free ready ones, and spare ones that are being built."""
        key = (name, label)
        if key not in sight.free:
            ready = self._pools[name].free_ready(label, sight.snapshot)
            sight.free[key] = [*ready, *self._requests.spare_nodes(label, name)]
        return sight.free[key]

    def _ready_elsewhere(
        self,
        sight: _Sight,
        request: NodeRequest,
        facts: PoolFacts,
        candidates: Sequence[Component],
    ) -> bool:
        """Whether another pool has all its nodes ready; only asked while the request is young."""
        snapshot = sight.snapshot
        if not request.reuse or not all(snapshot.ready(label) for label in request.labels):
            return False
        if self._context.clock.time() - request.state_time > READY_ELSEWHERE:
            return False
        for peer in candidates:
            if peer.id == facts.id or peer.id in request.declined_by or peer.priority > facts.priority:
                continue
            have = {
                label: sum(
                    1
                    for node in snapshot.ready(label)
                    if (node.provider, node.pool) == (peer.provider_name, peer.name)
                    and not snapshot.node_locked(node.id)
                )
                for label in set(request.labels)
            }
            if not to_launch(request.labels, have):
                return True
        return False

    def _put_off(self, sight: _Sight, name: str, request: NodeRequest, reason: str, now: float) -> None:
        """Remember that `request` waits, for those behind it, for the peers, and once for the log."""
        sight.put_off[_kind(name, request)] = reason
        if keeps_room(request, sight.facts[name], reason, now=self._context.clock.time()):
            sight.crowded.setdefault(name, set()).update(request.labels)
        if reason.startswith(_NO_ROOM):
            self._pools[name].note_deferred(now)
        if reason.startswith(_NO_SPACE) and not request.is_min_ready:
            self.waiting.setdefault(name, request)
        if self._told.get(request.id) != reason:
            self._told[request.id] = reason
            logger = context_logger(log, event=request.event_id, request=request.id)
            logger.info("waits for pool %s of %s: %s", name, self._context.name, reason)

    # Acting

    def _act(self, action: _Action, now: float) -> None:
        """Lock, look again, and do it."""
        claims = self._context.parts.claims
        request_id = action.request.id
        if not claims.claim(request_id):
            return
        kept = False
        try:
            kept = self._act_claimed(action, now)
        finally:
            if not kept:
                claims.release(request_id)

    def _act_claimed(self, action: _Action, now: float) -> bool:
        """Whether the request is still in hand."""
        store = self._context.store
        request_id = action.request.id
        try:
            lock, fresh = store.lock_request(request_id)
        except (LockBusy, RecordGone):
            self._busy_until[request_id] = now + BUSY_PAUSE
            return False
        except BadRecord as error:
            log.warning("request %s cannot be read: %s", request_id, error)
            self._busy_until[request_id] = now + 60.0
            return False
        confirmed = self._confirm(action, fresh, now)
        if confirmed is None:
            store.unlock(lock)
        elif confirmed.take is not None:
            if not self._promise(fresh, lock, confirmed.take, now):
                return False
            try:
                self._requests.take(fresh, lock, confirmed.take)
                self._takes += 1
            except (Conflict, LockLost, RecordGone) as error:
                log.info("request %s was not taken: %s", request_id, error)
        else:
            ids = [self._pools[name].pool_id for name in confirmed.declining]
            self._requests.decline(fresh, lock, ids, confirmed.reason)
        return request_id in self._requests

    def _promise(self, request: NodeRequest, lock: Lock, pool: str, now: float) -> bool:
        """Promise its tenant what it needs, where that is limited; if that cannot be now it is unlocked again."""
        context = self._context
        tenant = request.tenant_name
        if tenant is None or tenant not in context.config.tenants:
            return True
        with context.store.reading() as snapshot:
            facts = self._pools[pool].facts(snapshot, now, launching=self._requests.launching)
            need = total(f.need or {} for label in request.labels if (f := facts.labels.get(label)))
            time = context.clock.time()
            promises = promised(tenant, request.id, need, snapshot, now=time)
            left = room(tenant, context.config.tenants, snapshot, now=time, besides=request.id)
            fits = short_of(need, left) is None
        try:
            if fits:
                context.store.promise(promises)
                return True
            log.info("request %s waits: its tenant %s has no room any more", request.id, tenant)
        except Conflict:
            log.debug("request %s: something was promised to tenant %s meanwhile", request.id, tenant)
        except StoreError:
            context.store.unlock(lock)
            raise
        self._busy_until[request.id] = now + BUSY_PAUSE
        context.store.unlock(lock)
        return False

    def _confirm(self, action: _Action, fresh: NodeRequest, now: float) -> _Action | None:
        """What of `action` still holds for the record as it was read under the lock; None if nothing does."""
        with self._context.store.reading() as snapshot:
            sight = self._look(snapshot, now, {})
            names = action.declining if action.take is None else (action.take,)
            verdicts = {name: self._judge(sight, name, fresh) for name in names if name in sight.facts}
        if action.take is not None:
            return action if isinstance(verdicts.get(action.take), Take) else None
        declining = tuple(name for name, verdict in verdicts.items() if isinstance(verdict, Decline))
        return replace(action, declining=declining) if declining else None


def _kind(pool: str, request: NodeRequest) -> tuple[object, ...]:
    """All of a request that `judge` looks at for one pool, but its place: requests of one kind wait alike."""
    return (
        pool,
        request.labels,
        request.tenant_name,
        request.provider,
        request.declined_by,
        request.reuse,
    )
