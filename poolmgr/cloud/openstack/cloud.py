"""`Cloud` on a real OpenStack: joins the parts of this package, and holds no protocol of its own."""

from __future__ import annotations

import random
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from poolmgr.cloud.api import CloudInfo
from poolmgr.cloud.openstack.calls import ServiceMap
from poolmgr.cloud.openstack.compute import Compute
from poolmgr.cloud.openstack.creation import Creator
from poolmgr.cloud.openstack.discovery import Discovery
from poolmgr.cloud.openstack.expose import Exposer, FloatingIps
from poolmgr.cloud.openstack.floating import NatPlan, may_come_up
from poolmgr.cloud.openstack.floating_neutron import NeutronFloatingIps
from poolmgr.cloud.openstack.floating_nova import NovaFloatingIps
from poolmgr.cloud.openstack.gate import Gate, Timeouts
from poolmgr.cloud.openstack.image import Images
from poolmgr.cloud.openstack.limiter import RateLimiter
from poolmgr.cloud.openstack.login import without_scope
from poolmgr.cloud.openstack.netprice import network_price
from poolmgr.cloud.openstack.network import Networks
from poolmgr.cloud.openstack.poll import ServerPoll
from poolmgr.cloud.openstack.reading import Reading
from poolmgr.cloud.openstack.retry import Retrier, RetryPolicy
from poolmgr.cloud.openstack.route import has_v6_route
from poolmgr.cloud.openstack.service import Service
from poolmgr.cloud.openstack.session import Session
from poolmgr.cloud.openstack.topology import Network, Topology
from poolmgr.cloud.openstack.upload_wire import UploadGate
from poolmgr.cloud.openstack.volumes import Volumes
from poolmgr.config.settings import CloudSettings, NetworkApi
from poolmgr.errors import ConfigError, PoolmgrError
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
)
from poolmgr.observe.api_name import ApiCall
from poolmgr.runtime.clock import Clock

if TYPE_CHECKING:
    from poolmgr.cloud.openstack.image_cloud import OpenStackImages
    from poolmgr.cloud.openstack.survey_sections import Parts
    from poolmgr.cloud.openstack.upload_attempt import UploadPolicy

CONNECT_TIMEOUT = 10.0  # seconds
READ_TIMEOUT = 60.0
SERVICES = ("compute", "network", "image", "identity", "block-storage", "object-store")


