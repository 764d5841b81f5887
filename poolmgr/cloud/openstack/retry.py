"""When a call is sent again: only one that may be repeated, at most three times, within a bounded time.

A call that creates something is never sent again from here: whoever asked looks for its effect first. Waits for
a throttled service are the limiter's; this module only decides whether waiting is worth it.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from poolmgr.errors import CloudUnavailable, Throttled
from poolmgr.runtime.clock import Clock

log = logging.getLogger(__name__)

R = TypeVar("R")


@dataclass(frozen=True, kw_only=True, slots=True)
class RetryPolicy:
    """Seconds, except `tries`. After `budget` since the first try no further one begins."""

    tries: int = 3
    first_pause: float = 0.5
    longest_pause: float = 8.0
    budget: float = 30.0

    def pause(self, failed: int, rng: random.Random) -> float:
        """The pause after the `failed`th failure: exponential, of which between half and all."""
        whole = min(self.first_pause * 2.0 ** (failed - 1), self.longest_pause)
        return float(whole * rng.uniform(0.5, 1.0))


class Retrier:
    """Runs calls under a policy. `closed` set: no more waiting, no further try."""

    def __init__(
        self, policy: RetryPolicy, clock: Clock, rng: random.Random, closed: threading.Event
    ) -> None:
        self._policy = policy
        self._clock = clock
        self._rng = rng
        self._closed = closed

    def run(self, call: Callable[[], R]) -> R:
        """What `call` returns. Raises its last CloudUnavailable when the policy allows no further try."""
        began = self._clock.monotonic()
        failed = 0
        while True:
            try:
                return call()
            except CloudUnavailable as error:
                failed += 1
                pause = self._pause(error, failed)
                if self._gives_up(failed, self._clock.monotonic() + pause - began):
                    raise
                log.debug("try %d failed, next in %.1f s: %s", failed, pause, error)
                self._clock.wait(self._closed, pause)

    def _pause(self, error: CloudUnavailable, failed: int) -> float:
        if isinstance(error, Throttled):
            return error.retry_after or 0.0  # without a number the limiter has chosen a pause
        return self._policy.pause(failed, self._rng)

    def _gives_up(self, failed: int, elapsed: float) -> bool:
        return failed >= self._policy.tries or elapsed > self._policy.budget or self._closed.is_set()
