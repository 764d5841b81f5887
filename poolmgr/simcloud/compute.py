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

from poolmgr.simcloud.fate import Fate, fate_of, guest_of
from poolmgr.simcloud.faults import NO_TROUBLE, FaultKind, Trouble
from poolmgr.simcloud.networking import Networking
from poolmgr.simcloud.quota import Quota
from poolmgr.simcloud.refusal import Refusal, bad_request, conflict, no_such, nova_quota
from poolmgr.simcloud.settings import Boot
from poolmgr.simcloud.things import Address, Flavor, Keypair, Server, ServerFault
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
    volume_type: str = ""
    volume_id: str | None = None  # boot from this one
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
        image_is_there: Callable[[str], bool],
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
        self._image_is_there = image_is_there
        self._leaky: set[str] = set()  # servers whose ports will stay
        self._hidden: set[str] = set()  # servers whose addresses Nova does not show yet
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
            image_id=None if request.volume_gib or request.volume_id else request.image_id,
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
            guest=guest_of(trouble),
        )
        self.servers[server.id] = server
        self._plan(server.id, request, trouble)
        return server

    def _check(self, request: ServerRequest, trouble: Trouble) -> None:
        need = {"instances": 1, "cores": request.flavor.vcpus, "ram": request.flavor.ram_mib}
        used = self.used()
        if fault := trouble.of(FaultKind.QUOTA):
            instances = (1, used["instances"], used["instances"])
            raise nova_quota({"instances": instances}, status=fault.status or 403, words=fault.message)
        if exceeded := self._quota.exceeded(need, used):
            raise nova_quota(exceeded)
        self._networking().check_port_quota(len(request.networks))
        if request.zone is not None and request.zone not in self.zones:
            raise bad_request("The requested availability zone is not available")
        if request.key_name is not None and request.key_name not in self.keypairs:
            raise bad_request("Invalid key_name provided.")

    def _plan(self, server_id: str, request: ServerRequest, trouble: Trouble) -> None:
        """Put on the timeline what will become of the server."""
        zone = request.zone or self._rng.choice(self.zones or ("nova",))
        fate = fate_of(trouble, self._pace.boot, self._rng, room=zone not in self.full_zones)
        if fate.leaks_ports:
            self._leaky.add(server_id)
        begun = fate.boot * _SCHEDULED
        if fate.failure and fate.unscheduled:
            code, message = fate.failure
            self._timeline.after(begun, lambda: self._fail(server_id, code, message))
            return
        image_was_there = request.image_id is not None and self._image_is_there(request.image_id)
        self._timeline.after(
            begun, lambda: self._spawn(server_id, request, zone, fate, image_was_there=image_was_there)
        )
        if not fate.stuck:
            self._timeline.after(fate.boot, lambda: self._finish(server_id, fate))

    def _change(self, server_id: str, **changes: object) -> Server | None:
        """Change a server if it is still there; not `updated` where only its addresses are others."""
        server = self.servers.get(server_id)
        if server is None:
            return None
        if set(changes) != {"addresses"}:
            changes["updated"] = self._timeline.time
        changed = replace(server, **changes)  # type: ignore[arg-type]
        self.servers[server_id] = changed
        return changed

    def _building(self, server_id: str) -> Server | None:
        server = self.servers.get(server_id)
        return server if server and server.status == "BUILD" and server.task_state != "deleting" else None

    def _spawn(
        self, server_id: str, request: ServerRequest, zone: str, fate: Fate, *, image_was_there: bool
    ) -> None:
        if self._building(server_id) is None:
            return
        if image_was_there and not self._image_is_there(request.image_id or ""):
            self._fail(server_id, 404, f"Image {request.image_id} could not be found.")
            return
        try:
            if not fate.addressless:
                self._networking().plug(server_id, zone, request.networks, request.ports)
            volumes = self._attach_volume(server_id, request)
        except Refusal as refusal:
            self._fail(server_id, 500, f"Build of instance {server_id} aborted: {refusal.message}")
            return
        if fate.addresses_after:
            self._hidden.add(server_id)
        self._change(
            server_id,
            task_state="spawning",
            zone=zone,
            host=f"{self._rng.randrange(_HOSTS):02d}-{zone}",
            volumes=volumes,
            doomed_volumes=volumes if request.delete_volume else (),
            addresses=self._shown_addresses(server_id),
        )

    def _attach_volume(self, server_id: str, request: ServerRequest) -> tuple[str, ...]:
        """The ids of its boot volume: one that was named, or a new one."""
        if request.volume_id is not None:
            return (self._volumes.attach(request.volume_id, server_id).id,)
        return self._volumes.boot_volume(server_id, request.volume_gib, request.volume_type)

    def _finish(self, server_id: str, fate: Fate) -> None:
        """The end of the build: ACTIVE, or what the fate says."""
        if self._building(server_id) is None:
            return
        if fate.failure:
            self._fail(server_id, fate.failure[0], fate.failure[1].replace("{id}", server_id))
            return
        now = self._timeline.time
        self._change(
            server_id,
            status="ACTIVE",
            task_state=None,
            launched=now,
            ssh_at=None if fate.ssh_after is None else now + fate.ssh_after,
        )
        if fate.addresses_after:
            self._timeline.after(fate.addresses_after, lambda: self._unhide(server_id))

    def _fail(self, server_id: str, code: int, message: str) -> None:
        """The build failed: no ports are left, as Nova does it. It holds its quota until it is deleted."""
        if self._building(server_id) is None:
            return
        self._networking().unplug(server_id, leak=server_id in self._leaky)
        fault = ServerFault(code=code, message=message, at=self._timeline.time)
        self._change(server_id, status="ERROR", task_state=None, fault=fault, addresses=())

    # -- addresses ---------------------------------------------------------------------------------------

    def _shown_addresses(self, server_id: str) -> tuple[Address, ...]:
        if server_id in self._hidden:
            return ()
        return self._networking().addresses_of(server_id, typed=self._typed)

    def _unhide(self, server_id: str) -> None:
        self._hidden.discard(server_id)
        self._change(server_id, addresses=self._shown_addresses(server_id))

    def show_addresses_later(self, server_id: str) -> None:
        """A port or a floating IP came or went: Nova's own listing shows it after a while."""

        def show() -> None:
            self._change(server_id, addresses=self._shown_addresses(server_id))

        if server_id in self.servers:
            self._timeline.after(self._pace.address_delay, show)

    # -- deleting ----------------------------------------------------------------------------------------

    def delete(self, server_id: str, trouble: Trouble = NO_TROUBLE, *, force: bool = False) -> None:
        """Accept a deletion; `force` also of what is SOFT_DELETED or unforced-delete holds. Raises Refusal."""
        server = self.server(server_id)
        if trouble.of(FaultKind.IGNORED_DELETE) or (server.status == "SOFT_DELETED" and not force):
            return
        if trouble.of(FaultKind.LEAKED_PORT):
            self._leaky.add(server_id)
        leaked = trouble.of(FaultKind.LEAKED_VOLUME)
        if leaked:
            self._volumes.detach_slowly(server.volumes, leaked.delay)
        slow, soft = trouble.of(FaultKind.SLOW_DELETE), trouble.of(FaultKind.SOFT_DELETE)
        seconds = slow.delay if slow else self._pace.delete_seconds
        self._change(server_id, task_state="deleting")
        if trouble.of(FaultKind.ERROR_DELETE) or (trouble.of(FaultKind.UNFORCED_DELETE) and not force):
            self._timeline.after(seconds, lambda: self._fail_delete(server_id, None))
        elif trouble.of(FaultKind.STUCK_DELETE):
            self._timeline.after(seconds, lambda: self._fail_delete(server_id, "deleting"))
        elif soft:
            self._timeline.after(seconds, lambda: self._bury(server_id, soft.delay))
        else:
            self._timeline.after(seconds, lambda: self._remove(server_id))

    def _fail_delete(self, server_id: str, task_state: str | None) -> None:
        fault = ServerFault(code=500, message="Failed to delete instance", at=self._timeline.time)
        self._change(server_id, status="ERROR", task_state=task_state, fault=fault)

    def _bury(self, server_id: str, seconds: float) -> None:
        """SOFT_DELETED, until the cloud reclaims it."""
        self._change(server_id, status="SOFT_DELETED", task_state=None)

        def reclaim() -> None:
            server = self.servers.get(server_id)
            if server is not None and server.status == "SOFT_DELETED":
                self._remove(server_id)

        self._timeline.after(seconds, reclaim)

    def restore(self, server_id: str) -> None:
        """Bring back what is SOFT_DELETED. Raises Refusal."""
        if self.server(server_id).status != "SOFT_DELETED":
            status = self.server(server_id).status.lower()
            message = f"Cannot 'restore' instance {server_id} while it is in vm_state {status}"
            raise conflict(message, "conflictingRequest")
        self._change(server_id, status="ACTIVE", task_state=None)

    def _remove(self, server_id: str) -> None:
        server = self._change(server_id, status="DELETED", task_state=None, addresses=())
        if server is None:
            return
        del self.servers[server_id]
        self.deleted.append(server)
        self._networking().unplug(server_id, leak=server_id in self._leaky)
        self._leaky.discard(server_id)
        self._hidden.discard(server_id)
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
