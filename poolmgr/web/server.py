"""The web server of a daemon: the app on a port, in a thread of its own."""

from __future__ import annotations

import os
import socket

import uvicorn

from poolmgr.errors import ConfigError
from poolmgr.runtime.clock import Clock
from poolmgr.runtime.service import ServiceThread
from poolmgr.web.app import WebApp
from poolmgr.web.source import Source

#: Connections beyond this are refused with 503: there is no login.
MAX_CONNECTIONS = 256
#: Seconds that an answer which is being sent may take at stop.
_GRACE = 2


class WebServer:
    """Answers from `start` to `stop`. `setting` names what in the configuration says where it listens."""

    def __init__(
        self, source: Source, clock: Clock, *, address: str, port: int, setting: str = "webapp"
    ) -> None:
        """`port` 0: any free one; see `port` after `start`."""
        self.address = address
        self.port = port
        self._setting = setting
        self._app = WebApp(source, clock.time)
        self._server = uvicorn.Server(
            uvicorn.Config(
                self._app.asgi,
                http="h11",
                loop="asyncio",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                limit_concurrency=MAX_CONNECTIONS,
                timeout_graceful_shutdown=_GRACE,
            )
        )
        self._thread: ServiceThread | None = None

    def start(self) -> None:
        """Listen; requests are answered from now on. Raises ConfigError when it cannot listen there."""
        listener = self._listen()
        self.port = listener.getsockname()[1]
        self._thread = ServiceThread("web", lambda: self._server.run(sockets=[listener]), self._end)
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread is not None and self._thread.alive

    def stop(self, timeout: float) -> bool:
        """Whether it has stopped within `timeout` seconds. Streams end, what is being sent may go on for a moment."""
        return self._thread is None or self._thread.stop(timeout)

    def _end(self) -> None:
        self._app.stop()
        self._server.should_exit = True

    def _listen(self) -> socket.socket:
        try:
            family, kind, protocol, _, place = socket.getaddrinfo(
                self.address or None, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            listener = socket.socket(family, kind, protocol)
        except OSError as error:
            raise self._cannot(error) from error
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(place)
            listener.listen(128)
        except OSError as error:
            listener.close()
            raise self._cannot(error) from error
        return listener

    def _cannot(self, error: OSError) -> ConfigError:
        why = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        return ConfigError(
            f"the web server cannot listen on port {self.port} of {self.address}: {why}",
            remedy=f"choose another with `{self._setting}` in the configuration, or start with --no-webapp",
        )