class OpenStackCloud:
    """One provider's view of an OpenStack cloud: one region, one project, one login.

    `rate` is the least number of seconds between API calls, 0 for no limit. `region` None takes the one of
    `settings`. `on_call` is told of every HTTP request, on the thread that made it. `reachable_v6` None: look.
    """

    def __init__(
        self,
        provider_name: str,
        settings: CloudSettings,
        *,
        region: str | None,
        rate: float,
        clock: Clock,
        deployment: str,
        on_call: Callable[[ApiCall], None] | None = None,
        pool_size: int = 12,
        timeouts: Timeouts | None = None,
        retry: RetryPolicy | None = None,
        rng: random.Random | None = None,
        new_id: Callable[[], str] | None = None,
        reachable_v6: bool | None = None,
        upload_policy: UploadPolicy | None = None,
    ) -> None:
        self.provider_name = provider_name
        self.deployment = deployment
        self._settings = settings
        self._region = region or settings.region_name
        self._clock = clock
        self._limiter = RateLimiter(rate, clock, service_intervals=_intervals(settings))
        services = ServiceMap()
        self._gate = Gate(
            services=services,
            limiter=self._limiter,
            clock=clock,
            timeouts=timeouts or (CONNECT_TIMEOUT, settings.api_timeout or READ_TIMEOUT),
            pool_size=pool_size,
            concurrency=_concurrency(settings),
            on_call=on_call,
        )
        self._new_id = new_id or (lambda: str(uuid.uuid4()))
        self._session = Session(
            settings,
            self._gate,
            clock,
            new_id=self._new_id,
            upload_gate=UploadGate.beside(self._gate, pool_size=pool_size),
        )
        self._discovery = Discovery(self._session, settings, self._region, services, clock)
        self._retrier = Retrier(retry or RetryPolicy(), clock, rng or random.Random(), self._limiter.closed)
        self._compute = Compute(self._service("compute"), clock)
        self._networks = Networks(self._service("network"), clock, self._session.project_id)
        self._images = Images(self._service("image"), clock, self._session.project_id)
        self._volumes = Volumes(self._service("block-storage"), clock)
        self._upload_policy = upload_policy
        v6 = has_v6_route() if reachable_v6 is None else reachable_v6
        self._reading = Reading(settings, self._compute, self._networks, reachable_v6=v6)
        self._poll = ServerPoll(
            settings.name, settings.server_poll, self._compute, self._reading.reader, clock
        )
        self._creator = Creator(
            settings,
            self._compute,
            self._networks,
            self._images,
            self._volumes,
            clock=clock,
            closed=self._limiter.closed,
        )
        self._neutron_ips = NeutronFloatingIps(settings, self._networks)
        self._floating_ips: FloatingIps = self._neutron_ips
        if settings.floating_ip_source is NetworkApi.NOVA:
            plain = self._service("compute", microversions=False)
            self._floating_ips = NovaFloatingIps(settings, plain, clock)
        self._exposer = Exposer(settings, self._floating_ips, self._reading.rules)

    def _service(self, name: str, *, microversions: bool = True) -> Service:
        return Service(name, self._session, self._discovery, self._retrier, microversions=microversions)

    @cached_property
    def _uploads(self) -> OpenStackImages:
        """Loaded when first used: most of what uses a cloud uploads nothing."""
        from poolmgr.cloud.openstack.image_cloud import OpenStackImages

        return OpenStackImages(
            self._settings,
            self._images,
            self._session,
            self._discovery,
            self._retrier,
            self._clock,
            deployment=self.deployment,
            new_id=self._new_id,
            policy=self._upload_policy,
        )

    @property
    def calls(self) -> Mapping[str, int]:
        return self._gate.counter.counts()

    def connect(self) -> CloudInfo:
        settings = self._settings
        Owner(
            provider=self.provider_name, node_id="0" * 32, deployment=self.deployment
        ).tag()  # is it too long?
        self._discovery.need("compute")
        topology = self._networks.topology()
        has_network = self._networks.present()
        if has_network:
            check_networks(settings, topology)
        else:
            check_without_network(settings)
        plan = self._floating_ips.plan() if may_come_up(settings) else NatPlan()
        if plan.problem and settings.requires_floating_ip:
            raise plan.problem.error(ConfigError, settings.name)
        return CloudInfo(
            cloud=settings.name,
            region=self._region,
            has_network=has_network,
            may_need_floating_ips=plan.usable
            or bool(settings.requires_floating_ip and may_come_up(settings)),
            has_volumes=self._volumes.present(),
            precreates_ports=has_network and settings.port_mode == "precreate",
            project_is_dedicated=settings.project_is_dedicated,
        )

    def parts(self) -> Parts:
        """What a survey of the cloud needs."""
        from poolmgr.cloud.openstack.survey_sections import Parts

        return Parts(
            settings=self._settings,
            region=self._region,
            reachable_v6=self._reading.reachable_v6,
            clock=self._clock,
            session=self._session,
            discovery=self._discovery,
            service=self._service,
            compute=self._compute,
            networks=self._networks,
            images=self._images,
            volumes=self._volumes,
            plan=lambda: self._floating_ips.plan() if may_come_up(self._settings) else NatPlan(),
            connect=self.connect,
            unscoped=lambda: Session(
                without_scope(self._settings), self._gate, self._clock, new_id=self._new_id
            ),
        )

    def close(self) -> None:
        self._limiter.close()
        self._session.close()

    def limits(self, *, volumes: bool = False) -> Resources:
        limits = self._compute.limits()
        return {**limits, **self._volumes.limits()} if volumes and self._volumes.present() else limits

    def quotas(self) -> tuple[Quota, ...]:
        volumes = self._volumes.quotas() if self._volumes.present() else ()
        network = self._networks.quotas() if self._networks.present() else ()
        return (*self._compute.quotas(), *volumes, *network)

    def network_quotas(self) -> tuple[Quota, ...]:
        found = self._networks.counted_quotas() if self._networks.present() else ()
        return (*found, *self._floating_ips.quotas())

    def network_price(self, networks: Sequence[str]) -> Resources:
        settings = self._settings
        topology = self._networks.topology() if self._networks.present() else None
        plan = self._floating_ips.plan() if may_come_up(settings) else NatPlan()
        return network_price(networks, settings, topology, plan, self._reading.rules())

    def flavors(self) -> tuple[Flavor, ...]:
        return self._compute.flavors()

    def zones(self) -> tuple[str, ...]:
        return self._compute.zones()

    def networks(self) -> tuple[Network, ...]:
        """All networks the project sees, by name, cached 10 minutes; () where there is no Network service."""
        return tuple(sorted(self._networks.topology().networks.values(), key=lambda n: (n.name, n.id)))

    def find_image(self, name_or_id: str) -> str | None:
        return self._images.find(name_or_id)

    def import_key(self, name: str, public_key: str) -> None:
        """Make sure the login has this key pair. Raises ConfigError when `name` holds another key."""
        self._compute.import_key(name, public_key)

    def delete_key(self, name: str) -> None:
        """Delete the login's key pair of this name. NotFound is success."""
        self._compute.delete_key(name)

    def create_server(self, spec: ServerSpec) -> str:
        made = self._creator.create(spec)
        if made.ports:
            self._neutron_ips.learn_ports(made.server_id, made.ports)
        return made.server_id

    def list_servers(self, *, partial_ok: bool = False) -> Listing[Server]:
        return self._poll.list(partial_ok=partial_ok)

    def get_server(self, server_id: str) -> Server:
        """See `Cloud.get_server`. Of an ACTIVE server without addresses the ports are looked at."""
        server = self._reading.reader().read(self._compute.server(server_id))
        bare = server.status is ServerStatus.ACTIVE and not server.addresses.interface_ip
        if not bare or not self._networks.present():
            return server
        return replace(server, addresses=self._reading.addresses_of(self._networks.guest_ports(server_id)))

    def delete_server(self, server_id: str, *, force: bool = False) -> None:
        self._floating_ips.release(server_id)
        self._compute.delete(server_id, at_once=force or self._poll.keeps_deleted)
        self._exposer.forget_server(server_id)

    def mark_server(self, server_id: str, metadata: Mapping[str, str]) -> None:
        """Add to a server's metadata; what else is there stays. Repeatable. Raises NotFound, Rejected."""
        self._compute.mark(server_id, metadata)

    def console(self, server_id: str) -> str:
        return self._compute.console(server_id)

    def expose(self, server: Server, *, owner: Owner, auto_floating_ip: bool) -> Addresses:
        ports = () if server.addresses.interface_ip else self._neutron_ips.ports_of(server.id)
        if ports:  # made before it, so they are known before nova shows them
            server = replace(server, addresses=self._reading.addresses_of(ports))
        return self._exposer.expose(server, owner, auto=auto_floating_ip)

    def list_ports(self) -> Listing[Port]:
        return self._networks.list_ports() if self._networks.present() else self._nothing()

    def delete_port(self, port_id: str) -> None:
        self._networks.delete_port(port_id)

    def list_floating_ips(self) -> Listing[FloatingIp]:
        source = self._settings.floating_ip_source
        possible = source is NetworkApi.NOVA or (source is not None and self._networks.present())
        return self._floating_ips.list() if possible else self._nothing()

    def delete_floating_ip(self, floating_ip_id: str) -> None:
        self._floating_ips.delete(floating_ip_id)
        self._exposer.forget_floating_ip(floating_ip_id)

    def upload_image(
        self,
        spec: ImageSpec,
        *,
        progress: Callable[[UploadProgress], None] | None = None,
        cancelled: threading.Event | None = None,
        timeout: float | None = None,
        pace: Callable[[int], None] | None = None,
    ) -> CloudImage:
        return self._uploads.upload(spec, progress, cancelled, timeout, pace)

    def get_image(self, image_id: str) -> CloudImage:
        return self._images.get(image_id)

    def login_rest(self) -> float:
        return self._session.login_rest()

    def list_images(self) -> Listing[CloudImage]:
        return self._images.listing()

    def delete_image(self, image_id: str) -> None:
        self._uploads.delete(image_id)

    def list_staged(self) -> Listing[StagedObject]:
        return self._uploads.list_staged()

    def delete_staged(self, staged: StagedObject) -> None:
        self._uploads.delete_staged(staged)

    def list_volumes(self) -> Listing[Volume]:
        return self._volumes.list() if self._volumes.present() else self._nothing()

    def mark_volumes(self, server: Server, *, owner: Owner) -> None:
        for volume_id in server.volumes:
            self._volumes.mark(volume_id, owner)

    def delete_volume(self, volume_id: str, *, force: bool = False) -> None:
        self._volumes.delete(volume_id, force=force)

    def _nothing(self) -> Listing[Any]:
        now = self._clock.monotonic()
        return Listing(items={}, started_at=now, finished_at=now)


