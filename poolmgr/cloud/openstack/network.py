"""Calls to the Network service (Neutron, API v2.0)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from poolmgr.cloud.openstack.cached import Cached
from poolmgr.cloud.openstack.errors import Forbidden, StaleName
from poolmgr.cloud.openstack.floating import GuestPort
from poolmgr.cloud.openstack.quota import network_quotas
from poolmgr.cloud.openstack.service import Query, Service
from poolmgr.cloud.openstack.topology import (
    NETWORK_FIELDS,
    Topology,
    network_of,
    router_of,
    subnet_of,
)
from poolmgr.errors import CloudError, NotFound, OutcomeUnknown, Rejected
from poolmgr.model.server import FloatingIp, Listing, Port, Quota, owner_of_tag
from poolmgr.model.trouble import Trouble
from poolmgr.runtime.clock import Clock

log = logging.getLogger(__name__)

TOPOLOGY_TTL = 600.0  # seconds
GROUPS_TTL = 300.0
RETRY_AFTER = 60.0  # for lists of servers, while the service does not answer

ROUTER_PORTS = (
    "network:router_interface",
    "network:router_interface_distributed",
    "network:ha_router_replicated_interface",
)

#: What launching takes of the Network service's quotas, and where it is listed.
_COUNTABLE = {"ports": ("/ports", "ports"), "floating-ips": ("/floatingips", "floatingips")}


class Networks:
    """What we ask of the Network service; `project_id` is asked for at first use."""

    def __init__(self, service: Service, clock: Clock, project_id: Callable[[], str | None]) -> None:
        self._service = service
        self._clock = clock
        self._project_id = project_id
        self._topology = Cached(self._read_topology, TOPOLOGY_TTL, clock)
        self._groups = Cached(self._read_groups, GROUPS_TTL, clock)
        self._next_try = float("-inf")  # monotonic

    def present(self) -> bool:
        return self._service.endpoint() is not None

    def topology(self) -> Topology:
        """Networks, subnets and routers, cached 10 minutes; empty where there is no Network service."""
        return self._topology.get() if self.present() else Topology()

    def known_topology(self) -> Topology:
        """As `topology`, but never waits for what is known already, however old.

        For reading lists of servers, which must not depend on a second service.
        """
        known = self._topology.last()
        if known is not None or self._clock.monotonic() < self._next_try:
            return known or Topology()
        try:
            return self.topology()
        except CloudError as error:
            log.warning("the networks are not known now: %s", error)
            self._next_try = self._clock.monotonic() + RETRY_AFTER
            return Topology()

    def drop_caches(self) -> None:
        self._topology.drop()
        self._groups.drop()

    def group_ids(self, names: Sequence[str]) -> tuple[str, ...]:
        """The ids of security groups named by name or id. Raises StaleName, Rejected if ambiguous."""
        return tuple(self._group_id(name) for name in names)

    def guest_ports(self, server_id: str) -> tuple[GuestPort, ...]:
        """The ports of one server."""
        query: Query = {
            "device_id": server_id,
            "fields": ["id", "network_id", "fixed_ips", "mac_address", "device_id"],
        }
        found = self._service.whole("/ports", "ports", query)
        return tuple(_guest_port(raw) for raw in found if raw.get("device_id", server_id) == server_id)

    def quotas(self) -> tuple[Quota, ...]:
        """Limits of ports, floating IPs and so on, with their use where that is told; () where nothing is."""
        project_id = self._project_id()
        for path in (f"/quotas/{project_id}/details.json", f"/quotas/{project_id}"):
            document = self._service.told(path)
            if document is not None:
                return network_quotas(document.get("quota") or {})
        return ()

    def counted_quotas(self) -> tuple[Quota, ...]:
        """Limits of ports and floating IPs, where there are any; their use is counted where it is not told."""
        limited = [q for q in self.quotas() if q.resource in _COUNTABLE and q.limit is not None]
        return tuple(replace(q, used=self._count(q.resource)) if q.used is None else q for q in limited)

    def _count(self, resource: str) -> float | None:
        """How many the project has; None where the list is not whole."""
        path, collection = _COUNTABLE[resource]
        query: Query = {"fields": ["id"]}
        project_id = self._project_id()
        if project_id:  # an administrator would count those of all projects
            query = {**query, "project_id": project_id}
        pages = self._service.list(path, collection, query)
        return len(pages.items) if pages.complete else None

    def create_port(self, network_id: str, *, tag: str, groups: Sequence[str]) -> GuestPort:
        """A port that bears `tag`, with the security groups of these ids; () leaves them to the cloud.

        Raises OverQuota, NoCapacity, NotFound (the network is gone), Rejected, OutcomeUnknown.
        """
        wanted: dict[str, Any] = {"network_id": network_id, "name": tag, "description": tag}
        if groups:
            wanted["security_groups"] = list(groups)
        answer = self._service.post("/ports", {"port": wanted})
        port = (answer.document() or {}).get("port")
        if not isinstance(port, dict) or not port.get("id"):
            raise OutcomeUnknown(f"{answer.call}: {answer.status} without a port's id")
        return _guest_port(port)

    def unbound_ports(self, tag: str) -> tuple[str, ...]:
        """Ids of the ports that bear `tag` and belong to no server."""
        found = self._service.whole("/ports", "ports", {"name": tag, "fields": ["id", "name", "device_id"]})
        return tuple(raw["id"] for raw in found if raw.get("name") == tag and not raw.get("device_id"))

    def list_ports(self) -> Listing[Port]:
        fields = ["id", "device_id", "device_owner", "status", "description"]
        return self._listing("/ports", "ports", {"fields": fields}, port_of)

    def delete_port(self, port_id: str) -> None:
        self._delete(f"/ports/{port_id}")

    def list_floating_ips(self) -> Listing[FloatingIp]:
        fields = ["id", "floating_ip_address", "port_id", "status", "description"]
        return self._listing("/floatingips", "floatingips", {"fields": fields}, floating_ip_of)

    def floating_ip(self, floating_ip_id: str) -> FloatingIp:
        """Raises NotFound."""
        found = self._service.get(f"/floatingips/{floating_ip_id}").json()
        return floating_ip_of(found.get("floatingip") or {})

    def floating_ips_on(self, port_id: str) -> tuple[FloatingIp, ...]:
        """Those bound to a port."""
        found = self._service.whole("/floatingips", "floatingips", {"port_id": port_id})
        return tuple(floating_ip_of(raw) for raw in found if raw.get("port_id") == port_id)

    def create_floating_ip(self, source: str, port_id: str, fixed_v4: str, tag: str) -> FloatingIp:
        """Allocate and bind in one call: nobody can take the address in between.

        Raises OverQuota, NoCapacity, AlreadyBound, NotFound (the port is gone), Rejected, OutcomeUnknown.
        """
        wanted = {
            "floating_network_id": source,
            "port_id": port_id,
            "fixed_ip_address": fixed_v4,
            "description": tag,
        }
        answer = self._service.post("/floatingips", {"floatingip": wanted})
        return floating_ip_of(answer.json().get("floatingip") or {})

    def delete_floating_ip(self, floating_ip_id: str) -> None:
        self._delete(f"/floatingips/{floating_ip_id}")

    def _delete(self, path: str) -> None:
        try:
            self._service.delete(path)
        except NotFound:
            log.debug("%s is gone already", path)

    def _listing(
        self, path: str, collection: str, query: Query, record: Callable[[Mapping[str, Any]], Any]
    ) -> Listing[Any]:
        started_at = self._clock.monotonic()
        pages = self._service.list(path, collection, query)
        return Listing(
            items={raw["id"]: record(raw) for raw in pages.items},
            started_at=started_at,
            finished_at=self._clock.monotonic(),
            complete=pages.complete,
        )

    def _read_topology(self) -> Topology:
        networks = self._service.whole("/networks", "networks", {"fields": list(NETWORK_FIELDS)})
        subnet_fields = ["id", "network_id", "cidr", "ip_version", "gateway_ip"]
        subnets = self._service.whole("/subnets", "subnets", {"fields": subnet_fields})
        routers, interfaces = self._read_routers()
        return Topology(
            networks={raw["id"]: network_of(raw) for raw in networks},
            subnets={raw["id"]: subnet_of(raw) for raw in subnets},
            routers={raw["id"]: router_of(raw, interfaces) for raw in routers},
            project_id=self._project_id(),
        )

    def _read_routers(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """The project's routers and their interfaces; none where the cloud does not show them."""
        try:
            fields = ["id", "name", "external_gateway_info", "admin_state_up"]
            routers = self._service.whole("/routers", "routers", {"fields": fields})
            if not any(raw.get("external_gateway_info") for raw in routers):
                return routers, []
            query: Query = {"device_owner": list(ROUTER_PORTS), "fields": ["id", "device_id", "fixed_ips"]}
            return routers, self._service.whole("/ports", "ports", query)
        except (Forbidden, NotFound) as error:
            log.debug("the cloud shows no routers: %s", error)
            return [], []

    def _read_groups(self) -> Mapping[str, tuple[str, ...]]:
        """Ids of the project's own security groups by name and by id."""
        project_id = self._project_id()
        query: Query = {"fields": ["id", "name", "project_id", "tenant_id"]}
        if project_id:  # an administrator would see the groups of all projects
            query = {**query, "project_id": project_id}
        groups: dict[str, tuple[str, ...]] = {}
        for raw in self._service.whole("/security-groups", "security_groups", query):
            owner = raw.get("project_id") or raw.get("tenant_id") or project_id
            if owner == project_id:
                groups[raw["name"]] = (*groups.get(raw["name"], ()), raw["id"])
                groups[raw["id"]] = (raw["id"],)
        return groups

    def _group_id(self, name: str) -> str:
        ids = self._groups.get().get(name, ())
        where = f"cloud {self._service.cloud}: security group {name}"
        if len(ids) > 1:
            message = f"{where}: several have this name: {', '.join(sorted(ids))}"
            raise Trouble.GROUP_AMBIGUOUS.error(Rejected, message)
        if not ids:
            names = sorted(known for known in self._groups.get() if known not in self._groups.get()[known])
            message = f"{where}: not found (groups of the project: {', '.join(names) or 'none'})"
            raise Trouble.GROUP_UNKNOWN.error(StaleName, message)
        return ids[0]


def floating_ip_of(raw: Mapping[str, Any]) -> FloatingIp:
    """A floating IP as the Network API shows it."""
    return FloatingIp(
        id=raw.get("id") or "",
        address=raw.get("floating_ip_address") or "",
        port_id=raw.get("port_id") or None,
        status=raw.get("status") or "",
        owner=owner_of_tag(raw.get("description") or ""),
    )


def port_of(raw: Mapping[str, Any]) -> Port:
    return Port(
        id=raw["id"],
        device_id=raw.get("device_id") or "",
        device_owner=raw.get("device_owner") or "",
        status=raw.get("status") or "",
        owner=owner_of_tag(raw.get("description") or ""),
    )


def _guest_port(raw: Mapping[str, Any]) -> GuestPort:
    ips = [fixed["ip_address"] for fixed in raw.get("fixed_ips") or () if fixed.get("ip_address")]
    return GuestPort(
        id=raw["id"],
        network_id=raw.get("network_id") or "",
        fixed_v4=tuple(ip for ip in ips if ":" not in ip),
        fixed_v6=tuple(ip for ip in ips if ":" in ip),
        mac=raw.get("mac_address") or "",
    )
