"""Listing servers, and asking only for what has changed where that is enough and worth it (cloud.md 3.8).

A list of changes (`changes-since`, Compute API reference, "List Servers Detailed") is put on top of what was known.
It holds deleted servers too, but a change of addresses need not be in it, and what it lacks proves nothing. So
whoever needs a proof gets a whole list, and everyone does every five minutes. Changes are asked for from a minute
before the last answer, by the cloud's own clock: those of its hosts differ.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from poolmgr.cloud.openstack.compute import Compute
from poolmgr.cloud.openstack.paging import Pages
from poolmgr.cloud.openstack.servers import ServerReader
from poolmgr.errors import Rejected
from poolmgr.model.server import Listing, Server, ServerStatus
from poolmgr.runtime.clock import Clock

log = logging.getLogger(__name__)

WHOLE_EVERY = 300.0  # seconds
OVERLAP = 60.0
#: With `server_poll: auto` changes are asked for where a whole list takes longer, or holds more servers.
LONG = 2.0
MANY = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class _Base:
    """What a list of changes can be put on."""

    servers: Mapping[str, Server]
    since: (
        float | None
    )  # what changed later is to be asked for; epoch seconds by the cloud's clock, None: not told
    whole_at: float  # when the last whole list began; monotonic
    costly: bool  # that list


class ServerPoll:
    """The lists of one cloud. `mode` is auto, full or incremental. Thread-safe.

    `keeps_deleted` is True once a server was seen that is deleted and waits to be reclaimed (SOFT_DELETED).
    """

    def __init__(
        self, name: str, mode: str, compute: Compute, reader: Callable[[], ServerReader], clock: Clock
    ) -> None:
        self._name = name
        self._mode = mode
        self._compute = compute
        self._reader = reader
        self._clock = clock
        self._base: _Base | None = None
        self.keeps_deleted = False

    def list(self, *, partial_ok: bool) -> Listing[Server]:
        """See `Cloud.list_servers`."""
        base = self._base
        if partial_ok and base is not None and self._worth_it(base):
            try:
                return self._changes(base)
            except Rejected as error:
                log.info("cloud %s: the cloud does not tell changes only: %s", self._name, error)
                self._mode = "full"
        return self._whole()

    def _worth_it(self, base: _Base) -> bool:
        fresh = self._clock.monotonic() - base.whole_at < WHOLE_EVERY
        return (
            fresh
            and base.since is not None
            and (self._mode == "incremental" or (self._mode == "auto" and base.costly))
        )

    def _whole(self) -> Listing[Server]:
        reader = self._reader()
        started_at = self._clock.monotonic()
        pages = self._compute.servers()
        servers, complete = self._read(reader, pages.items)
        complete = complete and pages.complete
        finished_at = self._clock.monotonic()
        if complete:
            reader.forget_all_but(servers)
            costly = finished_at - started_at > LONG or len(servers) > MANY
            self._base = _base(servers, pages, started_at, finished_at - started_at, costly=costly)
        return Listing(items=servers, started_at=started_at, finished_at=finished_at, complete=complete)

    def _changes(self, base: _Base) -> Listing[Server]:
        started_at = self._clock.monotonic()
        since = datetime.fromtimestamp(base.since or 0.0, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        pages = self._compute.servers(changes_since=since)
        changed, all_read = self._read(self._reader(), pages.items)
        all_read = all_read and pages.complete
        finished_at = self._clock.monotonic()
        servers = {**base.servers, **changed}
        if all_read:
            spent = finished_at - started_at
            self._base = _base(servers, pages, base.whole_at, spent, costly=base.costly)
        return Listing(
            items=servers,
            started_at=started_at,
            finished_at=finished_at,
            complete=False,
            partial=all_read,
        )

    def _read(self, reader: ServerReader, raws: Iterable[Any]) -> tuple[dict[str, Server], bool]:
        """The servers by id, and whether all could be told apart."""
        before = self._base.servers if self._base else {}
        servers: dict[str, Server] = {}
        complete = True
        for raw in raws:
            server = reader.read_any(raw)
            if server is None:
                log.warning("cloud %s: the list of servers holds one without an id", self._name)
                complete = False
                continue
            if server.status is ServerStatus.UNKNOWN and not server.metadata and server.id in before:
                # Of a cell that is down nova tells no more than the id (2.69): the server is still whose it was.
                server = replace(before[server.id], status=server.status, status_text=server.status_text)
            servers[server.id] = server
            if server.status is ServerStatus.SOFT_DELETED or server.task_state == "soft-deleting":
                self.keeps_deleted = True
        return servers, complete


def _base(
    servers: Mapping[str, Server], pages: Pages, whole_at: float, spent: float, *, costly: bool
) -> _Base:
    since = None if pages.answered_at is None else pages.answered_at - spent - OVERLAP
    return _Base(servers=servers, since=since, whole_at=whole_at, costly=costly)
