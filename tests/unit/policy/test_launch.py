from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolmgr.model.server import FaultKind, Listing, Server, ServerStatus
from poolmgr.policy.launch import (
    Adopt,
    After,
    Create,
    Expose,
    Fail,
    LaunchFacts,
    Phase,
    Probe,
    Result,
    Step,
    Wait,
    after_failure,
    backoff,
    next_step,
    result_of_fault,
)
from tests.unit.policy.worlds import DEPLOYMENT, OTHER_DEPLOYMENT, TUNING, listing, server

NODE = "0000000007"
ACTIVE = server("s-1", ServerStatus.ACTIVE)


def facts(phase: Phase, **fields: Any) -> LaunchFacts:
    return LaunchFacts(node_id=NODE, phase=phase, server_id="s-1", **fields)


def step(about: LaunchFacts, seen: Listing[Server] | None = None, *, now: float = 100.0, **how: Any) -> Step:
    arguments = {
        "launch_timeout": 600.0,
        "boot_timeout": 60.0,
        "tuning": TUNING,
        "provider": "north",
        "deployment": DEPLOYMENT,
        **how,
    }
    return next_step(about, seen, now=now, **arguments)


def failure(said: Step) -> Result | None:
    return said.result if isinstance(said, Fail) else None


# Create


def test_a_new_launch_asks_for_its_server_when_its_pause_is_over():
    assert step(facts(Phase.NEW)) == Create()
    assert step(facts(Phase.NEW, not_before=130.0)) == Wait("backoff", 130.0)
    assert step(facts(Phase.NEW, not_before=100.0)) == Create()


def test_while_the_create_call_is_in_flight_nothing_is_done():
    assert step(facts(Phase.CREATING, busy=True)) == Wait("creating", 600.0)


def test_the_answer_of_the_create_call_is_waited_for_beyond_the_timeout():
    """Without it nobody knows what there is to clean up. And no wait that is over already: it would be repeated."""
    assert step(facts(Phase.CREATING, busy=True), now=700.0) == Wait("creating")


@pytest.mark.parametrize("phase", [p for p in Phase if p not in (Phase.CREATING, Phase.CLEANING)])
@pytest.mark.parametrize("busy", [True, False])
def test_an_attempt_ends_at_the_launch_timeout_whatever_it_does(phase, busy):
    assert (
        failure(step(facts(phase, attempt_since=50.0, busy=busy), listing(ACTIVE), now=650.0))
        is Result.TIMEOUT
    )
    assert (
        failure(step(facts(phase, attempt_since=51.0, busy=busy), listing(ACTIVE), now=650.0))
        is not Result.TIMEOUT
    )


def test_cleaning_up_has_no_timeout():
    assert step(facts(Phase.CLEANING), now=1e9) == Wait("cleaning")


def test_no_wait_goes_beyond_the_end_of_the_attempt():
    assert step(facts(Phase.NEW, not_before=5000.0)) == Wait("backoff", 600.0)
    assert step(facts(Phase.EXPOSING, busy=True)) == Wait("exposing", 600.0)
    assert step(facts(Phase.BOOTING), listing(server("s-1"))) == Wait("booting", 600.0)
    assert step(facts(Phase.PROBING, since=590.0, busy=True), now=595.0) == Wait("probing", 600.0)


# A create call that was never answered


def unknown(**fields: Any) -> LaunchFacts:
    return facts(Phase.UNKNOWN, since=100.0, attempt=2, **fields)


def found(**fields: Any) -> Server:
    return server("s-9", **{"node": NODE, "attempt": 2, **fields})


def test_the_server_of_an_unanswered_create_call_is_found_by_its_metadata():
    assert step(unknown(), listing(server(), found(), at=101.0), now=102.0) == Adopt(found())


@pytest.mark.parametrize(
    "other",
    [
        {"node": "0000000008"},
        {"attempt": 1},  # the one that was cleaned up before
        {"attempt": None},
        {"deployment": OTHER_DEPLOYMENT},  # has a node of the same id
        {"deployment": None},
        {"provider": None},
    ],
)
def test_no_other_server_is_taken_for_it(other):
    assert step(unknown(), listing(found(**other), at=101.0), now=102.0) == Wait(
        "unknown", 110.0, absence=True
    )


