"""The kinds of cloud there are, as far as a client can tell them apart.

direct   as OVH: guests have a public address on their port; Neutron, no floating IP needed
nat      as most private clouds: guests sit on a private network behind a router and need a floating IP
novanet  as clouds before Neutron: no network service, addresses as nova-network gave them, no microversions
v6       guests have a public IPv6 and a private IPv4 address on one network
tasks    as classic Rackspace: images only by object storage and task (vhd), no network service, untyped addresses
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


class Range(enum.Enum):
    """Which kind of address a network gives."""

    PUBLIC = "public"  # reachable on loopback
    PRIVATE = "private"  # exists nowhere, unless the cloud's `private` is `loopback`
    FLOATING = "floating"  # reachable, and handed out only as floating IPs


@dataclass(frozen=True, kw_only=True)
class NetworkPlan:
    name: str
    v4: Range
    v6: bool = False  # the mapped form of a reachable address
    external: bool = False
    shared: bool = False
    pluggable: bool = True
    routed_to: str | None = None  # name of the external network that a router joins it to


@dataclass(frozen=True, kw_only=True)
class Shape:
    """`microversions` None: Compute has none. `clouds_yaml`: what an operator must say of such a cloud."""

    name: str
    networks: tuple[NetworkPlan, ...]
    services: frozenset[str]
    microversions: tuple[str, str] | None = ("2.1", "2.93")
    typed_addresses: bool = True  # OS-EXT-IPS:type is there
    access_ip: bool = False  # accessIPv4 holds the public address
    image_tasks: bool = False  # images only by task
    image_format: str = "qcow2"
    private: str = "unreachable"  # unreachable (10.x) or loopback
    clouds_yaml: Mapping[str, Any] = field(default_factory=dict)


_CORE = frozenset({"identity", "compute", "image", "volume", "object-store"})
_ALL = _CORE | {"network"}
_PUBLIC_AND_PRIVATE = (
    NetworkPlan(name="public", v4=Range.PUBLIC, external=True, shared=True),
    NetworkPlan(name="private", v4=Range.PRIVATE),
)
_NO_NEUTRON = {"floating_ip_source": None, "secgroup_source": None}

SHAPES: Mapping[str, Shape] = {
    "direct": Shape(
        name="direct",
        networks=(NetworkPlan(name="public", v4=Range.PUBLIC, external=True, shared=True),),
        services=_ALL,
        image_format="raw",
        clouds_yaml={"image_format": "raw"},
    ),
    "nat": Shape(
        name="nat",
        networks=(
            NetworkPlan(name="ext-net", v4=Range.FLOATING, external=True, shared=False, pluggable=False),
            NetworkPlan(name="private", v4=Range.PRIVATE, routed_to="ext-net"),
        ),
        services=_ALL,
    ),
    "novanet": Shape(
        name="novanet",
        networks=_PUBLIC_AND_PRIVATE,
        services=_CORE - {"object-store"},
        microversions=None,
        typed_addresses=False,
        clouds_yaml=_NO_NEUTRON,
    ),
    "v6": Shape(
        name="v6",
        networks=(NetworkPlan(name="dual", v4=Range.PRIVATE, v6=True),),
        services=_ALL,
        microversions=("2.1", "2.60"),
        private="loopback",
        clouds_yaml={
            "networks": [
                {
                    "name": "dual",
                    "routes_ipv6_externally": True,
                    "routes_ipv4_externally": False,
                    "default_interface": True,
                }
            ]
        },
    ),
    "tasks": Shape(
        name="tasks",
        networks=_PUBLIC_AND_PRIVATE,
        services=_CORE,
        microversions=None,
        typed_addresses=False,
        access_ip=True,
        image_tasks=True,
        image_format="vhd",
        clouds_yaml={
            **_NO_NEUTRON,
            "requires_floating_ip": False,
            "image_format": "vhd",
            "image_api_use_tasks": True,
        },
    ),
}
