"""`poolmgr-builder` as a process: killed in every phase, frozen, raced, told to stop, steered by commands.

Afterwards there is exactly one good build of the image, in every cloud, and nothing beside it: no image or object
without a record, no file, no process.
"""

from __future__ import annotations

import os
import random
import signal
import time
import uuid
from pathlib import Path

import pytest

from poolmgr.model.image import BuildState, UploadState
from poolmgr.runtime.zookeeper_server import ZooKeeperServer
from tests.integration.builder_place import SESSION_TIMEOUT, Site
from tests.sites import eventually

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def zookeeper(tmp_path_factory):
    """One with a short tick: the sessions of what was killed have to end soon."""
    server = ZooKeeperServer(tmp_path_factory.mktemp("zookeeper"))
    server.start()
    yield f"127.0.0.1:{server.port}"
    server.stop()


@pytest.fixture
def site(tmp_path, zookeeper):
    made = Site(tmp_path, f"{zookeeper}/{uuid.uuid4().hex}")
    yield made
    made.close()


@pytest.fixture
def builder(site):
    return site.builders[0]


def one_building(site):
    return next((b for b in site.builds() if b.state is BuildState.BUILDING), None)


def uploading(site, cloud, condition=lambda upload: True):
    """The upload that is going on to the cloud and for which the condition holds."""
    found = [u for u in site.uploads(cloud) if u.state is UploadState.UPLOADING and condition(u)]
    return found[0] if found else None


def working(builder):
    """Processes of the pretended image command of this builder."""
    mark = str(builder.images).encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if b"poolmgr.simcloud.dib" in command and mark in command:
            found.append(int(entry.name))
    return found


# Each brings the builder into its phase and kills it there.


def during_the_build(site, builder):
    site.set_image(seconds=5.0)
    builder.start()
    eventually(lambda: one_building(site) and working(builder))
    builder.crash()
    site.set_image()


def between_build_and_record(site, builder):
    site.set_image(seconds=1.0)
    builder.start()
    eventually(lambda: working(builder))
    builder.freeze()  # the command goes on to its end, and nobody notes it
    eventually(lambda: len(list(builder.images.glob("*.sha256"))) == len(site.clouds))
    assert one_building(site)
    builder.crash()


def before_the_image_is_made(site, builder):
    site.fault("sim-put", kind="hang", operations=["image.POST.images"])
    builder.start()
    eventually(lambda: uploading(site, "sim-put"))
    builder.crash()
    assert site.cloud_images("sim-put") == []


def after_the_image_is_made(site, builder):
    """The call arrived, its answer does not: no record names the image."""
    site.fault("sim-put", kind="lost-answer", seconds=60, operations=["image.POST.images"])
    builder.start()
    eventually(lambda: site.cloud_images("sim-put"))
    builder.crash()
    assert uploading(site, "sim-put").external_id is None


def in_the_middle_of_bytes(site, builder):
    site.set_providers(**{"upload-rate-limit": 400_000})
    builder.start()
    sent = eventually(lambda: uploading(site, "sim-put", lambda u: u.external_id and u.sent > 0))
    builder.crash()
    assert sent.external_id in [image["id"] for image in site.cloud_images("sim-put")]
    site.set_providers(**{"upload-rate-limit": 0})


def in_the_middle_of_an_object(site, builder):
    site.add_cloud("sim-tasks")
    site.set_providers(**{"upload-rate-limit": 400_000})
    builder.start()
    eventually(lambda: uploading(site, "sim-tasks", lambda u: u.staged and u.sent > 0))
    builder.crash()
    site.set_providers(**{"upload-rate-limit": 0})


def between_upload_and_record(site, builder):
    hook = site.directory / "hook"
    hook.write_text(f"#!/bin/sh\ntouch {hook}.began\n[ -e {hook}.good ] || sleep 60\n")
    hook.chmod(0o755)
    site.set_providers(**{"post-upload-hook": str(hook)})
    builder.start()
    eventually(lambda: Path(f"{hook}.began").exists())
    builder.crash()
    Path(f"{hook}.good").touch()


