"""The demo's parts as real processes: a private ZooKeeper, one process of clouds, a launcher."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from poolmgr import wiring
from poolmgr.cli.demo import observer
from poolmgr.cli.demo.plan import Plan, as_file, launcher_config, simcloud_config
from poolmgr.cli.demo.procfs import cpu_seconds
from poolmgr.cli.demo.report import Costs, Left
from poolmgr.cli.demo.sink import StatsdSink
from poolmgr.cli.demo.stack import Tell
from poolmgr.cli.session import connect
from poolmgr.cli.simcloud import write_whole
from poolmgr.config.load import load
from poolmgr.errors import PoolmgrError, ProcessFailed
from poolmgr.runtime.clock import Clock
from poolmgr.runtime.process import Process
from poolmgr.runtime.zookeeper_server import ZooKeeperServer
from poolmgr.store.api import Store

#: For a process to say that it is up, on a machine that is busy with something else.
START_TIMEOUT = 60.0
STOP_TIMEOUT = 30.0


class ProcessStack:
    """See Stack. Processes die with the thread that started them."""

    def __init__(self, plan: Plan, directory: Path, clock: Clock) -> None:
        self.plan = plan
        self.directory = directory
        self.launcher: Process | None = None
        self._clock = clock
        self._sink = StatsdSink()
        self._zookeeper: ZooKeeperServer | None = None
        self._sim: Process | None = None
        self._sim_facts: Mapping[str, Any] = {}
        self._store: Store | None = None
        self._cpu_of_former = 0.0  # launchers that were stopped or killed
        self._counted_from = (0.0, 0, 0)  # CPU seconds, API calls, transactions

    @property
    def store(self) -> Store:
        assert self._store is not None
        return self._store

    @property
    def metrics(self) -> int:
        return len(self._sink.values)

    @property
    def config_path(self) -> Path:
        return self.directory / "nodepool.yaml"

    @property
    def clouds_path(self) -> Path:
        return self.directory / "clouds.yaml"

    def start(self, tell: Tell) -> None:
        self._zookeeper = ZooKeeperServer(self.directory / "zookeeper")
        self._zookeeper.start()
        tell(f"ZooKeeper at 127.0.0.1:{self._zookeeper.port}")
        self._start_clouds()
        tell(f"{len(self.plan.clouds)} clouds at {self._sim_facts['url']}")
        self._write_config(ready=True)
        settings = load(str(self.config_path), environ={}).settings
        self._store = wiring.open_store(settings)
        connect(self._store, settings, self._clock, START_TIMEOUT)
        self.start_launcher()
        assert self.launcher is not None
        tell(f"launcher: process {self.launcher.pid}, log {self.launcher.log_path}")

    def start_launcher(self) -> None:
        """Start the launcher (again)."""
        environ = {
            **os.environ,
            "OS_CLIENT_CONFIG_FILE": str(self.clouds_path),
            "STATSD_HOST": "127.0.0.1",
            "STATSD_PORT": str(self._sink.port),
        }
        args = ["-m", "poolmgr.cli.launcher", "-f", "--no-webapp", "-c", str(self.config_path)]
        self.launcher = self._process("launcher", args, environ)

    def kill_launcher(self) -> None:
        """SIGKILL, as a crash."""
        if self.launcher is not None:
            self._cpu_of_former += cpu_seconds(self.launcher.pid)
            self.launcher.kill()
            self.launcher = None

    def stop_launcher(self) -> bool:
        if self.launcher is None:
            return True
        self._cpu_of_former += cpu_seconds(self.launcher.pid)
        code = self.launcher.stop(STOP_TIMEOUT)
        self.launcher = None
        return code == 0

    def check(self) -> None:
        self._sink.drain()
        for process in (self._sim, self.launcher):
            if process is not None and not process.running:
                code = process.wait(0.0)
                raise ProcessFailed(f"{process.name} ended with {code}:\n{process.last_output()}")

    def begin_counting(self) -> None:
        self._counted_from = self._readings()

    def costs(self) -> Costs:
        self._sink.drain()
        cpu, calls, writes = (
            now - then for now, then in zip(self._readings(), self._counted_from, strict=True)
        )
        return Costs(
            launcher_cpu_s=cpu, api_calls=int(calls), zookeeper_writes=int(writes), metrics=self.metrics
        )

    def stop_making_ready(self) -> None:
        self._write_config(ready=False)  # the launcher looks at the file's time itself

    def left(self) -> Left:
        counts = self.cloud_counts()
        return Left(
            servers=observer.total(counts, "servers"),
            ports=observer.total(counts, "ports"),
            floating_ips=observer.total(counts, "floating_ips"),
            znodes=observer.remains(self._zookeeper_address),
        )

    def cloud_counts(self) -> observer.Counts:
        return observer.cloud_counts(str(self._sim_facts["state_url"]))

    def how_to_talk(self) -> list[str]:
        return [
            f"export OS_CLIENT_CONFIG_FILE={self.clouds_path}",
            f"poolmgr -c {self.config_path} list",
            f"poolmgr -c {self.config_path} request {self.plan.labels[0].name} --hold 60",
            f"the clouds from inside: curl {self._sim_facts['state_url']}",
        ]

    def stop(self) -> None:
        if self._store is not None:
            self._store.close()
        if self.launcher is not None:
            self.stop_launcher()
        if self._sim is not None:
            self._sim.stop(STOP_TIMEOUT)
        if self._zookeeper is not None:
            self._zookeeper.stop()
        self._sink.close()

    def _start_clouds(self) -> None:
        config, announced = self.directory / "simcloud.yaml", self.directory / "simcloud.json"
        config.write_text(as_file(simcloud_config(self.plan)), encoding="utf-8")
        args = ["-m", "poolmgr.cli.main", "simcloud", str(config), "--json"]
        args += ["--announce", str(announced), "--clouds-yaml", str(self.clouds_path)]
        self._sim = self._process("simcloud", args, os.environ)
        self._await(announced.exists, "the pretend clouds")
        self._sim_facts = json.loads(announced.read_text(encoding="utf-8"))

    def _await(self, condition: Callable[[], bool], what: str) -> None:
        deadline, never = self._clock.monotonic() + START_TIMEOUT, threading.Event()
        while not condition():
            self.check()
            if self._clock.monotonic() >= deadline:
                raise PoolmgrError(f"{what} did not come up within {START_TIMEOUT:.0f} seconds")
            self._clock.wait(never, 0.05)

    def _process(self, name: str, args: list[str], environ: Mapping[str, str]) -> Process:
        return Process(
            [sys.executable, *args],
            log_path=self.directory / f"{name}.log",
            env=environ,
            name=name,
            dies_with_us=True,
        )

    def _write_config(self, *, ready: bool) -> None:
        assert self._zookeeper is not None
        config = launcher_config(
            self.plan,
            zookeeper_port=self._zookeeper.port,
            ssh_port=int(self._sim_facts["ssh_port"]),
            ready=ready,
        )
        write_whole(self.config_path, as_file(config))

    def _readings(self) -> tuple[float, int, int]:
        now = cpu_seconds(self.launcher.pid) if self.launcher is not None else 0.0
        host, port = self._zookeeper_address
        return (
            self._cpu_of_former + now,
            observer.total(self.cloud_counts(), "calls"),
            observer.transactions(host, port),
        )

    @property
    def _zookeeper_address(self) -> tuple[str, int]:
        assert self._zookeeper is not None
        return "127.0.0.1", self._zookeeper.port
