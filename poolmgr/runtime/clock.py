"""Time, as an argument. Monotonic seconds for durations in this process, epoch seconds for what is stored."""

from __future__ import annotations

import threading
import time
from typing import Protocol


class Clock(Protocol):
    def time(self) -> float:
        """Seconds since the epoch (UTC)."""

    def monotonic(self) -> float:
        """Seconds that never run backwards, for durations inside this process."""

    def wait(self, event: threading.Event, seconds: float) -> None:
        """Return once `event` is set or `seconds` have passed."""


class SystemClock:
    """The machine's clocks."""

    def time(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def wait(self, event: threading.Event, seconds: float) -> None:
        event.wait(min(max(0.0, seconds), threading.TIMEOUT_MAX))  # it refuses infinity