def test_without_a_server_in_a_late_listing_the_create_call_had_no_effect():
    said = step(unknown(), listing(at=110.0), now=111.0)
    assert isinstance(said, Fail)
    assert (said.result, said.charged) == (Result.UNKNOWN, False)  # the cloud failed, not the server


@pytest.mark.parametrize(
    ("seen", "now", "until"),
    [
        (None, 105.0, 110.0),
        (listing(at=99.0), 105.0, 110.0),  # from before the call
        (listing(at=109.0), 109.5, 110.0),  # too early: clouds list what they made some seconds later
        (listing(at=109.0), 111.0, 600.0),  # a listing is what it waits for, not a time
        (None, 300.0, 600.0),
    ],
)
def test_nothing_is_concluded_from_early_listings(seen, now, until):
    assert step(unknown(), seen, now=now) == Wait("unknown", until, absence=True)


def test_an_unanswered_create_call_is_never_sent_again():
    for now in range(100, 600, 7):
        for at in (None, 99.0, 105.0, float(now)):
            seen = None if at is None else listing(at=at)
            assert not isinstance(step(unknown(), seen, now=float(now)), Create)


# Boot


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (ServerStatus.BUILD, Wait("booting", 600.0)),
        (ServerStatus.UNKNOWN, Wait("booting", 600.0)),  # a cell is down: no information
        (ServerStatus.ACTIVE, Expose(ACTIVE)),
    ],
)
def test_a_server_boots_until_it_is_active(status, expected):
    assert step(facts(Phase.BOOTING), listing(server("s-1", status))) == expected


def test_a_fault_that_the_listing_does_not_tell_is_asked_for_once():
    silent = server("s-1", ServerStatus.ERROR)
    said = step(facts(Phase.BOOTING), listing(silent))
    assert isinstance(said, Fail)
    assert said.unexplained is silent
    assert step(facts(Phase.BOOTING, busy=True), listing(silent)) == Wait("fault", 600.0)


# The server of a launcher that is gone


def adopted(**fields: Any) -> LaunchFacts:
    return LaunchFacts(node_id=NODE, phase=Phase.UNKNOWN, since=100.0, adopted=True, **fields)


def test_an_adopted_launch_takes_the_newest_attempts_server_and_the_others_go():
    old, newest, unnumbered = (
        server(id_, node=NODE, attempt=attempt) for id_, attempt in (("s-8", 1), ("s-9", 3), ("s-7", None))
    )
    seen = listing(old, newest, unnumbered, at=90.0)
    assert step(adopted(), seen, now=101.0) == Adopt(newest, others=(old, unnumbered))


def test_a_server_that_nodepool_made_is_adopted_too():
    theirs = found(deployment=None, attempt=None)
    assert step(adopted(), listing(theirs, at=90.0), now=101.0) == Adopt(theirs)


@pytest.mark.parametrize(
    "other",
    [
        {"node": "0000000008"},
        {"deployment": OTHER_DEPLOYMENT},
        {"provider": "south"},
        {"status": ServerStatus.DELETED},
        {"status": ServerStatus.SOFT_DELETED},
    ],
)
def test_an_adopted_launch_takes_nothing_that_is_not_its_own(other):
    seen = listing(found(**other), at=101.0)
    assert step(adopted(), seen, now=102.0) == Wait("unknown", 120.0, absence=True)


@pytest.mark.parametrize(
    ("seen", "before", "said"),
    [
        (listing(at=120.0), listing(at=100.0), Create("no server came of it", attempt=101)),
        (listing(at=119.9), listing(at=100.0), Wait("unknown", 600.0, absence=True)),
        (listing(at=120.0), listing(at=99.9), Wait("unknown", 600.0, absence=True)),
        (listing(at=120.0), None, Wait("unknown", 600.0, absence=True)),
        (
            listing(at=120.0, complete=False, partial=True),
            listing(at=100.0),
            Wait("unknown", 600.0, absence=True),
        ),
        (listing(at=120.0), listing(at=100.0, complete=False), Wait("unknown", 600.0, absence=True)),
        (None, None, Wait("unknown", 600.0, absence=True)),
    ],
)
def test_a_create_call_is_sent_again_only_when_two_complete_listings_lack_its_server(seen, before, said):
    """The launcher that is gone may have sent one: the second listing began adoption_spacing later."""
    assert step(adopted(), seen, before=before, now=130.0) == said


