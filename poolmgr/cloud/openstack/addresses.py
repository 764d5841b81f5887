"""Which of a server's addresses is which, and which one to connect to: pure (cloud.md 3.9).

Nova lists addresses under network names. A network's role comes from clouds.yaml where it says something, else
from what the Network service tells, else from the names `public` and `private`. Nothing is probed here: whether
an address answers is found out by whoever connects.
"""

from __future__ import annotations

import enum
import ipaddress
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from poolmgr.cloud.openstack.topology import Network, Topology
from poolmgr.config.settings import CloudNetwork, CloudSettings
from poolmgr.model.server import Addresses

UNICAST_V6 = ipaddress.ip_network("2000::/3")


class Source(enum.Enum):
    """How a network's role is known."""

    CONFIGURED = "clouds.yaml"
    FOUND = "network service"
    NAME = "its name alone"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True, slots=True)
class Role:
    """What a network is for."""

    source: Source = Source.UNKNOWN
    external4: bool = False
    external6: bool = False
    default_interface: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class AddressRules:
    """What of a cloud decides over addresses. `reachable_v6`: this machine has a way to the v6 internet."""

    role: Callable[[str, str], Role]  # of (network name, address)
    private: bool = False
    force_ipv4: bool = False
    reachable_v6: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Address:
    """One address of a server. `floating` None: the cloud does not tell."""

    ip: str
    version: int
    floating: bool | None
    mac: str
    role: Role


@dataclass(frozen=True, kw_only=True)
class Roles:
    """The roles of a cloud's networks; `role` is fit for `AddressRules`."""

    by_name: Mapping[str, Role] = field(default_factory=dict)
    ambiguous: Mapping[str, tuple[Network, ...]] = field(default_factory=dict)
    by_id: Mapping[str, Role] = field(default_factory=dict)
    topology: Topology = field(default_factory=Topology)

    def role(self, name: str, address: str) -> Role:
        """Of several networks of one name, which nova merges, the one whose subnet has the address."""
        if name in self.ambiguous:
            network = self.topology.holding(self.ambiguous[name], address) or self.ambiguous[name][0]
            return self.by_id[network.id]
        known = self.by_name.get(name)
        if known is None and name in ("public", "private"):
            return Role(source=Source.NAME, external4=name == "public", external6=name == "public")
        return known or Role()


def roles_of(
    configured: Sequence[CloudNetwork],
    topology: Topology,
    *,
    find_external: bool = True,
    find_internal: bool = True,
) -> Roles:
    """The roles of all networks of `topology` and of those that clouds.yaml names.

    `find_external`, `find_internal` False: that class is only what clouds.yaml says. That a network's physical
    network is told makes it external (a provider's) only where others have none: an administrator may see it of all,
    tenants' VLANs included, and then it tells nothing.
    """
    tells = not all(network.physical for network in topology.networks.values())
    said = {network.name: _said(network) for network in configured}
    by_id: dict[str, Role] = {}
    for network in topology.networks.values():
        external4 = network.external or (network.physical and tells)
        wanted = find_external if external4 else find_internal
        found = Role(source=Source.FOUND, external4=external4, external6=network.external)
        found = found if wanted else Role()
        by_id[network.id] = said.get(network.id) or said.get(network.name) or found
    by_name = {**said, **{network.name: by_id[network.id] for network in topology.networks.values()}}
    ambiguous = {name: found for name, found in topology.by_name.items() if len(found) > 1}
    return Roles(by_name=by_name, by_id=by_id, ambiguous=ambiguous, topology=topology)


def rules_for(settings: CloudSettings, topology: Topology, *, reachable_v6: bool) -> AddressRules:
    """How addresses are told apart in a cloud with these networks."""
    roles = roles_of(
        settings.networks,
        topology,
        find_external=settings.use_external_network,
        find_internal=settings.use_internal_network,
    )
    return AddressRules(
        role=roles.role,
        private=settings.private,
        force_ipv4=settings.force_ipv4,
        reachable_v6=reachable_v6,
    )


def _said(network: CloudNetwork) -> Role:
    return Role(
        source=Source.CONFIGURED,
        external4=network.routes_ipv4_externally,
        external6=network.routes_ipv6_externally,
        default_interface=network.default_interface,
    )


