"""Launchers of static providers in one thread: memory store, hosts that do what they are told, a clock that waits."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from poolmgr.config.settings import Label, StaticNode, StaticPool, StaticProvider, TenantLimits
from poolmgr.errors import ProbeError
from poolmgr.launcher.claims import Claims
from poolmgr.launcher.janitor import Janitor
from poolmgr.launcher.static.context import StaticConfig, StaticParts
from poolmgr.launcher.static.worker import StaticWorker
from poolmgr.launcher.tenure import Tenure
from poolmgr.model.component import Component
from poolmgr.model.node import Node, NodeState
from poolmgr.model.request import NodeRequest, RequestState
from poolmgr.observe.stats import NullStats
from poolmgr.policy.tuning import Tuning
from poolmgr.runtime.executor import Executor
from poolmgr.store.memory import MemoryStore, MemoryTree
from tests.fakes import FakeClock, InlineExecutor
from tests.scenario.harness import STEP, STORE_ACTS, Fuse, Fused, Killed

KEY = "ssh-ed25519 AAAA"
TUNING = Tuning(sweep_interval=10.0)


@dataclass
class Machine:
    """A host as it really is."""

    up: bool = True
    keys: tuple[str, ...] = (KEY,)
    address: str | None = "192.0.2.1"
    asked: list[tuple[int, str, float]] = field(
        default_factory=list
    )  # port, connection type, timeout of each look


class ScriptedProber:
    """A `Prober` of machines."""

    def __init__(self, machines: Mapping[str, Machine]) -> None:
        self._machines = machines

    def host_keys(self, address: str, port: int, *, connection_type: str, timeout: float) -> tuple[str, ...]:
        machine = self._machines[address]
        machine.asked.append((port, connection_type, timeout))
        if not machine.up:
            raise ProbeError(f"{address} port {port}: Connection refused")
        return machine.keys if connection_type in ("ssh", "network_cli") else ()


class HostStats(NullStats):
    def __init__(self) -> None:
        self.up: dict[str, bool] = {}

    def static_hosts(self, provider: str, up: Mapping[str, bool]) -> None:
        self.up = dict(up)


def racks(
    *nodes: StaticNode, name: str = "racks", pool: Mapping[str, Any] | None = None, **more: Any
) -> StaticProvider:
    """A static provider with one pool `main`."""
    return StaticProvider(
        name=name, pools={"main": StaticPool(name="main", nodes=nodes, **(pool or {}))}, **more
    )


def host(name: str = "h1", **more: Any) -> StaticNode:
    more.setdefault("labels", ("bare",))
    return StaticNode(name=name, **more)


class StaticProcess:
    """One launcher process with the worker of one static provider, and a janitor."""

    def __init__(self, site: StaticSite, number: int, fuse: Fuse | None, executor: Executor | None) -> None:
        self._site = site
        self.memory = MemoryStore(site.tree, clock=site.clock)
        self.memory.start()
        store: Any = Fused(self.memory, fuse or Fuse(), STORE_ACTS)
        self.stats = HostStats()
        claims = Claims()
        ids = (f"{n:032x}" for n in itertools.count(number << 64))
        parts = StaticParts(
            store=store,
            prober=ScriptedProber(site.machines),
            resolve=lambda name: site.machines[name].address,
            clock=site.clock,
            stats=self.stats,
            probes=InlineExecutor() if executor is None else executor,
            rng=random.Random(1),
            new_id=lambda: next(ids),
            deployment=store.deployment(),
            hostname="host",
            fqdn="host.example.org",
            claims=claims,
        )
        name = site.config().provider.name
        self.tenure = Tenure(name, self.memory.lock_provider(name), owner="", hostname="host", since=0.0)
        self.worker = StaticWorker(parts, site.config(), site.tuning, self.tenure)
        self.janitor = Janitor(
            store,
            site.clock,
            site.tuning,
            claims=claims,
            new_id=lambda: next(ids),
            labels=lambda: site.labels,
        )
        self.alive = True

    def cycle(self) -> None:
        if not self.alive:
            return
        try:
            self.worker.cycle()
            self.janitor.cycle()
        except Killed:
            self.die()

    def die(self) -> None:
        """kill -9; the store notices at once."""
        self.alive = False
        self.memory.expire()
        self.memory.close()

    def stop(self) -> None:
        self.worker.drain()
        self.worker.stop(1.0)
        self.janitor.stop(1.0)
        self.memory.close()
        self.alive = False


class StaticSite:
    """Machines, and the store tree that processes and clients share."""

    def __init__(
        self,
        provider: StaticProvider,
        *,
        labels: Iterable[Label] = (),
        tenants: Iterable[TenantLimits] = (),
        tuning: Tuning = TUNING,
        max_hold_age: float = 0.0,
    ) -> None:
        self.clock = FakeClock()
        self.tree = MemoryTree(self.clock)
        self.provider = provider
        self.machines = {node.name: Machine() for pool in provider.pools.values() for node in pool.nodes}
        names = {label for pool in provider.pools.values() for label in pool.labels}
        self.labels = {n: Label(name=n) for n in names} | {one.name: one for one in labels}
        self.tenants = {one.name: one for one in tenants}
        self.tuning = tuning
        self.max_hold_age = max_hold_age
        self.processes: list[StaticProcess] = []
        self.client = MemoryStore(self.tree, clock=self.clock)
        self.client.start()
        self.removed = False

    def config(self) -> StaticConfig:
        return StaticConfig(
            provider=self.provider,
            labels=self.labels,
            tenants=self.tenants,
            max_hold_age=self.max_hold_age,
            removed=self.removed,
        )

    def start(self, fuse: Fuse | None = None, *, executor: Executor | None = None) -> StaticProcess:
        process = StaticProcess(self, len(self.processes) + 1, fuse, executor)
        self.processes.append(process)
        return process

    def reload(self, *nodes: StaticNode, **pool: Any) -> None:
        """The pool has these nodes now."""
        for node in nodes:
            self.machines.setdefault(node.name, Machine())
        changed = replace(self.provider.pools["main"], nodes=nodes, **pool)
        self.provider = replace(self.provider, pools={"main": changed})
        self.reconfigure()

    def reconfigure(self) -> None:
        for process in self.processes:
            if process.alive:
                process.worker.reconfigure(self.config())

    def run(self, until: Callable[[], bool] | None = None, *, seconds: float = 120.0) -> bool:
        """Cycle and let time pass until `until()` holds or `seconds` are over; whether it held."""
        end = self.clock.monotonic() + seconds
        while self.clock.monotonic() < end:
            for process in self.processes:
                process.cycle()
            self.check()
            if until is not None and until():
                return True
            self.clock.advance(STEP)
        return until is not None and until()

    def check(self) -> None:
        """What must hold always: no slot twice."""
        slots = [
            (n.hostname, n.username, n.connection_port, n.slot)
            for n in self.nodes()
            if n.state in (NodeState.READY, NodeState.IN_USE)
        ]
        assert len(slots) == len(set(slots)), slots

    # As a CI system

    def submit(self, *labels: str, priority: int = 200, **more: Any) -> str:
        at = self.clock.time()
        request = NodeRequest(labels=labels or ("bare",), state_time=at, created_time=at, **more)
        return self.client.create_request(request, priority=priority).id

    def request(self, request_id: str) -> NodeRequest:
        return self.client.read_request(request_id)

    def state(self, request_id: str) -> RequestState:
        return self.request(request_id).state

    def fulfilled(self, *ids: str) -> bool:
        return all(self.state(i) is RequestState.FULFILLED for i in ids)

    def begin(self, request_id: str) -> list[tuple[Any, Node]]:
        """Lock a fulfilled request's nodes and set them in use."""
        request = self.request(request_id)
        assert request.state is RequestState.FULFILLED
        held = []
        for node_id in request.nodes:
            lock, node = self.client.lock_node(node_id)
            assert (node.state, node.allocated_to) == (NodeState.READY, request_id)
            held.append(
                (lock, self.client.save_node(node.moved(NodeState.IN_USE, at=self.clock.time()), lock))
            )
        self.client.delete_request(request_id)
        return held

    def end(self, held: list[tuple[Any, Node]], state: NodeState = NodeState.USED) -> None:
        for lock, node in held:
            self.client.save_node(node.moved(state, at=self.clock.time()), lock)
            self.client.unlock(lock)

    def nodes(self, state: NodeState | None = None) -> list[Node]:
        with self.client.reading() as snapshot:
            return sorted(
                (n for n in snapshot.nodes() if state is None or n.state is state), key=lambda n: n.id
            )

    def free(self) -> list[Node]:
        return [n for n in self.nodes(NodeState.READY) if not n.allocated_to]

    def pools(self) -> list[Component]:
        with self.client.reading() as snapshot:
            return list(snapshot.pools())
