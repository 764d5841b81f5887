"""Servers straight on a pretend world: listings, one alone, deletion, consoles."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from poolmgr.cloud.simulated.calls import Calls
from poolmgr.cloud.simulated.reading import Reading
from poolmgr.errors import CloudUnavailable, NotFound, Rejected
from poolmgr.model.server import Listing, Server, ServerStatus
from poolmgr.runtime.clock import Clock
from poolmgr.simcloud import world as sim

#: Seconds after which a list of changes is not enough any more, and by how much it overlaps with the one before.
_LIST_ALL_AFTER = 300.0
_OVERLAP = 60.0


class SimulatedServers:
    """The servers of one pretend cloud.

    `lists_changes`: only what has changed is asked for, where the caller takes that. Without `lists_faults` a fault
    is only told of a single server.
    """

    def __init__(
        self, cloud: sim.SimCloud, calls: Calls, clock: Clock, *, lists_changes: bool, lists_faults: bool
    ) -> None:
        self._cloud, self._calls, self._clock = cloud, calls, clock
        self._lists_changes = lists_changes
        self._reading = Reading(cloud, lists_faults=lists_faults)
        self._known: Listing[Server] | None = None  # as last listed
        self._all_listed_at = -math.inf  # monotonic seconds

    def list(self, *, partial_ok: bool) -> Listing[Server]:
        known, started_at = self._known, self._clock.monotonic()
        fresh = started_at - self._all_listed_at < _LIST_ALL_AFTER
        if partial_ok and self._lists_changes and known is not None and fresh:
            self._known = self._changes_since(known)
            return self._known
        listing = self._all()
        if listing.complete:
            self._known, self._all_listed_at = listing, started_at
        return listing

    def _changes_since(self, known: Listing[Server]) -> Listing[Server]:
        """What is known, with what has changed since: as Nova's `changes-since`, which tells of deleted servers too."""
        started_at = self._clock.monotonic()
        since = self._cloud.timeline.time - (started_at - known.started_at) - _OVERLAP

        def ask(trouble: sim.Trouble) -> list[sim.Server]:
            compute = self._cloud.compute
            return [s for s in (*compute.list(trouble), *compute.deleted) if s.updated >= since]

        changed = {s.id: self._reading.listed(s) for s in self._calls.ask("compute.GET.servers_detail", ask)}
        there = {s.id: s for s in known.items.values() if s.status is not ServerStatus.DELETED}
        listing = self._listing({**there, **changed}, started_at, complete=False)
        return replace(listing, partial=True)

    def _all(self) -> Listing[Server]:
        started_at = self._clock.monotonic()
        servers: dict[str, Server] = {}
        complete = True
        try:
            for page in self._pages():
                servers |= {s.id: self._reading.listed(s) for s in page}
        except CloudUnavailable:
            if not servers:
                raise
            complete = False
        return self._listing(servers, started_at, complete=complete)

    def _pages(self) -> Iterator[Sequence[sim.Server]]:
        """The list in the cloud's pages, one call each."""
        size = self._cloud.config.page_size
        start, more = 0, True
        while more:
            shown = self._calls.ask("compute.GET.servers_detail", self._cloud.compute.list)
            yield shown[start : start + size]
            start += size
            more = start < len(shown)

    def _listing(self, items: Mapping[str, Server], started_at: float, *, complete: bool) -> Listing[Server]:
        return Listing(
            items=items, started_at=started_at, finished_at=self._clock.monotonic(), complete=complete
        )

    def get(self, server_id: str) -> Server:
        found = self._calls.ask(
            "compute.GET.server", lambda _: self._cloud.compute.server(server_id), subject=server_id
        )
        return self._reading.whole(found)

    def delete(self, server_id: str, *, force: bool = False) -> None:
        """By `force` if the cloud lets us; else as usual."""
        compute = self._cloud.compute

        def force_delete(server_id: str, trouble: sim.Trouble) -> None:
            compute.delete(server_id, trouble, force=True)

        if force:
            try:
                self._calls.delete("compute.POST.server_action", server_id, force_delete)
                return
            except Rejected:
                pass

        def delete(server_id: str, trouble: sim.Trouble) -> None:
            soft = compute.server(server_id).status == "SOFT_DELETED"
            compute.delete(
                server_id, trouble.without(sim.FaultKind.SOFT_DELETE) if soft else trouble, force=soft
            )

        self._calls.delete("compute.DELETE.server", server_id, delete)

    def console(self, server_id: str) -> str:
        try:
            return self._calls.ask(
                "compute.POST.server_action",
                lambda _: self._cloud.compute.console(server_id),
                subject=server_id,
            )
        except (NotFound, Rejected):
            return ""
