"""How much may be deleted without being asked for: a safety fuse before all deletions that no record explains.

A single leak is everyday life. Many at once are more likely our own error: the wrong ZooKeeper, a lost one, a list of
the wrong project. So what is found within one sweep is judged together, all kinds of it, along with what has gone in
the last hour; above the limit none of it goes, and all of it waits until an operator has looked at it. Once something
is held it stays so, however few are left of it.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from poolmgr.model.fleet import ReclaimApproval

#: Deletions in a sweep that are nothing special.
USUAL = 10
#: The share of a provider's nodes that is nothing special either.
SHARE = 0.2
#: Seconds for which what was deleted counts.
WINDOW = 3600.0
#: Seconds after which an approval that found nothing to approve lapses.
APPROVAL_LIFE = 3600.0


class Why(enum.Enum):
    """The reason goes into the log and the ledger."""

    FEW = "below-fuse"
    APPROVED = "approved"
    MANY = "fuse"
    BLIND = "nothing-listed"  # not one server of ours is listed
    HELD = "held"  # it waits for an operator
    BEYOND = "more-than-approved"


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """Whether what was found may go. `spends`: the approval counts for this, or has lapsed: use it up first."""

    go: bool
    why: Why
    spends: bool = False


def limit(setting: int | None, nodes: int) -> int:
    """Deletions that need nobody's leave. `setting`: `reclaim-fuse`, None: by the number of the provider's nodes."""
    return max(USUAL, int(nodes * SHARE)) if setting is None else setting


def judge(
    found: int,
    *,
    recent: int,
    allowed: int,
    held: bool,
    blind: bool,
    approval: ReclaimApproval | None,
    now: float,
) -> Verdict:
    """Whether `found` things may be deleted now.

    `recent`: others that were within WINDOW without approval. `held`: things have been held since an earlier sweep.
    `blind`: see `leaks.sees_nothing`. `now`: epoch seconds.
    """
    if not found:
        return Verdict(go=True, why=Why.FEW, spends=_lapsed(approval, now))
    if approval is not None and not _lapsed(approval, now):
        enough = found <= approval.up_to
        if enough:
            return Verdict(go=True, why=Why.APPROVED, spends=True)
        if held:  # what was approved is not what is there
            return Verdict(go=False, why=Why.BEYOND, spends=True)
    lapsed = _lapsed(approval, now)
    if held:
        return Verdict(go=False, why=Why.HELD, spends=lapsed)
    if blind:
        return Verdict(go=False, why=Why.BLIND, spends=lapsed)
    if found + recent > allowed:
        return Verdict(go=False, why=Why.MANY, spends=lapsed)
    return Verdict(go=True, why=Why.FEW, spends=lapsed)


def _lapsed(approval: ReclaimApproval | None, now: float) -> bool:
    return approval is not None and abs(now - approval.at) > APPROVAL_LIFE
