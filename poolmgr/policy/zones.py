"""In which zone a server is made, and how long one that had no room is left alone (cloud.md 3.3, 3.18).

What has no room is a flavor in a zone. Zone None is the cloud's own choice, where it has none or we may not see them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from poolmgr.policy.growth import doubling
from poolmgr.policy.tuning import Tuning


@dataclass(frozen=True, kw_only=True, slots=True)
class Shortage:
    """A flavor for which a zone had no room. `until`: monotonic seconds; nothing new is tried before."""

    failures: int = 0  # in a row
    until: float = 0.0


def no_room(known: Shortage | None, *, now: float, tuning: Tuning) -> Shortage:
    """The shortage after one more failure. Those of servers that were asked for together count once."""
    if known is not None and now < known.until:
        return known
    failures = known.failures + 1 if known else 1
    pause = doubling(tuning.capacity_cooldown, failures - 1, tuning.capacity_cooldown_max)
    return Shortage(failures=failures, until=now + pause)


def in_turn(zones: Sequence[str], turn: int, full: Collection[str | None]) -> tuple[str, ...]:
    """`zones` round robin, beginning with number `turn`, those that are `full` last."""
    if not zones:
        return ()
    start = turn % len(zones)
    ring = (*zones[start:], *zones[:start])
    return (*(z for z in ring if z not in full), *(z for z in ring if z in full))


class Next(NamedTuple):
    zone: str | None
    untried: bool  # this launch has not been there, so the attempt before it need not count


def next_zone(
    zones: Sequence[str], here: str | None, *, tried: Collection[str | None], full: Collection[str | None]
) -> Next:
    """Where to try after `here` had no room: the next zone that was not tried, else the next one round and round.

    Zones known to be full are left out as long as there are others.
    """
    if here not in zones or len(zones) < 2:
        return Next(here, untried=False)
    others = in_turn(zones, zones.index(here) + 1, {*full, here})
    fresh = [zone for zone in others if zone not in tried and zone not in full and zone != here]
    return Next(fresh[0], untried=True) if fresh else Next(others[0], untried=False)
