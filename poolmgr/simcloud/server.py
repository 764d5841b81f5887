"""A world put on the network: HTTP and SSH in one asyncio loop, in this thread or in one of its own.

`running` is for tests and demos in one process, `serve` for a process that does nothing else.
"""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from poolmgr.simcloud.config import load
from poolmgr.simcloud.http import SimApplication
from poolmgr.simcloud.routes import MOUNT
from poolmgr.simcloud.settings import SimConfig
from poolmgr.simcloud.spool import Spool
from poolmgr.simcloud.ssh import SshListener
from poolmgr.simcloud.tls import server_context
from poolmgr.simcloud.wire import HttpProtocol
from poolmgr.simcloud.world import SimCloud, World

_BACKLOG = 1024

Source = str | Path | Mapping[str, Any] | SimConfig


class SimServer:
    """The clouds of a configuration, reachable from `start` to `stop`. One event loop owns it."""

    def __init__(self, source: Source, now: Callable[[], float] = time.time) -> None:
        """Raises ConfigError."""
        config = source if isinstance(source, SimConfig) else load(source)
        self.config = config
        self.world = World(config, now)
        self.url = ""  # of everything, without a slash at its end
        self.ssh_port: int | None = None  # None: there is no SSH server
        self.certificate: Path | None = None  # None: there is no TLS
        self._servers: list[asyncio.Server] = []
        self._connections: set[HttpProtocol] = set()
        self._ssh: SshListener | None = None
        self._spool: Spool | None = None

    async def start(self) -> None:
        """Listen. Raises OSError when a port is taken."""
        loop = asyncio.get_running_loop()
        listener = socket.create_server((self.config.host, self.config.port), backlog=_BACKLOG)
        self._spool = Spool()
        context = None
        if self.config.tls:
            context, self.certificate = server_context(self.config.tls, self.config.host, self._spool.path)
        self.url = f"http{'s' if context else ''}://{self.config.host}:{listener.getsockname()[1]}"
        application = SimApplication(self.world, self.url, loop, self._spool)
        self._servers.append(
            await loop.create_server(
                lambda: HttpProtocol(application, self._connections),
                sock=listener,
                backlog=_BACKLOG,
                ssl=context,
            )
        )
        if self.config.ssh.enabled:
            self._ssh = SshListener(self.world, self.config.ssh, seed=self.config.seed)
            self.ssh_port = await self._ssh.start()

    async def stop(self) -> None:
        for server in self._servers:
            server.close()
        for connection in list(self._connections):
            connection.close()
        if self._ssh is not None:
            self._ssh.stop()
        if self._spool is not None:
            self._spool.close()
        await asyncio.sleep(0)  # lets the closed transports go before the loop does

    def cloud_url(self, name: str) -> str:
        """Where a cloud's services are, without a slash at its end."""
        return f"{self.url}/{MOUNT}{name}"

    def clouds_yaml(self) -> dict[str, Any]:
        """A clouds.yaml that reaches all the clouds, by password."""
        return {"clouds": {name: self._entry(cloud) for name, cloud in self.world.clouds.items()}}

    def _entry(self, cloud: SimCloud) -> dict[str, Any]:
        mine, home = cloud.identity.credentials, cloud.regions[0]
        where: dict[str, Any] = {"region_name": cloud.config.region}
        if cloud is home and len(cloud.regions) > 1:
            where = {"regions": [region.config.region for region in cloud.regions]}
        return {
            "auth": {
                "auth_url": f"{self.cloud_url(home.name)}/identity/v3",
                "username": mine.username,
                "password": mine.password,
                "project_name": mine.project,
                "user_domain_name": mine.domain,
                "project_domain_name": mine.domain,
            },
            **where,
            **({"cacert": str(self.certificate)} if self.certificate else {}),
            **cloud.shape.clouds_yaml,
        }

    def application_credential(self, cloud_name: str) -> dict[str, str]:
        """The `auth` of a clouds.yaml entry with `auth_type: v3applicationcredential`."""
        mine = self.world.clouds[cloud_name].identity.credentials
        return {
            "auth_url": f"{self.cloud_url(cloud_name)}/identity/v3",
            "application_credential_id": mine.app_id,
            "application_credential_secret": mine.app_secret,
        }

    def description(self) -> dict[str, Any]:
        """What a program that started it needs to know."""
        return {
            "url": self.url,
            "state_url": f"{self.url}/_sim/",
            "ssh_port": self.ssh_port,
            "clouds": list(self.world.clouds),
            "clouds_yaml": self.clouds_yaml(),
        }


class RunningSim:
    """A SimServer in a thread of its own, as `running` gives it."""

    def __init__(self, server: SimServer) -> None:
        self.server = server
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._failure: OSError | None = None
        self._thread = threading.Thread(target=self._run, name="simcloud", daemon=True)

    # What most users want of the server.
    @property
    def url(self) -> str:
        return self.server.url

    @property
    def ssh_port(self) -> int:
        """The port of all guests; 0 if there is no SSH server."""
        return self.server.ssh_port or 0

    @property
    def world(self) -> World:
        """Take a cloud's `lock` before you look into it."""
        return self.server.world

    def clouds_yaml(self) -> dict[str, Any]:
        return self.server.clouds_yaml()

    def write_clouds_yaml(self, path: str | Path) -> Path:
        """Write clouds.yaml to a file; returns its path."""
        file = Path(path)
        file.write_text(yaml.safe_dump(self.clouds_yaml(), sort_keys=False), encoding="utf-8")
        return file

    def counts(self) -> Mapping[str, Mapping[str, Any]]:
        """As GET /_sim/ gives them."""
        return self.world.counts()

    def start(self) -> None:
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            self._thread.join()
            raise self._failure

    def stop(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self.server.start())
        except OSError as error:
            self._failure = error
            self._ready.set()
            self._loop.close()
            return
        self._ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(self.server.stop())
        self._loop.run_until_complete(_ended(asyncio.all_tasks(self._loop)))
        self._loop.close()


async def _ended(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancel what is still going on, TLS handshakes that the other side has left, say."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@contextmanager
def running(source: Source, now: Callable[[], float] = time.time) -> Iterator[RunningSim]:
    """The clouds of `source` (a YAML file's path, or what it holds), served by a thread until the block ends.

    Raises ConfigError, or OSError when a port is taken.
    """
    handle = RunningSim(SimServer(source, now))
    handle.start()
    try:
        yield handle
    finally:
        handle.stop()


def serve(
    source: Source,
    *,
    announce: Callable[[dict[str, Any]], None] | None = None,
    clouds_yaml: str | Path | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, then return. Call it in the main thread.

    `announce` gets SimServer.description() once everything answers; without it that is printed as one line of
    JSON. `clouds_yaml`: a file to write. Raises ConfigError, or OSError when a port is taken.
    """
    asyncio.run(_serve(SimServer(source), announce or _print, clouds_yaml))


async def _serve(
    server: SimServer, announce: Callable[[dict[str, Any]], None], clouds_yaml: str | Path | None
) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    await server.start()
    if clouds_yaml is not None:
        Path(clouds_yaml).write_text(yaml.safe_dump(server.clouds_yaml(), sort_keys=False), encoding="utf-8")  # noqa: ASYNC240 - before anything is served
    announce(server.description())
    await stopping.wait()
    await server.stop()


def _print(description: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(description) + "\n")
    sys.stdout.flush()
