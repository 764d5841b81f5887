"""The kinds of cloud there are, as far as a client can tell them apart. SHAPES is the table."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from poolmgr.simcloud.fault_kinds import FaultKind
from poolmgr.simcloud.faults import Fault

METHODS = ("put", "glance-direct", "web-download", "copy-image", "task")


class Range(enum.Enum):
    """Which kind of address a network gives."""

    PUBLIC = "public"  # v4, reachable on loopback
    PRIVATE = "private"  # v4, exists nowhere, unless the cloud's `private` is `loopback`
    FLOATING = "floating"  # v4, reachable, and handed out only as floating IPs
    CGNAT = "cgnat"  # v4 of 100.64/10, exists nowhere
    MAPPED = "mapped"  # v6, the mapped form of a reachable v4 address
    ULA = "ula"  # v6 of fd00::/8, exists nowhere
    GLOBAL = "global"  # v4 or v6 that looks global, and exists nowhere


@dataclass(frozen=True, kw_only=True)
class NetworkPlan:
    """A network as its cloud is built. Without `v4` and `v6` it has no subnet."""

    name: str
    v4: Range | None = None
    v6: Range | None = None
    external: bool = False
    shared: bool = False
    pluggable: bool = True
    routed_to: str | None = None  # name of the external network that a router joins it to
    admin_state_up: bool = True  # else servers get no addresses
    port_security: bool = True
    gateway: bool = True
    physical: str = ""  # provider:physical_network, where projects may see it


@dataclass(frozen=True, kw_only=True)
class ImageApi:
    """How images get into the cloud. `methods`: those of METHODS that work; `versions`: v1 and v2."""

    versions: tuple[str, ...] = ("v2",)
    methods: tuple[str, ...] = ("put", "glance-direct", "web-download")
    refusal: int = 403  # status of a way that is shut: 403, 404 or 405
    stores: tuple[str, ...] = ()  # of a cloud with several; the first is the default
    max_bytes: int | None = None  # 413 to more
    sha512: bool = True  # os_hash_algo and os_hash_value are there, beside the md5
    import_seconds: float = 0.5
    task_seconds: float = 1.0


@dataclass(frozen=True, kw_only=True)
class ObjectStore:
    """What the object store's /info says, and holds."""

    max_file_size: int = 5 << 30
    slo: bool = True  # else a manifest is stored as the object that it looks like
    min_segment_size: int = 1
    max_manifest_segments: int = 1000
    listing_limit: int = 10000


@dataclass(frozen=True, kw_only=True)
class Shape:
    """`microversions` None: Compute has none. `clouds_yaml`: what an operator must say of such a cloud."""

    name: str
    about: str
    networks: tuple[NetworkPlan, ...]
    services: frozenset[str]
    microversions: tuple[str, str] | None = ("2.1", "2.93")
    typed_addresses: bool = True  # OS-EXT-IPS:type is there
    access_ip: bool = False  # accessIPv4 holds the public address
    image_api: ImageApi = ImageApi()
    object_store: ObjectStore = ObjectStore()
    image_format: str = "qcow2"
    private: str = "unreachable"  # unreachable (10.x) or loopback
    catalog: Mapping[str, str | None] = field(default_factory=dict)  # service -> its path where it is another
    interfaces: tuple[str, ...] = ("public", "internal")  # of endpoints
    faults: tuple[Fault, ...] = ()  # that are there from the start
    clouds_yaml: Mapping[str, Any] = field(default_factory=dict)


_CORE = frozenset({"identity", "compute", "image", "volume", "object-store"})
ALL_SERVICES = _CORE | {"network"}
_DIRECT = (NetworkPlan(name="public", v4=Range.PUBLIC, external=True, shared=True),)
_NAT = (
    NetworkPlan(name="ext-net", v4=Range.FLOATING, external=True, shared=False, pluggable=False),
    NetworkPlan(name="private", v4=Range.PRIVATE, routed_to="ext-net"),
)
_PUBLIC_AND_PRIVATE = (
    NetworkPlan(name="public", v4=Range.PUBLIC, external=True, shared=True),
    NetworkPlan(name="private", v4=Range.PRIVATE),
)
_NO_NEUTRON = {"floating_ip_source": None, "secgroup_source": None}

