"""Looking for what no record accounts for, and deleting it: servers, ports, floating IPs and volumes that leaked.

Everything is judged in `policy.leaks`. Before anything is deleted the record itself is asked for, past the cache.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import TypeVar

from poolmgr.errors import BadRecord, RecordGone
from poolmgr.launcher.context import Context
from poolmgr.launcher.jobs import Outcome
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
        self._next = 0.0
        self._since: float | None = None  # a sweep waits for listings begun after this
        self._next_ports = 0.0
        self._ports_since: float | None = None
        self._seen: dict[str, leaks.Sightings] = {}  # by kind
        self._volumes_used = False

    def sweep(self, now: float, in_hand: Collection[str]) -> float:
        """Servers, floating IPs and volumes, each sweep_interval; returns when to look again (monotonic seconds).

        `in_hand`: ids of nodes that are being launched.
        """
        if self._since is None:
            if now < self._next:
                return self._next
            self._since, self._next = now, now + self._context.tuning.sweep_interval
            self._volumes_used = self._volumes_used or self._context.boots_from_volumes()
        if self._sweep(self._since, in_hand):
            self._since = None
        return self._next

    def _sweep(self, since: float, in_hand: Collection[str]) -> bool:
        """Whether all listings that a sweep needs were there and have been judged."""
        context, info = self._context, self._context.info
        if info is None:
            return False
        with_ips, with_volumes = info.may_need_floating_ips, info.has_volumes and self._volumes_used
        servers = context.servers.since(since)
        ips = context.floating_ips.since(since) if with_ips else None
        volumes = context.volumes.since(since) if with_volumes else None
        if servers is None or (with_ips and ips is None) or (with_volumes and volumes is None):
            return False
        busy = {*in_hand, *self._removals.keys()}
        self._sweep_servers(servers, busy)
        if ips is not None:
            self._sweep_floating_ips(ips, busy)
        if volumes is not None:
            self._sweep_volumes(volumes, busy)
        return True

    # Servers

    def _sweep_servers(self, listing: Listing[Server], busy: Collection[str]) -> None:
        context = self._context
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

    def _sweep_floating_ips(self, listing: Listing[FloatingIp], busy: Collection[str]) -> None:
        context, info = self._context, self._context.info
        self._sweep_marked("floatingips", listing, busy, context.cloud.delete_floating_ip)
        # clean-floating-ips says of itself that nobody else uses the project.
        if context.config.provider.clean_floating_ips or (info and info.project_is_dedicated):
            idle = self._confirmed(
                "idle floatingips",
                leaks.idle_floating_ips(listing),
                listing.started_at,
                apart=context.tuning.idle_floating_ip_age,
            )
            self._delete_all("floatingips", idle, context.cloud.delete_floating_ip)

    def _sweep_volumes(self, listing: Listing[Volume], busy: Collection[str]) -> None:
        self._sweep_marked(
            "volumes",
            listing,
            busy,
            self._context.cloud.delete_volume,
            partial(leaks.deletable_volumes, listing),
        )

    def sweep_ports(self, now: float, in_hand: Collection[str]) -> float:
        """Ports: those made in advance for nodes that are gone, and with port-cleanup-interval DOWN ones of no server.

        Each port-cleanup-interval, since no other sweep lists ports; where ports are made in advance each
        sweep_interval. Returns when to look again (monotonic seconds).
        """
        context, info = self._context, self._context.info
        if info is None or not info.has_network:
            return float("inf")
        interval = context.config.provider.port_cleanup_interval
        pause = context.tuning.sweep_interval if info.precreates_ports else interval
        if pause <= 0:
            return float("inf")
        if self._ports_since is None:
            if now < self._next_ports:
                return self._next_ports
            self._ports_since, self._next_ports = now, now + pause
        ports, servers = context.ports.since(self._ports_since), context.servers.since(self._ports_since)
        if ports is None or servers is None:
            return self._next_ports
        self._ports_since = None
        self._sweep_marked("ports", ports, {*in_hand, *self._removals.keys()}, context.cloud.delete_port)
        if interval > 0:
            idle = self._confirmed(
                "idle ports",
                leaks.idle_ports(ports, servers, dedicated=info.project_is_dedicated),
                ports.started_at,
                apart=max(interval, context.tuning.idle_port_age),
            )
            self._delete_all("ports", idle, context.cloud.delete_port)
        return self._next_ports

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

            context.jobs.run(context.parts.api, partial(delete, thing), then)
