from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolmgr.config.settings import OpenStackProvider, ProviderImage, Settings
from poolmgr.model.image import Build, BuildState, ImageOrder, Order, Upload, UploadState
from poolmgr.model.snapshot import Snapshot
from poolmgr.policy.image_tuning import ImageTuning
from poolmgr.policy.removals import Why
from poolmgr.policy.uploads import (
    AUTOMATIC,
    LocalFiles,
    NoUpload,
    UploadDue,
    UploadRest,
    upload_of,
    uploads_due,
)
from tests.unit.policy.image_worlds import ME, NOW, SHE, at, build, build_id, provider, snapshot_of, upload

TUNING = ImageTuning(retry_first=60.0, clock_skew=300.0)
READY, UPLOADING, FAILED, DELETING = (
    UploadState.READY,
    UploadState.UPLOADING,
    UploadState.FAILED,
    UploadState.DELETING,
)
NORTH = provider("north", ["img"])
SETTINGS = Settings(image_retry_max=1000.0)
NEWEST = build(99)


def here(*numbers: int, formats: tuple[str, ...] = ("qcow2",)) -> LocalFiles:
    return {("img", build_id(number)): formats for number in numbers}


def ask(
    *records: Build | Upload,
    files: LocalFiles | None = None,
    locked: bool = False,
    holding: bool = False,
    to: OpenStackProvider = NORTH,
    image_format: str = "qcow2",
    now: float = NOW,
    snapshot: Snapshot | None = None,
) -> UploadDue | NoUpload:
    """What is answered for `img`; unless given, the file of build 99 is here."""
    world = snapshot or snapshot_of(*records)
    if locked:
        world.put_upload_contender("img", NEWEST.id, "north", "somebody")
    local = here(99) if files is None else files
    return upload_of(world, SETTINGS, to, "img", image_format, local, TUNING, now, holding_lock=holding)


# Which build


def test_the_newest_ready_build_is_uploaded():
    answer = ask(build(98), NEWEST, build(100, BuildState.BUILDING), build(97, BuildState.DELETING))
    assert answer == UploadDue(image="img", build=NEWEST, image_format="qcow2")


def test_only_the_newest_is_and_only_where_its_file_is():
    hers = build(99, builder_id=SHE, builder="b2.example.org")
    answer = ask(build(98), hers, files=here(98))
    assert answer.rest is UploadRest.NO_FILE
    assert answer.detail == f"{hers.name}.qcow2 is not here; b2.example.org built it"
    assert ask(hers).build == hers  # but whoever built it


@pytest.mark.parametrize(
    ("records", "files", "rest"),
    [
        ([], {}, UploadRest.NO_BUILD),
        ([build(99, BuildState.FAILED)], here(99), UploadRest.NO_BUILD),
        ([NEWEST], {}, UploadRest.NO_FILE),
        ([NEWEST], here(99, formats=("raw",)), UploadRest.NO_FILE),  # gone by delete-after-upload
        ([NEWEST], {("other", NEWEST.id): ("qcow2",)}, UploadRest.NO_FILE),
        ([build(99, formats="raw")], here(99), UploadRest.NO_FORMAT),
        ([build(99, formats=None)], here(99), UploadRest.NO_FORMAT),
        ([NEWEST, upload(99)], here(99), UploadRest.UPLOADED),
        ([NEWEST, upload(99)], {}, UploadRest.UPLOADED),
        ([NEWEST, upload(99), upload(99, state=FAILED, number=2)], here(99), UploadRest.UPLOADED),
    ],
)
def test_why_nothing_is_uploaded(records, files, rest):
    answer = ask(*records, files=files)
    assert (answer.rest, answer.until) == (rest, None)


def test_other_builds_and_other_providers_do_not_matter():
    elsewhere = [upload(99, "south"), upload(98), upload(99, "south", FAILED, failures=9, number=2)]
    assert ask(NEWEST, build(98), *elsewhere) == UploadDue(image="img", build=NEWEST, image_format="qcow2")


def test_a_pause_of_the_provider_holds_uploads_and_one_by_command_does_not():
    assert ask(NEWEST, to=provider("north", ["img"], pause=True)).rest is UploadRest.PAUSED
    assert ask(NEWEST, to=provider("north", [])).rest is UploadRest.PAUSED
    paused = snapshot_of(NEWEST)
    paused.put_order(ImageOrder(image="img", kind=Order.PAUSE))
    assert isinstance(ask(snapshot=paused), UploadDue)


def test_a_build_from_the_future_is_not_the_newest_for_ever():
    ahead = build(1, state_time=NOW + 1e9)
    assert ask(ahead, NEWEST).build == NEWEST
    assert ask(ahead, files=here(1)).build == ahead  # better than none


