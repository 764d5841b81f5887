"""Bytes per second, shared by whoever sends: each asks before a block, and waits until its turn.

Time that nobody used is not saved up but for a short burst, so that a pause is never followed by a flood. Turns go in
the order of asking: those who share a limit get equal parts of it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from poolmgr.runtime.clock import Clock

#: Seconds of unused time that may be made up for: what it costs a sender to come back for the next block.
BURST = 0.25


class Pace:
    """One limit. Thread-safe. `rate` says how many bytes a second may go, 0: any number; it is asked each time."""

    def __init__(self, rate: Callable[[], float], clock: Clock) -> None:
        self._rate = rate
        self._clock = clock
        self._lock = threading.Lock()
        self._free_at = clock.monotonic()  # when all that was taken so far is on its way

    def take(self, count: int) -> float:
        """When these bytes may go, in monotonic seconds; they count as gone from then on."""
        rate, now = self._rate(), self._clock.monotonic()
        with self._lock:
            begin = max(self._free_at, now - BURST)
            if rate <= 0:
                self._free_at = now  # what was taken under a limit before does not hold up anyone any more
                return now
            self._free_at = begin + count / rate
            return begin


def pacing(paces: Iterable[Pace], clock: Clock, ended: threading.Event) -> Callable[[int], None]:
    """What waits until a number of bytes may go by all of `paces`, or until `ended` is set."""
    limits = tuple(paces)

    def wait(count: int) -> None:
        pause = max((pace.take(count) for pace in limits), default=0.0) - clock.monotonic()
        if pause > 0:
            clock.wait(ended, pause)

    return wait
