"""Builds and uploads marked for deletion."""

import socket
from dataclasses import replace

import pytest

from poolmgr.cli.image import marking
from poolmgr.errors import Conflict
from poolmgr.model.image import BuildState, ImageOrder, Order, UploadState
from poolmgr.model.node import NodeState
from poolmgr.store.memory import MemoryStore

ANA = f"by ana@{socket.gethostname()}"


def upload_states(place):
    uploads = place.snapshot(lambda snapshot: list(snapshot.uploads()))
    return {(u.provider, u.build, u.id): u.state.value for u in uploads}


def build_states(place):
    return {b.name: b.state.value for b in place.snapshot(lambda snapshot: list(snapshot.builds()))}


@pytest.fixture
def two(place):
    """Two builds of debian, each in north and south, and one of fedora in north."""
    for number, build in enumerate(("0f", "10")):
        place.add_build(id=build, state_time=100.0 + number)
        for provider in ("north", "south"):
            place.add_upload(build=build, provider=provider, state_time=200.0 + number)
    place.add_build(id="f0", image="fedora")
    place.add_upload(build="f0", image="fedora")
    return place


def test_four_options_mark_one_upload_without_asking(two):
    _, errors = two.run(
        "image-delete", "--provider", "north", "--image", "debian", "--build-id", "0f", "--upload-id", "0"
    )
    assert errors == ""
    (deleted,) = [key for key, state in upload_states(two).items() if state == "deleting"]
    assert deleted == ("north", "0f", "0000000000")


def test_it_says_who_and_why_so_that_builders_know_it_was_a_person(two):
    two.run(
        "image-delete",
        "--provider",
        "north",
        "--newest",
        "--image",
        "debian",
        "--reason",
        "no network",
        "--yes",
    )
    (upload,) = [u for u in two.snapshot(lambda s: list(s.uploads())) if u.state is UploadState.DELETING]
    assert (upload.build, upload.reason) == ("10", f"{ANA}: no network")
    assert upload.state_time > 1e9
    assert upload.external_id == "img"


def test_the_newest_in_each_provider_is_the_newest_that_serves(two):
    two.add_upload(build="10", provider="south", state=UploadState.FAILED, state_time=900.0)
    two.run("image-delete", "--image", "debian", "--newest", "--yes")
    deleted = {key[:2] for key, state in upload_states(two).items() if state == "deleting"}
    assert deleted == {("north", "10"), ("south", "10")}
    assert sum(state == "deleting" for state in upload_states(two).values()) == 2


@pytest.mark.parametrize(
    ("answer", "gone"), [("4\n", 4), ("yes\n", 4), ("no\n", 0), ("3\n", 0), ("", 0), ("\n", 0)]
)
def test_several_are_shown_and_asked_about(two, answer, gone):
    _, errors = two.run("image-delete", "--image", "debian", answer=answer, code=0 if gone else 1)
    assert "| 0f       | 0000000000 | north    | debian |" in errors
    assert "4 uploads will be deleted. Type 4 or yes to go on:" in errors
    assert list(upload_states(two).values()).count("deleting") == gone
    assert ("--yes does it without asking" in errors) == (answer == "")


def test_an_upload_in_progress_is_left_alone_and_the_others_are_not(two):
    two.add_upload(build="10", state=UploadState.UPLOADING, provider="west")
    _, errors = two.run("image-delete", "--image", "debian", "--yes", code=1)
    assert "cannot delete upload 0000000000 of build debian-10 to west, it is in progress" in errors
    assert list(upload_states(two).values()).count("deleting") == 4


def test_nodes_that_hold_a_deletion_up_are_told(two):
    upload = two.snapshot(lambda s: [u for u in s.uploads() if (u.provider, u.build) == ("south", "10")])[0]
    two.add_node_from(upload, state=NodeState.BUILDING)
    two.add_node_from(upload, state=NodeState.IN_USE)
    _, errors = two.run("image-delete", "--provider", "south", "--image", "debian", "--newest", "--yes")
    assert (
        errors == "upload 0000000000 of build debian-10 to south: 1 node boots from it, it goes after that\n"
    )
    assert "build debian-10: 1 node boots from it" in two.run("dib-image-delete", "debian-10").err


