"""One provider's worker: a level-triggered cycle over everything that concerns the provider.

Each cycle delivers what jobs have brought back, looks at the requests it holds and at new ones, lets launches and
removals take their next step, and polls what they wait for. It never waits for a cloud: calls run on the
provider's own executors, so one that hangs stalls that provider only.
"""

from __future__ import annotations

import logging
import threading

from poolmgr.config.settings import OpenStackProvider
from poolmgr.errors import LockLost, StoreUnavailable
from poolmgr.launcher.adoption import Adoption
from poolmgr.launcher.assignment import Assignment
from poolmgr.launcher.cloudfacts import CloudFacts
from poolmgr.launcher.context import Config, Context, Parts
from poolmgr.launcher.jobs import Jobs
from poolmgr.launcher.leaks import LeakSweep
from poolmgr.launcher.orders import Orders
from poolmgr.launcher.pools import PoolDesk
from poolmgr.launcher.reclaim import Reclaim
from poolmgr.launcher.removals import Removals
from poolmgr.launcher.requests import HeldRequests
from poolmgr.launcher.retirement import Retirement
from poolmgr.launcher.room import Room
from poolmgr.launcher.tenure import Tenure
from poolmgr.policy.tuning import Tuning
from poolmgr.runtime.worker import Worker
from poolmgr.store.api import Change, ChangeKind

log = logging.getLogger(__name__)


