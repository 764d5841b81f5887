"""How many calls come when: what a rate limit lets through, and what was counted second by second."""

from __future__ import annotations

from collections import Counter

from poolmgr.simcloud.settings import RateLimit

_SECONDS = 3600  # remembered


class Bucket:
    """A token bucket: how long a caller must wait, 0 when it may go on."""

    def __init__(self, limit: RateLimit, at: float) -> None:
        self.limit = limit
        self._tokens, self._at = limit.burst, at

    def wait(self, at: float) -> float:
        self._tokens = min(self.limit.burst, self._tokens + max(0.0, at - self._at) * self.limit.rate)
        self._at = max(self._at, at)
        if self._tokens >= 1:
            self._tokens -= 1
            return 0.0
        return (1 - self._tokens) / self.limit.rate


class Traffic:
    """Calls of each second of the cloud's time, by service; refused ones count too."""

    def __init__(self) -> None:
        self._seconds: dict[int, Counter[str]] = {}

    def note(self, operation: str, at: float) -> None:
        second = int(at)
        if second not in self._seconds:
            self._seconds[second] = Counter()
            if len(self._seconds) > _SECONDS:
                del self._seconds[next(iter(self._seconds))]
        self._seconds[second][operation.partition(".")[0]] += 1

    def by_second(self) -> dict[int, dict[str, int]]:
        """Second since the epoch -> service -> calls; seconds without calls are left out."""
        return {second: dict(counts) for second, counts in self._seconds.items()}

    def most(self) -> dict[str, int]:
        """The most calls that each service got within one second."""
        most: Counter[str] = Counter()
        for counts in self._seconds.values():
            most |= counts
        return dict(most)
