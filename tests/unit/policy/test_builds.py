from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolmgr.config.settings import DiskImage, ImageBuild, Settings, StaticProvider
from poolmgr.model.image import Build, BuildState, ImageOrder, Order
from poolmgr.model.snapshot import Snapshot
from poolmgr.policy.builds import (
    BuildDue,
    BuilderFacts,
    BuildRest,
    Cause,
    Rest,
    build_of,
    builds_due,
    expected_duration,
    newest_ready,
    retry_at,
    wanted_formats,
)
from poolmgr.policy.image_orders import orders_answered
from poolmgr.policy.image_times import ready_time
from poolmgr.policy.image_tuning import ImageTuning
from tests.unit.policy.image_worlds import (
    HOUR,
    ME,
    NOW,
    SHE,
    at,
    build,
    build_id,
    provider,
    settings,
    snapshot_of,
)

TUNING = ImageTuning(retry_first=60.0, space_margin=1.5, idle_cycle=60.0, clock_skew=300.0)
FACTS = BuilderFacts(builder_id=ME, image_formats={"north": "qcow2", "south": "qcow2"})
FAILED, READY, BUILDING = BuildState.FAILED, BuildState.READY, BuildState.BUILDING
GONE = BuildState.DELETING
DAILY_AT_2 = "0 2 * * *"  # NOW is 22:13:20, 80000 s into its day
TODAY = NOW - 80_000.0
AT_2 = TODAY + 2 * HOUR


def order(hours: float = 100.0, image: str = "img", **more: Any) -> ImageOrder:
    return ImageOrder(image=image, kind=Order.BUILD, at=at(hours), **more)


def pause(**more: Any) -> ImageOrder:
    return ImageOrder(image="img", kind=Order.PAUSE, **more)


def world(*records: Build | ImageOrder) -> Snapshot:
    snapshot = snapshot_of(*(r for r in records if isinstance(r, Build)))
    for record in records:
        if isinstance(record, ImageOrder):
            snapshot.put_order(record)
    return snapshot


def ask(
    *records: Build | ImageOrder,
    locked: bool = False,
    now: float = NOW,
    facts: BuilderFacts = FACTS,
    holding: bool = False,
    chosen: Settings | None = None,
    **image: Any,
) -> BuildDue | BuildRest:
    """What is answered for `img`, which is built as `image` says."""
    snapshot = world(*records)
    if locked:
        snapshot.put_build_contender("img", "somebody")
    configured = chosen or settings(**image)
    return build_of(
        snapshot, configured.diskimages["img"], configured, facts, TUNING, now, holding_lock=holding
    )


def told(answer: BuildDue | BuildRest) -> Cause | tuple[Rest, float | None]:
    return answer.cause if isinstance(answer, BuildDue) else (answer.rest, answer.until)


# When it is time


def test_without_a_ready_build_one_is_missing():
    assert ask() == BuildDue(image="img", cause=Cause.MISSING, formats=("qcow2",))
    assert ask(build(90, GONE), build(95, BUILDING)).cause is Cause.MISSING


@pytest.mark.parametrize(
    ("newest", "image", "answer"),
    [
        (build(77), {}, (Rest.FRESH, at(101))),
        (build(76), {}, Cause.AGE),
        (build(3), {}, Cause.AGE),
        (build(99), {"rebuild_age": 3600.0}, Cause.AGE),
        (build(99, builder_id=SHE), {}, (Rest.FRESH, at(123))),  # of any builder
    ],
)
def test_an_image_is_built_again_by_age(newest, image, answer):
    assert told(ask(newest, build(2), **image)) == answer


@pytest.mark.parametrize(
    ("began", "ended", "age", "answer"),
    [
        # the expression alone: at its first time after the build began
        (AT_2 - 10, AT_2 + 60, 0.0, Cause.CRON),
        (AT_2 + 0.5, AT_2 + 60, 0.0, (Rest.NOT_DUE, AT_2 + 24 * HOUR)),
        (AT_2 - 50 * HOUR, AT_2 - 49 * HOUR, 0.0, Cause.CRON),
        # both: at its first time at which the build is that old
        (AT_2 - 30 * HOUR, AT_2 - 30 * HOUR, 24 * HOUR, Cause.CRON),
        (AT_2 - 23 * HOUR, AT_2 - 23 * HOUR, 24 * HOUR, (Rest.NOT_DUE, AT_2 + 24 * HOUR)),  # old since 3:00
        (AT_2 - 24 * HOUR, AT_2 - 24 * HOUR, 24 * HOUR, Cause.CRON),
        (AT_2 + HOUR, AT_2 + HOUR, 24 * HOUR, (Rest.FRESH, AT_2 + 48 * HOUR)),
        (AT_2 + HOUR, AT_2 + HOUR, 20 * HOUR, (Rest.FRESH, AT_2 + 24 * HOUR)),
    ],
)
def test_an_image_is_built_again_by_its_cron_expression(began, ended, age, answer):
    newest = build(1, started=began, duration=ended - began, state_time=ended)
    assert told(ask(newest, rebuild_cron=DAILY_AT_2, rebuild_age=age)) == answer
    with_guess = replace(newest, started=None)
    assert told(ask(with_guess, rebuild_cron=DAILY_AT_2, rebuild_age=age)) == answer


