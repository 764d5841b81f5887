"""All workers of one launcher process: started, changed and stopped as the settings say."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from poolmgr import __version__
from poolmgr.config.settings import Label, OpenStackProvider, Settings, StaticProvider
from poolmgr.errors import PoolmgrError, StoreError
from poolmgr.launcher.claims import Claims
from poolmgr.launcher.context import Config, Parts
from poolmgr.launcher.janitor import Janitor
from poolmgr.launcher.reporter import Reporter
from poolmgr.launcher.supply import Limits
from poolmgr.launcher.worker import ProviderWorker
from poolmgr.model.component import Component, ComponentKind, ComponentState
from poolmgr.observe.stats import Stats
from poolmgr.policy.tuning import Tuning
from poolmgr.runtime.clock import Clock
from poolmgr.store.api import Store

log = logging.getLogger(__name__)

#: A provider that could not be started (its cloud is not in clouds.yaml, say) is tried again so often, in seconds.
START_RETRY = 30.0

#: A provider's worker that has not finished a cycle for so long, in seconds, is stuck.
STUCK_AFTER = 600.0

#: What a worker is built from: the same value means that the running one can go on with new limits.
Identity = object
PartsFactory = Callable[[OpenStackProvider], tuple[Identity, Callable[[], Parts]]]


@dataclass(frozen=True, kw_only=True)
class Names:
    hostname: str
    fqdn: str
    pid: int


class Fleet:
    """Owned by the daemon's main thread; nothing here is called from another, but for `ready` and `live`.

    `parts_for(provider)` returns what identifies the provider's connection, and a function that makes its parts;
    it raises ConfigError when the provider cannot be served as configured.
    """

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
        self._store = store
        self._clock = clock
        self._tuning = tuning
        self._names = names
        self._parts_for = parts_for
        self._settings = Settings()
        self._workers: dict[str, ProviderWorker] = {}
        self._identities: dict[str, Identity] = {}
        self._failed: dict[str, str] = {}  # provider -> why it could not be started, to log changes only
        self._retry_at = float("inf")
        self._component: Component | None = None
        self._hurrying = threading.Event()
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
        self._janitor.start()
        self._reporter.start()

    def apply(self, settings: Settings) -> None:
        """Make the workers what `settings` asks for."""
        self._settings = settings
        openstack: dict[str, OpenStackProvider] = {}
        for provider in settings.providers.values():
            if isinstance(provider, StaticProvider):
                log.error(
                    "provider %s: driver static is not supported yet, its nodes are not served", provider.name
                )
            else:
                openstack[provider.name] = provider
        for name in [n for n in self._workers if n not in openstack]:
            log.info("provider %s: removed from the configuration", name)
            self._end(name)
        self._failed = {n: why for n, why in self._failed.items() if n in openstack}
        self._retry_at = float("inf")
        for provider in openstack.values():
            self._apply_one(provider)
        self._janitor.wake()

    def tick(self) -> None:
        """Called about once a second: tries providers again that could not be started."""
        if self._clock.monotonic() >= self._retry_at:
            self._retry_at = float("inf")
            for name in list(self._failed):
                provider = self._settings.providers.get(name)
                if isinstance(provider, OpenStackProvider):
                    self._apply_one(provider)

    def stop(self, timeout: float) -> bool:
        """Take nothing new, let launches finish for a part of `timeout`, hand back the rest, withdraw everything.

        Whether all of it was done in time.
        """
        began = self._clock.monotonic()
        finish_by = began + timeout * self._tuning.stop_finish
        self._janitor.drain()
        for worker in self._workers.values():
            worker.drain()
        while self._clock.monotonic() < finish_by and self._may_finish():
            self._clock.wait(self._hurrying, 0.1)
        clean = True
        for worker in self._workers.values():
            left = began + timeout - self._clock.monotonic()
            clean = worker.stop(max(0.5, left / 2)) and clean
        clean = self._janitor.stop(2.0) and clean
        clean = self._reporter.stop(2.0) and clean
        if self._component is not None:
            self._store.unregister(self._component)
        return clean

    def hurry(self) -> None:
        """Finish nothing more while stopping: hand back. From any thread."""
        self._hurrying.set()

    def ready(self) -> str | None:
        """Why this launcher serves no requests now, None if it does, were it for one provider."""
        workers, failed = self._workers.copy(), self._failed.copy()
        if not workers and failed:
            return "no provider can be served: " + "; ".join(failed.values())
        if workers and not any(worker.connected for worker in workers.values()):
            return f"no cloud has answered yet: {', '.join(workers)}"
        return None

    def live(self) -> str | None:
        """Why a worker seems to be stuck, None if none does."""
        now = self._clock.monotonic()
        for name, worker in self._workers.copy().items():
            idle = now - worker.last_cycle_at
            if idle > STUCK_AFTER:
                return f"provider {name} has not finished a cycle for {idle:.0f} s"
        return None

    def describe(self) -> str:
        return "\n".join(worker.describe() for worker in self._workers.values())

    def _may_finish(self) -> bool:
        """Whether waiting may get something finished that is in hand."""
        if self._hurrying.is_set() or not self._store.connected:
            return False
        return not all(worker.idle for worker in self._workers.values())

    def _labels(self) -> Mapping[str, Label]:
        return self._settings.labels

    def _limits(self) -> Limits:
        return {
            (provider.name, pool.name): pool.limits
            for provider in self._settings.providers.values()
            if isinstance(provider, OpenStackProvider)
            for pool in provider.pools.values()
        }

    def _apply_one(self, provider: OpenStackProvider) -> None:
        name = provider.name
        settings = self._settings
        config = Config(
            provider=provider,
            labels=settings.labels,
            tenants=settings.tenants,
            max_hold_age=settings.max_hold_age,
            fair_tenants=settings.fair_tenants,
            idle_hold=settings.idle_hold,
            offers={
                (each.name, pool.name): frozenset(pool.labels)
                for each in settings.providers.values()
                if isinstance(each, OpenStackProvider)  # nobody serves the static ones yet
                for pool in each.pools.values()
            },
        )
        try:
            identity, make_parts = self._parts_for(provider)
            if name in self._workers and self._identities[name] == identity:
                self._workers[name].reconfigure(config)
                return
            if name in self._workers:
                log.info("provider %s: its connection settings changed, starting it anew", name)
                self._end(name)
            worker = ProviderWorker(make_parts(), config, self._tuning)
        except StoreError:
            raise
        except PoolmgrError as error:
            if self._failed.get(name) != str(error):
                goes_on = " as configured; it goes on with its old settings" if name in self._workers else ""
                log.error("provider %s cannot be served%s: %s", name, goes_on, error)
            self._failed[name] = str(error)
            self._retry_at = self._clock.monotonic() + START_RETRY
            return
        self._failed.pop(name, None)
        self._workers[name] = worker
        self._identities[name] = identity
        worker.start()
        log.info("provider %s: started", name)

    def _end(self, name: str) -> None:
        worker = self._workers.pop(name)
        self._identities.pop(name, None)
        if not worker.stop(self._tuning.stop_timeout / 3):
            log.error("provider %s: its worker did not end in time; its locks go with the session", name)
