"""What builds leave mounted and attached: real mounts and loop devices, so these need root."""

from __future__ import annotations

import os
import subprocess

import pytest

from poolmgr.runtime.leftovers import clear_tmpdir
from poolmgr.runtime.mounts import devices_on, mounts_below
from poolmgr.runtime.shepherd import Errand
from poolmgr.runtime.supervised import Supervised

pytestmark = pytest.mark.integration

#: As builds do it: other directories in a tree, a filesystem in a file on a loop device, another on that. Never the
#: machine's own /dev: pytest removes what is left of a test that failed, through all that is mounted there.
LEAVE = """
set -e
cd "$TMPDIR"
mkdir -p "tree with blank/in" "tree with blank/again" memory outer
mount -t tmpfs none memory
mount --bind {outside} "tree with blank/again"
mount --bind {outside} "tree with blank/in"
truncate -s 16M memory/disk.raw
mke2fs -q -F memory/disk.raw
loop=$(losetup --show --find memory/disk.raw)
mount "$loop" outer
losetup --show --find --offset 4096 "$loop" > nested
{last}
"""


@pytest.fixture(autouse=True)
def _released(tmp_path):
    assert os.geteuid() == 0, "mounts need root"
    yield
    devices = devices_on(str(tmp_path))  # of a test that failed
    for one in reversed(mounts_below(str(tmp_path))):
        subprocess.run(["umount", "--lazy", one.point], check=False)
    for one in devices:
        subprocess.run(["losetup", "--detach", f"/dev/{one.name}"], check=False)


@pytest.fixture
def outside(tmp_path):
    directory = tmp_path / "outside"
    directory.mkdir()
    (directory / "gold").write_text("gold")
    return directory


def leave(tmp_path, outside, last):
    tmpdir = tmp_path / "poolmgr-img-1"
    errand = Errand(
        command=["bash", "-c", LEAVE.format(outside=outside, last=last)],
        environ={"PATH": os.environ["PATH"], "TMPDIR": str(tmpdir)},
        log_path=str(tmp_path / "log"),
        tmpdir=str(tmpdir),
        grace=0.5,
    )
    return tmpdir, Supervised(errand, name="build")


def check_nothing_is_left(tmpdir, outside):
    assert devices_on(str(tmpdir)) == []
    assert mounts_below(str(tmpdir)) == []
    assert not tmpdir.exists()
    assert (outside / "gold").exists()


def test_all_is_unmounted_detached_and_removed(tmp_path, outside):
    tmpdir, command = leave(tmp_path, outside, "exit 3")
    assert command.ended.wait(60)
    assert command.outcome.code == 3, (tmp_path / "log").read_text()
    assert (len(command.outcome.unmounted), len(command.outcome.detached), command.outcome.errors) == (
        4,
        2,
        (),
    )
    check_nothing_is_left(tmpdir, outside)
    assert "poolmgr: released" in (tmp_path / "log").read_text()


def test_also_when_someone_works_in_there(tmp_path, outside):
    tmpdir, command = leave(tmp_path, outside, "touch up; cd outer; sleep 1000")
    while not (tmpdir / "up").exists():
        assert not command.ended.wait(0.05), (tmp_path / "log").read_text()
    command.end()
    assert command.ended.wait(60)
    assert (command.outcome.told_to, command.outcome.errors) == (True, ())
    check_nothing_is_left(tmpdir, outside)


def test_also_after_the_shepherd_was_killed_and_someone_else_looks_on(tmp_path, outside):
    """An operator's shell in the directory is not killed; the mount goes without it."""
    tmpdir, command = leave(tmp_path, outside, "touch up; sleep 1000")
    while not (tmpdir / "up").exists():
        assert not command.ended.wait(0.05), (tmp_path / "log").read_text()
    command.kill()
    assert command.ended.wait(60)
    with subprocess.Popen(["sleep", "1000"], cwd=tmpdir / "outer") as operator:
        cleared = clear_tmpdir(tmpdir, grace=0.5)
        assert operator.poll() is None
        operator.kill()
    assert cleared.killed
    assert not tmpdir.exists()
    again = clear_tmpdir(tmpdir)
    assert again.errors == []
    check_nothing_is_left(tmpdir, outside)