class ProviderWorker:
    """The worker of one openstack provider, for as long as we own it.

    `start`, `reconfigure`, `drain`, `let_go` and `stop` come from other threads. It ends by itself when the provider is
    lost, or let go: then it is `gone`, holds nothing any more, and whoever has it calls `stop`.
    """

    def __init__(self, parts: Parts, config: Config, tuning: Tuning, tenure: Tenure) -> None:
        self._worker = Worker(
            f"provider-{config.provider.name}",
            self.cycle,
            parts.clock,
            retry_after=1.0,
            spacing=tuning.cycle_spacing,
        )
        self._jobs = Jobs(self._worker.wake.set)
        self._context = Context(parts, config, tuning, self._jobs, tenure)
        self._orders = Orders(self._context)
        self._facts = CloudFacts(self._context)
        self._removals = Removals(self._context)
        self._pools: dict[str, PoolDesk] = {}
        self._requests = HeldRequests(self._context, self._removals, self._facts, self._pools)
        self._reclaim = Reclaim(self._context)
        self._retirement = Retirement(self._context, self._removals, self._reclaim, self._facts.room_made)
        self._leaks = LeakSweep(self._context, self._removals, self._reclaim)
        self._wanted_config = config
        self._draining = False
        self._let_go_by: float | None = None  # monotonic; None: it is not to be let go
        self._gone = threading.Event()
        self._slowest, self._next_report = 0.0, 0.0
        self._epoch = parts.store.epoch
        self._adoption = Adoption(self._context, self._facts, self._pools, self._requests)
        self._assignment = Assignment(
            self._context, self._pools, self._requests, pauses=lambda: self._requests.pauses
        )
        self._room = Room(self._context, self._pools, self._requests.spares)
        self._unsubscribe = parts.store.subscribe(self._changed)
        self._adopt_pools(config)

    # From other threads

    @property
    def provider(self) -> OpenStackProvider:
        return self._wanted_config.provider

    @property
    def last_cycle_at(self) -> float:
        return self._worker.last_cycle_at

    @property
    def connected(self) -> bool:
        """Whether the cloud has answered once."""
        return self._context.info is not None

    def start(self) -> None:
        self._worker.start()

    def reconfigure(self, config: Config) -> None:
        """Go by `config` from the next cycle on."""
        self._wanted_config = config
        self._worker.wake.set()

    def drain(self) -> None:
        """Take nothing new; finish what is in hand."""
        self._draining = True
        self._worker.wake.set()

    def let_go(self) -> None:
        """Leave everything as it is, for who owns the provider next, as soon as no call is in flight that makes things.

        Calls that hang are waited for no longer than `handover_patience`.
        """
        if self._let_go_by is None:
            self._let_go_by = self._context.clock.monotonic() + self._context.tuning.handover_patience
        self._worker.wake.set()

    @property
    def gone(self) -> bool:
        """Whether it has ended by itself: it acts no more, and holds no lock."""
        return self._gone.is_set()

    @property
    def idle(self) -> bool:
        """Whether no request is in hand."""
        return len(self._requests) == 0

    def stop(self, timeout: float) -> bool:
        """End the thread, let go of what is left, withdraw the pools. Whether it ended within `timeout` seconds."""
        self._draining = True
        self._worker.stop()
        ended = self._worker.join(timeout)
        self._unsubscribe()
        if ended and not self.gone:
            self._leave()
        self._context.parts.api.stop()
        self._context.parts.probes.stop()
        self._context.cloud.close()
        return ended

    def describe(self) -> str:
        """One line for dumps."""
        return (
            f"{self._context.name}: {len(self._requests)} requests held, {len(self._requests.launches)} launches,"
            f" {len(self._removals)} removals, {self._jobs.running} jobs running"
        )

    def _changed(self, change: Change) -> None:
        if change.kind in (ChangeKind.NODE, ChangeKind.FLEET) and change.provider not in (
            "",
            self._context.name,
        ):
            return
        if change.kind is ChangeKind.SESSION:
            self._context.disturbances += 1  # only here, and only the store's one thread calls this
        if not self._worker.wake.is_set():  # asking costs less than setting, and bursts are long
            self._worker.wake.set()

    # The cycle

    def cycle(self) -> float:
        """One look at everything; returns the seconds until the next one is due."""
        context = self._context
        began = context.clock.monotonic()
        if self.gone:
            return float("inf")
        if context.store.epoch != self._epoch or not context.tenure.valid:
            self._lose_everything()
            return 0.0
        if self._wanted_config is not context.config:
            self._adopt(self._wanted_config)
        try:
            self._jobs.deliver()
            if not context.store.connected:
                return 1.0
            if self._let_go_by is not None:
                return self._let_go(began, self._let_go_by)
            due = self._work(began)
        except LockLost as error:  # of the provider's own lock: the next cycle ends
            log.warning("%s: %s", context.name, error)
            return 0.1
        except StoreUnavailable as error:
            log.warning("%s: the store is away: %s", context.name, error)
            return 0.5
        now = context.clock.monotonic()
        self._report_cycle(now, now - began)
        return max(0.0, min(context.tuning.idle_cycle, due - now))

    def _report_cycle(self, now: float, seconds: float) -> None:
        """The slowest cycle of each ten seconds: one metric for each cycle would cost more than some cycles."""
        self._slowest = max(self._slowest, seconds)
        if now >= self._next_report:
            self._context.stats.cycle(self._context.name, self._slowest)
            self._slowest, self._next_report = 0.0, now + 10.0
            self._report_state(now)

    def _report_state(self, now: float) -> None:
        context = self._context
        why = {name: desk.why_paused(now) for name, desk in self._pools.items()}
        context.stats.pools_paused(context.name, {name: reason for name, reason in why.items() if reason})
        listing = context.servers.whole
        if listing is not None:
            context.stats.listed(context.name, context.clock.time() - (now - listing.finished_at))

    def _work(self, now: float) -> float:
        context = self._context
        dues = [self._orders.look(now), self._facts.refresh(now)]
        self._requests.advance(stopping=self._draining)
        dues.append(self._adoption.run(now))
        if not self._draining:
            dues.append(self._assignment.run(now))
            for desk in self._pools.values():  # after the pass: it may have found that a request waits here
                desk.publish(now)
        dues.append(context.status.publish(now))
        first = {pool: (one, one.labels) for pool, one in self._assignment.waiting.items()}
        waiting = {**first, **self._requests.waiting}  # who has a part comes first
        self._room.make(waiting, now)
        dues.append(self._requests.spares.tend(now, short=waiting))
        dues.append(self._requests.launches.advance(now))
        dues.append(self._retirement.collect(now, self._adoption.given_up))
        dues.append(self._removals.advance(now))
        if context.info is not None:
            launching = [launch.node.id for launch in self._requests.launches]
            dues.append(self._retirement.sweep(now))
            dues.append(self._leaks.sweep(now, launching))
            dues.append(self._reclaim.judge(now))
            dues.append(context.marks.advance(now))
            rate = context.config.provider.rate
            dues += [
                context.servers.poll(rate),
                context.ports.poll_if_wanted(rate),
                context.floating_ips.poll_if_wanted(rate),
                context.volumes.poll_if_wanted(rate),
            ]
        return min(dues)

    def _lose_everything(self) -> None:
        """The session was lost, or the provider: our locks are void, so nothing in hand is ours any more."""
        log.warning("%s: not ours any more, dropping everything in hand", self._context.name)
        try:
            self._requests.forget_all()
            self._removals.forget_all()
            for desk in self._pools.values():
                desk.withdraw()
        finally:
            self._end()

    def _let_go(self, now: float, by: float) -> float:
        """Wait for what is being made, then leave; returns when to look again."""
        if self._requests.launches.calling and now < by:
            return by - now
        self._leave()
        return 0.0

    def _leave(self) -> None:
        """Hold nothing any more. Either on the worker's thread, or after that has ended."""
        try:
            self._jobs.deliver()
        finally:
            if self._context.store.connected and self._context.store.epoch == self._epoch:
                self._requests.let_go()
                self._removals.forget_all()
            for desk in self._pools.values():
                desk.withdraw()
            self._end()

    def _end(self) -> None:
        self._gone.set()
        self._worker.stop()

    # Settings

    def _adopt(self, config: Config) -> None:
        self._context.config = config
        self._facts.forget_broken()
        self._adopt_pools(config)

    def _adopt_pools(self, config: Config) -> None:
        wanted = {} if config.removed else config.provider.pools  # a label that nobody has fails at once
        for name in [n for n in self._pools if n not in wanted]:
            self._pools.pop(name).withdraw()
        for name, pool in wanted.items():
            if name in self._pools:
                self._pools[name].pool = pool
            else:
                self._pools[name] = PoolDesk(self._context, self._facts, pool)
