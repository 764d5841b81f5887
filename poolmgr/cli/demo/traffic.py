"""Requests as several CI systems would make them, and the tally of what became of them."""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from poolmgr.cli.client import NodeClient
from poolmgr.cli.demo.plan import Plan
from poolmgr.cli.orders import Order, Stage, Wanted
from poolmgr.errors import StoreUnavailable
from poolmgr.runtime.clock import Clock

log = logging.getLogger(__name__)

#: Zuul's priorities, and how often each occurs.
PRIORITIES = {100: 1, 200: 7, 300: 2}


def mixed_wants(plan: Plan, rng: random.Random) -> Iterator[Wanted]:
    """Without end: mostly single nodes, some pairs and triples, all priorities, tenants now and then, some pinned.

    Every request can be served by at least one of the plan's clouds.
    """
    while True:
        cloud = rng.choice(plan.clouds)
        labels = [label.name for label in plan.labels if label.clouds is None or cloud.name in label.clouds]
        size = rng.choices((1, 2, 3), weights=(8, 2, 1))[0]
        yield Wanted(
            labels=tuple(rng.choices(labels, k=size)),
            priority=rng.choices(list(PRIORITIES), weights=list(PRIORITIES.values()))[0],
            relative_priority=rng.randrange(3),
            tenant=rng.choice([None, None, *plan.tenants]),
            provider=cloud.name if rng.random() < 0.1 else None,
        )


@dataclass
class Tally:
    """What became of the requests so far. Latencies in seconds, from submitting to seeing it fulfilled."""

    submitted: int = 0
    fulfilled: int = 0
    failed: int = 0
    nodes: int = 0
    latencies: list[float] = field(default_factory=list)
    nodes_by_cloud: Counter[str] = field(default_factory=Counter)
    nodes_by_label: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)  # a line each


class Traffic:
    """Keeps `outstanding` requests open until `requests` were made; holds what it gets for `hold` seconds."""

    def __init__(
        self,
        client: NodeClient,
        clock: Clock,
        wants: Iterator[Wanted],
        *,
        requests: int,
        outstanding: int,
        hold: float,
    ) -> None:
        self.tally = Tally()
        self._client = client
        self._clock = clock
        self._wants = wants
        self._requests = requests
        self._outstanding = outstanding
        self._hold = hold
        self._waiting: set[Order] = set()
        self._held: dict[Order, float] = {}  # -> when to give it back, monotonic; in this order

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def held(self) -> int:
        return len(self._held)

    @property
    def done(self) -> bool:
        return self.tally.submitted >= self._requests and not self._waiting and not self._held

    def step(self) -> None:
        """Note what happened, give back what is due, ask for more. While the store is away it does nothing."""
        for order in self._client.step():
            self._note(order)
        try:
            self._give_back()
            self._ask()
        except StoreUnavailable as error:
            log.warning("Store away, going on later: %s", error)

    def wait(self, seconds: float) -> None:
        """Return when there may be something to do for `step`, at the latest after `seconds`."""
        due = next(iter(self._held.values()), None)
        if due is not None:
            seconds = min(seconds, max(0.0, due - self._clock.monotonic()))
        self._client.wait(seconds)

    def _ask(self) -> None:
        while self.tally.submitted < self._requests and len(self._waiting) < self._outstanding:
            order = self._client.submit(next(self._wants))
            self._waiting.add(order)
            self.tally.submitted += 1

    def _give_back(self) -> None:
        now = self._clock.monotonic()
        for order, due in list(self._held.items()):
            if due > now:
                return
            self._client.release(order)
            del self._held[order]

    def _note(self, order: Order) -> None:
        if order.stage is Stage.HELD:
            self._waiting.discard(order)
            self._held[order] = self._clock.monotonic() + self._hold
            self._count(order)
        elif order.stage in (Stage.FAILED, Stage.LOST):
            if self._held.pop(order, None) is None:
                self._waiting.discard(order)
            else:
                self.tally.fulfilled -= 1  # it was counted when its nodes came
            self.tally.failed += 1
            labels = ",".join(order.wanted.labels)
            self.tally.failures.append(f"{order.request.id} ({labels}): {order.stage.value}: {order.reason}")

    def _count(self, order: Order) -> None:
        self.tally.fulfilled += 1
        self.tally.nodes += len(order.nodes)
        self.tally.latencies.append(order.latency or 0.0)
        self.tally.nodes_by_cloud.update(node.provider or "?" for node in order.nodes)
        self.tally.nodes_by_label.update(order.wanted.labels)
