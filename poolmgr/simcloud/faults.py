"""What goes wrong in a pretend cloud, by chance or by script.

A fault names what it hits: calls whose operation (`compute.POST.servers`, as metrics.md 5 names them) and
subject (a server's name; an id for calls on something that exists) match its patterns. Of the matching calls it
lets `skip` pass, then strikes each with `probability`, at most `times` times. So `probability: 0.02` is bad
weather, and `skip: 2, times: 1` is a script: the third call fails.
"""

from __future__ import annotations

import enum
import random
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase


class FaultKind(enum.Enum):
    """The faults; the first group spoils the conversation, the second what the cloud does."""

    HTTP_500 = "http-500"
    HTTP_503 = "http-503"  # with Retry-After when `retry_after` is set
    THROTTLE = "throttle"  # 429
    DROP = "drop"  # the connection is closed instead of an answer; nothing was done
    HANG = "hang"  # no answer for `seconds` (an hour), then the connection closes; nothing was done
    SLOW = "slow"  # the answer takes `seconds` (5) longer
    LOST_ANSWER = (
        "lost-answer"  # it was done, but the connection closes, after `seconds` (0), without an answer
    )
    EXPIRED_TOKEN = "expired-token"  # the call's token is no longer valid: 401
    GARBAGE = "garbage"  # 200 with an HTML page
    REFUSE = "refuse"  # `status` (409) with `message`
    STALE_LIST = "stale-list"  # a list of servers as it was `seconds` (5) ago

    QUOTA = "quota"  # 403 of Nova, 409 of Neutron
    NO_VALID_HOST = "no-valid-host"  # the server goes to ERROR, scheduling failed
    ERROR_SERVER = "error-server"  # the server goes to ERROR instead of ACTIVE, with `message` as its fault
    STUCK_BUILD = "stuck-build"  # the server stays in BUILD
    NO_ADDRESS = "no-address"  # ACTIVE, but without addresses
    NO_SSH = "no-ssh"  # ACTIVE, but nothing answers on it
    IGNORED_DELETE = "ignored-delete"  # 204, and nothing happens
    ERROR_DELETE = "error-delete"  # accepted; the server goes to ERROR and stays
    LEAKED_PORT = "leaked-port"  # the server goes, its ports stay, DOWN
    FAILED_TASK = "failed-task"  # a Glance task ends in failure, with `message`


_DEFAULT_OPERATIONS: dict[FaultKind, tuple[str, ...]] = {
    FaultKind.STALE_LIST: ("compute.GET.servers_detail", "compute.GET.servers"),
    FaultKind.QUOTA: ("compute.POST.servers",),
    FaultKind.NO_VALID_HOST: ("compute.POST.servers",),
    FaultKind.ERROR_SERVER: ("compute.POST.servers",),
    FaultKind.STUCK_BUILD: ("compute.POST.servers",),
    FaultKind.NO_ADDRESS: ("compute.POST.servers",),
    FaultKind.NO_SSH: ("compute.POST.servers",),
    FaultKind.LOST_ANSWER: ("compute.POST.servers",),
    FaultKind.IGNORED_DELETE: ("compute.DELETE.server",),
    FaultKind.ERROR_DELETE: ("compute.DELETE.server",),
    FaultKind.LEAKED_PORT: ("compute.DELETE.server",),
    FaultKind.FAILED_TASK: ("image.POST.tasks",),
}

_SECONDS = {FaultKind.HANG: 3600.0, FaultKind.SLOW: 5.0, FaultKind.STALE_LIST: 5.0}


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One planned misbehaviour. `operations` () stands for the kind's usual ones, else all but `identity.*`."""

    kind: FaultKind
    operations: tuple[str, ...] = ()  # shell patterns, any of them
    name: str = "*"  # shell pattern
    probability: float = 1.0
    skip: int = 0
    times: int | None = None  # None: as often as it matches
    seconds: float | None = None  # None: the kind's default
    retry_after: float | None = None
    status: int = 409  # of REFUSE
    message: str = ""  # "": the kind's usual words

    @property
    def delay(self) -> float:
        return _SECONDS.get(self.kind, 0.0) if self.seconds is None else self.seconds

    def hits(self, operation: str, name: str) -> bool:
        """Whether a call is one that it is about."""
        patterns = self.operations or _DEFAULT_OPERATIONS.get(self.kind, ())
        if not patterns:
            return not operation.startswith("identity.") and fnmatchcase(name, self.name)
        return any(fnmatchcase(operation, p) for p in patterns) and fnmatchcase(name, self.name)


@dataclass(slots=True)
class _Planned:
    fault: Fault
    seen: int = 0
    struck: int = 0


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """The faults that strike one call."""

    faults: dict[FaultKind, Fault] = field(default_factory=dict)

    def of(self, kind: FaultKind) -> Fault | None:
        return self.faults.get(kind)

    def without(self, kind: FaultKind) -> Trouble:
        return replace(self, faults={k: f for k, f in self.faults.items() if k is not kind})


NO_TROUBLE = Trouble()


class Faults:
    """The faults of one cloud, and how often each has struck."""

    def __init__(self, faults: Iterable[Fault], rng: random.Random) -> None:
        self._rng = rng
        self._planned = [_Planned(fault) for fault in faults]

    def add(self, fault: Fault) -> None:
        self._planned.append(_Planned(fault))

    def clear(self) -> None:
        self._planned.clear()

    def struck(self) -> dict[str, int]:
        """How often each kind of fault has struck since it was planned."""
        counts: dict[str, int] = {}
        for planned in self._planned:
            kind = planned.fault.kind.value
            counts[kind] = counts.get(kind, 0) + planned.struck
        return counts

    def strike(self, operation: str, name: str = "") -> Trouble:
        """What befalls this call; counts it against every fault that it matches."""
        if not self._planned:
            return NO_TROUBLE
        faults = {p.fault.kind: p.fault for p in self._planned if self._strikes(p, operation, name)}
        return Trouble(faults=faults) if faults else NO_TROUBLE

    def _strikes(self, planned: _Planned, operation: str, name: str) -> bool:
        fault = planned.fault
        if not fault.hits(operation, name):
            return False
        planned.seen += 1
        if planned.seen <= fault.skip or (fault.times is not None and planned.struck >= fault.times):
            return False
        if fault.probability < 1.0 and self._rng.random() >= fault.probability:
            return False
        planned.struck += 1
        return True
