"""Which nodes min-ready is short of, over the whole fleet, and where they are to be made (launcher.md 8).

One launcher makes the requests for all (`launcher.supply`). What it counts are facts that everyone shares, so that
another one can go on where it ended: free ready nodes, nodes being built for nobody, and min-ready requests of anyone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from poolmgr.config.settings import Label
from poolmgr.model.fleet import Peer
from poolmgr.model.node import Node
from poolmgr.model.request import NodeRequest, RequestState
from poolmgr.model.resources import Resources, minus
from poolmgr.model.snapshot import Snapshot
from poolmgr.policy.growth import doubling

#: The most requests of a label that wait to be taken at a time. More would only lengthen everyone's queue.
WAVE = 10
#: After a min-ready request failed there is none for its label for so long, in seconds; doubles.
FAILED_PAUSE = 30.0
FAILED_PAUSE_MAX = 600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Outlook:
    """What is to be expected of a pool that offers a label."""

    provider: str
    pool: str
    priority: int = 100  # lower is preferred
    free: float = float("inf")  # servers it may have yet, as far as its own limits tell
    nodes: int = 0  # that it has
    shut: bool = False  # something waits there for room, or it has just declined such a request


def demand(labels: Iterable[Label], peers: Iterable[Peer]) -> dict[str, int]:
    """How many ready nodes of each label the fleet wants: the most that any live launcher's configuration says."""
    wanted = {label.name: label.min_ready for label in labels if label.min_ready > 0}
    for peer in peers:
        if not peer.draining:
            for name, count in peer.min_ready.items():
                wanted[name] = max(count, wanted.get(name, 0))
    return wanted


def shortfalls(
    wanted: Mapping[str, int], snapshot: Snapshot, *, besides: Collection[str] = ()
) -> dict[str, int]:
    """How many nodes each label lacks; labels that lack nothing are left out. `wanted`: by label, as of `demand`.

    Counted as there, or coming, but for the ids `besides`: free ready nodes; nodes being built that no request
    wants, if someone goes on with them; min-ready requests of anyone, whatever their state. One that failed counts
    until its maker has dealt with it, which keeps a full pool from churning. A node whose request is gone counts as
    free already: of the two writes that end a min-ready request we may see the second one first (zookeeper.md 15.9).
    Labels that no registered pool offers are left out.
    """
    if not wanted:
        return {}
    coming = Counter(r.labels[0] for r in snapshot.requests() if r.is_min_ready and len(r.labels) == 1)
    coming.update(label for node in snapshot.orphans() for label in set(node.labels))
    served = {
        pool.provider_name for pool in snapshot.pools()
    }  # whose owner goes on with what another one began
    served.update(name for peer in snapshot.peers() for name in peer.providers)
    coming.update(
        node.label
        for node in snapshot.strays()
        if node.id not in besides and (snapshot.node_locked(node.id) or node.provider in served)
    )
    offered = {label for pool in snapshot.pools() for label in pool.supported_labels}
    missing = {
        name: count - sum(node.id not in besides for node in snapshot.ready(name)) - coming[name]
        for name, count in wanted.items()
        if name in offered
    }
    return {name: count for name, count in missing.items() if count > 0}


def kept(spares: Iterable[Node], wanted: Mapping[str, int], snapshot: Snapshot) -> set[str]:
    """The ids of those `spares` (free, or being built for nobody) that min-ready would have made anew.

    `spares` in order of preference; the others had better go.
    """
    spares = list(spares)
    missing = shortfalls(wanted, snapshot, besides={node.id for node in spares})
    keep = set()
    for node in spares:
        if missing.get(node.label, 0) > 0:
            missing[node.label] -= 1
            keep.add(node.id)
    return keep


def outlooks(label: str, snapshot: Snapshot, limits: Mapping[tuple[str, str], Resources]) -> list[Outlook]:
    """The registered pools that offer `label`. `limits`: of (provider, pool), those that are known."""
    asked = [r for r in snapshot.requests() if r.is_min_ready]
    declined = {pool_id for r in asked if label in r.labels for pool_id in r.declined_by}
    untaken = Counter(r.provider for r in asked if r.state is RequestState.REQUESTED)
    found = []
    for pool in snapshot.pools():
        if label not in pool.supported_labels:
            continue
        provider, name = pool.provider_name or "", pool.name or ""
        use = snapshot.use(provider, name)
        left = minus(limits.get((provider, name), {}), use)
        free = left.get("instances", float("inf")) if all(amount > 0 for amount in left.values()) else 0.0
        found.append(
            Outlook(
                provider=provider,
                pool=name,
                priority=pool.priority,
                free=free - untaken[provider],
                nodes=int(use.get("instances", 0)) + untaken[provider],
                shut=pool.paused or pool.id in declined,
            )
        )
    return found


def spread(count: int, pools: Iterable[Outlook], *, waiting: int, probing: bool = False) -> list[str | None]:
    """For each request to make now, the provider it is for; None leaves it to whoever has room.

    The pools of the best priority that have room share them by what they have left, those without limits by what
    they have. `count` are missing, `waiting` requests of the label were not taken yet. Where no pool has room, one
    request waits for any to have some. `probing`: the last one failed, so one is enough to try.
    """
    left = [pool for pool in pools if not pool.shut and pool.free >= 1]
    count = min(count, (1 if probing else WAVE) - waiting)
    chosen: list[str | None] = []
    while len(chosen) < count and left:
        best = min(left, key=_preference)
        chosen.append(best.provider)
        left.remove(best)
        after = replace(best, free=best.free - 1, nodes=best.nodes + 1)
        if after.free >= 1:
            left.append(after)
    if count > 0 and not chosen and not waiting:
        chosen.append(None)
    return chosen


def _preference(pool: Outlook) -> tuple[object, ...]:
    return pool.priority, -pool.free, pool.nodes, pool.provider, pool.pool


def failed_pause(failures: int) -> float:
    """Seconds without a request for a label after so many rounds of them failed."""
    return doubling(FAILED_PAUSE, failures - 1, FAILED_PAUSE_MAX)


def is_settled(request: NodeRequest) -> bool:
    """Whether it has run its course, so that its maker has to deal with it."""
    return request.state in (RequestState.FULFILLED, RequestState.FAILED)
