"""Whole launchers in one thread: memory store, simulated clouds, a clock that only moves when told.

`Site` is a world of clouds and one store tree; `Process` is one launcher process on it, that can be killed at any write
or cloud call and started again. `Site.run` lets every process do a cycle, then moves time on, until something holds.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from poolmgr.cloud.simulated import SimulatedCloud, SimulatedProber
from poolmgr.cloud.simulated.calls import Calls
from poolmgr.config.settings import (
    BootImage,
    Label,
    OpenStackProvider,
    Pool,
    PoolLabel,
    TenantLimits,
)
from poolmgr.errors import ConfigError
from poolmgr.launcher.claims import Claims
from poolmgr.launcher.context import Config, Parts
from poolmgr.launcher.janitor import Janitor
from poolmgr.launcher.ownership import Offer, Ownership
from poolmgr.launcher.tenure import Tenure
from poolmgr.launcher.worker import ProviderWorker
from poolmgr.launcher.workers import Workers
from poolmgr.model.fleet import Peer
from poolmgr.model.node import Node, NodeState
from poolmgr.model.request import NodeRequest, RequestState
from poolmgr.observe.ledger import Ledger
from poolmgr.observe.stats import NullStats
from poolmgr.policy.tuning import Tuning
from poolmgr.runtime.executor import Executor
from poolmgr.simcloud.config import load as sim_config
from poolmgr.simcloud.world import SimCloud, World
from poolmgr.store.memory import MemoryStore, MemoryTree
from tests.fakes import FakeClock, InlineExecutor

#: Real constants except where a scenario would only wait for them.
TUNING = Tuning(sweep_interval=10.0, request_locks_interval=30.0, leak_age=30.0, adoption_grace=20.0)
STEP = 0.25


class Killed(BaseException):
    """kill -9: nothing after this point happens."""


class Fuse:
    """Kills a process before or after its nth act on the outside world, or has `instead` happen before it."""

    def __init__(self, at: int | None = None, *, after: bool = False) -> None:
        self.at, self.after, self.count = at, after, 0
        self.instead: Callable[[], object] | None = None

    def around(self, act: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*args: Any, **kwargs: Any) -> Any:
            self.count += 1
            if self.instead is not None:
                if self.count == self.at:
                    self.instead()
                return act(*args, **kwargs)
            if self.at is not None and self.count > self.at:
                raise Killed
            if self.count == self.at and not self.after:
                raise Killed
            result = act(*args, **kwargs)
            if self.count == self.at:
                raise Killed
            return result

        return guarded


class FusedCalls(Calls):
    """The calls of a cloud go through a fuse, one by one, if they change anything."""

    def __init__(self, cloud: SimCloud, fuse: Fuse) -> None:
        super().__init__(cloud)
        self._fuse = fuse

    def ask(self, operation: str, act: Callable[..., Any], *, subject: str = "") -> Any:
        ask = super().ask
        service, method, _ = operation.split(".", 2)
        if method != "GET" and service != "identity":
            ask = self._fuse.around(ask)
        return ask(operation, act, subject=subject)


class Fused:
    """Another object whose acting methods go through a fuse."""

    def __init__(self, inner: Any, fuse: Fuse, acts: Iterable[str]) -> None:
        self._inner, self._fuse, self._acts = inner, fuse, frozenset(acts)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._inner, name)
        return self._fuse.around(value) if name in self._acts else value


STORE_ACTS = (
    "create_request",
    "lock_request",
    "save_request",
    "delete_request",
    "drop_request_lock",
    "create_node",
    "lock_node",
    "save_node",
    "delete_node",
    "finish_request",
    "unlock",
    "promise",
    "announce",
    "update_peer",
    "lock_provider",
    "save_provider_status",
    "use_approval",
)


class RecordingStats(NullStats):
    def __init__(self) -> None:
        self.launches: list[str] = []
        self.launched_images: set[str | None] = set()
        self.leaks: list[tuple[str, str]] = []
        self.quotas: dict[str, Mapping[str, float]] = {}  # what was told last, by provider
        self.paused: dict[str, Mapping[str, str]] = {}
        self.last_listing: dict[str, float] = {}

    def quota(self, provider: str, limits: Mapping[str, float]) -> None:
        self.quotas[provider] = limits

    def pools_paused(self, provider: str, why: Mapping[str, str]) -> None:
        self.paused[provider] = why

    def listed(self, provider: str, at: float) -> None:
        self.last_listing[provider] = at

    def launch(self, result: str, *, image: str | None = None, **_: Any) -> None:
        self.launches.append(result)
        self.launched_images.add(image)

    def leaked(self, provider: str, kind: str, count: int = 1) -> None:
        self.leaks += [(provider, kind)] * count


def label(name: str, **more: Any) -> PoolLabel:
    image = BootImage(name="img", is_disk_image=False, image_name=more.pop("image", "debian-12"))
    more.setdefault("flavor_name", "small")
    return PoolLabel(name=name, image=image, **more)


def provider(
    name: str, labels: Iterable[PoolLabel] = (), *, pool: Mapping[str, Any] | None = None, **more: Any
) -> OpenStackProvider:
    """A provider with one pool `main` that offers `labels` (a label `small` if none are given)."""
    offered = {one.name: one for one in labels or [label("small")]}
    pools = {"main": Pool(name="main", labels=offered, **(pool or {}))}
    more.setdefault("rate", 0.0)
    more.setdefault("cloud", name)
    return OpenStackProvider(name=name, pools=pools, **more)


class Process:
    """One launcher process: its part in the fleet, a worker for each provider that it owns, and a janitor."""

    def __init__(
        self, site: Site, *, fuse: Fuse | None = None, executors: Mapping[str, Executor] | None = None
    ) -> None:
        """`executors`: those of single providers; everyone else's jobs run inline."""
        self.site = site
        self.fuse = fuse or Fuse()
        self.stats = RecordingStats()
        self.memory = MemoryStore(site.tree, clock=site.clock)
        self.memory.start()
        store: Any = Fused(self.memory, self.fuse, STORE_ACTS)
        self.store = store
        self.claims = Claims()
        self.ledger = Ledger(site.clock)
        ids = (f"{n:032x}" for n in itertools.count(site.next_process() << 64))
        self.new_id = lambda: next(ids)
        self.deployment = store.deployment()
        self.executors = executors or {}
        self.clouds: dict[str, SimulatedCloud] = {}  # by provider: the last that was connected to
        for name in site.providers:
            self.connect(name)
        self.team = Workers(
            site.clock,
            site.tuning,
            self.parts_for,
            executor=InlineExecutor(),
            wake=lambda: None,
            start=lambda worker: None,
        )
        peer = Peer(id=self.new_id(), hostname="host")
        self.ownership = Ownership(store, site.clock, site.tuning, self, peer)
        self.reconfigure()
        self.janitor = Janitor(
            store,
            site.clock,
            site.tuning,
            claims=self.claims,
            new_id=self.new_id,
            labels=lambda: site.labels,
            limits=lambda: {
                (one.name, pool.name): pool.limits
                for one in site.providers.values()
                for pool in one.pools.values()
            },
        )
        self.alive = True
        self.frozen = False

    @property
    def workers(self) -> Mapping[str, ProviderWorker]:
        """Those of the providers that it owns."""
        return self.team.running()

    def owns(self) -> set[str]:
        """The providers that it may act for now, for all that it knows."""
        return {name for name in self.site.providers if self.ownership.tenure(name)}

    def connect(self, name: str) -> SimulatedCloud:
        far = self.site.world.clouds[self.site.providers[name].cloud or name]
        calls = FusedCalls(far, self.fuse)
        self.clouds[name] = SimulatedCloud(far, clock=self.site.clock, calls=calls, **self.site.cloud_options)
        return self.clouds[name]

    def parts_for(self, one: OpenStackProvider) -> tuple[object, Callable[[], Parts]]:
        if one.name in self.site.unreachable:
            raise ConfigError(f"no cloud {one.name}")

        def make() -> Parts:
            return Parts(
                store=self.store,
                cloud=self.clouds[one.name],
                prober=SimulatedProber(self.site.world),
                clock=self.site.clock,
                stats=self.stats,
                api=self.executors.get(one.name, InlineExecutor()),
                probes=self.executors.get(one.name, InlineExecutor()),
                rng=random.Random(1),
                new_id=self.new_id,
                deployment=self.deployment,
                hostname="host",
                fqdn="host.example.org",
                claims=self.claims,
                ledger=self.ledger,
            )

        return one.rate, make

    def cycle(self) -> None:
        if not self.alive or self.frozen:
            return
        try:
            self.ownership.cycle()
            self.team.cycle()
            for worker in self.workers.values():
                worker.cycle()
            self.janitor.cycle()
        except Killed:
            self.die()

    def die(self) -> None:
        """Nothing more happens here, and the store notices after the session timeout (at once, here)."""
        self.alive = False
        self.memory.expire()
        self.memory.close()

    def freeze(self) -> None:
        """SIGSTOP for longer than the session lives: others see it as dead, and it knows nothing of that."""
        self.frozen = True
        self.memory.expire()

    def drain(self) -> None:
        """The first half of a clean stop: no new work, and others get what they can have."""
        self.janitor.drain()
        self.ownership.drain()
        for worker in self.workers.values():
            worker.drain()

    def stop(self) -> None:
        """A clean stop, as the daemon does it once it has waited long enough."""
        self.drain()
        for name in self.workers:
            self.team.let_go(name)
        for name in self.workers:
            self.team.stop(name, 1.0)
        self.ownership.withdraw()
        self.janitor.stop(1.0)
        self.memory.close()
        self.alive = False

    def reconfigure(self) -> None:
        self.team.apply({name: self.site.config(one) for name, one in self.site.providers.items()})

    # As the crew of `Ownership`

    def offer(self) -> Offer:
        min_ready = {label.name: label.min_ready for label in self.site.labels.values() if label.min_ready}
        offers = {
            one.name: {pool.name: sorted(pool.labels) for pool in one.pools.values()}
            for one in self.site.providers.values()
        }
        return Offer(providers=self.team.able(), min_ready=min_ready, offers=offers)

    def begin(self, tenure: Tenure) -> None:
        self.team.begin(tenure)

    def let_go(self, provider: str) -> None:
        self.team.let_go(provider)

    def busy(self, provider: str) -> bool:
        return self.team.busy(provider)


