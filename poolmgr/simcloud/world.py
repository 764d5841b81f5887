"""A pretend world: several clouds, each with everything a project has in it. Pure: time and chance come in.

Rules: whoever wants something of a cloud takes `cloud.lock`, calls `cloud.call` with the operation's name, which
lets everything due happen, counts the call and tells what goes wrong with it, and then asks the parts. The
HTTP face and `poolmgr.cloud.simulated` both do that, so both see the same faults.
"""

from __future__ import annotations

import random
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from poolmgr.simcloud.addresses import unmapped
from poolmgr.simcloud.compute import Compute, ServerRequest
from poolmgr.simcloud.content import Digest
from poolmgr.simcloud.faults import Fault, FaultKind, Faults, Trouble
from poolmgr.simcloud.identity import Credentials, Identity
from poolmgr.simcloud.images import Images, NewImage
from poolmgr.simcloud.imports import ImportRequest, Imports
from poolmgr.simcloud.networking import Networking
from poolmgr.simcloud.objects import Objects
from poolmgr.simcloud.quota import Quota
from poolmgr.simcloud.refusal import Refusal
from poolmgr.simcloud.settings import CloudConfig, SimConfig
from poolmgr.simcloud.things import Flavor, FloatingIp, Image, Port, Server, Volume
from poolmgr.simcloud.timeline import Timeline
from poolmgr.simcloud.traffic import Bucket, Traffic
from poolmgr.simcloud.volumes import Volumes

#: What users of a world need; `cloud.simulated` may import nothing else of simcloud.
__all__ = [
    "Digest",
    "Fault",
    "FaultKind",
    "Flavor",
    "FloatingIp",
    "Image",
    "ImportRequest",
    "NewImage",
    "Port",
    "Refusal",
    "Server",
    "ServerRequest",
    "SimCloud",
    "Trouble",
    "Volume",
    "World",
]


class SimCloud:
    """One cloud: one region, one project, one user. `regions` are all that share its Keystone, its own first."""

    def __init__(
        self,
        config: CloudConfig,
        *,
        number: int,
        now: Callable[[], float],
        seed: int,
        home: SimCloud | None = None,
    ) -> None:
        """`number` (from 1) picks its address ranges; clouds of one world must differ in it.

        `home` is the cloud whose other region this one is.
        """
        self.config, self.shape = config, config.kind
        self.lock = threading.RLock()
        self.calls: Counter[str] = Counter()
        self.traffic = Traffic()
        self.rng = random.Random(f"{seed}/{config.name}")
        self.timeline = Timeline(lambda: now() + config.clock_skew)
        faults = (*self.shape.faults, *config.faults)
        self.faults = Faults(faults, random.Random(f"{seed}/{config.name}/faults"))
        self.quota = Quota(config.quota)
        limit = config.rate_limit
        self._bucket = Bucket(limit, self.timeline.time) if limit else None
        self.volumes = Volumes(quota=self.quota, timeline=self.timeline, new_id=self.new_id)
        self.images = Images(api=lambda: self.shape.image_api, timeline=self.timeline, new_id=self.new_id)
        self.objects = Objects(rules=lambda: self.shape.object_store, timeline=self.timeline)
        self.imports = Imports(
            images=self.images,
            objects=self.objects,
            image_format=self.shape.image_format,
            timeline=self.timeline,
            new_id=self.new_id,
        )
        self.identity: Identity = home.identity if home else self._identity(now)
        self.regions: list[SimCloud] = home.regions if home else []
        self.regions.append(self)
        self.compute = self._compute()
        self.networking = self._networking(number)
        for image in config.images:
            self.images.put_ready(
                name=image.name, disk_format=image.format, min_disk=image.min_disk, min_ram=image.min_ram
            )

    def _identity(self, now: Callable[[], float]) -> Identity:
        config = self.config
        credentials = Credentials(
            username=config.username,
            password=config.password,
            project=config.project,
            domain=config.domain,
            user_id=self.new_id().replace("-", ""),
            project_id=self.new_id().replace("-", ""),
            app_id=self.new_id().replace("-", ""),
            app_secret=f"app-{config.password}",
        )
        return Identity(
            credentials=credentials,
            token_seconds=lambda: self.config.token_seconds,
            now=lambda: now() + config.clock_skew,
            new_id=self.new_id,
        )

    def _compute(self) -> Compute:
        config = self.config
        compute = Compute(
            pace=lambda: self.config,
            zones=config.zones,
            full_zones=config.full_zones,
            flavors=[
                Flavor(id=self.new_id(), name=f.name, vcpus=f.vcpus, ram_mib=f.ram, disk_gib=f.disk)
                for f in config.flavors
            ],
            typed_addresses=self.shape.typed_addresses,
            quota=self.quota,
            networking=lambda: self.networking,
            volumes=self.volumes,
            image_is_there=self.images.knows,
            timeline=self.timeline,
            rng=self.rng,
            new_id=self.new_id,
        )
        for name, key in config.keypairs.items():
            compute.add_keypair(name, key, "")
        return compute

    def _networking(self, number: int) -> Networking:
        return Networking(
            number=number,
            plans=self.shape.networks,
            groups=self.config.security_groups,
            private_on_loopback=self.shape.private == "loopback",
            quota=self.quota,
            timeline=self.timeline,
            rng=self.rng,
            new_id=self.new_id,
            changed=self.compute.show_addresses_later,
        )

    @property
    def name(self) -> str:
        return self.config.name

    def new_id(self) -> str:
        return str(uuid.UUID(int=self.rng.getrandbits(128), version=4))

    def configure(self, config: CloudConfig) -> None:
        """Go on with other settings, of which only those in config.LIVE may differ."""
        self.config, self.shape = config, config.kind

    def call(self, operation: str, subject: str = "", detail: str = "") -> Trouble:
        """Begin an API call: what is due happens, the call is counted; returns what goes wrong with it.

        `subject` is the name (of something new) or id that the call is about, `detail` the name of an action.
        """
        self.timeline.settle()
        self.calls[operation] += 1
        self.traffic.note(operation, self.timeline.time)
        return self.faults.strike(operation, self._name_of(subject), detail)

    def _name_of(self, subject: str) -> str:
        server = self.compute.servers.get(subject)
        return server.name if server else subject

    def throttled(self) -> float:
        """Seconds until the cloud's own rate limit lets a call through; 0: it does now."""
        return self._bucket.wait(self.timeline.time) if self._bucket else 0.0

    def guest_at(self, address: str) -> Server | None:
        """The server that answers SSH at an address now, or None."""
        self.timeline.settle()
        server_id = self.networking.device_at(unmapped(address))
        return self.compute.guest(server_id) if server_id else None

    def resources_used(self) -> Mapping[str, float]:
        """What the project uses, by the names of quota.py."""
        return {**self.compute.used(), **self.networking.used(), **self.volumes.used()}


