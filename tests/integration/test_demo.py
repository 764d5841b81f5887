"""`poolmgr demo` as a user runs it: real ZooKeeper, real HTTP, real SSH, a launcher and a builder process."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

DEMO = [sys.executable, "-m", "poolmgr.cli.main", "demo"]
KEYS = {
    "requests", "fulfilled", "failed", "latency_s", "boot_s", "nodes_by_cloud", "left", "metrics",
    "launcher_cpu_s_per_1000_nodes", "api_calls_per_node", "zookeeper_writes_per_node", "images",
}  # fmt: skip


@pytest.fixture
def place(tmp_path):
    """Where the demo puts its files, so that a test can see whether it tidied up."""
    directory = tmp_path / "tmp"
    directory.mkdir()
    return directory


def environ(place):
    return {**os.environ, "TMPDIR": str(place), "STATSD_HOST": "", "http_proxy": "http://127.0.0.1:9"}


def started(place, *options, **more):
    return subprocess.Popen(
        [*DEMO, *options],
        env=environ(place),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **more,
    )


def run(place, *options):
    process = started(place, *options)
    output, _ = process.communicate(timeout=150)
    return process.returncode, output


def descendants(pid):
    """All processes below `pid`, from /proc."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(stat.parent.name)] = int(fields[1])
    found, new = set(), {pid}
    while new:
        new = {child for child, parent in parents.items() if parent in new} - found
        found |= new
    return found


def runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def until(condition, limit=60.0):
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def read_until(process, text):
    lines = []
    for line in process.stdout:
        lines.append(line)
        if text in line:
            return
    pytest.fail("".join(lines))


@pytest.mark.integration
def test_the_main_job_with_all_real_parts(place, tmp_path):
    report = tmp_path / "report.json"
    code, output = run(
        place, "--requests", "20", "--outstanding", "8", "--boot", "1", "--report", str(report)
    )
    assert code == 0, output
    result = json.loads(report.read_text())
    assert set(result) == KEYS
    assert (result["requests"], result["fulfilled"], result["failed"]) == (20, 20, 0)
    assert set(result["left"].values()) == {0}
    assert set(result["left"]) >= {"servers", "images", "objects", "files", "znodes"}
    images = result["images"]
    assert images["builds"] >= 2
    assert set(images["uploads_by_format"]) == {"qcow2", "raw", "vhd"}
    assert images["uploads"] >= 5 + 3
    assert images["failed"] == 0
    assert images["booted_from"] > 1
    assert sum(result["nodes_by_cloud"].values()) >= 20
    assert result["metrics"] > 50
    assert result["zookeeper_writes_per_node"] > 0
    assert list(place.iterdir()) == []  # nothing is left on disk either


@pytest.mark.integration
def test_the_main_job_without_zookeeper(place, tmp_path):
    report = tmp_path / "report.json"
    code, output = run(
        place,
        "--store",
        "memory",
        "--requests",
        "8",
        "--boot",
        "0.5",
        "--hold",
        "0.2",
        "--report",
        str(report),
    )
    assert code == 0, output
    assert "no ZooKeeper" in output
    result = json.loads(report.read_text())
    assert result["fulfilled"] == 8
    assert result["zookeeper_writes_per_node"] is None
    assert result["images"]["uploads"] >= 5 + 3
    assert set(result["left"].values()) == {0}


@pytest.mark.integration
def test_ctrl_c_stops_everything(place):
    process = started(place, "--requests", "1000", start_new_session=True)
    read_until(process, "requests are coming")
    children = descendants(process.pid)
    assert len(children) >= 4  # ZooKeeper, clouds, builder, launcher
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert not [pid for pid in children if runs(pid)]
    assert list(place.iterdir()) == []


@pytest.mark.integration
def test_nothing_outlives_a_killed_demo(place):
    process = started(place, "--requests", "1000")
    read_until(process, "requests are coming")
    children = descendants(process.pid)
    process.kill()
    process.communicate(timeout=60)
    until(lambda: not [pid for pid in children if runs(pid)])


@pytest.mark.integration
@pytest.mark.parametrize("kind", ["launcher", "builder"])
def test_a_part_that_dies_fails_the_demo_and_keeps_the_logs(place, kind):
    process = started(place, "--requests", "1000")
    read_until(process, "requests are coming")
    (part,) = [pid for pid in descendants(process.pid) if is_daemon(pid, kind)]
    os.kill(part, signal.SIGKILL)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"the {kind} ended with -9" in output
    (directory,) = place.iterdir()
    assert f"logs are kept in {directory}" in output
    assert (directory / f"{kind}.log").stat().st_size > 0


def is_daemon(pid, kind):
    return f"poolmgr.cli.{kind}".encode() in Path(f"/proc/{pid}/cmdline").read_bytes()


def test_a_report_that_cannot_be_written_is_told_before_anything_starts(place):
    code, output = run(place, "--report", "/no/such/directory/report.json")
    assert code == 1
    assert "/no/such/directory" in output
    assert list(place.iterdir()) == []


@pytest.mark.integration
def test_with_keep_it_stays_and_can_be_talked_to(place, tmp_path):
    process = started(
        place, "--requests", "2", "--boot", "0.5", "--hold", "0", "--keep", start_new_session=True
    )
    read_until(process, "How to talk to it")
    (directory,) = place.iterdir()
    poolmgr = [sys.executable, "-m", "poolmgr.cli.main", "-c", str(directory / "nodepool.yaml")]
    request = subprocess.run(
        [*poolmgr, "request", "debian-small", "--hold", "0", "--timeout", "60", "--json"],
        capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip
    assert request.returncode == 0, request.stderr
    (node,) = json.loads(request.stdout)["nodes"]
    assert node["interface_ip"]
    assert node["host_keys"]
    listing = subprocess.run([*poolmgr, "list"], capture_output=True, text=True, timeout=60, check=False)
    assert listing.returncode == 0, listing.stderr
    assert "| ID " in listing.stdout
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=90)
    assert process.returncode == 0, output
    assert list(place.iterdir()) == []
