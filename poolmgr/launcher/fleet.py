"""A launcher's whole part in the fleet: which providers it owns, and who works for them.

A thread of its own gets and lets go of providers; it waits for no cloud and for no worker.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from poolmgr import __version__
from poolmgr.config.settings import Label, OpenStackProvider, Provider, Settings
from poolmgr.launcher.claims import Claims
from poolmgr.launcher.context import Config, ProviderConfig
from poolmgr.launcher.health import stuck, unready
from poolmgr.launcher.janitor import Janitor
from poolmgr.launcher.ownership import Offer, Ownership
from poolmgr.launcher.removed import Removed, tell_unserved
from poolmgr.launcher.reporter import Reporter
from poolmgr.launcher.service import Service
from poolmgr.launcher.static.context import StaticConfig
from poolmgr.launcher.supply import Limits
from poolmgr.launcher.tenure import Tenure
from poolmgr.launcher.workers import PartsFactory, Workers
from poolmgr.model.component import Component, ComponentKind, ComponentState
from poolmgr.model.fleet import Peer
from poolmgr.observe.stats import Stats
from poolmgr.policy.tuning import Tuning
from poolmgr.runtime.clock import Clock
from poolmgr.runtime.executor import ThreadExecutor
from poolmgr.runtime.worker import Worker
from poolmgr.store.api import Change, ChangeKind, Store

log = logging.getLogger(__name__)

#: Seconds between looks for nodes whose provider nobody has.
UNSERVED_LOOK = 15.0
#: Connections to clouds that are made at a time.
MAKERS = 4


@dataclass(frozen=True, kw_only=True)
class Names:
    hostname: str
    fqdn: str
    pid: int


class Fleet:
    """`start`, `apply` and `stop` come from the daemon's threads, one at a time; `ready` and `live` from any."""

    def __init__(
        self,
        store: Store,
        stats: Stats,
        clock: Clock,
        tuning: Tuning,
        *,
        names: Names,
        claims: Claims,
        new_id: Callable[[], str],
        parts_for: PartsFactory,
    ) -> None:
        """`parts_for`: see `Workers`."""
        self._store = store
        self._clock = clock
        self._tuning = tuning
        self._names = names
        self._settings = Settings()
        self._component: Component | None = None
        self._hurrying = threading.Event()
        self._lock = threading.RLock()  # around `_workers` and `_ownership`
        self._worker = Worker("fleet", self._cycle, clock, retry_after=1.0, spacing=0.05)
        self._makers = ThreadExecutor("connect", MAKERS)
        wake = self._worker.wake.set
        self._workers = Workers(clock, tuning, parts_for, executor=self._makers, wake=wake)
        peer = Peer(
            id=new_id(),
            hostname=names.hostname,
            pid=names.pid,
            version=__version__,
            started_at=clock.time(),
        )
        self._ownership = Ownership(store, clock, tuning, self, peer)
        self._removed = Removed()
        self._draining: Mapping[str, OpenStackProvider] = {}  # of those
        self._unserved: Mapping[str, int] = {}  # what was told last: nodes by provider
        self._next_unserved = 0.0
        self._unsubscribe = store.subscribe(self._changed)
        self._janitor = Janitor(
            store, clock, tuning, claims=claims, new_id=new_id, labels=self._labels, limits=self._limits
        )
        self._reporter = Reporter(
            store,
            stats,
            clock,
            identifier=f"{names.hostname}-{names.pid}",
            hostname=names.hostname,
            settings=lambda: self._settings,
        )

    def start(self, settings: Settings) -> None:
        self._component = self._store.register(
            Component(
                kind=ComponentKind.LAUNCHER,
                hostname=self._names.hostname,
                state=ComponentState.RUNNING,
                version=__version__,
            )
        )
        self.apply(settings)
        self._worker.start()
        self._janitor.start()
        self._reporter.start()

    def apply(self, settings: Settings) -> None:
        """Serve what `settings` asks for."""
        with self._lock:
            self._removed.note(self._settings, settings)
            self._settings = settings
            self._draining = self._to_drain()
            self._apply_workers()
        self._worker.wake.set()
        self._janitor.wake()

    def stop(self, timeout: float) -> bool:
        """Take nothing new, and let go of everything within `timeout` seconds; whether all of it was done in time.

        What another launcher can have it gets at once, as it is. Otherwise launches may finish for a part of `timeout`;
        the rest is left for whoever comes next.
        """
        began = self._clock.monotonic()
        self._janitor.drain()
        with self._lock:
            self._ownership.drain()
            for worker in self._workers.running().values():
                worker.drain()
        self._worker.wake.set()
        finish_by = began + timeout * self._tuning.stop_finish
        self._wait(finish_by, lambda worker: worker.idle or self._hurrying.is_set())
        with self._lock:
            for name in self._workers.running():
                self._workers.let_go(name)
        self._wait(began + timeout * (1 + self._tuning.stop_finish) / 2, lambda worker: worker.gone)
        self._unsubscribe()
        self._worker.stop()
        clean = self._worker.join(2.0)
        with self._lock:
            for name in self._workers.running():
                left = began + timeout - self._clock.monotonic()
                clean = self._workers.stop(name, max(0.5, left / 2)) and clean
            self._makers.stop()
            self._ownership.withdraw()
        clean = self._janitor.stop(2.0) and clean
        clean = self._reporter.stop(2.0) and clean
        if self._component is not None:
            self._store.unregister(self._component)
        return clean

    def hurry(self) -> None:
        """Finish nothing more while stopping: let go. From any thread."""
        self._hurrying.set()

    def ready(self) -> str | None:
        """Why this launcher serves no requests now, None if it does, were it for one provider, or only stands by."""
        connected = {name: worker.connected for name, worker in self._workers.running().items()}
        return unready(
            tuple(self._settings.providers),
            dict(self._workers.failed),
            connected,
            settled=self._ownership.settled,
        )

    def live(self) -> str | None:
        """Who seems to be stuck, None if nobody does."""
        running = self._workers.running().items()
        at = {f"provider {name}": worker.last_cycle_at for name, worker in running}
        at |= {"fleet": self._worker.last_cycle_at, "janitor": self._janitor.last_cycle_at}
        return stuck(at | {"reporter": self._reporter.last_cycle_at}, self._clock.monotonic())

    def describe(self) -> str:
        """Who owns what, and the state of each worker; from any thread."""
        workers = self._workers.running().values()
        return "\n".join([*self._ownership.describe(), *(worker.describe() for worker in workers)])

    # As the crew of `Ownership`

    def offer(self) -> Offer:
        labels = self._settings.labels.values()
        min_ready = {label.name: label.min_ready for label in labels if label.min_ready > 0}
        offers = {
            provider.name: {pool.name: sorted(pool.labels) for pool in provider.pools.values()}
            for provider in self._settings.providers.values()
        }
        return Offer(providers=self._workers.able(), min_ready=min_ready, offers=offers)

    def begin(self, tenure: Tenure) -> None:
        self._workers.begin(tenure)

    def let_go(self, provider: str) -> None:
        self._workers.let_go(provider)

    def busy(self, provider: str) -> bool:
        return self._workers.busy(provider)

    # Inside

    def _cycle(self) -> float:
        with self._lock:
            self._workers.cycle()
            pause = self._ownership.cycle()
            if self._store.connected and self._ownership.settled:
                self._look_at_removed()
            return pause

    def _look_at_removed(self) -> None:
        """Drain what no configuration has any more, until it is empty; tell of what nobody can drain."""
        draining = self._to_drain()
        if draining != self._draining:
            self._draining = draining
            self._apply_workers()
        now = self._clock.monotonic()
        if now >= self._next_unserved:
            self._next_unserved = now + UNSERVED_LOOK
            with self._store.reading() as snapshot:
                known = {*self._settings.providers, *self._removed.names}
                self._unserved = tell_unserved(snapshot, known, told=self._unserved)

    def _to_drain(self) -> Mapping[str, OpenStackProvider]:
        if not self._removed.names:
            return {}
        with self._store.reading() as snapshot:
            return self._removed.to_drain(snapshot, self._ownership.id)

    def _apply_workers(self) -> None:
        settings = self._settings
        wanted = {provider.name: _config(provider, settings) for provider in settings.providers.values()}
        for name, provider in self._draining.items():
            wanted[name] = replace(_config(provider, settings), removed=True)
        self._workers.apply(wanted, remember=self._removed.names)

    def _changed(self, change: Change) -> None:
        if change.kind in (ChangeKind.FLEET, ChangeKind.SESSION):
            self._worker.wake.set()

    def _wait(self, until: float, over: Callable[[Service[Any]], bool]) -> None:
        """Until `over` holds for all workers that are left, or that time has come (monotonic seconds)."""
        while self._clock.monotonic() < until and self._store.connected:
            if all(worker.gone or over(worker) for worker in self._workers.running().values()):
                return
            self._clock.wait(self._hurrying, 0.05)

    def _labels(self) -> Mapping[str, Label]:
        return self._settings.labels

    def _limits(self) -> Limits:
        return {
            (provider.name, pool.name): pool.limits
            for provider in self._settings.providers.values()
            if isinstance(provider, OpenStackProvider)
            for pool in provider.pools.values()
        }


def _config(provider: Provider, settings: Settings) -> ProviderConfig:
    common: dict[str, Any] = {
        "labels": settings.labels,
        "tenants": settings.tenants,
        "max_hold_age": settings.max_hold_age,
        "fair_tenants": settings.fair_tenants,
        "idle_hold": settings.idle_hold,
        "offers": {
            (each.name, pool.name): frozenset(pool.labels)
            for each in settings.providers.values()
            for pool in each.pools.values()
        },
    }
    if isinstance(provider, OpenStackProvider):
        return Config(provider=provider, **common)
    return StaticConfig(provider=provider, **common)
