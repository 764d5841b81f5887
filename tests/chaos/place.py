"""The site of a run: ZooKeeper servers, pretend clouds, launchers, and the wires between them, as real processes."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from poolmgr.cli.demo.plan import (
    DEMO_CLOUDS,
    DEMO_LABELS,
    DEMO_TENANTS,
    DemoCloud,
    Plan,
    as_file,
    launcher_config,
    simcloud_config,
)
from poolmgr.cli.demo.stack import NO_PROXY
from poolmgr.cli.simcloud import write_whole
from poolmgr.runtime.process import Process
from poolmgr.runtime.zookeeper_server import Quorum, ZooKeeperServer, free_port
from tests.chaos.proxy import Loop, Proxy

SESSION_TIMEOUT = 4.0
#: Constants of the launcher that would make a run last hours.
TUNING: Mapping[str, float] = {
    "sweep_interval": 5.0,
    "leak_age": 15.0,
    "young_server": 10.0,
    "delete_reissue": 5.0,
    "delete_patience": 10.0,
    "delete_reissue_max": 20.0,
    "poll_idle": 10.0,
    "facts_retry_max": 10.0,
    "quota_refresh": 30.0,
    "quota_cooldown": 5.0,
    "capacity_cooldown": 3.0,
    "capacity_cooldown_max": 10.0,
    "broken_retry": 10.0,
    "image_retry": 10.0,
    "idle_port_age": 10.0,
    "idle_floating_ip_age": 10.0,
    "adoption_grace": 30.0,
}
STOP_TIMEOUT = 25
#: For the end of a process that is through with its own orderly stop, in seconds.
STOP_SPARE = 10.0
#: What the configuration allows each pool.
MAX_CORES = 16
#: Until Python has come as far as its signal handlers a signal ends it: that is nobody's fault.
YOUNG = 8.0
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def site_plan(clouds: int, seed: int) -> Plan:
    return Plan(
        clouds=tuple(replace(cloud, max_servers=12) for cloud in DEMO_CLOUDS[:clouds]),
        labels=tuple(
            replace(
                label, clouds=tuple(c for c in label.clouds if c in [x.name for x in DEMO_CLOUDS[:clouds]])
            )
            if label.clouds
            else label
            for label in DEMO_LABELS
            if label.clouds is None or any(c.name in label.clouds for c in DEMO_CLOUDS[:clouds])
        ),
        tenants={**DEMO_TENANTS, "alpha": 15},
        boot=1.0,
        spread=0.5,
        rate=0.005,
        api_latency=0.01,
        session_timeout=SESSION_TIMEOUT,
        seed=seed,
    )


class Launcher:
    """One launcher process after another, with its own wires, clock and log."""

    def __init__(
        self, name: str, directory: Path, environ: Mapping[str, str], zookeeper: list[Proxy], clouds: Proxy
    ) -> None:
        self.name = name
        self.config_path = directory / f"{name}.yaml"
        self.log_path = directory / f"{name}.log"
        self.clock_path = directory / f"{name}.clock"
        self.zookeeper = zookeeper
        self.clouds = clouds
        self.frozen = False
        self.stops: list[str] = []  # orderly stops that were none
        self._environ = {
            **environ,
            "CHAOS_CLOCK": str(self.clock_path),
            "CHAOS_TUNING": json.dumps(dict(TUNING)),
        }
        self._process: Process | None = None
        self._started = 0.0
        self._leaving: tuple[Process, float, bool] | None = None  # since when, and whether it was young then
        self._wanted = False  # a process, as soon as the former one has gone
        self.set_clock(0.0)

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.running

    def start(self, *, log_path: Path | None = None) -> None:
        """Soon, where it is still stopping."""
        self._wanted = True
        self.tend()
        if self._process is None and self._leaving is None:
            args = ["-m", "tests.chaos.launcher", "-f", "--no-webapp", "--stop-timeout", str(STOP_TIMEOUT)]
            self._process = Process(
                [sys.executable, *args, "-d", "-c", str(self.config_path)],
                log_path=log_path or self.log_path,
                env=self._environ,
                cwd=Path(__file__).parents[2],
                name=self.name,
                dies_with_us=True,
            )
            self._started = time.monotonic()

    def kill(self) -> None:
        self.thaw()
        self._wanted = False
        if self._leaving is not None:
            self._leaving[0].kill()
            self._leaving = None
        if self._process is not None:
            process, self._process = self._process, None
            process.kill()

    def stop(self) -> None:
        """In order, within its time; notes what was not."""
        self.leave()
        if self._leaving is not None:
            self._leaving[0].wait(STOP_TIMEOUT + STOP_SPARE)
            self.tend()

    def leave(self) -> None:
        """The same, without waiting for it: `tend` sees to the rest."""
        self.thaw()
        self._wanted = False
        if self._process is not None:
            process, self._process = self._process, None
            now = time.monotonic()
            self._leaving = (process, now, now - self._started < YOUNG)
            process.signal(signal.SIGTERM)

    def tend(self) -> None:
        """Often: whether a process that was told to stop has stopped, or should have; start the next one if wanted."""
        if self._leaving is None:
            return
        process, since, young = self._leaving
        code = process.wait(0.0)
        if code is None:
            if time.monotonic() - since < STOP_TIMEOUT + STOP_SPARE:
                return
            code = process.kill()
        self._leaving = None
        if code != 0 and not (young and code == -signal.SIGTERM):
            self.stops.append(f"{self.name} ended with {code} after SIGTERM")
        if self._wanted:
            self.start()

    @property
    def settled(self) -> bool:
        """Whether it has run for a while."""
        return self.running and time.monotonic() - self._started >= YOUNG

    def ended_by_itself(self) -> str | None:
        """How it ended, if nobody stopped it and it does not run."""
        if self._process is None or self._process.running:
            return None
        process, self._process = self._process, None
        words = process.last_output(3) if process.log_path.is_file() else "(its log was on a full disk)"
        return f"{self.name} ended by itself with {process.wait(0.0)}:\n{words}"

    def freeze(self) -> None:
        if self._process is not None:
            self._process.signal(signal.SIGSTOP)
            self.frozen = True

    def thaw(self) -> None:
        if self._process is not None and self.frozen:
            self._process.signal(signal.SIGCONT)
        self.frozen = False

    def set_clock(self, ahead: float) -> None:
        write_whole(self.clock_path, f"{ahead}\n")


@dataclass
class Place:
    """Everything that runs. `start` first, `stop` last; belongs to one thread, which must outlive it."""

    directory: Path
    plan: Plan
    launcher_count: int
    zookeeper_count: int

    def __post_init__(self) -> None:
        self.launchers: dict[str, Launcher] = {}
        self.zookeepers: dict[str, ZooKeeperServer] = {}
        self.foreign: dict[str, dict[str, set[str]]] = {}  # cloud -> kind -> ids
        self._loop = Loop()
        self._sim: Process | None = None
        self._facts: dict[str, Any] = {}
        self._max_servers = {cloud.name: cloud.max_servers for cloud in self.plan.clouds}
        self._ready = True
        self.rolling: list[Launcher] = []  # those that are to be started anew yet, one after the other
        self._rolled: Launcher | None = None
        self.config_is_bad = False  # a launcher that is started then rightly ends at once

    @property
    def zookeeper_hosts(self) -> str:
        return ",".join(server.hosts for server in self.zookeepers.values())

    @property
    def ssh_port(self) -> int:
        return int(self._facts["ssh_port"])

    def start(self) -> None:
        self._start_zookeepers()
        self._start_clouds()
        self._put_foreign()
        for number in range(1, self.launcher_count + 1):
            self._make_launcher(f"launcher{number}")
        self.write_config()
        for launcher in self.launchers.values():
            launcher.start()

    def stop(self) -> None:
        for launcher in self.launchers.values():
            launcher.kill()
        if self._sim is not None:
            self._sim.kill()
        for server in self.zookeepers.values():
            server.kill()
        for launcher in self.launchers.values():
            for proxy in (*launcher.zookeeper, launcher.clouds):
                proxy.close()
        self._loop.close()

    def tend(self) -> None:
        """Often: go on with what takes its time."""
        for launcher in self.launchers.values():
            launcher.tend()
        if self.rolling and (self._rolled is None or self._rolled.settled):
            self._rolled = self.rolling.pop(0)
            self._rolled.leave()
            self._rolled.start()

    # Clouds from inside

    def sim(self, path: str, body: Any = None, method: str | None = None) -> Any:
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(
            f"{self._facts['url']}/_sim/{path}", data=data, method=method or ("POST" if data else "GET")
        )
        with _DIRECT.open(request, timeout=20.0) as answer:
            return json.load(answer)

    # Files

    def write_config(self, *, ready: bool | None = None, limits: Mapping[str, int] | None = None) -> None:
        """The launchers' files; each has its own ports of ZooKeeper, all else is the same."""
        self._ready = self._ready if ready is None else ready
        self._max_servers |= limits or {}
        self.config_is_bad = False
        clouds = tuple(
            replace(cloud, max_servers=self._max_servers[cloud.name]) for cloud in self.plan.clouds
        )
        plan = replace(self.plan, clouds=clouds)
        for launcher in self.launchers.values():
            config = launcher_config(plan, zookeeper_port=1, ssh_port=self.ssh_port, ready=self._ready)
            config["zookeeper-servers"] = [
                {"host": "127.0.0.1", "port": proxy.port} for proxy in launcher.zookeeper
            ]
            for provider in config["providers"]:
                provider["launch-timeout"], provider["boot-timeout"] = 40, 15
                provider["port-cleanup-interval"] = 15
                for pool in provider["pools"]:
                    pool["max-cores"] = MAX_CORES
            if self.launcher_count > 2 and launcher is list(self.launchers.values())[-1]:
                config["providers"] = config["providers"][:-1]  # it knows of one cloud fewer than the others
            write_whole(launcher.config_path, as_file(config))

    def spoil_config(self) -> None:
        self.config_is_bad = True
        for launcher in self.launchers.values():
            write_whole(launcher.config_path, "providers: [{name: half")

    # Parts

    def _start_zookeepers(self) -> None:
        numbers = range(1, self.zookeeper_count + 1)
        members = {n: f"127.0.0.1:{free_port()}:{free_port()}" for n in numbers}
        for n in numbers:
            quorum = Quorum(number=n, members=members) if len(members) > 1 else None
            server = ZooKeeperServer(self.directory / f"zookeeper{n}", quorum=quorum, heap_mib=128)
            self.zookeepers[f"zookeeper{n}"] = server
            server.start()
        deadline = time.monotonic() + 60.0
        while not any(server.mode() in ("leader", "standalone") for server in self.zookeepers.values()):
            if time.monotonic() > deadline:
                raise RuntimeError("the ZooKeeper servers have found no leader")
            time.sleep(0.2)

    def leader(self) -> str | None:
        modes = {name: server.mode() for name, server in self.zookeepers.items()}
        return next((name for name, mode in modes.items() if mode in ("leader", "standalone")), None)

    def _start_clouds(self) -> None:
        config, announced = self.directory / "simcloud.yaml", self.directory / "simcloud.json"
        config.write_text(as_file(simcloud_config(self.plan)))
        args = ["-m", "poolmgr.cli.main", "simcloud", str(config), "--announce", str(announced)]
        self._sim = Process(
            [sys.executable, *args, "--clouds-yaml", str(self.directory / "clouds.yaml")],
            log_path=self.directory / "simcloud.log",
            env={**os.environ, "TMPDIR": str(self.directory)},
            name="simcloud",
            dies_with_us=True,
        )
        never = threading.Event()
        while not announced.exists():
            if not self._sim.running:
                raise RuntimeError(f"the pretend clouds did not come up:\n{self._sim.last_output()}")
            never.wait(0.05)
        self._facts = json.loads(announced.read_text())

    def _make_launcher(self, name: str) -> None:
        zookeeper = [Proxy(self._loop, server.port) for server in self.zookeepers.values()]
        port = int(self._facts["url"].rpartition(":")[2])
        clouds = Proxy(self._loop, port)
        text = (self.directory / "clouds.yaml").read_text().replace(f":{port}/", f":{clouds.port}/")
        clouds_path = self.directory / f"{name}-clouds.yaml"
        clouds_path.write_text(text)
        assert yaml.safe_load(text)["clouds"]
        environ = {**os.environ, **NO_PROXY, "OS_CLIENT_CONFIG_FILE": str(clouds_path)}
        self.launchers[name] = Launcher(name, self.directory, environ, zookeeper, clouds)

    def _put_foreign(self) -> None:
        """Things of somebody else that look much like ours."""
        for cloud in self.plan.clouds:
            self.foreign[cloud.name] = {
                "servers": set(),
                "ports": set(),
                "floating_ips": set(),
                "volumes": set(),
            }
            for metadata in _look_alikes(cloud):
                made = self.sim(f"{cloud.name}/servers", {"name": "np0000000001", "metadata": metadata})
                self.foreign[cloud.name]["servers"].add(made["id"])
            for volume in ({"name": "np0000000001", "metadata": _look_alikes(cloud)[1]}, {"name": "data"}):
                made = self.sim(f"{cloud.name}/volumes", volume)
                self.foreign[cloud.name]["volumes"].add(made["id"])
            if cloud.shape == "nat":
                made = self.sim(f"{cloud.name}/floating_ips", {"description": "not yours"})
                self.foreign[cloud.name]["floating_ips"].add(made["id"])
            for port in self.sim(f"{cloud.name}/ports"):
                self.foreign[cloud.name]["ports"].add(port["id"])


def _look_alikes(cloud: DemoCloud) -> list[dict[str, str]]:
    node = {"nodepool_node_id": "0000000001", "nodepool_pool_name": "main"}
    return [
        {},
        {
            **node,
            "nodepool_provider_name": cloud.name,
            "poolmgr_deployment": "f" * 32,
            "poolmgr_attempt": "1",
        },
        {**node, "nodepool_provider_name": "another"},
        {"groups": f"{cloud.name},debian,debian-small"},
    ]
