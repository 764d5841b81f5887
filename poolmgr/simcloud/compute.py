"""The servers of a pretend cloud, from the create call to their last trace.

    create -> BUILD scheduling -> BUILD spawning, with ports -> ACTIVE -> [deleting] -> gone
                     \\-> ERROR (no valid host)    \\-> ERROR (build failed)

Each arrow is an event on the timeline; an event finds the server it was planned for or does nothing, so a
server may be deleted in any state. What was deleted is remembered for `changes-since`.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from poolmgr.simcloud.faults import NO_TROUBLE, FaultKind, Trouble
from poolmgr.simcloud.networking import Networking
from poolmgr.simcloud.quota import Quota
from poolmgr.simcloud.refusal import NO_VALID_HOST, Refusal, bad_request, conflict, no_such, nova_quota
from poolmgr.simcloud.settings import Boot
from poolmgr.simcloud.things import Flavor, Keypair, Server, ServerFault
from poolmgr.simcloud.timeline import Timeline
from poolmgr.simcloud.volumes import Volumes

_SCHEDULED = 0.3  # the share of a boot after which the ports are there
_SNAPSHOTS = 120  # lists remembered for stale-list
_HOSTS = 10


@dataclass(frozen=True, kw_only=True)
class ServerRequest:
    """A create call after its names were resolved. `volume_gib` > 0: boot from a new volume of the image."""

    name: str
    flavor: Flavor
    image_id: str | None
    networks: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    zone: str | None = None
    key_name: str | None = None
    security_groups: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    user_data: str | None = None
    config_drive: bool = False
    tags: tuple[str, ...] = ()
    volume_gib: int = 0
    delete_volume: bool = True


class Pace(Protocol):
    """How fast things go, in seconds (settings.CloudConfig)."""

    @property
    def boot(self) -> Boot: ...

    @property
    def delete_seconds(self) -> float: ...

    @property
    def address_delay(self) -> float: ...

    @property
    def visible_after(self) -> float: ...


class Compute:
    def __init__(
        self,
        *,
        pace: Callable[[], Pace],
        zones: Iterable[str],
        full_zones: Iterable[str],
        flavors: Iterable[Flavor],
        typed_addresses: bool,
        quota: Quota,
        networking: Callable[[], Networking],
        volumes: Volumes,
        timeline: Timeline,
        rng: random.Random,
        new_id: Callable[[], str],
    ) -> None:
        """`networking` is asked for when needed, since it calls back to `show_addresses_later`."""
        self.servers: dict[str, Server] = {}
        self.deleted: deque[Server] = deque(maxlen=5000)
        self.flavors = {flavor.id: flavor for flavor in flavors}
        self.keypairs: dict[str, Keypair] = {}
        self.zones = tuple(zones)
        self.full_zones = set(full_zones)
        self._current_pace, self._typed = pace, typed_addresses
        self._quota, self._networking, self._volumes = quota, networking, volumes
        self._timeline, self._rng, self._new_id = timeline, rng, new_id
        self._leaky: set[str] = set()  # servers whose ports will stay
        self._snapshots: deque[tuple[float, tuple[Server, ...]]] = deque(maxlen=_SNAPSHOTS)

    @property
    def _pace(self) -> Pace:
        return self._current_pace()

    # -- asking ------------------------------------------------------------------------------------------

    def server(self, server_id: str) -> Server:
        if server_id not in self.servers:
            raise no_such("server", server_id)
        return self.servers[server_id]

    def list(self, trouble: Trouble = NO_TROUBLE) -> tuple[Server, ...]:
        """The servers that a list shows, newest first."""
        now = self._timeline.time
        if stale := trouble.of(FaultKind.STALE_LIST):
            then = now - stale.delay
            older = [servers for at, servers in self._snapshots if at <= then]
            return older[-1] if older else ()
        shown = tuple(reversed(self.servers.values()))
        if self._pace.visible_after:
            shown = tuple(s for s in shown if now - s.created >= self._pace.visible_after)
        if not self._snapshots or now - self._snapshots[-1][0] >= 0.5:
            self._snapshots.append((now, shown))
        return shown

    def used(self) -> dict[str, float]:
        return {
            "instances": len(self.servers),
            "cores": sum(s.flavor.vcpus for s in self.servers.values()),
            "ram": sum(s.flavor.ram_mib for s in self.servers.values()),
        }

    def guest(self, server_id: str) -> Server | None:
        """The server if something answers SSH on it now."""
        server = self.servers.get(server_id)
        if server is None or server.ssh_at is None or server.status != "ACTIVE":
            return None
        return server if server.ssh_at <= self._timeline.time else None

    # -- building ----------------------------------------------------------------------------------------

    def create(self, request: ServerRequest, trouble: Trouble = NO_TROUBLE) -> Server:
        """Accept a server, or raise Refusal."""
        self._check(request, trouble)
        now = self._timeline.time
        server = Server(
            id=self._new_id(),
            name=request.name,
            flavor=request.flavor,
            image_id=request.image_id if not request.volume_gib else None,
            status="BUILD",
            task_state="scheduling",
            created=now,
            updated=now,
            metadata=dict(request.metadata),
            key_name=request.key_name,
            security_groups=request.security_groups or ("default",),
            user_data=request.user_data,
            config_drive=request.config_drive,
            tags=request.tags,
        )
        self.servers[server.id] = server
        self._plan(server.id, request, trouble)
        return server

    def _check(self, request: ServerRequest, trouble: Trouble) -> None:
        need = {"instances": 1, "cores": request.flavor.vcpus, "ram": request.flavor.ram_mib}
        used = self.used()
        if fault := trouble.of(FaultKind.QUOTA):
            if fault.message:
                raise Refusal(403, fault.message, kind="forbidden")
            raise nova_quota({"instances": (1, used["instances"], used["instances"])})
        if exceeded := self._quota.exceeded(need, used):
            raise nova_quota(exceeded)
        self._networking().check_port_quota(len(request.networks))
        if request.zone is not None and request.zone not in self.zones:
            raise bad_request("The requested availability zone is not available")
        if request.key_name is not None and request.key_name not in self.keypairs:
            raise bad_request("Invalid key_name provided.")

    def _plan(self, server_id: str, request: ServerRequest, trouble: Trouble) -> None:
        boot = self._boot_time()
        zone = request.zone or self._rng.choice(self.zones or ("nova",))
        if trouble.of(FaultKind.NO_VALID_HOST) or zone in self.full_zones:
            self._timeline.after(boot * _SCHEDULED, lambda: self._fail(server_id, 500, NO_VALID_HOST))
            return
        addressless = trouble.of(FaultKind.NO_ADDRESS) is not None
        self._timeline.after(
            boot * _SCHEDULED, lambda: self._spawn(server_id, request, zone, addressless=addressless)
        )
        if trouble.of(FaultKind.STUCK_BUILD):
            return
        if fault := trouble.of(FaultKind.ERROR_SERVER):
            words = (
                f"Build of instance {server_id} aborted: Failed to allocate the network(s), not rescheduling."
            )
            self._timeline.after(boot, lambda: self._fail(server_id, 500, fault.message or words))
            return
        ssh = None if trouble.of(FaultKind.NO_SSH) else self._pace.boot.ssh
        self._timeline.after(boot, lambda: self._activate(server_id, ssh))

    def _boot_time(self) -> float:
        boot = self._pace.boot
        if boot.distribution == "exponential":
            return boot.seconds + (self._rng.expovariate(1 / boot.spread) if boot.spread > 0 else 0.0)
        if boot.distribution == "normal":
            return max(0.0, self._rng.gauss(boot.seconds, boot.spread / 2))
        return max(0.0, boot.seconds + self._rng.uniform(-boot.spread, boot.spread))

    def _change(self, server_id: str, **changes: object) -> Server | None:
        server = self.servers.get(server_id)
        if server is None:
            return None
        changed = replace(server, updated=self._timeline.time, **changes)  # type: ignore[arg-type]
        self.servers[server_id] = changed
        return changed

    def _building(self, server_id: str) -> Server | None:
        server = self.servers.get(server_id)
        return server if server and server.status == "BUILD" and server.task_state != "deleting" else None

    def _spawn(self, server_id: str, request: ServerRequest, zone: str, *, addressless: bool) -> None:
        if self._building(server_id) is None:
            return
        try:
            if not addressless:
                self._networking().plug(server_id, zone, request.networks, request.ports)
            volumes = self._volumes.boot_volume(server_id, request.volume_gib)
        except Refusal as refusal:
            self._networking().unplug(server_id)
            self._fail(server_id, 500, f"Build of instance {server_id} aborted: {refusal.message}")
            return
        host = f"{self._rng.randrange(_HOSTS):02d}-{zone}"
        self._change(
            server_id,
            task_state="spawning",
            zone=zone,
            host=host,
            volumes=volumes,
            doomed_volumes=volumes if request.delete_volume else (),
            addresses=self._networking().addresses_of(server_id, typed=self._typed),
        )

    def _activate(self, server_id: str, ssh: float | None) -> None:
        if self._building(server_id) is None:
            return
        now = self._timeline.time
        self._change(
            server_id,
            status="ACTIVE",
            task_state=None,
            launched=now,
            ssh_at=None if ssh is None else now + ssh,
        )

    def _fail(self, server_id: str, code: int, message: str) -> None:
        """The build failed: no ports are left, as Nova does it. It holds its quota until it is deleted."""
        if self._building(server_id) is None:
            return
        self._networking().unplug(server_id)
        fault = ServerFault(code=code, message=message, at=self._timeline.time)
        self._change(server_id, status="ERROR", task_state=None, fault=fault, addresses=())

    def show_addresses_later(self, server_id: str) -> None:
        """A floating IP came or went: Nova's own listing shows it after a while."""

        def show() -> None:
            self._change(server_id, addresses=self._networking().addresses_of(server_id, typed=self._typed))

        if server_id in self.servers:
            self._timeline.after(self._pace.address_delay, show)

    # -- deleting ----------------------------------------------------------------------------------------

    def delete(self, server_id: str, trouble: Trouble = NO_TROUBLE) -> None:
        """Accept a deletion. Raises Refusal."""
        self.server(server_id)
        if trouble.of(FaultKind.IGNORED_DELETE):
            return
        if trouble.of(FaultKind.LEAKED_PORT):
            self._leaky.add(server_id)
        self._change(server_id, task_state="deleting")
        if trouble.of(FaultKind.ERROR_DELETE):
            self._timeline.after(self._pace.delete_seconds, lambda: self._fail_delete(server_id))
        else:
            self._timeline.after(self._pace.delete_seconds, lambda: self._remove(server_id))

    def _fail_delete(self, server_id: str) -> None:
        fault = ServerFault(code=500, message="Failed to delete instance", at=self._timeline.time)
        self._change(server_id, status="ERROR", task_state=None, fault=fault)

    def _remove(self, server_id: str) -> None:
        server = self._change(server_id, status="DELETED", task_state=None, addresses=())
        if server is None:
            return
        del self.servers[server_id]
        self.deleted.append(server)
        self._networking().unplug(server_id, leak=server_id in self._leaky)
        self._leaky.discard(server_id)
        self._volumes.release(server.volumes, server.doomed_volumes)

    # -- the rest ----------------------------------------------------------------------------------------

    def put_foreign(
        self, *, name: str, metadata: Mapping[str, str], networks: Iterable[str], flavor: Flavor | None = None
    ) -> Server:
        """A server that somebody else made, ACTIVE at once and past any quota."""
        now = self._timeline.time
        zone = self.zones[0] if self.zones else "nova"
        server = Server(
            id=self._new_id(),
            name=name,
            flavor=flavor or next(iter(self.flavors.values())),
            image_id=None,
            status="ACTIVE",
            task_state=None,
            created=now,
            updated=now,
            launched=now,
            ssh_at=now,
            zone=zone,
            host=f"00-{zone}",
            metadata=dict(metadata),
            foreign=True,
        )
        self.servers[server.id] = server
        for network_id in networks:
            self._networking().create_port(
                network_id,
                device_id=server.id,
                device_owner=f"compute:{zone}",
                status="ACTIVE",
                by_nova=True,
                foreign=True,
            )
        self._change(server.id, addresses=self._networking().addresses_of(server.id, typed=self._typed))
        return self.servers[server.id]

    def set_status(self, server_id: str, status: str) -> Server:
        """As if somebody had stopped, paused or broken it."""
        self.server(server_id)
        return self._change(server_id, status=status, task_state=None) or self.server(server_id)

    def set_metadata(self, server_id: str, metadata: Mapping[str, str]) -> Server:
        self.server(server_id)
        return self._change(server_id, metadata=dict(metadata)) or self.server(server_id)

    def add_keypair(self, name: str, public_key: str, fingerprint: str) -> Keypair:
        if name in self.keypairs:
            raise conflict(f"Key pair '{name}' already exists.", "conflictingRequest")
        self.keypairs[name] = Keypair(name=name, public_key=public_key, fingerprint=fingerprint)
        return self.keypairs[name]

    def console(self, server_id: str) -> str:
        """What its console shows. Raises Refusal while it has none."""
        server = self.server(server_id)
        if server.status == "BUILD":
            raise conflict(f"Instance {server_id} is not ready", "conflictingRequest")
        lines = [f"[    0.000000] Linux version 6.1.0 ({server.name})", "[    1.000000] systemd[1]: Hello."]
        if server.ssh_at is not None:
            lines.append(f"{server.name} login: ")
        return "\n".join(lines) + "\n"
