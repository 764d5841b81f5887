"""What the demo says of the images that its builder makes, and how it lets them go."""

from __future__ import annotations

from dataclasses import replace

import pytest

from poolmgr.cli.demo.images import (
    ImageLine,
    ImageTally,
    builds_text,
    image_lines,
    let_builds_go,
)
from poolmgr.cli.demo.plan import DemoCloud, DemoImage, Plan
from poolmgr.model.image import Build, BuildState, Upload, UploadState
from poolmgr.model.node import Node
from poolmgr.model.snapshot import Snapshot
from poolmgr.store.memory import MemoryStore, MemoryTree

PLAN = Plan(
    clouds=(DemoCloud(name="north", shape="nat"), DemoCloud(name="south", shape="nat")),
    labels=(),
    image=DemoImage(name="i"),
)
FIRST = Build(id="1" * 32, image="i", state=BuildState.READY, state_time=10.0)
SECOND = replace(FIRST, id="2" * 32, state_time=20.0)


def upload(build, provider, **more):
    facts = {"state": UploadState.READY, "state_time": 1.0, "external_id": "x", "format": "raw", **more}
    return Upload(image="i", build=build.id, provider=provider, id="0000000001", **facts)


@pytest.fixture
def snapshot():
    return Snapshot()


def test_the_tally_remembers_what_has_gone(snapshot):
    seen, made = ImageTally(), upload(FIRST, "north")
    snapshot.put_build(FIRST)
    snapshot.put_upload(made)
    snapshot.put_node(Node(id="1", image_id=made.path))
    snapshot.put_upload(upload(FIRST, "south", state=UploadState.FAILED, reason="no room"))
    seen.note(snapshot)
    snapshot.drop_build("i", FIRST.id)
    snapshot.drop_upload(made.path)
    seen.note(snapshot)
    assert seen.as_report() == {
        "builds": 1, "uploads": 1, "uploads_by_format": {"raw": 1}, "booted_from": 1, "failed": 1,
    }  # fmt: skip
    assert seen.by_cloud == {"north": 1}
    assert list(seen.failures.values()) == ["upload to south: no room"]


def test_a_line_for_each_cloud_says_what_nodes_boot_from(snapshot):
    snapshot.put_build(replace(FIRST, state=BuildState.BUILDING))
    snapshot.put_upload(upload(FIRST, "north"))
    snapshot.put_upload(upload(SECOND, "north", state=UploadState.UPLOADING, external_id=None))
    north, south = image_lines(PLAN, snapshot)
    assert north == ImageLine(name="north", format="raw", ready=1, uploading=1, deleting=0, serves="11111111")
    assert south == ImageLine(name="south", format="", ready=0, uploading=0, deleting=0, serves="")
    assert builds_text(PLAN, snapshot, ImageTally(builds={"a"})) == "1 built so far, 1 building"


def test_builds_are_let_go_once_they_are_done():
    store = MemoryStore(MemoryTree())
    store.start()
    lock = store.lock_builds("i")
    store.create_build(Build(id=FIRST.id, image="i"), lock)
    assert not let_builds_go(store, at=5.0)
    with store.reading() as snapshot:
        (running,) = snapshot.builds()
    assert running.state is BuildState.BUILDING
    store.save_build(replace(running, state=BuildState.READY), lock)
    assert not let_builds_go(store, at=6.0)
    with store.reading() as snapshot:
        (marked,) = snapshot.builds()
    assert (marked.state, marked.state_time) == (BuildState.DELETING, 6.0)
    store.delete_build(marked)
    assert let_builds_go(store, at=7.0)
    store.close()
