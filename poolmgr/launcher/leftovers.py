"""What is left of a node when its servers are gone: ports, floating IPs, volumes. Deleted until no listing shows it.

Some clouds accept a deletion and do nothing, or take their time. So a deletion counts for nothing; only a listing that
began after it does, and what it still shows is looked at and deleted again, after growing pauses.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Generic, TypeVar

from poolmgr.launcher.jobs import Jobs, Outcome
from poolmgr.launcher.listings import SharedListing
from poolmgr.model.server import Listing
from poolmgr.policy.growth import doubling
from poolmgr.policy.tuning import Tuning
from poolmgr.runtime.clock import Clock
from poolmgr.runtime.executor import Executor

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Kind(Generic[T]):
    """One kind of thing. `left` names those that are left and says whether the state of each allows its deletion."""

    name: str
    listing: SharedListing[T]
    left: Callable[[Listing[T]], Mapping[str, bool]]
    delete: Callable[[str], None]
    force: Callable[[str], None] | None = None  # deletes what nothing else helps with, if `may_force` says so
    may_force: Callable[[T], bool] = lambda _: False


@dataclass(frozen=True, kw_only=True, slots=True)
class _Trial:
    """The deletions of one thing so far. Monotonic seconds."""

    tries: int = 0
    forbidden_since: float | None = None  # its state has not allowed a deletion
    not_before: float = 0.0
    busy: bool = False


class Leftovers(Generic[T]):
    """The leftovers of one kind of one node."""

    def __init__(
        self,
        kind: Kind[T],
        *,
        whose: str,
        through: Callable[[str, str, str, Callable[[], None], str], None],
        jobs: Jobs,
        executor: Executor,
        clock: Clock,
        tuning: Tuning,
    ) -> None:
        """`whose`: for the log.

        `through(kind, id, name, call, how)` makes the call that deletes, and raises instead when the caller has lost
        the right to. `how`: what is special about it, or "".
        """
        self._kind = kind
        self._whose = whose
        self._through = through
        self._jobs = jobs
        self._executor = executor
        self._clock = clock
        self._tuning = tuning
        self._after = 0.0  # a listing must begin at or after this
        self._look_at = 0.0
        self._looks = 0
        self._judged: Listing[T] | None = None
        self._left: Mapping[str, bool] = {}
        self._trials: dict[str, _Trial] = {}

    def __str__(self) -> str:
        """What is known to be left, for messages; "" if nothing is."""
        return f"{self._kind.name} {', '.join(sorted(self._left))}" if self._left else ""

    def advance(self, absent_at: float, now: float) -> float | None:
        """Delete what is left; None when nothing is, else when to look again (monotonic seconds).

        `absent_at`: when the servers were found to be gone.
        """
        self._after = max(self._after, absent_at)
        if any(trial.busy for trial in self._trials.values()):
            return float("inf")
        if now < self._look_at:
            return self._look_at
        listing = self._kind.listing.since(self._after)
        if listing is None:
            return float("inf")
        if listing is not self._judged:
            self._judge(listing, now)
        if not self._left:
            return None
        due = [one for one in self._left if self._is_due(one, now)]
        for thing in due:
            self._delete(thing, self._by_force(thing, now))
        if due:
            return float("inf")
        tuning = self._tuning
        self._look_at = self._after = now + doubling(
            tuning.leftover_look, self._looks, tuning.leftover_look_max
        )
        self._looks += 1
        return self._look_at

    def _trial(self, thing: str) -> _Trial:
        return self._trials.get(thing, _Trial())

    def _judge(self, listing: Listing[T], now: float) -> None:
        self._judged, self._left = listing, self._kind.left(listing)
        for thing, allowed in self._left.items():
            trial = self._trial(thing)
            since = None if allowed else now if trial.forbidden_since is None else trial.forbidden_since
            self._trials[thing] = replace(trial, forbidden_since=since)

    def _is_due(self, thing: str, now: float) -> bool:
        allowed = self._left[thing] or bool(self._by_force(thing, now))
        return allowed and self._trial(thing).not_before <= now

    def _by_force(self, thing: str, now: float) -> str:
        """Why `thing` should be deleted by force; "" if it should not."""
        trial, tuning = self._trial(thing), self._tuning
        item = self._judged.items.get(thing) if self._judged else None
        if self._kind.force is None or item is None or not self._kind.may_force(item):
            return ""
        if trial.forbidden_since is not None:
            long = now - trial.forbidden_since
            return (
                f"by force after {long:.0f} s in a state that forbids it otherwise"
                if long >= tuning.force_patience
                else ""
            )
        if trial.tries < tuning.leftover_tries:
            return ""
        return f"by force after {trial.tries} deletions without effect"

    def _delete(self, thing: str, force: str) -> None:
        trial = self._trial(thing)
        kind = self._kind.name
        call = self._kind.force if force and self._kind.force is not None else self._kind.delete
        if force:
            log.warning("%s %s of %s is still there: it is deleted %s", kind, thing, self._whose, force)
        elif trial.tries == self._tuning.leftover_tries:
            log.warning(
                "%s %s of %s is still there after %d deletions", kind, thing, self._whose, trial.tries
            )
        else:
            log.info("deleting %s %s of %s", kind, thing, self._whose)
        self._trials[thing] = replace(trial, busy=True)

        def job() -> None:
            name = kind.replace(" ", "-").lower()
            self._through(name, thing, "", partial(call, thing), force)

        self._jobs.run(self._executor, job, lambda outcome: self._deleted(thing, outcome))

    def _deleted(self, thing: str, outcome: Outcome[None]) -> None:
        """The listing that comes next decides."""
        now, tuning = self._clock.monotonic(), self._tuning
        trial = self._trial(thing)
        tries = trial.tries + 1
        pause = doubling(tuning.leftover_retry, tries - 1, tuning.delete_reissue_max)
        self._trials[thing] = replace(trial, tries=tries, not_before=now + pause, busy=False)
        self._after = self._look_at = now
        if outcome.error is not None:
            log.warning("cannot delete %s %s: %s", self._kind.name, thing, outcome.error)