def test_what_is_missing_does_not_wait_for_the_cron_expression():
    assert ask(rebuild_cron=DAILY_AT_2, rebuild_age=0.0).cause is Cause.MISSING
    lacking = build(99, formats="raw", started=at(98))
    assert ask(lacking, rebuild_cron=DAILY_AT_2, rebuild_age=0.0).cause is Cause.FORMAT


# Formats


def test_wanted_formats_are_those_of_the_image_and_of_the_clouds_that_list_it():
    chosen = settings(
        {"north": ["a", "unknown"], "south": ["a", "b"], "west": ["a"]}, images="abc", formats=("raw",)
    )
    chosen = replace(chosen, providers={**chosen.providers, "lab": StaticProvider(name="lab")})
    formats = {"north": "vhd", "south": "qcow2", "lab": "vmdk", "other": "vmdk"}  # that of west is not known
    assert wanted_formats(chosen, formats) == {
        "a": ("qcow2", "raw", "vhd"),
        "b": ("qcow2", "raw"),
        "c": ("raw",),
    }


@pytest.mark.parametrize(
    ("had", "who", "formats"),
    [
        ("qcow2", ME, None),
        ("qcow2,raw,vhd", ME, None),  # more than is wanted
        ("raw", ME, ("qcow2",)),
        ("raw", SHE, ("qcow2", "raw")),  # hers too, else she would build again for raw
        (None, ME, ("qcow2",)),
    ],
)
def test_a_build_that_lacks_a_format_is_followed_at_once(had, who, formats):
    answer = ask(build(99, formats=had, builder_id=who))
    if formats is None:
        assert answer.rest is Rest.FRESH
    else:
        assert answer == BuildDue(image="img", cause=Cause.FORMAT, formats=formats)


def test_two_builders_with_other_formats_do_not_take_turns():
    hers, mine = replace(FACTS, builder_id=SHE, image_formats={"north": "raw"}), FACTS
    first = ask(facts=hers)
    second = ask(build(97, formats=",".join(first.formats), builder_id=SHE), facts=mine)
    last = build(98, formats=",".join(second.formats))
    assert ask(last, facts=mine).rest is Rest.FRESH
    assert ask(last, facts=hers).rest is Rest.FRESH


def test_an_image_that_nobody_here_wants_is_left_to_others():
    answer = ask(order(), chosen=settings({"north": ["other"]}))
    assert (answer.rest, answer.until) == (Rest.NO_FORMAT, None)


# Orders


def test_an_order_begins_a_build_of_a_fresh_image():
    answer = ask(build(99), order(99.5))
    assert answer == BuildDue(image="img", cause=Cause.REQUESTED, formats=("qcow2",), order=order(99.5))


@pytest.mark.parametrize(
    ("done", "answered"),
    [
        (build(99, started=at(98)), True),
        (build(99, started=at(98), builder_id=SHE, cause="rebuild-age"), True),  # whoever, and why ever
        (build(99, started=at(97)), False),  # was going on already
        (build(99), False),  # nodepool-builder's: nobody knows when it began
        (build(99, FAILED, started=at(98), failures=0), False),
        (build(99, GONE, started=at(98)), False),
    ],
)
def test_an_order_is_done_once_a_build_that_began_after_it_is_ready(done, answered):
    wish = order(97.5)
    answer = ask(done, build(96), wish)
    assert (isinstance(answer, BuildDue) and answer.order == wish) is not answered
    assert orders_answered(world(done, wish)) == ((wish,) if answered else ())


