"""`python -m poolmgr.simcloud`: a process of its own, from its one line of JSON to its end."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
import yaml

ROOT = Path(__file__).parents[2]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[object]:
    started: list[subprocess.Popen[str]] = []

    def run(text: str) -> subprocess.Popen[str]:
        file = tmp_path / "sim.yaml"
        file.write_text(text)
        process = subprocess.Popen(
            [sys.executable, "-m", "poolmgr.simcloud", str(file)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_where_it_is_serves_and_ends_cleanly(start, number):
    process = start("clouds: {north: {}, south: {shape: nat}}")
    about = json.loads(process.stdout.readline())
    assert about["clouds"] == ["north", "south"]
    assert about["ssh_port"] > 0
    assert set(requests.get(about["state_url"], timeout=10).json()) == {"north", "south"}
    assert set(about["clouds_yaml"]["clouds"]) == {"north", "south"}
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (0, "", "")


def test_a_wrong_file_is_one_line_and_exit_1(start):
    process = start("clouds: {north: {shape: round}}")
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (1, "")
    assert "sim.yaml: clouds.north.shape: must be one of" in err
    assert err.count("\n") == 1


def test_clouds_yaml_can_be_written(tmp_path):
    from poolmgr.simcloud import running

    with running({"clouds": {"north": {"shape": "tasks"}}}) as sim:
        file = sim.write_clouds_yaml(tmp_path / "clouds.yaml")
        entry = yaml.safe_load(file.read_text())["clouds"]["north"]
        assert entry["auth"]["auth_url"] == f"{sim.server.cloud_url('north')}/identity/v3"
        assert entry["floating_ip_source"] is None
