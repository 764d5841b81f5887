"""The image janitor: what it removes, what it leaves, and that no crash or trouble makes a difference in the end."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from poolmgr.builder.files import ImageFiles
from poolmgr.model.cloud_image import ImageOwner
from poolmgr.model.image import BuildState, UploadState
from poolmgr.model.node import Node, NodeState
from poolmgr.policy.uploads import LocalFiles
from tests.fakes import ManualExecutor
from tests.scenario.builder_site import BuilderProcess, BuilderSite, build_id, provider
from tests.scenario.harness import Fuse

ORDERED = {"state": UploadState.DELETING, "reason": "by root@host: panics"}
#: Seconds after which all work of `everything` is done: when no import can end late any more.
DONE = 400.0
CLOUDS = {"north": "direct", "south": "direct", "rack": "tasks"}


@pytest.fixture
def site(tmp_path: Path) -> BuilderSite:
    return BuilderSite(tmp_path / "images")


def everything(directory: Path) -> BuilderSite:
    """Something of each kind of work there is."""
    site = BuilderSite(directory, CLOUDS)
    site.put_build(1, files=["qcow2", "raw"])
    site.put_build(2, files=["qcow2"])
    site.put_build(3, files=["qcow2"])
    site.put_build(4, files=["qcow2"])
    site.put_build(5, BuildState.FAILED, files=["raw"], reason="element broke")
    site.put_build(6, BuildState.BUILDING, files=["raw"])
    for number in (1, 2, 3, 4):
        site.put_upload(number, "north")
    site.put_upload(2, "south")
    site.put_upload(3, "south")
    site.put_upload(4, "south", **ORDERED)
    site.put_upload(3, "rack", UploadState.UPLOADING)
    site.put_upload(4, "rack", UploadState.FAILED, reason="503")
    started = site.clock.time()
    name = f"img-{started:.0f}"
    cut = site.put_upload(
        4, "rack", UploadState.FAILED, there=False, external_name=name, started=started, method="tasks"
    )
    site.put_object("rack", name, site.owner(cut))
    site.client.save_upload(replace(cut, staged=f"images/{name}"))
    return site


def outcome(site: BuilderSite) -> dict[str, Any]:
    """All that is there in the end."""
    clouds = site.world.clouds
    return {
        "images": {name: len(site.images(name)) for name in clouds},
        "objects": {name: site.objects(name) for name in clouds},
        "builds": {number: (build.state.value, build.withdrawn) for number, build in site.builds().items()},
        "uploads": {
            key: (upload.state.value, bool(upload.external_id), upload.staged)
            for key, upload in site.uploads().items()
        },
        "files": site.files(),
    }


def files_of(number: int, *formats: str) -> set[str]:
    base = f"img-{build_id(number)}"
    return {f"{base}.poolmgr.json"} | {f"{base}.{one}" for one in formats}


THE_END: dict[str, Any] = {
    "images": {"north": 2, "south": 2, "rack": 0},
    "objects": {"north": set(), "south": set(), "rack": set()},
    "builds": {2: ("ready", ()), 3: ("ready", ()), 4: ("ready", ("south",)), 5: ("failed", ())},
    "uploads": {
        (3, "north", 0): ("ready", True, None),
        (4, "north", 0): ("ready", True, None),
        (2, "south", 0): ("ready", True, None),
        (3, "south", 0): ("ready", True, None),
        (4, "rack", 1): ("failed", False, None),
    },
    "files": files_of(2, "qcow2") | files_of(3, "qcow2") | files_of(4, "qcow2"),
}


def test_all_work_is_done_and_nothing_else(tmp_path):
    site = everything(tmp_path / "images")
    site.run(site.start(), seconds=DONE)
    assert outcome(site) == THE_END


def test_a_pass_with_nothing_to_do_does_nothing(tmp_path):
    site = everything(tmp_path / "images")
    process = site.start()
    site.run(process, seconds=DONE)
    process.cycle()
    writes = process.memory.writes
    calls = {name: dict(cloud.calls) for name, cloud in site.world.clouds.items()}
    assert process.cycle() is not None
    assert process.cycle() > 0.0  # type: ignore[operator]
    assert process.memory.writes == writes
    assert calls == {name: dict(cloud.calls) for name, cloud in site.world.clouds.items()}


def acts(tmp_path: Path) -> int:
    site = everything(tmp_path / "counted")
    process = site.start()
    site.run(process, seconds=DONE)
    return process.fuse.count


@pytest.mark.integration  # seconds of computing
def test_killed_anywhere_the_next_one_finishes(tmp_path):
    count = acts(tmp_path)
    assert count > 40
    for at in range(1, count + 1):
        site = everything(tmp_path / f"{at}")
        doomed = site.start(fuse=Fuse(at, after=at % 2 == 0))
        site.run(doomed, seconds=DONE)
        assert not doomed.alive
        site.run(site.start(), seconds=DONE)
        assert outcome(site) == THE_END, at


@pytest.mark.integration  # seconds of computing
def test_a_session_lost_anywhere_changes_nothing_in_the_end(tmp_path):
    for at in range(1, acts(tmp_path) + 1, 2):
        site = everything(tmp_path / f"{at}")
        fuse = Fuse(at)
        process = site.start(fuse=fuse)
        fuse.instead = process.memory.expire
        site.run(process, seconds=DONE + 200.0)
        assert outcome(site) == THE_END, at


@pytest.mark.integration  # seconds of computing
def test_two_janitors_do_not_disturb_each_other(tmp_path):
    """At each act of one, the other does all it can."""
    for at in range(1, acts(tmp_path) + 1, 2):
        site = everything(tmp_path / f"{at}")
        fuse = Fuse(at)
        mine, hers = site.start(fuse=fuse), site.start(name="she", directory=tmp_path / f"{at}-hers")
        fuse.instead = hers.cycle
        site.run(mine, hers, seconds=DONE)
        assert outcome(site) == THE_END, at


# Trouble in clouds


def deletions(site: BuilderSite, cloud: str) -> int:
    return site.calls(cloud, "image.DELETE.image")


def test_an_image_in_use_is_told_once_and_tried_again_in_ever_longer_pauses(site, caplog):
    site.put_build(1)
    site.put_upload(1, "north", **ORDERED)
    site.fault("north", kind="image-in-use", times=7)
    process = site.start()
    reasons = set()
    for _ in range(90):
        site.run(process, seconds=10.0)
        reasons |= {upload.reason for upload in site.uploads().values()}
    assert deletions(site, "north") == 5  # at 0, 30, 90, 210, 450 seconds
    (told,) = reasons - {ORDERED["reason"]}
    assert told.startswith(f"{ORDERED['reason']}; still there: ")
    told_logs = [r for r in caplog.records if "stays in the cloud" in r.getMessage()]
    assert len(told_logs) == 1
    site.run(process, seconds=2000.0)
    assert (site.uploads(), site.images("north")) == ({}, set())
    assert site.builds()[1].withdrawn == ("north",)


def test_what_others_protected_stays_until_they_let_go(site):
    for number in (1, 2, 3):
        site.put_build(number)
        site.put_upload(number, "north")
    first = site.uploads()[1, "north", 0]
    images = site.world.clouds["north"].images
    images.change(first.external_id, protected=True)
    process = site.start()
    site.run(process, seconds=900.0)
    upload = site.uploads()[1, "north", 0]
    assert upload.state is UploadState.DELETING
    assert upload.reason.startswith("surplus: ")
    assert site.builds()[1].state is BuildState.DELETING
    images.change(first.external_id, protected=False)
    site.run(process, seconds=900.0)
    assert sorted(site.builds()) == [2, 3]


def test_a_cloud_that_hangs_holds_up_nobody_else(site):
    site.put_build(1)
    site.put_upload(1, "north", **ORDERED)
    site.put_upload(1, "south", **ORDERED)
    hung = ManualExecutor()
    process = site.start(executors={"south": hung})
    site.run(process, seconds=600.0)
    assert site.images("north") == set()
    assert list(site.uploads()) == [(1, "south", 0)]
    assert len(hung) == 2  # the deletion and one sweep
    assert process.cycle() > 1.0
    hung.run_all()
    site.run(process, seconds=10.0)
    assert site.uploads() == {}


def test_a_cloud_that_does_not_answer_keeps_the_record(site):
    site.put_build(1)
    upload = site.put_upload(1, "north", **ORDERED)
    site.fault("north", kind="http-500", operations=["image.DELETE.image"])
    process = site.start()
    site.run(process, seconds=600.0)
    assert site.images("north") == {upload.external_id}
    assert site.uploads()[1, "north", 0].reason == ORDERED["reason"]
    site.world.clouds["north"].faults.clear()
    site.run(process, seconds=700.0)
    assert (site.images("north"), site.uploads()) == (set(), {})


def test_threads_that_take_nothing_more_are_not_asked_all_the_time(site):
    """A reload has replaced the provider's connection, or the builder stops."""
    site.put_build(1)
    site.put_upload(1, "north", **ORDERED)
    stopped = ManualExecutor()
    stopped.stop()
    process = site.start(executors={"north": stopped})
    process.cycle()
    assert process.cycle() == 5.0
    assert list(site.uploads()) == [(1, "north", 0)]


