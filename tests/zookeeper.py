"""A real ZooKeeper for tests: Debian's, started by pifpaf on a port of its own, and ways to disturb it."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from unittest import mock

import pytest
from pifpaf.drivers.zookeeper import ZooKeeperDriver

_SCRIPT = "/usr/share/zookeeper/bin/zkServer.sh"
_JVM = "-Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dzookeeper.forceSync=no -Dzookeeper.admin.enableServer=false"


@contextmanager
def running_server() -> Iterator[str]:
    """`host:port` of a ZooKeeper server that lives as long as the block."""
    if not os.access(_SCRIPT, os.X_OK):
        pytest.fail(
            f"these tests need a real ZooKeeper, and there is no {_SCRIPT}: apt-get install zookeeper"
        )
    port = free_port()
    with (
        mock.patch.dict(os.environ, {"SERVER_JVMFLAGS": _JVM, "JMXDISABLE": "true"}),
        ZooKeeperDriver(port=port) as driver,
        _killed_with_us(int((Path(driver.tempdir) / "zookeeper_server.pid").read_text())),
    ):
        yield f"127.0.0.1:{port}"


@contextmanager
def _killed_with_us(pid: int) -> Iterator[None]:
    """Have `pid` killed also if this process is: the end of the pipe is all that a killed process still says."""
    guard = subprocess.Popen(
        ["sh", "-c", f"read line || kill -9 {pid}"], stdin=subprocess.PIPE, start_new_session=True
    )
    assert guard.stdin is not None
    yield
    guard.stdin.write(b"all is well\n")
    guard.stdin.close()
    guard.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Proxy:
    """A TCP proxy in front of `target` (host:port) that can be cut, can fall silent, and can lose an answer."""

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self.port = free_port()
        self._listener: socket.socket | None = None
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._cuts_at_answer = False
        self._inject = b""
        self._speaks = threading.Event()
        self._speaks.set()
        self.resume()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def resume(self) -> None:
        """Take connections (again), and pass on what was held."""
        self._speaks.set()
        if self._listener is None:
            self._listener = socket.create_server(("127.0.0.1", self.port))
            threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def cut(self) -> None:
        """Break all connections and take no new ones."""
        listener, self._listener = self._listener, None
        self._speaks.set()
        if listener is not None:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        with self._lock:
            for one in self._open:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def cut_at_next_answer(self) -> None:
        """Cut instead of passing on what the server says next."""
        self._cuts_at_answer = True

    def hold(self) -> None:
        """Keep back what the server says from now on, until `resume`; the connections stand."""
        self._speaks.clear()

    def inject(self, data: bytes) -> None:
        """Put these bytes in front of what the server says next."""
        self._inject = data

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._target, timeout=5)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            with self._lock:
                self._open |= {client, server}
            for source, sink, answers in ((client, server, False), (server, client, True)):
                threading.Thread(target=self._pump, args=(source, sink, answers), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, answers: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if answers and self._cuts_at_answer:
                    self._cuts_at_answer = False
                    self.cut()
                    break
                if answers:
                    self._speaks.wait()
                if answers and self._inject:
                    data, self._inject = self._inject + data, b""
                sink.sendall(data)
        for one in (source, sink):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        with self._lock:
            self._open.discard(source)
        source.close()
