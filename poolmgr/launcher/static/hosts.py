"""The hosts of one static provider, and how each of them is. Looks run on the executor for probes."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from functools import partial

from poolmgr.config.settings import StaticNode
from poolmgr.launcher.jobs import Outcome
from poolmgr.launcher.static.context import StaticContext
from poolmgr.policy import static
from poolmgr.policy.static import Check, Findings, Health, Host, Key, Occupation

log = logging.getLogger(__name__)

#: A connection type that no host has: a TCP connection is all that is made (see `Prober`).
_JUST_CONNECT = "tcp"


class Hosts:
    """Only the worker's thread touches it."""

    def __init__(self, context: StaticContext) -> None:
        self._context = context
        self._healths: dict[Key, Health] = {}
        self._looked_at: set[Key] = set()  # those that a look is under way at
        self.configured: Mapping[Key, Host] = {}
        self.live: frozenset[Key] = frozenset()  # those whose nodes may be handed out without asking

    @property
    def healths(self) -> Mapping[Key, Health]:
        return self._healths

    def adopt(self, configured: Mapping[Key, Host]) -> None:
        """Go by other settings. What is to be found at a host is forgotten where they ask for something else."""
        for key, old in self.configured.items():
            new = configured.get(key)
            if new is None or _looked_for(new.settings) != _looked_for(old.settings):
                self._healths.pop(key, None)
        self.configured = configured

    def see_live(self, now: float) -> None:
        """Judge anew who is live; once in a cycle, as it is asked for often."""
        tuning = self._context.tuning
        self.live = frozenset(
            key
            for key, host in self.configured.items()
            if static.is_live(self._healths.get(key, Health()), host, now=now, tuning=tuning)
        )

    def up(self) -> Mapping[str, bool]:
        """Whether a host is up, by name, once it is known; one with several entries is only if all of them are."""
        found: dict[str, bool] = {}
        for key in self.configured:
            health = self._healths.get(key, Health())
            if health.findings is not None or health.failures:
                found[key[0]] = found.get(key[0], True) and static.is_up(health, self._context.tuning)
        return found

    def alarms(self) -> tuple[str, ...]:
        """A line for each host that is down."""
        healths = ((host, self._healths.get(key, Health())) for key, host in sorted(self.configured.items()))
        return tuple(
            f"host {host.told} is down: {health.trouble}"
            for host, health in healths
            if static.is_down(health, self._context.tuning)
        )

    def look(self, occupations: Iterable[Occupation], wanted: Collection[Key], now: float) -> float:
        """Begin the looks that are due; returns when to ask again (monotonic seconds)."""
        due = float("inf")
        for one in occupations:
            key = one.host.key
            if key in self._looked_at:
                continue  # its end wakes the worker
            check = static.next_check(
                self._healths.get(key, Health()),
                vacant=bool(one.vacant),
                free=bool(one.free),
                wanted=key in wanted,
                now=now,
                tuning=self._context.tuning,
            )
            if check is None:
                continue
            if check[0] <= now and self._may_begin(key):
                self._begin(one.host, check[1])
            elif check[0] > now:
                due = min(due, check[0])  # else it waits for one that ends, which wakes the worker
        return due

    def _may_begin(self, key: Key) -> bool:
        """Whether there is a thread for it: those that fail take long, and get at most half of them."""
        if not self._healths.get(key, Health()).failures:
            return True
        failing = sum(1 for other in self._looked_at if self._healths.get(other, Health()).failures)
        return failing < self._context.tuning.static_threads // 2

    def _begin(self, host: Host, check: Check) -> None:
        context = self._context
        self._looked_at.add(host.key)
        look = self._scan if check is Check.SCAN else self._connect
        context.jobs.run(context.parts.probes, partial(look, host.settings), partial(self._ended, host))

    def _scan(self, settings: StaticNode) -> Findings:
        """Runs on the executor."""
        parts = self._context.parts
        address = parts.resolve(settings.name)
        if not settings.host_key_checking:
            return Findings(address=address)
        keys = parts.prober.host_keys(
            settings.name,
            settings.connection_port,
            connection_type=settings.connection_type,
            timeout=settings.timeout,
        )
        return Findings(keys=keys, address=address)

    def _connect(self, settings: StaticNode) -> None:
        """Runs on the executor."""
        if settings.host_key_checking:
            self._context.parts.prober.host_keys(
                settings.name,
                settings.connection_port,
                connection_type=_JUST_CONNECT,
                timeout=settings.timeout,
            )

    def _ended(self, host: Host, outcome: Outcome[Findings] | Outcome[None]) -> None:
        self._looked_at.discard(host.key)
        now = self._context.clock.monotonic()
        current = self.configured.get(host.key)
        if current is None or _looked_for(current.settings) != _looked_for(host.settings):
            return  # nobody wants to know any more
        before = self._healths.get(host.key, Health())
        if outcome.error is not None:
            after = static.unanswered(before, str(outcome.error), now=now)
        else:
            after = static.answered(before, current, outcome.value, now=now, tuning=self._context.tuning)
        self._healths[host.key] = after
        self._tell(current, before, after)

    def _tell(self, host: Host, before: Health, after: Health) -> None:
        """Log what has changed."""
        tuning, name = self._context.tuning, self._context.name
        if after.trouble is None and (before.trouble or before.findings is None):
            log.info("provider %s: host %s is up", name, host.told)
        elif after.trouble is not None and after.trouble != before.trouble:
            gone = "; its free nodes are deregistered" if static.is_down(after, tuning) else ""
            log.warning("provider %s: host %s is refused: %s%s", name, host.told, after.trouble, gone)
        elif static.is_down(after, tuning) and not static.is_down(before, tuning):
            log.warning(
                "provider %s: host %s stays away, its free nodes are deregistered: %s",
                name,
                host.told,
                after.trouble,
            )


def _looked_for(settings: StaticNode) -> tuple[object, ...]:
    """What of the settings decides what a look finds, and whether that is right."""
    return settings.host_key_checking, settings.host_keys, settings.connection_type
