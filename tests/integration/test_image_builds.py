"""Builds with what only a whole machine has: a builder that is killed, a disk that is full, mounts. Some need root."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from poolmgr.model.image import Build, BuildState
from poolmgr.runtime.mounts import devices_on, mounts_below
from tests.scenario.building import BuildSite, until

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
BUILDER = """
import sys, time
from pathlib import Path
from tests.scenario.building import BuildSite
site = BuildSite(Path(sys.argv[1]))
site.images(img={"env_vars": {"SIMDIB_SECONDS": sys.argv[2], "SIMDIB_FAULT": sys.argv[3]}})
site.builder().start()
time.sleep(60)
"""
#: As builds do it, and then for ever.
MOUNTS = """
set -e
cd "$TMPDIR"
mkdir memory
mount -t tmpfs none memory
truncate -s 8M memory/disk
losetup --find memory/disk
echo mounted
trap '' TERM
while true; do sleep 100; done
"""


def root():
    assert os.geteuid() == 0, "mounts need root"


def runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_builder_that_is_killed_during_a_build_leaves_nothing_that_the_next_does_not_remove(tmp_path):
    command = [sys.executable, "-c", BUILDER, str(tmp_path), "600", "daemon"]
    with subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}) as builder:
        logs = tmp_path / "logs"
        log = until(lambda: logs.is_dir() and next(iter(logs.iterdir()), None))
        told = until(lambda: re.search(r"a daemon runs as process (\d+)\n", log.read_text()))
        daemon = int(told[1])
        assert runs(daemon)
        builder.send_signal(signal.SIGKILL)
    until(lambda: not runs(daemon) and os.listdir(tmp_path / "tmp") == [])
    site = BuildSite(tmp_path)
    try:
        site.images(img={})
        successor = site.builder(janitor=True)
        (marker,) = successor.files.markers()
        assert successor.files.is_ours(marker)
        lock = site.client.lock_builds("img")
        site.client.create_build(
            Build(image="img", id=marker.build, builder_id="id-one", state_time=1.0, formats="qcow2"), lock
        )
        site.client.unlock(lock)
        successor.start()
        build = site.wait_for(BuildState.READY)
        assert build.id != marker.build
        until(lambda: not any(marker.build in name for name in site.names()))
        until(lambda: [one.id for one in site.builds()] == [build.id])
    finally:
        site.close()


@pytest.fixture
def small_disk(tmp_path):
    """A filesystem of 24 MiB."""
    root()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "none", str(tmp_path)], check=True)
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_build_that_fills_the_disk_says_so_and_gives_the_room_back(small_disk):
    site = BuildSite(small_disk)
    try:
        site.images(img={"env_vars": {"SIMDIB_FAULT": "fill-disk"}})
        site.builder().start()
        build = site.wait_for(BuildState.FAILED)
        assert build.reason.startswith("the disk is full, 0 MiB were free at the least: ")
        until(lambda: site.names() == set() and site.left_in_tmp() == [])
        assert build.space > 20 << 20
    finally:
        site.close()


def test_a_build_that_takes_too_long_leaves_no_mount_and_no_loop_device(tmp_path):
    root()
    site = BuildSite(tmp_path)
    try:
        script = tmp_path / "dib"
        script.write_text(MOUNTS)
        site.images(img={"dib_cmd": f"bash {script}", "build_timeout": 2.0})
        site.builder().start()
        build = site.wait_for(BuildState.FAILED)
        assert build.reason == "timed out after 2 s"
        assert "mounted" in site.log(build)
        assert (mounts_below(str(site.tmp)), devices_on(str(site.tmp)), site.left_in_tmp()) == ([], [], [])
        assert "poolmgr: released" in site.log(build)
    finally:
        site.close()
        for one in reversed(
            mounts_below(str(tmp_path))
        ):  # of a test that failed: pytest removes through mounts
            subprocess.run(["umount", "--lazy", one.point], check=False)
