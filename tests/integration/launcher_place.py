"""A real launcher process on pretend clouds and a real ZooKeeper, with a configuration that tests change at will."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from poolmgr.config.load import load
from poolmgr.model.component import ComponentKind
from poolmgr.model.request import NodeRequest, RequestState
from poolmgr.simcloud.server import RunningSim, running
from poolmgr.store.api import Store
from poolmgr.wiring import open_store
from tests.sites import eventually
from tests.zookeeper import Proxy

LAUNCHER = [sys.executable, "-m", "poolmgr.cli.launcher"]


def pool(*labels: str, **more: Any) -> dict[str, Any]:
    """A pool `main`; no SSH, so that nodes are ready as soon as they are active."""
    offered = [{"name": one, "cloud-image": "debian-12", "flavor-name": "small"} for one in labels]
    return {"name": "main", "max-servers": 10, "host-key-checking": False, "labels": offered, **more}


def provider(name: str, *labels: str, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "cloud": name,
        "rate": 0.001,
        "cloud-images": [{"name": "debian-12"}],
        "pools": [pool(*(labels or ("small",)))],
        **more,
    }


class LauncherPlace:
    """`config` is the file's content, `write` writes it, whole. `store` is a client's."""

    def __init__(self, directory: Path, hosts: str, sim: RunningSim) -> None:
        address, _, chroot = hosts.partition("/")
        self.directory = directory
        self.sim = sim
        self.proxy = Proxy(address)
        self.log_path = directory / "launcher.log"
        self.config_path = directory / "nodepool.yaml"
        self.clouds_path = sim.write_clouds_yaml(directory / "clouds.yaml")
        self.config: dict[str, Any] = {
            "zookeeper-servers": [{"host": "127.0.0.1", "port": self.proxy.port, "chroot": f"/{chroot}"}],
            "zookeeper-plaintext": True,
            "zookeeper-timeout": 6.0,
            "labels": [{"name": "small"}],
            "providers": [provider(name) for name in sim.world.clouds],
        }
        self.processes: list[subprocess.Popen[bytes]] = []
        self.write()
        direct = directory / "direct.yaml"
        direct.write_text(
            yaml.safe_dump(
                {
                    "zookeeper-servers": [
                        {"host": "127.0.0.1", "port": int(address.partition(":")[2]), "chroot": f"/{chroot}"}
                    ],
                    "zookeeper-plaintext": True,
                }
            )
        )
        self.store: Store = open_store(load(str(direct), environ={}).settings)
        self.store.start()

    def write(self, text: str | None = None) -> None:
        """The configuration as it is now, or `text`, put in place at once."""
        self.put(self.config_path, yaml.safe_dump(self.config) if text is None else text)

    @staticmethod
    def put(path: Path, text: str) -> None:
        new = path.with_suffix(".new")
        new.write_text(text)
        new.rename(path)

    def provider(self, name: str) -> dict[str, Any]:
        (found,) = (one for one in self.config["providers"] if one["name"] == name)
        return dict(found)

    def start(self, *options: str, wait: bool = True) -> subprocess.Popen[bytes]:
        environ = {**os.environ, "OS_CLIENT_CONFIG_FILE": str(self.clouds_path), "STATSD_HOST": ""}
        with self.log_path.open("a") as log:
            process = subprocess.Popen(
                [*LAUNCHER, "-f", "--no-webapp", "-c", str(self.config_path), *options],
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environ,
            )
        self.processes.append(process)
        if wait:
            self.says("is running")
        return process

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    def says(self, text: str, times: int = 1) -> None:
        try:
            eventually(lambda: self.log.count(text) >= times, within=40.0)
        except AssertionError:
            raise AssertionError(f"it never said {text!r}:\n{self.log[-4000:]}") from None

    def reloads(self, act: Any) -> None:
        """Do `act` and wait until the launcher has read its files once more."""
        before = self.log.count("configuration loaded")
        act()
        self.says("configuration loaded", before + 1)

    def submit(self, *labels: str) -> str:
        at = time.time()
        request = NodeRequest(labels=labels, state_time=at, created_time=at, requestor="test")
        return self.store.create_request(request, priority=200).id

    def state(self, request_id: str) -> RequestState | None:
        with self.store.reading() as snapshot:
            found = snapshot.request(request_id)
        return found.state if found else None

    def fulfilled(self, *ids: str) -> bool:
        return all(self.state(one) is RequestState.FULFILLED for one in ids)

    def servers(self, cloud: str) -> int:
        return int(self.sim.counts()[cloud]["servers"])

    def calls(self, cloud: str, operation: str) -> int:
        found = self.sim.counts()[cloud]["calls_by_operation"]
        return sum(count for name, count in found.items() if name.startswith(operation))

    def components(self) -> list[str]:
        with self.store.reading() as snapshot:
            found = [c.name or c.hostname for kind in ComponentKind for c in snapshot.components(kind)]
            return found + [peer.hostname for peer in snapshot.peers()]

    def locked(self) -> list[str]:
        """What somebody has locked: requests, nodes, providers."""
        with self.store.reading() as snapshot:
            nodes = [n.id for n in snapshot.nodes() if snapshot.node_locked(n.id)]
            requests = [r.id for r in snapshot.requests() if snapshot.request_locked(r.id)]
            return (
                nodes + requests + [name for name in self.sim.world.clouds if snapshot.provider_owned(name)]
            )

    def close(self) -> None:
        for process in self.processes:
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()
        self.store.close()
        self.proxy.cut()


@contextmanager
def launcher_place(directory: Path, hosts: str, **clouds: Any) -> Iterator[LauncherPlace]:
    """`clouds`: pretend clouds by name, `boot` in seconds and so on."""
    with running({"ssh": {"enabled": False}, "clouds": clouds or {"north": {"boot": 0.5}}}) as sim:
        place = LauncherPlace(directory, hosts, sim)
        try:
            yield place
        finally:
            place.close()
