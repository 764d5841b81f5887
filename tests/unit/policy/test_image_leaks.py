"""Which images and objects in a cloud are ours and in no record."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from poolmgr.model.cloud_image import CloudImage, ImageOwner, ImageStatus, StagedObject
from poolmgr.model.image import Upload, UploadState
from poolmgr.model.server import Listing
from poolmgr.model.snapshot import Snapshot
from poolmgr.policy.image_leaks import Leaks, Sighting, aliens, image_leaks, of_cut_off_upload
from poolmgr.policy.image_tuning import ImageTuning
from tests.unit.policy.image_worlds import NOW, build_id, snapshot_of, upload
from tests.unit.policy.worlds import DEPLOYMENT, OTHER_DEPLOYMENT, listing

TUNING = ImageTuning(sweep_sightings=2, sweep_age=900.0)
OWNER = ImageOwner(
    provider="north", image="img", build=build_id(1), upload="0000000001", deployment=DEPLOYMENT
)


def image(id_: str = "i-1", owner: ImageOwner | None = OWNER, **more: Any) -> CloudImage:
    more.setdefault("status", ImageStatus.ACTIVE)
    more.setdefault("name", "img-1700000000")
    return CloudImage(id=id_, properties=owner.properties() if owner else {}, **more)


def staged(name: str = "img-1", owner: ImageOwner | None = OWNER) -> StagedObject:
    return StagedObject(container="images", name=name, owner=owner)


def objects(*found: StagedObject, complete: bool = True) -> Listing[StagedObject]:
    items = {f"{one.container}/{one.name}": one for one in found}
    return Listing(items=items, started_at=0.0, finished_at=0.1, complete=complete)


def look(
    *images: CloudImage,
    staged: tuple[StagedObject, ...] = (),
    snapshot: Snapshot | None = None,
    seen: Any = None,
    complete: bool = True,
    now: float = 1000.0,
) -> Leaks:
    """By default everything was seen once before, long ago."""
    if seen is None:
        keys = [one.id for one in images] + [f"{one.container}/{one.name}" for one in staged]
        seen = {key: Sighting(first=0.0) for key in keys}
    return image_leaks(
        snapshot or Snapshot(),
        "north",
        DEPLOYMENT,
        listing(*images, complete=complete),
        objects(*staged, complete=complete),
        seen,
        TUNING,
        now,
    )


def test_what_is_seen_twice_and_long_enough_may_go():
    first = look(image(), staged=(staged(),), seen={}, now=0.0)
    assert (first.images, first.objects) == ((), ())
    second = look(image(), staged=(staged(),), seen=first.seen, now=600.0)
    assert (second.images, second.objects) == ((), ())  # twice, but not for so long
    third = look(image(), staged=(staged(),), seen=second.seen, now=900.0)
    assert (third.images, third.objects) == ((image(),), (staged(),))
    assert look(image(), seen={}, now=10_000.0).images == ()


def test_what_was_not_there_in_between_begins_anew():
    first = look(image(), seen={}, now=0.0)
    between = look(seen=first.seen, now=600.0)
    assert between.seen == {}
    assert look(image(), seen=between.seen, now=1200.0).images == ()


def test_a_list_that_is_not_complete_proves_nothing():
    seen = {"i-1": Sighting(first=0.0, count=5), "images/img-1": Sighting(first=0.0, count=5)}
    part = look(image(), staged=(staged(),), seen=seen, complete=False)
    assert part == Leaks(seen=seen)


@pytest.mark.parametrize(
    "owner",
    [
        None,
        replace(OWNER, deployment=None),
        replace(OWNER, deployment=OTHER_DEPLOYMENT),
        replace(OWNER, provider="south"),
    ],
)
def test_what_is_not_ours_stays(owner):
    answer = look(image(owner=owner), staged=(staged(owner=owner),))
    assert (answer.images, answer.objects, answer.seen) == ((), (), {})


def test_what_the_cloud_is_done_with_is_no_leak():
    assert look(image(status=ImageStatus.DELETED)).images == ()


@pytest.mark.parametrize(
    ("state", "external_id", "leaks"),
    [
        (UploadState.UPLOADING, None, False),
        (UploadState.UPLOADING, "other", False),
        (UploadState.DELETING, None, False),
        (UploadState.READY, "i-1", False),
        (UploadState.READY, "other", True),  # left by an attempt before
        (UploadState.FAILED, "i-1", False),
        (UploadState.FAILED, None, True),  # came after its clean-up
    ],
)
def test_records_account_for_what_they_name_or_work_on(state, external_id, leaks):
    record = upload(1, state=state, external_id=external_id)
    assert bool(look(image(), snapshot=snapshot_of(record)).images) is leaks


def test_a_record_elsewhere_that_names_it_accounts_for_it():
    """Imported data, or two providers in one project."""
    record = upload(5, "south", external_id="i-1")
    assert look(image(), snapshot=snapshot_of(record)).images == ()


def test_an_upload_that_goes_on_accounts_for_all_of_its_owner():
    snapshot = Snapshot()
    snapshot.put_upload_contender("img", build_id(1), "north", "x")
    answer = look(image(), staged=(staged(),), snapshot=snapshot)
    assert (answer.images, answer.objects) == ((), ())


def test_a_record_that_makes_no_sense_may_account_for_it():
    snapshot = Snapshot()
    snapshot.put_unreadable_image("img", "somewhere")
    answer = look(image(), staged=(staged(),), snapshot=snapshot)
    assert (answer.images, answer.objects) == ((), ())


def test_objects_that_a_record_names_are_its_business():
    record = upload(1, state=UploadState.FAILED, staged="images/img-1")
    answer = look(staged=(staged(), staged("img-2")), snapshot=snapshot_of(record))
    assert answer.objects == (staged("img-2"),)


# Imports that were cut off

CUT = upload(1, state=UploadState.FAILED, external_name="img-1700000000", started=NOW, method="tasks")


def of_cut(*images: CloudImage, others: tuple[Upload, ...] = (), cut: Upload = CUT) -> list[str]:
    found = of_cut_off_upload(snapshot_of(cut, *others), cut, listing(*images), DEPLOYMENT)
    return [one.id for one in found]


def test_an_image_with_its_mark_or_its_very_name_is_its_own():
    late = image("late", owner=None, created_at=NOW + 5)
    assert of_cut(image("marked", name="x"), late) == ["marked", "late"]


@pytest.mark.parametrize(
    "more",
    [
        {"name": "img-1700000001"},
        {"created_at": None},
        {"created_at": NOW - 301.0},
        {"owner": replace(OWNER, upload="0000000002")},
        {"owner": replace(OWNER, deployment=OTHER_DEPLOYMENT)},
        {"status": ImageStatus.DELETED},
    ],
)
def test_anything_less_is_somebody_else_s(more):
    assert of_cut(image(**{"owner": None, "created_at": NOW + 5, **more})) == []


def test_a_name_that_others_may_have_proves_nothing():
    late = image(owner=None, created_at=NOW + 5)
    same = replace(upload(2), external_name=late.name)
    assert of_cut(late, others=(same,)) == []
    assert of_cut(late, others=(replace(same, provider="south"),)) == ["i-1"]
    named = replace(upload(2), external_id="i-1")
    assert of_cut(late, others=(named,)) == []
    plain = image(owner=None, created_at=NOW + 5, name="img")
    assert of_cut(plain, cut=replace(CUT, external_name="img")) == []
    assert of_cut(late, cut=replace(CUT, external_name=None)) == []


def test_aliens_are_what_no_ready_upload_names():
    nodepool = replace(OWNER, deployment=None)
    images = [image(name, owner=nodepool, name=name) for name in ("c", "b", "a")]
    records = [upload(1, external_id="a"), upload(2, state=UploadState.DELETING, external_id="b")]
    found = aliens(snapshot_of(*records), listing(*images, image("mine", owner=None)))
    assert [one.id for one in found] == ["b", "c"]