def check_networks(settings: CloudSettings, topology: Topology) -> None:
    """Raises ConfigError naming every network of clouds.yaml that the cloud does not have as named."""
    found: list[PoolmgrError] = []
    for network in settings.networks:
        try:
            topology.pick(network.name)
        except PoolmgrError as error:
            found.append(error)
    if found:
        where, first = f"cloud {settings.name}", found[0]
        message = "; ".join(f"{where}: {error.message}" for error in found)
        lines = [f"{where}: {error}" for error in found]
        raise ConfigError(message, lines, reason=first.reason, remedy=first.remedy)


def check_without_network(settings: CloudSettings) -> None:
    """Raises ConfigError for what clouds.yaml asks of a Network service, in a cloud that has none."""
    if settings.port_mode == "precreate":
        raise ConfigError(
            f"cloud {settings.name}: port_mode precreate: there is no network service: set port_mode: nova"
        )
    if settings.requires_floating_ip and settings.floating_ip_source is NetworkApi.NEUTRON:
        raise ConfigError(
            f"cloud {settings.name}: requires_floating_ip: there is no network service to make floating IPs; if the "
            "Compute service makes them, set floating_ip_source: nova"
        )


def _intervals(settings: CloudSettings) -> dict[str, float]:
    limits = {name: settings.service(name.replace("-", "_")).rate_limit for name in SERVICES}
    return {name: 1.0 / limit for name, limit in limits.items() if limit}


def _concurrency(settings: CloudSettings) -> dict[str, int]:
    sizes = {name: settings.service(name.replace("-", "_")).concurrency for name in SERVICES}
    return {name: size for name, size in sizes.items() if size}
