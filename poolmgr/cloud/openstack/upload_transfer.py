"""Sending parts of a file, several at once, while the caller's thread tells how far it is and can give up at any time.

A thread that waits in a socket sees nothing else; so each body is sent on a thread of its own, and the caller cuts its
connection when the upload is to end.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, wait
from dataclasses import dataclass
from typing import TypeVar

from poolmgr.cloud.openstack.upload_body import HASHES, STALL, Body
from poolmgr.errors import CloudUnavailable
from poolmgr.runtime.clock import Clock
from poolmgr.runtime.executor import Executor

R = TypeVar("R")

TICK = 0.2  # seconds between two looks at bodies on their way
LAST_WAIT = 5.0  # for threads whose connections were cut


class UploadStopped(CloudUnavailable):
    """Cancelled, or out of time: there is no further try now."""


class Watch:
    """When to give up. `cancelled` None: nobody will; `timeout` in seconds, None: never.

    Waiting for bytes to move is real time, whatever the clock is; all else goes by the clock.
    """

    def __init__(self, clock: Clock, cancelled: threading.Event | None, timeout: float | None) -> None:
        self._clock = clock
        self._cancelled = cancelled or threading.Event()
        self._timeout = timeout
        self._ends = float("inf") if timeout is None else clock.monotonic() + timeout

    def now(self) -> float:
        return self._clock.monotonic()

    def check(self) -> None:
        """Raises UploadStopped when it is over."""
        if self._cancelled.is_set():
            raise UploadStopped("the upload was cancelled")
        if self._clock.monotonic() >= self._ends:
            raise UploadStopped(f"the upload was not done within {self._timeout:.0f} s")

    def pause(self, seconds: float) -> None:
        """Wait. Raises UploadStopped."""
        self.check()
        self._clock.wait(self._cancelled, max(0.0, min(seconds, self._ends - self._clock.monotonic())))
        self.check()


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """`length` bytes of a file from `offset` on."""

    path: str
    offset: int
    length: int


class Piece:
    """A part on its way, in as many tries as it takes, each with a body of its own."""

    def __init__(
        self,
        part: Part,
        *,
        hashes: tuple[str, ...] = HASHES,
        patience: float = STALL,
        pace: Callable[[int], None] | None = None,
    ) -> None:
        self._part = part
        self._hashes = hashes
        self._patience = patience
        self._pace = pace
        self._lock = threading.Lock()
        self._body: Body | None = None
        self._aborted = False

    def body(self) -> Body:
        """For the next try. Raises ConfigError, and UploadStopped once given up."""
        part = self._part
        body = Body(
            part.path, part.offset, part.length, self._hashes, patience=self._patience, pace=self._pace
        )
        with self._lock:
            if self._aborted:
                body.close()
                raise UploadStopped("the upload was given up")
            self._body = body
        return body

    @property
    def sent(self) -> int:
        """Bytes of the try that is under way, or was the last one."""
        return self._body.sent if self._body is not None else 0

    @property
    def whole(self) -> bool:
        return self._body is not None and self._body.whole

    def abort(self) -> None:
        with self._lock:
            self._aborted = True
            if self._body is not None:
                self._body.abort()


def transfer(
    jobs: Sequence[tuple[Piece, Callable[[], R]]],
    executor: Executor,
    watch: Watch,
    tell: Callable[[int], None],
) -> list[R]:
    """What the jobs return, each of which sends its piece. `tell` hears of all bytes sent so far.

    Raises the first error of a job, UploadStopped, or what `tell` raises; then nothing is on its way any more.
    """
    futures = [executor.submit(job) for _, job in jobs]
    try:
        pending = set(futures)
        while pending:
            done, pending = wait(futures, timeout=TICK, return_when=FIRST_EXCEPTION)
            tell(sum(piece.sent for piece, _ in jobs))
            for future in done:
                if (error := future.exception()) is not None:
                    raise error
            watch.check()
        return [future.result() for future in futures]
    except BaseException:
        for piece, _ in jobs:
            piece.abort()
        for future in futures:
            future.cancel()
        wait(futures, timeout=LAST_WAIT)
        raise
