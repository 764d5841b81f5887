"""`poolmgr cloud`: the verbs that make and delete servers, on pretend clouds in real time."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from poolmgr.cli import main
from poolmgr.model.server import META_LIBRARY_UNTIL, META_NODE_ID, META_PROVIDER
from poolmgr.runtime.clock import SystemClock
from poolmgr.simcloud.faults import Fault, FaultKind
from poolmgr.simcloud.server import RunningSim, running
from tests.sites import eventually

CLOUDS = {
    "north": {"shape": "nat", "boot": 0.1, "delete_seconds": 0.1},
    "south": {"shape": "direct", "boot": 0.1, "delete_seconds": 0.1},
}
PLAIN = ("--image", "debian-12", "--flavor", "small")


class HastyClock(SystemClock):
    """Pauses of commands in this process are short."""

    def wait(self, event: threading.Event, seconds: float) -> None:
        super().wait(event, min(seconds, 0.05))


@dataclass(frozen=True, kw_only=True)
class Desk:
    """A person with a clouds.yaml."""

    sim: RunningSim
    directory: Path
    read: Callable[[], tuple[str, str]]
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    def run(self, *arguments: str, code: int = 0) -> tuple[str, str]:
        """What a command printed to stdout and stderr."""
        assert main.main(["cloud", *arguments]) == code
        return self.read()

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "poolmgr.cli.main", "cloud", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        return process

    def left(self, cloud: str = "north") -> tuple[int, int, int]:
        counts = self.sim.counts()[cloud]
        return counts["servers"], counts["ports"], counts["floating_ips"]

    def put(self, cloud: str, **server: Any) -> str:
        """A server that somebody else made; its id."""
        far = self.sim.world.clouds[cloud]
        with far.lock:
            return far.compute.put_foreign(networks=(), flavor=None, **server).id

    def strike(self, cloud: str, kind: FaultKind, *operations: str) -> None:
        far = self.sim.world.clouds[cloud]
        with far.lock:
            far.faults.add(Fault(kind=kind, operations=operations))


@pytest.fixture
def desk(tmp_path, monkeypatch, capsys) -> Iterator[Desk]:
    with running({"ssh": {"enabled": False}, "clouds": CLOUDS}) as sim:
        file = sim.write_clouds_yaml(tmp_path / "clouds.yaml")
        for name in [name for name in os.environ if name.startswith("OS_")]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(file))
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("poolmgr.cloud.library.connection.SystemClock", HastyClock)

        def read() -> tuple[str, str]:
            printed = capsys.readouterr()
            return printed.out, printed.err

        here = Desk(sim=sim, directory=tmp_path, read=read)
        yield here
        for process in here.processes:
            process.kill()
            process.communicate()


def test_a_server_from_its_creation_to_its_end(desk):
    out, err = desk.run("create-server", "north", "my-server", *PLAIN, "--metadata", "groups=web", "--json")
    server = json.loads(out)
    assert re.findall(r" s  (\w+)", err) == ["accepted", "building", "active", "address"]
    assert (server["name"], server["cloud"], server["owner"]) == ("my-server", "north", "library")
    assert desk.sim.world.guest_at(server["address"]).id == server["id"]
    node = desk.put("north", name="np7", metadata={META_NODE_ID: "0000000007", META_PROVIDER: "prov"})

    out, _ = desk.run("list-servers", "north")
    assert [line.split()[1] for line in out.splitlines() if "ACTIVE" in line] == [server["id"]]
    out, _ = desk.run("list-servers", "north", "--all", "--json")
    assert {row["id"]: row["owner"] for row in json.loads(out)} == {
        server["id"]: "library",
        node: "node 0000000007 of prov",
    }
    assert "Linux" in desk.run("console", "north", "my-server")[0]

    eventually(lambda: server["address"] in desk.run("list-servers", "north")[0])  # nova shows it a bit later
    inventory = json.loads(desk.run("inventory", "--list")[0])
    assert inventory["web"] == inventory["image_debian_12"] == {"hosts": ["my-server"]}
    variables = json.loads(desk.run("inventory", "north", "--host", "my-server")[0])
    assert variables["ansible_host"] == server["address"]
    assert "no host nonsense" in desk.run("inventory", "--host", "nonsense", code=1)[1]

    desk.run("delete-server", "north", "my-server")
    assert "no server my-server" in desk.run("delete-server", "north", "my-server", code=1)[1]
    assert "is node 0000000007" in desk.run("delete-server", "north", "np7", code=1)[1]
    desk.run("delete-server", "north", "np7", "--force", "--no-wait")
    assert desk.sim.counts()["north"]["floating_ips"] == 0


def test_a_failure_says_why_and_leaves_nothing(desk):
    desk.strike("south", FaultKind.ERROR_SERVER)
    _, err = desk.run("create-server", "south", "my-server", *PLAIN, code=1)
    assert "poolmgr: cloud south: server my-server: Build of instance" in err
    assert desk.left("south") == (0, 0, 0)
    _, err = desk.run("create-server", "south", "my-server", "--image", "x", "--flavor", "smal", code=1)
    assert "did you mean 'small'?" in err
    assert "ssh:PORT" in desk.run("create-server", "south", "x", *PLAIN, "--reachable", "udp", code=1)[1]


def wait_for(process: subprocess.Popen[str], word: str) -> None:
    """Read what a process tells until `word`."""
    assert process.stderr is not None
    assert any(word in line for line in process.stderr)


def test_ctrl_c_cleans_up(desk):
    desk.strike("north", FaultKind.STUCK_BUILD)
    process = desk.start("create-server", "north", "my-server", *PLAIN)
    wait_for(process, "building")
    process.send_signal(signal.SIGINT)
    wait_for(process, "cleaning up")
    assert process.wait(60) == 130
    assert desk.left() == (0, 0, 0)


def test_what_a_killed_command_leaves_is_told_and_removed(desk):
    desk.strike("north", FaultKind.STUCK_BUILD)
    process = desk.start("create-server", "north", "my-server", *PLAIN)
    wait_for(process, "building")
    process.kill()
    process.wait(60)
    assert desk.run("clean", "north")[0] == "nothing is left over\n"  # it might still be at it
    assert "half made" not in desk.run("list-servers", "north")[0]
    far = desk.sim.world.clouds["north"]
    with far.lock:  # as if it were long ago
        (server,) = far.compute.servers.values()
        far.compute.set_metadata(server.id, {**server.metadata, META_LIBRARY_UNTIL: "1700000000"})
    assert "BUILD, half made" in desk.run("list-servers", "north")[0]
    out, _ = desk.run("clean", "north")
    assert "repeat this with --yes" in out
    assert server.id in out
    assert "deleted" in desk.run("clean", "north", "--yes")[0]
    assert desk.left() == (0, 0, 0)


def test_a_cloud_that_fails_is_left_out_of_the_inventory(desk):
    desk.put("south", name="web", metadata={})
    desk.strike("north", FaultKind.REFUSE)
    out, err = desk.run("inventory")
    assert list(json.loads(out)["_meta"]["hostvars"]) == []
    assert "left out: cloud north" in err
    _, err = desk.run("inventory", "north", code=1)
    assert "every cloud failed" in err


def test_the_program_of_the_manual(desk):
    """As it stands there, on a cloud of the name it uses."""
    text = (Path(__file__).parents[2] / "doc" / "library.rst").read_text()
    block = re.search(r"\.\. code-block:: python\n\n((?:   .*\n|\n)+)", text)
    assert block is not None
    exec(textwrap.dedent(block[1]), {})
    first, listed = desk.read()[0].splitlines()
    assert re.fullmatch(r"my-server 127\.1\.\S+", first)
    assert re.fullmatch(r"\S{36} my-server ACTIVE", listed)
    assert desk.left() == (0, 0, 0)