def test_a_bug_in_one_deletion_is_told_and_ends_nothing(site, caplog):
    site.put_build(1)
    site.put_upload(1, "north", **ORDERED)
    site.put_upload(1, "south", **ORDERED)
    process = site.start()

    def broken(image_id: str) -> None:
        raise RuntimeError(image_id)

    process.places["north"].images.delete_image = broken  # type: ignore[method-assign]
    site.run(process, seconds=60.0)
    assert list(site.uploads()) == [(1, "north", 0)]
    assert [r.exc_info is not None for r in caplog.records if r.levelno == logging.ERROR] == [True, True]


def test_what_is_gone_already_is_deleted(site):
    site.put_build(1)
    upload = site.put_upload(1, "north", **ORDERED)
    del site.world.clouds["north"].images.images[upload.external_id]
    site.run(site.start(), seconds=20.0)
    assert site.uploads() == {}


# Nodes, providers, images that are not known


def test_an_image_is_not_deleted_under_nodes(site):
    for number in (1, 2, 3):
        site.put_build(number)
        site.put_upload(number, "north")
    upload = site.uploads()[1, "north", 0]
    lock, node = site.client.create_node(
        Node(state=NodeState.IN_USE, provider="north", image_id=upload.path, labels=("a",))
    )
    process = site.start()
    site.run(process, seconds=600.0)
    assert upload.external_id in site.images("north")
    site.client.delete_node(node, lock)
    site.run(process, seconds=600.0)
    assert (upload.external_id in site.images("north"), sorted(site.builds())) == (False, [2, 3])