def test_a_record_that_is_ready_and_names_no_image_serves_nobody():
    assert isinstance(ask(NEWEST, upload(99, external_id=None)), UploadDue)


# Withdrawn


def test_the_words_of_builders_are_those_of_retention():
    assert {why.value for why in Why} - {Why.ORDERED.value} == AUTOMATIC


@pytest.mark.parametrize(
    ("reason", "rest"),
    [
        ("by ann@desk", UploadRest.WITHDRAWN),
        ("by ann@desk: boots no more", UploadRest.WITHDRAWN),
        (None, UploadRest.WITHDRAWN),  # by the reference's tools
        ("ordered", UploadRest.WITHDRAWN),
        *((word, None) for word in sorted(AUTOMATIC)),
        ("surplus: in use by 2 servers", None),
    ],
)
def test_what_a_person_deleted_does_not_come_back(reason, rest):
    answer = ask(NEWEST, upload(99, state=DELETING, reason=reason))
    assert getattr(answer, "rest", None) is rest


def test_what_was_withdrawn_stays_so_when_its_record_is_gone():
    withdrawn = build(99, withdrawn=("north",))
    answer = ask(withdrawn, build(98))
    assert answer.rest is UploadRest.WITHDRAWN
    assert withdrawn.name in answer.detail
    assert isinstance(ask(build(99, withdrawn=("south",))), UploadDue)
    assert isinstance(ask(withdrawn, build(100), files=here(100)), UploadDue)  # a newer build


def test_an_upload_that_is_left_of_several_counts_before_the_one_that_was_deleted():
    both = [upload(99), upload(99, state=DELETING, number=2)]
    assert ask(NEWEST, *both).rest is UploadRest.UPLOADED


# Who is at it, and what was cut off


CUT_OFF = upload(99, state=UPLOADING, external_id="half", failures=2, builder_id=SHE, started=at(99))


@pytest.mark.parametrize("records", [[], [CUT_OFF], [upload(99, state=FAILED)]])
def test_a_locked_upload_is_left_to_who_has_it(records):
    assert ask(NEWEST, *records, locked=True).rest is UploadRest.UPLOADING


def test_who_holds_the_lock_is_asked_everything_else_again():
    assert isinstance(ask(NEWEST, locked=True, holding=True), UploadDue)
    assert ask(NEWEST, CUT_OFF, locked=True, holding=True).resume == CUT_OFF
    assert ask(NEWEST, upload(99), locked=True, holding=True).rest is UploadRest.UPLOADED


def test_what_was_cut_off_goes_on_with_its_record():
    assert ask(NEWEST, CUT_OFF).resume == CUT_OFF
    later = upload(99, state=UPLOADING, number=2)
    assert ask(NEWEST, later, CUT_OFF).resume == later
    assert ask(NEWEST, CUT_OFF, files={}).rest is UploadRest.NO_FILE


def test_what_was_cut_off_goes_on_at_once_and_keeps_the_count_of_failures():
    failed = upload(99, state=FAILED, failures=2, started=at(99), state_time=NOW - 1)
    answer = ask(NEWEST, failed, upload(99, state=UPLOADING, number=2))
    assert (answer.resume.id, answer.failures) == ("0000000002", 2)


def test_an_attempt_in_another_format_is_not_gone_on_with():
    both = build(99, formats="qcow2,raw")
    answer = ask(both, CUT_OFF, image_format="raw", files=here(99, formats=("raw", "qcow2")))
    assert answer == UploadDue(image="img", build=both, image_format="raw")


# Failures


def failed(number: int, failures: int | None = None, **more: object) -> Upload:
    """Attempt `number`, one minute after the one before; of nodepool-builder unless `failures` are given."""
    if failures is not None:
        more = {"failures": failures, "started": at(99), **more}
    return upload(99, state=FAILED, number=number, **more)


@pytest.mark.parametrize(
    ("records", "count", "wait"),
    [
        ([failed(1, 1)], 1, 60),
        ([failed(1, 1), failed(2, 2)], 2, 120),
        ([failed(5, 5)], 5, 960),
        ([failed(6, 6)], 6, 1000),
        ([failed(1), failed(2), failed(3)], 3, 240),
        ([failed(1), failed(2, 1)], 1, 60),
    ],
)
def test_failures_double_the_wait_up_to_the_setting(records, count, wait):
    last = max(u.state_time for u in records)
    answer = ask(NEWEST, *records, now=last + wait - 1)
    assert (answer.rest, answer.until) == (UploadRest.BACKOFF, last + wait)
    assert answer.detail == f"{count} failed in a row"
    assert ask(NEWEST, *records, now=last + wait).failures == count


