"""Metrics that no single event brings.

Counts of the whole system, sent by the elected launcher; and each launcher's own limits and queues.
"""

from __future__ import annotations

from collections.abc import Callable

from poolmgr.config.settings import OpenStackProvider, Settings, StaticProvider
from poolmgr.model.fleet import ProviderMode
from poolmgr.observe.census import fleet_facts, take_census
from poolmgr.observe.stats import Stats
from poolmgr.policy.orders import configured_servers, standing
from poolmgr.runtime.clock import Clock
from poolmgr.runtime.worker import Worker
from poolmgr.store.api import Change, ChangeKind, Election, Store

#: Seconds between reports while nothing changes; statsd servers may forget gauges otherwise (metrics.md 8.2).
REFRESH = 10.0


class Reporter:
    """Sends gauges at most once a second. `settings` gives those in force."""

    def __init__(
        self,
        store: Store,
        stats: Stats,
        clock: Clock,
        *,
        identifier: str,
        hostname: str,
        settings: Callable[[], Settings],
    ) -> None:
        self._store = store
        self._stats = stats
        self._clock = clock
        self._identifier = identifier
        self._hostname = hostname
        self._settings = settings
        self._election: Election | None = None
        self._changed = True
        self._next_own = 0.0
        self._worker = Worker("reporter", self.cycle, clock, spacing=1.0)
        self._unsubscribe = store.subscribe(self._note)

    @property
    def last_cycle_at(self) -> float:
        return self._worker.last_cycle_at

    def start(self) -> None:
        self._worker.start()

    def stop(self, timeout: float) -> bool:
        self._worker.stop()
        self._unsubscribe()
        ended = self._worker.join(timeout)
        if self._election is not None:
            self._election.withdraw()
        return ended

    def _note(self, change: Change) -> None:
        if change.kind in (ChangeKind.NODE, ChangeKind.REQUEST):
            self._changed = True

    def cycle(self) -> float:
        if not self._store.connected:
            return 1.0
        if self._election is None:
            self._election = self._store.elect("stats", self._identifier)
        now = self._clock.monotonic()
        own_due = now >= self._next_own
        if self._election.leading and (self._changed or own_due):
            self._changed = False
            with self._store.reading() as snapshot:
                census = take_census(snapshot.nodes(), snapshot.requests(), snapshot.pools())
                facts = fleet_facts(snapshot, self._clock.time())
            self._stats.census(census)
            self._stats.fleet(facts)
        if own_due:
            self._next_own = now + REFRESH
            self._report_own()
        return 1.0

    def _report_own(self) -> None:
        settings = self._settings()
        self._stats.queues(self._hostname, self._store.queues)
        self._stats.max_servers({p.name: _max_servers(p) for p in settings.providers.values()})
        self._stats.pool_limits(
            {
                (provider.name, pool.name): pool.limits
                for provider in settings.providers.values()
                for pool in provider.pools.values()
            }
        )
        self._report_orders(settings)
        self._stats.tenant_limits({t.name: t.limits for t in settings.tenants.values()})

    def _report_orders(self, settings: Settings) -> None:
        now = self._clock.time()
        with self._store.reading() as snapshot:
            stand = {name: standing(snapshot.provider_order(name), now=now) for name in settings.providers}
        modes = list(ProviderMode)
        self._stats.provider_orders(
            {name: modes.index(one.mode) for name, one in stand.items()},
            {
                name: min(one.max_servers, configured_servers(settings.providers[name]))
                for name, one in stand.items()
            },
        )


def _max_servers(provider: OpenStackProvider | StaticProvider) -> float | None:
    """The sum over the provider's pools; None when one of them is unlimited."""
    limits = [pool.limits.get("instances") for pool in provider.pools.values()]
    known = [limit for limit in limits if limit is not None]
    return sum(known) if len(known) == len(limits) else None
