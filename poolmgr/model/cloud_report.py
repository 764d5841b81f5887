"""What the doctor (`poolmgr cloud show`) tells of one cloud: facts by section, and findings made of them.

The field names are those of its JSON, which scripts rely on: none goes or changes its meaning. A section is None when
it was not looked at, or when that failed; then `faults` says why.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from poolmgr.model.server import Flavor, Quota
from poolmgr.model.trouble import Trouble


class Severity(enum.Enum):
    """How much a finding matters."""

    BLOCKS = "blocks"  # no server can be launched, or none that can be reached
    WARNS = "warns"  # it works now, or for some labels, or not well
    NOTE = "note"  # worth knowing


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that somebody should know. `message` names the cloud; what to do is in `trouble`."""

    severity: Severity
    trouble: Trouble
    section: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Why a section is not there. `reason` is a word of `Trouble`, "" where the cloud's own words say enough."""

    reason: str
    message: str


@dataclass(frozen=True, kw_only=True)
class LoginFacts:
    """Who we are. Times are epoch seconds; None: the cloud does not say."""

    auth_type: str
    auth_url: str
    renewable: bool  # False: the login ends with its token
    user: str = ""
    user_id: str = ""
    project: str = ""
    project_id: str = ""
    domain: str = ""  # of the project
    roles: tuple[str, ...] = ()
    issued_at: float | None = None  # by the cloud's clock, as the next
    expires_at: float | None = None
    received_at: float | None = None  # the token, by ours
    regions: tuple[str, ...] = ()  # of the catalog


@dataclass(frozen=True, kw_only=True)
class ServiceFacts:
    """One service as it is used. `catalog_url` None: not from the catalog."""

    url: str
    catalog_url: str | None
    type: str  # in the catalog; "" for an endpoint override
    interface: str
    region: str
    versions: tuple[str, ...]  # offered majors, "2.1"; () where it does not say
    microversions: tuple[str, str] | None  # the least and the greatest
    microversion: str | None  # the one we send


@dataclass(frozen=True, kw_only=True)
class ClockFacts:
    """By how many seconds the cloud's clock is ahead of ours; 0 for what is less than measured."""

    skew: float


@dataclass(frozen=True, kw_only=True)
class TlsFacts:
    """How one host is reached. `protocol` "": without TLS. Facts of a certificate that is not checked are absent."""

    host: str
    port: int
    protocol: str  # TLSv1.3
    checked: bool
    issuer: str
    names: tuple[str, ...]
    not_after: float | None  # epoch seconds


@dataclass(frozen=True, kw_only=True)
class SubnetFacts:
    id: str
    cidr: str
    ip_version: int
    gateway: str | None


@dataclass(frozen=True, kw_only=True)
class NetworkRole:
    """`role`: external, internal, nat-source, nat-destination, default-interface, attached. `why` is for people."""

    role: str
    why: str


class FloatingIpNeed(enum.Enum):
    """Whether a server gets a floating IP."""

    NEEDED = "needed"
    NOT_NEEDED = "not-needed"
    IMPOSSIBLE = "impossible"  # it would need one that cannot be had
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class NetworkFacts:
    """One network, and what becomes of a server on it alone."""

    id: str
    name: str
    shared: bool
    admin_up: bool
    port_security: bool
    subnets: tuple[SubnetFacts, ...]
    roles: tuple[NetworkRole, ...]
    floating_ip: FloatingIpNeed
    floating_ip_why: str


@dataclass(frozen=True, kw_only=True)
class ServerFacts:
    """What a server gets whose pool and label name no network."""

    networks: tuple[str, ...]  # names; () where none can be chosen
    networks_why: str
    ipv4: bool | None  # None: not known
    ipv6: bool | None
    own_ipv6_route: bool  # whether this machine has one
    connect_to: str  # public_v4, private_v4, public_v6, private_v6, floating_v4, or "" if not known
    floating_ip: FloatingIpNeed
    floating_ip_why: str
    floating_ip_source: str  # the network or pool they come from, "" if there is none


@dataclass(frozen=True, kw_only=True)
class GroupFacts:
    """A security group of the project. `ssh` None: the cloud shows no rules."""

    id: str
    name: str
    rules: int
    ssh: bool | None  # whether TCP port 22 is let in from everywhere


@dataclass(frozen=True, kw_only=True)
class KeyPairFacts:
    name: str
    type: str
    fingerprint: str


@dataclass(frozen=True, kw_only=True)
class ZoneFacts:
    name: str
    available: bool


@dataclass(frozen=True, kw_only=True)
class ImageFacts:
    """How images get there. `method` "": there is no way."""

    method: str
    why: str
    format: str
    import_methods: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class CloudReport:
    """All about one cloud. `at` is epoch seconds, `seconds` how long it took."""

    cloud: str
    region: str | None
    at: float
    seconds: float
    login: LoginFacts | None = None
    clock: ClockFacts | None = None
    tls: tuple[TlsFacts, ...] | None = None
    services: Mapping[str, ServiceFacts | None] = field(
        default_factory=dict
    )  # None: the cloud has none of it
    extensions: tuple[str, ...] | None = None  # aliases, of the Network service
    networks: tuple[NetworkFacts, ...] | None = None
    servers: ServerFacts | None = None
    security_groups: tuple[GroupFacts, ...] | None = None
    key_pairs: tuple[KeyPairFacts, ...] | None = None
    flavors: tuple[Flavor, ...] | None = None
    zones: tuple[ZoneFacts, ...] | None = None
    quotas: tuple[Quota, ...] | None = None
    images: ImageFacts | None = None
    faults: Mapping[str, Fault] = field(default_factory=dict)  # by section
    findings: tuple[Finding, ...] = ()

    @property
    def could_launch(self) -> bool:
        """Whether nothing is known that stops a launch."""
        return not any(finding.severity is Severity.BLOCKS for finding in self.findings)