class Site:
    """A world with clouds, and the store tree that processes and clients share."""

    def __init__(
        self,
        clouds: Mapping[str, Mapping[str, Any]],
        providers: Iterable[OpenStackProvider],
        *,
        labels: Iterable[Label] = (),
        tenants: Iterable[TenantLimits] = (),
        tuning: Tuning = TUNING,
        max_hold_age: float = 0.0,
        fair_tenants: bool = False,
        idle_hold: float = 120.0,
        seed: int = 1,
        cloud_options: Mapping[str, Any] | None = None,
    ) -> None:
        """`cloud_options`: of SimulatedCloud, for all providers."""
        self.clock = FakeClock()
        self.world = World(sim_config({"seed": seed, "clouds": dict(clouds)}), self.clock.time)
        self.cloud_options = cloud_options or {}
        self.tree = MemoryTree(self.clock)
        self.providers = {one.name: one for one in providers}
        names = {n for p in self.providers.values() for pool in p.pools.values() for n in pool.labels}
        self.labels = {n: Label(name=n) for n in names} | {one.name: one for one in labels}
        self.tenants = {one.name: one for one in tenants}
        self.tuning = tuning
        self.max_hold_age = max_hold_age
        self.fair_tenants, self.idle_hold = fair_tenants, idle_hold
        self.unreachable: set[str] = set()  # providers that no process can be configured for
        self.processes: list[Process] = []
        self.client = MemoryStore(self.tree, clock=self.clock)
        self.client.start()
        self._started = 0

    def next_process(self) -> int:
        self._started += 1
        return self._started

    def config(self, one: OpenStackProvider) -> Config:
        return Config(
            provider=one,
            labels=self.labels,
            tenants=self.tenants,
            max_hold_age=self.max_hold_age,
            fair_tenants=self.fair_tenants,
            idle_hold=self.idle_hold,
            offers={
                (each.name, pool.name): frozenset(pool.labels)
                for each in self.providers.values()
                for pool in each.pools.values()
            },
        )

    def start(self, fuse: Fuse | None = None, *, executors: Mapping[str, Executor] | None = None) -> Process:
        process = Process(self, fuse=fuse, executors=executors)
        self.processes.append(process)
        return process

    # Time

    def run(
        self, until: Callable[[], bool] | None = None, *, seconds: float = 300.0, step: float = STEP
    ) -> bool:
        """Cycle every `step` seconds until `until()` holds or `seconds` are over; whether it held."""
        end = self.clock.monotonic() + seconds
        while self.clock.monotonic() < end:
            for process in self.processes:
                process.cycle()
            if until is not None and until():
                return True
            self.clock.advance(step)
        return until is not None and until()

    # As a CI system

    def submit(self, *labels: str, priority: int = 200, **more: Any) -> str:
        at = self.clock.time()
        request = NodeRequest(
            labels=labels or ("small",), state_time=at, created_time=at, requestor="test", **more
        )
        return self.client.create_request(request, priority=priority).id

    def request(self, request_id: str) -> NodeRequest | None:
        with self.client.reading() as snapshot:
            return snapshot.request(request_id)

    def state(self, request_id: str) -> RequestState | None:
        request = self.request(request_id)
        return request.state if request else None

    def fulfilled(self, *ids: str) -> bool:
        return all(self.state(i) is RequestState.FULFILLED for i in ids)

    def settled(self, *ids: str) -> bool:
        return all(self.state(i) in (RequestState.FULFILLED, RequestState.FAILED) for i in ids)

    def cancel(self, request_id: str) -> None:
        self.client.delete_request(request_id)

    def use(self, request_id: str) -> list[Node]:
        """What Zuul's executor does with a fulfilled request: lock, delete it, in-use, used, unlock."""
        request = self.request(request_id)
        assert request is not None
        assert request.state is RequestState.FULFILLED
        locked = [self.client.lock_node(node_id) for node_id in request.nodes]
        self.client.delete_request(request_id)
        for lock, node in locked:
            assert node.state is NodeState.READY
            assert node.allocated_to == request_id
            node = self.client.save_node(node.moved(NodeState.IN_USE, at=self.clock.time()), lock)
            self.client.save_node(node.moved(NodeState.USED, at=self.clock.time()), lock)
            self.client.unlock(lock)
        return [node for _, node in locked]

    # Looking

    def nodes(self, state: NodeState | None = None) -> list[Node]:
        with self.client.reading() as snapshot:
            return [n for n in snapshot.nodes() if state is None or n.state is state]

    def count(self, kind: str) -> int:
        """How many `servers`, `ports`, `floating_ips`, `volumes` of ours and others there are in all clouds."""
        return sum(int(counts[kind]) for counts in self.world.counts().values())

    def created(self) -> int:
        """How many create calls for servers were sent to all clouds."""
        operation = "compute.POST.servers"
        return sum(counts["calls_by_operation"].get(operation, 0) for counts in self.world.counts().values())

    def is_clean(self) -> bool:
        """Whether nothing is left: no server, no port or volume of one, no floating IP, node, request or lock."""
        return not self.left()

    def left(self) -> dict[str, Any]:
        left: dict[str, Any] = {}
        for cloud, counts in self.world.counts().items():
            for kind in ("servers", "ports", "floating_ips", "volumes"):
                if counts[kind]:
                    left[f"{cloud} {kind}"] = counts[kind]
        if self.nodes():
            left["nodes"] = [(n.id, n.state.value, n.external_id) for n in self.nodes()]
        with self.client.reading() as snapshot:
            requests = [(r.id, r.state.value) for r in snapshot.requests()]
        if requests:
            left["requests"] = requests
        locks = list(self.client.stale_request_locks())
        if locks:
            left["request locks"] = locks
        return left


def changed(one: OpenStackProvider, **pool_changes: Any) -> OpenStackProvider:
    """`one` with changes to its pool `main`."""
    pool = replace(one.pools["main"], **pool_changes)
    return replace(one, pools={"main": pool})
