"""Uploads by the builder: kill -9 and lost answers at every act, people and reloads in the middle, hooks and trials.

After each of them one whole image serves, or the one before it, and nothing is left that no record names.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from poolmgr.builder.manifest import write_manifest
from poolmgr.cloud.api import TrialResult
from poolmgr.config.settings import (
    BootImage,
    DiskImage,
    ImageBuild,
    Pool,
    PoolLabel,
    ProviderImage,
    Validation,
)
from poolmgr.errors import CloudUnavailable, ConfigError, OverQuota
from poolmgr.model.cloud_image import UploadPhase, UploadProgress
from poolmgr.model.image import BuildState, UploadState
from tests.fakes import ManualExecutor
from tests.scenario.harness import Fuse
from tests.scenario.uploading import CONTENT, ScriptedCanary, Uploader, UploadSite, provider

SHAPES = ("nat", "import", "tasks")
LABEL = PoolLabel(name="small", image=BootImage(name="debian", is_disk_image=True))
POOLS = {"main": Pool(name="main", labels={"small": LABEL})}
TRIED = DiskImage(
    name="debian", username="debian", build=ImageBuild(validate=Validation(label="small", command="true"))
)


@pytest.fixture
def site(tmp_path) -> UploadSite:
    return UploadSite(tmp_path)


def hook(tmp_path: Path, script: str) -> str:
    path = tmp_path / "hook"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def during_put(site: UploadSite, act: Callable[[], object], operation: str = "image.PUT.image_file") -> None:
    """Have something happen while bytes go out, once."""
    cloud = site.processes[-1].clouds["one"]
    ask = cloud._calls.ask

    def asked(name: str, call: Any, *, subject: str = "") -> Any:
        if name == operation:
            cloud._calls.ask = ask
            act()
        return ask(name, call, subject=subject)

    cloud._calls.ask = asked


def bodies(process: Uploader) -> int:
    """How often the process has sent an image."""
    return process.clouds["one"].calls.get("image.PUT.image_file", 0)


# -- the whole way ----------------------------------------------------------------------------------------


def test_a_build_is_uploaded_once_and_its_record_says_all(site):
    build = site.build()
    process = site.start()
    assert site.run(site.ready)
    site.run(seconds=600)
    upload = site.assert_one_ready()
    assert (upload.format, upload.username, upload.python_path) == ("raw", "ci", "/usr/bin/python3")
    assert (upload.builder, upload.builder_id, upload.cloud) == ("host.example.org", "one", "one")
    assert upload.external_name == f"debian-{int(upload.started or 0)}"
    assert (upload.size, upload.sent, upload.phase, upload.failures) == (len(CONTENT), len(CONTENT), None, 0)
    assert upload.sha256 == build.files["raw"]["sha256"]
    assert upload.duration == upload.state_time - (upload.started or 0)
    assert process.stats.uploads == [("debian", "one", True)]
    assert process.parts.activity.uploads == frozenset()
    (image,) = site.images()
    assert image.name == upload.external_name
    assert image.properties["nodepool_build_id"] == build.id
    assert image.properties["nodepool_upload_id"] == upload.id


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_made_in_the_cloud_is_in_the_record_before_the_first_byte(shape, tmp_path):
    site, seen = UploadSite(tmp_path, {"one": shape}), []
    site.build()
    site.start()
    operation = {"nat": "image.PUT.image_file", "import": "image.PUT.image_stage"}.get(
        shape, "object-store.PUT.object"
    )
    during_put(site, lambda: seen.append((site.upload(), site.images())), operation)
    assert site.run(site.ready)
    ((upload, images),) = seen
    if shape == "tasks":
        assert upload.staged == f"images/poolmgr-{upload.external_name}-" + (upload.staged or "")[-8:]
    else:
        assert upload.external_id == images[0].id
    assert upload.phase == "sending"
    assert site.assert_one_ready().staged is None


def test_metadata_of_the_image_and_of_the_provider(tmp_path):
    listed = ProviderImage(name="debian", meta={"hw_disk_bus": "scsi"})
    image = DiskImage(name="debian", metadata={"hw_disk_bus": "virtio", "os_type": "linux", "count": 3})
    site = UploadSite(tmp_path, providers=[provider("one", [listed])], image=image)
    site.build()
    site.start()
    assert site.run(site.ready)
    properties = site.images()[0].properties
    assert (properties["hw_disk_bus"], properties["os_type"], properties["count"]) == ("scsi", "linux", "3")


def test_what_the_manifest_of_a_build_says_goes_with_it(site):
    build = site.build()
    manifest = site.directory / f"{build.name}.manifest.json"
    write_manifest(manifest, {"format": 1, "config_hash": "c0ffee", "packages": [{}, {}]})
    site.start()
    assert site.run(site.ready)
    properties = site.images()[0].properties
    assert (properties["poolmgr_config_hash"], properties["poolmgr_packages"]) == ("c0ffee", "2")


@pytest.mark.parametrize("ahead", [0.0, 1e9])
def test_the_next_build_follows_and_the_one_before_stays(site, ahead):
    """Also when a clock was wrong when the one before was made."""
    site.build()
    site.start()
    assert site.run(site.ready)
    site.client.save_upload(replace(site.upload(), state_time=site.clock.time() + ahead))
    site.clock.advance(60.0)
    newer = site.build()
    assert site.run(lambda: site.ready(2))
    with site.client.reading() as snapshot:
        newest = snapshot.newest_upload("debian", "one")
    assert newest is not None
    assert newest.build == newer.id


# -- kill -9 ----------------------------------------------------------------------------------------------


def crash_run(directory: Path, shape: str, at: int, *, after: bool, tried: bool = False) -> int:
    """One upload with a crash at act number `at`, then a new process; returns how many acts the first one made."""
    directory.mkdir()
    one = provider("one", pools=POOLS) if tried else provider("one")
    image = TRIED if tried else DiskImage(name="debian")
    site = UploadSite(directory, {"one": shape}, providers=[one], image=image)
    site.build()
    fuse = Fuse(at, after=after)
    site.start(fuse)

    def done() -> bool:
        if not any(process.alive for process in site.processes):
            site.start()
        return site.ready() and site.locks() == []

    assert site.run(done), (at, after, site.left())
    site.run(done, seconds=60)
    site.assert_one_ready()
    assert len(site.processes) == (1 if at >= 1000 else 2), at
    return fuse.count


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("shape", "tried"), [*((shape, False) for shape in SHAPES), ("nat", True)])
def test_a_crash_at_any_act_leaves_one_image_in_the_end(shape, tried, after, tmp_path):
    total = crash_run(tmp_path / "whole", shape, 1000, after=after, tried=tried)
    assert 9 < total < 40
    for at in range(1, total + 1):
        crash_run(tmp_path / str(at), shape, at, after=after, tried=tried)


@pytest.mark.parametrize("expire", [False, True], ids=["suspended", "expired"])
@pytest.mark.parametrize("shape", SHAPES)
def test_an_answer_lost_at_any_write_leaves_one_image_in_the_end(shape, expire, tmp_path):
    def run(at: int) -> int:
        directory = tmp_path / str(at)
        directory.mkdir()
        site = UploadSite(directory, {"one": shape})
        site.build()
        fuse = Fuse(at)
        process = site.start(fuse)

        def lose() -> None:
            process.memory.lose_next_answer()
            site.clock.after(20.0, process.memory.expire if expire else process.memory.resume)

        fuse.instead = lose
        assert site.run(lambda: site.ready() and site.locks() == []), (at, site.left())
        site.run(seconds=120)
        assert process.memory.connected
        site.assert_one_ready()
        return fuse.count

    total = run(1000)
    for at in range(1, total + 1):
        run(at)


@pytest.mark.parametrize("seed", range(3))
def test_many_crashes_in_a_row(seed, tmp_path):
    rng = random.Random(seed)
    site = UploadSite(tmp_path, {"one": "nat", "two": "import", "three": "tasks"}, max_parallel_uploads=2)
    site.build()

    def done() -> bool:
        if not any(process.alive for process in site.processes):
            site.start(
                Fuse(rng.randrange(1, 12), after=rng.random() < 0.5) if len(site.processes) < 12 else None
            )
        return site.ready(3) and site.locks() == []

    assert site.run(done, seconds=2000), site.left()
    for cloud in ("one", "two", "three"):
        site.assert_one_ready(cloud)
    assert len(site.processes) > 3


# -- a cloud that refuses our login ----------------------------------------------------------------------


def test_nothing_is_begun_while_the_cloud_refuses_our_login(site):
    site.build()
    process = site.start()
    cloud = process.clouds["one"]
    cloud.login_rest = lambda: max(0.0, 600.0 - site.clock.monotonic())
    site.run(seconds=590.0)
    assert site.uploads() == []
    assert process.memory.writes < 5
    assert "refused our login, again in 10 s" in process.queues["one"].describe()
    assert site.run(site.ready)
    site.assert_one_ready()
    assert site.clock.monotonic() < 640.0


# -- the session ends in mid-upload -----------------------------------------------------------------------


def test_an_upload_outlives_its_session_and_takes_the_lock_again(site):
    site.build()
    process = site.start()
    during_put(site, process.memory.expire)
    assert site.run(site.ready)
    site.assert_one_ready()
    assert bodies(process) == 1
    assert len(process.stats.uploads) == 1


def test_an_upload_whose_store_is_away_at_its_end_waits_for_it(site):
    site.build()
    process = site.start()

    def away() -> None:
        process.memory.suspend()
        site.clock.after(300.0, process.memory.resume)

    during_put(site, away)
    assert site.run(site.ready)
    assert site.clock.monotonic() >= 300.0
    site.assert_one_ready()
    assert bodies(process) == 1


def test_an_upload_whose_store_stays_away_is_taken_up_again_with_its_image(site):
    site.build()
    process = site.start()

    def away() -> None:
        process.memory.suspend()
        site.clock.after(5000.0, process.memory.expire)

    during_put(site, away)
    assert site.run(site.ready, seconds=8000)
    upload = site.assert_one_ready()
    assert upload.id == "0000000001"
    assert bodies(process) == 1


def test_an_upload_that_someone_else_has_locked_meanwhile_is_theirs(site):
    site.build()
    process = site.start()
    other = []

    def stolen() -> None:
        process.memory.expire()
        upload = site.upload()
        other.append(site.client.lock_uploads(upload.image, upload.build, upload.provider))

    during_put(site, stolen)
    site.run(seconds=60)
    assert site.upload().state is UploadState.UPLOADING
    site.client.unlock(other[0])
    assert site.run(site.ready)
    site.assert_one_ready()


# -- people, in the middle --------------------------------------------------------------------------------


def test_an_upload_that_a_person_deletes_ends_at_once_and_stays_away(site):
    site.build()
    site.start()
    during_put(site, lambda: site.delete(site.upload()))
    site.run(seconds=600)
    site.assert_nothing()
    assert site.upload().state is UploadState.DELETING  # the janitor's


def test_an_upload_whose_record_is_removed_ends_at_once(site):
    site.build()
    process = site.start()

    def gone() -> None:
        site.client.delete_upload(site.upload())
        site.change("one", diskimages={"debian": ProviderImage(name="debian", pause=True)})

    during_put(site, gone)
    site.run(seconds=60)
    site.assert_nothing()
    assert site.uploads() == []
    assert process.stats.uploads == []


@pytest.mark.parametrize("why", ["paused", "not listed", "no such provider", "build deleted"])
def test_an_upload_that_is_not_wanted_any_more_leaves_nothing(why, site):
    build = site.build()
    process = site.start()

    def unwanted() -> None:
        match why:
            case "paused":
                site.change("one", diskimages={"debian": ProviderImage(name="debian", pause=True)})
            case "not listed":
                site.change("one", diskimages={})
            case "no such provider":
                site.settings = replace(site.settings, providers={})
            case _:
                site.client.save_build(replace(build, state=BuildState.DELETING))

    during_put(site, unwanted)
    site.run(seconds=300)
    site.assert_nothing()
    assert site.uploads() == []
    assert process.stats.uploads == []


def test_a_task_that_cannot_be_called_back_keeps_its_record(tmp_path):
    """It may still make an image, and that would bear nothing of ours but its name."""
    site = UploadSite(tmp_path, {"one": "tasks"})
    site.build()
    site.start()
    paused = {"debian": ProviderImage(name="debian", pause=True)}
    during_put(site, lambda: site.change("one", diskimages=paused), "image.GET.task")
    site.run(seconds=60)
    upload = site.upload()
    assert (upload.state, upload.method, upload.phase) == (UploadState.UPLOADING, "tasks", "importing")
    assert upload.external_name
    assert site.locks() == []
    site.change("one", diskimages={"debian": ProviderImage(name="debian")})
    assert site.run(site.ready)
    assert site.assert_one_ready().id == upload.id


def test_a_pause_that_is_over_lets_the_upload_begin_anew(site):
    site.build()
    site.start()
    during_put(
        site, lambda: site.change("one", diskimages={"debian": ProviderImage(name="debian", pause=True)})
    )
    site.run(seconds=60)
    assert site.uploads() == []
    site.change("one", diskimages={"debian": ProviderImage(name="debian")})
    assert site.run(site.ready)
    site.assert_one_ready()


def test_an_image_that_cannot_be_removed_keeps_its_record(site):
    site.build()
    site.start()

    def paused() -> None:
        site.change("one", diskimages={"debian": ProviderImage(name="debian", pause=True)})
        site.strike("http-503", operations=["image.DELETE.image"])

    during_put(site, paused)
    site.run(seconds=60)
    assert site.upload().state is UploadState.UPLOADING
    assert site.upload().external_id == site.images()[0].id
    assert site.locks() == []
    site.calm()
    site.change("one", diskimages={"debian": ProviderImage(name="debian")})
    assert site.run(site.ready)
    site.assert_one_ready()


# -- stopping ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
def test_a_stop_in_mid_upload_leaves_nothing_and_is_no_failure(shape, tmp_path):
    site = UploadSite(tmp_path, {"one": shape})
    site.build()
    process = site.start()
    operation = {"nat": "image.PUT.image_file", "import": "image.PUT.image_stage"}.get(
        shape, "object-store.PUT.object"
    )
    during_put(site, process.queues["one"].drain, operation)
    process.cycle()
    process.stop()
    site.assert_nothing()
    assert site.uploads() == []
    assert process.stats.uploads == []
    site.start()
    assert site.run(site.ready, seconds=20)
    site.assert_one_ready()


def test_a_stop_while_an_image_is_tried_keeps_it_for_the_next_start(tmp_path):
    site = UploadSite(tmp_path, providers=[provider("one", pools=POOLS)], image=TRIED)
    site.build()
    process = site.start()
    site.canaries["one"].during = process.queues["one"].drain
    process.cycle()
    process.stop()
    upload = site.upload()
    assert (upload.state, upload.phase) == (UploadState.UPLOADING, "validating")
    site.canaries["one"].during = lambda: None
    again = site.start()
    assert site.run(site.ready, seconds=20)
    assert site.assert_one_ready().external_id == upload.external_id
    assert bodies(again) == 0


def test_an_upload_that_a_cloud_holds_up_does_not_hold_up_the_stop(site):
    site.build()
    executor = ManualExecutor()
    process = site.start(executors={"one": executor})
    process.cycle()
    queue = process.queues["one"]
    assert len(executor) == 1
    assert not queue.stop(0.0)
    executor.run_all()
    assert queue.stop(0.0)
    assert site.uploads() == []
    assert process.fuse.count == 0  # what has not begun does not begin


# -- failures ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
def test_a_failure_is_told_leaves_nothing_and_the_old_image_serves_on(shape, tmp_path):
    site = UploadSite(tmp_path, {"one": shape})
    site.build()
    process = site.start()
    assert site.run(site.ready)
    old = site.upload()
    site.clock.advance(10.0)
    newer = site.build()
    site.strike("http-503", operations=["*.PUT.*"])
    assert site.run(lambda: site.uploads(UploadState.FAILED), seconds=100)
    (failed,) = site.uploads(UploadState.FAILED)
    assert (failed.failures, failed.external_id, failed.staged) == (1, None, None)
    assert "no answer to" in (failed.reason or "")
    assert failed.build == newer.id
    assert [image.id for image in site.images()] == [old.external_id]
    assert site.objects() == []
    assert site.locks() == []
    with site.client.reading() as snapshot:
        assert snapshot.newest_upload("debian", "one") == old
    assert process.stats.uploads[-1] == ("debian", "one", False)
    site.calm()
    assert site.run(lambda: site.ready(2), seconds=100)
    assert len(site.images()) == 2


def test_failures_are_further_and_further_apart(site):
    site.build()
    process = site.start()
    site.strike("http-500", operations=["image.POST.images"])
    times: list[float] = []

    def watch() -> bool:
        if len(process.stats.uploads) > len(times):
            times.append(site.clock.monotonic())
        return len(times) == 6

    assert site.run(watch, seconds=10_000)
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert gaps == pytest.approx([60, 120, 240, 480, 960], abs=15)
    assert max(upload.failures for upload in site.uploads()) == 6


def test_what_cannot_be_removed_after_a_failure_stays_on_the_record(site):
    site.build()
    site.start()
    site.strike("http-500", operations=["image.PUT.image_file"])
    site.strike("image-in-use", operations=["image.DELETE.image"])
    assert site.run(lambda: site.uploads(UploadState.FAILED), seconds=100)
    upload = site.upload()
    assert upload.external_id in {image.id for image in site.images()}
    assert "could not be removed" in (upload.reason or "")


@pytest.mark.parametrize(
    ("name_format", "name"),
    [("{image_name}", "debian-0000000001"), ("{image_name}-{upload_id}", "debian-0000000001")],
)
def test_names_differ_from_upload_to_upload(name_format, name, tmp_path, caplog):
    site = UploadSite(tmp_path, providers=[provider("one", image_name_format=name_format)])
    site.build()
    site.start()
    assert site.run(site.ready)
    assert site.images()[0].name == name == site.upload().external_name
    assert ("would name all uploads" in caplog.text) is (name_format == "{image_name}")


def test_a_bad_name_format_is_a_failure_that_says_so(tmp_path):
    site = UploadSite(tmp_path, providers=[provider("one", image_name_format="{nonsense}")])
    site.build()
    site.start()
    assert site.run(lambda: site.uploads(UploadState.FAILED))
    assert "image-name-format '{nonsense}'" in (site.upload().reason or "")
    site.assert_nothing()


def test_a_file_that_has_changed_since_it_was_built_is_not_uploaded(site):
    build = site.build()
    (site.directory / f"debian-{build.id}.raw").write_bytes(b"half")
    site.start()
    assert site.run(lambda: site.uploads(UploadState.FAILED))
    assert "4 bytes" in (site.upload().reason or "")
    site.assert_nothing()


def test_an_upload_that_takes_too_long_is_a_failure(tmp_path):
    site = UploadSite(tmp_path, providers=[provider("one", image_upload_timeout=50.0)])
    site.build()
    site.start()
    site.strike("slow-image", seconds=10_000.0)
    assert site.run(lambda: site.uploads(UploadState.FAILED), seconds=100)
    assert (site.upload().duration or 0) < 100
    site.assert_nothing()


def test_a_crash_of_ours_is_told_and_not_repeated_at_once(site, caplog):
    site.build()
    process = site.start()
    images = process.clouds["one"]
    upload_image, tries = images.upload_image, []

    def crash(*args: Any, **more: Any) -> Any:
        tries.append(site.clock.monotonic())
        if len(tries) < 3:
            raise ZeroDivisionError("a mistake")
        return upload_image(*args, **more)

    images.upload_image = crash
    assert site.run(site.ready)
    gaps = [later - earlier for earlier, later in itertools.pairwise(tries)]
    assert gaps == pytest.approx([60, 120], abs=10)
    assert "a mistake" in caplog.text
    assert site.assert_one_ready().failures == 0


# -- hooks ------------------------------------------------------------------------------------------------


def test_a_hook_is_told_provider_id_and_file(tmp_path):
    script = hook(tmp_path, f'echo "$@" >> {tmp_path}/told')
    images = tmp_path / "images"
    images.mkdir()
    site = UploadSite(images, providers=[provider("one", post_upload_hook=script)])
    build = site.build()
    site.start()
    assert site.run(site.ready)
    upload = site.assert_one_ready()
    told = (tmp_path / "told").read_text().splitlines()
    assert told == [f"one {upload.external_id} {images}/debian-{build.id}.raw"]


def test_an_image_that_the_hook_refuses_does_not_stay(tmp_path):
    script = hook(tmp_path, "echo it smells; exit 1")
    images = tmp_path / "images"
    images.mkdir()
    site = UploadSite(images, providers=[provider("one", post_upload_hook=script)])
    site.build()
    site.start()
    assert site.run(lambda: site.uploads(UploadState.FAILED))
    assert "exit code 1: it smells" in (site.upload().reason or "")
    assert site.upload().external_id is None
    site.assert_nothing()
    hook(tmp_path, "exit 0")
    assert site.run(site.ready)
    assert len(site.images()) == 1


def test_a_refused_image_that_cannot_be_deleted_is_not_forgotten(tmp_path):
    script = hook(tmp_path, "exit 1")
    images = tmp_path / "images"
    images.mkdir()
    site = UploadSite(images, providers=[provider("one", post_upload_hook=script)])
    site.build()
    site.start()
    site.strike("image-in-use")
    assert site.run(lambda: site.uploads(UploadState.FAILED))
    assert site.upload().external_id == site.images()[0].id


# -- trials -----------------------------------------------------------------------------------------------


@pytest.fixture
def tried(tmp_path) -> UploadSite:
    """Each upload is tried before it serves."""
    return UploadSite(tmp_path, providers=[provider("one", pools=POOLS)], image=TRIED)


def script_trials(site: UploadSite, *results: TrialResult | Exception) -> ScriptedCanary:
    site.canaries["one"] = canary = ScriptedCanary(results)
    return canary


def test_an_image_serves_once_it_has_passed(tried):
    canary = script_trials(tried)
    tried.build()
    seen = []
    canary.during = lambda: seen.append(tried.upload())
    tried.start()
    assert tried.run(tried.ready)
    upload = tried.assert_one_ready()
    assert [(u.state, u.phase) for u in seen] == [(UploadState.UPLOADING, "validating")]
    (trial,) = canary.trials
    assert (trial.image_id, trial.label, trial.pool, trial.command) == (
        upload.external_id, LABEL, POOLS["main"], "true",
    )  # fmt: skip
    assert (trial.username, trial.owner.upload) == ("debian", upload.id)


def test_an_image_that_does_not_pass_goes_and_the_old_one_serves_on(tried):
    failed = TrialResult(passed=False, reason="command-failed", output="no network", console="Kernel panic")
    script_trials(tried, TrialResult(passed=True), failed)
    tried.build()
    process = tried.start()
    assert tried.run(tried.ready)
    old = tried.upload()
    tried.clock.advance(10.0)
    tried.build()
    assert tried.run(lambda: tried.uploads(UploadState.FAILED))
    (upload,) = tried.uploads(UploadState.FAILED)
    assert "command-failed" in (upload.reason or "")
    assert "no network" in (upload.evidence or "")
    assert "Kernel panic" in (upload.evidence or "")
    assert [image.id for image in tried.images()] == [old.external_id]
    assert process.stats.uploads == [("debian", "one", True), ("debian", "one", False)]


def test_a_cloud_that_cannot_try_an_image_is_no_failure_of_the_image(tried):
    trouble = OverQuota("no cores left"), CloudUnavailable("503"), ConfigError("no such key")
    canary = script_trials(tried, *trouble)
    tried.build()
    process = tried.start()
    assert tried.run(lambda: len(canary.trials) == 1)
    tried.run(seconds=30)
    assert len(canary.trials) == 1  # it rests
    assert "no cores left" in (tried.upload().reason or "")
    assert tried.locks() != []  # nobody may take it for given up
    assert tried.run(tried.ready)
    assert len(canary.trials) == 4
    upload = tried.assert_one_ready()
    assert (upload.failures, upload.reason) == (0, None)
    assert bodies(process) == 1
    assert process.stats.uploads == [("debian", "one", True)]


def test_an_image_that_rests_between_trials_can_be_deleted(tried):
    script_trials(tried, *[OverQuota("no cores left")] * 9)
    tried.build()
    tried.start()
    assert tried.run(lambda: tried.images() and tried.upload().phase == "validating")
    tried.delete(tried.upload())
    tried.run(seconds=30)
    tried.assert_nothing()


def test_trials_that_cannot_be_held_are_repeated_before_others_think_the_upload_is_given_up(tried):
    canary, times = script_trials(tried, *[OverQuota("no cores left")] * 8), []
    canary.during = lambda: times.append(tried.clock.monotonic())
    tried.build()
    tried.start()
    assert tried.run(tried.ready, seconds=10_000)
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert gaps == pytest.approx([60, 120, 240, 300, 300, 300, 300, 300], abs=10)


def test_an_image_that_a_person_deletes_while_it_is_tried_does_not_serve(tried):
    canary = script_trials(tried)
    canary.during = lambda: tried.delete(tried.upload())
    tried.build()
    process = tried.start()
    tried.run(seconds=30)
    assert tried.upload().state is UploadState.DELETING
    tried.assert_nothing()
    assert process.stats.uploads == []


def test_an_image_that_rests_between_trials_is_kept_over_a_restart(tried):
    script_trials(tried, *[OverQuota("no cores left")] * 2)
    tried.build()
    process = tried.start()
    assert tried.run(lambda: tried.images() and tried.upload().phase == "validating")
    process.stop()
    assert tried.locks() == []
    again = tried.start()
    assert tried.run(tried.ready)
    tried.assert_one_ready()
    assert bodies(again) == 0


def test_a_label_that_is_not_there_is_told_before_a_byte_is_sent(tmp_path):
    site = UploadSite(tmp_path, image=TRIED)
    site.build()
    process = site.start()
    assert site.run(lambda: site.uploads(UploadState.FAILED))
    assert "no pool of provider one has a label small" in (site.upload().reason or "")
    assert bodies(process) == 0
    site.change("one", pools=POOLS)
    assert site.run(site.ready)


def test_the_hook_is_not_asked_again_about_an_image_that_it_let_pass(tmp_path):
    script = hook(tmp_path, f"echo x >> {tmp_path}/told")
    images = tmp_path / "images"
    images.mkdir()
    site = UploadSite(images, providers=[provider("one", pools=POOLS, post_upload_hook=script)], image=TRIED)
    script_trials(site, OverQuota("no cores left"))
    site.build()
    process = site.start()
    assert site.run(lambda: site.images() and site.upload().phase == "validating")
    process.die()
    site.start()
    assert site.run(site.ready)
    assert (tmp_path / "told").read_text() == "x\n"


# -- several at once --------------------------------------------------------------------------------------


def sites_of(tmp_path: Path, *names: str, **settings: Any) -> tuple[UploadSite, dict[str, ManualExecutor]]:
    executors = {name: ManualExecutor() for name in names}
    return UploadSite(tmp_path, dict.fromkeys(names, "nat"), **settings), executors


def test_one_slow_cloud_holds_up_nobody_else(tmp_path):
    site, executors = sites_of(tmp_path, "slow", "one", "two")
    site.build()
    process = site.start(executors={"slow": executors["slow"]})
    assert site.run(lambda: site.ready(2), seconds=20)
    assert len(executors["slow"]) == 1
    executors["slow"].run_all()
    process.cycle()
    assert site.ready(3)


def test_no_more_than_so_many_at_once_and_each_has_its_turn(tmp_path):
    site, executors = sites_of(tmp_path, "a", "b", "c", max_parallel_uploads=2)
    site.build()
    process = site.start(executors=executors)
    finished = []
    while not site.ready(3):
        process.cycle()
        waiting = [name for name, executor in executors.items() if len(executor)]
        assert 0 < len(waiting) <= 2
        executors[waiting[0]].run_one()
        finished.append(waiting[0])
    assert sorted(finished) == ["a", "b", "c"]


def test_a_provider_that_goes_while_it_waits_for_its_turn_holds_up_nobody(tmp_path):
    site, executors = sites_of(tmp_path, "a", "b", "c", max_parallel_uploads=1)
    site.build()
    process = site.start(executors=executors)
    process.cycle()
    process.queues["b"].drain()
    executors["a"].run_one()
    process.queues["b"].cycle()
    process.queues["c"].cycle()
    assert [len(executors[name]) for name in "abc"] == [0, 0, 1]
    executors["c"].run_one()
    assert site.ready(2)


def test_several_images_go_to_a_provider_one_after_the_other_or_together(tmp_path):
    names = ("debian", "fedora", "ubuntu")
    one = provider("one", [ProviderImage(name=name) for name in names], max_parallel_uploads=2)
    site = UploadSite(tmp_path, providers=[one])
    site.settings = replace(site.settings, diskimages={name: DiskImage(name=name) for name in names})
    for name in names:
        site.build(name)
    executor = ManualExecutor()
    process = site.start(executors={"one": executor})
    process.cycle()
    assert len(executor) == 2
    executor.run_one()
    process.cycle()
    assert len(executor) == 2
    site.change("one", max_parallel_uploads=1)
    executor.run_all()
    process.cycle()
    assert site.run(lambda: site.ready(3))


def test_only_the_builder_that_has_the_file_uploads_it(tmp_path):
    site = UploadSite(tmp_path)
    site.build(builder="two")
    site.start(builder="one")
    site.run(seconds=60)
    assert site.uploads() == []
    site.start(builder="two")
    assert site.run(site.ready)
    assert site.assert_one_ready().builder_id == "two"


def test_two_processes_that_race_make_one_upload(site):
    site.build()
    executors = [ManualExecutor(), ManualExecutor()]
    processes = [site.start(executors={"one": executor}) for executor in executors]
    for process in processes:
        process.cycle()
    assert [len(executor) for executor in executors] == [1, 1]
    during_put(site, executors[0].run_all)
    executors[1].run_all()
    site.run(seconds=60)
    site.assert_one_ready()


def test_a_rate_limit_holds_for_all_uploads_together(tmp_path):
    site = UploadSite(tmp_path, {"one": "nat", "two": "nat"}, upload_rate_limit=100.0)
    site.build(content=b"x" * 20_000)
    site.start()
    assert site.run(lambda: site.ready(2), seconds=2000)
    assert site.clock.monotonic() >= 200.0


def test_a_build_that_is_overtaken_before_its_upload_begins_is_not_uploaded(site):
    site.build()
    executor = ManualExecutor()
    process = site.start(executors={"one": executor})
    process.cycle()
    site.clock.advance(60.0)
    newer = site.build()
    executor.run_all()
    assert site.uploads() == []
    process.cycle()
    executor.run_all()
    assert [upload.build for upload in site.uploads(UploadState.READY)] == [newer.id]
    assert site.locks() == []


def test_progress_is_told_from_time_to_time(site):
    """Not with each block: that would be thousands of writes of the store."""
    site.build()
    process = site.start()
    images, sent = process.clouds["one"], []
    upload_image = images.upload_image

    def slowly(spec: Any, *, progress: Any, **more: Any) -> Any:
        for number in range(1000):
            site.clock.advance(0.1)
            progress(UploadProgress(phase=UploadPhase.SENDING, method="put", sent=number, total=1000))
            sent.append(site.upload().sent)
        return upload_image(spec, progress=progress, **more)

    images.upload_image = slowly
    assert site.run(site.ready)
    assert len(set(sent)) == pytest.approx(10, abs=1)
    assert sorted(sent) == sent


def test_what_a_dump_tells(site):
    site.build()
    executor = ManualExecutor()
    process = site.start(executors={"one": executor})
    process.cycle()
    queue = process.queues["one"]
    assert queue.describe() == f"uploads to one: debian-{1:032x} beginning"
    assert queue.stalled(site.clock.monotonic() + 10) is None
    assert "no cycle for" in (queue.stalled(site.clock.monotonic() + 10_000) or "")
