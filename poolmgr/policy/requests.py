"""Which requests a pool takes, leaves, puts off or declines (launcher.md 3, zookeeper.md 6.3).

Unlike the reference, a pool never takes what does not fit: a request that must wait stays `requested`, so any
pool whose turn comes can serve it, and nothing else waits behind it except later requests for the same labels
that would need the same room.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from poolmgr.model.component import Component
from poolmgr.model.request import NodeRequest, RequestState
from poolmgr.model.resources import Resources, short_of, total
from poolmgr.model.snapshot import Snapshot
from poolmgr.policy.capacity import Capacity

#: Reasons for waiting that keep the room for whoever asked for the same labels first.
_FULL = ("quota", "behind")


@dataclass(frozen=True, slots=True)
class Take:
    reason: str = "fits"


@dataclass(frozen=True, slots=True)
class Skip:
    """Not this pool's business now."""

    reason: str


@dataclass(frozen=True, slots=True)
class Defer:
    """This pool's turn, but it has to wait: nothing is written."""

    reason: str


@dataclass(frozen=True, slots=True)
class Decline:
    """This pool can never serve it."""

    reason: str


Verdict = Take | Skip | Defer | Decline
NOTHING_SPARE: Mapping[str, int] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class LabelFacts:
    """What a pool knows about one of its labels. `need` None: not known yet (the cloud has not answered)."""

    need: Resources | None = None
    broken: str | None = None  # why it can never be launched as configured
    waiting: str | None = None  # why it cannot be launched now


@dataclass(frozen=True, kw_only=True)
class PoolFacts:
    """What `judge` has to know about the pool that asks."""

    id: str
    provider: str
    priority: int
    labels: Mapping[str, LabelFacts]
    disabled: bool = False
    capacity: Capacity = field(default_factory=Capacity)
    launches_left: float = float("inf")  # by max-concurrency; while there is any, a request is taken whole
    only_ready: bool = False  # nothing is launched here, ever: what it has is handed out
    patience: float = float("inf")  # seconds that a request of several nodes lets others pass there
    launching_forbidden: bool = False  # max-concurrency 0: nothing is taken at all, ready nodes neither
    closed: str | None = None  # why it takes nothing at all for now, ready nodes neither: an operator's order
    paused: str | None = None  # why nothing may be launched now (quota error, stopping, cloud away)
    awaited: Collection[
        frozenset[str]
    ] = ()  # labels of each configured pool that is not registered (yet, or again)


def covering(labels: Iterable[str], pools: Iterable[Component]) -> list[Component]:
    """The registered pools that support all of `labels`."""
    wanted = frozenset(labels)
    return [p for p in pools if p.id and wanted <= frozenset(p.supported_labels)]


def judge(
    request: NodeRequest,
    pool: PoolFacts,
    candidates: Collection[Component],
    *,
    ready: Mapping[str, int],
    tenant: Resources,
    crowded: Collection[str] = (),
    ready_elsewhere: bool = False,
    spare: Mapping[str, int] = NOTHING_SPARE,
) -> Verdict:
    """What `pool` does about `request`.

    `candidates`: registered pools that cover its labels (this one included if it does). `ready`: nodes of this pool
    by label that it may have if it may reuse any; `spare`: those it may have in any case, as they are only being
    built. `tenant`: what its tenant may still have. `crowded`: labels for which an earlier request waits here.
    `ready_elsewhere`: another candidate could serve it from ready nodes alone.
    """
    skip = _not_my_turn(request, pool, candidates)
    if skip is not None:
        return skip
    refusal = _refusal(request, pool)
    if refusal is not None:
        return refusal
    return _fit(request, pool, ready if request.reuse else spare, tenant, crowded, ready_elsewhere)


def _not_my_turn(request: NodeRequest, pool: PoolFacts, candidates: Collection[Component]) -> Skip | None:
    if request.state is not RequestState.REQUESTED:
        return Skip("state")
    if pool.id in request.declined_by:
        return Skip("declined")
    open_to = [c for c in candidates if c.id not in request.declined_by]
    others = [c for c in open_to if c.id != pool.id]
    if request.provider:
        there = [c for c in open_to if c.provider_name == request.provider]
        if request.is_min_ready:  # where they are made is of no importance, and they wait behind everything
            there = [c for c in there if not c.paused]
        if there and request.provider != pool.provider:
            return Skip("pinned")
        if there:  # the others leave it to us, so we must not leave it to them
            others = [c for c in there if c.id != pool.id]
    if any(c.priority < pool.priority and not c.paused for c in others):
        return Skip("priority")
    if not all(label in pool.labels for label in request.labels):
        if others:
            return Skip("labels")
        if is_awaited(request, pool.awaited):
            return Skip("awaited")
    return None