def test_what_a_builder_wanted_gone_by_itself_is_a_persons_wish_then(two):
    surplus = two.add_upload(state=UploadState.DELETING, reason="surplus: in use by 2 servers")
    two.run(
        "image-delete",
        "--provider",
        "north",
        "--image",
        "debian",
        "--build-id",
        "0f",
        "--upload-id",
        surplus.id,
    )
    after = two.store.read_upload(surplus.path)
    assert (after.state_time, after.reason) == (200.0, ANA)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--provider", "nroth"], "no upload has provider nroth; did you mean north?"),
        (["--image", "debain"], "no upload has image debain; did you mean debian?"),
        (["--image", "debian", "--build-id", "0e"], "no upload has build 0e"),
        (["--image", "debian", "--upload-id", "9"], "image upload not found; `poolmgr image-list` shows"),
        (["--newest"], "--provider or --image is needed"),
    ],
)
def test_what_fits_nothing_is_told(two, options, told):
    assert told in two.run("image-delete", *options, code=1).err
    assert "deleting" not in upload_states(two).values()


def test_json_is_all_that_is_printed_to_stdout(two):
    rows = two.rows("image-delete", "--image", "fedora", "--yes")
    assert [(row["image"], row["state"]) for row in rows] == [("fedora", "deleting")]


def test_a_build_is_marked_without_asking(two):
    output, errors = two.run("dib-image-delete", "debian-0f", "--reason", "bad")
    assert "| debian-0f | debian |" in output
    assert errors == ""
    assert build_states(two) == {"debian-0f": "deleting", "debian-10": "ready", "fedora-f0": "ready"}
    assert two.snapshot(lambda s: s.build("debian", "0f").reason) == f"{ANA}: bad"
    two.run("dib-image-delete", "debian-0f")  # again: no matter
    assert two.snapshot(lambda s: s.build("debian", "0f").reason) == f"{ANA}: bad"


@pytest.mark.parametrize(
    ("build", "told"),
    [
        ("debian", "debian is not a build's id"),
        ("debian-0fa", "build debian-0fa not found; did you mean debian-0f?"),
    ],
)
def test_what_is_no_build_is_told(two, build, told):
    assert told in two.run("dib-image-delete", build, code=1).err


def test_a_build_in_progress_is_left_alone(place):
    place.add_build(state=BuildState.BUILDING)
    _, errors = place.run("dib-image-delete", "debian-0f", code=1)
    assert "cannot delete build debian-0f, it is in progress" in errors
    assert build_states(place) == {"debian-0f": "building"}


def test_all_builds_of_an_image_that_no_file_has_any_more(two):
    two.add_build(image="old", id="1")
    two.add_build(image="old", id="2")
    two.store.order_image(ImageOrder(image="old", kind=Order.PAUSE))
    assert "2 builds and all uploads of them" in two.run("dib-image-delete", "--image", "old", code=1).err
    assert "deleting" not in build_states(two).values()
    output, _ = two.run("dib-image-delete", "--image", "old", answer="2\n")
    assert "| paused | 00:00:00:00 | deleting    |" in output
    assert [name for name, state in build_states(two).items() if state == "deleting"] == ["old-1", "old-2"]
    assert "did you mean old?" in two.run("dib-image-delete", "--image", "odl", code=1).err


def test_a_build_or_all_of_an_image_but_not_both(place):
    for wrong in ([], ["debian-0f", "--image", "debian"]):
        with pytest.raises(SystemExit):
            place.run("dib-image-delete", *wrong)


class Busy(MemoryStore):
    """Someone else changes the record just before the first write to it."""

    changes = 1

    def save_build(self, build, lock=None):
        self._disturb(super().save_build, replace(build, state=BuildState.READY, space=7))
        return super().save_build(build, lock)

    def save_upload(self, upload, lock=None):
        self._disturb(super().save_upload, replace(upload, state=UploadState.READY, sha256="ab"))
        return super().save_upload(upload, lock)

    def _disturb(self, save, record):
        if self.changes > 0:
            self.changes -= 1
            save(record)


def test_a_record_that_changed_meanwhile_is_read_again(place):
    build, upload = place.add_build(), place.add_upload()
    busy = Busy(place.tree)
    busy.start()
    marked = marking.mark_build(busy, build, "by ana", now=5.0)
    assert (marked.state, marked.space) == (BuildState.DELETING, 7)
    busy.changes = 1
    marked = marking.mark_upload(busy, upload, "by ana", now=5.0)
    assert (marked.state, marked.sha256) == (UploadState.DELETING, "ab")
    busy.changes = 100
    with pytest.raises(Conflict, match="nothing was changed"):
        marking.mark_upload(busy, place.add_upload(), "by ana", now=5.0)
    busy.close()


def test_what_is_gone_meanwhile_is_no_failure(place):
    build, upload = place.add_build(), place.add_upload()
    place.store.delete_upload(upload)
    place.store.delete_build(build)
    assert marking.mark_upload(place.store, upload, "x", now=5.0) is None
    assert marking.mark_build(place.store, build, "x", now=5.0) is None