def test_images_with_orders_come_first_the_oldest_order_first():
    chosen = settings({"north": list("abcde")}, images="abcde")
    records = [order(3, "d"), order(2, "e"), order(1, "b")]
    records += [build(2, image="b", started=at(1.5))]  # done
    answers = builds_due(world(*records), chosen, FACTS, TUNING, NOW)
    assert [a.image for a in answers] == ["e", "d", "a", "b", "c"]
    assert [told(a) for a in answers] == [Cause.REQUESTED] * 2 + [Cause.MISSING, Cause.AGE, Cause.MISSING]


@pytest.mark.parametrize("kind", [[], [order()]])
@pytest.mark.parametrize(
    ("in_file", "by_order", "detail"),
    [
        (True, None, "paused in the configuration"),
        (False, pause(), "paused by command"),
        (False, pause(by="ann@desk"), "paused by ann@desk"),
        (False, pause(by="ann@desk", reason="mirror is down"), "paused by ann@desk: mirror is down"),
        (True, pause(by="ann@desk"), "paused in the configuration"),
    ],
)
def test_a_pause_holds_both_kinds_and_says_whose_it_is(kind, in_file, by_order, detail):
    chosen = settings()
    chosen = replace(chosen, diskimages={"img": DiskImage(name="img", pause=in_file)})
    answer = ask(*kind, *([by_order] if by_order else []), chosen=chosen)
    assert answer == BuildRest(image="img", rest=Rest.PAUSED, detail=detail)


# Who is at it


def test_only_the_lock_tells_that_a_build_is_going_on():
    hers = build(99, BUILDING, builder_id=SHE, builder="b2.example.org")
    assert ask(hers).cause is Cause.MISSING
    assert ask(hers, locked=True) == BuildRest(
        image="img", rest=Rest.BUILDING, detail="b2.example.org builds it"
    )
    assert ask(order(), locked=True).rest is Rest.BUILDING
    assert ask(locked=True).detail == "a builder has its lock"


def test_who_holds_the_lock_is_asked_everything_else_again():
    assert ask(locked=True, holding=True).cause is Cause.MISSING
    assert ask(build(99), locked=True, holding=True).rest is Rest.FRESH
    assert ask(pause(), locked=True, holding=True).rest is Rest.PAUSED


# Failures


def failed(number: int, failures: int | None = None, **more: Any) -> Build:
    """A failed build; of nodepool-builder, which counts nothing, unless `failures` are given."""
    if failures is not None:
        more = {"failures": failures, "started": at(number) - 60, **more}
    return build(number, FAILED, **more)


@pytest.mark.parametrize(
    ("records", "count", "wait"),
    [
        ([failed(99, 1)], 1, 60),
        ([failed(98, 1), failed(99, 2)], 2, 120),
        ([failed(99, 4)], 4, 480),  # older records are gone
        ([failed(99, 40)], 40, 1000),
        ([failed(99, 4000)], 4000, 1000),
        ([failed(97), failed(98), failed(99)], 3, 240),
        ([failed(97, 2), failed(98), failed(99)], 4, 480),
        ([failed(98, 5, builder_id=SHE), failed(99, 1)], 1, 60),
        ([build(98), failed(97, 7), failed(99, 1)], 1, 60),
        ([build(1), failed(99, 3)], 3, 240),
    ],
)
def test_failures_double_the_wait_up_to_the_setting(records, count, wait):
    chosen = replace(settings(rebuild_age=1.0), image_retry_max=1000.0)
    before, after = at(99) + wait - 1, at(99) + wait
    answer = ask(*records, chosen=chosen, now=before)
    assert (answer.rest, answer.until) == (Rest.BACKOFF, after)
    assert answer.detail.startswith(f"{count} failed in a row")
    assert ask(*records, chosen=chosen, now=after).failures == count


def test_the_reason_of_the_last_failure_is_told():
    assert ask(failed(100, 1, reason="no such element")).detail == "1 failed in a row: no such element"


@pytest.mark.parametrize(
    "records",
    [[failed(99, 5), build(100, state_time=NOW)], [failed(100, 0, reason="the builder was stopped")]],
)
def test_a_success_ends_the_wait_and_an_end_that_was_no_failure_makes_none(records):
    answer = ask(*records, rebuild_age=0.0)
    assert (answer.cause, answer.failures) == (Cause.AGE if len(records) == 2 else Cause.MISSING, 0)


