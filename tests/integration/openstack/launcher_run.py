"""A launcher as a process on real clouds, and a client's view of what it does."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from poolmgr.cli.demo.daemon_process import DaemonProcess
from poolmgr.cli.demo.flow import registered_pools, send_away
from poolmgr.cli.simcloud import write_whole
from poolmgr.model.node import NodeState
from poolmgr.runtime.clock import SystemClock
from poolmgr.store.zookeeper import ZooKeeperStore
from tests.integration.openstack.site import CLOUDS_YAML, eventually


class LauncherRun:
    """`config` makes the launcher's file; its argument says whether nodes are to be kept ready."""

    def __init__(self, directory: Path, zookeeper: str, config: Callable[[bool], dict[str, Any]]) -> None:
        self.zookeeper = zookeeper
        self._config = config
        self._config_path = directory / "nodepool.yaml"
        self.write_config(ready=True)
        environ = {**os.environ, "OS_CLIENT_CONFIG_FILE": str(CLOUDS_YAML), "NO_PROXY": "127.0.0.1"}
        self.launcher = DaemonProcess("launcher", self._config_path, directory / "launcher.log", environ)
        self.clock = SystemClock()
        self.store = ZooKeeperStore(zookeeper)

    def write_config(self, *, ready: bool) -> None:
        write_whole(self._config_path, json.dumps({**store_keys(self.zookeeper), **self._config(ready)}))

    def start(self, pools: int) -> None:
        self.launcher.start()
        self.store.start()
        eventually(lambda: registered_pools(self.store) == pools)

    def ready(self) -> int:
        with self.store.reading() as snapshot:
            return sum(n.state is NodeState.READY and not n.allocated_to for n in snapshot.nodes())

    def emptied(self) -> bool:
        """Whether no node or request is left; sends those away that nobody has."""
        with self.store.reading() as snapshot:
            nodes, requests = list(snapshot.nodes()), list(snapshot.requests())
        for node in nodes:
            if node.state is NodeState.READY and not node.allocated_to:
                send_away(self.store, node.id, at=self.clock.time())
        return not nodes and not requests

    def close(self) -> None:
        """Ends both; the log's end is printed, which pytest shows when a test has failed."""
        self.store.close()
        self.launcher.kill()
        print(self.launcher.log_path.read_text()[-20_000:])


def store_keys(zookeeper: str) -> dict[str, Any]:
    """The keys that name `host:port/chroot`."""
    server, _, chroot = zookeeper.partition("/")
    host, port = server.split(":")
    return {
        "zookeeper-servers": [{"host": host, "port": int(port), "chroot": f"/{chroot}"}],
        "zookeeper-plaintext": True,
    }
