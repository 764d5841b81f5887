from __future__ import annotations

import logging
import os
import threading
import time
from pathlib import Path

import pytest

from poolmgr.builder.hook import HookFailed, run_hook
from poolmgr.errors import ProcessFailed
from poolmgr.runtime.clock import SystemClock

log = logging.getLogger("hook")


@pytest.fixture
def hook(tmp_path):
    """Makes a hook of a shell script, and runs it for an image."""

    def run(script: str, *, timeout: float = 30.0, ended: threading.Event | None = None) -> None:
        path = tmp_path / "hook"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        arguments = [str(path), "north", "id-1", "/images/a; touch $HOME.raw"]
        run_hook(arguments, timeout=timeout, ended=ended or threading.Event(), clock=SystemClock(), log=log)

    return run


def test_it_is_told_provider_image_and_file_and_no_shell_reads_them(hook, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    hook('for each; do echo "<$each>"; done')
    assert [record.getMessage() for record in caplog.records if record.name == "hook"] == [
        "post-upload-hook: <north>",
        "post-upload-hook: <id-1>",
        "post-upload-hook: </images/a; touch $HOME.raw>",
    ]


def test_it_may_refuse(hook, caplog):
    with pytest.raises(HookFailed, match="exit code 3: too big"):
        hook("echo looking; echo too big >&2; exit 3")
    assert [record.levelno for record in caplog.records if record.name == "hook"] == [logging.WARNING] * 2


def test_one_that_cannot_be_started(tmp_path):
    arguments = [str(tmp_path / "none"), "north", "id", "file"]
    with pytest.raises(ProcessFailed, match="post-upload-hook"):
        run_hook(arguments, timeout=1.0, ended=threading.Event(), clock=SystemClock(), log=log)


def _gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"


def test_one_that_takes_too_long_ends_with_all_it_started(hook, tmp_path):
    child = tmp_path / "child"
    with pytest.raises(HookFailed, match="was not done within"):
        hook(f"sleep 1000 & echo $! > {child}; wait", timeout=0.3)
    pid = int(child.read_text())
    deadline = time.monotonic() + 10
    while not _gone(pid):
        assert time.monotonic() < deadline
        os.sched_yield()


def test_it_ends_with_its_upload(hook):
    ended = threading.Event()
    ended.set()
    with pytest.raises(HookFailed, match="cut off"):
        hook("sleep 1000", ended=ended)


def test_one_that_never_stops_talking_fills_no_disk(hook, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    size = tmp_path / "size"
    talk = "for i in 1 2 3; do head -c 1000000 /dev/zero; echo; sleep 0.4; done"
    hook(f"{talk}; size=$(stat -Lc %s /proc/self/fd/2); echo $size > {size}")
    assert int(size.read_text()) < 3_000_000
    told = [record.getMessage() for record in caplog.records if record.name == "hook"]
    assert len(told) <= 20
    assert all(len(message) < 500 for message in told)
