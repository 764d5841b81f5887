"""Deleting until gone: servers, and the floating IPs, ports and volumes that bear the same mark.

When something is gone is judged as for a launcher's nodes (`policy.retire`): absent from two complete lists that began
after its deletion was accepted.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from math import inf

from poolmgr.cloud.library.parts import Parts
from poolmgr.errors import CloudUnavailable, Rejected
from poolmgr.model.server import FloatingIp, Listing, Owner, Port, Server, Volume
from poolmgr.policy import retire
from poolmgr.policy.growth import doubling
from poolmgr.policy.leftovers import unused, whose
from poolmgr.policy.retire import Doomed

AGAIN = 2.0  # seconds until a deletion that failed is tried again; doubles
AGAIN_MOST = 30.0


class Removal:
    """One removal, for one thread.

    `owners`: everything with a mark of these goes. `unknown_since` (monotonic seconds): a server of theirs may exist
    that no list shows yet, because a create call was cut off then. `volumes`: ids of some that go without a mark too;
    None: volumes need not be looked for.
    """

    def __init__(
        self,
        parts: Parts,
        *,
        server_ids: Iterable[str] = (),
        owners: Collection[Owner] = (),
        volumes: Collection[str] | None = None,
        unknown_since: float | None = None,
    ) -> None:
        self._parts = parts
        self._owners = {whose(owner) for owner in owners}
        self._volumes = volumes
        self._doomed = {server_id: Doomed(server_id=server_id) for server_id in server_ids}
        spacing = parts.tuning.unknown_spacing
        self._look_until = float("-inf") if unknown_since is None else unknown_since + spacing
        self._trouble = ""  # the last error that we did not give up for

    def ask(self) -> None:
        """Ask for the deletion of the servers that are known and of their floating IPs; waits for nothing."""
        cloud = self._parts.cloud
        for server_id in self._doomed:
            cloud.delete_server(server_id)
        if self._owners and cloud.connect().may_need_floating_ips:
            for floating_ip_id in self._left_floating_ips(inf):
                cloud.delete_floating_ip(floating_ip_id)

    def run(self, timeout: float) -> None:
        """Return when nothing is left. Raises CloudUnavailable when something still is after `timeout` seconds."""
        deadline = self._parts.clock.monotonic() + timeout
        self._remove_servers(deadline)
        self._remove_leftovers(deadline)

    def _remove_servers(self, deadline: float) -> None:
        listing: Listing[Server] | None = None
        while True:
            for doomed in [*self._doomed.values()]:
                self._ask_if_due(doomed, listing)
            if listing is not None and listing.started_at >= self._look_until and self._all_gone():
                return
            self._give_up_at(deadline, "server", [d.server_id for d in self._doomed.values()])
            listing = self._parts.servers.next(listing, deadline=deadline)
            for server in listing.items.values():
                if self._ours(server):
                    self._doomed.setdefault(server.id, Doomed(server_id=server.id))
            self._doomed = {i: retire.observe(doomed, listing) for i, doomed in self._doomed.items()}

    def _all_gone(self) -> bool:
        return all(retire.is_gone(doomed, self._parts.tuning) for doomed in self._doomed.values())

    def _ask_if_due(self, doomed: Doomed, listing: Listing[Server] | None) -> None:
        parts, now = self._parts, self._parts.clock.monotonic()
        server = listing.items.get(doomed.server_id) if listing else None
        if not retire.ask_due(doomed, server, now=now, tuning=parts.tuning):
            return
        try:
            parts.cloud.delete_server(doomed.server_id)
        except (CloudUnavailable, Rejected) as error:  # Rejected: its state forbids it now
            self._trouble = str(error)
            pause = getattr(error, "retry_after", None) or doubling(AGAIN, doomed.asks, AGAIN_MOST)
            self._doomed[doomed.server_id] = replace(doomed, asks=doomed.asks + 1, not_before=now + pause)
        else:
            asked_at = parts.clock.monotonic()
            self._doomed[doomed.server_id] = replace(
                doomed, asked_at=asked_at, asks=doomed.asks + 1, sightings=0
            )

    def _remove_leftovers(self, deadline: float) -> None:
        """Ports first: a floating IP that was bound to one is unbound then."""
        cloud = self._parts.cloud
        info = cloud.connect()
        if info.has_network:
            self._remove("port", self._left_ports, cloud.delete_port, deadline)
        if info.may_need_floating_ips and self._owners:
            self._remove("floating IP", self._left_floating_ips, cloud.delete_floating_ip, deadline)
        if info.has_volumes and self._volumes is not None:
            self._remove("volume", self._left_volumes, cloud.delete_volume, deadline)

    def _remove(
        self,
        kind: str,
        left_by: Callable[[float], Collection[str]],
        delete: Callable[[str], None],
        deadline: float,
    ) -> None:
        """Delete what `left_by` finds until it finds nothing."""
        attempts = 0
        while left := left_by(deadline):
            self._give_up_at(deadline, kind, left)
            if attempts:
                self._parts.pause(doubling(AGAIN, attempts, AGAIN_MOST))
            attempts += 1
            for thing in left:
                try:
                    delete(thing)
                except (CloudUnavailable, Rejected) as error:
                    self._trouble = str(error)

    def _left_ports(self, deadline: float) -> list[str]:
        listed = self._parts.ports.fresh(deadline=deadline).items
        return [p.id for p in listed.values() if self._ours(p) or p.device_id in self._doomed]

    def _left_floating_ips(self, deadline: float) -> list[str]:
        """Those with our mark that nobody has given to another server since.

        Those of the Compute service have none; the cloud layer releases them with the server.
        """
        listed = self._parts.floating_ips.fresh(deadline=deadline).items
        ours = [ip for ip in listed.values() if self._ours(ip)]
        if not any(ip.port_id for ip in ours):
            return [ip.id for ip in ours]
        ports = self._parts.ports.fresh(deadline=deadline).items
        servers = self._parts.servers.last
        alive = set(servers.items if servers else ()).difference(self._doomed)
        return [ip.id for ip in ours if unused(ip, ports, alive)]

    def _left_volumes(self, deadline: float) -> list[str]:
        listed = self._parts.volumes.fresh(deadline=deadline).items
        ours = [v for v in listed.values() if self._ours(v) or v.id in (self._volumes or ())]
        return [v.id for v in ours if set(v.server_ids) <= set(self._doomed)]

    def _ours(self, thing: Server | FloatingIp | Port | Volume) -> bool:
        return thing.owner is not None and whose(thing.owner) in self._owners

    def _give_up_at(self, deadline: float, kind: str, ids: Collection[str]) -> None:
        if self._parts.clock.monotonic() < deadline:
            return
        text = f"cloud {self._parts.name}: not gone in time: {kind} {', '.join(sorted(ids)) or 'unknown'}"
        raise CloudUnavailable(f"{text}; last trouble: {self._trouble}" if self._trouble else text)
