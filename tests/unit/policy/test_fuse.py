from __future__ import annotations

import pytest

from poolmgr.model.fleet import ReclaimApproval
from poolmgr.policy.fuse import APPROVAL_LIFE, Why, judge, limit


@pytest.mark.parametrize(
    ("setting", "nodes", "allowed"),
    [(None, 0, 10), (None, 50, 10), (None, 54, 10), (None, 60, 12), (None, 500, 100), (3, 500, 3), (0, 5, 0)],
)
def test_the_limit_is_as_configured_or_ten_or_a_fifth(setting, nodes, allowed):
    assert limit(setting, nodes) == allowed


NOW = 10_000.0


def approval(up_to: int, *, age: float = 10.0) -> ReclaimApproval:
    return ReclaimApproval(provider="north", at=NOW - age, up_to=up_to)


@pytest.mark.parametrize(
    ("found", "facts", "go", "why", "spends"),
    [
        (0, {}, True, Why.FEW, False),
        (10, {}, True, Why.FEW, False),
        (11, {}, False, Why.MANY, False),
        (1, {"allowed": 0}, False, Why.MANY, False),
        (5, {"recent": 5}, True, Why.FEW, False),
        (5, {"recent": 6}, False, Why.MANY, False),  # a trickle counts too
        (2, {"blind": True}, False, Why.BLIND, False),
        (1, {"held": True}, False, Why.HELD, False),  # few are left of what was held
        (0, {"held": True}, True, Why.FEW, False),  # nothing is
        (11, {"held": True, "approval": approval(11)}, True, Why.APPROVED, True),
        (10, {"held": True, "approval": approval(11)}, True, Why.APPROVED, True),
        (12, {"held": True, "approval": approval(11)}, False, Why.BEYOND, True),
        (11, {"blind": True, "approval": approval(11)}, True, Why.APPROVED, True),
        # After a restart nothing is held yet, and the approval is there already.
        (11, {"approval": approval(11)}, True, Why.APPROVED, True),
        (12, {"approval": approval(11)}, False, Why.MANY, False),
        (0, {"approval": approval(11)}, True, Why.FEW, False),
        # Given for something that is long gone.
        (0, {"approval": approval(11, age=APPROVAL_LIFE + 1)}, True, Why.FEW, True),
        (11, {"approval": approval(11, age=APPROVAL_LIFE + 1)}, False, Why.MANY, True),
        (11, {"held": True, "approval": approval(11, age=-APPROVAL_LIFE - 1)}, False, Why.HELD, True),
    ],
)
def test_what_may_be_deleted_without_asking(found, facts, go, why, spends):
    facts = {"recent": 0, "allowed": 10, "held": False, "blind": False, "approval": None, "now": NOW} | facts
    verdict = judge(found, **facts)
    assert (verdict.go, verdict.why, verdict.spends) == (go, why, spends)
