"""The gate before every deletion that no record explains: leaks of all kinds, and nodes that have lost their server.

Whoever finds such things proposes them, with the proof, look after look. All that is there after one sweep interval is
judged together, by `policy.fuse`; what is held back is told in the provider's status, and looked for again all the
time, so a restart or another owner finds the same.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from poolmgr.launcher.context import Context
from poolmgr.model.fleet import ReclaimApproval
from poolmgr.policy import fuse
from poolmgr.policy.growth import doubling
from poolmgr.policy.leaks import Evidence

log = logging.getLogger(__name__)

#: What is held back counts as gone when it was not there for so many sweeps: after a moment without the store all
#: proofs begin anew.
_ABSENT_SWEEPS = 5
#: Kind and id of a thing.
Key = tuple[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Suspect:
    """`act(why)` looks at the record again, past the cache, and deletes the thing if it is still nobody's."""

    evidence: Evidence
    act: Callable[[str], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Past:
    """When a thing was deleted first, how often since, and when it may be again. Monotonic seconds."""

    at: float
    tries: int
    not_before: float
    approved: bool


class Reclaim:
    """That of one worker."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._proposed: dict[str, Mapping[str, Suspect]] = {}  # by kind, then id
        self._blind = False
        self._past: dict[Key, _Past] = {}
        self._judge_at: float | None = None  # None: nothing is proposed
        told = context.tenure.status  # what a former owner held back waits for an operator still
        self._held: Mapping[str, int] = told.held_back
        self._held_since = told.held_since
        self._seen_at = context.clock.monotonic()  # when there was something to hold back

    def propose(self, kind: str, suspects: Mapping[str, Suspect], *, blind: bool | None = None) -> None:
        """These, and no others of the kind, are proved to be nobody's now. `blind`: see `leaks.sees_nothing`."""
        self._proposed[kind] = suspects
        if blind is not None:
            self._blind = blind

    def judge(self, now: float) -> float:
        """Delete or hold back what is proposed, if it is time to; returns when to look again (monotonic seconds)."""
        interval = self._context.tuning.sweep_interval
        found = self._found(now)
        if not found and not self._held:
            self._judge_at = None
            self._drop_lapsed()
            return float("inf")
        if self._judge_at is None:
            self._judge_at = now + interval  # by then all kinds were looked at
        if now < self._judge_at and not (self._held and self._approval() is not None):
            return self._judge_at
        self._judge_at = now + interval
        self._decide(now, found)
        return self._judge_at

    def _found(self, now: float) -> dict[Key, Suspect]:
        session = self._context.session
        past = self._past
        return {
            (kind, one): suspect
            for kind, suspects in self._proposed.items()
            for one, suspect in suspects.items()
            if suspect.evidence.holds(session)
            and ((kind, one) not in past or past[kind, one].not_before <= now)
        }

    def _decide(self, now: float, found: Mapping[Key, Suspect]) -> None:
        context = self._context
        self._past = {
            key: past
            for key, past in self._past.items()
            if now - past.at < fuse.WINDOW or key[1] in self._proposed.get(key[0], {})
        }
        # What was deleted before and is still there was judged then.
        new = [key for key in found if key not in self._past]
        if new:
            self._seen_at = now
        elif self._held and now - self._seen_at < _ABSENT_SWEEPS * context.tuning.sweep_interval:
            self._delete(found, now, fuse.Why.HELD)  # those that went before, and are still there
            return
        recent = sum(now - past.at < fuse.WINDOW and not past.approved for past in self._past.values())
        with context.store.reading() as snapshot:
            nodes = len(snapshot.nodes_of(context.name))
        allowed = fuse.limit(context.config.provider.reclaim_fuse, nodes)
        approval = self._approval()
        verdict = fuse.judge(
            len(new),
            recent=recent,
            allowed=allowed,
            held=bool(self._held),
            blind=self._blind,
            approval=approval,
            now=context.clock.time(),
        )
        if verdict.spends and approval is not None:
            lock = context.tenure.lock
            if not context.store.use_approval(approval, lock) and verdict.why is fuse.Why.APPROVED:
                return  # somebody else used it, or it was replaced: look again
        if not verdict.go:
            self._hold(new, verdict.why, allowed, recent)
            found = {key: one for key, one in found.items() if key in self._past}
        else:
            self._release(verdict.why, len(new))
        self._delete(found, now, verdict.why)

    def _delete(self, found: Mapping[Key, Suspect], now: float, why: fuse.Why) -> None:
        tuning = self._context.tuning
        fresh = _Past(at=now, tries=0, not_before=now, approved=why is fuse.Why.APPROVED)
        for key, suspect in found.items():
            past = self._past.get(key, fresh)
            pause = doubling(tuning.sweep_interval, past.tries, tuning.delete_reissue_max)
            self._past[key] = replace(past, tries=past.tries + 1, not_before=now + pause)
            suspect.act(why.value)

    def _hold(self, new: list[Key], why: fuse.Why, allowed: int, recent: int) -> None:
        context = self._context
        held = dict(sorted(Counter(kind for kind, _ in new).items()))
        kinds = ", ".join(f"{count} {kind}" for kind, count in held.items())
        if not self._held:
            self._held_since = context.clock.time()
            log.error(
                "%s: %d deletions that no record explains are held back (%s): %s; reclaim-fuse is %d, %d were made "
                "lately. Is that the right ZooKeeper, and the right project? See `poolmgr reclaim`",
                context.name,
                len(new),
                why.value,
                kinds,
                allowed,
                recent,
            )
        elif why is fuse.Why.BEYOND:
            log.error("%s: there is more than was approved, held back again: %s", context.name, kinds)
        self._held = held
        context.status.set(held_back=held, held_since=self._held_since)
        line = f"{kinds} held back by reclaim-fuse: see `poolmgr reclaim`"
        context.status.alarm("reclaim", line)

    def _release(self, why: fuse.Why, count: int) -> None:
        if not self._held:
            return
        log.warning("%s: what was held back goes on: %d deletions (%s)", self._context.name, count, why.value)
        self._held, self._held_since = {}, None
        self._context.status.set(held_back={}, held_since=None)
        self._context.status.alarm("reclaim", None)

    def _approval(self) -> ReclaimApproval | None:
        with self._context.store.reading() as snapshot:
            return snapshot.approval(self._context.name)

    def _drop_lapsed(self) -> None:
        """An approval that nothing came of is not to wait for another day."""
        approval = self._approval()
        if approval is not None:
            verdict = fuse.judge(
                0,
                recent=0,
                allowed=0,
                held=False,
                blind=False,
                approval=approval,
                now=self._context.clock.time(),
            )
            if verdict.spends:
                self._context.store.use_approval(approval, self._context.tenure.lock)
