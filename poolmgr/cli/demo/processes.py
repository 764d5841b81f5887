"""The demo's parts as real processes: a private ZooKeeper, one process of clouds, a launcher, a builder."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from poolmgr import wiring
from poolmgr.cli.demo import observer
from poolmgr.cli.demo.daemon_process import DaemonProcess
from poolmgr.cli.demo.plan import Plan, as_file, builder_config, launcher_config, simcloud_config
from poolmgr.cli.demo.report import Costs, Left
from poolmgr.cli.demo.sink import StatsdSink
from poolmgr.cli.demo.stack import BUILDER_IDLE, Tell, daemon_environ, image_files, make_builder_places
from poolmgr.cli.session import connect
from poolmgr.cli.simcloud import write_whole
from poolmgr.config.load import load
from poolmgr.errors import CloudUnavailable, PoolmgrError, ProcessFailed
from poolmgr.runtime.clock import Clock
from poolmgr.runtime.process import Process
from poolmgr.runtime.zookeeper_server import ZooKeeperServer, free_port
from poolmgr.store.api import Store
from poolmgr.store.remains import remains
from poolmgr.store.zookeeper.walk import all_paths

#: For a process to say that it is up, on a machine that is busy with something else.
START_TIMEOUT = 60.0


BUILDER_OPTIONS = ("--tuning", f"idle_cycle={BUILDER_IDLE}")


class ProcessStack:
    """See Stack. Processes die with the thread that started them."""

    def __init__(
        self,
        plan: Plan,
        directory: Path,
        clock: Clock,
        *,
        builder_options: Sequence[str] = BUILDER_OPTIONS,
    ) -> None:
        self.plan = plan
        self.directory = directory
        self.config_path = directory / "nodepool.yaml"
        self.clouds_path = directory / "clouds.yaml"
        self._clock = clock
        self._sink = StatsdSink()
        self._zookeeper = ZooKeeperServer(directory / "zookeeper")
        self._sim: Process | None = None
        self._sim_facts: Mapping[str, Any] = {}
        self._store: Store | None = None
        self._counted_from = (0.0, 0, 0)  # CPU seconds, API calls, transactions
        self._web_port = 0
        environ = daemon_environ(self.clouds_path, self._sink.port)
        self.launcher = DaemonProcess("launcher", self.config_path, directory / "launcher.log", environ)
        self.builder_path = directory / "builder.yaml"
        self.builder = DaemonProcess(
            "builder", self.builder_path, directory / "builder.log", environ, options=builder_options
        )

    @property
    def store(self) -> Store:
        assert self._store is not None
        return self._store

    @property
    def metrics(self) -> int:
        return len(self._sink.values)

    @property
    def sent(self) -> Collection[tuple[str, str]]:
        """(name, type) of all metrics that came in so far."""
        return self._sink.sent

    @property
    def state_url(self) -> str:
        """Where the pretend clouds are changed while they run."""
        return str(self._sim_facts["state_url"])

    def start(self, tell: Tell) -> None:
        self._zookeeper.start()
        tell(f"ZooKeeper at 127.0.0.1:{self._zookeeper.port}")
        self._start_clouds()
        tell(f"{len(self.plan.clouds)} pretend clouds at {self._sim_facts['url']}")
        self._write_config(ready=True)
        settings = load(str(self.config_path), environ={}).settings
        self._store = wiring.open_store(settings)
        connect(self._store, settings, self._clock, START_TIMEOUT)
        if self.plan.image is not None:
            self._start_builder()
            tell(f"builder: process {self.builder.pid}, log {self.builder.log_path}")
        self.launcher.start()
        tell(f"launcher: process {self.launcher.pid}, log {self.launcher.log_path}")

    def check(self) -> None:
        self._sink.drain()
        self.launcher.check()
        self.builder.check()
        if self._sim is not None and not self._sim.running:
            raise ProcessFailed(f"the pretend clouds have ended:\n{self._sim.last_output()}")

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

    def stop_launcher(self) -> bool:
        return self.launcher.stop()

    def pause_images(self) -> None:
        if self.plan.image is not None:
            self._write_builder_config(paused=True)

    def stop_listing_images(self) -> None:
        self._write_builder_config(paused=True, listed=False)

    def image_files(self) -> tuple[str, ...]:
        return image_files(self.directory)

    def stop_builder(self) -> bool:
        return self.builder.stop()

    def left(self) -> Left:
        counts = self.cloud_counts()
        return Left(
            servers=observer.total(counts, "servers"),
            ports=observer.total(counts, "ports"),
            floating_ips=observer.total(counts, "floating_ips"),
            images=observer.total(counts, "images"),
            objects=observer.total(counts, "objects"),
            files=self.image_files(),
            znodes=remains(all_paths(f"127.0.0.1:{self._zookeeper.port}")),
        )

    def cloud_counts(self) -> observer.Counts:
        """What is in the clouds right now. Raises CloudUnavailable."""
        if not self._sim_facts:
            raise CloudUnavailable("the pretend clouds have not come up")
        return observer.cloud_counts(str(self._sim_facts["state_url"]))

    def how_to_talk(self) -> list[str]:
        built = [
            f"poolmgr -c {self.builder_path} dib-image-list",
            f"curl http://127.0.0.1:{self._web_port}/image-list   # the builder's web server",
        ]
        return [
            f"export OS_CLIENT_CONFIG_FILE={self.clouds_path}",
            f"poolmgr -c {self.config_path} list",
            f"poolmgr -c {self.config_path} request {self.plan.labels[0].name} --hold 60",
            *(built if self.plan.image else ()),
            f"curl {self._sim_facts['state_url']}   # the clouds from inside",
        ]

    def stop(self) -> None:
        if self._store is not None:
            self._store.close()
        self.launcher.kill()  # who wanted an orderly end has had it
        self.builder.kill()
        if self._sim is not None:
            self._sim.kill()
        self._zookeeper.stop()
        self._sink.close()

    def _start_clouds(self) -> None:
        config, announced = self.directory / "simcloud.yaml", self.directory / "simcloud.json"
        config.write_text(as_file(simcloud_config(self.plan)), encoding="utf-8")
        args = ["-m", "poolmgr.cli.main", "simcloud", str(config), "--announce", str(announced)]
        self._sim = Process(
            [sys.executable, *args, "--clouds-yaml", str(self.clouds_path)],
            log_path=self.directory / "simcloud.log",
            env={**os.environ, "TMPDIR": str(self.directory)},  # what is uploaded goes with our own files
            name="simcloud",
            dies_with_us=True,
        )
        deadline, never = self._clock.monotonic() + START_TIMEOUT, threading.Event()
        while not announced.exists():
            self.check()
            if self._clock.monotonic() >= deadline:
                raise PoolmgrError(f"the pretend clouds did not come up within {START_TIMEOUT:.0f} seconds")
            self._clock.wait(never, 0.05)
        self._sim_facts = json.loads(announced.read_text(encoding="utf-8"))

    def _write_config(self, *, ready: bool) -> None:
        config = launcher_config(
            self.plan,
            zookeeper_port=self._zookeeper.port,
            ssh_port=int(self._sim_facts["ssh_port"]),
            ready=ready,
        )
        write_whole(self.config_path, as_file(config))

    def _start_builder(self) -> None:
        make_builder_places(self.directory)
        self._web_port = free_port()
        self._write_builder_config()
        self.builder.start()

    def _write_builder_config(self, *, paused: bool = False, listed: bool = True) -> None:
        config = builder_config(
            self.plan,
            zookeeper_port=self._zookeeper.port,
            directory=str(self.directory),
            python=sys.executable,
            web_port=self._web_port,
            paused=paused,
            listed=listed,
        )
        write_whole(self.builder_path, as_file(config))

    def _readings(self) -> tuple[float, int, int]:
        return (
            self.launcher.cpu_seconds,
            observer.total(self.cloud_counts(), "calls"),
            observer.transactions("127.0.0.1", self._zookeeper.port),
        )
