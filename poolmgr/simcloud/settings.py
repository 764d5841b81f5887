"""What can be set of pretend clouds, as records. config.py reads them from a file, and says how that looks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from poolmgr.simcloud.faults import Fault
from poolmgr.simcloud.shapes import SHAPES, NetworkPlan, Shape

KEY_TYPES = ("ed25519", "ecdsa", "rsa")
CERTIFICATES = ("self-signed", "expired", "other-host")
DISTRIBUTIONS = ("uniform", "normal", "exponential")


@dataclass(frozen=True, kw_only=True)
class Boot:
    """From the create call to ACTIVE: `seconds` in the mean, plus or minus up to `spread` by `distribution`.

    uniform: anywhere in the range; normal: `spread` is two standard deviations; exponential: `seconds` at
    least, and `spread` more in the mean. `ssh` seconds after ACTIVE its SSH server answers.
    """

    seconds: float = 2.0
    spread: float = 0.0
    distribution: str = "uniform"
    ssh: float = 0.0


@dataclass(frozen=True, kw_only=True)
class RateLimit:
    """`rate` calls a second, `burst` at once; more get 429 with `retry_after`, as seconds or as a date."""

    rate: float
    burst: float = 20.0
    retry_after: float | None = 1.0  # None: the header is left out
    as_date: bool = False


@dataclass(frozen=True, kw_only=True)
class FlavorConfig:
    name: str
    vcpus: int
    ram: int
    disk: int = 20


@dataclass(frozen=True, kw_only=True)
class ImageConfig:
    """An image that is there from the start and belongs to the cloud's owner."""

    name: str
    format: str = "qcow2"
    min_disk: int = 0
    min_ram: int = 0


_FLAVORS = tuple(
    FlavorConfig(name=name, vcpus=vcpus, ram=ram, disk=disk)
    for name, vcpus, ram, disk in (
        ("small", 1, 2048, 20),
        ("medium", 2, 4096, 40),
        ("large", 4, 8192, 80),
        ("xlarge", 8, 16384, 160),
    )
)


@dataclass(frozen=True, kw_only=True)
class CloudConfig:
    name: str
    shape: str = "direct"
    region: str = "RegionOne"
    project: str = "ci"
    username: str = "ci"
    password: str = "secret"
    domain: str = "Default"
    boot: Boot = Boot()
    delete_seconds: float = 0.5  # a deleted server stays listed as long
    address_delay: float = 0.5  # until Nova's listing shows a floating IP
    visible_after: float = 0.0  # a new server is missing from lists as long
    latency: float = 0.0  # of each call
    quota: Mapping[str, float] = field(default_factory=dict)  # absent: unlimited
    rate_limit: RateLimit | None = None
    token_seconds: float = 3600.0
    microversions: tuple[str, ...] | None = None  # lowest, highest; (): none; None: as the shape has it
    zones: tuple[str, ...] = ("nova",)
    full_zones: tuple[str, ...] = ()  # no valid host there
    closed_zones: tuple[str, ...] = ()  # shown as not available
    flavors: tuple[FlavorConfig, ...] = _FLAVORS
    images: tuple[ImageConfig, ...] = (ImageConfig(name="debian-12"),)
    keypairs: Mapping[str, str] = field(default_factory=dict)  # name -> public key
    page_size: int = 1000  # Compute's and Block Storage's
    network_page_size: int | None = None  # None: Networking pages only where it is asked to
    region_of: str = ""  # name of a cloud whose Keystone, user and project this one shares as another region
    without: tuple[str, ...] = ()  # services of the shape that are not there
    interfaces: tuple[str, ...] | None = None  # of endpoints; None: as the shape has them
    networks: tuple[NetworkPlan, ...] | None = None  # None: those of the shape
    security_groups: tuple[str, ...] = ()  # beside `default`; names may come twice
    typed_addresses: bool | None = None  # whether Nova says OS-EXT-IPS:type; None: as the shape has it
    fault_in_lists: bool = True  # else only the record of one server has its fault
    clock_skew: float = 0.0  # seconds that the cloud's clock is ahead
    private: str = ""  # "": as the shape has it; unreachable or loopback
    faults: tuple[Fault, ...] = ()
    catalog: Mapping[str, str | None] = field(
        default_factory=dict
    )  # service -> path or URL; None: not listed
    # Of the next two only what differs from the shape: fields of shapes.ImageApi and shapes.ObjectStore.
    image_api: Mapping[str, Any] = field(default_factory=dict)
    object_store: Mapping[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> Shape:
        """The cloud's shape, with what the other keys change in it."""
        shape = SHAPES[self.shape]
        versions = self.microversions
        bounds = (versions[0], versions[1]) if versions else None
        return replace(
            shape,
            services=shape.services - set(self.without),
            catalog={**shape.catalog, **self.catalog},
            interfaces=shape.interfaces if self.interfaces is None else self.interfaces,
            networks=shape.networks if self.networks is None else self.networks,
            typed_addresses=shape.typed_addresses if self.typed_addresses is None else self.typed_addresses,
            private=self.private or shape.private,
            microversions=shape.microversions if versions is None else bounds,
            image_api=replace(shape.image_api, **self.image_api),
            object_store=replace(shape.object_store, **self.object_store),
        )


@dataclass(frozen=True, kw_only=True)
class SshConfig:
    """`enabled` False: no SSH server. Port 0: any free one."""

    enabled: bool = True
    port: int = 0
    key_types: tuple[str, ...] = ("ed25519", "ecdsa")


@dataclass(frozen=True, kw_only=True)
class SimConfig:
    clouds: tuple[CloudConfig, ...]
    seed: int = 0
    host: str = "127.0.0.1"
    port: int = 0
    ssh: SshConfig = SshConfig()
    tls: str = ""  # "": plain HTTP; else one of CERTIFICATES
