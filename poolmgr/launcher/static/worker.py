"""One static provider's worker: a level-triggered cycle over its hosts, their slots and the requests for them.

It never waits for a host: looks at them run on an executor, so one that is dead costs nobody else anything.
"""

from __future__ import annotations

import logging
import threading

from poolmgr.config.settings import StaticProvider
from poolmgr.errors import LockLost, StoreUnavailable
from poolmgr.launcher.assignment import Assignment
from poolmgr.launcher.jobs import Jobs
from poolmgr.launcher.orders import Orders
from poolmgr.launcher.static.context import StaticConfig, StaticContext, StaticParts
from poolmgr.launcher.static.hosts import Hosts
from poolmgr.launcher.static.pools import StaticDesk
from poolmgr.launcher.static.requests import StaticRequests
from poolmgr.launcher.static.slots import Slots
from poolmgr.launcher.tenure import Tenure
from poolmgr.model.fleet import ProviderMode
from poolmgr.model.request import RequestState
from poolmgr.policy import static
from poolmgr.policy.tuning import Tuning
from poolmgr.runtime.worker import Worker
from poolmgr.store.api import Change, ChangeKind

log = logging.getLogger(__name__)

#: Seconds between reports of which hosts are up, while nothing changes.
REPORT = 10.0


class StaticWorker:
    """The worker of one static provider. A `Service`: all but `cycle` may come from other threads."""

    def __init__(self, parts: StaticParts, config: StaticConfig, tuning: Tuning, tenure: Tenure) -> None:
        self._worker = Worker(
            f"provider-{config.provider.name}",
            self.cycle,
            parts.clock,
            retry_after=1.0,
            spacing=tuning.cycle_spacing,
        )
        self._jobs = Jobs(self._worker.wake.set)
        self._context = StaticContext(parts, config, tuning, self._jobs, tenure)
        self._orders = Orders(self._context)
        self._hosts = Hosts(self._context)
        self._slots = Slots(self._context, self._hosts)
        self._pools: dict[str, StaticDesk] = {}
        self._assignment = Assignment(self._context, self._pools, StaticRequests(self._context, self._pools))
        self._wanted_config = config
        self._draining = False
        self._letting_go = False
        self._gone = threading.Event()
        self._begun = False
        self._stirred = threading.Event()  # something has changed that slots depend on
        self._settle_at = 0.0
        self._told: dict[str, bool] = {}
        self._next_report = 0.0
        self._unsubscribe = parts.store.subscribe(self._changed)

    # From other threads

    @property
    def provider(self) -> StaticProvider:
        return self._wanted_config.provider

    @property
    def last_cycle_at(self) -> float:
        return self._worker.last_cycle_at

    @property
    def connected(self) -> bool:
        """Whether it has had a look; that hosts are down is no reason to be called unready."""
        return self._begun

    @property
    def idle(self) -> bool:
        """Always: requests are taken and answered in one step."""
        return True

    def start(self) -> None:
        self._worker.start()

    def reconfigure(self, config: StaticConfig) -> None:
        self._wanted_config = config
        self._worker.wake.set()

    def drain(self) -> None:
        self._draining = True
        self._worker.wake.set()

    def let_go(self) -> None:
        """Nothing is ever under way here, so that is soon done."""
        self._letting_go = True
        self._worker.wake.set()

    @property
    def gone(self) -> bool:
        return self._gone.is_set()

    def stop(self, timeout: float) -> bool:
        """End the thread and withdraw the pools; the nodes stay, for whoever serves the provider next."""
        self._draining = True
        self._worker.stop()
        ended = self._worker.join(timeout)
        self._unsubscribe()
        self._context.parts.probes.stop()
        if ended and not self.gone:
            self._leave()
        return ended

    def describe(self) -> str:
        up = self._told
        return (
            f"{self._context.name}: {sum(up.values())} of {len(up)} known static hosts are up,"
            f" {self._jobs.running} looks running"
        )

    def _changed(self, change: Change) -> None:
        foreign = change.provider not in ("", self._context.name)
        if foreign and change.kind in (ChangeKind.NODE, ChangeKind.FLEET):
            return
        if change.kind is not ChangeKind.REQUEST:
            self._stirred.set()
        if not self._worker.wake.is_set():
            self._worker.wake.set()

    # The cycle

    def cycle(self) -> float:
        """One look at everything; returns the seconds until the next one is due."""
        context = self._context
        began = context.clock.monotonic()
        if self.gone:
            return float("inf")
        if self._letting_go or not context.tenure.valid:
            self._leave()
            return 0.0
        context.config = self._wanted_config
        try:
            if self._jobs.deliver():
                self._stirred.set()
            if not context.store.connected:
                return 1.0
            due = self._work(began)
        except LockLost as error:  # of the provider's own lock: the next cycle ends
            log.warning("%s: %s", context.name, error)
            return 0.1
        except StoreUnavailable as error:
            log.warning("%s: the store is away: %s", context.name, error)
            return 0.5
        self._begun = True
        return max(0.0, min(context.tuning.idle_cycle, due - context.clock.monotonic()))

    def _leave(self) -> None:
        """The nodes stay as they are. Either on the worker's thread, or after that has ended."""
        for desk in self._pools.values():
            desk.withdraw()
        self._gone.set()
        self._worker.stop()

    def _work(self, now: float) -> float:
        dues = [self._orders.look(now)]
        self._adopt()
        if self._draining:
            return self._context.status.publish(now)
        for desk in self._pools.values():
            desk.publish()
        self._slots.free_orphans(now)
        if self._stirred.is_set() or now >= self._settle_at:
            self._stirred.clear()  # before the look, so that what comes meanwhile is seen in the next one
            self._settle_at = self._slots.settle(now)
        dues.append(self._settle_at)
        self._hosts.see_live(now)
        dues.append(self._look(now))
        dues.append(self._assignment.run(now))
        self._report(now)
        dues.append(self._context.status.publish(now))
        return min(dues)

    def _look(self, now: float) -> float:
        """Ask hosts that it is time to ask, first those that a request waits for."""
        context, occupations = self._context, self._slots.occupations
        offered = {label for desk in self._pools.values() for label in desk.pool.labels}
        with context.store.reading() as snapshot:
            waiting = static.wanted_labels(snapshot.requests(RequestState.REQUESTED), offered)
            for desk in self._pools.values() if waiting else ():
                desk.look(snapshot)
        wanted = static.wanted_hosts(waiting, occupations, self._hosts.live) if waiting else frozenset()
        return self._hosts.look(occupations, wanted, now)

    def _adopt(self) -> None:
        """Go by the settings in force. A provider that is drained has no hosts: what is free on them goes."""
        context = self._context
        provider = context.config.provider
        drained = context.standing.mode is ProviderMode.DRAINING
        hosts = {} if drained else static.hosts_of(provider)
        if hosts != self._hosts.configured:
            self._hosts.adopt(hosts)
            self._stirred.set()
        wanted = {} if context.config.removed else provider.pools
        for name in [n for n in self._pools if n not in wanted]:
            self._pools.pop(name).withdraw()
        for name, pool in wanted.items():
            if name in self._pools:
                self._pools[name].pool = pool
            else:
                self._pools[name] = StaticDesk(context, self._hosts, pool)

    def _report(self, now: float) -> None:
        self._context.status.set(alarms=self._hosts.alarms())
        up = dict(self._hosts.up())
        if up != self._told or now >= self._next_report:
            self._told, self._next_report = up, now + REPORT
            self._context.stats.static_hosts(self._context.name, up)
