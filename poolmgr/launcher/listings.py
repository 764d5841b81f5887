"""Listings that everyone on a worker shares: made only when someone wants one, and never two at a time."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Generic, TypeVar

from poolmgr.launcher.jobs import Jobs, Outcome
from poolmgr.model.server import Listing
from poolmgr.policy.polling import PollFacts, next_poll
from poolmgr.policy.tuning import Tuning
from poolmgr.runtime.clock import Clock
from poolmgr.runtime.executor import Executor

log = logging.getLogger(__name__)
T = TypeVar("T")


class SharedListing(Generic[T]):
    """The newest listings of one kind of thing.

    `last` is the newest of all and tells the state of what it holds; it may be partial, and then what it lacks may
    still be there. `whole` is the newest complete one and `whole_before` the one before it: they prove absence.
    Each is None before the first.
    """

    def __init__(
        self,
        name: str,
        fetch: Callable[[], Listing[T]],
        jobs: Jobs,
        executor: Executor,
        clock: Clock,
        tuning: Tuning,
        *,
        fetch_states: Callable[[], Listing[T]] | None = None,
    ) -> None:
        """`fetch_states` may answer with a partial listing, where that is cheaper."""
        self._name = name
        self._fetch = fetch
        self._fetch_states = fetch_states or fetch
        self._jobs = jobs
        self._executor = executor
        self._clock = clock
        self._tuning = tuning
        self._facts = PollFacts()
        self._in_flight = False
        self._wanted_after: float | None = None  # a complete one
        self._states_after: float | None = None  # any
        self.last: Listing[T] | None = None
        self.whole: Listing[T] | None = None
        self.whole_before: Listing[T] | None = None

    @property
    def failures(self) -> int:
        """How many attempts in a row have failed."""
        return self._facts.failures

    def want(self, after: float) -> None:
        """Someone waits for a complete listing that begins at or after `after` (monotonic seconds)."""
        self._wanted_after = after if self._wanted_after is None else max(after, self._wanted_after)

    def want_states(self, after: float) -> None:
        """The same for a listing that may be partial: it is not to prove that anything is gone."""
        self._states_after = after if self._states_after is None else max(after, self._states_after)

    def since(self, after: float) -> Listing[T] | None:
        """The newest complete listing if it began at or after `after`; otherwise wants one and returns None."""
        if self.whole is not None and self.whole.started_at >= after:
            return self.whole
        self.want(after)
        return None

    def poll(self, rate: float) -> float:
        """Begin a listing if one is due; returns when to ask again (monotonic seconds)."""
        if self._in_flight:
            return float("inf")
        states_do = self._wanted_after is None and self._states_after is not None
        wanted = states_do or self._wanted_after is not None
        due = next_poll(self._facts, wanted=wanted, rate=rate, tuning=self._tuning)
        now = self._clock.monotonic()
        if now < due:
            return due
        self._in_flight = True
        self._jobs.run(self._executor, self._fetch_states if states_do else self._fetch, self._done)
        return float("inf")

    def poll_if_wanted(self, rate: float) -> float:
        """The same, but never without someone waiting."""
        return self.poll(rate) if self._wanted_after is not None else float("inf")

    def _done(self, outcome: Outcome[Listing[T]]) -> None:
        self._in_flight = False
        now = self._clock.monotonic()
        listing = outcome.value
        if listing is None or not (listing.complete or listing.partial):
            failures = self._facts.failures + 1
            if failures == 1:  # one line per outage, not one per attempt
                log.warning("listing %s failed: %s", self._name, outcome.error or "a page is missing")
            self._facts = replace(self._facts, last_end=now, failures=failures)
            return
        if self._facts.failures:
            log.info("listing %s works again", self._name)
        self._facts = PollFacts(last_end=now, last_duration=listing.finished_at - listing.started_at)
        self._take(listing)

    def _take(self, listing: Listing[T]) -> None:
        self.last = listing
        if self._states_after is not None and listing.started_at >= self._states_after:
            self._states_after = None
        if not listing.complete:
            return
        self.whole_before, self.whole = self.whole, listing
        if self._wanted_after is not None and listing.started_at >= self._wanted_after:
            self._wanted_after = None


class Round:
    """A look at everything there is, again and again: it waits for complete listings that begin when it is due."""

    def __init__(self, *listings: SharedListing[Any]) -> None:
        self._listings = listings
        self._next = 0.0
        self._since: float | None = None  # of the one that waits for its listings

    def ready(self, now: float, interval: float) -> bool:
        """Whether one was due and all its listings are there, as their `whole`; the next is due `interval` later."""
        if self._since is None:
            if now < self._next:
                return False
            self._since, self._next = now, now + interval
        since = self._since
        there = [listing.since(since) for listing in self._listings]  # each of them is wanted
        if None in there:
            return False
        self._since = None
        return True

    @property
    def next(self) -> float:
        """When to ask again (monotonic seconds); the arrival of a listing wakes the worker."""
        return self._next if self._since is None else float("inf")
