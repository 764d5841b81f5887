"""`connect`, and what a program can do with a cloud then."""

from __future__ import annotations

import os
import re
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from poolmgr.cloud.api import CloudInfo, Prober
from poolmgr.cloud.library.disk_format import disk_format as format_to_send
from poolmgr.cloud.library.making import Making
from poolmgr.cloud.library.parts import parts_of
from poolmgr.cloud.library.records import Progress, Reach
from poolmgr.cloud.library.removing import Removal
from poolmgr.cloud.library.showing import show
from poolmgr.cloud.library.undoing import undone_on_failure
from poolmgr.cloud.library.wishes import checked_metadata, flavor_for, public_key_of
from poolmgr.cloud.openstack import OpenStackCloud
from poolmgr.cloud.openstack.topology import Network
from poolmgr.cloud.vendor import VendorProfiles
from poolmgr.config.clouds import choose
from poolmgr.config.settings import CloudSettings
from poolmgr.errors import CloudUnavailable, NotFound, Refused, Rejected
from poolmgr.model.cloud_image import CloudImage, ImageSpec, UploadProgress
from poolmgr.model.cloud_report import CloudReport
from poolmgr.model.resources import Resources
from poolmgr.model.server import (
    LIBRARY,
    META_LIBRARY_READY,
    META_LIBRARY_UNTIL,
    Flavor,
    Listing,
    Owner,
    Quota,
    Server,
    ServerSpec,
    ServerStatus,
)
from poolmgr.model.trouble import Trouble
from poolmgr.observe.api_name import ApiCall
from poolmgr.policy.leftovers import Leftovers, both, is_librarys, leftovers
from poolmgr.runtime.clock import Clock, SystemClock

PATIENCE = 60.0  # seconds in which a list that fails is asked for again
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def connect(
    name: str | None = None,
    region: str | None = None,
    *,
    env: bool | None = None,
    overrides: Mapping[str, Any] | None = None,
    paths: Sequence[str] | None = None,
    environ: Mapping[str, str] | None = None,
    rate: float = 0.0,
    on_call: Callable[[ApiCall], None] | None = None,
) -> Connection:
    """A connection to one cloud of clouds.yaml. Nothing is sent before its first method is called.

    `name` None: OS_CLOUD, else the cloud that the OS_* variables describe, else the only one in the file. `region`
    None: the cloud's default. `env` True makes the cloud of the OS_* variables known also when a name is given,
    False leaves these variables unread. `overrides` are keys of a cloud as in clouds.yaml and win over all files.
    `paths`: the files that may be clouds.yaml, None for the usual places. `rate`: least seconds between API calls.
    `on_call` is told of every HTTP exchange, on the thread that made it.
    Raises ConfigError with a line for each finding.
    """
    settings = choose(
        name,
        region=region,
        env=name is None if env is None else env,
        overrides=overrides,
        environ=environ,
        paths=paths,
        remote=VendorProfiles(SystemClock(), os.environ if environ is None else environ),
    )
    return Connection(settings, rate=rate, on_call=on_call, clock=SystemClock())


def ssh_prober(clock: Clock) -> Prober:
    """The real one; a quarter of a second and 20 MiB to load, and few need it."""
    from poolmgr.cloud.probe import SshProber

    return SshProber(clock)


