"""A project's networks as records, and the pure questions asked of them (cloud.md 3.3, 3.10, 3.11)."""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from poolmgr.cloud.openstack.errors import StaleName
from poolmgr.config.settings import CloudNetwork
from poolmgr.errors import Rejected
from poolmgr.model.trouble import Trouble

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Network:
    id: str
    name: str
    external: bool = False  # router:external
    physical: bool = False  # the provider's physical network is told: few clouds show it
    shared: bool = False
    project_id: str | None = None
    admin_up: bool = True
    port_security: bool = True
    bare: bool = False  # without any subnet


@dataclass(frozen=True, kw_only=True, slots=True)
class Subnet:
    id: str
    network_id: str
    cidr: str
    ip_version: int = 4
    gateway_ip: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Router:
    """A router with a gateway; `subnet_ids` are those it has an interface in."""

    id: str
    gateway_network_id: str | None
    name: str = ""
    admin_up: bool = True
    subnet_ids: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Topology:
    """All networks a project sees. Empty where there is no Network service."""

    networks: Mapping[str, Network] = field(default_factory=dict)  # by id
    subnets: Mapping[str, Subnet] = field(default_factory=dict)
    routers: Mapping[str, Router] = field(default_factory=dict)
    project_id: str | None = None

    @cached_property
    def by_name(self) -> Mapping[str, tuple[Network, ...]]:
        names: dict[str, list[Network]] = {}
        for network in self.networks.values():
            names.setdefault(network.name, []).append(network)
        return {name: tuple(found) for name, found in names.items()}

    def subnets_of(self, network_id: str) -> list[Subnet]:
        return [subnet for subnet in self.subnets.values() if subnet.network_id == network_id]

    def holding(self, candidates: Iterable[Network], address: str) -> Network | None:
        """The one of `candidates` with a subnet that `address` lies in."""
        ip = ipaddress.ip_address(address)
        for network in candidates:
            if any(ip in ipaddress.ip_network(s.cidr, strict=False) for s in self.subnets_of(network.id)):
                return network
        return None

    def pick(self, name_or_id: str) -> Network:
        """The network of that id or name; of several with one name the project's own.

        Raises StaleName when there is none, Rejected when it is ambiguous or switched off.
        """
        network = self.networks.get(name_or_id) or self._named(name_or_id)
        if not network.admin_up:
            message = f"network {name_or_id}: admin_state_up is false, servers would get no address"
            raise Trouble.NETWORK_DOWN.error(Rejected, message)
        return network

    def _named(self, name: str) -> Network:
        found = self.by_name.get(name, ())
        own = [network for network in found if network.project_id == self.project_id]
        if len(found) > 1 and len(own) == 1:
            return own[0]
        if len(found) > 1:
            ids = ", ".join(sorted(network.id for network in found))
            raise Trouble.NETWORK_AMBIGUOUS.error(Rejected, f"network {name}: several have this name: {ids}")
        if not found:
            known = ", ".join(sorted(self.by_name)) or "none"
            message = f"network {name}: not found (networks of the project: {known})"
            raise Trouble.NETWORK_UNKNOWN.error(StaleName, message)
        return found[0]


def networks_to_attach(
    asked: Sequence[str], configured: Sequence[CloudNetwork], topology: Topology
) -> tuple[Network, ...]:
    """The networks a new server gets, first one first (cloud.md 3.10).

    `asked` (label or pool), else the cloud's default_interface, else its nat_destination, else the only usable
    one. Raises StaleName, or Rejected, also for a network on which a server would get no address.
    """
    names = asked or _default_names(configured)
    if names:
        return tuple(_with_subnet(topology.pick(name)) for name in names)
    usable = [network for network in topology.networks.values() if network.admin_up and not network.bare]
    inside = [network for network in usable if not network.external]
    choice = inside or [network for network in usable if network.shared]
    if len(choice) == 1:
        return (choice[0],)
    if not choice:
        bare = sorted(network.name for network in topology.networks.values() if network.bare)
        without = f" (without a subnet: {', '.join(bare)})" if bare else ""
        raise Trouble.NO_NETWORK.error(
            Rejected, f"the project has no network that a server can be attached to{without}"
        )
    listed = ", ".join(sorted(f"{network.name} ({network.id})" for network in choice))
    raise Trouble.SEVERAL_NETWORKS.error(Rejected, f"servers could be attached to several networks: {listed}")


def _with_subnet(network: Network) -> Network:
    if network.bare:
        message = f"network {network.name} ({network.id}): it has no subnet, servers would get no address"
        raise Trouble.NETWORK_WITHOUT_SUBNET.error(StaleName, message)
    return network


def groups_for_all(networks: Sequence[Network], groups: Sequence[str]) -> Sequence[str]:
    """`groups` as a create call may name them, where they hold for all of a server's ports.

    None where no network has port security. Raises Rejected where only some have: nova refuses groups then
    (its SecurityGroupCannotBeApplied).
    """
    insecure = [network.name for network in networks if not network.port_security]
    if not insecure or not groups:
        return groups
    if len(insecure) < len(networks):
        raise Rejected(
            f"security groups cannot be applied on network {', '.join(insecure)}, where port security is off: "
            "leave them out, or set port_mode: precreate in clouds.yaml to have them on the other ports"
        )
    log.info("security groups are left out: port security is off on %s", ", ".join(insecure))
    return ()


def _default_names(configured: Sequence[CloudNetwork]) -> list[str]:
    for flagged in (
        [network.name for network in configured if network.default_interface],
        [network.name for network in configured if network.nat_destination],
    ):
        if flagged:
            return flagged
    return []


NETWORK_FIELDS = (
    *("id", "name", "router:external", "shared", "provider:physical_network"),
    *("port_security_enabled", "admin_state_up", "project_id", "tenant_id", "subnets"),
)


def network_of(raw: Mapping[str, Any]) -> Network:
    """A network as the Network API v2.0 shows it."""
    return Network(
        id=raw["id"],
        name=raw.get("name") or "",
        external=bool(raw.get("router:external")),
        physical=bool(raw.get("provider:physical_network")),
        shared=bool(raw.get("shared")),
        project_id=raw.get("project_id") or raw.get("tenant_id"),
        admin_up=raw.get("admin_state_up") is not False,
        port_security=raw.get("port_security_enabled") is not False,
        bare=raw.get("subnets") == [],
    )


def subnet_of(raw: Mapping[str, Any]) -> Subnet:
    return Subnet(
        id=raw["id"],
        network_id=raw.get("network_id") or "",
        cidr=raw.get("cidr") or "",
        ip_version=int(raw.get("ip_version") or 4),
        gateway_ip=raw.get("gateway_ip"),
    )


def router_of(raw: Mapping[str, Any], interfaces: Iterable[Mapping[str, Any]]) -> Router:
    """A router, and the ports that are its interfaces (`device_id` is its id)."""
    gateway = raw.get("external_gateway_info") or {}
    own = [port for port in interfaces if port.get("device_id") == raw["id"]]
    return Router(
        id=raw["id"],
        gateway_network_id=gateway.get("network_id"),
        name=raw.get("name") or "",
        admin_up=raw.get("admin_state_up") is not False,
        subnet_ids=frozenset(
            fixed["subnet_id"]
            for port in own
            for fixed in port.get("fixed_ips") or ()
            if "subnet_id" in fixed
        ),
    )
