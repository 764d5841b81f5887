"""How long a request may hold ready nodes while there is no room for its others (`idle-hold`).

A request is only taken where all of it fits, but the cloud may refuse some of it all the same: its quota is shared, or
was lowered. What it has would then stand idle, and two such requests could wait for each other for ever. So it is given
back, not declined: whoever waits may have its nodes, and what nobody wants makes room. Of several that hold a part the
one of the best rank waits twice as long as the others, so that it gets what they let go; all pause before they are
taken here again, longer each time, the others longer than it.

Where the cloud itself is away a request is given back as well, if another provider could serve it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from poolmgr.model.node import Node, NodeState
from poolmgr.model.request import NodeRequest, RequestState
from poolmgr.model.resources import NOTHING, Resources, counted, short_of
from poolmgr.model.snapshot import Snapshot
from poolmgr.policy.growth import doubling

#: The longest pause of a request that was given back, in times of `idle-hold`.
MOST_PAUSE = 4.0


@dataclass(frozen=True, slots=True)
class GiveBack:
    """Let it go; it is not taken here again for `pause` seconds."""

    pause: float
    reason: str = "idle-hold"


def may_hold(*, idle_hold: float, has_rival: bool) -> float:
    """Seconds for which a request may hold ready nodes in vain."""
    return idle_hold / 2 if has_rival else idle_hold


def judge_hold(idle: float, *, idle_hold: float, has_rival: bool, times: int) -> GiveBack | None:
    """Whether a request that has held ready nodes in vain for `idle` seconds is to be given back; None: not yet.

    `has_rival`: another one of better rank holds a part. `times`: how often this one was given back before.
    """
    if idle < may_hold(idle_hold=idle_hold, has_rival=has_rival):
        return None
    first = idle_hold / 2 if has_rival else idle_hold / 8
    return GiveBack(doubling(first, times, MOST_PAUSE * idle_hold))


def judge_outage(away: float, *, begun: bool, idle_hold: float) -> str | None:
    """Whether a request that others could serve is to be given back, as our cloud is `away` (seconds); None: not yet.

    `begun`: the cloud has begun something for it, which may well come to an end when the cloud is back.
    """
    return "cloud" if not begun or away >= idle_hold else None


def has_rival(request: NodeRequest, snapshot: Snapshot) -> bool:
    """Whether a pending request of better rank, of anyone, holds ready nodes but not all it wants."""
    return any(
        other.rank < request.rank and len(other.labels) > 1 and _holds_a_part(other, snapshot)
        for other in snapshot.requests(RequestState.PENDING)
    )


def _holds_a_part(request: NodeRequest, snapshot: Snapshot) -> bool:
    ready = sum(node.state is NodeState.READY for node in snapshot.nodes_for(request.id))
    return 0 < ready < len(request.labels)


def room_by(
    need: Resources,
    available: Resources,
    going: Resources,
    free: Iterable[Node],
    *,
    taken_by: Callable[[Node], Resources] = lambda node: counted(node.resources),
) -> list[Node]:
    """The `free` ready nodes that must go so that `need` fits, those to go first in front; none if they cannot help.

    `going`: what nodes that are being deleted will leave; while that is enough nothing else goes. `taken_by` tells what
    a node will.
    """
    left = _plus(available, going)
    doomed: list[Node] = []
    for node in free:
        if short_of(need, left) is None:
            return doomed
        gain = taken_by(node)
        if any(gain.get(name, 0) > NOTHING for name in need if need[name] > left.get(name, float("inf"))):
            doomed.append(node)
            left = _plus(left, gain)
    return doomed if short_of(need, left) is None else []


def _plus(limits: Resources, gain: Mapping[str, float]) -> dict[str, float]:
    return {name: limit + gain.get(name, 0) for name, limit in limits.items()}