def test_the_new_attempt_has_a_number_above_all_that_were_seen():
    gone = found(status=ServerStatus.DELETED, attempt=103)
    said = step(adopted(), listing(gone, at=120.0), before=listing(at=100.0), now=130.0)
    assert said == Create("no server came of it", attempt=201)


@pytest.mark.parametrize("phase", [Phase.BOOTING, Phase.UNKNOWN])
def test_a_partial_listing_shows_what_is_there_and_not_what_is_gone(phase):
    late = {"at": 99.0, "before": listing(at=98.0)}
    for partial in (False, True):
        seen = listing(at=late["at"], complete=not partial, partial=partial)
        said = step(facts(phase, since=1.0), seen, before=late["before"])
        assert (failure(said) is None) is partial
        if partial:
            assert isinstance(said, Wait)
            assert said.absence  # only a complete one helps now
    there = listing(server("s-1", ServerStatus.ACTIVE, node=NODE, attempt=1), complete=False, partial=True)
    assert isinstance(step(facts(phase), there), Expose | Adopt)


@pytest.mark.parametrize(
    ("status", "fields", "result"),
    [
        (ServerStatus.ERROR, {}, Result.STATUS),
        (ServerStatus.ERROR, {"fault": "No room.", "fault_kind": FaultKind.CAPACITY}, Result.CAPACITY),
        (ServerStatus.ERROR, {"fault": "Too many.", "fault_kind": FaultKind.QUOTA}, Result.QUOTA),
        (ServerStatus.DELETED, {}, Result.STATUS),
        (ServerStatus.SOFT_DELETED, {}, Result.STATUS),
        (ServerStatus.OTHER, {"status_text": "SHUTOFF"}, Result.STATUS),
    ],
)
def test_a_server_that_fails_ends_the_attempt(status, fields, result):
    said = step(facts(Phase.BOOTING), listing(server("s-1", status, **fields)))
    assert failure(said) is result
    assert isinstance(said, Fail)
    assert said.reason
    assert fields.get("status_text", "") in said.reason


def test_an_active_server_whose_address_was_not_there_is_asked_again_later():
    assert step(facts(Phase.BOOTING, not_before=105.0), listing(ACTIVE)) == Wait("address", 105.0)
    assert step(facts(Phase.BOOTING, not_before=99.0, busy=True), listing(ACTIVE)) == Wait("address", 600.0)


@pytest.mark.parametrize(
    ("seen", "before", "result"),
    [
        (None, None, None),
        (listing(at=69.0), None, None),  # young: may not be listed yet
        (listing(at=70.0), None, Result.STATUS),
        (listing(at=90.0), listing(at=80.0), Result.STATUS),
        (listing(at=90.0), listing(at=69.0), None),  # only one of them says something
        (listing(at=90.0), listing(server("s-1"), at=80.0), None),  # one look is no proof
    ],
)
def test_a_server_has_vanished_when_complete_listings_lack_it_though_it_is_not_young(seen, before, result):
    said = step(facts(Phase.BOOTING, since=10.0), seen, before=before)
    assert failure(said) is result
    assert result or said == Wait("unlisted", 600.0, absence=True)


# Reachability


def test_a_server_is_probed_until_it_answers_or_the_boot_timeout():
    assert step(facts(Phase.PROBING, since=90.0)) == Probe()
    assert step(facts(Phase.PROBING, since=90.0, not_before=100.5)) == Wait("unreachable", 100.5)
    assert step(facts(Phase.PROBING, since=90.0, busy=True)) == Wait("probing", 150.0)
    assert failure(step(facts(Phase.PROBING, since=40.0))) is Result.KEYSCAN
    assert failure(step(facts(Phase.PROBING, since=40.0, busy=True))) is Result.KEYSCAN


def test_the_boot_timeout_cuts_the_pause_between_probes():
    assert step(facts(Phase.PROBING, since=45.0, not_before=110.0)) == Wait("unreachable", 105.0)


def test_a_server_that_fails_while_it_is_probed_is_not_waited_for():
    seen = listing(server("s-1", ServerStatus.ERROR, fault="crashed"))
    assert step(facts(Phase.PROBING, since=90.0, busy=True), seen) == Fail(Result.STATUS, "crashed")
    assert step(facts(Phase.PROBING, since=90.0), listing(ACTIVE)) == Probe()
    assert step(facts(Phase.PROBING, since=90.0), listing()) == Probe()


# For all facts