def during_a_deletion(site, builder):
    builder.start()
    site.settles()
    site.fault("sim-put", kind="hang", operations=["image.DELETE.image"])
    site.set_image(**{"rebuild-age": 1})
    eventually(lambda: any(u.state is UploadState.DELETING for u in site.uploads("sim-put")))
    builder.crash()
    site.set_image()


PHASES = [
    during_the_build,
    between_build_and_record,
    before_the_image_is_made,
    after_the_image_is_made,
    in_the_middle_of_bytes,
    in_the_middle_of_an_object,
    between_upload_and_record,
    during_a_deletion,
]


@pytest.mark.parametrize("phase", PHASES, ids=lambda phase: phase.__name__)
def test_killed_in_a_phase_it_leaves_nothing_that_the_next_does_not_tidy_up(site, builder, phase):
    phase(site, builder)
    site.calm()
    builder.start()
    site.settles()
    assert builder.process.stop()
    assert list(site.strangers()) == []


@pytest.mark.parametrize("seed", [1])
def test_killed_again_and_again_while_it_builds_uploads_and_deletes(site, builder, seed):
    rng = random.Random(seed)
    site.set_image(**{"rebuild-age": 1})
    site.set_providers(**{"upload-rate-limit": 2_000_000})
    for _ in range(5):
        builder.start()
        time.sleep(1.2 + 1.8 * rng.random())  # into whatever it is doing then; it takes a second to start
        builder.crash()
    site.set_image()
    builder.start()
    site.settles()


def test_two_builders_share_the_work_and_do_nothing_twice(site, builder):
    other = site.builder("b")
    site.change(
        diskimages=[site.image(name, seconds=1.5) for name in ("noble", "jammy")],
        providers=[
            {**provider, "diskimages": [{"name": "noble"}, {"name": "jammy"}]}
            for provider in site.config["providers"]
        ],
    )
    builder.start()
    other.start()
    site.settles()
    assert {build.builder_id for build in site.builds()} == {
        (b.images / "builder_id.txt").read_text() for b in (builder, other)
    }
    for cloud in site.clouds:  # one of each, ever
        assert len(site.cloud_images(cloud)) == 2
    assert len(list((builder.directory / "logs").iterdir())) == 1
    assert len(list((other.directory / "logs").iterdir())) == 1


def test_a_second_builder_in_the_same_directory_is_refused(site, builder):
    builder.start()
    builder.says("is running")
    second = type(builder.process)(
        "builder", builder.config_path, site.directory / "second", builder.process.environ
    )
    second.start()
    eventually(lambda: not second._process.running)
    assert f"another builder works there, process {builder.process.pid}" in second.log_path.read_text()
    assert second._process.wait() == 1
    builder.process.check()


@pytest.mark.parametrize("phase", ["building", "uploading"])
def test_told_to_stop_it_ends_what_it_does_and_leaves_no_process(site, builder, phase):
    if phase == "building":
        site.set_image(seconds=30.0)
    site.set_providers(**{"upload-rate-limit": 100_000})
    builder.start()
    if phase == "building":
        eventually(lambda: working(builder))
    else:
        eventually(lambda: uploading(site, "sim-put", lambda u: u.sent > 0))
    assert builder.process.stop(), builder.log()
    assert list(site.strangers()) == []
    assert "Traceback" not in builder.log()
    assert [image for cloud in site.clouds for image in site.cloud_images(cloud)] == []
    site.set_image()
    site.set_providers(**{"upload-rate-limit": 0})
    builder.start()
    site.settles()


def test_a_build_outlives_the_loss_of_its_session(site, builder):
    site.set_image(seconds=2 * SESSION_TIMEOUT)
    builder.start()
    build = eventually(lambda: working(builder) and one_building(site))
    builder.freeze()
    eventually(lambda: not locked(site, "noble"))
    builder.thaw()
    site.settles()
    assert [b.id for b in site.builds()] == [build.id], "it was not thrown away"


