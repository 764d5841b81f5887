"""Programs that must not outlive us: real processes, really killed."""

import contextlib
import subprocess
import sys
import time

from poolmgr.runtime.process import Process

FOREVER = "import time; print('up', flush=True); time.sleep(600)"
PARENT = """
import pathlib, sys, time
from poolmgr.runtime.process import Process
child = Process([sys.executable, "-c", sys.argv[1]], log_path=pathlib.Path(sys.argv[2]), dies_with_us=True)
print(child.pid, flush=True)
time.sleep(600)
"""


def until(condition, limit=20.0):
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def runs(pid):
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0] != "Z"
    return False


def test_a_program_dies_when_its_parent_is_killed(tmp_path):
    log = tmp_path / "log"
    args = [sys.executable, "-c", PARENT, FOREVER, str(log)]
    with subprocess.Popen(args, stdout=subprocess.PIPE, text=True) as parent:
        pid = int(parent.stdout.readline())
        until(lambda: log.exists() and "up" in log.read_text())
        parent.kill()
    until(lambda: not runs(pid))


def test_a_program_bound_to_us_can_be_stopped_like_any_other(tmp_path):
    process = Process([sys.executable, "-c", FOREVER], log_path=tmp_path / "log", dies_with_us=True)
    assert process.running
    assert process.stop(grace=20.0) < 0
