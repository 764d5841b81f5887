"""All workers of one builder process: started, woken and stopped together.

Order at the end: nobody takes anything new and running builds and uploads are ended, all at the same time; then the
last gauges; then the component record goes. Connections and the store are closed by whoever made them, after this.
"""

from __future__ import annotations

import logging
import threading
from concurrent.futures import Future, wait
from typing import Protocol

from poolmgr import __version__
from poolmgr.builder.context import Parts
from poolmgr.builder.reporter import Reporter
from poolmgr.model.component import Component, ComponentKind, ComponentState
from poolmgr.runtime.executor import ThreadExecutor
from poolmgr.store.api import Change, ChangeKind

log = logging.getLogger(__name__)

#: Nodes that go let images go, but there may be hundreds of them a second: the janitor's idle cycle finds out.
_OF_INTEREST = (ChangeKind.IMAGE, ChangeKind.SESSION)
#: Seconds beyond the limit that a member was given, before it is left behind.
_SLACK = 1.0


class Member(Protocol):
    """A worker with its threads."""

    def start(self) -> None: ...

    def wake(self) -> None:
        """Something changed; from any thread, returns at once."""

    def stop(self, timeout: float) -> bool:
        """Take nothing new, end what runs, release all locks; whether that was done within `timeout` seconds."""

    def describe(self) -> str: ...

    def stalled(self, now: float) -> str | None:
        """Why it seems to be stuck at `now` (monotonic), None if it does not."""


class Uploading(Member, Protocol):
    def apply(self) -> None:
        """Providers came or went."""


class Crew:
    """`apply`, `start` and `stop` are called by one thread at a time; the rest by any."""

    def __init__(
        self, parts: Parts, *, builds: Member, uploads: Uploading, janitor: Member, build_workers: int
    ) -> None:
        self._parts = parts
        self._uploads = uploads
        self._members: tuple[Member, ...] = (janitor, builds, uploads)
        self._reporter = Reporter(parts, build_workers=build_workers)
        self._component: Component | None = None
        self._running = threading.Event()
        self._unsubscribe = parts.store.subscribe(self._note)

    def start(self) -> None:
        identity = self._parts.identity
        self._component = self._parts.store.register(
            Component(
                kind=ComponentKind.BUILDER,
                hostname=identity.hostname,
                state=ComponentState.RUNNING,
                version=__version__,
            )
        )
        for member in self._members:
            member.start()
        self._reporter.start()
        self._running.set()

    def apply(self, *, providers: bool) -> None:
        """The settings in force changed; `providers`: their connections did."""
        if providers:
            self._uploads.apply()
        self.wake()

    def wake(self) -> None:
        for member in self._members:
            member.wake()
        self._reporter.wake()

    def stop(self, timeout: float) -> bool:
        """End everything; whether all of it was done in time."""
        self._running.clear()
        self._unsubscribe()
        clean = self._stop_members(timeout)
        clean = self._reporter.stop(_SLACK) and clean
        if self._component is not None:
            self._parts.store.unregister(self._component)
        return clean

    def ready(self) -> str | None:
        """Why images are not taken care of now, None if they are."""
        return None if self._running.is_set() else "starting or stopping"

    def live(self) -> str | None:
        """Why the process had better be started anew, None if not."""
        now = self._parts.clock.monotonic()
        stuck = [why for why in (member.stalled(now) for member in self._members) if why]
        return "; ".join(stuck) if stuck and self._running.is_set() else None

    def describe(self) -> str:
        return "\n".join(member.describe() for member in self._members)

    def _note(self, change: Change) -> None:
        if change.kind in _OF_INTEREST:
            self.wake()

    def _stop_members(self, timeout: float) -> bool:
        executor = ThreadExecutor("stop", len(self._members))

        def stop(member: Member) -> Future[bool]:
            return executor.submit(lambda: member.stop(timeout))

        futures = [stop(member) for member in self._members]
        done, late = wait(futures, timeout + _SLACK)
        executor.stop()
        for future in done:
            error = future.exception()
            if error is not None:
                log.error("a worker could not be stopped", exc_info=error)
        return not late and all(f.exception() is None and f.result() for f in done)