def _refusal(request: NodeRequest, pool: PoolFacts) -> Decline | None:
    if pool.disabled:
        return Decline("disabled")
    for label in request.labels:
        if label not in pool.labels:
            return Decline("label")
    if not request.labels:
        return Decline("empty")
    if pool.only_ready and (request.is_min_ready or not request.reuse):
        return Decline("only-ready")
    if pool.closed:
        return None  # perhaps it is closed just to mend what else would be held against the request
    if any(pool.labels[label].broken for label in request.labels):
        return Decline("broken")
    needs = [pool.labels[label].need for label in request.labels]
    known = total(need for need in needs if need is not None)
    if short_of(known, pool.capacity.ceiling):
        return Decline("too-big")
    return None


def _fit(
    request: NodeRequest,
    pool: PoolFacts,
    ready: Mapping[str, int],
    tenant: Resources,
    crowded: Collection[str],
    ready_elsewhere: bool,
) -> Verdict:
    if pool.closed:
        return Defer(pool.closed)
    if pool.launching_forbidden:
        return Defer("max-concurrency")
    whole = total(pool.labels[label].need or {} for label in request.labels)
    if short_of(whole, tenant):
        return Defer("tenant")
    missing = to_launch(request.labels, ready)
    if pool.only_ready and any(label in crowded for label in request.labels):
        return Defer("behind")
    if not missing:
        return Take("ready")
    if pool.paused:
        return Defer(pool.paused)
    facts = [pool.labels[label] for label in missing]
    waiting = next((f.waiting or "cloud" for f in facts if f.waiting or f.need is None), None)
    if waiting:
        return Defer(waiting)
    if ready_elsewhere:
        return Skip("ready-elsewhere")
    if pool.launches_left <= 0:
        return Defer("max-concurrency")
    if any(label in crowded for label in missing):
        return Defer("behind")
    short = short_of(total(f.need or {} for f in facts), pool.capacity.available)
    if short:
        return Defer(f"quota-{short}")
    return Take("fits")


def keeps_room(request: NodeRequest, pool: PoolFacts, reason: str, *, now: float) -> bool:
    """Whether those behind `request`, which waits for `reason`, have to leave it what it waits for.

    Where nothing is launched, a request of several nodes lets others pass for a time: what it needs may never be free
    all at once otherwise, and nodes that are kept for it do nothing meanwhile. `now`: epoch seconds.
    """
    if pool.only_ready:
        since = request.created_time or request.state_time
        return reason == "capacity" and len(request.labels) > 1 and now - since >= pool.patience
    return reason.startswith(_FULL)


def to_launch(labels: Iterable[str], ready: Mapping[str, int]) -> list[str]:
    """The labels for which no ready node is left, in order, repeats kept."""
    left = dict(ready)
    missing = []
    for label in labels:
        if left.get(label, 0) > 0:
            left[label] -= 1
        else:
            missing.append(label)
    return missing


def awaited(offers: Mapping[tuple[str, str], frozenset[str]], snapshot: Snapshot) -> list[frozenset[str]]:
    """The labels of each pool that is configured but not registered.

    `offers`: labels by (provider, pool), of our own configuration; live peers announce those of theirs.
    """
    registered = {(pool.provider_name, pool.name) for pool in snapshot.pools()}
    found = [labels for place, labels in offers.items() if place not in registered]
    for peer in snapshot.peers():
        if peer.draining:
            continue
        for provider, pools in peer.offers.items():
            for pool, labels in pools.items() if isinstance(pools, Mapping) else ():
                if (provider, pool) not in registered and isinstance(labels, list | tuple):
                    found.append(frozenset(map(str, labels)))
    return found


def is_awaited(request: NodeRequest, awaited: Iterable[frozenset[str]]) -> bool:
    """Whether a pool that could serve it is configured, but not registered: its launcher is starting, or changing."""
    wanted = frozenset(request.labels)
    return any(wanted <= labels for labels in awaited)


def decline(
    request: NodeRequest,
    pool_ids: Iterable[str],
    registered: Iterable[str],
    *,
    at: float,
    awaited: Iterable[frozenset[str]] = (),
) -> NodeRequest:
    """`request` declined by `pool_ids`: failed when every registered pool has declined, else requested again.

    Where none is registered it waits (zookeeper.md 6.3): there is nobody who could not serve it. The same where one
    that could is `awaited`.
    """
    declined = dict.fromkeys((*request.declined_by, *pool_ids))
    voters = set(registered)
    failed = bool(voters) and voters <= declined.keys() and not is_awaited(request, awaited)
    state = RequestState.FAILED if failed else RequestState.REQUESTED
    return request.moved(state, at=at, declined_by=tuple(declined), nodes=())
