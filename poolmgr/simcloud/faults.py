"""What goes wrong in a pretend cloud, by chance or by script.

A fault names what it hits: calls whose operation (`compute.POST.servers`, as metrics.md 5 names them) and
subject (a server's name; an id for calls on something that exists) match its patterns. Of the matching calls it
lets `skip` pass, then strikes each with `probability`, at most `times` times. So `probability: 0.02` is bad
weather, and `skip: 2, times: 1` is a script: the third call fails. fault_kinds.py has the table of what there is.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

from poolmgr.simcloud.fault_kinds import KINDS, FaultKind
from poolmgr.simcloud.fault_texts import TEXTS, Text

__all__ = ["ENVELOPES", "HEADERS", "NO_TROUBLE", "Fault", "FaultKind", "Faults", "Trouble"]

HEADERS = ("seconds", "date", "none")
ENVELOPES = ("service", "gateway", "faultstring", "html", "text")
_NO_TEXT = Text(message="", status=0)


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One planned misbehaviour. `operations` () stands for those of the kind's row in fault_kinds.py."""

    kind: FaultKind
    operations: tuple[str, ...] = ()  # shell patterns, any of them
    name: str = "*"  # shell pattern
    probability: float = 1.0
    skip: int = 0
    times: int | None = None  # None: as often as it matches
    seconds: float | None = None  # None: the kind's default
    retry_after: float | None = None
    header: str = "seconds"  # how Retry-After is written: seconds, date, or none
    status: int = 0  # 0: the kind's default
    message: str = ""  # "": the words of `text`, else the kind's usual ones
    text: str = ""  # a name of fault_texts.TEXTS; of a refusal it sets the status too
    envelope: str = "service"  # of a refusal: the service's own, or what a gateway or an old release sends
    after_bytes: int | None = (
        None  # of an upload: it strikes when so many bytes have come; None: when all have
    )

    def __post_init__(self) -> None:
        text = TEXTS.get(self.text, _NO_TEXT)
        object.__setattr__(self, "status", self.status or text.status or KINDS[self.kind].status)
        object.__setattr__(self, "message", self.message or text.message)

    @property
    def delay(self) -> float:
        return KINDS[self.kind].seconds if self.seconds is None else self.seconds

    @property
    def refusal_kind(self) -> str:
        return TEXTS.get(self.text, _NO_TEXT).kind

    @property
    def words(self) -> str:
        return self.message or KINDS[self.kind].message

    def hits(self, operation: str, name: str, detail: str = "") -> bool:
        """Whether a call is one that it is about."""
        patterns = self.operations or KINDS[self.kind].operations
        if not fnmatchcase(name, self.name):
            return False
        if not patterns:
            return not operation.startswith("identity.")
        called = (operation, f"{operation}:{detail}") if detail else (operation,)
        return any(fnmatchcase(c, p) for c in called for p in patterns)


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

    def strike(self, operation: str, name: str = "", detail: str = "") -> Trouble:
        """What befalls this call; counts it against every fault that it matches.

        `detail` tells apart calls of one operation, such as actions of servers by their name.
        """
        if not self._planned:
            return NO_TROUBLE
        hit = [p for p in self._planned if p.fault.hits(operation, name, detail)]
        faults = {p.fault.kind: p.fault for p in hit if self._strikes(p)}
        return Trouble(faults=faults) if faults else NO_TROUBLE

    def _strikes(self, planned: _Planned) -> bool:
        fault = planned.fault
        planned.seen += 1
        if planned.seen <= fault.skip or (fault.times is not None and planned.struck >= fault.times):
            return False
        if fault.probability < 1.0 and self._rng.random() >= fault.probability:
            return False
        planned.struck += 1
        return True
