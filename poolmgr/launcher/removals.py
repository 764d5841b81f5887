"""Deleting until gone: servers, and the ports and floating IPs that hung on them.

A removal is finished only when complete listings prove that nothing is left, so whoever waits for it (a node
record, the next attempt of a launch) can be sure. It holds no state that the clouds and the store don't have: after a
crash the same node record leads to the same removal.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from poolmgr.errors import Conflict, LockLost, RecordGone
from poolmgr.launcher.context import Context
from poolmgr.launcher.jobs import Outcome
from poolmgr.model.node import Node
from poolmgr.model.server import Listing, Server
from poolmgr.policy import retire
from poolmgr.policy.growth import doubling
from poolmgr.policy.polling import patience
from poolmgr.policy.retire import Doomed
from poolmgr.store.api import Lock

log = logging.getLogger(__name__)


class Removal:
    """What is to go for one node. `fence` raises when the caller has lost the right to delete it."""

    def __init__(
        self,
        node: Node,
        *,
        since: float,
        server_ids: Iterable[str],
        fence: Callable[[], None],
        done: Callable[[], None],
    ) -> None:
        self.node = node
        self.since = since
        self.fence = fence
        self.done = done
        self.doomed = {server_id: Doomed(server_id=server_id) for server_id in server_ids}
        self.absent_at: float | None = (
            None  # when the last server was found absent; leftovers count from then
        )
        self.not_before = 0.0  # of the next deletion of a leftover
        self.deleting: set[str] = set()  # leftovers with a call in flight


class Removals:
    """All removals of one worker, by node id (or any other key that is unique to what goes)."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._removals: dict[str, Removal] = {}
        self._sorted: Listing[Server] | None = None  # the listing that `_by_node` was made from
        self._by_node: Mapping[str, Sequence[Server]] = {}

    def __contains__(self, key: str) -> bool:
        return key in self._removals

    def __len__(self) -> int:
        return len(self._removals)

    def keys(self) -> Iterable[str]:
        return self._removals.keys()

    def begin_for_node(self, node: Node, lock: Lock, done: Callable[[], None]) -> None:
        """Remove every server of `node`; its lock must stay held until `done` is called."""
        context = self._context
        servers = self._servers_of(node, context.servers.last)
        self._begin(node.id, node, servers, lambda: context.fence(lock), done)

    def begin_for_leak(self, server: Server, done: Callable[[], None]) -> None:
        """Remove a server that no node accounts for."""
        # Without a node id: its node may well be alive, with another attempt's server.
        node = Node(provider=self._context.name, external_id=server.id)
        self._begin(server.id, node, [server.id], lambda: None, done)

    def forget_all(self) -> None:
        """Drop all of them: the locks they relied on are gone."""
        self._removals.clear()

    def advance(self, now: float) -> float:
        """Take every removal a step further; returns when the next timer is due (monotonic seconds)."""
        due = float("inf")
        for key, removal in list(self._removals.items()):
            finished, look_at = self._advance(removal, now)
            if not finished:
                due = min(due, look_at)
                continue
            try:
                removal.done()  # when the store is away this raises, and is done again in the next cycle
            except (Conflict, LockLost, RecordGone) as error:
                log.warning("node %s was removed, but is not ours any more: %s", removal.node.id, error)
            self._removals.pop(key, None)
        return due

    def _begin(
        self,
        key: str,
        node: Node,
        server_ids: Iterable[str],
        fence: Callable[[], None],
        done: Callable[[], None],
    ) -> None:
        now = self._context.clock.monotonic()
        self._removals[key] = Removal(node, since=now, server_ids=server_ids, fence=fence, done=done)

    def _servers_of(self, node: Node, listing: Listing[Server] | None) -> frozenset[str]:
        """Ids of all servers of `node`; a listing is sorted by node once, however many removals ask."""
        if listing is not None and listing is not self._sorted:
            self._sorted, self._by_node = listing, retire.by_node(listing)
        named = self._by_node.get(node.id, ()) if listing is not None else ()
        deployment = self._context.parts.deployment
        return retire.servers_of(node, self._context.name, named, deployment=deployment)

    def _advance(self, removal: Removal, now: float) -> tuple[bool, float]:
        """Whether it is finished, and when to look again if not."""
        look_at = self._look_at_servers(removal, now)
        doomed = removal.doomed.values()
        if look_at is None and all(d.sightings for d in doomed):
            removal.absent_at = removal.absent_at or now
        else:
            removal.absent_at = None
        if removal.absent_at is None:
            return False, float("inf") if look_at is None else look_at
        clear = self._ports_clear(removal, removal.absent_at, now)
        clear = self._floating_ips_clear(removal, removal.absent_at, now) and clear
        gone = all(retire.is_gone(d, self._context.tuning) for d in doomed)
        return clear and gone, removal.not_before if removal.not_before > now else float("inf")

    def _look_at_servers(self, removal: Removal, now: float) -> float | None:
        """Ask for deletions, count absences; None once every server was looked for, else when to look."""
        context = self._context
        listing = context.servers.last
        if listing is None or listing.started_at < removal.since:
            listing = None
            if not removal.doomed:
                context.servers.want(removal.since)
        else:
            for server_id in self._servers_of(removal.node, listing):
                removal.doomed.setdefault(server_id, Doomed(server_id=server_id))
        look_at = [
            self._look_at_server(removal, doomed, listing, now) for doomed in [*removal.doomed.values()]
        ]
        if listing is None and not look_at:
            return float("inf")
        waiting = [at for at in look_at if at is not None]
        return min(waiting, default=None)

    def _look_at_server(
        self, removal: Removal, before: Doomed, listing: Listing[Server] | None, now: float
    ) -> float | None:
        """None once it was absent, else when to look for it."""
        context = self._context
        doomed = retire.observe(before, listing) if listing is not None else before
        removal.doomed[doomed.server_id] = doomed
        if doomed.sightings and not before.sightings and doomed.asked_at is not None:
            context.deletions.append(now - doomed.asked_at)
        if not retire.is_gone(doomed, context.tuning):
            server = listing.items.get(doomed.server_id) if listing else None
            if retire.ask_due(doomed, server, now=now, tuning=context.tuning):
                self._ask(removal, doomed)
            if doomed.asked_at is None:
                return doomed.not_before if doomed.not_before > now else float("inf")
            patient_until = doomed.asked_at + patience(context.deletions, context.tuning)
            if now < patient_until:
                return patient_until
            # The next listing has to begin after the last one that was counted.
            context.servers.want(max(doomed.asked_at, doomed.seen_until + 1e-6))
        return None if doomed.sightings else float("inf")

    def _ask(self, removal: Removal, doomed: Doomed) -> None:
        context = self._context
        server_id = doomed.server_id
        removal.doomed[server_id] = replace(doomed, busy=True)
        if doomed.asks:
            log.warning("server %s is still there after %d deletions: again", server_id, doomed.asks)

        def job() -> None:
            removal.fence()
            context.cloud.delete_server(server_id)

        context.jobs.run(context.parts.api, job, lambda outcome: self._asked(removal, server_id, outcome))

    def _asked(self, removal: Removal, server_id: str, outcome: Outcome[None]) -> None:
        context = self._context
        now = context.clock.monotonic()
        doomed = replace(removal.doomed[server_id], busy=False)
        if outcome.error is None:
            doomed = replace(doomed, asked_at=now, asks=doomed.asks + 1, sightings=0)
        else:
            pause = doubling(2.0, doomed.asks, 60.0)
            doomed = replace(doomed, asks=doomed.asks + 1, not_before=now + pause)
            log.warning("cannot delete server %s (again in %.0f s): %s", server_id, pause, outcome.error)
        removal.doomed[server_id] = doomed

    def _ports_clear(self, removal: Removal, after: float, now: float) -> bool:
        context = self._context
        if not removal.doomed or context.info is None or not context.info.has_network:
            return True
        listing = context.ports.since(after)
        if listing is None:
            return False
        left = retire.leftover_ports(listing, removal.doomed.keys())
        self._delete_leftovers(removal, "port", left, context.cloud.delete_port, now)
        return not left

    def _floating_ips_clear(self, removal: Removal, after: float, now: float) -> bool:
        context = self._context
        if context.info is None or not context.info.may_need_floating_ips:
            return True
        listing = context.floating_ips.since(after)
        if listing is None:
            return False
        left = retire.leftover_floating_ips(
            listing,
            provider=context.name,
            deployment=context.parts.deployment,
            node_id=removal.node.id,
        )
        self._delete_leftovers(removal, "floating IP", left, context.cloud.delete_floating_ip, now)
        return not left

    def _delete_leftovers(
        self,
        removal: Removal,
        kind: str,
        left: Iterable[str],
        delete: Callable[[str], None],
        now: float,
    ) -> None:
        """Delete what a listing still shows, and have it listed again afterwards."""
        context = self._context
        if now < removal.not_before:
            return
        for thing in left:
            if thing in removal.deleting:
                continue
            removal.deleting.add(thing)
            log.info("deleting %s %s of node %s", kind, thing, removal.node.id)

            def job(thing: str = thing) -> None:
                removal.fence()
                delete(thing)

            def then(outcome: Outcome[None], thing: str = thing) -> None:
                removal.deleting.discard(thing)
                # The listing that comes next decides; a failure only makes the next try later.
                at = context.clock.monotonic()
                removal.absent_at = at if removal.absent_at is not None else None
                if outcome.error is not None:
                    removal.not_before = at + 5.0
                    log.warning("cannot delete %s %s: %s", kind, thing, outcome.error)

            context.jobs.run(context.parts.api, job, then)
