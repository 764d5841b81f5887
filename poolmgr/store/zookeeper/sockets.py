"""How kazoo gets at sockets: its threading handler with cheaper waiting, and with TLS done our way.

kazoo 2.11 makes an epoll object for each wait, and waits before each part of a message; at our rate of small
messages that was half of the store's CPU time. Here a wait is one poll(), and a message that has arrived
together with others is taken from memory. TLS trusts the configured CA only, never the system's.
"""

from __future__ import annotations

import os
import select
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kazoo.handlers.threading import SequentialThreadingHandler

from poolmgr.errors import ConfigError

_CHUNK = 65536
_READABLE = select.POLLIN | select.POLLHUP | select.POLLERR
_WRITABLE = select.POLLOUT | select.POLLHUP | select.POLLERR


@dataclass(frozen=True, kw_only=True)
class TlsFiles:
    """PEM files: our certificate, its key, and the CA that signed the servers'."""

    cert: str
    key: str
    ca: str


def tls_context(files: TlsFiles) -> ssl.SSLContext:
    """What speaks mutual TLS. Raises ConfigError, naming the file, when one cannot be used.

    Host names are not compared with certificates, as in the reference: sites make one certificate for all.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    for path in (files.cert, files.key, files.ca):
        if not os.access(path, os.R_OK):
            raise ConfigError(f"zookeeper-tls: cannot read {path}")
    try:
        context.load_verify_locations(files.ca)
    except (OSError, ValueError) as error:
        raise ConfigError(f"zookeeper-tls: {files.ca} has no CA certificate in PEM form: {error}") from error
    try:
        context.load_cert_chain(files.cert, files.key, password=_no_password)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"zookeeper-tls: {files.cert} and {files.key} are no certificate and its key: {error}"
        ) from error
    return context


def _no_password() -> str:
    raise ValueError("the key is protected by a password, which nobody could enter")


class BufferedSocket:
    """A socket of which what has arrived is read at once, and given out in parts from memory."""

    def __init__(self, plain: socket.socket) -> None:
        self._socket = plain
        self._arrived = memoryview(b"")
        self.send = plain.send
        self.sendall = plain.sendall
        self.fileno = plain.fileno
        self.close = plain.close
        self.setblocking = plain.setblocking
        self.getpeername = plain.getpeername

    def recv(self, size: int) -> bytes:
        if not self._arrived:
            self._arrived = memoryview(self._socket.recv(_CHUNK))
        part, self._arrived = self._arrived[:size], self._arrived[size:]
        return bytes(part)

    def take(self, size: int) -> bytes | None:
        """So many bytes from memory, None if there are fewer."""
        if len(self._arrived) < size:
            return None
        part, self._arrived = self._arrived[:size], self._arrived[size:]
        return bytes(part)

    def pending(self) -> int:
        """Bytes that can be read although poll() may not say so."""
        if self._arrived:
            return len(self._arrived)
        return self._socket.pending() if isinstance(self._socket, ssl.SSLSocket) else 0


class _Waker:
    """The end of the socket pair that wakes kazoo's thread; waking one that is about to wake costs nothing.

    kazoo's own is a plain socket that blocks once some 280 requests wait to be sent: a lock held meanwhile
    would then be held for as long as ZooKeeper is away.
    """

    def __init__(self, plain: socket.socket) -> None:
        plain.setblocking(False)
        self._socket = plain
        self.close = plain.close

    def send(self, data: bytes) -> int:
        try:
            return self._socket.send(data)
        except BlockingIOError:
            return len(data)


class Handler(SequentialThreadingHandler):  # type: ignore[misc]
    """`tls` None is plaintext; `connect_timeout` is for one server, in seconds."""

    def __init__(self, tls: ssl.SSLContext | None, connect_timeout: float) -> None:
        super().__init__()
        self._tls = tls
        self._connect_timeout = connect_timeout

    def select(
        self, readers: Sequence[Any], writers: Sequence[Any], _errors: Sequence[Any], timeout: float | None
    ) -> tuple[list[Any], list[Any], list[Any]]:
        """As select.select; a reader with bytes in memory is ready at once."""
        ready = [one for one in readers if isinstance(one, BufferedSocket) and one.pending()]
        poll = select.poll()
        for one in readers:
            poll.register(one, select.POLLIN)
        for one in writers:
            poll.register(one, select.POLLOUT)
        events = dict(poll.poll(0 if ready else None if timeout is None else max(0, timeout) * 1000))
        ready += [r for r in readers if r not in ready and events.get(r.fileno(), 0) & _READABLE]
        return ready, [w for w in writers if events.get(w.fileno(), 0) & _WRITABLE], []

    def create_connection(
        self, address: tuple[str, int], hostname: str | None = None, timeout: float | None = None, **_: Any
    ) -> BufferedSocket:
        """kazoo's own TLS arguments are not used: the context was made once, from files that were checked."""
        limit = self._connect_timeout if timeout is None else min(timeout, self._connect_timeout)
        plain = socket.create_connection(address, limit)
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                plain = self._tls.wrap_socket(plain, server_hostname=hostname)
        except BaseException:
            plain.close()
            raise
        return BufferedSocket(plain)

    def create_socket_pair(self) -> tuple[socket.socket, _Waker]:
        reader, writer = socket.socketpair()
        return reader, _Waker(writer)
