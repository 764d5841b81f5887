"""Amounts of what a quota limits.

A mapping from resource name to amount: `instances`, `cores`, `ram` (MiB), `volumes`, `volume-gb`,
`floating-ips`, `ports`, or any name an operator limits for a tenant. As a need or a use, an absent name
is 0; as a limit, an absent name is no limit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Resources = Mapping[str, float]

#: Above any real amount, and far below where sums of floats lose whole units.
_MOST = 1e15
#: Amounts this close are the same: sums of fractions, added and subtracted again, leave such remainders.
NOTHING = 1e-6


def counted(amounts: Mapping[str, Any] | None) -> dict[str, float]:
    """The amounts that make sense: foreign records hold anything, NaN, infinity and negative ones included."""
    return {
        name: value
        for name, value in (amounts or {}).items()
        if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < _MOST
    }


def total(amounts: Iterable[Resources]) -> dict[str, float]:
    """The sum, name by name, of what is `counted` of each."""
    result: dict[str, float] = {}
    for amount in amounts:
        for name, value in counted(amount).items():
            result[name] = result.get(name, 0) + value
    return result


def minus(limits: Resources, use: Resources) -> dict[str, float]:
    """What is left of each limit; negative where more is used than allowed."""
    return {name: limit - use.get(name, 0) for name, limit in limits.items()}


def short_of(need: Resources, available: Resources) -> str | None:
    """The name of the first resource of which `available` has less than `need`, or None if it fits."""
    for name in sorted(need):
        if need[name] > 0 and name in available and need[name] > available[name] + NOTHING:
            return name
    return None


def tightest(limits: Iterable[Resources]) -> dict[str, float]:
    """For each name the smallest of the limits that have it."""
    result: dict[str, float] = {}
    for limit in limits:
        for name, value in limit.items():
            result[name] = min(value, result.get(name, value))
    return result