@pytest.mark.parametrize(
    ("wish", "last", "waits"),
    [
        (order(98), failed(99, 1), True),  # it failed already
        (order(99.1), failed(99, 1), False),
        (order(98, zxid=20), failed(99, 1, zxid=10), False),  # clocks differ, the store's count tells
        (order(99.1, zxid=10), failed(99, 1, zxid=20), True),
    ],
)
def test_an_order_given_after_the_failure_begins_at_once(wish, last, waits):
    answer = ask(wish, last, now=at(99) + 10)
    if waits:
        assert (answer.rest, answer.until) == (Rest.BACKOFF, at(99) + 60)
    else:
        assert (answer.cause, answer.failures) == (Cause.REQUESTED, 1)


@pytest.mark.parametrize(
    ("failures", "wait"), [(0, 0), (1, 10), (2, 20), (3, 40), (4, 75), (5, 75), (10**9, 75), (-1, 0)]
)
def test_the_wait_after_failures(failures, wait):
    assert retry_at(failures, 1000.0, first=10.0, most=75.0) == 1000.0 + wait


# The disk


@pytest.mark.parametrize(
    ("free", "space", "fits"),
    [(3000, 2000, True), (2999, 2000, False), (None, 2000, True), (0, None, True), (0, 0, True)],
)
def test_a_build_needs_what_the_last_one_needed_and_some_more(free, space, fits):
    facts = replace(FACTS, free=free << 20 if free else free)
    known = build(10, space=space << 20 if space else space)
    answer = ask(known, build(5, space=1 << 50), facts=facts)
    if space is None:
        answer = ask(known, facts=facts)
    if fits:
        assert answer.cause is Cause.AGE
    else:
        assert (answer.rest, answer.until) == (Rest.NO_SPACE, NOW + TUNING.idle_cycle)
        assert answer.detail == f"2999 MiB are free, 3000 MiB are needed by what {known.name} took"


def test_an_order_needs_the_disk_too():
    facts = replace(FACTS, free=1)
    assert ask(build(99, space=2000), order(), facts=facts).rest is Rest.NO_SPACE


def test_what_a_failed_build_took_does_not_count():
    assert ask(failed(10, 1, space=1 << 50), facts=replace(FACTS, free=1)).cause is Cause.MISSING


# Clocks and records that cannot be believed


@pytest.mark.parametrize(
    ("newest", "answer"),
    [
        (build(1, state_time=NOW + 200), (Rest.FRESH, NOW + 200 + 86400)),  # within the skew
        (build(1, state_time=NOW + 301), Cause.AGE),
        (build(1, state_time=NOW + 1e9), Cause.AGE),
        (build(1, state_time=NOW + 1e9, started=at(98), duration=HOUR), (Rest.FRESH, at(99) + 86400)),
        (build(1, state_time=NOW + 1e9, started=NOW + 1e9), Cause.AGE),
    ],
)
def test_a_time_from_the_future_holds_nothing_for_ever(newest, answer):
    assert told(ask(newest)) == answer


def test_a_build_after_one_from_the_future_is_the_newest_for_everybody():
    ahead = build(1, state_time=NOW + 1e9, formats="raw")
    after = build(2, started=NOW - 60, duration=60.0, state_time=ready_time([ahead], NOW))
    snapshot = world(ahead, after)
    assert newest_ready(snapshot, "img") == newest_ready(snapshot, "img", NOW, 300.0) == after
    assert told(ask(ahead, after)) == (Rest.FRESH, NOW + 86400)
    assert ready_time([build(5)], NOW) == NOW


def test_a_believable_build_is_newer_than_one_from_the_future():
    ahead, mine = build(1, state_time=NOW + 1e9, formats="raw"), build(99)
    assert newest_ready(world(ahead, mine), "img", NOW, 300.0) == mine
    assert ask(ahead, mine).rest is Rest.FRESH


def test_a_failure_from_the_future_holds_nothing():
    assert ask(failed(1, 5, state_time=NOW + 1e9, started=NOW + 1e9)).cause is Cause.MISSING


def test_an_image_with_an_unreadable_build_is_not_taken_for_missing():
    path = f"/nodepool/images/img/builds/{build_id(9)}"
    for records, answer in [
        ((), (Rest.UNREADABLE, None)),
        ((build(1),), Cause.AGE),  # it does no harm, and the image goes on
        ((order(),), Cause.REQUESTED),
    ]:
        snapshot = world(*records)
        snapshot.put_unreadable_image("img", path)
        chosen = settings()
        found = build_of(snapshot, chosen.diskimages["img"], chosen, FACTS, TUNING, NOW)
        assert told(found) == answer
        if isinstance(found, BuildRest):
            assert path in found.detail


