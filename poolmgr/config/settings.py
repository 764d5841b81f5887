"""What the operator wants, as the rest of poolmgr sees it: frozen records with every default filled in.

`load.py` makes them; `==` tells which parts a reload changed. Times are seconds, sizes as in the names.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


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
        names = (
            f"[{s.host}]" if ":" in s.host and not s.host.startswith("[") else s.host for s in self.servers
        )
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
class Validation:
    """How a fresh upload is tried before it serves (our key `validate`): a server from it has to pass a command."""

    label: str  # which of the provider's pool labels says flavor, networks, key pair
    command: str | None = None  # run by the login shell; either this
    script: str | None = None  # or the path of a local script, fed to `sh -s`
    timeout: float = 600.0  # seconds for all of it, from the create call to the command's end
    private_key: str | None = None  # path of the SSH key to log in with; None: the builder user's own
    username: str | None = None  # None: the image's


@dataclass(frozen=True, kw_only=True)
class ImageBuild:
    """How and when a disk image is built, after inheritance."""

    dib_cmd: str = "disk-image-create"  # split as a shell does, no shell involved
    elements: tuple[str, ...] = ()
    env_vars: Mapping[str, str] = field(default_factory=dict, repr=False)  # may hold secrets
    formats: tuple[str, ...] = ()  # beyond those that providers need
    keep_formats: tuple[str, ...] = ()
    delete_after_upload: bool = False
    rebuild_age: float = 86400.0  # 0: `rebuild_cron` alone says when
    rebuild_cron: str | None = None  # ours: five fields, UTC; images that are old enough wait for it
    build_timeout: float = 28800.0
    release: str = ""
    qemu_img_options: str = "compat=0.10"  # ours; for qcow2; "": none
    keep_builds: int = 2  # ours; ready builds kept, at least 1
    keep_uploads: int = 2  # ours; ready uploads kept for each provider, at least 1
    validate: Validation | None = None  # ours; None: an upload is ready once it is in the cloud


@dataclass(frozen=True, kw_only=True)
class DiskImage:
    """A top-level disk image after inheritance and the secure file's merge."""

    name: str
    username: str | None = "zuul"
    python_path: str = "auto"
    shell_type: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    pause: bool = False
    build: ImageBuild = ImageBuild()


@dataclass(frozen=True, kw_only=True)
class ProviderImage:
    """A disk image as one provider lists it."""

    name: str
    pause: bool = False  # no uploads there; deletions go on
    meta: Mapping[str, Any] = field(default_factory=dict)  # image properties, over the image's metadata
    config_drive: bool | None = None
    connection_type: str = "ssh"
    connection_port: int = 22


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
    max_parallel_uploads: int = 1  # ours
    upload_rate_limit: float = 0.0  # ours; bytes a second for all uploads to it together; 0: no limit
    diskimages: Mapping[str, ProviderImage] = field(default_factory=dict)
    reclaim_fuse: int | None = (
        None  # ours; unexplained deletions in a sweep; None: 10, or a fifth of the nodes
    )
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

    @property
    def labels(self) -> frozenset[str]:
        """Those that any of its nodes has."""
        return frozenset(label for node in self.nodes for label in node.labels)

    @property
    def disabled(self) -> bool:
        """Whether `max-servers` is 0 or less; above that it means nothing here."""
        return self.limits.get("instances", 1) <= 0


@dataclass(frozen=True, kw_only=True)
class StaticProvider:
    name: str
    max_concurrency: int = -1
    priority: int = 100
    pools: Mapping[str, StaticPool] = field(default_factory=dict)


Provider = OpenStackProvider | StaticProvider


class OnRemove(enum.Enum):
    """What becomes of a provider that a reload no longer finds (our key `on-remove`)."""

    KEEP = "keep"  # as the reference: its nodes and servers stay as they are
    DRAIN = "drain"  # its free nodes are deleted, the others when they are used


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
    build_log_retention: int = 7  # logs kept for each image; below 0: all
    builder_webapp: WebApp | None = None  # ours; None: the default port if it is free
    max_parallel_uploads: int = 0  # ours; of one builder, over all providers; 0: no limit
    upload_rate_limit: float = 0.0  # ours; bytes a second of one builder; 0: no limit
    image_retry_max: float = 3600.0  # ours; seconds between attempts at a failing build or upload, at most
    image_orphan_grace: float = 86400.0  # ours; seconds that local files without a record are kept
    images_url: str | None = None  # ours; where clouds can fetch what is in `images_dir`, for web-download
    on_remove: OnRemove = OnRemove.KEEP  # ours
    fair_tenants: bool = False  # ours; round robin over tenants of equal priority where a pool is short
    idle_hold: float = (
        120.0  # ours; seconds that a request of several nodes may hold ready ones while others wait
    )
    ledger: str | None = None  # ours; path of the file that tells every deletion; None: none is written
    clouds_files: tuple[str, ...] = ()  # the first that exists is clouds.yaml; (): the usual places
    statsd_escape: bool = (
        False  # dots in names that go into metrics become "_"; off: as the reference sends them
    )


