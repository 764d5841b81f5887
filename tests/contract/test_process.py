"""Real child processes: started, watched, stopped with everything they started."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

import psutil
import pytest

from poolmgr.errors import ProcessFailed
from poolmgr.runtime.process import Process

PATIENCE = 30.0  # for a process to be scheduled; not a measure of anything

#: Ignores SIGTERM, and says so once it does.
STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("deaf", flush=True)
time.sleep(60)
"""


def python(tmp_path: Path, code: str, **options) -> Process:
    return Process([sys.executable, "-c", code], log_path=tmp_path / "child.log", **options)


def shell(tmp_path: Path, script: str, **options) -> Process:
    return Process(["/bin/sh", "-c", script], log_path=tmp_path / "child.log", **options)


def await_output(process: Process, word: str) -> str:
    """What the process wrote, as soon as `word` is in it."""
    waiting = threading.Event()
    for _ in range(int(PATIENCE / 0.02)):
        text = process.log_path.read_text()
        if word in text:
            return text
        waiting.wait(0.02)
    raise AssertionError(f"{word!r} never came; the log has: {process.last_output()}")


def assert_gone(pid: int) -> None:
    """The process has ended or does within our patience; nobody may have collected it yet."""
    waiting = threading.Event()
    for _ in range(int(PATIENCE / 0.02)):
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return
        waiting.wait(0.02)
    raise AssertionError(f"process {pid} still runs")


def test_output_goes_to_the_log_and_the_exit_code_comes_back(tmp_path):
    process = shell(tmp_path, "echo out; echo err >&2; exit 3")
    assert process.wait(PATIENCE) == 3
    assert process.log_path.read_text() == "out\nerr\n"
    assert not process.running


def test_the_log_is_continued_and_its_end_can_be_shown(tmp_path):
    (tmp_path / "child.log").write_bytes(b"before\n\xff\n")
    process = shell(tmp_path, "seq 30")
    process.wait(PATIENCE)
    assert process.last_output(2) == "29\n30\n"
    assert process.last_output(100).startswith("before\n\ufffd\n1\n")


def test_waiting_ends_after_the_timeout_and_leaves_the_process_alone(tmp_path):
    with shell(tmp_path, "sleep 60") as process:
        assert process.wait(0.0) is None
        assert process.running


def test_stop_asks_first(tmp_path):
    process = shell(tmp_path, "trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.05; done")
    await_output(process, "ready")
    assert process.stop(PATIENCE) == 7
    assert "bye" in process.log_path.read_text()


def test_who_does_not_listen_is_killed(tmp_path, caplog):
    process = python(tmp_path, STUBBORN)
    await_output(process, "deaf")
    assert process.stop(grace=0.0) == -signal.SIGKILL
    assert "did not stop" in caplog.text


def test_stopping_takes_along_what_the_process_started(tmp_path):
    process = shell(tmp_path, "trap '' TERM; sleep 60 & echo child $!; wait")
    grandchild = int(await_output(process, "child").split()[1])
    process.stop(grace=0.0)
    assert_gone(grandchild)


def test_what_outlives_the_process_in_its_group_is_killed_when_it_is_collected(tmp_path):
    process = shell(tmp_path, "sleep 60 & echo child $!")
    assert process.wait(PATIENCE) == 0
    assert_gone(int(process.log_path.read_text().split()[1]))


def test_stop_and_kill_may_be_repeated(tmp_path):
    process = shell(tmp_path, "exit 4")
    process.wait(PATIENCE)
    assert process.stop() == 4
    assert process.kill() == 4
    process.signal(signal.SIGTERM)


def test_one_thread_may_wait_while_another_stops_it(tmp_path):
    process = shell(tmp_path, "sleep 60")
    codes: list[int | None] = []
    waiter = threading.Thread(target=lambda: codes.append(process.wait(PATIENCE)), daemon=True)
    waiter.start()
    process.stop(PATIENCE)
    waiter.join(PATIENCE)
    assert codes == [-signal.SIGTERM]


def test_it_has_a_session_of_its_own_and_no_input(tmp_path):
    with python(
        tmp_path, "import os, sys; print(os.getsid(0), repr(sys.stdin.read()), flush=True)"
    ) as process:
        process.wait(PATIENCE)
    assert process.log_path.read_text() == f"{process.pid} ''\n"
    assert process.pid != os.getsid(0)


def test_environment_and_directory_are_the_ones_given(tmp_path):
    process = shell(tmp_path, 'echo "$WORD in $(pwd)"', env={"WORD": "told"}, cwd=tmp_path)
    process.wait(PATIENCE)
    assert process.log_path.read_text() == f"told in {tmp_path}\n"


def test_a_program_that_does_not_exist_is_a_clear_error(tmp_path):
    with pytest.raises(ProcessFailed, match=r"cannot start nothing-such.*No such file"):
        Process(["/nowhere/nothing-such"], log_path=tmp_path / "child.log")


def test_a_log_that_cannot_be_written_is_a_clear_error(tmp_path):
    with pytest.raises(ProcessFailed, match="cannot start sh"):
        Process(["/bin/sh", "-c", ":"], log_path=tmp_path / "missing" / "child.log")
