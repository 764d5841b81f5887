"""`Cloud` and `Prober` straight on a pretend world, without HTTP: for scenarios on a clock of their own.

Faults come out as the same errors that OpenStack's layer makes of them over HTTP, except that no call takes
time: what hangs has timed out at once, and `slow` and the cloud's latency do nothing.
"""

from __future__ import annotations

import base64
import hashlib
import math
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from poolmgr.cloud.api import CloudInfo
from poolmgr.cloud.faults import fault_kind
from poolmgr.cloud.simulated_floating import SimulatedFloatingIps
from poolmgr.cloud.simulated_images import SimulatedImages
from poolmgr.errors import (
    AuthFailed,
    CloudError,
    CloudUnavailable,
    ImageGone,
    NoCapacity,
    NotFound,
    NotSupported,
    OutcomeUnknown,
    OverQuota,
    ProbeError,
    Rejected,
    Throttled,
)
from poolmgr.model.cloud_image import CloudImage, ImageSpec, StagedObject, UploadProgress
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
    ServerStatus,
    Volume,
    owner_of_metadata,
    owner_of_tag,
)
from poolmgr.runtime.clock import Clock
from poolmgr.simcloud import world as sim

R = TypeVar("R")
T = TypeVar("T")

_UNANSWERED = (
    sim.FaultKind.HTTP_500,
    sim.FaultKind.HTTP_503,
    sim.FaultKind.DROP,
    sim.FaultKind.HANG,
    sim.FaultKind.GARBAGE,
)


#: Seconds after which a list of changes is not enough any more, and by how much it overlaps with the one before.
_LIST_ALL_AFTER = 300.0
_OVERLAP = 60.0


_QUOTAS = {
    ("compute", "instances"): "instances",
    ("compute", "cores"): "cores",
    ("compute", "ram"): "ram",
    ("block-storage", "volumes"): "volumes",
    ("block-storage", "volume-gb"): "gigabytes",
    ("network", "ports"): "ports",
    ("network", "floating-ips"): "floating_ips",
    ("network", "security-groups"): "security_groups",
}


