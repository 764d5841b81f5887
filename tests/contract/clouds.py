"""The two implementations of `cloud.api.Cloud` on the same pretend world, whose time passes only when told.

The real layer talks to it over real HTTP on loopback.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

from poolmgr.cloud.api import Cloud
from poolmgr.cloud.openstack import OpenStackCloud
from poolmgr.cloud.simulated import SimulatedCloud
from poolmgr.config.clouds import load_clouds
from poolmgr.model.server import (
    META_DEPLOYMENT,
    META_NODE_ID,
    META_PROVIDER,
    Owner,
    Server,
    ServerSpec,
    ServerStatus,
)
from poolmgr.simcloud.config import load
from poolmgr.simcloud.faults import Fault, FaultKind
from poolmgr.simcloud.server import RunningSim, running
from poolmgr.simcloud.world import SimCloud, World
from tests.fakes import FakeClock

SHAPES = ("direct", "nat", "novanet", "novafip", "v6", "tasks")
OWNER = Owner(provider="north", node_id="0000000007", deployment="d-1")
METADATA = {META_NODE_ID: "0000000007", META_PROVIDER: "north", META_DEPLOYMENT: "d-1"}
IMAGE = "debian-12"
TIMEOUTS = (
    5.0,
    0.9,
)  # seconds; long enough for loopback on a busy machine, short enough for a test of hanging


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A cloud as its user sees it, and what is behind it."""

    cloud: Cloud
    far: SimCloud
    world: World
    clock: FakeClock

    def strike(self, kind: str, **more: Any) -> None:
        """Plan a fault."""
        operations = more.pop("operations", ())
        with self.far.lock:
            self.far.faults.add(Fault(kind=FaultKind(kind), operations=tuple(operations), **more))

    def calm(self) -> None:
        """No more faults."""
        with self.far.lock:
            self.far.faults.clear()

    def counts(self) -> Mapping[str, Any]:
        return self.world.counts()[self.far.name]

    def left(self) -> tuple[int, int, int]:
        """(servers, ports, floating IPs) that really are there."""
        counts = self.counts()
        return counts["servers"], counts["ports"], counts["floating_ips"]

    def spec(self, name: str = "np0000000007", **more: Any) -> ServerSpec:
        flavor = next(flavor for flavor in self.cloud.flavors() if flavor.name == "small")
        plain = {"name": name, "flavor": flavor, "image": IMAGE, "image_is_id": False, "metadata": METADATA}
        return ServerSpec(**{**plain, **more})

    def boot(self, name: str = "np0000000007", **more: Any) -> Server:
        """A server that is ACTIVE."""
        server_id = self.cloud.create_server(self.spec(name, **more))
        self.clock.advance(5.0)
        server = self.cloud.list_servers().items[server_id]
        assert server.status is ServerStatus.ACTIVE
        return server

    def remove(self, server: Server) -> None:
        """Delete it and what hangs on it, as a launcher would."""
        self.cloud.delete_server(server.id)
        for found in self.cloud.list_floating_ips().items.values():
            if found.owner and found.owner.node_id == OWNER.node_id:
                self.cloud.delete_floating_ip(found.id)
        self.clock.advance(5.0)


def sim_config(shape: str, **more: Any) -> dict[str, Any]:
    images = [{"name": IMAGE}]
    cloud = {"shape": shape, "boot": 2.0, "delete_seconds": 0.5, "images": images, **more}
    return {"seed": 7, "ssh": {"enabled": False}, "clouds": {"north": cloud}}


@contextmanager
def simulated(shape: str, **more: Any) -> Iterator[Stage]:
    clock = FakeClock()
    world = World(load(sim_config(shape, **more)), clock.time)
    far = world.clouds["north"]
    yield Stage(cloud=SimulatedCloud(far, clock=clock), far=far, world=world, clock=clock)


@contextmanager
def openstack(shape: str, **more: Any) -> Iterator[Stage]:
    clock = FakeClock(time.time())  # keystoneauth compares a token's end with the machine's clock
    with running(sim_config(shape, **more), clock.time) as sim:
        cloud = openstack_cloud(sim, clock)
        try:
            yield Stage(cloud=cloud, far=sim.world.clouds["north"], world=sim.world, clock=clock)
        finally:
            cloud.close()


def openstack_cloud(
    sim: RunningSim,
    clock: FakeClock,
    *,
    rate: float = 0.0,
    settings: Mapping[str, Any] | None = None,
    name: str = "north",
    **more: Any,
) -> OpenStackCloud:
    """The layer on a running simcloud. `settings` replace some of those of its clouds.yaml."""
    with TemporaryDirectory() as directory:
        file = sim.write_clouds_yaml(Path(directory) / "clouds.yaml")
        read = load_clouds(paths=[str(file)], environ={}).get(name, None)
    options = {"rng": random.Random(7), "timeouts": TIMEOUTS, "reachable_v6": True, **more}
    wanted = replace(read, **(settings or {}))
    return OpenStackCloud(name, wanted, region=None, rate=rate, clock=clock, deployment="d-1", **options)


@contextmanager
def clouds(shape: str = "nat", **options: Any) -> Iterator[tuple[RunningSim, Callable[..., Stage]]]:
    """A simcloud, and a way to log in to it with options of one's own."""
    clock = FakeClock(time.time())
    with running(sim_config(shape, **options), clock.time) as sim, ExitStack() as stack:

        def login(**more) -> Stage:
            cloud = openstack_cloud(sim, clock, **more)
            stack.callback(cloud.close)
            return Stage(cloud=cloud, far=sim.world.clouds["north"], world=sim.world, clock=clock)

        yield sim, login


class CallsOf:
    """The calls that a block makes, by operation."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.made: dict[str, int] = {}

    def __enter__(self) -> Self:
        self._before = dict(self._stage.cloud.calls)
        return self

    def __exit__(self, *_: object) -> None:
        after = self._stage.cloud.calls
        self.made = {k: n - self._before.get(k, 0) for k, n in after.items() if n != self._before.get(k, 0)}


IMPLEMENTATIONS = {"simulated": simulated, "openstack": openstack}