@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_node_that_chooses_an_image_as_it_is_marked_keeps_it(site, at):
    """Its launcher has not seen the mark. The acts: the build is dropped, the record locked, the upload marked."""
    for number in (1, 2, 3):
        site.put_build(number)
        site.put_upload(number, "north")
    upload = site.uploads()[1, "north", 0]
    fuse = Fuse(at)
    booting = Node(state=NodeState.BUILDING, provider="north", image_id=upload.path, labels=("a",))
    made: list[Any] = []
    fuse.instead = lambda: made.append(site.client.create_node(booting))
    process = site.start(fuse=fuse)
    site.run(process, seconds=100.0)
    assert upload.external_id in site.images("north")
    ((lock, node),) = made
    site.client.delete_node(node, lock)
    site.run(process, seconds=100.0)
    assert (upload.external_id in site.images("north"), sorted(site.builds())) == (False, [2, 3])


def test_a_record_that_another_builder_has_is_not_asked_for_all_the_time(site):
    site.put_build(1)
    lock, _ = site.client.lock_upload(site.put_upload(1, "north", **ORDERED))
    process = site.start()
    for _ in range(4):
        process.cycle()
    assert process.fuse.count == 1
    site.run(process, seconds=30.0, step=5.0)
    assert 4 <= process.fuse.count <= 7
    site.client.unlock(lock)
    site.run(process, seconds=30.0, step=5.0)
    assert site.uploads() == {}


def test_a_provider_taken_out_of_the_configuration_is_cleaned_through_the_cloud_of_its_records(site):
    for number in (1, 2, 3):
        site.put_build(number)
        site.put_upload(number, "north")
    site.put_upload(1, "south")
    nameless = site.put_upload(2, "south")
    site.client.save_upload(replace(nameless, cloud=None))
    site.without("south")
    process = site.start()
    site.run(process, seconds=500.0)
    assert len(site.images("south")) == 2
    site.run(process, seconds=500.0)
    assert site.images("south") == {nameless.external_id}
    assert sorted(site.builds()) == [2, 3]


def test_a_provider_that_lists_the_image_no_more_loses_all_of_it(site):
    site.put_build(1)
    site.put_upload(1, "north")
    site.put_upload(1, "south")
    site.settings = replace(
        site.settings, providers={"north": provider("north"), "south": provider("south", "other")}
    )
    site.run(site.start(), seconds=60.0)
    assert list(site.uploads()) == [(1, "north", 0)]
    assert (len(site.images("north")), site.images("south")) == (1, set())
    assert site.builds()[1].withdrawn == ()


def test_a_provider_that_moved_to_another_cloud_is_cleaned_where_its_image_is(tmp_path):
    site = BuilderSite(tmp_path / "images", CLOUDS)
    site.put_build(1)
    upload = site.put_upload(1, "north", **ORDERED)
    there = site.put_image("south", site.owner(upload))
    site.client.save_upload(replace(site.uploads()[1, "north", 0], cloud="south", external_id=there))
    site.run(site.start(), seconds=20.0)
    assert (site.uploads(), site.images("south")) == ({}, set())