class World:
    """All clouds, by name, in the order of the configuration."""

    def __init__(self, config: SimConfig, now: Callable[[], float]) -> None:
        self.config = config
        made: dict[str, SimCloud] = {}
        numbered = sorted(enumerate(config.clouds, start=1), key=lambda pair: bool(pair[1].region_of))
        for number, cloud in numbered:  # homes before their other regions
            home = made[cloud.region_of] if cloud.region_of else None
            made[cloud.name] = SimCloud(cloud, number=number, now=now, seed=config.seed, home=home)
        self.clouds = {cloud.name: made[cloud.name] for cloud in config.clouds}

    def guest_at(self, address: str) -> Server | None:
        """The server that answers SSH at an address now, or None. Takes the locks it needs."""
        for cloud in self._near(address):
            with cloud.lock:
                if server := cloud.guest_at(address):
                    return server
        return None

    def key_of(self, server: Server) -> str | None:
        """The public key that a guest lets in: that of its key pair. Takes the locks it needs."""
        for cloud in self.clouds.values():
            with cloud.lock:
                if server.id in cloud.compute.servers:
                    pair = cloud.compute.keypairs.get(server.key_name or "")
                    return pair.public_key if pair else None
        return None

    def _near(self, address: str) -> list[SimCloud]:
        """The cloud whose range an address is in: its second number is the cloud's. () for unreachable ones."""
        clouds = list(self.clouds.values())
        parts = unmapped(address).split(".")
        loopback = len(parts) == 4 and parts[0] == "127" and parts[1].isdigit()
        number = int(parts[1]) if loopback else 0
        return clouds[number - 1 : number] if number else []

    def counts(self) -> Mapping[str, Mapping[str, Any]]:
        """How much of everything is in each cloud."""
        return {name: _counts(cloud) for name, cloud in self.clouds.items()}


def _counts(cloud: SimCloud) -> Mapping[str, Any]:
    with cloud.lock:
        cloud.timeline.settle()
        ports = cloud.networking.ports.values()
        return {
            "servers": len(cloud.compute.servers),
            "servers_by_status": dict(Counter(s.status for s in cloud.compute.servers.values())),
            "ports": sum(not p.device_owner.startswith("network:") for p in ports),
            "floating_ips": len(cloud.networking.floating_ips),
            "volumes": len(cloud.volumes.volumes),
            "images": sum(i.mine for i in cloud.images.images.values()),
            "objects": sum(map(len, cloud.objects.containers.values())),
            "keypairs": len(cloud.compute.keypairs),
            "calls": sum(cloud.calls.values()),
            "calls_by_operation": dict(sorted(cloud.calls.items())),
            "faults": cloud.faults.struck(),
        }
