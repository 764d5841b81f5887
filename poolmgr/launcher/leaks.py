"""Looking for what no record accounts for, and deleting it: servers, ports, floating IPs and volumes that leaked.

Everything is judged in `policy.leaks`. Before anything is deleted the record itself is asked for, past the cache.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import TypeVar

from poolmgr.cloud.api import CloudInfo
from poolmgr.errors import BadRecord, RecordGone
from poolmgr.launcher.context import Context
from poolmgr.launcher.jobs import Outcome
from poolmgr.launcher.listings import Round
from poolmgr.launcher.removals import Removals
from poolmgr.model.node import Node
from poolmgr.model.server import FloatingIp, Listing, Owner, Port, Server, Volume
from poolmgr.policy import leaks

log = logging.getLogger(__name__)
Owned = TypeVar("Owned", FloatingIp, Port, Volume)


class LeakSweep:
    """The sweeps of one worker."""

    def __init__(self, context: Context, removals: Removals) -> None:
        self._context = context
        self._removals = removals
        # One for each kind: a service that does not answer must not keep us from sweeping the others.
        self._servers = Round(context.servers)
        self._floating_ips = Round(context.floating_ips)
        self._volumes = Round(context.volumes)
        self._ports = Round(context.ports, context.servers)
        self._volumes_used = False
        self._seen: dict[str, leaks.Sightings] = {}  # by kind

    def sweep(self, now: float, in_hand: Collection[str]) -> float:
        """Sweep what is due; returns when to look again (monotonic seconds). `in_hand`: nodes being launched."""
        context, info = self._context, self._context.info
        if info is None:
            return float("inf")
        interval = context.tuning.sweep_interval
        busy = {*in_hand, *self._removals.keys()}
        if self._servers.ready(now, interval):
            # Kept up once they were used: what the last of them left has to be found too.
            self._volumes_used = self._volumes_used or context.boots_from_volumes()
            self._sweep_servers(busy)
        dues = [self._servers.next]
        if info.may_need_floating_ips:
            if self._floating_ips.ready(now, interval):
                self._sweep_floating_ips(busy, dedicated=info.project_is_dedicated)
            dues.append(self._floating_ips.next)
        if info.has_volumes and self._volumes_used:
            if self._volumes.ready(now, interval):
                self._sweep_volumes(busy)
            dues.append(self._volumes.next)
        return min(*dues, self._sweep_ports(now, busy, info))

    # Servers

    def _sweep_servers(self, busy: Collection[str]) -> None:
        context, listing = self._context, self._context.servers.whole
        if listing is None:
            return
        with context.store.reading() as snapshot:
            found = leaks.leaked_servers(
                listing,
                snapshot,
                provider=context.name,
                deployment=context.parts.deployment,
                in_hand=busy,
            )
        at = listing.started_at
        seen = self._seen["instances"] = leaks.sighted(self._seen.get("instances", {}), found, at)
        for server_id in leaks.confirmed(seen, at):
            server = listing.items[server_id]
            old = leaks.old_enough(
                server, seen_for=at - seen[server_id], time=context.clock.time(), tuning=context.tuning
            )
            if old and server_id not in self._removals:
                self._remove(server)

    def _remove(self, server: Server) -> None:
        context, owner = self._context, server.owner
        if owner is None or self._accounted(
            owner, lambda node: node.provider == context.name and node.external_id in (None, server.id)
        ):
            return
        log.warning("server %s (%s) has no node %s: deleting it", server.id, server.name, owner.node_id)
        context.stats.leaked(context.name, "instances", 1)
        self._removals.begin_for_leak(server, lambda: log.info("leaked server %s is gone", server.id))

    def _accounted(self, owner: Owner, by: Callable[[Node], bool] = lambda _: True) -> bool:
        """Whether there is a record of its node after all, for which `by` holds, or one that makes no sense."""
        try:
            return by(self._context.store.read_node(owner.node_id))
        except RecordGone:
            return False
        except BadRecord:
            return True

    # What hung on them

    def _sweep_floating_ips(self, busy: Collection[str], *, dedicated: bool) -> None:
        context, listing = self._context, self._context.floating_ips.whole
        if listing is None:
            return
        self._sweep_marked("floatingips", listing, busy, context.cloud.delete_floating_ip)
        # clean-floating-ips says of itself that nobody else uses the project.
        if dedicated or context.config.provider.clean_floating_ips:
            idle = self._confirmed(
                "idle floatingips",
                leaks.idle_floating_ips(listing),
                listing.started_at,
                apart=context.tuning.idle_floating_ip_age,
            )
            self._delete_all("floatingips", idle, context.cloud.delete_floating_ip)

    def _sweep_volumes(self, busy: Collection[str]) -> None:
        context, listing = self._context, self._context.volumes.whole
        if listing is not None:
            deletable = partial(leaks.deletable_volumes, listing)
            self._sweep_marked("volumes", listing, busy, context.cloud.delete_volume, deletable)

    def _sweep_ports(self, now: float, busy: Collection[str], info: CloudInfo) -> float:
        """Those made in advance for nodes that are gone, and with port-cleanup-interval DOWN ones of no server.

        Each port-cleanup-interval, since nothing else lists ports all the time; where ports are made in advance each
        sweep_interval. Returns when to look again.
        """
        context = self._context
        idle_interval = context.config.provider.port_cleanup_interval
        interval = context.tuning.sweep_interval if info.precreates_ports else idle_interval
        if not info.has_network or interval <= 0:
            return float("inf")
        if not self._ports.ready(now, interval):
            return self._ports.next
        ports, servers = context.ports.whole, context.servers.whole
        if ports is None or servers is None:
            return self._ports.next
        self._sweep_marked("ports", ports, busy, context.cloud.delete_port)
        if idle_interval > 0:
            idle = self._confirmed(
                "idle ports",
                leaks.idle_ports(ports, servers, dedicated=info.project_is_dedicated),
                ports.started_at,
                apart=max(idle_interval, context.tuning.idle_port_age),
            )
            self._delete_all("ports", idle, context.cloud.delete_port)
        return self._ports.next

    def _sweep_marked(
        self,
        kind: str,
        listing: Listing[Owned],
        busy: Collection[str],
        delete: Callable[[str], None],
        deletable: Callable[[Collection[str]], Collection[str]] = lambda ids: ids,
    ) -> None:
        """Things of one kind that bear the mark of a node that is gone."""
        context = self._context
        with context.store.reading() as snapshot:
            found = leaks.of_dead_nodes(
                listing,
                snapshot,
                provider=context.name,
                deployment=context.parts.deployment,
                in_hand=busy,
            )
        confirmed = deletable(self._confirmed(kind, found, listing.started_at))
        owners = {thing: listing.items[thing].owner for thing in confirmed}
        dead = [thing for thing, owner in owners.items() if owner and not self._accounted(owner)]
        self._delete_all(kind, dead, delete)

    def _confirmed(
        self, kind: str, found: Collection[str], at: float, *, apart: float = 0.0
    ) -> frozenset[str]:
        """Those of `found` that were found often enough."""
        self._seen[kind] = leaks.sighted(self._seen.get(kind, {}), found, at)
        return leaks.confirmed(self._seen[kind], at, apart=apart)

    def _delete_all(self, kind: str, ids: Iterable[str], delete: Callable[[str], None]) -> None:
        """Delete leftovers without record; what fails is found again by the next sweep."""
        context = self._context
        for thing in ids:
            log.warning("%s %s of %s belongs to no node: deleting it", kind, thing, context.name)

            def then(outcome: Outcome[None], thing: str = thing) -> None:
                if outcome.error is None:
                    context.stats.leaked(context.name, kind, 1)
                else:
                    log.warning("cannot delete %s %s: %s", kind, thing, outcome.error)

            def job(thing: str = thing) -> None:
                context.fence()
                delete(thing)

            context.jobs.run(context.parts.api, job, then)