def addresses_of(
    listed: Mapping[str, Iterable[Mapping[str, Any]]],
    rules: AddressRules,
    *,
    access_v4: str = "",
    access_v6: str = "",
) -> Addresses:
    """A server's addresses by role, from nova's `addresses`, `accessIPv4` and `accessIPv6`."""
    found = [
        Address(
            ip=entry["addr"],
            version=entry.get("version") or (6 if ":" in entry["addr"] else 4),
            floating=_floating(entry),
            mac=entry.get("OS-EXT-IPS-MAC:mac_addr") or "",
            role=rules.role(name, entry["addr"]),
        )
        for name, entries in listed.items()
        for entry in entries
    ]
    v4 = [a for a in found if a.version == 4 and a.floating]  # floating before fixed, everywhere below
    v4 += [a for a in found if a.version == 4 and not a.floating]
    v6 = [a for a in found if a.version == 6]
    public_v4 = public_v4_of(v4, "" if rules.private else access_v4)
    private_v4 = private_v4_of(v4, public_v4)
    public_v6 = "" if rules.force_ipv4 else public_v6_of(v6, access_v6)
    others_v6 = sorted((a for a in v6 if a.ip != public_v6), key=lambda a: a.role.external6)
    private_v6 = first(
        a.ip for a in others_v6
    )  # one that is not globally routable on an external network, at last
    inside = private_v4 or ("" if rules.force_ipv4 else private_v6)
    interface_ip = (
        _on_default_interface(v4, v6, rules)
        or (inside if rules.private else "")
        or (public_v6 if rules.reachable_v6 else "")
        or public_v4
        or inside
        or public_v6
    )
    return Addresses(
        public_v4=public_v4,
        private_v4=private_v4,
        public_v6=public_v6,
        private_v6=private_v6,
        interface_ip=interface_ip,
        fixed_v4=private_v4 or first(a.ip for a in v4 if not a.floating),
        floating_v4=v4[0].ip if v4 and v4[0].floating else "",
    )


def public_v4_of(v4: Sequence[Address], access_v4: str) -> str:
    """The address the internet reaches, by six tiers; within one, in the order of `v4` (floating first)."""
    external = [a for a in v4 if a.role.external4]
    return (
        access_v4
        or first(a.ip for a in external if a.role.source is Source.CONFIGURED)
        or first(a.ip for a in v4 if a.floating)
        or first(a.ip for a in external if a.role.source is Source.FOUND)
        or first(a.ip for a in external)
        or first(a.ip for a in v4 if is_global(a.ip))
    )


def private_v4_of(v4: Sequence[Address], public_v4: str) -> str:
    """The address inside the cloud; of several the one on the port that has the floating IP."""
    fixed = [a for a in v4 if not a.floating and a.ip != public_v4]
    if not fixed:
        return ""
    macs = {a.mac for a in v4 if a.floating and a.mac}
    inside = [a for a in fixed if not a.role.external4]
    return (
        _by_mac([a for a in inside if a.role.source is Source.CONFIGURED], macs)
        or _by_mac([a for a in inside if a.role.source is Source.FOUND], macs)
        or _by_mac([a for a in inside if a.role.source is Source.NAME], macs)
        or _by_mac([a for a in fixed if not is_global(a.ip)], macs)
    )


def public_v6_of(v6: Sequence[Address], access_v6: str) -> str:
    configured = (a.ip for a in v6 if a.role.external6 and a.role.source is Source.CONFIGURED)
    return access_v6 or first(configured) or first(a.ip for a in v6 if is_unicast_v6(a.ip))


def with_floating(addresses: Addresses, ip: str, rules: AddressRules) -> Addresses:
    """`addresses` after `ip` was bound as a floating IP, which nova may show only later."""
    kept_v6 = addresses.public_v6 if rules.reachable_v6 else ""
    return Addresses(
        public_v4=ip,
        private_v4=addresses.private_v4 or addresses.fixed_v4,
        public_v6=addresses.public_v6,
        private_v6=addresses.private_v6,
        interface_ip=kept_v6 or ip,
        fixed_v4=addresses.fixed_v4,
        floating_v4=ip,
    )


def first(candidates: Iterable[str]) -> str:
    """The first of them, else ""."""
    return next(iter(candidates), "")


@lru_cache(maxsize=65536)
def is_global(ip: str) -> bool:
    """Neither private (RFC 1918) nor shared (100.64/10), documentation, loopback and the like."""
    try:
        return ipaddress.ip_address(ip).is_global
    except ValueError:
        return False


@lru_cache(maxsize=65536)
def is_unicast_v6(ip: str) -> bool:
    try:
        return ipaddress.ip_address(ip) in UNICAST_V6
    except ValueError:
        return False


def _on_default_interface(v4: Sequence[Address], v6: Sequence[Address], rules: AddressRules) -> str:
    use_v6 = rules.reachable_v6 and not rules.force_ipv4
    own_v6 = first(a.ip for a in v6 if a.role.default_interface) if use_v6 else ""
    return own_v6 or first(a.ip for a in v4 if a.role.default_interface)


def _by_mac(candidates: Sequence[Address], macs: set[str]) -> str:
    """The first of `candidates`, preferably one on a port of `macs`."""
    if not candidates:
        return ""
    return first(a.ip for a in candidates if a.mac in macs) or candidates[0].ip


def _floating(entry: Mapping[str, Any]) -> bool | None:
    kind = entry.get("OS-EXT-IPS:type")
    return None if kind is None else kind == "floating"
