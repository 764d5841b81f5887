"""One call at a later time, on a thread of its own, that may be put off, brought forward or given up."""

from __future__ import annotations

import threading
from collections.abc import Callable

from poolmgr.runtime.clock import Clock
from poolmgr.runtime.worker import Worker

_LONG = 86400.0


class Alarm:
    """Calls `ring` when the time that was set has come; once each time it was set. Thread-safe."""

    def __init__(self, name: str, ring: Callable[[], None], clock: Clock) -> None:
        self._ring = ring
        self._clock = clock
        self._lock = threading.Lock()  # of all below
        self._due: float | None = None  # monotonic; None: not set
        self._worker = Worker(name, self.cycle, clock)
        self._started = False

    def set(self, seconds: float) -> None:
        """Ring so many seconds from now, instead of any time that was set before."""
        with self._lock:
            self._due = self._clock.monotonic() + seconds
            if not self._started:
                self._started = True
                self._worker.start()
        self._worker.wake.set()

    def stop(self) -> None:
        """Ring no more."""
        with self._lock:
            self._due = None
        self._worker.stop()

    def cycle(self) -> float:
        """Ring if it is time; returns the seconds until it may be."""
        with self._lock:
            if self._due is None:
                return _LONG
            left = self._due - self._clock.monotonic()
            if left > 0:
                return left
            self._due = None
        self._ring()
        return 0.0
