"""What the operator wants, as the rest of poolmgr sees it: frozen records with every default filled in.

`load.py` makes them; `==` tells which parts a reload changed. Times are seconds, sizes as in the names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Union


@dataclass(frozen=True, kw_only=True)
class ZooKeeperServer:
    host: str
    port: int = 2281


@dataclass(frozen=True, kw_only=True)
class Tls:
    cert: str
    key: str
    ca: str


@dataclass(frozen=True, kw_only=True)
class ZooKeeper:
    """`tls` None is allowed only with `plaintext` (our key `zookeeper-plaintext: true`)."""

    servers: tuple[ZooKeeperServer, ...] = ()
    chroot: str = ""  # "" or "/path"
    tls: Tls | None = None
    plaintext: bool = False
    timeout: float = 10.0

    @property
    def hosts(self) -> str:
        """The connection string; IPv6 literals in brackets, the chroot once at the end."""
        names = (f"[{s.host}]" if ":" in s.host and not s.host.startswith("[") else s.host for s in self.servers)
        return ",".join(f"{n}:{s.port}" for n, s in zip(names, self.servers, strict=True)) + self.chroot


@dataclass(frozen=True, kw_only=True)
class WebApp:
    port: int = 8005
    listen_address: str = "0.0.0.0"


@dataclass(frozen=True, kw_only=True)
class Label:
    name: str
    min_ready: int = 0  # 0 or less: none
    max_ready_age: float = 0.0  # 0: off


@dataclass(frozen=True, kw_only=True)
class DiskImage:
    """A top-level disk image after inheritance and the secure file's merge. Builder keys are in `build`."""

    name: str
    username: str | None = "zuul"
    python_path: str = "auto"
    shell_type: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    pause: bool = False
    build: Mapping[str, Any] = field(default_factory=dict, repr=False)  # elements, env-vars, formats, ...


@dataclass(frozen=True, kw_only=True)
class TenantLimits:
    """`limits` by resource name: instances, cores, ram, volumes, volume-gb, and free names."""

    name: str
    limits: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class BootImage:
    """What a pool label boots: an uploaded disk image, or an image that is in the cloud already."""

    name: str
    is_disk_image: bool
    image_id: str | None = None  # cloud image: used as is
    image_name: str | None = None  # cloud image: name or id to look up; never None when image_id is
    config_drive: bool | None = None
    username: str | None = None
    python_path: str = "auto"
    shell_type: str | None = None
    connection_type: str = "ssh"
    connection_port: int = 22


@dataclass(frozen=True, kw_only=True)
class PoolLabel:
    """A label as one pool of an openstack provider makes it."""

    name: str
    image: BootImage
    min_ram_mib: int = 0
    flavor_name: str | None = None
    key_name: str | None = None
    console_log: bool = False
    boot_from_volume: bool = False
    volume_gib: int = 50
    instance_properties: Mapping[str, Any] = field(default_factory=dict)
    dynamic_instance_properties: Mapping[str, str] = field(default_factory=dict)
    userdata: str | None = None
    networks: tuple[str, ...] = ()  # the label's, else the pool's
    host_key_checking: bool = True  # the label's, else the pool's


@dataclass(frozen=True, kw_only=True)
class Pool:
    """A pool of an openstack provider. `limits` by resource name; an absent name is unlimited."""

    name: str
    limits: Mapping[str, float] = field(default_factory=dict)
    priority: int = 100
    node_attributes: Mapping[str, Any] | None = None
    ignore_provider_quota: bool = False
    availability_zones: tuple[str, ...] = ()  # (): all the cloud reports
    security_groups: tuple[str, ...] = ()
    auto_floating_ip: bool = True
    labels: Mapping[str, PoolLabel] = field(default_factory=dict)

    @property
    def disabled(self) -> bool:
        """max-servers of 0 or less: all requests are declined, running nodes live on."""
        return self.limits.get("instances", 1) <= 0


@dataclass(frozen=True, kw_only=True)
class OpenStackProvider:
    name: str
    cloud: str | None
    region_name: str | None = None
    rate: float = 1.0  # seconds between API calls; 0: unlimited
    boot_timeout: float = 60.0
    launch_timeout: float = 3600.0
    launch_retries: int = 3
    max_concurrency: int = -1  # nodes being launched; below 0: no limit; 0: accept nothing
    priority: int = 100
    image_upload_timeout: float = 3600.0
    image_name_format: str = "{image_name}-{timestamp}"
    post_upload_hook: str | None = None
    clean_floating_ips: bool = False
    port_cleanup_interval: float = 600.0  # 0: off
    diskimages: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # name -> pause, meta, ...
    pools: Mapping[str, Pool] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class StaticNode:
    """Identity is (name, username, connection_port)."""

    name: str
    labels: tuple[str, ...]
    username: str = "zuul"
    timeout: float = 5.0
    host_key_checking: bool = True
    host_keys: tuple[str, ...] = ()
    connection_port: int = 22
    connection_type: str = "ssh"
    shell_type: str | None = None
    python_path: str = "auto"
    max_parallel_jobs: int = 1


@dataclass(frozen=True, kw_only=True)
class StaticPool:
    name: str
    limits: Mapping[str, float] = field(default_factory=dict)
    priority: int = 100
    node_attributes: Mapping[str, Any] | None = None
    nodes: tuple[StaticNode, ...] = ()


@dataclass(frozen=True, kw_only=True)
class StaticProvider:
    name: str
    max_concurrency: int = -1
    priority: int = 100
    pools: Mapping[str, StaticPool] = field(default_factory=dict)


Provider = Union[OpenStackProvider, StaticProvider]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """A whole configuration file, merged with the secure file."""

    zookeeper: ZooKeeper = ZooKeeper()
    webapp: WebApp = WebApp()
    labels: Mapping[str, Label] = field(default_factory=dict)
    diskimages: Mapping[str, DiskImage] = field(default_factory=dict)
    providers: Mapping[str, Provider] = field(default_factory=dict)
    max_hold_age: float = 0.0  # 0: no limit
    tenants: Mapping[str, TenantLimits] = field(default_factory=dict)
    elements_dir: str | None = None
    images_dir: str | None = None
    build_log_dir: str = "/var/log/nodepool/builds"
    build_log_retention: int = 7
