"""The parts of a simulated cloud, joined."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from poolmgr.cloud.api import CloudInfo
from poolmgr.cloud.simulated.calls import Calls
from poolmgr.cloud.simulated.creation import SimulatedCreator
from poolmgr.cloud.simulated.floating import SimulatedFloatingIps
from poolmgr.cloud.simulated.images import SimulatedImages
from poolmgr.cloud.simulated.network import SimulatedNetworks
from poolmgr.cloud.simulated.offer import Offer
from poolmgr.cloud.simulated.servers import SimulatedServers
from poolmgr.cloud.simulated.upload import Upload
from poolmgr.cloud.simulated.volumes import SimulatedVolumes
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
    Volume,
)
from poolmgr.runtime.clock import Clock
from poolmgr.simcloud import world as sim

T = TypeVar("T")


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
        calls: Calls | None = None,
    ) -> None:
        """`clock` must be the one the world goes by; listings take their monotonic times from it.

        `precreates_ports` is `port_mode: precreate`, and `lists_changes` an incremental `server_poll`. Without
        `lists_faults` a fault is only told of a single server.
        """
        self._cloud, self._clock = cloud, clock
        self._calls = calls = calls or Calls(cloud)
        self._dedicated = project_is_dedicated
        self._logged_in = False
        self._offer = Offer(cloud, calls)
        self._networks = SimulatedNetworks(cloud, calls)
        self._precreates_ports = precreates_ports and self._networks.present
        self._volumes = SimulatedVolumes(cloud, calls)
        self._images = SimulatedImages(cloud, calls)
        self._servers = SimulatedServers(
            cloud, calls, clock, lists_changes=lists_changes, lists_faults=lists_faults
        )
        self._creator = SimulatedCreator(
            cloud, calls, self._networks, self._images, precreates_ports=self._precreates_ports
        )
        self._floating_ips = SimulatedFloatingIps(cloud, calls)

    @property
    def calls(self) -> Mapping[str, int]:
        return self._calls.counts()

    def connect(self) -> CloudInfo:
        if not self._logged_in:
            self._calls.ask("identity.POST.tokens", lambda _: None)
            self._logged_in = True
        return CloudInfo(
            cloud=self._cloud.name,
            region=self._cloud.config.region,
            has_network=self._networks.present,
            may_need_floating_ips=self._floating_ips.possible,
            has_volumes=self._volumes.present,
            precreates_ports=self._precreates_ports,
            project_is_dedicated=self._dedicated,
        )

    def close(self) -> None:
        """There is nothing to close."""

    def limits(self, *, volumes: bool = False) -> Resources:
        return self._offer.limits(volumes=volumes)

    def quotas(self) -> tuple[Quota, ...]:
        return self._offer.quotas()

    def network_quotas(self) -> tuple[Quota, ...]:
        return self._offer.network_quotas(floating_ips=self._floating_ips.possible)

    def network_price(self, networks: Sequence[str]) -> Resources:
        ports, private = self._networks.price(networks)
        floating = {"floating-ips": 1} if private and self._floating_ips.possible else {}
        return {**({"ports": ports} if ports and self._networks.present else {}), **floating}

    def flavors(self) -> tuple[Flavor, ...]:
        return self._offer.flavors()

    def zones(self) -> tuple[str, ...]:
        return self._offer.zones()

    def find_image(self, name_or_id: str) -> str | None:
        return self._images.find(name_or_id)

    def create_server(self, spec: ServerSpec) -> str:
        return self._creator.create(spec)

    def list_servers(self, *, partial_ok: bool = False) -> Listing[Server]:
        return self._servers.list(partial_ok=partial_ok)

    def get_server(self, server_id: str) -> Server:
        return self._servers.get(server_id)

    def delete_server(self, server_id: str, *, force: bool = False) -> None:
        self._floating_ips.release(server_id)
        self._servers.delete(server_id, force=force)

    def console(self, server_id: str) -> str:
        return self._servers.console(server_id)

    def expose(self, server: Server, *, owner: Owner, auto_floating_ip: bool) -> Addresses:
        return self._floating_ips.expose(server, owner, auto=auto_floating_ip)

    def list_ports(self) -> Listing[Port]:
        return self._listing(self._networks.list_ports)

    def delete_port(self, port_id: str) -> None:
        self._networks.delete_port(port_id)

    def list_floating_ips(self) -> Listing[FloatingIp]:
        return self._listing(self._floating_ips.list)

    def delete_floating_ip(self, floating_ip_id: str) -> None:
        self._floating_ips.delete(floating_ip_id)

    def list_volumes(self) -> Listing[Volume]:
        return self._listing(self._volumes.list)

    def mark_volumes(self, server: Server, *, owner: Owner) -> None:
        self._volumes.mark(server, owner)

    def delete_volume(self, volume_id: str, *, force: bool = False) -> None:
        self._volumes.delete(volume_id, force=force)

    def upload_image(
        self,
        spec: ImageSpec,
        *,
        progress: Callable[[UploadProgress], None] | None = None,
        cancelled: threading.Event | None = None,
        timeout: float | None = None,
        pace: Callable[[int], None] | None = None,
    ) -> CloudImage:
        upload = Upload(
            self._cloud,
            self._calls,
            self._images,
            self._clock,
            spec,
            progress=progress,
            cancelled=cancelled or threading.Event(),
            timeout=timeout,
            pace=pace,
        )
        return upload.run()

    def get_image(self, image_id: str) -> CloudImage:
        return self._images.get(image_id)

    def list_images(self) -> Listing[CloudImage]:
        return self._listing(self._images.list)

    def login_rest(self) -> float:
        """Nobody logs in here."""
        return 0.0

    def delete_image(self, image_id: str) -> None:
        self._images.delete(image_id)

    def list_staged(self) -> Listing[StagedObject]:
        return self._listing(self._images.list_staged)

    def delete_staged(self, staged: StagedObject) -> None:
        self._images.delete_staged(staged)

    def _listing(self, ask: Callable[[], Mapping[str, T]]) -> Listing[T]:
        started_at = self._clock.monotonic()
        items = ask()
        return Listing(items=items, started_at=started_at, finished_at=self._clock.monotonic())