def test_the_reason_is_told_and_a_new_build_has_no_failures():
    words = failed(1, 1, reason="the hook said no")
    assert ask(NEWEST, words, now=words.state_time).detail == "1 failed in a row: the hook said no"
    assert ask(NEWEST, build(100), failed(1, 9), files=here(100)).failures == 0


def test_a_failure_from_the_future_holds_nothing():
    assert isinstance(ask(NEWEST, failed(1, 5, state_time=NOW + 1e9, started=NOW + 1e9)), UploadDue)


# Records that make no sense


@pytest.mark.parametrize(
    ("path", "rest"),
    [
        (f"{NEWEST.id}/providers/north/images/0000000001", UploadRest.UNREADABLE),
        (f"{NEWEST.id}/providers/north-2/images/0000000001", None),
        (f"{build_id(98)}/providers/north/images/0000000001", None),
        (build_id(98), None),
    ],
)
def test_an_unreadable_record_holds_what_it_may_be_about(path, rest):
    snapshot = snapshot_of(NEWEST)
    snapshot.put_unreadable_image("img", f"/nodepool/images/img/builds/{path}")
    answer = ask(snapshot=snapshot)
    assert getattr(answer, "rest", None) is rest
    if rest:
        assert path in answer.detail


def test_without_a_readable_build_that_is_the_reason():
    snapshot = snapshot_of()
    snapshot.put_unreadable_image("img", f"/nodepool/images/img/builds/{NEWEST.id}")
    assert ask(snapshot=snapshot).rest is UploadRest.UNREADABLE


# All images of a provider


def test_images_are_answered_in_the_order_of_the_file():
    to = provider("north", ["c", "a", "img"])
    snapshot = snapshot_of(NEWEST, build(98, image="a"))
    answers = uploads_due(snapshot, SETTINGS, to, "qcow2", here(99), TUNING, NOW)
    assert [(a.image, getattr(a, "rest", None)) for a in answers] == [
        ("c", UploadRest.NO_BUILD),
        ("a", UploadRest.NO_FILE),
        ("img", None),
    ]


A_BUILD = st.builds(
    build,
    st.integers(90, 99),
    st.sampled_from(BuildState),
    image=st.sampled_from(["img", "other"]),
    state_time=st.floats(NOW - 1e6, NOW + 1e6),
    builder_id=st.sampled_from([ME, SHE]),
    formats=st.sampled_from([None, "raw", "qcow2"]),
    withdrawn=st.sampled_from([(), ("north",), ("south",)]),
)
AN_UPLOAD = st.builds(
    upload,
    st.integers(90, 99),
    st.sampled_from(["north", "south"]),
    st.sampled_from(UploadState),
    number=st.integers(1, 5),
    image=st.sampled_from(["img", "other"]),
    state_time=st.floats(NOW - 1e6, NOW + 1e6),
    started=st.none() | st.floats(NOW - 1e6, NOW + 1e6),
    failures=st.integers(0, 70),
    reason=st.sampled_from([None, "surplus", "by ann"]),
    format=st.sampled_from([None, "raw", "qcow2"]),
)


@given(
    st.lists(A_BUILD, max_size=6, unique_by=lambda b: (b.image, b.id)),
    st.lists(AN_UPLOAD, max_size=8, unique_by=lambda u: u.path),
    st.sets(st.integers(90, 99)),
    st.sets(st.integers(90, 99)),
    st.booleans(),
)
def test_whatever_the_records_say(builds, uploads, files, locked, pause):
    listed = {
        name: ProviderImage(name=name, pause=pause and name == "other") for name in ("img", "other", "third")
    }
    to = replace(NORTH, diskimages=listed)
    local = {(image, build_id(n)): ("qcow2",) for n in files for image in listed}
    snapshot, again = snapshot_of(*builds, *uploads), snapshot_of(*reversed(uploads), *reversed(builds))
    for number in locked:
        snapshot.put_upload_contender("img", build_id(number), "north", "somebody")
        again.put_upload_contender("img", build_id(number), "north", "somebody")
    answers = uploads_due(snapshot, SETTINGS, to, "qcow2", local, TUNING, NOW)
    assert [a.image for a in answers] == ["img", "other", "third"]  # so one upload each at most
    assert answers == uploads_due(again, SETTINGS, to, "qcow2", local, TUNING, NOW)
    for answer in answers:
        if isinstance(answer, NoUpload):
            assert answer.until is None or answer.until > NOW  # or the loop would spin
            continue
        there = [u for u in snapshot.uploads_of(answer.image, answer.build.id) if u.provider == "north"]
        assert not snapshot.upload_locked(answer.image, answer.build.id, "north")
        assert not listed[answer.image].pause
        assert answer.build.state is BuildState.READY
        assert "qcow2" in local[answer.image, answer.build.id]
        assert all(u.state is not READY or not u.external_id for u in there)
        assert answer.resume is None or answer.resume in there
