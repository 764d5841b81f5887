"""What poolmgr asks of a cloud, whatever cloud it is.

One `Cloud` is one provider's view: one cloud, one region, one project. Methods block up to their timeouts
(10 s to connect, 60 s to read), so callers run them on an executor of the provider. All are thread-safe.
`openstack` talks to real services, `simulated` to `simcloud.world` in this process; both pass one contract suite.

Every method may raise CloudUnavailable (Throttled) and AuthFailed; the other leaves are named below.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from poolmgr.config.settings import Pool, PoolLabel
from poolmgr.model.cloud_image import CloudImage, ImageOwner, ImageSpec, StagedObject, UploadProgress
from poolmgr.model.resources import Resources
from poolmgr.model.server import (
    Addresses,
    Flavor,
    FloatingIp,
    Listing,
    Owner,
    Port,
    Quota,
    Server,
    ServerSpec,
    Volume,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class CloudInfo:
    """What is known about a cloud after its first answer."""

    cloud: str  # name in clouds.yaml
    region: str | None
    has_network: bool  # a Network service: ports and its floating IPs exist
    may_need_floating_ips: bool  # False: floating IPs are never listed or made
    has_volumes: bool = False  # a Block Storage service: servers can boot from volumes
    precreates_ports: bool = (
        False  # ports are made before their servers, with our tag (`port_mode: precreate`)
    )
    project_is_dedicated: bool = False  # nobody else uses the project: leftovers without a mark may go


class Cloud(Protocol):
    def connect(self) -> CloudInfo:
        """Log in and discover services; cheap when done before. Raises ConfigError, NotSupported."""

    def close(self) -> None:
        """Close connections. Never raises."""

    @property
    def calls(self) -> Mapping[str, int]:
        """API calls sent so far by `<service>.<METHOD>.<name>` (metrics.md 5), tokens and discovery included."""

    def limits(self, *, volumes: bool = False) -> Resources:
        """The project's limits: instances, cores, ram (MiB); unlimited and unknown ones are absent.

        With `volumes` (one call more) also volumes and volume-gb, where there is a Block Storage service.
        """

    def network_quotas(self) -> tuple[Quota, ...]:
        """The project's limits of ports and floating IPs, those that there are, with everybody's use (1 to 3 calls).

        () where the cloud does not tell.
        """

    def network_price(self, networks: Sequence[str]) -> Resources:
        """What a server on `networks` (names or ids, () for the cloud's default) takes of those limits.

        `ports`, and `floating-ips` where it would get one; empty where that cannot be told. Without a call as long as
        the networks are known (10 minutes).
        """

    def flavors(self) -> tuple[Flavor, ...]:
        """All flavors, cached 5 minutes."""

    def zones(self) -> tuple[str, ...]:
        """Availability zones that take servers, sorted, cached 5 minutes; () where the cloud has none."""

    def find_image(self, name_or_id: str) -> str | None:
        """The id of an active image, cached 60 s; None if there is none. Raises Rejected if ambiguous."""

    def create_server(self, spec: ServerSpec) -> str:
        """Ask for a server: one POST. Returns its id.

        Raises OverQuota, NoCapacity, Rejected, ImageGone, NotSupported, and OutcomeUnknown when a server may
        have been made all the same: look for its metadata in later listings.
        """

    def quotas(self) -> tuple[Quota, ...]:
        """Every limit of the project that the cloud tells, with its use; not cached (for people, not for launching)."""

    def list_servers(self, *, partial_ok: bool = False) -> Listing[Server]:
        """All servers of the project, ours and others'. A failed page: what was read, `complete` False.

        `partial_ok`: the cloud may be asked only for what has changed since the list before; the answer then holds all
        servers known, those that are gone since as DELETED; it is `partial` and not `complete`: it proves no absence.
        Raises CloudUnavailable only if nothing could be read.
        """

    def get_server(self, server_id: str) -> Server:
        """One server, with its fault. Raises NotFound."""

    def delete_server(self, server_id: str, *, force: bool = False) -> None:
        """Ask for deletion; returns when the cloud accepted. NotFound is success. Raises Rejected on 409.

        `force`: whatever its state, where the cloud lets us; else as usual.
        """

    def console(self, server_id: str) -> str:
        """The last 2,000 lines of its console, "" if the cloud has none (yet)."""

    def expose(self, server: Server, *, owner: Owner, auto_floating_ip: bool) -> Addresses:
        """The addresses of an ACTIVE server after a floating IP was bound where one is needed (cloud.md 3.11).

        Idempotent by owner: a floating IP made for the same server before is found and used. Leaves none
        behind on failure. `interface_ip` is "" when the server has no address yet.
        Raises OverQuota, NoCapacity, Rejected, NotFound (the server is gone), OutcomeUnknown.
        """

    def list_ports(self) -> Listing[Port]:
        """All ports of the project; empty where there is no Network service."""

    def delete_port(self, port_id: str) -> None:
        """NotFound is success."""

    def list_floating_ips(self) -> Listing[FloatingIp]:
        """All floating IPs of the project; empty where none can exist."""

    def delete_floating_ip(self, floating_ip_id: str) -> None:
        """NotFound is success."""

    def list_volumes(self) -> Listing[Volume]:
        """All volumes of the project; empty where there is no Block Storage service."""

    def mark_volumes(self, server: Server, *, owner: Owner) -> None:
        """Write the owner on the volumes of `server`, which nova makes without a name (cloud.md 3.14). Repeatable.

        Raises NotFound, Rejected.
        """

    def delete_volume(self, volume_id: str, *, force: bool = False) -> None:
        """NotFound is success. Raises Rejected while it is attached.

        `force`: whatever its state, if nothing has it and where the cloud lets us; else as usual.
        """


class Prober(Protocol):
    def host_keys(self, address: str, port: int, *, connection_type: str, timeout: float) -> tuple[str, ...]:
        """The host keys `"<type> <base64>"` of the SSH server there, one per key type it offers.

        At least one; a type whose connection fails once another's key was read is left out. One attempt within
        `timeout` seconds. For connection types other than `ssh` and `network_cli` a TCP connect is enough and ()
        is returned. Raises ProbeError.
        """


class ImageCloud(Protocol):
    """The part of a cloud that keeps images. The same object as `Cloud`, for whoever only needs this."""

    def upload_image(
        self,
        spec: ImageSpec,
        *,
        progress: Callable[[UploadProgress], None] | None = None,
        cancelled: threading.Event | None = None,
        timeout: float | None = None,
        pace: Callable[[int], None] | None = None,
    ) -> CloudImage:
        """Make an image of a local file, by the way this cloud accepts; returns it ACTIVE and verified.

        Idempotent by `spec.owner`, all of it: a complete image of an earlier attempt is returned, a broken one deleted,
        so there must be one upload of an owner at a time. Without an owner the name must be free, or an image of
        this very file. The file is streamed and opened anew for each attempt. `progress` is called on this thread, from
        time to time while bytes go out and at each new phase; what it raises ends the upload. `timeout`: seconds for
        all of it, None: as long as something moves. `pace` is called with the number of bytes before they are sent, on
        whichever thread sends, and waits as long as a rate limit wants. On any failure nothing is left, as far as the
        cloud lets us, and the message says what is.
        Raises OverQuota (the image is too large for the project), Rejected, NotSupported (no way this cloud takes),
        ConfigError (the file is not what `spec` says), and CloudUnavailable, also when `cancelled` was set or the time
        is over.
        """

    def login_rest(self) -> float:
        """Seconds until the cloud may be asked to log in again, since it has refused us; 0 when it may be at once.

        Every call that needs a login fails until then, with AuthFailed, and none is sent.
        """

    def get_image(self, image_id: str) -> CloudImage:
        """Raises NotFound."""

    def list_images(self) -> Listing[CloudImage]:
        """The project's own images, in any state; those that others share or publish are not among them."""

    def delete_image(self, image_id: str) -> None:
        """Ask for deletion; NotFound is success. Raises Rejected while it is in use or protected by others."""

    def list_staged(self) -> Listing[StagedObject]:
        """Objects of ours that wait for an import, by "container/name"; empty where uploads need none."""

    def delete_staged(self, staged: StagedObject) -> None:
        """With its segments. NotFound is success."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What a fresh image has to pass: a server from it, and a command there over SSH."""

    image_id: str
    owner: ImageOwner  # of the image; its server is marked with it, and found again by that after a crash
    label: PoolLabel  # flavor, networks, key pair, userdata and so on are those of this label
    pool: Pool
    command: str | None  # run by the login shell; either this
    script: str | None  # or this text, fed to `sh -s`
    username: str
    port: int
    private_key: str | None  # path of the key to log in with; None: those the SSH client finds itself
    timeout: float  # seconds for all of it


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialResult:
    """`reason` is "" if it passed. `output` and `console` are ends of what was said, at most some KiB each."""

    passed: bool
    reason: str = ""
    output: str = ""
    console: str = ""
    seconds: float = 0.0


class Canary(Protocol):
    """Tries images out in one provider. Launchers take its servers for a stranger's and leave them alone."""

    def try_image(self, trial: Trial, *, cancelled: threading.Event | None = None) -> TrialResult:
        """Boot it once, run the command, and leave nothing behind, whatever happens.

        That the image fails is a result. Raises CloudUnavailable, OverQuota, NoCapacity, AuthFailed when that could not
        be found out: try again later.
        """

    def sweep(self) -> int:
        """Remove servers of trials that a crash has left, with their ports and addresses; how many were found."""
