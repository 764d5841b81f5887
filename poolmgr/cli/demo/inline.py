"""The demo's parts in this process: a store in memory, clouds in a thread, a launcher's and a builder's. No ZooKeeper.

What the builder runs to make an image is a process all the same.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from poolmgr.cli.demo import observer
from poolmgr.cli.demo.plan import Plan, as_file, builder_config, launcher_config, simcloud_config
from poolmgr.cli.demo.report import Costs, Left
from poolmgr.cli.demo.sink import StatsdSink
from poolmgr.cli.demo.stack import (
    BUILDER_IDLE,
    NO_PROXY,
    Tell,
    daemon_environ,
    image_files,
    make_builder_places,
)
from poolmgr.cli.simcloud import write_whole
from poolmgr.errors import PoolmgrError
from poolmgr.policy.image_tuning import ImageTuning
from poolmgr.simcloud import RunningSim, running
from poolmgr.store.api import Store
from poolmgr.store.memory import MemoryStore, MemoryTree
from poolmgr.store.remains import remains
from poolmgr.wiring import BuilderDaemon, LauncherDaemon

STOP_TIMEOUT = 30.0
#: For an end that need not be orderly.
HURRY = 2.0


class InlineStack:
    """See Stack. Without processes the launcher's CPU time is not told apart, nor are ZooKeeper's writes."""

    def __init__(self, plan: Plan, directory: Path) -> None:
        self.plan = plan
        self.directory = directory
        self._tree = MemoryTree()
        self._store = MemoryStore(self._tree)
        self._sink = StatsdSink()
        self._parts = ExitStack()
        self._sim: RunningSim | None = None
        self._launcher: LauncherDaemon | None = None
        self._builder: BuilderDaemon | None = None
        self._calls_before = 0

    @property
    def store(self) -> Store:
        return self._store

    @property
    def metrics(self) -> int:
        return len(self._sink.values)

    def start(self, tell: Tell) -> None:
        try:
            self._sim = self._parts.enter_context(running(simcloud_config(self.plan)))
        except OSError as error:
            raise PoolmgrError(f"the pretend clouds cannot listen: {error}") from error
        tell(f"{len(self.plan.clouds)} pretend clouds at {self._sim.url}")
        clouds_path = self._sim.write_clouds_yaml(self.directory / "clouds.yaml")
        self._write_config(ready=True)
        self._store.start()
        self._parts.callback(self._store.close)
        os.environ.update(NO_PROXY)  # the HTTP library looks there, not into `environ`
        environ = daemon_environ(clouds_path, self._sink.port)
        if self.plan.image is not None:
            self._start_builder(environ)
            tell(f"builder: in this process, log {self.directory / 'demo.log'}")
        self._launcher = LauncherDaemon(
            str(self._config_path), store=MemoryStore(self._tree), environ=environ
        )
        self._launcher.start()
        tell(f"launcher: in this process, log {self.directory / 'demo.log'}")

    def check(self) -> None:
        self._sink.drain()

    def begin_counting(self) -> None:
        self._calls_before = observer.total(self._counts(), "calls")

    def costs(self) -> Costs:
        self._sink.drain()
        calls = observer.total(self._counts(), "calls") - self._calls_before
        return Costs(launcher_cpu_s=None, api_calls=calls, zookeeper_writes=None, metrics=self.metrics)

    def stop_making_ready(self) -> None:
        self._write_config(ready=False)

    def stop_launcher(self) -> bool:
        launcher, self._launcher = self._launcher, None
        return launcher is None or launcher.stop(STOP_TIMEOUT)

    def pause_images(self) -> None:
        if self.plan.image is not None:
            self._write_builder_config(paused=True)

    def stop_listing_images(self) -> None:
        self._write_builder_config(paused=True, listed=False)

    def image_files(self) -> tuple[str, ...]:
        return image_files(self.directory)

    def stop_builder(self) -> bool:
        builder, self._builder = self._builder, None
        return builder is None or builder.stop(STOP_TIMEOUT)

    def left(self) -> Left:
        counts = self._counts()
        return Left(
            servers=observer.total(counts, "servers"),
            ports=observer.total(counts, "ports"),
            floating_ips=observer.total(counts, "floating_ips"),
            images=observer.total(counts, "images"),
            objects=observer.total(counts, "objects"),
            files=self.image_files(),
            znodes=remains(self._tree.paths()),
        )

    def how_to_talk(self) -> list[str]:
        assert self._sim is not None
        return [
            f"export OS_CLIENT_CONFIG_FILE={self.directory / 'clouds.yaml'}",
            f"curl {self._sim.url}/_sim/   # the clouds from inside",
            "the store is in this process's memory: `poolmgr list` cannot see it",
        ]

    def stop(self) -> None:
        if self._launcher is not None:
            self._launcher.stop(HURRY)
        if self._builder is not None:
            self._builder.stop(HURRY)
        self._parts.close()
        self._sink.close()

    def _start_builder(self, environ: Mapping[str, str]) -> None:
        make_builder_places(self.directory)
        self._write_builder_config()
        self._builder = BuilderDaemon(
            str(self._builder_path),
            store=MemoryStore(self._tree),
            environ=environ,
            tuning=ImageTuning(idle_cycle=BUILDER_IDLE),
        )
        self._builder.start()

    @property
    def _builder_path(self) -> Path:
        return self.directory / "builder.yaml"

    def _write_builder_config(self, *, paused: bool = False, listed: bool = True) -> None:
        config = builder_config(
            self.plan,
            zookeeper_port=None,
            directory=str(self.directory),
            python=sys.executable,
            paused=paused,
            listed=listed,
        )
        write_whole(self._builder_path, as_file(config))

    @property
    def _config_path(self) -> Path:
        return self.directory / "nodepool.yaml"

    def _counts(self) -> observer.Counts:
        if self._sim is None:
            raise PoolmgrError("the pretend clouds have not come up")
        return self._sim.counts()

    def _write_config(self, *, ready: bool) -> None:
        assert self._sim is not None
        config = launcher_config(self.plan, zookeeper_port=None, ssh_port=self._sim.ssh_port, ready=ready)
        write_whole(self._config_path, as_file(config))
