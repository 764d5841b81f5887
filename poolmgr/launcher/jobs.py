"""Slow work off the worker's thread, its results back on it.

A worker owns all of its state alone: jobs run on executors and touch none of it; what they return is handed
to a function that runs later on the worker's own thread, in `deliver`.
"""

from __future__ import annotations

import queue
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from poolmgr.errors import PoolmgrError
from poolmgr.runtime.executor import Executor

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Outcome(Generic[R]):
    """What a job came to: its value, or the poolmgr error it raised."""

    value: R | None = None
    error: PoolmgrError | None = None


class Jobs:
    """The jobs of one worker. `wake` is called from other threads when one has ended."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._ended: queue.SimpleQueue[tuple[Future[Any], Callable[[Outcome[Any]], None]]] = (
            queue.SimpleQueue()
        )
        self.running = 0

    def run(self, executor: Executor, job: Callable[[], R], then: Callable[[Outcome[R]], None]) -> None:
        """Run `job` on `executor`, then `then(outcome)` on the worker's thread."""
        self.running += 1
        executor.submit(job).add_done_callback(lambda future: self._end(future, then))

    def deliver(self) -> int:
        """Hand out what has ended. Raises what a job raised that is no PoolmgrError: it is a bug."""
        count = 0
        while True:
            try:
                future, then = self._ended.get_nowait()
            except queue.Empty:
                return count
            count += 1
            self.running -= 1
            if not future.cancelled():
                _hand_out(future, then)

    def _end(self, future: Future[Any], then: Callable[[Outcome[Any]], None]) -> None:
        self._ended.put((future, then))
        self._wake()


def _hand_out(future: Future[Any], then: Callable[[Outcome[Any]], None]) -> None:
    error = future.exception()
    if error is None:
        then(Outcome(value=future.result()))
    elif isinstance(error, PoolmgrError):
        then(Outcome(error=error))
    else:
        try:
            then(Outcome(error=PoolmgrError(f"{type(error).__name__}: {error}")))
        except PoolmgrError as trouble:
            raise error from trouble  # the bug must not hide behind it
        raise error
