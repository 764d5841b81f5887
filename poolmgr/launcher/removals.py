"""Deleting until gone: servers, and the ports, floating IPs and volumes that hung on them.

A removal is finished only when complete listings prove that nothing is left, so whoever waits for it (a node
record, the next attempt of a launch) can be sure. It holds no state that the clouds and the store don't have: after a
crash the same node record leads to the same removal.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any

from poolmgr.errors import CloudError, Conflict, LockLost, NotFound, RecordGone, Rejected
from poolmgr.launcher.context import Context
from poolmgr.launcher.jobs import Outcome
from poolmgr.launcher.leftovers import Kind, Leftovers
from poolmgr.model.node import Node
from poolmgr.model.resources import counted
from poolmgr.model.server import Listing, Server
from poolmgr.observe.ledger import Deletion
from poolmgr.policy import retire
from poolmgr.policy.growth import doubling
from poolmgr.policy.polling import patience, slackening
from poolmgr.policy.retire import Doomed, Mark
from poolmgr.store.api import Lock

log = logging.getLogger(__name__)


class Removal:
    """What is to go for one node, whose `lock` gives the right to delete it; None for a leaked server."""

    def __init__(
        self,
        node: Node,
        *,
        since: float,
        server_ids: Iterable[str],
        lock: Lock | None,
        done: Callable[[], None],
        why: str,
        evidence: Mapping[str, object],
    ) -> None:
        """`why`, `evidence`: for the ledger."""
        self.node = node
        self.why = why
        self.evidence = evidence
        self.since = since
        self.lock = lock
        self.done = done
        self.doomed = {server_id: Doomed(server_id=server_id) for server_id in server_ids}
        self.volumes: set[str] = set()  # that its servers were listed with
        self.booted_from_volume = counted(node.resources).get("volumes", 0) > 0
        self.absent_at: float | None = None  # when the last server was found absent
        self.leftovers: tuple[Leftovers[Any], ...] | None = None  # None until then
        self.alarmed = False

    @property
    def whose(self) -> str:
        """For messages."""
        return f"node {self.node.id}" if self.node.id else f"leaked server {self.node.external_id}"

    def saw(self, server: Server) -> None:
        """One of its servers is listed."""
        self.volumes.update(server.volumes)


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

    def begin_for_node(
        self,
        node: Node,
        lock: Lock,
        done: Callable[[], None],
        *,
        why: str = "",
        evidence: Mapping[str, object] = MappingProxyType({}),
    ) -> None:
        """Remove every server of `node`; its lock must stay held until `done` is called."""
        servers = self._servers_of(node, self._context.servers.last)
        self._begin(node.id, node, servers, lock, done, why or f"node is {node.state.value}", evidence)

    def begin_for_leak(
        self, server: Server, done: Callable[[], None], *, why: str, evidence: Mapping[str, object]
    ) -> None:
        """Remove a server that no node accounts for."""
        # Without a node id: its node may well be alive, with another attempt's server.
        node = Node(provider=self._context.name, external_id=server.id)
        self._begin(server.id, node, [server.id], None, done, why, evidence)
        self._removals[server.id].booted_from_volume = server.image_id is None

    def forget_all(self) -> None:
        """Drop all of them, and let go of their locks: who owns the provider next finds the same records."""
        for removal in self._removals.values():
            if removal.lock is not None:
                self._context.store.unlock(removal.lock)
        self._removals.clear()

    def advance(self, now: float) -> float:
        """Take every removal a step further; returns when the next timer is due (monotonic seconds)."""
        due = float("inf")
        for key, removal in list(self._removals.items()):
            finished, look_at = self._advance(removal, now)
            if not finished:
                due = min(due, look_at)
                continue
            for server_id in removal.doomed:
                self._context.marks.forget(server_id)
            try:
                removal.done()  # when the store is away this raises, and is done again in the next cycle
            except (Conflict, LockLost, RecordGone) as error:
                log.warning("node %s was removed, but is not ours any more: %s", removal.node.id, error)
            self._removals.pop(key, None)
            self._context.status.alarm(f"deletion of {key}", None)
        return due

    def _begin(
        self,
        key: str,
        node: Node,
        server_ids: Iterable[str],
        lock: Lock | None,
        done: Callable[[], None],
        why: str,
        evidence: Mapping[str, object],
    ) -> None:
        now = self._context.clock.monotonic()
        self._removals[key] = Removal(
            node, since=now, server_ids=server_ids, lock=lock, done=done, why=why, evidence=evidence
        )

    def _delete(
        self, removal: Removal, kind: str, thing: str, name: str, call: Callable[[], None], how: str = ""
    ) -> None:
        """Make the `call` that deletes something of it, if we may, and have it written down, with `how`."""
        node = removal.node
        deletion = Deletion(
            kind=kind,
            id=thing,
            name=name,
            why=f"{removal.why}; {how}" if how else removal.why,
            node=node.id or None,
            request=node.allocated_to or None,
            label=node.label or None,
            evidence=removal.evidence,
        )
        self._context.delete(deletion, call, lock=removal.lock)

    def _fence(self, removal: Removal) -> None:
        """Raise LockLost unless we (still) have the right to delete what belongs to `removal`."""
        self._context.fence(removal.lock)

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
        alarm_at = self._alarm(removal, now)
        doomed = removal.doomed.values()
        if look_at is None and all(d.sightings for d in doomed):
            removal.absent_at = removal.absent_at or now
        else:
            removal.absent_at = None
        if removal.absent_at is None:
            return False, min(alarm_at, float("inf") if look_at is None else look_at)
        if removal.leftovers is None:
            removal.leftovers = self._leftovers_of(removal)
        looks = [one.advance(removal.absent_at, now) for one in removal.leftovers]
        gone = all(retire.is_gone(d, self._context.tuning) for d in doomed)
        waiting = [look for look in looks if look is not None]
        return gone and not waiting, min([alarm_at, *waiting])

    def _alarm(self, removal: Removal, now: float) -> float:
        """Tell once of what does not go; returns when that is due (monotonic seconds)."""
        alarm_at = removal.since + self._context.tuning.delete_alarm
        if removal.alarmed or now < alarm_at:
            return float("inf") if removal.alarmed else alarm_at
        removal.alarmed = True
        there = [d.server_id for d in removal.doomed.values() if not d.sightings]
        left = [f"server {server_id}" for server_id in there]
        left += [text for one in removal.leftovers or () if (text := str(one))]
        key = removal.node.id or removal.node.external_id
        text = f"{removal.whose} cannot be deleted, its quota stays taken"
        if left:
            text += f": {', '.join(left)}"
        self._context.status.alarm(f"deletion of {key}", text)
        log.error(
            "%s: %s cannot be deleted for %.0f minutes, and goes on counting against the quota; left of it: %s",
            self._context.name,
            removal.whose,
            (now - removal.since) / 60,
            ", ".join(left) or "what only complete listings can tell",
        )
        return float("inf")

    # Servers

    def _look_at_servers(self, removal: Removal, now: float) -> float | None:
        """Ask for deletions, count absences; None once every server was looked for, else when to look."""
        servers = self._context.servers
        newest = [servers.last] if servers.last is not servers.whole else []
        looks = [one for one in (servers.whole, *newest) if one and one.started_at >= removal.since]
        if looks:  # the newest has all that is known, partial or not
            for server_id in self._servers_of(removal.node, looks[-1]):
                removal.doomed.setdefault(server_id, Doomed(server_id=server_id))
        if not removal.doomed:  # that there is none is something to be proved
            return None if servers.since(removal.since) else float("inf")
        look_at = [self._look_at_server(removal, doomed, looks, now) for doomed in [*removal.doomed.values()]]
        return min((at for at in look_at if at is not None), default=None)

    def _look_at_server(
        self, removal: Removal, before: Doomed, looks: Sequence[Listing[Server]], now: float
    ) -> float | None:
        """None once it was absent, else when to look for it."""
        context = self._context
        doomed = before
        for listing in looks:
            doomed = retire.observe(doomed, listing)
        removal.doomed[doomed.server_id] = doomed
        if doomed.sightings and not before.sightings and doomed.asked_at is not None:
            context.deletions.append(now - doomed.asked_at)
        server = self._listed(removal, doomed.server_id)
        if not retire.is_gone(doomed, context.tuning):
            if retire.ask_due(doomed, server if looks else None, now=now, tuning=context.tuning):
                self._ask(removal, doomed, server)
            if doomed.asked_at is None:
                return doomed.not_before if doomed.not_before > now else float("inf")
            slack = slackening(now - removal.since, context.tuning)
            patient_until = max(
                doomed.asked_at + patience(context.deletions, context.tuning), doomed.seen_until + slack
            )
            if now < patient_until:
                return patient_until
            # The next listing has to begin after the last one that was counted.
            missing = bool(doomed.sightings) or (server is None and bool(looks))
            want = context.servers.want if missing else context.servers.want_states
            want(max(doomed.asked_at, doomed.seen_until + 1e-6))
        return None if doomed.sightings else float("inf")

    def _listed(self, removal: Removal, server_id: str) -> Server | None:
        """The server as last listed, however long ago; its volumes are noted."""
        listing = self._context.servers.last
        server = listing.items.get(server_id) if listing else None
        if server is not None:
            removal.saw(server)
        return server

    def _ask(self, removal: Removal, doomed: Doomed, server: Server | None) -> None:
        context = self._context
        server_id = doomed.server_id
        removal.doomed[server_id] = replace(doomed, busy=True)
        force = retire.by_force(doomed, context.tuning)
        if force:
            log.warning("server %s is still there: it is deleted %s", server_id, force)
        elif doomed.asks and doomed.soft_after is None:
            log.warning("server %s is still there after %d deletions: again", server_id, doomed.asks)
        unseen = removal.booted_from_volume and not (server and server.volumes)
        unmarked = server if server is not None and context.marks.missing(server) else None

        def job() -> Server | None:
            """What was found out about it on the way."""
            self._fence(removal)
            found = self._look_again(server_id) if unseen else unmarked
            if found is not None and found.volumes:
                self._mark(found, removal.node)
            delete = partial(context.cloud.delete_server, server_id, force=bool(force))
            name = server.name if server else ""
            self._delete(removal, "server", server_id, name, delete, how=force)
            return found

        context.jobs.run(context.parts.api, job, lambda outcome: self._asked(removal, server_id, outcome))

    def _look_again(self, server_id: str) -> Server | None:
        """A server that was not listed with its volume may have got it since; None: it is gone."""
        try:
            return self._context.cloud.get_server(server_id)
        except NotFound:
            return None

    def _mark(self, server: Server, node: Node) -> None:
        """Mark its volumes before it goes: the last moment at which one can tell whose they are."""
        context = self._context
        owner = context.owner_of(server.owner.node_id if server.owner else node.id)
        try:
            context.cloud.mark_volumes(server, owner=owner)
        except CloudError as error:
            log.info("volumes of server %s stay without our mark: %s", server.id, error)

    def _asked(self, removal: Removal, server_id: str, outcome: Outcome[Server | None]) -> None:
        context = self._context
        now = context.clock.monotonic()
        if outcome.value is not None:
            removal.saw(outcome.value)
        doomed = replace(removal.doomed[server_id], busy=False)
        if outcome.error is None:
            doomed = replace(doomed, asked_at=now, asks=doomed.asks + 1, vain=doomed.vain + 1, sightings=0)
        else:
            pause = doubling(2.0, doomed.asks, 60.0)
            vain = doomed.vain + isinstance(outcome.error, Rejected)  # what else fails says nothing of it
            doomed = replace(doomed, asks=doomed.asks + 1, vain=vain, not_before=now + pause)
            log.warning("cannot delete server %s (again in %.0f s): %s", server_id, pause, outcome.error)
        removal.doomed[server_id] = doomed

    # What hung on them

    def _leftovers_of(self, removal: Removal) -> tuple[Leftovers[Any], ...]:
        """What has to be looked for, in this cloud and for this node; nothing else is listed."""
        context, info, cloud = self._context, self._context.info, self._context.cloud
        if info is None:
            return ()
        mark = Mark(provider=context.name, deployment=context.parts.deployment, node_id=removal.node.id)
        doomed = removal.doomed
        kinds: list[Kind[Any]] = []
        if info.has_network and (doomed or info.precreates_ports):
            kinds.append(
                Kind(
                    name="port",
                    listing=context.ports,
                    left=lambda ports: dict.fromkeys(retire.leftover_ports(ports, doomed, mark), True),
                    delete=cloud.delete_port,
                )
            )
        if info.may_need_floating_ips:
            kinds.append(
                Kind(
                    name="floating IP",
                    listing=context.floating_ips,
                    left=lambda ips: dict.fromkeys(retire.leftover_floating_ips(ips, mark), True),
                    delete=cloud.delete_floating_ip,
                )
            )
        if info.has_volumes and (removal.volumes or removal.booted_from_volume):
            kinds.append(
                Kind(
                    name="volume",
                    listing=context.volumes,
                    left=lambda volumes: retire.leftover_volumes(volumes, removal.volumes, doomed, mark),
                    delete=cloud.delete_volume,
                    force=partial(cloud.delete_volume, force=True),
                    may_force=retire.may_be_forced,
                )
            )
        return tuple(
            Leftovers(
                kind,
                whose=removal.whose,
                through=partial(self._delete, removal),
                jobs=context.jobs,
                executor=context.parts.api,
                clock=context.clock,
                tuning=context.tuning,
            )
            for kind in kinds
        )