def test_images_that_are_not_configured_are_left_alone(site):
    for number in (1, 2, 3, 4):
        site.put_build(number, files=["raw"])
        site.put_upload(number, "north")
    site.settings = replace(site.settings, diskimages={})
    before = outcome(site)
    site.run(site.start(), seconds=1000.0)
    assert outcome(site) == before


# Files


def test_files_go_once_they_are_uploaded(tmp_path):
    site = BuilderSite(tmp_path / "images", delete_after_upload=True)
    site.put_build(1, files=["qcow2", "raw"], formats="qcow2,raw")
    site.put_upload(1, "north")
    process = site.start()
    site.run(process, seconds=60.0)
    assert site.files() == files_of(1, "qcow2")
    site.put_upload(1, "south")
    site.run(process, seconds=60.0)
    assert site.files() == files_of(1)


def test_an_empty_store_costs_no_file_and_no_image(site, caplog):
    """The deployment is the same: the tree was emptied below it, or restored from an old backup."""
    site.put_build(1, files=["qcow2"])
    site.put_upload(1, "north")
    process = site.start()
    site.run(process, seconds=30.0)
    (upload,) = site.uploads().values()
    site.client.delete_upload(upload)
    site.client.delete_build(site.builds()[1])
    before = outcome(site)
    site.run(process, seconds=3000.0)
    assert outcome(site) == before
    assert [r.levelno for r in caplog.records].count(logging.ERROR) == 1
    site.run(site.start(), seconds=90000.0, step=600.0)
    assert site.files() == set()
    site.run(site.start(), seconds=1000.0)
    assert site.images("north") == set()


def test_records_that_come_back_end_the_alarm(site):
    site.put_files(1, "qcow2")
    process = site.start()
    site.run(process, seconds=30.0)
    assert "lacks records" in process.janitor.describe()
    site.put_build(1)
    site.run(process, seconds=30.0)
    assert "lacks records" not in process.janitor.describe()
    assert '"orphan_since": null' in (site.directory / f"img-{build_id(1)}.poolmgr.json").read_text()


def test_the_store_of_another_installation_is_told_and_costs_nothing(site, caplog):
    site.put_files(1, "qcow2")
    site.put_image("north", owner_of(site, 1, "north", deployment="e" * 32))
    before = outcome(site)
    site.run(site.start(deployment="e" * 32), seconds=90000.0, step=600.0)
    assert outcome(site) == before
    assert [r.levelno for r in caplog.records].count(logging.ERROR) == 1


def test_builds_of_nodepool_in_the_same_directory_are_taken_over(site):
    site.directory.mkdir()
    for number, builder in ((1, "she"), (2, "me"), (3, "me")):
        site.put_build(number, builder=builder)
        (site.directory / f"img-{build_id(number)}.raw").write_text("x")
    bad = site.directory / f"img-{build_id(3)}.poolmgr.json"
    bad.write_text("{")
    process = site.start()
    site.run(process, seconds=60.0)
    assert site.files() == files_of(2, "raw") | files_of(3, "raw") | {f"img-{build_id(1)}.raw"}
    assert bad.read_text() == "{"
    build = site.builds()[2]
    site.client.save_build(replace(build, state=BuildState.DELETING))
    site.run(process, seconds=60.0)
    assert site.files() == files_of(3, "raw") | {f"img-{build_id(1)}.raw"}


def test_files_are_ours_again_once_the_records_were_restored_into_a_new_store(site):
    site.put_files(1, "qcow2")
    site.put_build(1)
    process = site.start(deployment="e" * 32)
    site.run(process, seconds=60.0)
    assert "lacks records" not in process.janitor.describe()
    assert f'"deployment": "{"e" * 32}"' in (site.directory / f"img-{build_id(1)}.poolmgr.json").read_text()


# Leaks


def owner_of(site: BuilderSite, number: int, where: str, **more: Any) -> ImageOwner:
    plain = {"image": "img", "upload": "0000000009", "deployment": site.deployment}
    return ImageOwner(provider=where, build=build_id(number), **{**plain, **more})