times = st.floats(0, 2000, allow_nan=False)
statuses = st.sampled_from(ServerStatus)
servers = st.builds(
    server,
    st.sampled_from(["s-1", "s-2"]),
    statuses,
    node=st.sampled_from([NODE, "0000000008", None]),
    attempt=st.sampled_from([1, 2, None, "²"]),
    deployment=st.sampled_from([DEPLOYMENT, OTHER_DEPLOYMENT, None]),
    fault=st.text(max_size=10),
)
listings = st.none() | st.builds(lambda many, at: listing(*many, at=at), st.lists(servers, max_size=2), times)
every_facts = st.builds(
    LaunchFacts,
    node_id=st.just(NODE),
    phase=st.sampled_from(Phase),
    since=times,
    attempt=st.integers(1, 3),
    attempt_since=times,
    not_before=times,
    server_id=st.sampled_from([None, "", "s-1"]),
    busy=st.booleans(),
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    every_facts, listings, listings, times, st.sampled_from([0.0, 30.0, 3600.0]), st.sampled_from([0.0, 60.0])
)
def test_every_input_has_an_answer_and_no_wait_is_over_already(about, seen, before, now, launch, boot):
    said = next_step(
        about,
        seen,
        now=now,
        launch_timeout=launch,
        boot_timeout=boot,
        tuning=TUNING,
        provider="north",
        deployment=DEPLOYMENT,
        before=before,
    )
    match said:
        case Wait(reason, until, _):
            assert reason
            assert until > now  # else the worker would spin
        case Create():
            assert about.phase is Phase.NEW
            assert now >= about.not_before
        case Adopt(found_server):
            assert about.phase is Phase.UNKNOWN
            owner = found_server.owner
            assert owner
            assert (owner.node_id, owner.attempt, owner.deployment) == (NODE, about.attempt, DEPLOYMENT)
        case Expose(active):
            assert (about.phase, about.busy, active.status) == (Phase.BOOTING, False, ServerStatus.ACTIVE)
            assert active.id == about.server_id
        case Probe():
            assert (about.phase, about.busy) == (Phase.PROBING, False)
        case Fail(result, reason):
            assert reason
            assert about.phase is not Phase.CLEANING
            assert result is not Result.READY


# What a failure means


@pytest.mark.parametrize(
    ("kind", "result"),
    [
        (FaultKind.QUOTA, Result.QUOTA),
        (FaultKind.CAPACITY, Result.CAPACITY),
        (FaultKind.IMAGE, Result.IMAGE),
        (FaultKind.OTHER, Result.STATUS),
        (None, Result.STATUS),
    ],
)
def test_faults_say_whose_failure_it_is(kind, result):
    assert result_of_fault(kind) is result


@pytest.mark.parametrize(
    ("result", "attempt", "hopeless", "after"),
    [
        (Result.STATUS, 1, False, After.RETRY),
        (Result.STATUS, 2, False, After.RETRY),
        (Result.STATUS, 3, False, After.GIVE_UP),  # launch-retries 3: three attempts in total
        (Result.CAPACITY, 1, False, After.RETRY),
        (Result.UNKNOWN, 1, True, After.GIVE_UP),
        (Result.QUOTA, 1, False, After.ABORT),
        (Result.QUOTA, 99, False, After.ABORT),  # never charged
        (Result.IMAGE, 99, False, After.ABORT),
    ],
)
def test_what_follows_a_failed_attempt(result, attempt, hopeless, after):
    assert after_failure(result, attempt, retries=3, hopeless=hopeless) is after


@pytest.mark.parametrize("failed", [0, 2, 3, 99])
def test_an_attempt_that_does_not_count_never_uses_the_last_one_up(failed):
    assert after_failure(Result.UNKNOWN, failed, retries=3, charged=False) is After.RETRY


@pytest.mark.parametrize("retries", [1, 0, -5])
def test_there_is_always_one_attempt_and_with_one_no_second(retries):
    assert after_failure(Result.STATUS, 1, retries=retries) is After.GIVE_UP


@pytest.mark.parametrize(
    ("attempt", "pause"), [(1, 1.0), (2, 2.0), (3, 4.0), (6, 30.0), (5000, 30.0), (0, 1.0)]
)
def test_pauses_between_attempts_double_up_to_a_limit(attempt, pause):
    assert backoff(attempt, TUNING) == pause


def test_waits_without_a_time_are_for_ever():
    assert Wait("x").until == math.inf