SHAPES: Mapping[str, Shape] = {
    "direct": Shape(
        name="direct",
        about="as OVH: guests have a public address on their port; Neutron, no floating IP needed",
        networks=_DIRECT,
        services=ALL_SERVICES,
        image_format="raw",
        clouds_yaml={"image_format": "raw"},
    ),
    "nat": Shape(
        name="nat",
        about="as most private clouds: guests sit on a private network behind a router and need "
        "a floating IP",
        networks=_NAT,
        services=ALL_SERVICES,
    ),
    "novanet": Shape(
        name="novanet",
        about="as clouds before Neutron: no network service, addresses as nova-network gave "
        "them, no microversions",
        networks=_PUBLIC_AND_PRIVATE,
        services=_CORE - {"object-store"},
        microversions=None,
        typed_addresses=False,
        clouds_yaml=_NO_NEUTRON,
    ),
    "novafip": Shape(
        name="novafip",
        about="as `novanet`, but guests have private addresses and need floating IPs, which Nova's own API "
        "gives",
        networks=(
            NetworkPlan(name="nova", v4=Range.FLOATING, external=True, pluggable=False),
            NetworkPlan(name="private", v4=Range.PRIVATE),
        ),
        services=_CORE,
        microversions=("2.1", "2.38"),
        clouds_yaml={"floating_ip_source": "nova", "secgroup_source": "nova"},
    ),
    "v6": Shape(
        name="v6",
        about="guests have a public IPv6 and a private IPv4 address on one network",
        networks=(NetworkPlan(name="dual", v4=Range.PRIVATE, v6=Range.MAPPED),),
        services=ALL_SERVICES,
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
        about="as classic Rackspace: images only by object storage and task (vhd), no network "
        "service, untyped addresses",
        networks=_PUBLIC_AND_PRIVATE,
        services=_CORE,
        microversions=None,
        typed_addresses=False,
        access_ip=True,
        image_api=ImageApi(methods=("task",)),
        image_format="vhd",
        clouds_yaml={
            **_NO_NEUTRON,
            "requires_floating_ip": False,
            "image_format": "vhd",
            "image_api_use_tasks": True,
        },
    ),
    "v1only": Shape(
        name="v1only",
        about="as the oldest: Glance v1 and nothing newer, no microversions, no object store",
        networks=_DIRECT,
        services=ALL_SERVICES - {"object-store"},
        microversions=None,
        image_api=ImageApi(versions=("v1",), methods=("put",), sha512=False),
    ),
    "import": Shape(
        name="import",
        about="images come in by import only, to one of several stores; the upload of data is "
        "refused with 405",
        networks=_DIRECT,
        services=ALL_SERVICES,
        image_api=ImageApi(
            methods=("glance-direct", "web-download", "copy-image"), refusal=405, stores=("fast", "cheap")
        ),
    ),
    "lying": Shape(
        name="lying",
        about="as `nat`, but the catalog names Glance v1, which is not there, and Nova v2 with a "
        "project, and links in version documents name another host",
        networks=_NAT,
        services=ALL_SERVICES,
        catalog={
            "image": "image/v1",
            "compute": "compute/v2/{project_id}",
            "network": "network/v2.0",
        },
        faults=(Fault(kind=FaultKind.WRONG_LINKS),),
    ),
    "strict": Shape(
        name="strict",
        about="as `nat`, but zones, limits and quotas are not to be seen, version documents want "
        "a token, and images only come by PUT with Content-Length",
        networks=_NAT,
        services=ALL_SERVICES,
        microversions=("2.1", "2.96"),
        image_api=ImageApi(methods=("put",)),
        faults=(
            Fault(kind=FaultKind.POLICY),
            Fault(kind=FaultKind.MISSING, operations=("compute.GET.os-availability-zone",)),
            Fault(kind=FaultKind.GUARDED, operations=("compute.GET.discovery", "network.GET.discovery")),
            Fault(kind=FaultKind.NO_CHUNKED),
        ),
    ),
}
