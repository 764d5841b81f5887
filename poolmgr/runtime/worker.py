"""One thread that runs a cycle, waits until woken or due, and runs it again.

A wake-up only cuts the wait short; the cycle reads everything anew, so lost or doubled ones are harmless.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from poolmgr.errors import PoolmgrError
from poolmgr.runtime.clock import Clock

log = logging.getLogger(__name__)


class Worker:
    """Calls `cycle` until stopped. `cycle` returns the seconds after which it wants to run again.

    Cycles begin at least `spacing` seconds apart, so that a burst of wake-ups costs one cycle.
    """

    def __init__(
        self,
        name: str,
        cycle: Callable[[], float],
        clock: Clock,
        *,
        retry_after: float = 5.0,
        spacing: float = 0.0,
    ) -> None:
        self.name = name
        self.wake = threading.Event()
        self._cycle = cycle
        self._clock = clock
        self._retry_after = retry_after
        self._spacing = spacing
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self.last_cycle_at = clock.monotonic()  # of the end of the last cycle, for liveness checks

    def start(self) -> None:
        self._thread = threading.Thread(target=self.run, name=self.name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ask it to end after the running cycle."""
        self._stopping.set()
        self.wake.set()

    def join(self, timeout: float) -> bool:
        """Whether the thread has ended within `timeout` seconds."""
        if self._thread is None:
            return True
        self._thread.join(max(0.0, timeout))
        return not self._thread.is_alive()

    def run(self) -> None:
        while True:
            self.wake.clear()  # before all else: a stop or a change from here on must end the wait that follows
            if self._stopping.is_set():
                return
            began = self._clock.monotonic()
            pause = self._run_once()
            self.last_cycle_at = self._clock.monotonic()
            self._clock.wait(self.wake, pause)
            rest = began + self._spacing - self._clock.monotonic()
            if rest > 0:
                self._clock.wait(self._stopping, rest)

    def _run_once(self) -> float:
        try:
            return self._cycle()
        except PoolmgrError as error:  # expected trouble: one line, then try again
            log.warning("%s: cycle failed: %s", self.name, error)
        except Exception:  # a bug must not end the thread, nor pass unseen
            log.exception("%s: cycle crashed", self.name)
        return self._retry_after
