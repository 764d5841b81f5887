"""The demo's parts in this process: a store in memory, clouds in a thread, a launcher's threads. No ZooKeeper."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

from poolmgr.cli.demo import observer
from poolmgr.cli.demo.plan import Plan, as_file, launcher_config, simcloud_config
from poolmgr.cli.demo.report import Costs, Left
from poolmgr.cli.demo.sink import StatsdSink
from poolmgr.cli.demo.stack import NO_PROXY, Tell, launcher_environ
from poolmgr.cli.simcloud import write_whole
from poolmgr.errors import PoolmgrError
from poolmgr.simcloud import RunningSim, running
from poolmgr.store.api import Store
from poolmgr.store.memory import MemoryStore, MemoryTree
from poolmgr.store.remains import remains
from poolmgr.wiring import LauncherDaemon

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
        environ = launcher_environ(clouds_path, self._sink.port)
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

    def left(self) -> Left:
        counts = self._counts()
        return Left(
            servers=observer.total(counts, "servers"),
            ports=observer.total(counts, "ports"),
            floating_ips=observer.total(counts, "floating_ips"),
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
        self._parts.close()
        self._sink.close()

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
