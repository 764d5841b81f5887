"""What will happen in a pretend cloud, in order of time.

Nothing runs by itself: whoever asks the cloud something first lets everything that is due happen. So a test
with its own clock and a server in real time see the same world.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count


class Timeline:
    """Planned events; those of one instant happen in the order in which they were planned."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._time = now()  # of the event that is happening, else of the last look
        self._order = count()
        self._events: list[tuple[float, int, Callable[[], None]]] = []

    @property
    def time(self) -> float:
        """Seconds since the epoch: the planned time of the event at work, not the time of the look at it."""
        return self._time

    @property
    def next_at(self) -> float | None:
        """When the next event is due; None if none is planned."""
        return self._events[0][0] if self._events else None

    def after(self, seconds: float, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self._time + seconds, next(self._order), event))

    def settle(self) -> float:
        """Let everything happen that is due; returns the time."""
        now = self._now()
        while self._events and self._events[0][0] <= now:
            at, _, event = heapq.heappop(self._events)
            self._time = max(self._time, at)
            event()
        self._time = max(self._time, now)  # a clock set back stops the world, it does not rewind it
        return self._time