def test_an_unreadable_upload_does_not_keep_an_image_from_being_built():
    snapshot, chosen = world(), settings()
    snapshot.put_unreadable_image(
        "img", f"/nodepool/images/img/builds/{build_id(9)}/providers/p/images/0000000001"
    )
    assert build_of(snapshot, chosen.diskimages["img"], chosen, FACTS, TUNING, NOW).cause is Cause.MISSING


# How long


def test_the_expected_duration_is_the_median_of_the_last_ready_ones():
    builds = [build(n, duration=d) for n, d in enumerate([9000.0, 100.0, 300.0, 200.0, 150.0, 250.0], 1)]
    more = [build(8, FAILED, duration=1.0), build(9), build(7, image="other", duration=1.0)]
    assert expected_duration(world(*builds, *more), "img") == 200.0
    assert expected_duration(world(build(1)), "img") is None


# Whatever the records say

A_BUILD = st.builds(
    build,
    st.integers(1, 30),
    st.sampled_from(BuildState),
    image=st.sampled_from(["img", "other"]),
    state_time=st.floats(NOW - 1e6, NOW + 1e6),
    started=st.none() | st.floats(NOW - 1e6, NOW + 1e6),
    duration=st.none() | st.floats(0, 1e5),
    failures=st.integers(0, 80),
    formats=st.sampled_from([None, "raw", "qcow2", "qcow2,raw"]),
    builder_id=st.sampled_from([ME, SHE, None]),
    space=st.none() | st.integers(0, 2000),
)
BUILDS = st.lists(A_BUILD, max_size=8, unique_by=lambda b: (b.image, b.id))
AN_ORDER = st.builds(
    lambda image, kind, when, zxid: ImageOrder(image=image, kind=kind, at=when, zxid=zxid),
    st.sampled_from(["img", "other"]),
    st.sampled_from(Order),
    st.floats(NOW - 1e6, NOW + 1e6),
    st.integers(-1, 5),
)
ORDERS = st.lists(AN_ORDER, max_size=4, unique_by=lambda o: (o.image, o.kind))
AN_IMAGE = st.builds(
    ImageBuild,
    rebuild_cron=st.sampled_from([None, DAILY_AT_2]),
    rebuild_age=st.sampled_from([0.0, 1000.0, 86400.0]),
    formats=st.sampled_from([(), ("raw",)]),
)


@given(
    BUILDS,
    ORDERS,
    AN_IMAGE,
    st.sets(st.sampled_from(["img", "other"])),
    st.none() | st.integers(0, 3000),
)
def test_whatever_the_records_say(builds, orders, how, locked, free):
    chosen = Settings(
        diskimages={name: DiskImage(name=name, build=how) for name in ("img", "other")},
        providers={"north": provider("north", ["img"])},
    )
    snapshot, again = world(*builds, *orders), world(*reversed(builds), *reversed(orders))
    for image in locked:
        snapshot.put_build_contender(image, "somebody")
        again.put_build_contender(image, "somebody")
    facts = replace(FACTS, free=free)
    answers = builds_due(snapshot, chosen, facts, TUNING, NOW)
    assert sorted(a.image for a in answers) == ["img", "other"]
    assert answers == builds_due(again, chosen, facts, TUNING, NOW)
    for answer in answers:
        if isinstance(answer, BuildDue):
            assert answer.image not in locked
            assert snapshot.order(answer.image, Order.PAUSE) is None
            assert set(answer.formats) >= set(wanted_formats(chosen, facts.image_formats)[answer.image])
            assert (answer.order is not None) is (answer.cause is Cause.REQUESTED)
        elif answer.until is not None:
            assert answer.until > NOW  # or the loop would spin


@given(BUILDS, AN_IMAGE)
def test_a_build_that_was_just_made_makes_the_image_fresh(builds, how):
    """No schedule builds for ever, whatever came before."""
    ours = [b for b in builds if b.image == "img"]
    stamp = ready_time([b for b in ours if b.state is READY], NOW)
    made = build(99, state_time=stamp, started=NOW - 1, duration=1.0, formats="qcow2,raw")
    chosen = settings()
    image = DiskImage(name="img", build=replace(how, rebuild_age=how.rebuild_age or 60.0))
    answer = build_of(world(*ours, made), image, chosen, FACTS, TUNING, NOW + 1)
    assert isinstance(answer, BuildRest)
