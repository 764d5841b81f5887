"""Time and threads that do what a test says: `FakeClock`, `InlineExecutor`, `ManualExecutor`.

All of them keep the contracts of `poolmgr.runtime`: the executors are checked together with the real one in
tests/unit/runtime/test_executor.py.
"""

from __future__ import annotations

import heapq
import itertools
import math
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

R = TypeVar("R")

#: What `FakeClock.time()` says at its start: a plain number of the size of real ones.
EPOCH = 1_700_000_000.0


class FakeClock:
    """A clock whose time passes only in `wait` and `advance`, and costs nothing.

    `monotonic()` begins at 0.0 and `time()` at `epoch`. On the way through a span, what `at` planned within it
    runs in order of time, on the thread that waits, and sees the clock at its planned time. `waits` has the
    seconds of every wait asked for, those that an event which was set already made no wait at all included.
    """

    def __init__(self, epoch: float = EPOCH) -> None:
        self.epoch = epoch
        self.waits: list[float] = []
        self._now = 0.0
        self._lock = threading.RLock()
        self._numbers = itertools.count()
        self._plans: list[tuple[float, int, Callable[[], object]]] = []

    def time(self) -> float:
        return self.epoch + self._now

    def monotonic(self) -> float:
        return self._now

    def at(self, when: float, action: Callable[[], object]) -> None:
        """Run `action` when the clock gets to `when` (monotonic seconds); at the next step if it is past."""
        heapq.heappush(self._plans, (when, next(self._numbers), action))

    def after(self, seconds: float, action: Callable[[], object]) -> None:
        """Run `action` so many seconds from now."""
        self.at(self._now + seconds, action)

    def wait(self, event: threading.Event, seconds: float) -> None:
        """Time passes until `event` is set or `seconds` are over.

        Raises AssertionError for a wait without end that nothing planned can end: a real thread would hang.
        """
        with self._lock:
            self.waits.append(seconds)
            self._pass(self._now + max(0.0, seconds), event.is_set)

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass."""
        with self._lock:
            self._pass(self._now + seconds, lambda: False)

    def next_plan(self) -> float:
        """When the next planned action is due; infinity if there is none."""
        return self._plans[0][0] if self._plans else math.inf

    def _pass(self, until: float, over: Callable[[], bool]) -> None:
        while not over():
            if not self._plans or self._plans[0][0] > until:
                assert until < math.inf, "waits for ever: nothing planned sets the event"
                self._now = max(self._now, until)
                return
            when, _, action = heapq.heappop(self._plans)
            self._now = max(self._now, when)
            action()


class InlineExecutor:
    """Runs each job within `submit`, on the caller's thread."""

    def __init__(self) -> None:
        self.stopped = False

    def submit(self, job: Callable[[], R]) -> Future[R]:
        future: Future[R] = Future()
        if self.stopped:
            future.cancel()
        else:
            _settle(future, job)
        return future

    def stop(self) -> None:
        self.stopped = True


class ManualExecutor:
    """Keeps jobs until the test runs them: a slow or hung cloud, without threads."""

    def __init__(self) -> None:
        self.stopped = False
        self._waiting: deque[tuple[Future[Any], Callable[[], Any]]] = deque()

    def __len__(self) -> int:
        """How many jobs wait."""
        return len(self._waiting)

    def submit(self, job: Callable[[], R]) -> Future[R]:
        future: Future[R] = Future()
        if self.stopped:
            future.cancel()
        else:
            self._waiting.append((future, job))
        return future

    def stop(self) -> None:
        self.stopped = True
        while self._waiting:
            future, _ = self._waiting.popleft()
            future.cancel()

    def run_one(self) -> None:
        """Run the job that has waited longest."""
        future, job = self._waiting.popleft()
        if future.set_running_or_notify_cancel():
            _settle(future, job)

    def run_all(self) -> int:
        """Run what waits now, but not what those jobs submit; returns how many."""
        count = len(self._waiting)
        for _ in range(count):
            self.run_one()
        return count


def _settle(future: Future[R], job: Callable[[], R]) -> None:
    try:
        result = job()
    except BaseException as error:  # as the real one: the future carries it to whoever asked
        future.set_exception(error)
    else:
        future.set_result(result)
