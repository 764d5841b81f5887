"""When to make the next listing of a cloud, so that one list serves everyone who waits (cloud.md 3.8)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from poolmgr.policy.growth import doubling
from poolmgr.policy.tuning import Tuning


@dataclass(frozen=True, kw_only=True, slots=True)
class PollFacts:
    """The listing's history. Monotonic seconds."""

    last_end: float | None = None  # None: never listed
    last_duration: float = 0.0
    failures: int = 0  # in a row


def patience(durations: Sequence[float], tuning: Tuning) -> float:
    """Seconds in which a change that lately took `durations` is not worth looking for: less than any of them took.

    Without enough of them 0: look at once.
    """
    if len(durations) < tuning.patience_samples:
        return 0.0
    return min(tuning.patience_max, tuning.patience_share * min(durations))


def slackening(waited: float, tuning: Tuning) -> float:
    """Seconds to leave between looks at something that has been waited for so long: it seems to be stuck."""
    return min(tuning.stuck_look_max, max(0.0, waited - tuning.stuck_after) * tuning.stuck_share)


def next_poll(facts: PollFacts, *, wanted: bool, rate: float, tuning: Tuning) -> float:
    """The earliest time for the next listing. `wanted`: something waits for one; `rate`: seconds per API call."""
    if facts.last_end is None:
        return 0.0
    if facts.failures:
        return facts.last_end + doubling(tuning.poll_min, facts.failures, tuning.poll_backoff_max)
    if not wanted:
        return facts.last_end + tuning.poll_idle
    pause = max(
        tuning.poll_min, tuning.poll_per_duration * facts.last_duration, tuning.poll_per_duration * rate
    )
    return facts.last_end + min(tuning.poll_max, pause)
