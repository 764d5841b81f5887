"""The workers of the providers that we own: made, changed and ended. Never waits for any of them.

Making the connection to a cloud takes as long as it takes, so that is done on an executor. A worker that is to go is
told so, and forgotten once it says that it is `gone`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from poolmgr.config.settings import Provider
from poolmgr.errors import PoolmgrError, StoreError
from poolmgr.launcher.context import Config, Parts, ProviderConfig, ProviderParts
from poolmgr.launcher.jobs import Jobs, Outcome
from poolmgr.launcher.service import Service
from poolmgr.launcher.static.context import StaticConfig, StaticParts
from poolmgr.launcher.static.worker import StaticWorker
from poolmgr.launcher.tenure import Tenure
from poolmgr.launcher.worker import ProviderWorker
from poolmgr.policy.tuning import Tuning
from poolmgr.runtime.clock import Clock
from poolmgr.runtime.executor import Executor

log = logging.getLogger(__name__)

#: A provider that could not be started (its cloud is not in clouds.yaml, say) is tried again so often, in seconds.
START_RETRY = 30.0
#: A worker that is gone needs no more than this to end its thread, in seconds.
LAST_BREATH = 1.0

#: What a worker is built from: the same value means that the running one can go on with new limits.
Identity = object
PartsFactory = Callable[[Provider], tuple[Identity, Callable[[], ProviderParts]]]


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """How a provider is to be served."""

    config: ProviderConfig
    identity: Identity
    make: Callable[[], ProviderParts]


@dataclass(frozen=True, kw_only=True)
class _Running:
    worker: Service[Any]
    identity: Identity
    tenure: Tenure


class Workers:
    """Those of one launcher. Used by one thread at a time.

    `parts_for(provider)` returns what identifies the provider's connection, and a function that makes its parts; it
    raises ConfigError when the provider cannot be served as configured. `start` sets a worker going.
    """

    def __init__(
        self,
        clock: Clock,
        tuning: Tuning,
        parts_for: PartsFactory,
        *,
        executor: Executor,
        wake: Callable[[], None],
        start: Callable[[Service[Any]], None] = lambda worker: worker.start(),
    ) -> None:
        self._clock = clock
        self._tuning = tuning
        self._parts_for = parts_for
        self._executor = executor
        self._jobs = Jobs(wake)
        self._start = start
        self._wanted: Mapping[str, ProviderConfig] = {}
        self._plans: dict[str, _Plan] = {}
        self._making: dict[str, Tenure] = {}
        self._running: dict[str, _Running] = {}
        self._anew: set[str] = set()  # of those that end: they are started again, with new settings
        self._failed: dict[str, str] = {}  # provider -> why it could not be started, to log changes only
        self._retry_at = float("inf")

    # What we serve

    def apply(self, wanted: Mapping[str, ProviderConfig], *, remember: Collection[str] = ()) -> None:
        """Serve these providers so, those of them that we own. `remember`: others that may be wanted again."""
        self._wanted = wanted
        self._plans = {name: plan for name, plan in self._plans.items() if name in wanted or name in remember}
        self._failed = {name: why for name, why in self._failed.items() if name in wanted}
        self._retry_at = float("inf")
        for name, config in wanted.items():
            self._plan(name, config)

    def able(self) -> frozenset[str]:
        """The providers that we could serve, as far as we know, or do serve."""
        return frozenset(
            n for n in self._plans if n in self._wanted and (n not in self._failed or n in self._running)
        )

    @property
    def failed(self) -> Mapping[str, str]:
        """Providers that cannot be served as configured, with the reason of each."""
        return self._failed

    def running(self) -> Mapping[str, Service[Any]]:
        """The workers there are, those included that are about to end."""
        return {name: one.worker for name, one in self._running.copy().items()}

    def _plan(self, name: str, config: ProviderConfig) -> None:
        if config.removed and name in self._plans:  # as it was: its cloud may be gone from clouds.yaml, too
            self._plans[name] = replace(self._plans[name], config=config)
            if name in self._running:
                self._running[name].worker.reconfigure(config)
            return
        try:
            identity, make = self._parts_for(config.provider)
        except StoreError:
            raise
        except PoolmgrError as error:
            self._fail(name, error)
            return
        self._failed.pop(name, None)
        self._plans[name] = _Plan(config=config, identity=identity, make=make)
        running = self._running.get(name)
        if running is None:
            return
        if running.identity == identity:
            self._anew.discard(name)
            running.worker.reconfigure(config)
        else:
            log.info("provider %s: its connection settings changed, starting it anew", name)
            self._anew.add(name)
            running.worker.let_go()

    def _fail(self, name: str, error: PoolmgrError) -> None:
        if self._failed.get(name) != str(error):
            goes_on = " as configured; it goes on with its old settings" if name in self._running else ""
            log.error("provider %s cannot be served%s: %s", name, goes_on, error)
        self._failed[name] = str(error)
        self._retry_at = min(self._retry_at, self._clock.monotonic() + START_RETRY)

    # What we own

    def begin(self, tenure: Tenure) -> None:
        """Make and start the provider's worker."""
        name = tenure.provider
        plan = self._plans.get(name)
        if plan is None:
            return
        self._making[name] = tenure
        self._jobs.run(self._executor, plan.make, partial(self._made, name, plan, tenure))

    def let_go(self, provider: str) -> None:
        """End its worker, leaving everything as it is."""
        self._anew.discard(provider)
        self._making.pop(provider, None)  # what is made for it will be thrown away
        running = self._running.get(provider)
        if running is not None:
            running.worker.let_go()

    def busy(self, provider: str) -> bool:
        """Whether it has a worker, or is about to."""
        return provider in self._running or provider in self._making

    def cycle(self) -> None:
        """Take in what was made, and forget what is gone."""
        self._jobs.deliver()
        for name, one in list(self._running.items()):
            if one.worker.gone:
                del self._running[name]
                one.worker.stop(LAST_BREATH)
                if name in self._anew and one.tenure.valid:
                    self._anew.discard(name)
                    self.begin(one.tenure)
        if self._clock.monotonic() >= self._retry_at:
            self._retry_at = float("inf")
            for name in list(self._failed):
                self._plan(name, self._wanted[name])

    def stop(self, provider: str, timeout: float) -> bool:
        """End its worker now, whatever it does. Whether it ended within `timeout` seconds."""
        one = self._running.pop(provider, None)
        return one is None or one.worker.stop(timeout)

    def _made(self, name: str, plan: _Plan, tenure: Tenure, outcome: Outcome[ProviderParts]) -> None:
        parts = outcome.value
        if self._making.get(name) is not tenure:
            if parts is not None:
                _throw_away(parts)
            return
        del self._making[name]
        if parts is None:
            self._fail(name, outcome.error or PoolmgrError("it could not be made"))
            return
        worker = _employed(parts, plan.config, self._tuning, tenure)
        self._running[name] = _Running(worker=worker, identity=plan.identity, tenure=tenure)
        latest = self._plans.get(name)
        if latest is not None and latest is not plan:
            self._plan(name, latest.config)  # the settings changed meanwhile
        self._start(worker)
        log.info("provider %s: started", name)


def _employed(parts: ProviderParts, config: ProviderConfig, tuning: Tuning, tenure: Tenure) -> Service[Any]:
    """A worker of the kind that the provider needs."""
    match parts, config:
        case StaticParts(), StaticConfig():
            return StaticWorker(parts, config, tuning, tenure)
        case Parts(), Config():
            return ProviderWorker(parts, config, tuning, tenure)
    raise TypeError(f"{type(parts).__name__} do not fit {type(config).__name__}")


def _throw_away(parts: ProviderParts) -> None:
    parts.probes.stop()
    if isinstance(parts, Parts):
        parts.api.stop()
        parts.cloud.close()
