"""Servers on loopback for the probe to meet: real SSH ones (paramiko's), and listeners that run a script."""

from __future__ import annotations

import io
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from typing import Self

import paramiko
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

Script = Callable[[socket.socket], None]


class Listener:
    """Accepts on `port` of `address` (0: a free one) and runs `script` for each connection, in a thread of its own."""

    def __init__(self, script: Script, address: str = "127.0.0.1", port: int = 0) -> None:
        self.address = address
        self.connections = 0
        self._script = script
        self._open: list[socket.socket] = []
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._socket = socket.create_server((address, port), family=family)
        self.port: int = self._socket.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        with suppress(OSError):  # raised by accept when `close` shuts the socket down
            while True:
                connection, _ = self._socket.accept()
                self.connections += 1
                self._open.append(connection)
                thread = threading.Thread(target=self._serve, args=(connection,))
                self._threads.append(thread)
                thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            self._script(connection)

    def refuse(self) -> None:
        """Take no more connections; those there are go on."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def close(self) -> None:
        """Ends all connections and waits for all threads."""
        self.refuse()
        self._threads[0].join()
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads[1:]:
            thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@cache
def key(key_type: str) -> paramiko.PKey:
    """A host key of `key_type`, the same in all tests of a run: RSA keys are slow to make."""
    if key_type == "ssh-rsa":
        return paramiko.RSAKey.generate(2048)
    if key_type == "ssh-ed25519":
        raw = Ed25519PrivateKey.generate()
        text = raw.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
        return paramiko.Ed25519Key.from_private_key(io.StringIO(text))
    bits = int(key_type.removeprefix("ecdsa-sha2-nistp"))
    return paramiko.ECDSAKey.generate(bits=bits)


def ssh_script(key_types: Sequence[str], *, method: str | None = None, preamble: bytes = b"") -> Script:
    """A script that is an SSH server with a key of each type; `method` is its only exchange method."""

    def serve(connection: socket.socket) -> None:
        connection.sendall(preamble)
        transport = paramiko.Transport(connection)
        for key_type in key_types:
            transport.add_server_key(key(key_type))
        if method:
            transport.get_security_options().kex = (method,)
        with suppress(paramiko.SSHException, EOFError):  # the client leaves without having logged in
            transport.start_server(server=paramiko.ServerInterface())
        transport.join()

    return serve


@contextmanager
def full_backlog() -> Iterator[tuple[str, int]]:
    """The (address, port) of a listener that accepts nothing any more: connecting hangs."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        target = listener.getsockname()
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(target)
        yield target
        for filler in fillers:
            filler.close()
