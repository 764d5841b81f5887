"""Marks of trials, there and back; what is none."""

from __future__ import annotations

import pytest

from poolmgr.model.server import LIBRARY, Owner, owner_of_metadata, owner_of_tag
from poolmgr.model.trial import TrialMark, trial_of

MARK = TrialMark(deployment="a" * 32, until=1_700_000_000, call="c" * 32)


@pytest.mark.parametrize("deployment", ["a" * 32, "d-1", "with.dots"])
def test_a_trial_is_read_from_metadata_and_tags_as_it_was_written(deployment):
    mark = TrialMark(deployment=deployment, until=7, call="c")
    owner = mark.owner("north:1")
    assert trial_of(owner_of_metadata(owner.metadata())) == mark
    assert trial_of(owner_of_tag(owner.tag())) == mark


def test_the_mark_fits_into_a_tag():
    assert len(MARK.owner("p" * 100).tag()) <= 255


@pytest.mark.parametrize(
    "owner",
    [
        None,
        Owner(provider="north", node_id="call-1", deployment=LIBRARY),
        Owner(provider="north", node_id="trial.d-1.7", deployment=LIBRARY),
        Owner(provider="north", node_id="trial.d-1.soon.c", deployment=LIBRARY),
        Owner(provider="north", node_id="trial.d-1.\u00b2.c", deployment=LIBRARY),
        Owner(provider="north", node_id="other.d-1.7.c", deployment=LIBRARY),
        Owner(provider="north", node_id=MARK.owner("north").node_id, deployment="d-1"),
        Owner(provider="north", node_id="0000000007"),
    ],
)
def test_other_owners_name_no_trial(owner):
    assert trial_of(owner) is None
