"""Bounded executors whose threads never keep a process alive: a hung call is left behind at stop.

The standard library's pool joins its threads when the interpreter exits, so one cloud that never answers
would keep a stopped launcher running.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol, TypeVar

R = TypeVar("R")


class Executor(Protocol):
    def submit(self, job: Callable[[], R]) -> Future[R]:
        """Run `job` on one of the threads, in order of submission."""

    def stop(self) -> None:
        """Take nothing more and drop what has not begun; does not wait for what runs."""


class ThreadExecutor:
    """At most `size` daemon threads, started as they are first needed."""

    def __init__(self, name: str, size: int) -> None:
        self._name = name
        self._size = size
        self._jobs: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._idle = 0
        self._stopped = False

    def submit(self, job: Callable[[], R]) -> Future[R]:
        future: Future[R] = Future()
        with self._lock:
            if self._stopped:
                future.cancel()
                return future
            self._jobs.put((future, job))
            if self._idle > 0:
                self._idle -= 1
            elif self._threads < self._size:
                self._threads += 1
                name = f"{self._name}-{self._threads}"
                threading.Thread(target=self._work, name=name, daemon=True).start()
        return future

    def stop(self) -> None:
        with self._lock:
            self._stopped = True
            threads = self._threads
        while True:  # here, not on the threads: all of them may hang
            try:
                item = self._jobs.get_nowait()
            except queue.Empty:
                break
            if item is not None:
                item[0].cancel()
        for _ in range(threads):
            self._jobs.put(None)

    def _work(self) -> None:
        while _run_next(self._jobs):
            with self._lock:
                self._idle += 1


def _run_next(jobs: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None]) -> bool:
    """Wait for a job and run it; False when there will be no more.

    A function of its own, so that an idle thread holds on to no job and no result (a listing is megabytes).
    """
    item = jobs.get()
    if item is None:
        return False
    future, job = item
    if future.set_running_or_notify_cancel():
        try:
            result = job()
        except BaseException as error:  # the future carries it to whoever asked
            future.set_exception(error)
        else:
            future.set_result(result)
    return True
