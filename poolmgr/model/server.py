"""What a cloud shows us: servers, their addresses, and what hangs on them.

Every listing says when it began and whether it is complete: absence may only be inferred from a complete
one that began after the fact in question (cloud.md, design rule 4).
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from poolmgr.errors import ConfigError
from poolmgr.model.resources import Resources

#: Server metadata keys; the first three are shared with Nodepool (launcher.md 9.4).
META_NODE_ID = "nodepool_node_id"
META_PROVIDER = "nodepool_provider_name"
META_POOL = "nodepool_pool_name"
META_GROUPS = "groups"
META_DEPLOYMENT = "poolmgr_deployment"
META_ATTEMPT = "poolmgr_attempt"

#: The deployment of whoever uses `poolmgr.cloud.library`. Its servers carry keys of their own: with `nodepool_*` keys
#: a Nodepool launcher with a provider of the cloud's name would take them for leaked nodes and delete them.
LIBRARY = "library"
META_LIBRARY_ID = "poolmgr_library_id"  # one for each create call
META_LIBRARY_CLOUD = "poolmgr_library_cloud"
META_LIBRARY_UNTIL = "poolmgr_library_until"  # epoch seconds at which the create call gives up
META_LIBRARY_READY = "poolmgr_library_ready"  # the create call has come to its end

TAG_PREFIX = "poolmgr"
TAG_LIMIT = 255  # characters of a description or name, in Neutron


@dataclass(frozen=True, kw_only=True, slots=True)
class Owner:
    """Whose a thing in a cloud is, and for which node. `deployment` None: made by Nodepool itself."""

    provider: str
    node_id: str
    deployment: str | None = None
    attempt: int | None = None

    def tag(self) -> str:
        """The owner as the description of a floating IP or port; no two owners have the same one.

        Raises ConfigError where it would be longer than descriptions may be: cut off, it would name someone else.
        """
        tag = ":".join((TAG_PREFIX, *map(_escaped, self._identity())))
        if len(tag) > TAG_LIMIT:
            raise ConfigError(
                f"provider {self.provider}: the mark on what belongs to it has {len(tag)} characters, clouds take "
                f"{TAG_LIMIT}: give the provider a shorter name"
            )
        return tag

    def metadata(self) -> dict[str, str]:
        """The owner as metadata of a server or volume; `owner_of_metadata` reads it."""
        if self.deployment == LIBRARY:
            return {META_LIBRARY_ID: self.node_id, META_LIBRARY_CLOUD: self.provider}
        written = {META_NODE_ID: self.node_id, META_PROVIDER: self.provider}
        if self.deployment:
            written[META_DEPLOYMENT] = self.deployment
        if self.attempt is not None:
            written[META_ATTEMPT] = str(self.attempt)
        return written

    def same(self, other: Owner | None) -> bool:
        """Whether `other` is this one, read from metadata or from a tag, which names no attempt."""
        return other is not None and other._identity() == self._identity()

    def belongs_to(self, provider: str, deployment: str | None) -> bool:
        """Whether it is `provider` of installation `deployment` (None: any) that owns it.

        Node ids begin at 0 in every installation, so they alone tell nothing. What Nodepool made names no
        deployment: it counts as ours, as a fleet of both shares nodes and their servers.
        """
        return self.provider == provider and (
            deployment is None or self.deployment is None or self.deployment == deployment
        )

    def made_by(self, provider: str, deployment: str) -> bool:
        """Whether `provider` of installation `deployment` made it, beyond doubt: the proof that it may be deleted."""
        return (self.provider, self.deployment) == (provider, deployment)

    def _identity(self) -> tuple[str, str, str]:
        return self.deployment or "", self.provider, self.node_id


def owner_of_metadata(metadata: Mapping[str, str]) -> Owner | None:
    """The owner a server's metadata names, or None for a foreign server."""
    if library_id := metadata.get(META_LIBRARY_ID):
        # Every create call of the library has an id of its own, so there is but one attempt.
        cloud = metadata.get(META_LIBRARY_CLOUD) or ""
        return Owner(provider=cloud, node_id=library_id, deployment=LIBRARY, attempt=1)
    provider, node_id = metadata.get(META_PROVIDER), metadata.get(META_NODE_ID)
    if not provider or not node_id:
        return None
    attempt = metadata.get(META_ATTEMPT, "")
    return Owner(
        provider=provider,
        node_id=node_id,
        deployment=metadata.get(META_DEPLOYMENT),
        attempt=int(attempt) if attempt.isdecimal() else None,  # "²" is a digit, but no number
    )


def owner_of_tag(text: str) -> Owner | None:
    """The owner that `Owner.tag` wrote, or None for any other text."""
    parts = text.split(":")
    if len(parts) != 4 or parts[0] != TAG_PREFIX:
        return None
    deployment, provider, node_id = map(_unescaped, parts[1:])
    return Owner(deployment=deployment or None, provider=provider, node_id=node_id)