class Connection:
    """One cloud, one region, one project. All methods may be called from any thread.

    Every method may raise CloudUnavailable (no answer, for as long as we were patient) and AuthFailed, and the first
    one called ConfigError and NotSupported for a cloud that cannot be used as it is configured. All other errors
    are named with the method; all of them are `poolmgr.errors.PoolmgrError`.
    """

    def __init__(
        self,
        settings: CloudSettings,
        *,
        clock: Clock,
        rate: float = 0.0,
        on_call: Callable[[ApiCall], None] | None = None,
        prober: Prober | None = None,
        new_id: Callable[[], str] | None = None,
        **options: Any,
    ) -> None:
        """`new_id` names create calls, each differently for ever. `options` go to `OpenStackCloud`."""
        self.name = settings.name
        self.region = settings.region_name
        self._clock = clock
        self._new_id = new_id or (lambda: uuid.uuid4().hex)
        self._cloud = OpenStackCloud(
            settings.name,
            settings,
            region=settings.region_name,
            rate=rate,
            clock=clock,
            deployment=LIBRARY,
            on_call=on_call,
            **options,
        )
        self._parts = parts_of(self.name, self._cloud, lambda: prober or ssh_prober(clock), clock)
        self._keys: set[str] = set()  # names of key pairs that we made sure of

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections and end all waiting. Never raises; servers live on."""
        self._parts.closed.set()
        self._cloud.close()

    @property
    def calls(self) -> Mapping[str, int]:
        """API calls sent so far by `<service>.<METHOD>.<name>`, tokens and version documents included."""
        return self._cloud.calls

    # -- what the cloud has ------------------------------------------------------------------------------

    def info(self) -> CloudInfo:
        """What is known of the cloud once logged in."""
        return self._cloud.connect()

    def show(self, *, limit: float = 30.0) -> CloudReport:
        """Everything that can be looked at without making anything, and what of it should worry somebody.

        Takes at most `limit` seconds. Never raises for what the cloud does: what fails is told in the report.
        """
        return show(self._cloud, self._clock, limit=limit)

    def flavors(self) -> tuple[Flavor, ...]:
        """All flavors, by name; cached 5 minutes."""
        return self._cloud.flavors()

    def networks(self) -> tuple[Network, ...]:
        """All networks the project sees, by name; () where there is no Network service. Cached 10 minutes."""
        return self._cloud.networks()

    def zones(self) -> tuple[str, ...]:
        """The availability zones that take servers, sorted; () where the cloud has none. Cached 5 minutes."""
        return self._cloud.zones()

    def limits(self) -> Resources:
        """The project's limits: instances, cores, ram (MiB); unlimited and unknown ones are absent."""
        return self._cloud.limits()

    def quotas(self) -> tuple[Quota, ...]:
        """Every limit that the cloud tells, with its use."""
        return self._cloud.quotas()

    # -- images ------------------------------------------------------------------------------------------

    def list_images(self) -> tuple[CloudImage, ...]:
        """The project's own images, in any state, by name; those that others share or publish are not among them."""
        listing = self._cloud.list_images()
        if not listing.complete:
            message = f"cloud {self.name}: the list of images could not be read to its end"
            raise Trouble.LIST_CUT_SHORT.error(CloudUnavailable, message)
        return tuple(sorted(listing.items.values(), key=lambda image: (image.name, image.id)))

    def get_image(self, name_or_id: str) -> CloudImage:
        """One image: the project's own in any state, others' if they are active.

        Raises NotFound, and Rejected when several have the name.
        """
        active = self._cloud.find_image(name_or_id)
        return self._cloud.get_image(active) if active else self._own_image(name_or_id)

    def upload_image(
        self,
        file: str | os.PathLike[str],
        *,
        name: str | None = None,
        disk_format: str | None = None,
        min_disk_gib: int = 0,
        min_ram_mib: int = 0,
        properties: Mapping[str, str] | None = None,
        tags: Sequence[str] = (),
        protected: bool = False,
        url: str | None = None,
        progress: Callable[[UploadProgress], None] | None = None,
        cancelled: threading.Event | None = None,
        timeout: float | None = None,
    ) -> CloudImage:
        """A new image of a local file, by the way this cloud accepts; active and verified when this returns.

        `name` None: the file's, without its suffix. `disk_format` None: what the file is by its own marks. `protected`:
        the cloud refuses to delete it but through `delete_image`. `url`: where the cloud finds the file itself, for the
        method web-download. `timeout`: seconds for all of it; None: as long as something moves.
        As `poolmgr.cloud.api.ImageCloud.upload_image`, with its errors, and ConfigError for a file that does not do.
        """
        path = Path(file).expanduser()
        kind = format_to_send(path, disk_format)
        spec = ImageSpec(
            name=name or path.stem,
            path=str(path),
            size=path.stat().st_size,
            disk_format=kind,
            min_disk_gib=min_disk_gib,
            min_ram_mib=min_ram_mib,
            properties=properties or {},
            tags=tuple(tags),
            protected=protected,
            url=url,
        )
        return self._cloud.upload_image(spec, progress=progress, cancelled=cancelled, timeout=timeout)

    def delete_image(self, name_or_id: str) -> None:
        """Delete one of the project's own images.

        Raises NotFound, and Rejected when several have the name or it is in use.
        """
        self._cloud.delete_image(self._own_image(name_or_id).id)

    # -- servers -----------------------------------------------------------------------------------------

    def list_servers(self, *, all: bool = False) -> tuple[Server, ...]:  # noqa: A002
        """The servers that this library made in the project, on whatever machine, by name; with `all` everyone's.

        Never from a list that began before the call.
        """
        servers = self._listed().items.values()
        return tuple(
            sorted((s for s in servers if all or is_librarys(s.owner)), key=lambda s: (s.name, s.id))
        )

    def get_server(self, name_or_id: str) -> Server:
        """One server of the project, whoever made it; of one in ERROR with its fault.

        Raises NotFound, and Rejected when several have the name.
        """
        server = self._found(name_or_id)
        return self._cloud.get_server(server.id) if server.status is ServerStatus.ERROR else server

    def create_server(
        self,
        name: str,
        *,
        image: str,
        flavor: str | None = None,
        min_ram: int | None = None,
        networks: Sequence[str] = (),
        security_groups: Sequence[str] = (),
        key_name: str | None = None,
        key_file: str | None = None,
        az: str | None = None,
        userdata: str | None = None,
        config_drive: bool | None = None,
        metadata: Mapping[str, str] | None = None,
        boot_from_volume: bool = False,
        volume_gib: int = 50,
        auto_ip: bool = True,
        wait: bool = True,
        timeout: float = 600.0,
        reachable: Reach | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> Server:
        """A new server that is ACTIVE and has a working address, `addresses.interface_ip`.

        `image`, `flavor`, `networks` and `security_groups` are names or ids; `networks` empty is the one that
        clouds.yaml or the project makes plain. Instead of `flavor`, or with it as a part of the name, `min_ram` (MiB)
        takes the smallest that has as much. `key_file` is a file with an SSH public key; it becomes a key pair named
        `key_name`, or for its content, and stays. `az` None: the cloud chooses.
        `auto_ip`: where servers need a floating IP to be reached, one is made. `reachable`: wait until that port
        answers too. `timeout` in seconds is for all of it. `progress` is called on this thread with every step.

        `wait` False returns as soon as the cloud has accepted the server, without addresses: call `finish_server`
        within `timeout`, else it counts as half made (see `leftovers`).

        Should this fail, or be interrupted by Ctrl-C, everything it made is deleted again before it raises; if even
        that fails, a note on the error says what may be left. Raises OverQuota, NoCapacity, Rejected, ImageGone,
        NotSupported, ConfigError for the key, and ServerFailed for a server that did not become usable.
        """
        self._cloud.connect()
        spec = ServerSpec(
            name=name,
            flavor=flavor_for(self.name, self._cloud.flavors(), flavor, min_ram),
            image=image,
            image_is_id=False,
            metadata=checked_metadata(metadata or {}),
            networks=tuple(networks),
            security_groups=tuple(security_groups),
            key_name=self._key(key_name, key_file),
            az=az,
            config_drive=config_drive,
            userdata=userdata,
            boot_from_volume=boot_from_volume,
            volume_gib=volume_gib,
        )
        owner = Owner(provider=self.name, node_id=self._new_id(), deployment=LIBRARY, attempt=1)
        marks = {**owner.metadata(), META_LIBRARY_UNTIL: str(int(self._clock.time() + timeout))}
        if not wait and not auto_ip:
            marks[META_LIBRARY_READY] = "yes"  # nothing will be left to be done
        spec = replace(spec, metadata={**spec.metadata, **marks})
        making = Making(
            self._parts,
            lambda: self._cloud.create_server(spec),
            name=name,
            owner=owner,
            on_volume=boot_from_volume,
            auto_ip=auto_ip,
            reach=reachable,
            timeout=timeout,
            tell=progress or (lambda _: None),
        )
        with undone_on_failure(self._parts, making):
            if wait:
                return making.run()
            server_id = making.begin()
        return Server(id=server_id, name=name, status=ServerStatus.BUILD, metadata=spec.metadata)

    def finish_server(
        self,
        name_or_id: str,
        *,
        auto_ip: bool = True,
        timeout: float = 600.0,
        reachable: Reach | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> Server:
        """What `create_server` would have waited for, for a server begun with `wait=False`. May be repeated.

        A failure deletes nothing. Raises NotFound, OverQuota, NoCapacity, Rejected, ServerFailed, and Refused for a
        server that this library did not make.
        """
        server = self._found(name_or_id)
        if server.owner is None or not is_librarys(server.owner):
            raise Refused(f"cloud {self.name}: server {server.name} was not made by this library")
        making = Making(
            self._parts,
            lambda: server.id,
            name=server.name,
            owner=server.owner,
            on_volume=server.image_id is None,
            auto_ip=auto_ip,
            reach=reachable,
            timeout=timeout,
            tell=progress or (lambda _: None),
        )
        return making.run()

    def delete_server(
        self, name_or_id: str, *, wait: bool = True, timeout: float = 600.0, force: bool = False
    ) -> None:
        """Delete a server and, of those made by this library, its floating IPs, ports and volumes.

        With `wait` it returns when all of them are gone, else when the cloud has accepted the deletion; what can
        only be deleted after the server is then left to `clean`. Raises NotFound when there is none of the name,
        Rejected when there are several, CloudUnavailable when it is not gone after `timeout` seconds, and, unless
        `force`, Refused for a launcher's node.
        """
        server = self._found(name_or_id)
        owner = server.owner
        if owner is not None and not is_librarys(owner) and not force:
            raise Refused(
                f"cloud {self.name}: server {server.name} ({server.id}) is node {owner.node_id} of a launcher's "
                f"provider {owner.provider}: delete it with `poolmgr delete {owner.node_id}`, or by force"
            )
        removal = Removal(
            self._parts,
            server_ids=[server.id],
            owners=[owner] if owner and is_librarys(owner) else [],
            volumes=() if server.volumes else None,
        )
        if wait:
            removal.run(timeout)
        else:
            removal.ask()

    def console(self, name_or_id: str) -> str:
        """The last 2,000 lines of a server's console, "" if the cloud has none (yet). Raises as `get_server`."""
        return self._cloud.console(self._found(name_or_id).id)

    # -- what killed programs left behind ----------------------------------------------------------------

    def leftovers(self) -> Leftovers:
        """Servers half made by programs that were killed, and what lost its server; see `policy.leftovers`."""
        deadline = self._clock.monotonic() + PATIENCE
        ips = self._parts.floating_ips.fresh(deadline=deadline)
        ports = self._parts.ports.fresh(deadline=deadline)
        volumes = self._parts.volumes.fresh(deadline=deadline)
        return leftovers(self._listed(), ips, ports, volumes, now=self._clock.time())

    def clean(self, found: Leftovers, *, timeout: float = 600.0) -> Leftovers:
        """Delete `found`, as `leftovers` told it, until it is gone; returns what was deleted.

        First it looks again, 10 seconds later or, where ports are made before their servers, 60: a cloud's lists may
        lack something for a while. Raises CloudUnavailable when not all is gone after `timeout` seconds.
        """
        tuning = self._parts.tuning
        early_ports = found.ports and self._cloud.connect().precreates_ports
        self._parts.pause(tuning.young_server if early_ports else tuning.unknown_spacing)
        sure = both(found, self.leftovers())
        if sure:
            Removal(self._parts, owners=sure.owners(), volumes=()).run(timeout)
        return sure

    def _listed(self) -> Listing[Server]:
        return self._parts.servers.fresh(deadline=self._clock.monotonic() + PATIENCE)

    def _found(self, name_or_id: str) -> Server:
        servers = self._listed().items
        if name_or_id in servers:
            return servers[name_or_id]
        named = [s for s in servers.values() if s.name == name_or_id and s.status is not ServerStatus.DELETED]
        if len(named) > 1:
            ids = ", ".join(sorted(server.id for server in named))
            raise Rejected(f"cloud {self.name}: several servers are called {name_or_id}, use an id: {ids}")
        if named:
            return named[0]
        if UUID.fullmatch(name_or_id):
            return self._cloud.get_server(name_or_id)  # lists may lag behind
        raise NotFound(f"cloud {self.name}: no server {name_or_id}")

    def _own_image(self, name_or_id: str) -> CloudImage:
        images = self.list_images()
        found = [image for image in images if name_or_id == image.id]
        found = found or [image for image in images if name_or_id == image.name]
        if len(found) > 1:
            ids = ", ".join(image.id for image in found)
            raise Rejected(f"cloud {self.name}: several images are called {name_or_id}, use an id: {ids}")
        if not found:
            raise NotFound(f"cloud {self.name}: the project has no image {name_or_id}")
        return found[0]

    def _key(self, name: str | None, file: str | None) -> str | None:
        if file is None:
            return name
        key = public_key_of(file)
        name = name or key.name
        if name not in self._keys:
            self._cloud.import_key(name, key.text)
            self._keys.add(name)
        return name