def test_what_looks_like_ours_and_is_not_stays(site):
    (site.directory).mkdir()
    foreign = [
        owner_of(site, 1, "north", deployment=None),
        owner_of(site, 1, "north", deployment="f" * 32),
        owner_of(site, 1, "elsewhere"),
        None,
    ]
    kept = {site.put_image("north", owner) for owner in foreign}
    names = {
        f"img-{build_id(1)}.qcow2",
        f"img-arm64-{build_id(1)}.raw",
        "backup-2024010112.tar",
        f"img-{build_id(1)}.poolmgr.json.bak",
    }
    for name in names:
        (site.directory / name).write_text("x")
    site.run(site.start(), seconds=3000.0)
    assert site.images("north") == kept
    assert site.files() == names


def test_what_no_record_accounts_for_goes_after_some_looks(tmp_path):
    site = BuilderSite(tmp_path / "images", CLOUDS)
    site.put_image("north", owner_of(site, 1, "north"))
    site.put_object("rack", "left", owner_of(site, 1, "rack"))
    process = site.start()
    site.run(process, seconds=150.0)
    assert (len(site.images("north")), site.objects("rack")) == (1, {"left"})
    site.run(process, seconds=100.0)
    assert (site.images("north"), site.objects("rack")) == (set(), set())
    assert sorted(process.stats.leaks) == [("north", "images"), ("rack", "objects")]
    assert process.canary.sweeps == 9  # three looks at three clouds


def test_an_image_by_a_task_that_ended_late_is_found_by_its_name(tmp_path):
    """The task of a builder that was killed makes an image that bears nothing but the name it asked for."""
    site = BuilderSite(tmp_path / "images", CLOUDS)
    started = site.clock.time()
    name = f"img-{started:.0f}"
    site.put_build(1)
    site.put_upload(
        1, "rack", UploadState.UPLOADING, there=False, external_name=name, started=started, method="tasks"
    )
    strange = site.put_image("rack", name="img-1600000000")
    process = site.start()
    site.run(process, seconds=20.0)
    assert site.uploads()[1, "rack", 0].state is UploadState.DELETING
    site.put_image("rack", name=name)
    site.run(process, seconds=80.0)
    assert site.images("rack") == {strange}
    assert site.uploads()[1, "rack", 0].state is UploadState.DELETING
    site.run(process, seconds=200.0)
    assert site.uploads() == {}


def test_a_sweep_stands_still_while_records_are_missing(site):
    site.put_files(1, "qcow2")
    site.put_image("north", owner_of(site, 2, "north"))
    site.run(site.start(), seconds=2000.0)
    assert len(site.images("north")) == 1


def test_a_list_from_before_a_lost_session_proves_nothing(site):
    """While the session was away, another builder may have made the image's record."""
    site.put_image("north", owner_of(site, 1, "north"))
    process = site.start()
    cloud = process.places["north"].images
    listed, sessions_lost = cloud.list_images, [0]

    def listing_through_a_lost_session() -> Any:
        sessions_lost[0] += 1
        if sessions_lost[0] == 1:
            process.memory.expire()
        return listed()

    cloud.list_images = listing_through_a_lost_session  # type: ignore[method-assign]
    site.run(process, seconds=290.0)  # three looks, of which two count, not far enough apart
    assert len(site.images("north")) == 1
    site.run(process, seconds=100.0)
    assert site.images("north") == set()


def test_after_a_lost_session_everybody_has_time_to_take_their_locks_again(site):
    """All of them lost theirs with it, perhaps."""
    site.put_build(1, BuildState.BUILDING, builder="she")
    process = site.start()
    site.run(process, seconds=100.0)
    process.memory.expire()
    site.run(process, seconds=100.0)
    assert site.builds()[1].state is BuildState.BUILDING
    site.run(process, seconds=50.0)
    assert site.builds()[1].state is BuildState.DELETING
    site.run(process, seconds=90000.0, step=600.0)
    assert site.builds() == {}


def test_files_do_not_outlive_a_record_that_goes_in_mid_pass(site, monkeypatch):
    """Deleted after the look at the disk: without the record they would be kept for the long grace."""
    build = site.put_build(1, files=["raw"])
    process = site.start()
    local = ImageFiles.local

    def deleted_meanwhile(files: ImageFiles) -> LocalFiles:
        found = local(files)
        site.client.save_build(replace(build, state=BuildState.DELETING))
        return found

    with monkeypatch.context() as patch:
        patch.setattr(ImageFiles, "local", deleted_meanwhile)
        process.cycle()
    assert (site.builds(), site.files()) == ({}, set())


def test_it_starts_wakes_and_stops(site):
    process: BuilderProcess = site.start()
    process.janitor.start()
    process.janitor.wake()
    assert process.janitor.stop(10.0)
    assert process.janitor.stalled(site.clock.monotonic()) is None
    assert "no cycle" in str(process.janitor.stalled(site.clock.monotonic() + 1e6))
