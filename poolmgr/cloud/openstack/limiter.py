"""How fast we may call a cloud: a token bucket for the provider, and a lane for each of its services.

The bucket spaces calls `interval` seconds apart and lets a burst of two pass; idle time is not saved up beyond
that. A lane is one service's own pace: where the cloud answers "too many requests", the lane stands still for
as long as the cloud says, goes on at half the pace, and recovers slowly. Tokens and version documents wait
like every other call (service `identity`).

A call is given its slot when it asks, so callers are served in order; one that would have to wait longer than
`max_wait` is refused at once with Throttled instead of holding a thread.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass

from poolmgr.errors import CloudUnavailable, Throttled
from poolmgr.runtime.clock import Clock

BURST = 2
FIRST_PAUSE = 2.0  # seconds, where a refusal does not say how long
LONGEST_PAUSE = 60.0
SLOWEST_INTERVAL = 2.0  # seconds between calls of a service that keeps refusing
RECOVERY = 0.9  # each answered call shortens the extra interval to this part


@dataclass(slots=True)
class _Bucket:
    """Times of the next free slot; `interval` 0 means no limit."""

    interval: float
    burst: int = 1
    due: float = float("-inf")  # when the next slot would be due if slots were used evenly

    def slot(self, now: float) -> float:
        """When a call that asks now may go."""
        return max(now, self.due - (self.burst - 1) * self.interval)

    def take(self, now: float) -> None:
        self.due = max(now, self.due) + self.interval


@dataclass(slots=True)
class _Lane:
    own: _Bucket  # the service's `rate_limit` of clouds.yaml
    slow: _Bucket  # what its refusals taught us
    paused_until: float = float("-inf")
    refusals: int = 0  # in a row


class RateLimiter:
    """`interval` seconds between the calls of one provider, 0 for no limit; thread-safe.

    `service_intervals` are further limits by service, in seconds between calls.
    """

    def __init__(
        self,
        interval: float,
        clock: Clock,
        *,
        service_intervals: Mapping[str, float] | None = None,
        max_wait: float = 30.0,
    ) -> None:
        self._clock = clock
        self._bucket = _Bucket(interval, BURST)
        self._service_intervals = dict(service_intervals or {})
        self._max_wait = max_wait
        self._lanes: dict[str, _Lane] = {}
        self._lock = threading.Lock()
        self.closed = threading.Event()  # ends every wait

    def acquire(self, service: str) -> None:
        """Return when a call to `service` may be sent.

        Raises Throttled if that is more than `max_wait` seconds away, CloudUnavailable once closed.
        """
        slot = self._reserve(service)
        while not self.closed.is_set():
            now = self._clock.monotonic()
            if now < slot:
                self._clock.wait(self.closed, slot - now)
            elif now < self._paused_until(service):
                slot = self._reserve(service)  # refused while we waited: queue again behind the pause
            else:
                return
        raise CloudUnavailable("the provider was stopped")

    def pause(self, service: str, seconds: float | None) -> float:
        """The cloud refused a call as one too many: hold all calls to `service`.

        `seconds` is what the cloud asked for, None where it did not say. Returns the seconds it will be.
        """
        with self._lock:
            lane = self._lane(service)
            pause = min(FIRST_PAUSE * 2**lane.refusals, LONGEST_PAUSE) if seconds is None else seconds
            now = self._clock.monotonic()
            fresh = now >= lane.paused_until  # refusals of calls already under way are one event
            lane.paused_until = max(lane.paused_until, now + pause)
            if fresh:
                lane.refusals += 1
                pace = max(self._bucket.interval, lane.own.interval, lane.slow.interval, 0.05)
                lane.slow.interval = min(2 * pace, max(SLOWEST_INTERVAL, 2 * self._bucket.interval))
            return pause

    def answered(self, service: str) -> None:
        """The cloud answered a call without complaint."""
        with self._lock:
            lane = self._lane(service)
            lane.refusals = 0
            lane.slow.interval *= RECOVERY
            if lane.slow.interval < 0.01:
                lane.slow.interval = 0.0

    def close(self) -> None:
        self.closed.set()

    def _reserve(self, service: str) -> float:
        with self._lock:
            now = self._clock.monotonic()
            lane = self._lane(service)
            start = max(now, lane.paused_until)
            slot = max(self._bucket.slot(now), lane.own.slot(start), lane.slow.slot(start))
            if slot - now > self._max_wait:
                message = f"the {service} service may not be called for another {slot - now:.0f} s"
                raise Throttled(message, retry_after=slot - now)
            self._bucket.take(now)  # not from `start`: a paused service must not hold up the others
            lane.own.take(start)
            lane.slow.take(start)
            return slot

    def _paused_until(self, service: str) -> float:
        with self._lock:
            return self._lane(service).paused_until

    def _lane(self, service: str) -> _Lane:
        if service not in self._lanes:
            interval = self._service_intervals.get(service, 0.0)
            self._lanes[service] = _Lane(own=_Bucket(interval, BURST), slow=_Bucket(0.0))
        return self._lanes[service]
