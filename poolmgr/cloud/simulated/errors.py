"""What goes wrong with a call to a pretend cloud, as our errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from poolmgr.errors import (
    AuthFailed,
    CloudError,
    CloudUnavailable,
    ImageGone,
    NoCapacity,
    NotFound,
    NotSupported,
    OutcomeUnknown,
    OverQuota,
    Rejected,
    Throttled,
)
from poolmgr.simcloud import world as sim

_UNANSWERED = (
    sim.FaultKind.HTTP_500,
    sim.FaultKind.HTTP_503,
    sim.FaultKind.DROP,
    sim.FaultKind.HANG,
    sim.FaultKind.GARBAGE,
)


def no_answer(operation: str, *, creates: bool) -> CloudError:
    error = OutcomeUnknown if creates else CloudUnavailable
    return error(f"no answer to {operation}")


def raise_unanswered(trouble: sim.Trouble, wait: float, *, creates: bool, operation: str) -> None:
    """The faults that keep a call from being carried out. `wait`: seconds until the cloud takes another call."""
    if wait:
        raise Throttled(f"{operation}: too many calls", retry_after=wait)
    if fault := trouble.of(sim.FaultKind.THROTTLE):
        raise Throttled(f"{operation}: too many calls", retry_after=fault.retry_after)
    if any(trouble.of(kind) for kind in _UNANSWERED):
        raise no_answer(operation, creates=creates)
    if fault := trouble.of(sim.FaultKind.REFUSE):
        raise _error_of(sim.Refusal(fault.status, fault.message or "Conflict"))


@contextmanager
def translated() -> Iterator[None]:
    try:
        yield
    except sim.Refusal as refusal:
        raise _error_of(refusal) from refusal


def _error_of(refusal: sim.Refusal) -> CloudError:
    """The leaf for a refusal, as cloud.md 3.18 sorts them."""
    text = f"{refusal.kind} {refusal.message}".lower()
    rules: tuple[tuple[bool, type[CloudError]], ...] = (
        (refusal.status == 401, AuthFailed),
        (refusal.status == 429, Throttled),
        ("quota" in text or "limitexceeded" in text, OverQuota),
        ("exhausted" in text or "ipaddressgenerationfailure" in text, NoCapacity),
        ("no valid host" in text, NoCapacity),
        ("requested image" in text, ImageGone),
        (refusal.status == 404, NotFound),
        (refusal.status == 501, NotSupported),
        (refusal.status >= 500, CloudUnavailable),
    )
    leaf: Any = next((leaf for holds, leaf in rules if holds), Rejected)
    return leaf(refusal.message)  # type: ignore[no-any-return]