def locked(site, image):
    with site.store.reading() as snapshot:
        return snapshot.build_locked(image)


def test_orders_of_people_are_carried_out_while_it_works(site, builder):
    builder.start()
    site.settles()
    (first,) = site.builds()
    site.command("image-build", "noble")
    eventually(lambda: {b.id for b in site.builds()} - {first.id})
    site.settles()
    (second,) = site.builds()
    assert second.id != first.id
    site.command("image-pause", "noble")
    site.command("dib-image-delete", second.name)
    eventually(lambda: not site.builds() and not site.uploads())
    eventually(lambda: not list(builder.images.glob("noble*")))
    site.command("image-unpause", "noble")
    site.settles()


def test_a_deleted_upload_brings_the_image_before_it_back_and_does_not_return(site, builder):
    site.set_image(**{"keep-builds": 2, "keep-uploads": 2})
    builder.start()
    eventually(lambda: len(serving(site)) == len(site.clouds))
    before = serving(site)["sim-put"]
    site.command("image-build", "noble")
    bad = eventually(lambda: serving(site)["sim-put"].build != before.build and serving(site)["sim-put"])
    site.command(
        "image-delete", "--provider", "sim-put", "--image", "noble",
        "--build-id", bad.build, "--upload-id", bad.id,
    )  # fmt: skip
    eventually(lambda: serving(site)["sim-put"].path == before.path)
    eventually(lambda: [u.path for u in site.uploads("sim-put")] == [before.path])
    builder.process.stop()
    builder.start()  # nor does it after a restart
    builder.says("Stopped")
    eventually(lambda: builder.log().count("is running") == 2)
    time.sleep(1.0)
    assert [u.path for u in site.uploads("sim-put")] == [before.path]


def serving(site):
    """What nodes boot from, by cloud."""
    with site.store.reading() as snapshot:
        found = {cloud: snapshot.newest_upload("noble", cloud) for cloud in site.clouds}
    return {cloud: upload for cloud, upload in found.items() if upload}


def test_it_goes_by_changed_files_and_tells_metrics(site, builder):
    whole = site.config["providers"]
    site.change(providers=whole[:1])
    builder.start()
    eventually(lambda: list(serving(site)) == ["sim-put"])
    good = builder.config_path.read_text()
    builder.config_path.write_text("providers: 3\n")
    builder.says("the old one stays in force")
    builder.config_path.write_text(good)
    site.change(providers=whole)  # its format is new, too
    eventually(lambda: list(serving(site)) == list(site.clouds))
    os.kill(builder.process.pid, signal.SIGHUP)
    eventually(lambda: builder.log().count("configuration loaded") >= 2)
    site.settles()
    assert builder.process.stop()
    site.sink.drain()
    names = set(site.sink.values)
    assert site.sink.malformed == []
    for name in (
        "nodepool.dib_image_build.noble.status.rc",
        "nodepool.dib_image_build.noble.status.duration",
        "nodepool.dib_image_build.noble.status.last_build",
        "nodepool.dib_image_build.noble.raw.size",
        "nodepool.image_update.noble.sim-raw",
        "nodepool.image_build_requests",
        "nodepool.image.noble.image_build_requests",
        "poolmgr.image.noble.provider.sim-put.age",
    ):
        assert name in names
    for end in ("current_builds", "build_workers", "image.noble.build.state"):
        assert any(name.startswith("nodepool.builder.") and name.endswith(f".{end}") for name in names)


def test_without_zookeeper_it_waits_and_can_be_stopped(site, builder):
    site.change(**{"zookeeper-servers": [{"host": "127.0.0.1", "port": 1}]})
    builder.start()
    builder.says("Starting, process")
    eventually(lambda: (builder.images / "builder_id.txt").exists())
    assert builder.process.stop()
