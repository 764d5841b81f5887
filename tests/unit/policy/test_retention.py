"""What goes and what stays, by tables, and what no table could list, by hypothesis."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolmgr.model.component import Component, ComponentKind, ComponentState
from poolmgr.model.image import BuildState, UploadState
from poolmgr.model.node import NodeState
from poolmgr.model.snapshot import Snapshot
from poolmgr.policy.image_tuning import ImageTuning
from poolmgr.policy.keeping import why_of
from poolmgr.policy.removals import Retention, RetentionFacts, Why
from poolmgr.policy.retention import late_until, retention, retention_of
from tests.unit.policy.image_worlds import (
    HOUR,
    ME,
    NOW,
    SHE,
    build,
    build_id,
    node_from,
    provider,
    settings,
    snapshot_of,
    upload,
)
from tests.unit.policy.worlds import pool

TUNING = ImageTuning(abandoned_after=120.0, lost_lock_grace=600.0, late_import=7200.0)
READY, FAILED, DELETING = UploadState.READY, UploadState.FAILED, UploadState.DELETING
UPLOADING = UploadState.UPLOADING


def facts(**more):
    return RetentionFacts(builder_id=ME, image_formats={"north": "qcow2", "south": "qcow2"}, **more)


def ask(*records, of=None, now=NOW, **more) -> Retention:
    snapshot = records[0] if isinstance(records[0], Snapshot) else snapshot_of(*records)
    return retention(snapshot, of or settings(), facts(**more), TUNING, now)


def removed(answer: Retention) -> dict[tuple[int, str, int], Why]:
    """Why by (build, provider, upload), of those whose record goes."""
    return {
        (int(one.upload.build, 16), one.upload.provider, int(one.upload.id)): one.why
        for one in answer.uploads
        if not one.keep_record
    }


def dropped(answer: Retention) -> dict[int, Why]:
    return {int(one.build.id, 16): one.why for one in answer.drops}


def forgotten(answer: Retention) -> list[int]:
    return [int(one.build.id, 16) for one in answer.forgets]


def waits(answer: Retention) -> set[str]:
    return {one.reason for one in answer.waiting}


# Surplus


def test_an_empty_store_means_nothing_at_all():
    assert ask(Snapshot(), files={("img", build_id(1)): ("qcow2",)}) == Retention()


def test_two_builds_and_their_uploads_stay():
    answer = ask(*(build(n) for n in (1, 2, 3, 4)), *(upload(n) for n in (1, 2, 3, 4)))
    assert removed(answer) == {(1, "north", 1): Why.SURPLUS, (2, "north", 1): Why.SURPLUS}
    assert dropped(answer) == {1: Why.SURPLUS, 2: Why.SURPLUS}
    assert answer.forgets == ()


def test_how_many_stay_is_said_by_the_settings():
    records = [*(build(n) for n in (1, 2, 3, 4)), *(upload(n) for n in (1, 2, 3, 4))]
    answer = ask(*records, of=settings(keep_builds=3, keep_uploads=1))
    assert removed(answer) == dict.fromkeys([(1, "north", 1), (2, "north", 1), (3, "north", 1)], Why.SURPLUS)
    assert dropped(answer) == {1: Why.SURPLUS}


def test_uploads_are_kept_by_provider_and_with_them_their_builds():
    """The newest to the south is of an old build: builds after it could not be uploaded there."""
    answer = ask(*(build(n) for n in (1, 2, 3, 4)), *(upload(n) for n in (3, 4)), upload(1, "south"))
    assert removed(answer) == {}
    assert dropped(answer) == {2: Why.SURPLUS}


def test_the_upload_of_the_newest_build_stays_though_others_ended_later():
    late = upload(1, number=2, state_time=NOW)
    answer = ask(build(1), build(2), late, upload(2), of=settings(keep_uploads=1))
    assert removed(answer) == {}


def test_an_upload_without_an_image_serves_nobody():
    answer = ask(build(2), upload(2, number=2, external_id=None), upload(2), of=settings(keep_uploads=1))
    assert removed(answer) == {(2, "north", 2): Why.SURPLUS}


def test_surplus_waits_as_long_as_any_node_names_it():
    old = upload(1)
    records = [*(build(n) for n in (1, 2, 3)), old, upload(2), upload(3)]
    for state in NodeState:
        answer = ask(*records, node_from(old, state))
        assert removed(answer) == {}
        assert [(one.path, one.reason) for one in answer.waiting] == [(old.path, "in-use")]
        assert dropped(answer) == {1: Why.SURPLUS}  # its files are of no use to the nodes
    assert removed(ask(*records)) == {(1, "north", 1): Why.SURPLUS}


def test_a_build_with_an_upload_going_on_stays():
    busy = upload(1, "south", UPLOADING)
    records = [build(1), build(2), build(3), busy]
    assert dropped(ask(*records, busy_uploads={busy.path})) == {}
    assert dropped(ask(*records)) == {1: Why.SURPLUS}


def test_an_image_that_is_not_in_the_settings_is_left_alone():
    records = [
        *(build(n) for n in (1, 2, 3)),
        *(upload(n) for n in (1, 2, 3)),
        build(4, BuildState.FAILED),
        build(5, BuildState.BUILDING),
        upload(1, "south", UPLOADING),
        upload(1, "south", FAILED, number=2, external_id="x"),
    ]
    assert (
        ask(*records, of=settings({"north": []}, images=[]), files={("img", build_id(1)): ["raw"]})
        == Retention()
    )


def test_times_from_the_future_are_not_believed_but_what_launchers_boot_from_stays():
    """They go by the time in the record."""
    ahead = NOW + 1e6
    records = [build(1, state_time=ahead), build(2), build(3), build(4)]
    answer = ask(*records, upload(1, state_time=ahead), upload(2), upload(3), upload(4))
    assert removed(answer) == {(2, "north", 1): Why.SURPLUS}
    assert dropped(answer) == {2: Why.SURPLUS}
    hers = build(1, BuildState.DELETING, builder_id=SHE, state_time=ahead)
    assert forgotten(ask(hers)) == [1]
    cut = upload(1, state=FAILED, method="tasks", started=ahead)
    assert late_until(cut, TUNING, NOW) is None


# Orders


@pytest.mark.parametrize("known", [True, False])
def test_what_a_person_ordered_goes_whatever_it_is(known):
    config = settings() if known else settings({"north": [], "south": []}, images=[])
    newest = upload(2, state=DELETING, external_id="a")
    answer = ask(build(1), build(2), upload(1), newest, of=config)
    assert removed(answer) == {(2, "north", 1): Why.ORDERED}
    assert answer.drops == ()
    answer = ask(build(1), build(2, BuildState.DELETING), upload(1), upload(2), upload(2, "south"), of=config)
    assert removed(answer) == {(2, "north", 1): Why.ORDERED, (2, "south", 1): Why.ORDERED}
    assert answer.forgets == ()
    assert forgotten(ask(build(2, BuildState.DELETING), of=config)) == [2]


@pytest.mark.parametrize("state", list(NodeState))
def test_an_order_waits_only_for_nodes_that_are_booting(state):
    doomed = upload(2, state=DELETING, external_id="a")
    answer = ask(build(2), doomed, node_from(doomed, state))
    if state in (NodeState.INIT, NodeState.BUILDING):
        assert (removed(answer), waits(answer)) == ({}, {"in-use"})
    else:
        assert removed(answer) == {(2, "north", 1): Why.ORDERED}


@pytest.mark.parametrize(
    ("reason", "why"),
    [
        (None, Why.ORDERED),
        ("by root@host: boots into a panic", Why.ORDERED),
        ("surplus", Why.SURPLUS),
        ("surplus: in use by 2 servers", Why.SURPLUS),
        ("not-listed", Why.NOT_LISTED),
        ("abandoned", Why.ABANDONED),
        ("failed: 503", Why.FAILED),
        ("ordered: 409", Why.ORDERED),
        ("surplus images are bad", Why.ORDERED),
    ],
)
def test_the_reason_says_who_wanted_it(reason, why):
    assert why_of(upload(1, state=DELETING, reason=reason)) is why
    assert why_of(build(1, BuildState.DELETING, reason=reason)) is why


def test_what_was_marked_surplus_is_finished_though_it_would_stay_now():
    marked = upload(2, state=DELETING, reason="surplus: in use by 1 server", external_id="a")
    assert removed(ask(build(2), marked)) == {(2, "north", 1): Why.SURPLUS}
    assert removed(ask(build(2), marked, node_from(marked))) == {}


def test_a_build_marked_surplus_does_not_take_an_upload_that_serves_again():
    """The newer upload was withdrawn after the build had been marked."""
    answer = ask(build(1, BuildState.DELETING, reason="surplus"), build(2), build(3), upload(1))
    assert (removed(answer), answer.forgets) == ({}, ())
    ordered = ask(build(1, BuildState.DELETING), build(2), build(3), upload(1))
    assert removed(ordered) == {(1, "north", 1): Why.ORDERED}


# Providers


def test_a_provider_that_lists_the_image_no_more_loses_it_to_the_last():
    records = [build(1), build(2), upload(1), upload(2), upload(2, "south")]
    answer = ask(*records, of=settings({"north": [], "south": ["img"]}))
    assert removed(answer) == {(1, "north", 1): Why.NOT_LISTED, (2, "north", 1): Why.NOT_LISTED}
    in_use = ask(*records, node_from(records[3]), of=settings({"north": [], "south": ["img"]}))
    assert removed(in_use) == {(1, "north", 1): Why.NOT_LISTED}


ONLY_SOUTH = {"south": ["img"]}


def test_a_provider_that_is_not_configured_is_left_alone_with_builds_that_stay():
    records = [build(1), build(2), upload(1, cloud="c"), upload(2, cloud="c")]
    answer = ask(*records, of=settings(ONLY_SOUTH), unserved_since={"north": NOW - HOUR})
    assert answer == Retention()


def test_a_provider_that_is_gone_loses_what_nobody_needs():
    records = [*(build(n) for n in (1, 2, 3)), upload(1, cloud="c"), upload(3, "south")]
    gone = {"north": NOW - HOUR}
    answer = ask(*records, of=settings(ONLY_SOUTH), unserved_since=gone)
    assert removed(answer) == {(1, "north", 1): Why.SURPLUS}
    assert dropped(answer) == {1: Why.SURPLUS}
    served = ask(*records, pool("p", ["small"]), of=settings(ONLY_SOUTH), unserved_since=gone)
    assert served == Retention()
    for since in ({}, {"north": NOW - 599.0}):
        fresh = ask(*records, of=settings(ONLY_SOUTH), unserved_since=since)
        assert (removed(fresh), dropped(fresh), waits(fresh)) == ({}, {}, {"provider-unserved"})


def test_a_cloud_that_no_record_names_is_waited_for():
    records = [build(1), build(2), build(3), upload(1)]
    answer = ask(*records, of=settings(ONLY_SOUTH), unserved_since={"north": NOW - HOUR})
    assert (removed(answer), waits(answer)) == ({}, {"provider-unknown"})
    nothing_there = upload(1, state=DELETING)
    assert removed(ask(build(1), nothing_there, of=settings(ONLY_SOUTH))) == {(1, "north", 1): Why.ORDERED}


# Uploads that were cut off, and that failed


def here(number: int, *formats: str):
    return {"files": {("img", build_id(number)): formats or ("qcow2",)}}


def test_an_upload_that_was_cut_off_is_left_to_the_upload_workers_while_they_take_it_up():
    cut = upload(2, state=UPLOADING)
    assert ask(build(1), build(2), cut, **here(2)).uploads == ()
    gone = {(2, "north", 1): Why.ABANDONED}
    assert removed(ask(build(2), cut)) == gone  # no file
    assert removed(ask(build(2), cut, **here(2, "raw"))) == gone
    assert removed(ask(build(2), replace(cut, format="raw"), **here(2, "raw", "qcow2"))) == gone
    assert removed(ask(build(2), build(3), cut, **here(2))) == gone  # there is a newer build
    assert removed(ask(build(2), cut, upload(2, number=2), **here(2))) == gone  # somebody else has done it
    assert removed(ask(build(2), cut, upload(2, number=2, state=UPLOADING), **here(2))) == gone
    assert removed(ask(build(2, withdrawn=("north",)), cut, **here(2))) == gone
    paused = replace(settings(), providers={"north": provider("north", ["img"], pause=True)})
    assert removed(ask(build(2), cut, of=paused, **here(2))) == gone


def test_an_upload_that_goes_on_is_not_cut_off():
    going = upload(1, state=UPLOADING)
    snapshot = snapshot_of(build(1), going)
    assert ask(snapshot, busy_uploads={going.path}) == Retention()
    snapshot.put_upload_contender("img", build_id(1), "north", "she-1")
    assert ask(snapshot) == Retention()
    assert removed(ask(snapshot, holding=going.path)) == {(1, "north", 1): Why.ABANDONED}
    assert ask(snapshot, holding=going.path, busy_uploads={going.path}).uploads == ()


@pytest.mark.parametrize(("alive", "grace"), [(True, 600.0), (False, 120.0)])
def test_another_builder_s_upload_is_given_time_to_be_taken_up(alive, grace):
    hers = upload(2, state=UPLOADING, builder_id=SHE, builder="nb2.example.org")
    state = ComponentState.RUNNING if alive else ComponentState.STOPPED
    her = Component(kind=ComponentKind.BUILDER, znode="c", hostname="nb2", state=state)
    since = {hers.path: NOW - grace + 1}
    early = ask(build(2), hers, her, free_since=since)
    assert (removed(early), waits(early)) == ({}, {"uploading"})
    assert early.waiting[0].until == NOW + 1
    assert removed(ask(build(2), hers, her, free_since=since, now=NOW + 1)) == {
        (2, "north", 1): Why.ABANDONED
    }
    assert removed(ask(build(2), hers, her)) == {}


def test_a_failure_stays_to_be_told_without_what_it_left_in_the_cloud():
    clean = upload(2, state=FAILED)
    assert ask(build(2), clean) == Retention()
    dirty = upload(2, state=FAILED, external_id="half", method="put")
    (act,) = ask(build(2), dirty).uploads
    assert (act.upload, act.why, act.keep_record, act.late_until) == (dirty, Why.FAILED, True, None)
    assert ask(build(2), upload(2, state=FAILED, staged="images/x", started=NOW)).uploads[0].keep_record


@pytest.mark.parametrize(
    ("follower", "goes"),
    [
        (upload(2, number=2), True),  # the next try went well
        (upload(2, number=2, state_time=0.0), True),  # another builder's did
        (upload(2, number=2, state=FAILED), True),  # this is the last failure now
        (upload(2, number=2, state=UPLOADING), False),  # not over
        (upload(3), True),  # a newer build is there
        (upload(1), False),
        (upload(2, "south"), False),
        (upload(3, state=FAILED), False),
    ],
)
def test_a_failure_is_told_until_something_follows_it(follower, goes):
    answer = ask(build(1), build(2), build(3), upload(2, state=FAILED), follower, of=settings(keep_builds=3))
    assert removed(answer).get((2, "north", 1)) == (Why.FAILED if goes else None)


def test_a_failure_goes_with_its_build():
    answer = ask(*(build(n) for n in (1, 2, 3)), upload(1, state=FAILED))
    assert removed(answer) == {(1, "north", 1): Why.FAILED}
    assert dropped(answer) == {1: Why.SURPLUS}


@pytest.mark.parametrize(
    ("more", "until"),
    [
        ({"method": "tasks"}, 7200.0),
        ({"staged": "images/x"}, 7200.0),
        ({"method": "tasks", "external_id": "a"}, None),  # the import has ended
        ({"method": "import"}, None),  # its image had a name before
        ({}, None),
    ],
)
def test_an_import_by_task_may_still_end(more, until):
    cut = upload(2, state=FAILED, started=NOW, **more)
    assert late_until(cut, TUNING, NOW + 7199.0) == (until and NOW + until)
    assert late_until(cut, TUNING, NOW + 7200.0) is None
    if until:
        answer = ask(build(2), cut)
        assert [(one.keep_record, one.late_until) for one in answer.uploads] == [(True, NOW + until)]
        doomed = replace(cut, state=DELETING)
        assert [one.late_until for one in ask(build(2), doomed).uploads] == [NOW + until]
    over = replace(cut, staged=None, external_id=None)
    assert ask(build(2), over, now=NOW + 7200.0).uploads == ()


# Builds that failed, and that were cut off


def test_a_failed_build_is_told_until_something_follows_it():
    failed = build(2, BuildState.FAILED)
    assert dropped(ask(build(1), failed)) == {}
    assert dropped(ask(failed, build(3, BuildState.BUILDING), busy_builds={("img", build_id(3))})) == {}
    assert dropped(ask(failed, build(3))) == {2: Why.FAILED}
    assert dropped(ask(failed, build(3, BuildState.FAILED))) == {2: Why.FAILED}


def test_a_build_of_ours_that_nobody_works_on_is_abandoned_at_once():
    cut = build(2, BuildState.BUILDING)
    assert dropped(ask(cut)) == {2: Why.ABANDONED}
    assert dropped(ask(cut, busy_builds={("img", build_id(2))})) == {}
    snapshot = snapshot_of(cut)
    snapshot.put_build_contender("img", "x")
    assert ask(snapshot) == Retention()
    assert dropped(ask(snapshot, holding="img")) == {2: Why.ABANDONED}


@pytest.mark.parametrize(("alive", "grace"), [(True, 600.0), (False, 120.0)])
def test_another_builder_s_build_is_given_time(alive, grace):
    """After a lost session it takes the lock again by itself: a good build of hours is not thrown away."""
    hers = build(2, BuildState.BUILDING, builder_id=SHE, builder="nb2.example.org")
    her = [Component(kind=ComponentKind.BUILDER, znode="c", hostname="nb2")] if alive else []
    since = {hers.name: NOW - grace + 1}
    early = ask(hers, *her, free_since=since)
    assert (dropped(early), [(one.reason, one.until) for one in early.waiting]) == (
        {},
        [("building", NOW + 1)],
    )
    assert dropped(ask(hers, *her, free_since=since, now=NOW + 1)) == {2: Why.ABANDONED}


def test_another_builder_is_given_time_to_let_go_of_its_files():
    """It may be down for maintenance, and would take the store for a wrong one."""
    hers = build(2, BuildState.DELETING, builder_id=SHE, state_time=NOW - 86399.0)
    early = ask(hers)
    assert (forgotten(early), waits(early)) == ([], {"its-builder"})
    assert forgotten(ask(hers, now=NOW + 1)) == [2]
    assert forgotten(ask(hers, of=replace(settings(), image_orphan_grace=86399.0))) == [2]
    for builder in (None, ME, ME + "\n"):
        assert forgotten(ask(replace(hers, builder_id=builder))) == [2]
    assert forgotten(ask(replace(hers, builder_id=ME), busy_builds={("img", build_id(2))})) == []


def test_records_that_make_no_sense_are_the_end_of_guesses():
    snapshot = snapshot_of(
        build(2), build(1, BuildState.DELETING), upload(2, state=UPLOADING), upload(9, state=FAILED, number=3)
    )
    snapshot.put_unreadable_image("img", "somewhere")
    answer = ask(snapshot)
    assert (answer.uploads, answer.drops, answer.forgets, answer.files) == ((), (), (), ())


# Files that go once they are uploaded


def files_dropped(*records, providers=None, here=("qcow2", "raw", "vhd"), of=None, **image):
    image = {"delete_after_upload": True, **image}
    config = of or settings(providers or {"north": ["img"], "south": ["img"]}, **image)
    formats = {"north": "qcow2", "south": "raw"}
    asked = RetentionFacts(builder_id=ME, image_formats=formats, files={("img", build_id(1)): here})
    answer = retention(snapshot_of(*records), config, asked, TUNING, NOW)
    return {(one.build, one.image_format) for one in answer.files}


def test_files_go_when_no_provider_lacks_them():
    b = build_id(1)
    assert files_dropped(build(1)) == set()  # nothing is uploaded yet
    assert files_dropped(build(1), upload(1)) == {(b, "qcow2"), (b, "vhd")}
    both = [build(1), upload(1), upload(1, "south")]
    assert files_dropped(*both) == {(b, "qcow2"), (b, "raw"), (b, "vhd")}
    assert files_dropped(*both, keep_formats=("qcow2",)) == {(b, "raw"), (b, "vhd")}
    assert files_dropped(*both, delete_after_upload=False) == set()
    assert files_dropped(*both, here=()) == set()


@pytest.mark.parametrize("state", [UPLOADING, FAILED])
def test_files_stay_while_they_are_sent(state):
    going = [build(1), upload(1), upload(1, "south", state)]
    expected = set() if state is UPLOADING else {(build_id(1), "qcow2"), (build_id(1), "vhd")}
    assert files_dropped(*going) == expected


def test_files_stay_for_a_provider_whose_format_is_not_known():
    records = [build(1), upload(1), upload(1, "south")]
    assert files_dropped(*records, providers={"north": ["img"], "far": ["img"]}) == set()


def test_a_withdrawn_upload_needs_no_file():
    """Else nobody uploads it again, and the file stays for good (builder.md 11, 4)."""
    b = build_id(1)
    rest = {(b, "qcow2"), (b, "raw"), (b, "vhd")}
    assert files_dropped(build(1, withdrawn=("south",)), upload(1)) == rest
    assert files_dropped(build(1), upload(1), upload(1, "south", DELETING)) == rest
    surplus = upload(1, "south", DELETING, reason="surplus")
    assert files_dropped(build(1), upload(1), surplus) == rest - {(b, "raw")}


def test_one_image_is_asked_about_as_all_are():
    records = [*(build(n) for n in (1, 2, 3)), *(upload(n) for n in (1, 2, 3)), build(1, image="other")]
    snapshot = snapshot_of(*records)
    assert retention_of(snapshot, settings(), facts(), TUNING, NOW, "img") == ask(snapshot)


# Whatever the records are

numbers = st.integers(1, 6)
providers = st.sampled_from(["north", "south", "gone"])
reasons = st.sampled_from([None, "surplus", "abandoned", "by root"])
builds_drawn = st.lists(
    st.builds(
        build,
        numbers,
        st.sampled_from(BuildState),
        image=st.sampled_from(["img", "strange"]),
        builder_id=st.sampled_from([ME, SHE]),
        reason=reasons,
    )
)
uploads_drawn = st.lists(
    st.builds(
        upload,
        numbers,
        providers,
        st.sampled_from(UploadState),
        number=st.integers(1, 3),
        image=st.sampled_from(["img", "strange"]),
        builder_id=st.sampled_from([ME, SHE]),
        reason=reasons,
        cloud=st.just("cloud"),
    )
)
nodes_drawn = st.one_of(st.none(), st.tuples(st.integers(0, 5), st.sampled_from(NodeState)))


def drawn(builds, uploads, node) -> Snapshot:
    snapshot = snapshot_of(*builds, *uploads)
    if node is not None and uploads:
        snapshot.put_node(node_from(uploads[node[0] % len(uploads)], node[1]))
    return snapshot


@given(builds_drawn, uploads_drawn, nodes_drawn)
def test_what_serves_is_not_removed_unless_a_person_or_the_list_says_so(builds, uploads, node):
    snapshot = drawn(builds, uploads, node)
    serving = {
        newest.path
        for name in ("north", "south")
        if (newest := snapshot.newest_upload("img", name)) is not None
        and not (
            (of := snapshot.build("img", newest.build))
            and of.state is BuildState.DELETING
            and why_of(of) is Why.ORDERED
        )
    }
    assert serving.isdisjoint(one.upload.path for one in ask(snapshot).uploads)


@given(builds_drawn, uploads_drawn, nodes_drawn)
def test_images_not_in_the_settings_lose_only_what_was_being_deleted(builds, uploads, node):
    answer = ask(drawn(builds, uploads, node))
    for one in answer.uploads:
        if one.upload.image == "strange":
            of = next((b for b in builds[::-1] if (b.image, b.id) == ("strange", one.upload.build)), None)
            ordered = of is not None and of.state is BuildState.DELETING and why_of(of) is Why.ORDERED
            assert ordered or one.upload.state is DELETING
    assert "strange" not in {one.build.image for one in answer.drops}
    assert all(one.build.state is BuildState.DELETING for one in answer.forgets)


@given(builds_drawn, uploads_drawn)
def test_what_was_ordered_comes_to_its_end_and_so_does_everything(builds, uploads):
    """Obey until there is nothing to do: few passes, no order left, and nothing that was kept is missed later."""
    snapshot, now = drawn(builds, uploads, None), NOW
    for _ in range(8):
        answer = ask(snapshot, now=now, unserved_since={"gone": 0.0}, free_since=ALWAYS_FREE)
        if not (answer.uploads or answer.drops or answer.forgets):
            break
        obey(snapshot, answer, now)
        now += 100_000.0
    assert (answer.uploads, answer.drops, answer.forgets) == ((), (), ())
    assert not [u for u in snapshot.uploads() if u.state is DELETING and why_of(u) is Why.ORDERED]
    assert not [b for b in snapshot.builds() if b.state is BuildState.DELETING and why_of(b) is Why.ORDERED]


class Always(dict):
    """Everybody's locks have been free since the beginning."""

    def get(self, key, default=None):
        return 0.0


ALWAYS_FREE = Always()


def obey(snapshot: Snapshot, answer: Retention, now: float) -> None:
    for one in answer.uploads:
        if one.keep_record:
            snapshot.put_upload(replace(one.upload, external_id=None, staged=None))
        else:
            snapshot.drop_upload(one.upload.path)
    for drop in answer.drops:
        marked = replace(drop.build, state=BuildState.DELETING, reason=drop.why.value, state_time=now)
        snapshot.put_build(marked)
    for forget in answer.forgets:
        snapshot.drop_build(forget.build.image, forget.build.id)
