"""Looking for what no record accounts for, and deleting it: servers, ports, floating IPs and volumes that leaked.

Everything is judged in `policy.leaks`, and goes through the gate in `launcher.reclaim`. Before anything is deleted the
record itself is asked for, past the cache.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from functools import partial
from types import MappingProxyType
from typing import TypeVar

from poolmgr.cloud.api import CloudInfo
from poolmgr.errors import BadRecord, LockLost, RecordGone
from poolmgr.launcher.context import Context
from poolmgr.launcher.jobs import Outcome
from poolmgr.launcher.listings import Round
from poolmgr.launcher.reclaim import Reclaim, Suspect
from poolmgr.launcher.removals import Removals
from poolmgr.model.node import Node
from poolmgr.model.server import FloatingIp, Listing, Owner, Port, Server, Volume
from poolmgr.observe.ledger import Deletion
from poolmgr.policy import leaks
from poolmgr.policy.leaks import Evidence

log = logging.getLogger(__name__)
Owned = TypeVar("Owned", FloatingIp, Port, Volume)

#: What the ledger calls the kinds that metrics have names for.
LEDGER_KINDS = {"floatingips": "floating-ip", "ports": "port", "volumes": "volume"}


class LeakSweep:
    """The sweeps of one worker."""

    def __init__(self, context: Context, removals: Removals, reclaim: Reclaim) -> None:
        self._context = context
        self._removals = removals
        self._reclaim = reclaim
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
        proved = self._confirmed("instances", found, listing.started_at)
        suspects = {}
        for server_id, evidence in proved.items():
            server = listing.items[server_id]
            seen_for = listing.started_at - evidence.viewed_at
            old = leaks.old_enough(
                server, seen_for=seen_for, time=context.clock.time(), tuning=context.tuning
            )
            if old and server_id not in self._removals:
                suspects[server_id] = Suspect(evidence=evidence, act=partial(self._remove, server, evidence))
        self._reclaim.propose("instances", suspects)

    def _remove(self, server: Server, evidence: Evidence, why: str) -> None:
        context, owner = self._context, server.owner
        if server.id in self._removals or owner is None:
            return
        if self._accounted(
            owner, lambda node: node.provider == context.name and node.external_id in (None, "", server.id)
        ):
            return
        log.warning("server %s (%s) has no node %s: deleting it", server.id, server.name, owner.node_id)
        context.stats.leaked(context.name, "instances", 1)
        self._removals.begin_for_leak(
            server,
            lambda: log.info("leaked server %s is gone", server.id),
            why=f"leaked, {why}",
            evidence=context.told(evidence),
        )

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
        suspects = self._marked("floatingips", listing, busy, context.cloud.delete_floating_ip)
        # clean-floating-ips says of itself that nobody else uses the project.
        if dedicated or context.config.provider.clean_floating_ips:
            idle = self._confirmed(
                "idle floatingips",
                leaks.idle_floating_ips(listing),
                listing.started_at,
                apart=context.tuning.idle_floating_ip_age,
            )
            suspects |= self._suspects("floatingips", idle, context.cloud.delete_floating_ip)
        self._reclaim.propose("floatingips", suspects)

    def _sweep_volumes(self, busy: Collection[str]) -> None:
        context, listing = self._context, self._context.volumes.whole
        if listing is not None:
            deletable = partial(leaks.deletable_volumes, listing)
            suspects = self._marked("volumes", listing, busy, context.cloud.delete_volume, deletable)
            self._reclaim.propose("volumes", suspects)

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
        suspects = self._marked("ports", ports, busy, context.cloud.delete_port)
        if idle_interval > 0:
            idle = self._confirmed(
                "idle ports",
                leaks.idle_ports(ports, servers, dedicated=info.project_is_dedicated),
                ports.started_at,
                apart=max(idle_interval, context.tuning.idle_port_age),
            )
            suspects |= self._suspects("ports", idle, context.cloud.delete_port)
        self._reclaim.propose("ports", suspects)
        return self._ports.next

    def _marked(
        self,
        kind: str,
        listing: Listing[Owned],
        busy: Collection[str],
        delete: Callable[[str], None],
        deletable: Callable[[Collection[str]], Collection[str]] = lambda ids: ids,
    ) -> dict[str, Suspect]:
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
        proved = self._confirmed(kind, found, listing.started_at)
        may_go = deletable(proved.keys())
        owners = {one: listing.items[one].owner for one in proved if one in may_go}
        return self._suspects(kind, {one: proved[one] for one in owners}, delete, owners)

    def _confirmed(
        self, kind: str, found: Collection[str], at: float, *, apart: float = 0.0
    ) -> Mapping[str, Evidence]:
        """Those of `found` that are proved by now; `at`: when the listing began that they are from."""
        session = self._context.session
        look = leaks.Look(listed_at=at, viewed_at=self._context.clock.monotonic(), session=session)
        self._seen[kind] = leaks.sighted(self._seen.get(kind, {}), found, look)
        return leaks.confirmed(self._seen[kind], session, apart=apart)

    def _suspects(
        self,
        kind: str,
        proved: Mapping[str, Evidence],
        delete: Callable[[str], None],
        owners: Mapping[str, Owner | None] = MappingProxyType({}),
    ) -> dict[str, Suspect]:
        return {
            one: Suspect(
                evidence=evidence, act=partial(self._delete, kind, one, evidence, delete, owners.get(one))
            )
            for one, evidence in proved.items()
        }

    def _delete(
        self,
        kind: str,
        thing: str,
        evidence: Evidence,
        delete: Callable[[str], None],
        owner: Owner | None,
        why: str,
    ) -> None:
        """Delete what is nobody's, if its record does not tell otherwise; what fails is found again by later sweeps."""
        context = self._context
        if owner is not None and self._accounted(owner):
            return
        log.warning("%s %s of %s belongs to no node: deleting it", kind, thing, context.name)
        deletion = Deletion(
            kind=LEDGER_KINDS[kind],
            id=thing,
            why=f"leaked, {why}" if owner else f"idle, {why}",
            node=owner.node_id if owner else None,
            evidence=context.told(evidence),
        )

        def then(outcome: Outcome[None]) -> None:
            if outcome.error is None:
                context.stats.leaked(context.name, kind, 1)
            else:
                log.warning("cannot delete %s %s: %s", kind, thing, outcome.error)

        def job() -> None:
            if not evidence.holds(context.session):
                raise LockLost("the store was away meanwhile")
            context.delete(deletion, partial(delete, thing))

        context.jobs.run(context.parts.api, job, then)
