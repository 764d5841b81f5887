"""Listings that everyone on a worker shares: made only when someone wants one, and never two at a time."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Generic, TypeVar

from poolmgr.launcher.jobs import Jobs, Outcome
from poolmgr.model.server import Listing
from poolmgr.policy.polling import PollFacts, next_poll
from poolmgr.policy.tuning import Tuning
from poolmgr.runtime.clock import Clock
from poolmgr.runtime.executor import Executor

log = logging.getLogger(__name__)
T = TypeVar("T")


class SharedListing(Generic[T]):
    """The newest complete listing of one kind of thing.

    `last` is None before the first, `previous` (the one before `last`) before the second.
    """

    def __init__(
        self,
        name: str,
        fetch: Callable[[], Listing[T]],
        jobs: Jobs,
        executor: Executor,
        clock: Clock,
        tuning: Tuning,
    ) -> None:
        self._name = name
        self._fetch = fetch
        self._jobs = jobs
        self._executor = executor
        self._clock = clock
        self._tuning = tuning
        self._facts = PollFacts()
        self._in_flight = False
        self._wanted_after: float | None = None
        self.last: Listing[T] | None = None
        self.previous: Listing[T] | None = None

    @property
    def failures(self) -> int:
        """How many attempts in a row have failed."""
        return self._facts.failures

    def want(self, after: float) -> None:
        """Someone waits for a listing that begins at or after `after` (monotonic seconds)."""
        if self._wanted_after is None or after > self._wanted_after:
            self._wanted_after = after

    def since(self, after: float) -> Listing[T] | None:
        """The last listing if it began at or after `after`; otherwise wants one and returns None."""
        if self.last is not None and self.last.started_at >= after:
            return self.last
        self.want(after)
        return None

    def poll(self, rate: float) -> float:
        """Begin a listing if one is due; returns when to ask again (monotonic seconds)."""
        if self._in_flight:
            return float("inf")
        due = next_poll(self._facts, wanted=self._wanted_after is not None, rate=rate, tuning=self._tuning)
        now = self._clock.monotonic()
        if now < due:
            return due
        self._in_flight = True
        self._jobs.run(self._executor, self._fetch, self._done)
        return float("inf")

    def poll_if_wanted(self, rate: float) -> float:
        """The same, but never without someone waiting."""
        return self.poll(rate) if self._wanted_after is not None else float("inf")

    def _done(self, outcome: Outcome[Listing[T]]) -> None:
        self._in_flight = False
        now = self._clock.monotonic()
        listing = outcome.value
        if listing is None or not listing.complete:
            failures = self._facts.failures + 1
            if failures == 1:  # one line per outage, not one per attempt
                log.warning("listing %s failed: %s", self._name, outcome.error or "a page is missing")
            self._facts = replace(self._facts, last_end=now, failures=failures)
            return
        if self._facts.failures:
            log.info("listing %s works again", self._name)
        self._facts = PollFacts(last_end=now, last_duration=listing.finished_at - listing.started_at)
        self.previous, self.last = self.last, listing
        if self._wanted_after is not None and listing.started_at >= self._wanted_after:
            self._wanted_after = None