class SimulatedCloud:
    """One provider's view of a pretend cloud. Thread-safe, like the cloud behind it."""

    def __init__(
        self,
        cloud: sim.SimCloud,
        *,
        clock: Clock,
        precreates_ports: bool = False,
        lists_changes: bool = False,
        lists_faults: bool = True,
        project_is_dedicated: bool = False,
    ) -> None:
        """`clock` must be the one the world goes by; listings take their monotonic times from it.

        `precreates_ports` is `port_mode: precreate`, and `lists_changes` an incremental `server_poll`. Without
        `lists_faults` a fault is only told of a single server.
        """
        self._cloud, self._clock = cloud, clock
        self._precreates_ports = precreates_ports and self._has_network
        self._lists_changes = lists_changes
        self._lists_faults = lists_faults
        self._dedicated = project_is_dedicated
        self._known_servers: Listing[Server] | None = None  # as last listed
        self._all_listed_at = -math.inf  # monotonic seconds
        self._calls: Counter[str] = Counter()
        self._known: dict[str, tuple[sim.Server, Server]] = {}  # as last converted
        self._logged_in = False
        self._kept = SimulatedImages(cloud, self._ask, clock)
        self._floating_ips = SimulatedFloatingIps(cloud, self._ask)

    @property
    def calls(self) -> Mapping[str, int]:
        return dict(self._calls)

    def connect(self) -> CloudInfo:
        if not self._logged_in:
            self._ask("identity.POST.tokens", lambda _: None)
            self._logged_in = True
        return CloudInfo(
            cloud=self._cloud.name,
            region=self._cloud.config.region,
            has_network=self._has_network,
            may_need_floating_ips=self._floating_ips.possible,
            has_volumes=self._has_volumes,
            precreates_ports=self._precreates_ports,
            project_is_dedicated=self._dedicated,
        )

    def close(self) -> None:
        """There is nothing to close."""

    # -- what the cloud offers ---------------------------------------------------------------------------

    def limits(self, *, volumes: bool = False) -> Resources:
        quota = self._ask("compute.GET.limits", lambda _: self._cloud.quota.limits)
        limits = {name: quota[name] for name in ("instances", "cores", "ram") if name in quota}
        if volumes and self._has_volumes:
            quota = self._ask("block-storage.GET.limits", lambda _: self._cloud.quota.limits)
            names = {"volumes": "volumes", "gigabytes": "volume-gb"}
            limits |= {ours: quota[theirs] for theirs, ours in names.items() if theirs in quota}
        return limits

    def quotas(self) -> tuple[Quota, ...]:
        quota, used = self._ask(
            "compute.GET.limits", lambda _: (self._cloud.quota.limits, self._cloud.resources_used())
        )
        services = {"compute": True, "block-storage": self._has_volumes, "network": self._has_network}
        return tuple(
            Quota(service=service, resource=ours, limit=quota.get(theirs), used=used[theirs])
            for (service, ours), theirs in _QUOTAS.items()
            if services[service]
        )

    def flavors(self) -> tuple[Flavor, ...]:
        known = self._ask("compute.GET.flavors_detail", lambda _: list(self._cloud.compute.flavors.values()))
        return tuple(_flavor(f) for f in known)

    def zones(self) -> tuple[str, ...]:
        return self._ask(
            "compute.GET.os-availability-zone", lambda _: tuple(sorted(self._cloud.compute.zones))
        )

    def find_image(self, name_or_id: str) -> str | None:
        images = self._ask("image.GET.images", lambda _: list(self._cloud.images.images.values()))
        active = [i for i in images if i.status == "active"]
        if any(i.id == name_or_id for i in active):
            return name_or_id
        found = [i.id for i in active if i.name == name_or_id]
        if len(found) > 1:
            raise Rejected(f"several images are called {name_or_id}: {', '.join(found)}")
        return found[0] if found else None

    # -- servers -----------------------------------------------------------------------------------------

    def create_server(self, spec: ServerSpec) -> str:
        image = spec.image if spec.image_is_id else self.find_image(spec.image)
        if image is None:
            raise Rejected(f"there is no active image {spec.image}")
        ports = self._make_ports(spec)
        try:
            return self._ask(
                "compute.POST.servers",
                lambda trouble: self._create(spec, image, ports, trouble),
                subject=spec.name,
            )
        except OutcomeUnknown:
            raise  # a server may have the ports
        except CloudError as error:
            for port in ports:
                with suppress(CloudError):
                    self.delete_port(port)
            if isinstance(error, NotFound):  # a network, group, key or zone that it names
                raise Rejected(str(error)) from error
            raise

    def _make_ports(self, spec: ServerSpec) -> list[str]:
        """Ids of the ports made in advance, with the tag of the server's owner."""
        made: list[str] = []
        if not self._precreates_ports:
            return made
        owner = owner_of_metadata(spec.metadata)
        networking, tag = self._cloud.networking, owner.tag() if owner else ""
        for network in self._networks(spec.networks):
            ask = partial(_make_port, networking, network, tag)
            made.append(self._ask("network.POST.ports", ask, subject=tag))
        return made

    def _create(self, spec: ServerSpec, image: str, ports: Sequence[str], trouble: sim.Trouble) -> str:
        compute = self._cloud.compute
        known = self._cloud.images.images.get(image)
        if known is None or known.status != "active":
            raise ImageGone(f"Can not find requested image {image}")
        flavor = compute.flavors.get(spec.flavor.id)
        if flavor is None:
            raise Rejected(f"Flavor {spec.flavor.id} could not be found.")
        request = sim.ServerRequest(
            name=spec.name,
            flavor=flavor,
            image_id=image,
            networks=() if ports else self._networks(spec.networks),
            ports=tuple(ports),
            zone=spec.az,
            key_name=spec.key_name,
            security_groups=self._groups(spec.security_groups),
            metadata=spec.metadata,
            user_data=spec.userdata,
            config_drive=bool(spec.config_drive),
            volume_gib=spec.volume_gib if spec.boot_from_volume else 0,
        )
        return compute.create(request, trouble).id

    def _networks(self, names: Sequence[str]) -> tuple[str, ...]:
        networking = self._cloud.networking
        usable = [n for n in networking.networks.values() if n.pluggable]
        if not names or not self._has_network:
            return tuple(n.id for n in usable)
        chosen = [networking.network_named(name) for name in names]
        if blocked := [n.name for n in chosen if not n.pluggable]:
            raise Rejected(f"It is not allowed to create an interface on external network {blocked[0]}")
        return tuple(n.id for n in chosen)

    def _groups(self, names: Sequence[str]) -> tuple[str, ...]:
        return tuple(self._cloud.networking.group_named(name).name for name in names)

    def list_servers(self, *, partial_ok: bool = False) -> Listing[Server]:
        known, started_at = self._known_servers, self._clock.monotonic()
        fresh = started_at - self._all_listed_at < _LIST_ALL_AFTER
        if partial_ok and self._lists_changes and known is not None and fresh:
            self._known_servers = self._changes_since(known)
            return self._known_servers
        listing = self._all_servers()
        if listing.complete:
            self._known_servers, self._all_listed_at = listing, started_at
        return listing

    def _changes_since(self, known: Listing[Server]) -> Listing[Server]:
        """What is known, with what has changed since: as Nova's `changes-since`, which tells of deleted servers too."""
        started_at = self._clock.monotonic()
        since = self._cloud.timeline.time - (started_at - known.started_at) - _OVERLAP

        def ask(trouble: sim.Trouble) -> list[sim.Server]:
            compute = self._cloud.compute
            return [s for s in (*compute.list(trouble), *compute.deleted) if s.updated >= since]

        changed = {s.id: self._listed(s) for s in self._ask("compute.GET.servers_detail", ask)}
        there = {s.id: s for s in known.items.values() if s.status is not ServerStatus.DELETED}
        listing = self._listing({**there, **changed}, started_at, complete=False)
        return replace(listing, partial=True)

    def _all_servers(self) -> Listing[Server]:
        started_at = self._clock.monotonic()
        servers: dict[str, Server] = {}
        complete = True
        try:
            for page in self._pages():
                servers |= {s.id: self._listed(s) for s in page}
        except CloudUnavailable:
            if not servers:
                raise
            complete = False
        return self._listing(servers, started_at, complete=complete)

    def _pages(self) -> Iterator[Sequence[sim.Server]]:
        """The list in the cloud's pages, one call each."""
        size = self._cloud.config.page_size
        start, more = 0, True
        while more:
            shown = self._ask("compute.GET.servers_detail", self._cloud.compute.list)
            yield shown[start : start + size]
            start += size
            more = start < len(shown)

    def get_server(self, server_id: str) -> Server:
        found = self._ask(
            "compute.GET.server", lambda _: self._cloud.compute.server(server_id), subject=server_id
        )
        return self._converted(found)

    def delete_server(self, server_id: str) -> None:
        self._floating_ips.release(server_id)
        compute = self._cloud.compute

        def delete(server_id: str, trouble: sim.Trouble) -> None:
            soft = compute.server(server_id).status == "SOFT_DELETED"
            compute.delete(
                server_id, trouble.without(sim.FaultKind.SOFT_DELETE) if soft else trouble, force=soft
            )

        self._delete("compute.DELETE.server", server_id, delete)

    def console(self, server_id: str) -> str:
        try:
            return self._ask(
                "compute.POST.server_action",
                lambda _: self._cloud.compute.console(server_id),
                subject=server_id,
            )
        except (NotFound, Rejected):
            return ""

    # -- addresses ---------------------------------------------------------------------------------------

    def expose(self, server: Server, *, owner: Owner, auto_floating_ip: bool) -> Addresses:
        addresses = server.addresses
        if addresses.floating_v4 or addresses.public_v4 or not addresses.fixed_v4 or not auto_floating_ip:
            return addresses
        given = self._floating_ips.give(server, owner)
        return _with_floating(addresses, given) if given else addresses

    def list_ports(self) -> Listing[Port]:
        started_at = self._clock.monotonic()
        if not self._has_network:
            return self._listing({}, started_at)
        ports = self._ask("network.GET.ports", lambda _: list(self._cloud.networking.ports.values()))
        return self._listing({p.id: _port(p) for p in ports}, started_at)

    def delete_port(self, port_id: str) -> None:
        def delete(port_id: str, trouble: sim.Trouble) -> None:
            self._cloud.networking.port(port_id)
            if not trouble.of(sim.FaultKind.IGNORED_DELETE):
                self._cloud.networking.delete_port(port_id)

        self._delete("network.DELETE.port", port_id, delete)

    def list_floating_ips(self) -> Listing[FloatingIp]:
        started_at = self._clock.monotonic()
        return self._listing(self._floating_ips.list(), started_at)

    def delete_floating_ip(self, floating_ip_id: str) -> None:
        self._floating_ips.delete(floating_ip_id)

    # -- volumes -----------------------------------------------------------------------------------------

    def list_volumes(self) -> Listing[Volume]:
        started_at = self._clock.monotonic()
        if not self._has_volumes:
            return self._listing({}, started_at)
        known = self._ask(
            "block-storage.GET.volumes_detail", lambda _: list(self._cloud.volumes.volumes.values())
        )
        return self._listing({v.id: _volume(v) for v in known}, started_at)

    def mark_volumes(self, server: Server, *, owner: Owner) -> None:
        volumes = self._cloud.volumes

        def mark(volume_id: str, _: sim.Trouble) -> None:
            volumes.add_metadata(volume_id, owner.metadata())

        for volume_id in server.volumes:
            self._ask("block-storage.POST.volume_metadata", partial(mark, volume_id), subject=volume_id)

    def delete_volume(self, volume_id: str) -> None:
        def delete(volume_id: str, trouble: sim.Trouble) -> None:
            self._cloud.volumes.volume(volume_id)
            if not trouble.of(sim.FaultKind.IGNORED_DELETE):
                self._cloud.volumes.delete(volume_id)

        self._delete("block-storage.DELETE.volume", volume_id, delete)

    # -- images ------------------------------------------------------------------------------------------

    def upload_image(
        self,
        spec: ImageSpec,
        *,
        progress: Callable[[UploadProgress], None] | None = None,
        cancelled: threading.Event | None = None,
        timeout: float | None = None,
    ) -> CloudImage:
        return self._kept.upload(spec, progress, cancelled, timeout)

    def get_image(self, image_id: str) -> CloudImage:
        return self._kept.get(image_id)

    def list_images(self) -> Listing[CloudImage]:
        return self._kept.listing()

    def delete_image(self, image_id: str) -> None:
        self._kept.delete(image_id)

    def list_staged(self) -> Listing[StagedObject]:
        return self._kept.list_staged()

    def delete_staged(self, staged: StagedObject) -> None:
        self._kept.delete_staged(staged)

    # -- calls -------------------------------------------------------------------------------------------

    @property
    def _has_network(self) -> bool:
        return "network" in self._cloud.shape.services

    @property
    def _has_volumes(self) -> bool:
        return "volume" in self._cloud.shape.services

    def _ask(self, operation: str, act: Callable[[sim.Trouble], R], *, subject: str = "") -> R:
        """One API call, with what goes wrong with it as our errors."""
        service, method, _ = operation.split(".", 2)
        creates = method == "POST" and service != "identity" and operation != "compute.POST.server_action"
        with self._cloud.lock:
            self._calls[operation] += 1
            trouble = self._cloud.call(operation, subject)
            _raise_unanswered(trouble, self._cloud.throttled(), creates=creates, operation=operation)
            with _translated():
                result = act(trouble)
        if trouble.of(sim.FaultKind.LOST_ANSWER):
            raise _no_answer(operation, creates=creates)
        return result

    def _delete(self, operation: str, thing_id: str, act: Callable[[str, sim.Trouble], None]) -> None:
        try:
            self._ask(operation, lambda trouble: act(thing_id, trouble), subject=thing_id)
        except NotFound:
            return

    def _listing(self, items: Mapping[str, T], started_at: float, *, complete: bool = True) -> Listing[T]:
        return Listing(
            items=items, started_at=started_at, finished_at=self._clock.monotonic(), complete=complete
        )

    def _listed(self, server: sim.Server) -> Server:
        listed = self._converted(server)
        return listed if self._lists_faults else replace(listed, fault="", fault_kind=None)

    def _converted(self, server: sim.Server) -> Server:
        """Converted once for each change: records of a world do not change, they are replaced."""
        known = self._known.get(server.id)
        if known is not None and known[0] is server:
            return known[1]
        if len(self._known) > 20_000:
            self._known.clear()
        converted = _server(server, self._addresses(server))
        self._known[server.id] = (server, converted)
        return converted

    def _addresses(self, server: sim.Server) -> Addresses:
        """By role, as the cloud's shape says what its networks are for."""
        external = {p.name for p in self._cloud.shape.networks if p.external}
        v4 = [a for a in server.addresses if a.version == 4]
        floating = _first(a.address for a in v4 if a.kind == "floating")
        public = floating or _first(a.address for a in v4 if a.network in external)
        private = _first(a.address for a in v4 if a.network not in external and a.kind != "floating")
        v6 = _first(a.address for a in server.addresses if a.version == 6)
        return Addresses(
            public_v4=public,
            private_v4=private,
            public_v6=v6,
            interface_ip=v6 or public or private,
            fixed_v4=private or _first(a.address for a in v4 if a.kind != "floating"),
            floating_v4=floating,
        )


