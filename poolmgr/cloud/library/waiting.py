"""Lists that all threads of one connection share: whoever waits for something waits for the same ones (cloud.md 3.8).

There is no thread behind it. The first who wants a list that is not there yet makes it, after the pause that lists
keep; everyone who asked before it began gets that one too.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Generic, TypeVar

from poolmgr.errors import CloudUnavailable
from poolmgr.model.server import Listing
from poolmgr.policy.polling import PollFacts, next_poll
from poolmgr.policy.tuning import Tuning
from poolmgr.runtime.clock import Clock

log = logging.getLogger(__name__)
T = TypeVar("T")


class SharedList(Generic[T]):
    """The newest complete list of one kind of thing, `kind` for messages. `closed` ends every pause."""

    def __init__(
        self,
        kind: str,
        fetch: Callable[[], Listing[T]],
        clock: Clock,
        tuning: Tuning,
        closed: threading.Event,
    ) -> None:
        self._kind = kind
        self._fetch = fetch
        self._clock = clock
        self._tuning = tuning
        self._closed = closed
        self._turn = threading.Lock()  # held by whoever makes the next list
        self._facts = PollFacts()
        self._begun = 0  # how many lists
        self._number = 0  # of the last complete one
        self._last: Listing[T] | None = None

    @property
    def last(self) -> Listing[T] | None:
        """The newest complete one, however old; None before the first."""
        return self._last

    def fresh(self, *, deadline: float = math.inf) -> Listing[T]:
        """A complete list that begins after this call.

        Raises CloudUnavailable when there is none by `deadline` (monotonic seconds; a list under way then is waited
        for), and at once whatever else `fetch` raises.
        """
        before = self._begun
        with self._turn:
            while self._last is None or self._number <= before:
                self._make(deadline)
            return self._last

    def next(self, seen: Listing[T] | None, *, deadline: float = math.inf) -> Listing[T]:
        """As `fresh`, or one that came since `seen`, which is one of these."""
        newest = self._last
        return self.fresh(deadline=deadline) if seen is None or newest is None or newest is seen else newest

    def _make(self, deadline: float) -> None:
        """Keep the pause, and try once."""
        due = next_poll(self._facts, wanted=True, rate=0.0, tuning=self._tuning)
        self._clock.wait(self._closed, min(due, deadline) - self._clock.monotonic())
        if self._closed.is_set():
            raise CloudUnavailable(f"the connection was closed while {self._kind} were listed")
        trouble = "a page is missing"
        self._begun += 1
        try:
            listing = self._fetch()
        except CloudUnavailable as error:
            listing, trouble = None, str(error)
        now = self._clock.monotonic()
        if listing is not None and listing.complete:
            self._facts = PollFacts(last_end=now, last_duration=listing.finished_at - listing.started_at)
            self._last, self._number = listing, self._begun
            return
        self._facts = replace(self._facts, last_end=now, failures=self._facts.failures + 1)
        if now >= deadline:
            raise CloudUnavailable(f"{self._kind} cannot be listed: {trouble}")
        log.info("%s cannot be listed, trying again: %s", self._kind, trouble)
