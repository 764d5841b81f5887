"""What every `ImageCloud` must do, for the real layer over HTTP and for the simulated one."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest

from poolmgr.errors import CloudError, CloudUnavailable, ConfigError, NotFound, Rejected
from poolmgr.model.cloud_image import ImageStatus, UploadPhase
from tests.contract.clouds import Stage
from tests.contract.uploads import (
    CONTENT,
    FOREIGN,
    IMPLEMENTATIONS,
    OWNER,
    assert_nothing,
    assert_whole,
    file_spec,
    objects_left,
    own_images,
)

#: One of each way in: PUT, v1's PUT, import, task.
SHAPES = ("nat", "v1only", "import", "tasks")


@pytest.fixture(params=sorted(IMPLEMENTATIONS))
def implementation(request):
    return IMPLEMENTATIONS[request.param]


@pytest.fixture
def staged(implementation) -> Iterator[Callable[..., Stage]]:
    with ExitStack() as stack:
        yield lambda shape, **more: stack.enter_context(implementation(shape, **more))


@pytest.fixture
def stage(staged) -> Stage:
    return staged("nat")


# -- the whole way -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
def test_an_image_from_its_upload_until_nothing_is_left(staged, shape, tmp_path):
    stage, spec, told = staged(shape), file_spec(tmp_path), []
    image = stage.cloud.upload_image(spec, progress=told.append)

    assert (image.status, image.size, image.md5) == (ImageStatus.ACTIVE, len(CONTENT), spec.md5)
    assert image.owner == OWNER
    assert assert_whole(stage, spec).id == image.id
    assert stage.cloud.get_image(image.id).owner == OWNER
    assert set(stage.cloud.list_images().items) == {image.id}
    assert stage.cloud.find_image(spec.name) == image.id

    assert told[0].phase is UploadPhase.PREPARING
    assert {step.attempt for step in told} == {1}
    sending = [step for step in told if step.phase is UploadPhase.SENDING]
    assert sending[0].sent == 0
    assert sending[0].image_id or sending[0].staged  # before the first byte
    assert sending[-1].sent == sending[-1].total == len(CONTENT)
    assert told[-1].image_id == image.id

    stage.cloud.delete_image(image.id)
    assert_nothing(stage)
    with pytest.raises(NotFound):
        stage.cloud.get_image(image.id)
    stage.cloud.delete_image(image.id)  # again
    assert stage.cloud.list_images().items == {}


@pytest.mark.parametrize("shape", SHAPES)
def test_an_image_that_is_there_is_not_uploaded_again(staged, shape, tmp_path):
    stage, spec = staged(shape), file_spec(tmp_path)
    first = stage.cloud.upload_image(spec)
    puts = sum(count for name, count in stage.cloud.calls.items() if ".PUT." in name)
    again = stage.cloud.upload_image(spec)
    assert again.id == first.id
    assert sum(count for name, count in stage.cloud.calls.items() if ".PUT." in name) == puts
    assert_whole(stage, spec)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_broken_image_of_an_earlier_attempt_is_replaced(staged, shape, tmp_path):
    stage, spec = staged(shape), file_spec(tmp_path)
    for status in ("queued", "saving", "uploading", "importing", "killed", "active"):
        broken = stage.cloud.upload_image(spec)
        with stage.far.lock:
            fields = {"size": 0, "md5": hashlib.md5(b"", usedforsecurity=False).hexdigest(), "sha512": None}
            stage.far.images.change(broken.id, status=status, **fields)
        fresh = stage.cloud.upload_image(spec)
        assert fresh.id != broken.id
        assert_whole(stage, spec)


def test_an_upload_of_another_installation_is_another_one(stage, tmp_path):
    mine = stage.cloud.upload_image(file_spec(tmp_path))
    theirs = stage.cloud.upload_image(file_spec(tmp_path, name="debian-theirs", owner=FOREIGN))
    assert mine.id != theirs.id
    assert stage.cloud.upload_image(file_spec(tmp_path)).id == mine.id
    assert {image.owner for image in stage.cloud.list_images().items.values()} == {OWNER, FOREIGN}


def test_what_an_image_is_told_to_have(stage, tmp_path):
    spec = file_spec(tmp_path, min_disk_gib=8, min_ram_mib=512, tags=("ci",), disk_format="qcow2")
    image = stage.cloud.get_image(stage.cloud.upload_image(spec).id)
    assert (image.name, image.disk_format, image.visibility) == (spec.name, "qcow2", "private")
    assert (image.min_disk_gib, image.min_ram_mib) == (8, 512)
    assert image.properties["hw_disk_bus"] == "virtio"
    assert own_images(stage)[0].tags == ("ci",)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_protected_image_is_deleted_by_who_protected_it(staged, shape, tmp_path):
    stage = staged(shape)
    image = stage.cloud.upload_image(file_spec(tmp_path, protected=True))
    assert stage.cloud.get_image(image.id).protected
    stage.cloud.delete_image(image.id)
    assert_nothing(stage)


def test_an_image_that_others_protected_stays(stage, tmp_path):
    image = stage.cloud.upload_image(file_spec(tmp_path))
    with stage.far.lock:
        stage.far.images.change(image.id, protected=True)
    with pytest.raises(Rejected, match="protected"):
        stage.cloud.delete_image(image.id)
    assert len(own_images(stage)) == 1


def test_an_image_in_use_is_refused_and_stays(stage, tmp_path):
    image = stage.cloud.upload_image(file_spec(tmp_path))
    stage.strike("image-in-use", times=1)
    with pytest.raises(Rejected, match="in use"):
        stage.cloud.delete_image(image.id)
    stage.cloud.delete_image(image.id)
    assert_nothing(stage)


@pytest.mark.parametrize("shape", SHAPES)
def test_images_of_others_are_not_listed(staged, shape):
    stage = staged(shape)
    assert stage.cloud.find_image("debian-12") is not None  # public
    assert stage.cloud.list_images().items == {}


# -- without an owner --------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
def test_a_persons_image_is_found_again_by_its_name(staged, shape, tmp_path):
    stage = staged(shape)
    spec = file_spec(tmp_path, owner=None, md5="", sha256="")
    image = stage.cloud.upload_image(spec)
    assert image.owner is None
    assert stage.cloud.upload_image(spec).id == image.id
    assert_whole(stage, spec)


def test_another_image_of_a_persons_name_is_not_touched(stage, tmp_path):
    first = stage.cloud.upload_image(file_spec(tmp_path, owner=None, md5="", sha256=""))
    other = file_spec(tmp_path, b"other" * 1000, owner=None, md5="", sha256="")
    with pytest.raises(Rejected, match=first.id):
        stage.cloud.upload_image(other)
    assert [image.id for image in own_images(stage)] == [first.id]


# -- what cannot be ----------------------------------------------------------------------------------------


def test_a_file_that_is_not_what_was_recorded_is_refused(stage, tmp_path):
    spec = file_spec(tmp_path)
    for wrong in (
        replace(spec, size=spec.size + 1),
        replace(spec, md5="0" * 32, sha256=""),
        replace(spec, path=str(tmp_path / "no such file")),
        file_spec(tmp_path, b""),
    ):
        with pytest.raises(ConfigError):
            stage.cloud.upload_image(wrong)
        assert_nothing(stage)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_cancelled_upload_leaves_nothing(staged, shape, tmp_path):
    stage, spec = staged(shape), file_spec(tmp_path)
    seen = []
    for phase in UploadPhase:
        cancelled = threading.Event()

        def progress(step, phase=phase, cancelled=cancelled):
            seen.append(step.phase)
            if step.phase is phase:
                cancelled.set()

        if phase is UploadPhase.IMPORTING and shape not in ("import", "tasks"):
            continue
        with pytest.raises(CloudUnavailable, match="cancelled"):
            stage.cloud.upload_image(spec, progress=progress, cancelled=cancelled)
        stage.clock.advance(60.0)
        assert_nothing(stage)
    assert set(UploadPhase) - set(seen) <= {UploadPhase.IMPORTING}


def test_trouble_of_whoever_listens_ends_the_upload_and_leaves_nothing(stage, tmp_path):
    def progress(step):
        if step.image_id:
            raise LookupError("the store is gone")

    with pytest.raises(LookupError):
        stage.cloud.upload_image(file_spec(tmp_path), progress=progress)
    assert_nothing(stage)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_byte_is_asked_for_before_it_goes_out(staged, shape, tmp_path):
    stage, asked, ahead = staged(shape), [], []

    def progress(step):
        if step.phase is UploadPhase.SENDING:
            ahead.append(sum(asked) - step.sent)

    stage.cloud.upload_image(file_spec(tmp_path), progress=progress, pace=asked.append)
    bodies = (
        2 if shape == "import" and "PUT.image_file" in str(stage.cloud.calls) else 1
    )  # the first was refused
    assert sum(asked) == bodies * len(CONTENT)
    assert len(asked) > bodies
    assert min(ahead) >= 0


@pytest.mark.parametrize("shape", SHAPES)
def test_an_upload_that_is_held_back_can_be_cancelled(staged, shape, tmp_path):
    stage, cancelled = staged(shape), threading.Event()

    def pace(count):
        cancelled.set()  # so is whoever waits here told

    with pytest.raises(CloudUnavailable, match="cancelled"):
        stage.cloud.upload_image(file_spec(tmp_path), cancelled=cancelled, pace=pace)
    assert_nothing(stage)


def test_an_upload_that_takes_too_long_ends(stage, tmp_path):
    stage.strike("slow-image", seconds=10_000)
    with pytest.raises(CloudUnavailable):
        stage.cloud.upload_image(file_spec(tmp_path), timeout=30.0)
    assert_nothing(stage)


# -- trouble that passes ------------------------------------------------------------------------------------

PATHS = {
    "nat": ("image.POST.images", "image.PUT.image_file"),
    "v1only": ("image.POST.images", "image.PUT.image"),
    "import": ("image.POST.images", "image.PUT.image_stage", "image.POST.image_import"),
    "tasks": ("object-store.PUT.object", "image.POST.tasks"),
}


def operations_of(stage: Stage, shape: str) -> tuple[str, ...]:
    """The calls of an upload that matter; the simulated cloud has one API version for all."""
    if type(stage.cloud).__name__ == "SimulatedCloud" and shape == "v1only":
        return PATHS["nat"]
    return PATHS[shape]


@pytest.mark.parametrize("shape", SHAPES)
def test_trouble_that_passes_costs_a_try_and_nothing_else(staged, shape, tmp_path):
    stage, spec = staged(shape), file_spec(tmp_path)
    for operation in operations_of(stage, shape):
        for kind in ("http-503", "drop", "lost-answer"):
            stage.strike(kind, operations=[operation], times=1)
            image = stage.cloud.upload_image(spec)
            assert stage.far.faults.struck()[kind] == 1
            stage.calm()
            stage.clock.advance(60.0)
            assert assert_whole(stage, spec).id == image.id
            stage.cloud.delete_image(image.id)


@pytest.mark.parametrize("shape", SHAPES)
def test_trouble_that_stays_ends_the_upload_and_leaves_nothing(staged, shape, tmp_path):
    stage, spec = staged(shape), file_spec(tmp_path)
    for operation in operations_of(stage, shape):
        stage.strike("http-500", operations=[operation])
        with pytest.raises(CloudError):
            stage.cloud.upload_image(spec)
        stage.calm()
        stage.clock.advance(60.0)
        assert_nothing(stage)


@pytest.mark.parametrize("shape", ["nat", "tasks"])
def test_what_a_killed_upload_left_is_found_and_cleared_by_the_next(staged, shape, tmp_path):
    stage, spec = staged(shape), file_spec(tmp_path)
    _leave_behind(stage, spec)
    staged_objects = stage.cloud.list_staged().items
    assert set(staged_objects) == set(objects_left(stage))
    assert {each.owner for each in staged_objects.values()} <= {OWNER}
    found = [image for image in stage.cloud.list_images().items.values() if image.owner == OWNER]
    assert found or staged_objects
    stage.cloud.upload_image(spec)
    assert_whole(stage, spec)


@pytest.mark.parametrize("shape", ["nat", "tasks"])
def test_what_a_killed_upload_left_can_be_deleted(staged, shape, tmp_path):
    stage = staged(shape)
    _leave_behind(stage, file_spec(tmp_path))
    for image_id in stage.cloud.list_images().items:
        stage.cloud.delete_image(image_id)
    for left in stage.cloud.list_staged().items.values():
        stage.cloud.delete_staged(left)
        stage.cloud.delete_staged(left)  # again
    assert_nothing(stage)


def _leave_behind(stage: Stage, spec) -> None:
    """As after a kill -9 with the bytes on their way: nothing is cleared up."""

    def progress(step):
        if step.phase is UploadPhase.SENDING and step.sent:
            stage.strike("http-503", operations=["*.DELETE.*"])
            raise LookupError("killed")

    with pytest.raises(LookupError):
        stage.cloud.upload_image(spec, progress=progress)
    stage.calm()
