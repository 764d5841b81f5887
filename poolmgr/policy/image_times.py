"""Times in records of builds and uploads, which clocks of other machines wrote and which may be wrong.

`state_time` alone orders records for everybody, launchers and Nodepool's programs too. A record from the future would
be the newest for years: so whoever makes one READY gives it a time after all others (`ready_time`), and whoever asks
how old one is takes no time from the future for an answer (`ended_at`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from poolmgr.model.image import Build, Upload

R = TypeVar("R", Build, Upload)

_TICK = 0.001  # seconds; floats of this size still tell them apart


def ended_at(record: Build | Upload, now: float, skew: float) -> float | None:
    """When `record` came into its state, in epoch seconds; None if its times are all more than `skew` after `now`."""
    if record.state_time <= now + skew:
        return record.state_time
    if record.started is None:
        return None
    ended = record.started + (record.duration or 0.0)
    return ended if ended <= now + skew else None


def newest(records: Iterable[R], now: float, skew: float) -> R | None:
    """The one that came last into its state; those from the future count as the oldest."""
    return max(records, key=lambda record: _order(record, now, skew), default=None)


def in_order(records: Iterable[R], now: float, skew: float) -> list[R]:
    """`records`, the newest last."""
    return sorted(records, key=lambda record: _order(record, now, skew))


def _order(record: Build | Upload, now: float, skew: float) -> tuple[float, float, str]:
    ended = ended_at(record, now, skew)
    return (float("-inf") if ended is None else ended, record.state_time, record.id)


def ready_time(others: Iterable[Build | Upload], now: float) -> float:
    """The `state_time` of a record that becomes READY now, beside `others` that are: later than all of theirs."""
    return max(now, *(other.state_time + _TICK for other in others), now)
