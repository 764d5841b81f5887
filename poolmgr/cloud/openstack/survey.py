"""Everything about a cloud that can be looked at without making anything: what the doctor judges.

Sections are asked for at the same time, each on a thread of its own, and each fails alone: a service that hangs costs
its section, and after the limit nobody waits for it any more. What needs a login waits for it, and is not asked
for without one.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from typing import Any

from poolmgr.cloud.api import CloudInfo
from poolmgr.cloud.openstack.floating import NatPlan
from poolmgr.cloud.openstack.survey_sections import (
    AFTER_LOGIN,
    BEFORE_LOGIN,
    QUOTAS,
    SERVICES,
    Parts,
    Section,
    projects,
)
from poolmgr.cloud.openstack.topology import Topology
from poolmgr.errors import PoolmgrError
from poolmgr.model.cloud_report import (
    ClockFacts,
    Fault,
    GroupFacts,
    KeyPairFacts,
    LoginFacts,
    ServiceFacts,
    TlsFacts,
    ZoneFacts,
)
from poolmgr.model.server import Flavor, Quota
from poolmgr.model.trouble import Trouble
from poolmgr.runtime.executor import Executor

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What was found. None: not asked for, or it failed, which `faults` says by section."""

    login: LoginFacts | None = None
    projects: tuple[str, ...] | None = (
        None  # names of those that the login may use; asked when it was refused
    )
    clock: ClockFacts | None = None
    tls: tuple[TlsFacts, ...] | None = None
    services: Mapping[str, ServiceFacts | None] = field(default_factory=dict)
    extensions: tuple[str, ...] | None = None
    topology: Topology | None = None
    plan: NatPlan | None = None
    security_groups: tuple[GroupFacts, ...] | None = None
    key_pairs: tuple[KeyPairFacts, ...] | None = None
    flavors: tuple[Flavor, ...] | None = None
    zones: tuple[ZoneFacts, ...] | None = None
    quotas: tuple[Quota, ...] | None = None
    import_methods: tuple[str, ...] | None = None
    connect: CloudInfo | None = None  # what the launcher learns first; its fault is what it would say
    faults: Mapping[str, Fault] = field(default_factory=dict)


def survey(parts: Parts, executor: Executor, *, limit: float) -> Survey:
    """Look at everything, for at most `limit` seconds. Never raises for what a cloud does."""
    asking = _Asking(parts, executor, limit)
    asking.ask(BEFORE_LOGIN)
    if asking.wait_for("login"):
        asking.ask(AFTER_LOGIN)
    elif asking.fault("login").reason == Trouble.LOGIN_REFUSED.value:
        asking.ask({"projects": projects})
    return asking.result()


class _Asking:
    """The sections under way, by name; some consist of one for each service, as `quotas.network`."""

    def __init__(self, parts: Parts, executor: Executor, limit: float) -> None:
        self._parts = parts
        self._executor = executor
        self._limit = limit
        self._until = parts.clock.monotonic() + limit
        self._jobs: dict[str, Future[Any]] = {}

    def ask(self, sections: Mapping[str, Section]) -> None:
        for name, section in sections.items():
            self._jobs[name] = self._executor.submit(lambda section=section: section(self._parts))  # type: ignore[misc]

    def wait_for(self, name: str) -> bool:
        """Whether that section is there."""
        job = self._jobs[name]
        wait([job], timeout=self._left())
        return _is_there(job)

    def fault(self, name: str) -> Fault:
        """Why it is not."""
        job = self._jobs[name]
        error = job.exception() if job.done() and not job.cancelled() else None
        where = f"cloud {self._parts.settings.name}: {name.removeprefix(SERVICES)}"
        if error is None:
            message = f"{where}: nothing within {self._limit:g} seconds"
            return Fault(reason=Trouble.SILENT.value, message=message)
        if isinstance(error, PoolmgrError):
            return Fault(reason=error.reason, message=error.message)
        log.debug("section %s", name, exc_info=error)
        return Fault(reason=Trouble.UNREADABLE.value, message=f"{where}: {type(error).__name__}: {error}")

    def result(self) -> Survey:
        wait(self._jobs.values(), timeout=self._left())
        there = {name: job for name, job in self._jobs.items() if _is_there(job)}
        found = {name: job.result() for name, job in there.items()}
        services = {
            name.removeprefix(SERVICES): found.pop(name) for name in there if name.startswith(SERVICES)
        }
        quotas = [found.pop(name) for name in there if name.startswith(QUOTAS)]
        faults = {name: self.fault(name) for name in self._jobs if name not in there}
        told = tuple(quota for several in quotas for quota in several) if quotas else None
        return Survey(**found, services=services, quotas=told, faults=faults)

    def _left(self) -> float:
        return max(0.0, self._until - self._parts.clock.monotonic())


def _is_there(job: Future[Any]) -> bool:
    return job.done() and not job.cancelled() and job.exception() is None
