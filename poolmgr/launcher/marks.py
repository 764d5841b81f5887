"""Our mark on the volumes that Nova makes for servers: it makes them without a name (cloud.md 3.14).

A volume is marked as soon as a listing shows it, so that it is known by its mark should its server go without it, and
its removal be cut short too. Nothing waits for that. What this process has marked it remembers; more marks do no harm.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

from poolmgr.cloud.api import Cloud
from poolmgr.errors import NotFound, Rejected
from poolmgr.launcher.jobs import Jobs, Outcome
from poolmgr.model.server import Owner, Server
from poolmgr.policy.growth import doubling
from poolmgr.policy.tuning import Tuning
from poolmgr.runtime.clock import Clock
from poolmgr.runtime.executor import Executor

log = logging.getLogger(__name__)

#: Servers whose marked volumes are remembered at most; a forgotten one is marked again before it is deleted.
REMEMBERED = 20_000


@dataclass(frozen=True, kw_only=True, slots=True)
class _Open:
    """Volumes of a server that are not marked yet. Monotonic seconds."""

    server: Server
    owner: Owner
    tries: int = 0
    not_before: float = 0.0
    busy: bool = False


class VolumeMarks:
    """The marks that one worker has made and has still to make."""

    def __init__(self, cloud: Cloud, jobs: Jobs, executor: Executor, clock: Clock, tuning: Tuning) -> None:
        self._cloud = cloud
        self._jobs = jobs
        self._executor = executor
        self._clock = clock
        self._tuning = tuning
        self._open: dict[str, _Open] = {}  # by server id
        self._done: dict[str, frozenset[str]] = {}  # server id -> volumes

    def missing(self, server: Server) -> bool:
        """Whether it shows volumes that were not marked here."""
        return not self._done.get(server.id, frozenset()).issuperset(server.volumes)

    def note(self, server: Server, owner: Owner) -> None:
        """`owner` has this server: mark its volumes if they are not."""
        known = self._open.get(server.id)
        if not self.missing(server) or (known and known.server.volumes == server.volumes):
            return
        if known is not None:  # it got another volume
            known = replace(known, server=server)
        self._open[server.id] = known or _Open(server=server, owner=owner)
        self._try(server.id, self._clock.monotonic())

    def advance(self, now: float) -> float:
        """Try again what has failed; returns when the next is due (monotonic seconds)."""
        for server_id in list(self._open):
            self._try(server_id, now)
        return min((one.not_before for one in self._open.values() if not one.busy), default=float("inf"))

    def forget(self, server_id: str) -> None:
        """The server is gone."""
        self._open.pop(server_id, None)
        self._done.pop(server_id, None)

    def _try(self, server_id: str, now: float) -> None:
        one = self._open[server_id]
        if one.busy or now < one.not_before:
            return
        self._open[server_id] = replace(one, busy=True)
        self._jobs.run(
            self._executor,
            lambda: self._cloud.mark_volumes(one.server, owner=one.owner),
            lambda outcome: self._tried(one, outcome),
        )

    def _tried(self, one: _Open, outcome: Outcome[None]) -> None:
        server_id = one.server.id
        current = self._open.get(server_id)
        if current is None:
            return
        match outcome.error:
            case None:
                self._marked(one.server)
            case NotFound() | Rejected():
                # Gone already, or the cloud does not let us: then it is known by its server, as long as that is listed.
                log.warning("volumes of server %s stay without our mark: %s", server_id, outcome.error)
                self._marked(one.server)
            case error:
                pause = doubling(self._tuning.mark_retry, one.tries, self._tuning.mark_retry_max)
                log.info("volumes of server %s not marked yet: %s", server_id, error)
                later = self._clock.monotonic() + pause
                self._open[server_id] = replace(current, busy=False, tries=one.tries + 1, not_before=later)
                return
        if current.server.volumes == one.server.volumes:
            del self._open[server_id]
        else:
            self._open[server_id] = replace(current, busy=False)

    def _marked(self, server: Server) -> None:
        if len(self._done) >= REMEMBERED:
            self._done.pop(next(iter(self._done)))
        self._done[server.id] = frozenset(server.volumes)
