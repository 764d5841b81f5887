"""Giving a server the floating IP it needs, and remembering it until nova shows it (cloud.md 3.11, 3.12)."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Protocol

from poolmgr.cloud.openstack.addresses import AddressRules, with_floating
from poolmgr.cloud.openstack.errors import StaleName
from poolmgr.cloud.openstack.floating import Bind, Leave, NatPlan, Refuse, decide, no_need
from poolmgr.config.settings import CloudSettings
from poolmgr.errors import Rejected
from poolmgr.model.server import Addresses, FloatingIp, Listing, Owner, Quota, Server

log = logging.getLogger(__name__)

KEPT = 10_000  # floating IPs remembered; nova has long shown the older ones


class FloatingIps(Protocol):
    """One of the two services that make floating IPs. Thread-safe."""

    def plan(self) -> NatPlan:
        """Where they come from."""

    def give(self, server: Server, owner: Owner, bind: Bind) -> FloatingIp | None:
        """One that is bound to `server`, made or found; None if no port of it can have one.

        Leaves none behind on failure. Raises what `Cloud.expose` does.
        """

    def drop_caches(self) -> None:
        """What `plan` says is to be found out anew."""

    def quotas(self) -> tuple[Quota, ...]:
        """The limit of floating IPs with its use, where it is not one of the Network service's."""

    def list(self) -> Listing[FloatingIp]:
        """See `Cloud.list_floating_ips`."""

    def delete(self, floating_ip_id: str) -> None:
        """See `Cloud.delete_floating_ip`."""

    def release(self, server_id: str) -> None:
        """The server is about to be deleted: give back what nobody could tell to be its own afterwards."""


class Exposer:
    """Decides who gets one, and remembers those that nova does not show yet. Thread-safe."""

    def __init__(
        self, settings: CloudSettings, floating_ips: FloatingIps, rules: Callable[[], AddressRules]
    ) -> None:
        self._settings = settings
        self._floating_ips = floating_ips
        self._rules = rules
        self._lock = threading.Lock()
        self._bound: dict[str, FloatingIp] = {}  # by server id

    def expose(self, server: Server, owner: Owner, *, auto: bool) -> Addresses:
        """See `Cloud.expose`."""
        addresses = server.addresses
        if addresses.floating_v4:
            self.forget_server(server.id)  # nova shows it by now
            return addresses
        found = self._bound.get(server.id) or self._given(server, owner, auto=auto)
        if found is None:
            return addresses
        with self._lock:
            self._bound[server.id] = found
            if len(self._bound) > KEPT:
                self._bound.pop(next(iter(self._bound)))
        return with_floating(addresses, found.address, self._rules())

    def forget_server(self, server_id: str) -> None:
        with self._lock:
            self._bound.pop(server_id, None)

    def forget_floating_ip(self, floating_ip_id: str) -> None:
        with self._lock:
            self._bound = {s: fip for s, fip in self._bound.items() if fip.id != floating_ip_id}

    def _given(self, server: Server, owner: Owner, *, auto: bool) -> FloatingIp | None:
        reason = no_need(server.addresses, self._settings, auto=auto)
        if reason:
            log.debug("server %s gets no floating IP: %s", server.id, reason)
            return None
        try:
            return self._planned(server, owner)
        except StaleName as error:  # a 4xx: nothing was made
            log.info("server %s: a floating IP is tried again with fresh lists: %s", server.id, error)
        self._floating_ips.drop_caches()
        return self._planned(server, owner)

    def _planned(self, server: Server, owner: Owner) -> FloatingIp | None:
        match decide(self._settings, self._floating_ips.plan()):
            case Leave(reason):
                log.debug("server %s gets no floating IP: %s", server.id, reason)
                return None
            case Refuse() as refusal:
                raise refusal.error(Rejected, self._settings.name)
            case bind:
                return self._floating_ips.give(server, owner, bind)
