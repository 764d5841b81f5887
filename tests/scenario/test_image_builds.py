"""Builds from the decision to the record: real commands, all that may go wrong with them, and with us meanwhile."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from dataclasses import replace

import pytest

from poolmgr.builder.manifest import manifest_properties, read_manifest
from poolmgr.model.image import BuildState, ImageOrder, Order
from tests.scenario.building import BuildSite, until
from tests.scenario.harness import Fuse

BUILDING, READY, FAILED, DELETING = (
    BuildState.BUILDING,
    BuildState.READY,
    BuildState.FAILED,
    BuildState.DELETING,
)
#: Long enough that it does not end by itself while a test looks at it.
LONG = {"SIMDIB_SECONDS": "600"}


@pytest.fixture
def site(tmp_path):
    made = BuildSite(tmp_path)
    yield made
    made.close()


def files_of(build, *formats):
    base = build.name
    suffixes = [f".{one}{end}" for one in formats for end in ("", ".md5", ".sha256")]
    return {f"{base}{one}" for one in (*suffixes, ".d", ".poolmgr.json", ".manifest.json")}


# Good builds


def test_a_build_and_what_its_record_and_manifest_say(site):
    site.images(img={"formats": ("raw", "qcow2"), "elements": ("with blank", "vm"), "release": "bookworm"})
    builder = site.builder().start()
    build = site.wait_for(READY)
    assert (build.builder, build.builder_id, build.url) == ("one.example.org", "id-one", "http://one:8006")
    assert (build.formats, build.cause, build.phase, build.rc) == ("qcow2,raw", "missing", None, 0)
    assert build.duration is not None
    assert build.started is not None
    assert (build.reason, build.failures, build.username, build.python_path) == (None, 0, "zuul", "auto")
    assert site.names() == files_of(build, "qcow2", "raw")
    assert site.left_in_tmp() == []
    raw = site.images_dir / f"{build.name}.raw"
    assert build.file("raw").size == raw.stat().st_size
    assert build.file("raw").allocated == raw.stat().st_blocks * 512
    assert build.file("raw").sha256 == hashlib.sha256(raw.read_bytes()).hexdigest()
    assert site.log(build).endswith("Build completed successfully\nExit code: 0\n")
    path = builder.files.manifest_path("img", build.id)
    document = read_manifest(path)
    assert (document["image"], document["build"]) == ("img", build.id)
    assert (document["cause"], document["release"]) == ("missing", "bookworm")
    assert document["elements"] == ["with blank", "vm"]
    assert document["command"][-2:] == ["with blank", "vm"]
    assert document["files"] == json.loads(json.dumps(build.files))
    assert "libc6" in {one["name"] for one in document["packages"]}
    assert manifest_properties(path) == {
        "poolmgr_config_hash": build.config_hash,
        "poolmgr_packages": "4",
        "poolmgr_manifest_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    (told,) = until(lambda: builder.stats.builds)
    assert (told["image"], told["rc"], told["good"], set(told["sizes"])) == ("img", 0, True, {"qcow2", "raw"})
    assert builder.parts.activity.builds == frozenset()


def test_secrets_are_in_no_file_but_their_build_s_own(site):
    site.images(img={"env_vars": {"TOKEN": "s3cret"}})
    site.builder().start()
    build = site.wait_for(READY)
    told = [site.images_dir / f"{build.name}.manifest.json", site.images_dir / f"{build.name}.poolmgr.json"]
    assert "TOKEN" in told[0].read_text()
    assert not any("s3cret" in path.read_text() for path in told)
    assert "s3cret" not in site.log(build)


def fake_qemu_img(tmp_path, script):
    """qemu-img as the machine may not have it: it copies."""
    directory = tmp_path / "bin"
    directory.mkdir()
    path = directory / "qemu-img"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return {"PATH": f"{directory}:{os.environ['PATH']}"}


def test_formats_that_the_command_does_not_make_are_converted(site, tmp_path):
    path = fake_qemu_img(tmp_path, 'echo "$@"; shift $(($# - 2)); cp "$1" "$2"')
    site.images(img={"formats": ("vmdk",), "env_vars": path})
    site.builder().start()
    build = site.wait_for(READY)
    assert site.names() == files_of(build, "vmdk")
    vmdk = site.images_dir / f"{build.name}.vmdk"
    assert build.file("vmdk").md5 == hashlib.md5(vmdk.read_bytes()).hexdigest()
    assert (site.images_dir / f"{build.name}.vmdk.sha256").read_text().split()[0] == build.file("vmdk").sha256
    assert "convert -f raw -O vmdk" in site.log(build)


def test_a_conversion_that_fails_fails_the_build(site, tmp_path):
    site.images(img={"formats": ("qcow2", "vmdk"), "env_vars": fake_qemu_img(tmp_path, "exit 5")})
    site.builder().start()
    build = site.wait_for(FAILED)
    assert (build.rc, build.reason) == (5, "qemu-img ended with exit code 5")
    until(lambda: site.names() == set())


def test_what_is_not_there_is_not_converted(site):
    site.images(img={"formats": ("vmdk",), "env_vars": {"SIMDIB_FAULT": "no-file"}})
    site.builder().start()
    build = site.wait_for(FAILED)
    assert build.reason == f"img-{build.id}.raw was not made"


def test_a_daemon_that_keeps_the_output_open_neither_delays_nor_outlives_the_build(site):
    site.images(img={"env_vars": {"SIMDIB_FAULT": "daemon"}})
    site.builder().start()
    build = site.wait_for(READY)
    (line,) = [one for one in site.log(build).splitlines() if "a daemon runs as process" in one]
    pid = int(line.split()[-1])
    assert not os.path.exists(f"/proc/{pid}")
    assert site.left_in_tmp() == []


def test_phases_are_in_the_record_while_it_runs(site):
    site.images(img={"env_vars": LONG})
    builder = site.builder().start()
    until(lambda: (build := site.one(BUILDING)) and build.phase == "building")
    assert "img-" in builder.builds.describe()
    assert "building for" in builder.builds.describe()
    assert {image for image, _ in builder.parts.activity.builds} == {"img"}
    assert builder.builds.stalled(time.monotonic()) is None
    assert "build-worker-1" in builder.builds.stalled(time.monotonic() + 1000)


# Failures


@pytest.mark.parametrize(
    ("fault", "rc", "reason"),
    [
        ("fail", 1, "{python} ended with exit code 1"),
        ("no-file", None, "img-{id}.raw was not made"),
        ("empty-file", None, "img-{id}.raw is empty"),
        ("half-file", -9, "{python} was killed by SIGKILL"),
    ],
)
def test_a_failure_is_recorded_told_and_leaves_the_log_only(site, caplog, fault, rc, reason):
    site.images(img={"formats": ("qcow2", "raw"), "env_vars": {"SIMDIB_FAULT": fault}})
    builder = site.builder().start()
    build = site.wait_for(FAILED)
    assert build.reason == reason.format(id=build.id, python=os.path.basename(sys.executable))
    assert (build.rc, build.failures, build.phase) == (rc, 1, None)
    until(lambda: site.names() == set())
    assert site.left_in_tmp() == []
    assert site.log(build).endswith(f"poolmgr: {build.reason}\nExit code: {1 if rc is None else rc}\n")
    (stats,) = until(lambda: builder.stats.builds)
    assert (stats["good"], stats["rc"], stats["sizes"]) == (False, 1 if rc is None else rc, {})
    assert f"build {build.name} failed: {build.reason}" in caplog.text
    assert "hooks/install.d" in caplog.text or fault != "fail"
    until(lambda: "backoff" in builder.builds.describe())
    assert len(site.builds()) == 1


def test_a_command_that_is_not_there(site):
    site.images(img={"dib_cmd": "/nowhere/dib"})
    site.builder().start()
    build = site.wait_for(FAILED)
    assert build.rc == 127
    assert "cannot start /nowhere/dib" in site.log(build)


def test_a_tmpdir_that_cannot_be_made(site):
    site.images(img={"env_vars": {"TMPDIR": "/nowhere/tmp"}})
    site.builder().start()
    assert "No such file or directory: '/nowhere/tmp/poolmgr-img-" in site.wait_for(FAILED).reason


def test_failures_are_counted_and_forgotten_with_the_next_success(site, tmp_path):
    fault = tmp_path / "fault"
    fault.write_text("fail")
    site.images(img={"env_vars": {"SIMDIB_FAULT_FILE": str(fault)}})
    site.builder(retry_first=0.0).start()
    until(lambda: [one.failures for one in site.builds() if one.state is FAILED][-1:] == [3])
    fault.unlink()
    assert site.wait_for(READY).failures == 0


def test_a_build_that_hangs_is_ended_with_all_that_it_started(site):
    site.images(img={"build_timeout": 1.0, "env_vars": {"SIMDIB_FAULT": "daemon,hang"}})
    site.builder().start()
    build = site.wait_for(FAILED)
    assert (build.rc, build.reason) == (1, "timed out after 1 s")
    (line,) = [one for one in site.log(build).splitlines() if "a daemon runs as process" in one]
    assert not os.path.exists(f"/proc/{line.split()[-1]}")
    assert (site.left_in_tmp(), site.log(build).splitlines()[-1]) == ([], "Exit code: 1")


def test_a_full_disk_is_told_as_such(site):
    """What it looks like from here; a disk that is really full: tests/integration/test_image_builds.py."""
    site.images(
        img={"dib_cmd": "sh -c 'echo cp: write error: No space left on device; exit 1'", "elements": ()}
    )
    site.builder().start()
    build = site.wait_for(FAILED)
    assert build.reason.startswith("the disk is full, ")
    assert build.reason.endswith(" MiB were free at the least: sh ended with exit code 1")


def test_old_logs_go_when_a_build_begins(site):
    site.images(img={})
    site.settings = replace(site.settings, build_log_retention=1)
    site.log_dir.mkdir()
    for number in range(3):
        (site.log_dir / f"img-{number:032x}.log").touch()
        (site.log_dir / f"img-arm-{number:032x}.log").touch()
    site.builder().start()
    build = site.wait_for(READY)
    ours = {path.name for path in site.log_dir.glob("img-*.log") if "arm" not in path.name}
    assert len(ours) == 2
    assert f"{build.name}.log" in ours
    assert len(list(site.log_dir.glob("img-arm-*"))) == 3


# Orders of people


def test_an_ordered_build_ends_the_order(site):
    site.images(img={})
    builder = site.builder().start()
    first = site.wait_for(READY)
    site.client.order_image(ImageOrder(image="img", kind=Order.BUILD, by="me@here"))
    until(lambda: len(site.builds()) == 2 and all(one.state is READY for one in site.builds()))
    (second,) = [one for one in site.builds() if one.id != first.id]
    assert second.cause == "requested"
    assert second.state_time > first.state_time
    until(lambda: not list_orders(site))
    assert "fresh" in until(lambda: "idle" in builder.builds.describe() and builder.builds.describe())


def list_orders(site):
    with site.client.reading() as snapshot:
        return list(snapshot.orders(Order.BUILD))


def test_an_order_whose_build_failed_stands(site):
    site.images(img={"env_vars": {"SIMDIB_FAULT": "fail"}})
    builder = site.builder()
    site.client.order_image(ImageOrder(image="img", kind=Order.BUILD))
    builder.start()
    assert site.wait_for(FAILED).cause == "requested"
    assert list_orders(site)


def test_a_pause_does_not_stop_a_build_that_runs(site):
    site.images(img={"env_vars": {"SIMDIB_SECONDS": "1"}})
    site.builder().start()
    site.wait_for(BUILDING)
    site.client.order_image(ImageOrder(image="img", kind=Order.PAUSE))
    assert site.wait_for(READY)


def test_a_build_that_a_person_deletes_is_ended(site):
    site.images(img={"env_vars": LONG})
    builder = site.builder(janitor=True).start()
    build = until(lambda: (one := site.one(BUILDING)) and one.phase == "building" and one)
    site.client.order_image(ImageOrder(image="img", kind=Order.PAUSE))  # else the next one begins
    site.client.save_build(replace(build, state=DELETING, reason="ordered"))
    until(lambda: site.builds() == [] and site.names() == set())
    assert site.left_in_tmp() == []
    assert site.log(build).endswith("poolmgr: ended: deleted\nExit code: 1\n")
    assert builder.stats.builds == []


# The store


def locked(site):
    with site.client.reading() as snapshot:
        return snapshot.build_locked("img")


def begun(site, seconds, **more):
    """A builder, and its build as the command runs."""
    site.images(img={"env_vars": {"SIMDIB_SECONDS": str(seconds)}})
    builder = site.builder(**more).start()
    return builder, until(lambda: (one := site.one(BUILDING)) and one.phase == "building" and one)


def test_a_build_outlives_its_session_and_takes_the_lock_again(site):
    builder, before = begun(site, 1.0)
    builder.memory.expire()
    until(lambda: locked(site))
    build = site.wait_for(READY)
    assert (build.id, len(site.builds())) == (before.id, 1)
    assert site.names() == files_of(build, "qcow2")
    until(lambda: not locked(site))


def test_a_build_that_ends_while_the_store_is_away_waits_for_it(site):
    builder, before = begun(site, 0.5)
    builder.memory.expire(reconnect=False)
    manifest = builder.files.manifest_path("img", before.id)
    until(manifest.exists)
    assert site.one(READY) is None
    builder.memory.resume()
    assert site.wait_for(READY).id == before.id
    assert len(site.builds()) == 1


def test_a_record_that_someone_removed_is_stored_again_under_its_id(site):
    """As nodepool-builder does with builds whose lock is gone (builder.md 6.2 c)."""
    builder, before = begun(site, 0.5)
    builder.memory.expire(reconnect=False)
    site.client.delete_build(before)
    builder.memory.resume()
    build = site.wait_for(READY)
    assert build.id == before.id
    assert (build.cause, build.rc, set(build.files)) == ("missing", 0, {"qcow2"})


def test_a_record_that_another_builder_gave_up_is_ours_again(site):
    builder, before = begun(site, 0.5)
    builder.memory.expire(reconnect=False)
    site.client.save_build(replace(before, state=DELETING, reason="abandoned"))
    builder.memory.resume()
    assert site.wait_for(READY).id == before.id


def test_a_build_is_kept_beside_that_of_another_builder_that_was_quicker(site):
    builder, _ = begun(site, 1.0)
    builder.memory.expire(reconnect=False)
    site.images(img={})
    other = site.builder(name="two").start()
    until(lambda: [one.state for one in site.builds() if one.builder_id == "id-two"] == [READY])
    builder.memory.resume()
    until(lambda: [one.state for one in site.builds()] == [READY, READY])
    assert site.names() == set().union(*(files_of(one, "qcow2") for one in site.builds()))
    assert other.stats.builds
    assert builder.stats.builds


def test_a_good_build_does_not_wait_for_another_builder_that_has_the_lock_now(site):
    builder, before = begun(site, 1.0)
    builder.memory.expire(reconnect=False)
    site.images(img={"env_vars": LONG})
    site.builder(name="two").start()
    until(lambda: [one.state for one in site.builds() if one.builder_id == "id-two"] == [BUILDING])
    builder.memory.resume()
    assert site.wait_for(READY).id == before.id
    assert [one.state for one in site.builds()] == [READY, BUILDING]


def test_two_builders_build_once(site):
    site.images(img={"env_vars": {"SIMDIB_SECONDS": "0.5"}})
    builders = [site.builder(name=name, workers=2) for name in ("one", "two")]
    for one in builders:
        one.start()
    site.wait_for(READY)
    until(lambda: all("idle" in one.builds.describe() for one in builders))
    assert len(site.builds()) == 1


def test_two_workers_build_two_images_at_once(site):
    site.images(img={"env_vars": LONG}, other={"env_vars": LONG})
    builder = site.builder(workers=2).start()
    until(lambda: len(builder.parts.activity.builds) == 2)
    assert {one.image for image in ("img", "other") for one in site.builds(image)} == {"img", "other"}


# The end of the builder


def test_a_stop_ends_builds_which_is_no_failure(site):
    site.images(img={"env_vars": LONG | {"SIMDIB_FAULT": "daemon"}})
    builder = site.builder().start()
    build = until(lambda: (one := site.one(BUILDING)) and one.phase == "building" and one)
    until(lambda: (site.log_dir / f"{build.name}.log").exists() and "a daemon runs" in site.log(build))
    assert builder.builds.stop(20.0)
    assert (site.builds(), site.names(), site.left_in_tmp(), locked(site)) == ([], set(), [], False)
    assert site.log(build).endswith("poolmgr: ended: stopping\nExit code: 1\n")
    assert builder.stats.builds == []
    site.images(img={})
    site.builder().start()
    assert site.wait_for(READY).failures == 0


def test_a_stop_while_the_store_is_away_keeps_the_good_build_for_the_next_start(site):
    builder, before = begun(site, 0.5)
    builder.memory.expire(reconnect=False)
    until(builder.files.manifest_path("img", before.id).exists)
    assert builder.builds.stop(20.0)
    assert site.one(BUILDING).id == before.id
    assert site.builder(janitor=True).start()
    assert site.wait_for(READY).id == before.id
    assert len(site.builds()) == 1


def crash(site, at, *, after=False):
    """A builder that dies at its nth write, and what it had recorded by then."""
    site.images(img={})
    builder = site.builder(fuse=Fuse(at=at, after=after))
    builder.cycle()
    builder.die()
    return builder, site.builds()


def test_a_builder_killed_between_files_and_record_has_not_built_in_vain(site):
    _, (before,) = crash(site, READY_WRITE)
    assert before.state is BUILDING
    site.builder(janitor=True).start()
    build = site.wait_for(READY)
    assert (build.id, len(site.builds())) == (before.id, 1)
    assert site.names() == files_of(build, "qcow2")
    assert (build.rc, build.space is not None, build.duration is not None) == (0, True, True)


#: Which write of a build makes it READY: after the lock, the record and two phases.
READY_WRITE = 5


def test_what_is_left_is_only_completed_when_the_files_fit_the_manifest(site):
    _, (before,) = crash(site, READY_WRITE)
    (site.images_dir / f"{before.name}.qcow2").write_bytes(b"short")
    site.builder(janitor=True).start()
    build = site.wait_for(READY)
    assert build.id != before.id
    until(lambda: site.names() == files_of(build, "qcow2"))


@pytest.mark.integration
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", range(1, READY_WRITE + 2))
def test_killed_at_any_write_the_next_start_ends_with_one_good_build(site, at, after):
    crash(site, at, after=after)
    site.builder(janitor=True).start()
    build = site.wait_for(READY)
    until(lambda: [one.id for one in site.builds()] == [build.id])
    until(lambda: site.names() == files_of(build, "qcow2"))
    assert site.left_in_tmp() == []
    until(lambda: not locked(site))


# Without a place to keep them


def test_builds_wait_for_the_images_directory_and_it_is_told_once(site, caplog):
    caplog.set_level("INFO")
    site.images(img={})
    site.trouble = f"images-dir {site.images_dir} is gone"
    builder = site.builder()
    for _ in range(3):
        builder.cycle()
    assert site.builds() == []
    assert [one.getMessage() for one in caplog.records if one.levelname == "ERROR"] == [
        f"{site.trouble}: nothing is built until it is back, or the builder is started anew"
    ]
    site.trouble = None
    builder.cycle()
    assert site.wait_for(READY)
    assert f"images-dir {site.images_dir} is back" in caplog.text
