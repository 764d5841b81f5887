"""Floating IPs of the Compute service, as clouds before Neutron have them (cloud.md 3.12).

They are allocated and bound by two calls and bear no mark, so one server at a time gets one, and a server's are
released just before it is deleted: afterwards nobody could tell whose they were. What a crash leaves between the
two calls is an idle one without a mark. These calls go without a microversion: they are gone from 2.36 on
(Compute API reference, "Floating IPs", "Add (Associate) Floating Ip").
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from poolmgr.cloud.openstack.cached import Cached
from poolmgr.cloud.openstack.errors import Forbidden
from poolmgr.cloud.openstack.floating import Bind, NatPlan, may_come_up, pool_plan
from poolmgr.cloud.openstack.paging import Pages
from poolmgr.cloud.openstack.quota import floating_ip_quotas
from poolmgr.cloud.openstack.service import Service
from poolmgr.config.settings import CloudSettings
from poolmgr.errors import CloudError, NotFound, OutcomeUnknown, Rejected
from poolmgr.model.server import FloatingIp, Listing, Owner, Quota, Server
from poolmgr.runtime.clock import Clock

log = logging.getLogger(__name__)

POOLS_TTL = 600.0  # seconds


class NovaFloatingIps:
    """See `expose.FloatingIps`. `service` must send no microversion."""

    def __init__(self, settings: CloudSettings, service: Service, clock: Clock) -> None:
        self._settings = settings
        self._service = service
        self._clock = clock
        self._pools = Cached(self._read_pools, POOLS_TTL, clock)
        self._one_at_a_time = threading.Lock()

    def plan(self) -> NatPlan:
        return pool_plan(self._settings, self._pools.get())

    def give(self, server: Server, owner: Owner, bind: Bind) -> FloatingIp | None:
        with self._one_at_a_time:
            for found in self._on(server.id):
                return found
            made = self._allocate(bind.source)
            try:
                self._bind(server, made)
            except CloudError:
                self._give_up(made)
                raise
        log.info("floating IP %s (%s) bound for %s", made.address, made.id, owner.tag())
        return replace(made, port_id=server.id)

    def drop_caches(self) -> None:
        self._pools.drop()

    def quotas(self) -> tuple[Quota, ...]:
        document = self._service.told("/limits") or {}
        found = floating_ip_quotas((document.get("limits") or {}).get("absolute") or {})
        return tuple(quota for quota in found if quota.limit is not None)

    def list(self) -> Listing[FloatingIp]:
        started_at = self._clock.monotonic()
        pages = Pages(items=[], complete=True)
        if self._pools.get():
            pages = self._service.list("/os-floating-ips", "floating_ips")
        return Listing(
            items={str(raw["id"]): nova_floating_ip_of(raw) for raw in pages.items},
            started_at=started_at,
            finished_at=self._clock.monotonic(),
            complete=pages.complete,
        )

    def delete(self, floating_ip_id: str) -> None:
        try:
            self._service.delete(f"/os-floating-ips/{floating_ip_id}")
        except NotFound:
            log.debug("floating IP %s is gone already", floating_ip_id)

    def release(self, server_id: str) -> None:
        """Raises CloudUnavailable, for the server to be kept: the same service would delete it."""
        if not may_come_up(self._settings) or not self._pools.get():
            return
        with self._one_at_a_time:
            for found in self._on(server_id):
                try:
                    self.delete(found.id)
                except (Rejected, Forbidden) as error:
                    log.warning("floating IP %s of server %s is left behind: %s", found.id, server_id, error)

    def _on(self, server_id: str) -> tuple[FloatingIp, ...]:
        return tuple(found for found in self.list().items.values() if found.port_id == server_id)

    def _allocate(self, pool: str) -> FloatingIp:
        answer = self._service.post("/os-floating-ips", {"pool": pool})
        made = (answer.document() or {}).get("floating_ip")
        if not isinstance(made, dict) or not made.get("id") or not made.get("ip"):
            raise OutcomeUnknown(f"{answer.call}: {answer.status} without a floating IP")
        return nova_floating_ip_of(made)

    def _bind(self, server: Server, made: FloatingIp) -> None:
        wanted = {"address": made.address, "fixed_address": server.addresses.fixed_v4}
        self._service.ask(f"/servers/{server.id}/action", {"addFloatingIp": wanted})

    def _give_up(self, made: FloatingIp) -> None:
        try:
            self.delete(made.id)
        except CloudError as error:
            log.warning("floating IP %s (%s) is left behind: %s", made.address, made.id, error)

    def _read_pools(self) -> tuple[str, ...]:
        document = self._service.told("/os-floating-ip-pools") or {}
        return tuple(str(pool["name"]) for pool in document.get("floating_ip_pools") or ())


def nova_floating_ip_of(raw: Mapping[str, Any]) -> FloatingIp:
    """A floating IP as the Compute API shows it; what it is bound to is a server."""
    return FloatingIp(id=str(raw["id"]), address=raw.get("ip") or "", port_id=raw.get("instance_id") or None)
