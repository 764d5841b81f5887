"""What exists in a pretend cloud. A change makes a new record, so a list kept from before shows what was then.

Times are seconds since the epoch. Records are compared by identity: two servers with equal fields are two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from poolmgr.simcloud.content import Keeper


@dataclass(frozen=True, kw_only=True)
class Flavor:
    id: str
    name: str
    vcpus: int
    ram_mib: int
    disk_gib: int = 20
    extra_specs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Address:
    """One line of a server's `addresses`; `kind` is fixed or floating."""

    network: str
    address: str
    version: int = 4
    kind: str = "fixed"
    mac: str = ""


@dataclass(frozen=True, kw_only=True)
class ServerFault:
    code: int
    message: str
    at: float


@dataclass(frozen=True, kw_only=True)
class Guest:
    """What somebody meets who logs in. `says` "": what it was told to do."""

    status: int = 0  # of every command
    says: str = ""
    hangs: bool = False
    locked: bool = False  # nobody gets in


@dataclass(frozen=True, kw_only=True, eq=False)
class Server:
    """`ssh_at` None: nothing will ever answer on it. `zone` None until it is scheduled."""

    id: str
    name: str
    flavor: Flavor
    image_id: str | None
    status: str
    task_state: str | None
    created: float
    updated: float
    launched: float | None = None
    ssh_at: float | None = None
    fault: ServerFault | None = None
    zone: str | None = None
    host: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    addresses: tuple[Address, ...] = ()
    key_name: str | None = None
    security_groups: tuple[str, ...] = ()
    user_data: str | None = None
    config_drive: bool = False
    tags: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    guest: Guest = Guest()
    doomed_volumes: tuple[str, ...] = ()  # those with delete_on_termination
    foreign: bool = False  # put there through /_sim/


@dataclass(frozen=True, kw_only=True)
class Keypair:
    name: str
    public_key: str
    fingerprint: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Network:
    """`pluggable`: a project may attach its servers. External networks of NAT clouds are not."""

    id: str
    name: str
    external: bool = False
    shared: bool = False
    pluggable: bool = True
    admin_state_up: bool = True
    port_security: bool = True
    physical: str = ""
    subnets: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Subnet:
    id: str
    name: str
    network_id: str
    cidr: str
    version: int
    gateway: str | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Router:
    id: str
    name: str
    external_network_id: str | None
    subnets: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Port:
    """`fixed_ips` are (subnet id, address). `by_nova`: Nova made it and deletes it with its server."""

    id: str
    name: str
    network_id: str
    mac: str
    fixed_ips: tuple[tuple[str, str], ...]
    created: float
    device_id: str = ""
    device_owner: str = ""
    status: str = "DOWN"
    description: str = ""
    tags: tuple[str, ...] = ()
    security_groups: tuple[str, ...] = ()
    by_nova: bool = False
    foreign: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class FloatingIp:
    id: str
    address: str
    network_id: str
    created: float
    port_id: str | None = None
    fixed_address: str | None = None
    router_id: str | None = None
    status: str = "DOWN"
    description: str = ""
    tags: tuple[str, ...] = ()
    foreign: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class SecurityGroup:
    id: str
    name: str
    description: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class Volume:
    id: str
    name: str
    size_gib: int
    status: str
    created: float
    metadata: Mapping[str, str] = field(default_factory=dict)
    server_id: str | None = None
    bootable: bool = False
    volume_type: str = "default"
    description: str | None = None
    foreign: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Image:
    """`size` None until there are bytes; `received` are size and md5 of what came in, before any conversion.

    `failed_import` None until an import was asked for. `visible_at`: until then the APIs do not know it.
    """

    id: str
    name: str
    status: str
    created: float
    updated: float
    disk_format: str | None = None
    container_format: str | None = None
    visibility: str = "private"
    protected: bool = False
    hidden: bool = False
    min_disk: int = 0
    min_ram: int = 0
    size: int | None = None
    md5: str | None = None
    sha512: str | None = None
    received: tuple[int, str] | None = None
    stores: tuple[str, ...] = ()
    importing_to: tuple[str, ...] = ()
    failed_import: tuple[str, ...] | None = None
    tags: tuple[str, ...] = ()
    properties: Mapping[str, str] = field(default_factory=dict)
    content: Keeper | None = field(default=None, repr=False)
    mine: bool = True  # the project's own
    visible_at: float = 0.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """What Glance works on: `import` makes an image of an object, `api_image_import` fills one that is there."""

    id: str
    kind: str = "import"
    status: str
    created: float
    input: Mapping[str, object]
    image_id: str | None = None
    message: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class Segment:
    """One line of a static large object's manifest, as it was when that was stored."""

    container: str
    name: str
    etag: str
    size: int


@dataclass(frozen=True, kw_only=True, eq=False)
class StoredObject:
    """`segments` are those of a static large object; the `etag` of large ones stands in quotes."""

    name: str
    size: int
    etag: str
    updated: float
    headers: Mapping[str, str] = field(default_factory=dict)
    delete_at: float | None = None
    segments: tuple[Segment, ...] = ()
    content_type: str = "application/octet-stream"
    content: Keeper | None = field(default=None, repr=False)
