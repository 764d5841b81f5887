"""Clouds that the contract suite runs on: simcloud over HTTP, and the projects of a real OpenStack.

Both are used through `OpenStackCloud` on the machine's own clock, and both are looked at from outside afterwards: a
simcloud from inside, a real one with the administrator's login.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from poolmgr.cloud.openstack import OpenStackCloud
from poolmgr.config.clouds import load_clouds
from poolmgr.config.settings import CloudSettings
from poolmgr.errors import CloudError
from poolmgr.model.server import (
    META_ATTEMPT,
    META_DEPLOYMENT,
    META_NODE_ID,
    META_PROVIDER,
    Addresses,
    Owner,
    Server,
    ServerSpec,
    ServerStatus,
)
from poolmgr.runtime.clock import SystemClock
from poolmgr.simcloud.server import running

T = TypeVar("T")

#: Where `devstack/local/up.sh` leaves the logins.
CLOUDS_YAML = Path(os.environ.get("POOLMGR_OPENSTACK_CLOUDS", "/var/tmp/poolmgr-openstack/clouds.yaml"))
#: No answer takes longer than this even on a busy machine with two cores, in seconds.
PATIENCE = 240.0
DEPLOYMENT = "contract-suite"


@dataclass(frozen=True, kw_only=True)
class Site:
    """A cloud, and what the suite has to know of it."""

    name: str
    settings: CloudSettings
    login: Callable[[CloudSettings], OpenStackCloud]
    image: str
    flavor: str
    big_flavor: str  # of four cores
    nat_network: str  # behind a router: needs floating IPs
    direct_network: str | None  # its addresses are reached as they are
    failing_zone: str | None  # every build there fails
    cores: int | None  # quota; None: unlimited
    real: bool
    cloud: OpenStackCloud = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "cloud", self.login(self.settings))

    @contextmanager
    def variant(self, **settings: Any) -> Iterator[Site]:
        """The same cloud, used with other settings of clouds.yaml."""
        other = replace(self, settings=replace(self.settings, **settings))
        try:
            yield other
        finally:
            other.cloud.close()

    def owner(self, attempt: int = 1) -> Owner:
        """A node that nobody else has."""
        return Owner(
            provider=self.name, node_id=uuid.uuid4().hex[:10], deployment=DEPLOYMENT, attempt=attempt
        )

    def spec(self, owner: Owner, **more: Any) -> ServerSpec:
        wanted = more.pop("flavor_name", self.flavor)
        flavor = next(flavor for flavor in self.cloud.flavors() if flavor.name == wanted)
        plain: dict[str, Any] = {
            "name": f"suite-{owner.node_id}",
            "flavor": flavor,
            "image": self.image,
            "image_is_id": False,
            "networks": (self.nat_network,),
            "metadata": metadata_of(owner),
        }
        return ServerSpec(**{**plain, **more})

    def boot(self, owner: Owner, **more: Any) -> Server:
        """A server that is ACTIVE."""
        return self.active(self.cloud.create_server(self.spec(owner, **more)))

    def active(self, server_id: str) -> Server:
        def seen() -> Server | None:
            server = self.cloud.list_servers().items.get(server_id)
            assert server is None or server.status is not ServerStatus.ERROR, server
            ready = server is not None and server.status is ServerStatus.ACTIVE
            return server if ready and (server.addresses.fixed_v4 or server.addresses.interface_ip) else None

        return eventually(seen)

    def expose(self, server: Server, owner: Owner) -> Addresses:
        return self.cloud.expose(server, owner=owner, auto_floating_ip=True)

    def gone(self, server_id: str) -> None:
        """Wait until the cloud does not list it any more."""

        def absent() -> bool:
            listing = self.cloud.list_servers()
            server = listing.items.get(server_id)
            return listing.complete and (server is None or server.status is ServerStatus.DELETED)

        eventually(absent)

    def remove(self, server: Server | str, owner: Owner) -> None:
        """Delete a server and what hangs on it, as a launcher does, until all of it is gone."""
        server_id = server if isinstance(server, str) else server.id
        volumes = () if isinstance(server, str) else server.volumes
        self.cloud.delete_server(server_id)
        self.gone(server_id)
        for ip in self.cloud.list_floating_ips().items.values():
            if ip.owner and ip.owner.node_id == owner.node_id:
                self.cloud.delete_floating_ip(ip.id)
        for port in self.cloud.list_ports().items.values():
            if port.device_id == server_id or (port.owner and port.owner.node_id == owner.node_id):
                self.cloud.delete_port(port.id)
        for volume in volumes:
            eventually(lambda volume=volume: self._volume_gone(volume))

    def _volume_gone(self, volume_id: str) -> bool:
        volume = self.cloud.list_volumes().items.get(volume_id)
        if volume is not None and volume.status in ("available", "error"):
            self.cloud.delete_volume(volume_id)
        return volume is None


def metadata_of(owner: Owner) -> Mapping[str, str]:
    return {
        META_NODE_ID: owner.node_id,
        META_PROVIDER: owner.provider,
        META_DEPLOYMENT: owner.deployment or "",
        META_ATTEMPT: str(owner.attempt or 0),
    }


def eventually(condition: Callable[[], T], *, within: float = PATIENCE) -> T:
    """The first true answer of `condition`; trouble of the moment is not the end. The limit is for a hang."""
    deadline = time.monotonic() + within
    while True:
        try:
            answer = condition()
            if answer:
                return answer
        except CloudError as error:
            if time.monotonic() > deadline:
                raise AssertionError(f"never came true: {error}") from error
        if time.monotonic() > deadline:
            raise AssertionError("it never became true")
        time.sleep(0.2 if within < PATIENCE else 0.5)


def login(settings: CloudSettings) -> OpenStackCloud:
    return OpenStackCloud(
        settings.name, settings, region=None, rate=0.0, clock=SystemClock(), deployment=DEPLOYMENT
    )


@contextmanager
def simcloud_site(directory: Path) -> Iterator[tuple[Site, Callable[[], Mapping[str, int]]]]:
    """A pretend cloud that behaves as the `fake` variant of devstack/local does, and what is left in it."""
    config = {
        "seed": 7,
        "ssh": {"enabled": False},
        "clouds": {
            "pool-c": {
                "shape": "nat",
                "boot": 0.3,
                "delete_seconds": 0.2,
                "images": [{"name": "fake-image"}],
                "quota": {"instances": 20, "cores": 20},
                "flavors": [
                    {"name": "m1.nano", "vcpus": 1, "ram": 192, "disk": 2},
                    {"name": "m1.large", "vcpus": 4, "ram": 4096, "disk": 40},
                ],
            }
        },
    }
    with running(config) as sim:
        file = sim.write_clouds_yaml(directory / "clouds.yaml")
        settings = load_clouds(paths=[str(file)], environ={}).get("pool-c")
        network = next(n for n in sim.world.clouds["pool-c"].networking.networks.values() if n.pluggable)
        site = Site(
            name="simcloud",
            settings=settings,
            login=login,
            image="fake-image",
            flavor="m1.nano",
            big_flavor="m1.large",
            nat_network=network.name,
            direct_network=None,
            failing_zone=None,
            cores=20,
            real=False,
        )
        try:
            yield site, lambda: _left(sim.world.counts()["pool-c"])
        finally:
            site.cloud.close()


def _left(counts: Mapping[str, Any]) -> Mapping[str, int]:
    kinds = ("servers", "ports", "floating_ips", "volumes", "images", "objects", "keypairs")
    return {kind: counts[kind] for kind in kinds}


def real_site(name: str, *, cores: int | None) -> Site:
    """A project of the real services, which must be up."""
    return Site(
        name=name,
        settings=load_clouds(paths=[str(CLOUDS_YAML)], environ={}).get(name),
        login=login,
        image="fake-image",
        flavor="m1.nano",
        big_flavor="m1.large",
        nat_network="private",
        direct_network="direct",
        failing_zone="broken",
        cores=cores,
        real=True,
    )


def command(*args: str, status: int = 0) -> Any:
    """What `poolmgr cloud <args>` prints on the real services, read as JSON; None if it prints nothing."""
    done = subprocess.run(
        [sys.executable, "-m", "poolmgr.cli.main", "cloud", *args],
        env={**os.environ, "OS_CLIENT_CONFIG_FILE": str(CLOUDS_YAML)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == status, done.stderr
    return json.loads(done.stdout) if done.stdout.strip() else None