class SimulatedProber:
    """Scans host keys of guests of a world. The keys are made up, but stay those of their server."""

    def __init__(self, world: sim.World) -> None:
        self._world = world

    def host_keys(self, address: str, port: int, *, connection_type: str, timeout: float) -> tuple[str, ...]:  # noqa: ARG002
        """As in cloud.api; `timeout` has no meaning here."""
        server = self._world.guest_at(address)
        if server is None:
            raise ProbeError(f"{address} port {port}: nothing answers")
        if connection_type not in ("ssh", "network_cli"):
            return ()
        key = base64.b64encode(hashlib.sha256(server.id.encode()).digest()).decode()
        return (f"ssh-ed25519 {key}",)


def _make_port(networking: Any, network: str, tag: str, trouble: sim.Trouble) -> str:
    if trouble.of(sim.FaultKind.QUOTA):
        raise OverQuota("Quota exceeded for resources: ['port'].")
    port: sim.Port = networking.create_port(network, name=tag, description=tag)
    return port.id


# -- conversions -----------------------------------------------------------------------------------------


def _server(server: sim.Server, addresses: Addresses) -> Server:
    try:
        status = ServerStatus(server.status)
    except ValueError:
        status = ServerStatus.OTHER
    flavor = server.flavor
    return Server(
        id=server.id,
        name=server.name,
        status=status,
        status_text=server.status,
        task_state=server.task_state,
        fault=server.fault.message if server.fault else "",
        fault_kind=fault_kind(server.fault.message) if server.fault else None,
        metadata=server.metadata,
        addresses=addresses,
        az=server.zone,
        host_id=server.host or None,
        volumes=server.volumes,
        resources={"instances": 1, "cores": flavor.vcpus, "ram": flavor.ram_mib},
        created_at=server.created,
        flavor_name=flavor.name,
        image_id=server.image_id,
    )