def _escaped(part: str) -> str:
    return part.replace("%", "%25").replace(":", "%3A")


def _unescaped(part: str) -> str:
    return part.replace("%3A", ":").replace("%25", "%")


class ServerStatus(enum.Enum):
    """Nova's states as far as we tell them apart (cloud.md 3.7)."""

    BUILD = "BUILD"
    ACTIVE = "ACTIVE"
    ERROR = "ERROR"
    DELETED = "DELETED"
    SOFT_DELETED = "SOFT_DELETED"
    UNKNOWN = "UNKNOWN"  # a cell is down: no information
    OTHER = "OTHER"  # SHUTOFF, PAUSED, ...


class FaultKind(enum.Enum):
    """What the fault of a server in ERROR is about (cloud.md 3.18)."""

    QUOTA = "quota"
    CAPACITY = "capacity"  # no room in this zone, no address left, a volume that took too long
    IMAGE = "image"  # its image is not there
    OTHER = "other"


@dataclass(frozen=True, kw_only=True, slots=True)
class Addresses:
    """A server's addresses by role, "" where it has none. `interface_ip` is the one to connect to.

    `fixed_v4` is any fixed IPv4 (a floating IP can be bound to it); `floating_v4` one known to be floating.
    """

    public_v4: str = ""
    private_v4: str = ""
    public_v6: str = ""
    private_v6: str = ""
    interface_ip: str = ""
    fixed_v4: str = ""
    floating_v4: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Server:
    """One server as last listed."""

    id: str
    name: str
    status: ServerStatus
    status_text: str = ""  # the cloud's own word, for logs
    task_state: str | None = None
    fault: str = ""  # message of the fault of a server in ERROR; "" if the listing had none
    fault_kind: FaultKind | None = None  # None: no fault was told; some clouds tell it of single servers only
    metadata: Mapping[str, str] = field(default_factory=dict)
    addresses: Addresses = Addresses()
    az: str | None = None
    host_id: str | None = None
    volumes: tuple[str, ...] = ()  # ids of those attached; they show before the server is ACTIVE
    resources: Resources | None = None  # None: the flavor is unknown
    created_at: float | None = None  # epoch seconds by the cloud's clock; None: it did not say
    flavor_name: str = ""  # "" where the listing has only an id
    image_id: str | None = None  # None: booted from a volume

    @property
    def owner(self) -> Owner | None:
        return owner_of_metadata(self.metadata)


@dataclass(frozen=True, kw_only=True, slots=True)
class FloatingIp:
    id: str
    address: str
    port_id: str | None  # None: unattached; nova's own floating IPs have the id of their server here
    status: str = ""
    owner: Owner | None = None  # None: not made by a poolmgr, or one of nova's own, which bear no mark


@dataclass(frozen=True, kw_only=True, slots=True)
class Port:
    id: str
    device_id: str  # "" when unbound
    device_owner: str = ""
    status: str = ""
    owner: Owner | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Volume:
    id: str
    name: str = ""
    status: str = ""  # the cloud's own word: available, in-use, error, deleting, ...
    size_gib: int = 0
    server_ids: tuple[str, ...] = ()  # it is attached to
    owner: Owner | None = None  # from its metadata
    created_at: float | None = None  # epoch seconds


@dataclass(frozen=True, kw_only=True, slots=True)
class Quota:
    """One limit of a project. `limit` None: unlimited, or not told; `used` None: not told."""

    service: str  # compute, block-storage, network
    resource: str  # instances, cores, ram (MiB), volumes, volume-gb, floating-ips, ports, ...
    limit: float | None
    used: float | None = None


T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Listing(Generic[T]):
    """All of a project's things of one kind, by id, as read by one pass over all pages.

    `started_at` and `finished_at` are monotonic seconds of this process.
    """

    items: Mapping[str, T]
    started_at: float
    finished_at: float
    complete: bool = True  # False: a page failed, or it is `partial`; infer no absence from it
    partial: bool = (
        False  # made of changes since the one before: all that is known, but absence proves nothing
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Flavor:
    id: str
    name: str
    vcpus: int
    ram_mib: int
    disk_gib: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerSpec:
    """Everything one create call says. Names are resolved by the cloud layer from its caches.

    `image` is an id when `image_is_id`, else a name or id to look up. `networks` empty: the cloud's default.
    """

    name: str
    flavor: Flavor
    image: str
    image_is_id: bool
    metadata: Mapping[str, str]
    networks: tuple[str, ...] = ()
    security_groups: tuple[str, ...] = ()
    key_name: str | None = None
    az: str | None = None
    config_drive: bool | None = None
    userdata: str | None = None
    boot_from_volume: bool = False
    volume_gib: int = 50
    volume_type: str | None = None
    tags: tuple[str, ...] = ()  # server tags (microversion 2.52); left out where the cloud has none
    hints: Mapping[str, str] = field(default_factory=dict)  # for the scheduler, e.g. {"group": id}
