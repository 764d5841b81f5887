"""Which leftovers are those of trials of ours that are over."""

from __future__ import annotations

import pytest

from poolmgr.model.server import LIBRARY, FloatingIp, Owner, Port, Server, ServerStatus, Volume
from poolmgr.model.trial import TrialMark
from poolmgr.policy.leftovers import GRACE, Leftovers
from poolmgr.policy.trials import left_by_trials

NOW = 1_700_000_000.0
OVER = TrialMark(deployment="d-1", until=int(NOW - GRACE - 1), call="c").owner("north")
UNDER_WAY = TrialMark(deployment="d-1", until=int(NOW - GRACE + 1), call="c").owner("north")
FOREIGN = TrialMark(deployment="d-2", until=7, call="c").owner("north")


def left_of(owner: Owner | None) -> Leftovers:
    metadata = owner.metadata() if owner else {}
    return Leftovers(
        servers=(Server(id="s", name="s", status=ServerStatus.ACTIVE, metadata=metadata),),
        floating_ips=(FloatingIp(id="f", address="192.0.2.1", port_id=None, owner=owner),),
        ports=(Port(id="p", device_id="", owner=owner),),
        volumes=(Volume(id="v", owner=owner),),
    )


def test_all_kinds_of_things_of_a_trial_that_is_over():
    found = left_of(OVER)
    assert left_by_trials(found, provider="north", deployment="d-1", now=NOW) == found


@pytest.mark.parametrize(
    "owner",
    [UNDER_WAY, FOREIGN, None, Owner(provider="north", node_id="call-1", deployment=LIBRARY)],
)
def test_what_is_under_way_or_somebody_elses_is_not_among_them(owner):
    assert not left_by_trials(left_of(owner), provider="north", deployment="d-1", now=NOW)


def test_nor_what_another_provider_of_ours_tries():
    assert not left_by_trials(left_of(OVER), provider="south", deployment="d-1", now=NOW)
