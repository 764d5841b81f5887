"""A CI system that uses the site as Zuul does, and remembers what it was given."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from poolmgr.cli.client import NodeClient
from poolmgr.cli.demo.traffic import mixed_wants
from poolmgr.cli.orders import Order, Stage
from poolmgr.cloud.probe import SshProber
from poolmgr.errors import ProbeError, StoreError
from poolmgr.model.node import Node, NodeState
from poolmgr.runtime.clock import SystemClock
from poolmgr.store.api import Store
from tests.chaos.place import Place

REQUESTOR = "chaos"
#: Of what waits, cancelled in a second.
CANCELLED = 0.03
#: Of what is given back, put on hold instead, and for how many seconds.
HELD, HOLD_SECONDS = 0.05, 4
#: Attempts to reach a node that was handed over: a machine this busy may be late with an answer.
REACH_TRIES = 4


@dataclass
class Tally:
    submitted: int = 0
    fulfilled: int = 0
    cancelled: int = 0
    on_hold: int = 0
    failed: int = 0
    own_losses: int = 0  # orders lost with our own session
    nodes: int = 0
    latencies: list[float] = field(default_factory=list)


@dataclass(eq=False)
class _Use:
    """An order's nodes in our hands."""

    order: Order
    until: float
    reached: list[Future[str | None]]


class Ci:
    """Asks for `rate` requests a second, at most `outstanding` open. `step` often; all of it in one thread.

    `violation(words)` is called for each promise that is broken towards us; `may_fail(since)` says whether something
    happened since then (monotonic seconds) that lets a request fail.
    """

    def __init__(
        self,
        place: Place,
        store: Store,
        *,
        seed: int,
        rate: float,
        outstanding: int,
        hold: tuple[float, float],
        violation: Callable[[str], None],
        may_fail: Callable[[float], bool],
    ) -> None:
        self.tally = Tally()
        self.failures: Counter[str] = Counter()
        self._place = place
        self._store = store
        self._rng = random.Random(seed)
        self._wants: Iterator = mixed_wants(place.plan, random.Random(seed))
        self._client = NodeClient(store, SystemClock(), requestor=REQUESTOR)
        self._rate, self._outstanding, self._hold = rate, outstanding, hold
        self._violation, self._may_fail = violation, may_fail
        self._prober = SshProber(SystemClock())
        self._probes = ThreadPoolExecutor(8, thread_name_prefix="ci-probe")
        self._in_use: dict[Order, _Use] = {}
        self._held: dict[str, str] = {}  # every node that we ever had -> its request
        self._next_ask = self._last_step = time.monotonic()
        self.asking = True

    @property
    def open(self) -> list[Order]:
        return self._client.orders

    @property
    def in_use(self) -> dict[str, str]:
        """Nodes in our hands, with their requests: their locks are beyond doubt."""
        return {
            node.id: use.order.request.id
            for use in self._in_use.values()
            if use.order.locked and self._store.connected
            for node in use.order.nodes
        }

    def step(self) -> None:
        now = time.monotonic()
        for order in self._client.step():
            self._note(order)
        try:
            self._give_back(now)
            self._ask(now)
            self._cancel(now - self._last_step)
        except StoreError:
            pass  # ZooKeeper is away: the next step goes on
        self._last_step = now

    def wait(self, seconds: float) -> None:
        self._client.wait(seconds)

    def close(self) -> None:
        self._probes.shutdown(wait=False, cancel_futures=True)

    def _ask(self, now: float) -> None:
        while self.asking and now >= self._next_ask and len(self.open) < self._outstanding:
            self._client.submit(next(self._wants))
            self.tally.submitted += 1
            self._next_ask = max(self._next_ask + self._rng.expovariate(self._rate), now - 1.0)

    def _cancel(self, seconds: float) -> None:
        for order in self.open:
            if order.stage is not Stage.HELD and self._rng.random() < CANCELLED * seconds:
                self._client.release(order)
                self.tally.cancelled += 1

    def _give_back(self, now: float) -> None:
        for use in list(self._in_use.values()):
            if now < use.until or not all(f.done() for f in use.reached):
                continue
            for node, future in zip(use.order.nodes, use.reached, strict=True):
                if (trouble := future.result()) is not None:
                    self._violation(
                        f"(2) node {node.id} of request {use.order.request.id} is not reachable: {trouble}"
                    )
            if use.order.locked:
                self._see_alive(use.order)
                if self._rng.random() < HELD:
                    self._put_on_hold(use.order)
            self._client.release(use.order)
            del self._in_use[use.order]

    def _put_on_hold(self, order: Order) -> None:
        """As Zuul does for people who want to look at a failure: nobody has the locks any more."""
        for node in order.nodes:
            changes = {"hold_job": "chaos", "hold_expiration": HOLD_SECONDS, "comment": "chaos"}
            self._store.save_node(node.moved(NodeState.HOLD, at=time.time(), **changes), order.locks[node.id])
        self.tally.on_hold += len(order.nodes)
        order.nodes.clear()  # nothing is left to be marked as used

    def _see_alive(self, order: Order) -> None:
        """(7) Until the moment that it is given back a node is as it was."""
        for node in order.nodes:
            servers = {server["id"]: server for server in self._place.sim(f"{node.provider}/servers")}
            server = servers.get(node.external_id)
            if server is None or server["status"] != "ACTIVE":
                status = server["status"] if server else "gone"
                self._violation(
                    f"(7) server {node.external_id} of node {node.id}, which is in use, is {status}"
                )

    def _note(self, order: Order) -> None:
        request = order.request
        if order.stage is Stage.HELD:
            self.tally.fulfilled += 1
            self.tally.nodes += len(order.nodes)
            self.tally.latencies.append(order.latency or 0.0)
            for node in order.nodes:
                if node.id in self._held:
                    self._violation(
                        f"(1) node {node.id} was {self._held[node.id]}'s, and is {request.id}'s now"
                    )
                self._held[node.id] = request.id
            reached = [self._probes.submit(self._reach, node) for node in order.nodes]
            until = time.monotonic() + self._rng.uniform(*self._hold)
            self._in_use[order] = _Use(order=order, until=until, reached=reached)
        elif order.stage is Stage.FAILED:
            self.tally.failed += 1
            self.failures[order.reason.split(" (")[0]] += 1
            if "declined" not in order.reason:
                self._violation(f"(1) request {request.id}: {order.reason}")
            elif not self._may_fail(order.submitted_at):
                self._violation(
                    f"(3) request {request.id} {order.wanted.labels} failed without cause: {order.reason}"
                )
        elif order.stage is Stage.LOST:
            self._in_use.pop(order, None)
            if "session" in order.reason:
                self.tally.own_losses += 1
            else:
                self._violation(f"(3) request {request.id} {order.wanted.labels}: {order.reason}")

    def _reach(self, node: Node) -> str | None:
        """What is wrong with a node, None if it can be reached with a key of its record."""
        trouble = ""
        for _ in range(REACH_TRIES):
            try:
                keys = self._prober.host_keys(
                    node.interface_ip or "", int(node.connection_port), connection_type="ssh", timeout=10.0
                )
            except ProbeError as error:
                trouble = str(error)
                time.sleep(1.0)
                continue
            return None if set(keys) & set(node.host_keys) else f"its keys are others: {keys}"
        return trouble