def _flavor(flavor: sim.Flavor) -> Flavor:
    return Flavor(
        id=flavor.id,
        name=flavor.name,
        vcpus=flavor.vcpus,
        ram_mib=flavor.ram_mib,
        disk_gib=flavor.disk_gib,
    )


def _port(port: sim.Port) -> Port:
    return Port(
        id=port.id,
        device_id=port.device_id,
        device_owner=port.device_owner,
        status=port.status,
        owner=owner_of_tag(port.description),
    )


def _volume(volume: sim.Volume) -> Volume:
    return Volume(
        id=volume.id,
        name=volume.name,
        status=volume.status,
        size_gib=volume.size_gib,
        server_ids=(volume.server_id,) if volume.server_id else (),
        owner=owner_of_metadata(volume.metadata),
        created_at=volume.created,
    )


def _with_floating(addresses: Addresses, address: str) -> Addresses:
    return Addresses(
        public_v4=address,
        private_v4=addresses.private_v4,
        public_v6=addresses.public_v6,
        private_v6=addresses.private_v6,
        interface_ip=address,
        fixed_v4=addresses.fixed_v4,
        floating_v4=address,
    )


def _first(texts: Iterable[str]) -> str:
    return next((text for text in texts if text), "")


# -- errors ----------------------------------------------------------------------------------------------