class NetworkApi(enum.Enum):
    """Which service makes a cloud's floating IPs or security groups (cloud.md 1.5)."""

    NEUTRON = "neutron"
    NOVA = "nova"


@dataclass(frozen=True, kw_only=True)
class CloudNetwork:
    """An entry of `networks` in clouds.yaml (cloud.md 1.6): what the operator says a network is for.

    `routes_externally` is spread over its two families. At most one network of a cloud has each of the last
    three set.
    """

    name: str  # name or id
    routes_ipv4_externally: bool = False
    routes_ipv6_externally: bool = False
    nat_source: bool = False  # floating IPs come from it
    nat_destination: bool = False  # floating IPs are bound to ports on it
    default_interface: bool = False  # the one programs talk to


@dataclass(frozen=True, kw_only=True)
class CloudService:
    """What clouds.yaml says of one service; keys for all services are already filled in here. None: not said."""

    present: bool = True  # False: behave as if it were not in the catalog
    interfaces: tuple[str, ...] = ("public",)  # in order of preference
    endpoint_override: str | None = None  # used as it is; may hold %(project_id)s and %(user_id)s
    api_version: str | None = None  # "2", "2.0", "3"
    default_microversion: str | None = None  # "2.67"
    service_type: str | None = None  # None: the official one and its aliases
    service_name: str | None = None
    rate_limit: float | None = None  # calls per second
    concurrency: int | None = None  # parallel calls


@dataclass(frozen=True, kw_only=True)
class CloudSettings:
    """One cloud of clouds.yaml and one of its regions, merged with secure.yaml and checked (cloud.md 1).

    `auth` holds the options of the keystoneauth plugin `auth_type` by their current names, with scope
    shorthands spread out; a value may be a secret, so it is never printed or logged.
    """

    name: str
    profile: str | None = None  # the vendor profile its settings lie over, or that vendor's URL
    auth_type: str = "password"  # an installed keystoneauth plugin
    auth: Mapping[str, Any] = field(default_factory=dict, repr=False)
    region_name: str | None = None  # None: the cloud's only one, not named
    regions: tuple[str, ...] = ()  # all the file knows; (): any name may be right
    verify: bool = True
    cacert: str | None = None  # None: the system's; never set when `verify` is False
    cert: str | None = None
    key: str | None = None
    api_timeout: float | None = None  # seconds to wait for an answer; None: our default
    services: Mapping[str, CloudService] = field(default_factory=dict)  # use `service`
    networks: tuple[CloudNetwork, ...] = ()
    use_external_network: bool = True  # False: do not look for external networks
    use_internal_network: bool = True
    floating_ip_source: NetworkApi | None = NetworkApi.NEUTRON  # None: the cloud has no floating IPs
    requires_floating_ip: bool | None = None  # None: find out; never True without a source
    secgroup_source: NetworkApi | None = NetworkApi.NEUTRON  # None: the cloud has no security groups
    private: bool = False  # we run inside the cloud: private addresses, no floating IPs
    force_ipv4: bool = False
    image_format: str = "qcow2"
    image_api_use_tasks: bool = False
    image_upload_method: str = "auto"  # auto, put, import, web-download, tasks, v1
    image_content_may_change: bool = False  # the cloud converts on import: hashes differ
    disable_vendor_agent: Mapping[str, str] = field(default_factory=dict)  # image properties
    server_poll: str = "auto"  # auto, full, incremental
    port_mode: str = "nova"  # nova, precreate
    volume_mode: str = "nova"  # nova, precreate: who makes the volume that a server boots from
    project_is_dedicated: bool = False  # nobody else uses the project: leftovers without a tag may go
    expiration: Mapping[str, float] = field(
        default_factory=dict
    )  # server, port, floating-ip: poll hint, seconds
    statsd_host: str | None = None
    statsd_port: int = 8125
    statsd_prefix: str | None = None  # None: not said; then it is made from the provider's name
    origins: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)  # key: "file:line"

    def service(self, name: str) -> CloudService:
        """What is said of `compute`, `image`, `network`, `block_storage`, `object_store`, `identity`."""
        return self.services.get(name, CloudService())
