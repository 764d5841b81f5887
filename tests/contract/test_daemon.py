"""Pid files, and a process that leaves its terminal."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from poolmgr.errors import ConfigError
from poolmgr.runtime.clock import SystemClock
from poolmgr.runtime.daemon import PidFile
from tests.fakes import FakeClock
from tests.sites import eventually

PATIENCE = 30.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "nodepool.pid"


def test_it_holds_our_number_and_is_gone_after(path):
    pidfile = PidFile(path, FakeClock())
    pidfile.acquire()
    assert path.read_text() == f"{os.getpid()}\n"
    pidfile.release()
    pidfile.release()
    assert not path.exists()


def test_a_second_daemon_waits_ten_seconds_and_gives_up(path):
    first, clock = PidFile(path, FakeClock()), FakeClock()
    first.acquire()
    with pytest.raises(ConfigError, match=f"{path}: process {os.getpid()} is running already"):
        PidFile(path, clock).acquire()
    assert clock.monotonic() >= 10.0
    assert path.read_text() == f"{os.getpid()}\n"
    first.release()


def test_a_second_daemon_starts_when_the_first_has_gone_meanwhile(path):
    first, clock = PidFile(path, FakeClock()), FakeClock()
    first.acquire()
    clock.at(5.0, first.release)
    second = PidFile(path, clock)
    second.acquire()
    assert path.read_text() == f"{os.getpid()}\n"
    second.release()


@pytest.mark.parametrize("content", ["", "garbage\n", "4194305\n", "1\n"])  # beyond the highest number; init
def test_a_stale_file_is_taken_over(path, content):
    path.write_text(content)
    pidfile = PidFile(path, FakeClock())
    pidfile.acquire()
    assert path.read_text() == f"{os.getpid()}\n"
    pidfile.release()


def test_a_running_launcher_of_the_reference_is_respected(path):
    # It holds no flock, so only its number and name tell.
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", "nodepool-launcher"])
    try:
        command = Path(f"/proc/{other.pid}/cmdline")
        eventually(
            lambda: b"nodepool-launcher" in command.read_bytes()
        )  # for a moment after exec it is empty
        path.write_text(f"{other.pid}\n")
        with pytest.raises(ConfigError, match=f"process {other.pid} is running already"):
            PidFile(path, FakeClock()).acquire()
    finally:
        other.kill()
        other.wait()


def test_a_file_removed_between_opening_and_locking_is_not_taken_for_the_lock(path, monkeypatch):
    lock = fcntl.flock

    def lock_late(descriptor: int, how: int) -> None:
        monkeypatch.setattr(fcntl, "flock", lock)
        path.unlink()  # what a releasing daemon does
        lock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", lock_late)
    pidfile = PidFile(path, FakeClock())
    pidfile.acquire()
    assert path.read_text() == f"{os.getpid()}\n"
    pidfile.release()


def test_a_directory_that_is_missing_is_the_operators_to_mend(tmp_path):
    with pytest.raises(ConfigError, match=r"Unable to write pid file .*No such file.*-p"):
        PidFile(tmp_path / "missing" / "nodepool.pid", FakeClock()).acquire()


DETACHING = """
import os, signal, sys, time
from pathlib import Path
from poolmgr.runtime.clock import SystemClock
from poolmgr.runtime.daemon import PidFile, detach
pidfile = PidFile(Path(sys.argv[1]), SystemClock())
pidfile.acquire()
print("still here", flush=True)
detach()
pidfile.write()
print("unheard", flush=True)
facts = f"{os.getcwd()} {os.getsid(0) != os.getpid()} {sys.stdin.read()!r}"
Path(sys.argv[2]).write_text(facts + " .")
signal.pause()
"""


def test_a_detached_daemon_keeps_its_lock_and_nothing_of_the_terminal(path, tmp_path):
    facts = tmp_path / "facts"
    called = subprocess.run(
        [sys.executable, "-c", DETACHING, path, facts],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    assert called.stdout == "still here\n"
    waiting = threading.Event()
    for _ in range(int(PATIENCE / 0.02)):
        if facts.exists() and facts.read_text().endswith("."):
            break
        waiting.wait(0.02)
    daemon = psutil.Process(int(path.read_text()))
    try:
        assert facts.read_text() == "/ True '' ."
        assert daemon.pid != os.getpid()
        with pytest.raises(ConfigError, match=f"process {daemon.pid} is running already"):
            PidFile(path, SystemClock()).acquire(patience=0.0)
    finally:
        daemon.send_signal(signal.SIGKILL)
        psutil.wait_procs([daemon], timeout=PATIENCE)
    after = PidFile(path, FakeClock())
    after.acquire()
    after.release()