def _no_answer(operation: str, *, creates: bool) -> CloudError:
    error = OutcomeUnknown if creates else CloudUnavailable
    return error(f"no answer to {operation}")


def _raise_unanswered(trouble: sim.Trouble, wait: float, *, creates: bool, operation: str) -> None:
    """The faults that keep a call from being carried out."""
    if wait:
        raise Throttled(f"{operation}: too many calls", retry_after=wait)
    if fault := trouble.of(sim.FaultKind.THROTTLE):
        raise Throttled(f"{operation}: too many calls", retry_after=fault.retry_after)
    if any(trouble.of(kind) for kind in _UNANSWERED):
        raise _no_answer(operation, creates=creates)
    if fault := trouble.of(sim.FaultKind.REFUSE):
        raise _error_of(sim.Refusal(fault.status, fault.message or "Conflict"))


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except sim.Refusal as refusal:
        raise _error_of(refusal) from refusal


def _error_of(refusal: sim.Refusal) -> CloudError:
    """The leaf for a refusal, as cloud.md 3.18 sorts them."""
    text = f"{refusal.kind} {refusal.message}".lower()
    rules: tuple[tuple[bool, type[CloudError]], ...] = (
        (refusal.status == 401, AuthFailed),
        (refusal.status == 429, Throttled),
        ("quota" in text or "limitexceeded" in text, OverQuota),
        ("exhausted" in text or "ipaddressgenerationfailure" in text, NoCapacity),
        ("no valid host" in text, NoCapacity),
        ("requested image" in text, ImageGone),
        (refusal.status == 404, NotFound),
        (refusal.status == 501, NotSupported),
        (refusal.status >= 500, CloudUnavailable),
    )
    leaf: Any = next((leaf for holds, leaf in rules if holds), Rejected)
    return leaf(refusal.message)  # type: ignore[no-any-return]
