"""What trials of fresh images have left behind when their process was killed: a narrower question than `leftovers`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from poolmgr.model.server import FloatingIp, Port, Server, Volume
from poolmgr.model.trial import trial_of
from poolmgr.policy.leftovers import GRACE, Leftovers

_Thing = TypeVar("_Thing", Server, FloatingIp, Port, Volume)


def left_by_trials(
    found: Leftovers, *, provider: str, deployment: str, now: float, grace: float = GRACE
) -> Leftovers:
    """Those of `found` that trials of this provider and installation made, whose time is over. `now`: epoch seconds."""

    def ours(things: Iterable[_Thing]) -> tuple[_Thing, ...]:
        return tuple(thing for thing in things if over(thing))

    def over(thing: Server | FloatingIp | Port | Volume) -> bool:
        owner, trial = thing.owner, trial_of(thing.owner)
        if owner is None or trial is None or now <= trial.until + grace:
            return False
        return (owner.provider, trial.deployment) == (provider, deployment)

    return Leftovers(
        servers=ours(found.servers),
        floating_ips=ours(found.floating_ips),
        ports=ours(found.ports),
        volumes=ours(found.volumes),
    )
