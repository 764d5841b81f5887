"""Commands under a shepherd: real processes that leave, hang, and lose their builder."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from poolmgr.runtime.leftovers import clear_tmpdir
from poolmgr.runtime.shepherd import Errand
from poolmgr.runtime.supervised import Supervised

#: A daemon as it should not be written: a session of its own, but our output.
DAEMON = "setsid sleep 1000 & echo $! >> {pids}; "
BUILDER = """
import json, sys, time
from poolmgr.runtime.shepherd import Errand
from poolmgr.runtime.supervised import Supervised
Supervised(Errand(**json.loads(sys.argv[1])), name="build")
time.sleep(1000)
"""


def until(condition, limit=30.0):
    end = time.monotonic() + limit
    while not (value := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
    return value


def runs(pid):
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0] != "Z"
    return False


class Place:
    """A build's log, temporary directory, and the file to which its processes write who they are."""

    def __init__(self, directory: Path) -> None:
        self.log = directory / "build.log"
        self.tmpdir = directory / "poolmgr-img-1"
        self.pids = directory / "pids"

    def errand(self, script, **more):
        environ = {"PATH": os.environ["PATH"], "TMPDIR": str(self.tmpdir)}
        return Errand(
            command=["bash", "-c", script.format(pids=self.pids, tmp=self.tmpdir)],
            environ=environ,
            log_path=str(self.log),
            tmpdir=str(self.tmpdir),
            **({"grace": 0.3, "look": 0.0} | more),
        )

    def run(self, script, **more):
        return Supervised(self.errand(script, **more), name="build")

    def outcome(self, script, **more):
        command = self.run(script, **more)
        assert command.ended.wait(60)
        return command.outcome

    def started(self, count=1):
        """The processes that said who they are, once there are so many."""

        def told():
            return self.pids.exists() and len(self.pids.read_text().split()) >= count

        until(told)
        return [int(word) for word in self.pids.read_text().split()]


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def test_it_tells_how_the_command_ended(place):
    outcome = place.outcome("echo out; echo err >&2; cd $TMPDIR; mkdir -p a/b; echo x > a/b/c; exit 7")
    assert (outcome.code, outcome.told_to, outcome.killed, outcome.errors) == (7, False, 0, ())
    assert place.log.read_text() == "out\nerr\n"
    assert not place.tmpdir.exists()


def test_a_command_that_a_signal_killed(place):
    assert place.outcome("kill -SEGV $$").code == -signal.SIGSEGV


def test_a_command_that_cannot_be_started(place):
    errand = Errand(command=["/nowhere/dib"], environ={}, log_path=str(place.log), tmpdir=str(place.tmpdir))
    command = Supervised(errand, name="build")
    assert command.ended.wait(60)
    assert command.outcome.code == 127
    assert "cannot start /nowhere/dib: No such file or directory" in place.log.read_text()
    assert not place.tmpdir.exists()


def test_a_tmpdir_that_is_there_is_not_ours(place):
    place.tmpdir.mkdir()
    (place.tmpdir / "letter").write_text("dear")
    outcome = place.outcome("true")
    assert outcome.code == 126
    assert "File exists" in outcome.errors[0]
    assert (place.tmpdir / "letter").exists()


def test_a_daemon_that_keeps_the_output_open_is_not_waited_for(place):
    outcome = place.outcome(DAEMON + "exit 0")
    assert (outcome.code, outcome.told_to, outcome.killed) == (0, False, 1)
    assert not runs(*place.started())
    assert "poolmgr: ending 1 processes" in place.log.read_text()


def test_told_to_end_it_ends_all_also_what_ignores_the_request(place):
    command = place.run("trap '' TERM; " + DAEMON + "echo $$ >> {pids}; while true; do sleep 100; done")
    pids = place.started(2)
    command.end()
    assert command.ended.wait(60)
    assert (command.outcome.code, command.outcome.told_to) == (-signal.SIGKILL, True)
    assert [pid for pid in pids if runs(pid)] == []
    assert not place.tmpdir.exists()


def test_a_command_that_cleans_up_at_the_request_may_do_so(place):
    script = "trap 'echo cleaned; exit 9' TERM; echo $$ > {pids}; while true; do sleep 0.05; done"
    command = place.run(script, grace=20.0)
    place.started()
    command.end()
    assert command.ended.wait(60)
    assert (command.outcome.code, command.outcome.told_to) == (9, True)
    assert "cleaned" in place.log.read_text()


def test_a_signal_ends_it_too(place):
    command = place.run("echo $$ > {pids}; sleep 1000")
    place.started()
    os.kill(command._shepherd.pid, signal.SIGTERM)
    assert command.ended.wait(60)
    assert (command.outcome.code, command.outcome.told_to) == (-signal.SIGTERM, True)


def builder_of(place, script):
    import json
    from dataclasses import asdict

    return subprocess.Popen([sys.executable, "-c", BUILDER, json.dumps(asdict(place.errand(script)))])


def test_nothing_outlives_a_builder_that_was_killed(place):
    with builder_of(place, DAEMON + "echo $$ >> {pids}; touch {tmp}/file; sleep 1000") as builder:
        pids = place.started(2)
        builder.kill()
    until(lambda: not any(map(runs, pids)))
    until(lambda: not place.tmpdir.exists())


def test_what_outlived_builder_and_shepherd_goes_with_the_tmpdir(place):
    """The next builder finds it by the marker's tmpdir, and what works in it by its environment."""
    with builder_of(place, DAEMON + "echo $$ >> {pids}; touch {tmp}/file; sleep 1000") as builder:
        pids = place.started(2)
        shepherd = int(Path(f"/proc/{pids[1]}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(shepherd, signal.SIGKILL)
        builder.kill()
    assert all(map(runs, pids))
    cleared = clear_tmpdir(place.tmpdir, grace=0.3)
    assert (cleared.killed >= 2, cleared.errors) == (True, [])
    assert not any(map(runs, pids))
    assert not place.tmpdir.exists()
    again = clear_tmpdir(place.tmpdir)
    assert (again.killed, again.errors) == (0, [])


def test_a_shepherd_that_was_killed_is_told_as_such(place):
    command = place.run("echo $$ > {pids}; sleep 1000")
    (pid,) = place.started()
    command.kill()
    assert command.ended.wait(60)
    assert command.outcome.code is None
    assert command.outcome.errors
    clear_tmpdir(place.tmpdir, grace=0.0)
    assert not runs(pid)


def test_the_disk_that_was_used_at_the_peak(place, tmp_path):
    script = "head -c 3M /dev/urandom > {tmp}/a; head -c 2M /dev/urandom > " + str(tmp_path / "img.raw")
    outcome = place.outcome(script, outputs=[str(tmp_path / "img.")])
    assert 5 << 20 <= outcome.space < 6 << 20
    assert outcome.least_free is not None


def test_links_out_of_the_tmpdir_are_not_followed(place, tmp_path):
    (tmp_path / "treasure").mkdir()
    (tmp_path / "treasure" / "gold").write_text("gold")
    outcome = place.outcome(f"ln -s {tmp_path}/treasure $TMPDIR/link")
    assert outcome.errors == ()
    assert (tmp_path / "treasure" / "gold").exists()
    (tmp_path / "poolmgr-img-2").symlink_to(tmp_path / "treasure")
    assert clear_tmpdir(tmp_path / "poolmgr-img-2").errors == []
    assert (tmp_path / "poolmgr-img-2").is_symlink()
    assert (tmp_path / "treasure" / "gold").exists()
