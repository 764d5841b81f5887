"""The bytes of one try: read from a file once, counted and hashed on the way out, and cut off when told.

A body is made anew for each try. One that is sent twice would go on where the first try ended, and a cloud would
make an image of what is left, which may be nothing (cloud.md 3.1).
"""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Protocol, Self

from poolmgr.errors import CloudUnavailable, ConfigError
from poolmgr.model.trouble import Trouble

STALL = 300.0  # seconds
BLOCK = 256 << 10  # bytes read, hashed and handed to the socket at a time
#: Glance hashes with sha512 unless told otherwise, and older ones know md5 only; sha256 is for the records.
HASHES = ("md5", "sha256", "sha512")


class Aborted(CloudUnavailable):
    """The sending was given up from our side."""


class Line(Protocol):
    """A connection, as far as a body knows it."""

    sock: socket.socket | None


class Body:
    """`length` bytes of the file at `path` from `offset` on; a context manager that closes the file.

    `hashes` are names of hashlib's; `patience` is how many seconds nothing may move; `pace` is told of each block
    before it is read, and may wait. What requests and urllib3 want of a body is `read` and a length; `__iter__` tells
    requests that it is a stream. Raises ConfigError when the file cannot be read, or is shorter than it was said to be.
    """

    def __init__(
        self,
        path: str,
        offset: int,
        length: int,
        hashes: tuple[str, ...],
        *,
        patience: float = STALL,
        pace: Callable[[int], None] | None = None,
    ) -> None:
        self.sent = 0  # bytes that were handed over to the socket
        self.patience = patience
        self._path = path
        self._length = length
        self._pace = pace
        self._hashes = {name: hashlib.new(name, usedforsecurity=False) for name in hashes}
        self._lock = threading.Lock()
        self._line: Line | None = None
        self._aborted = False
        try:
            self._file = open(path, "rb")  # noqa: SIM115 - closed by __exit__
            self._file.seek(offset)
        except OSError as error:
            raise _unreadable(path, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[bytes]:
        while data := self.read():
            yield data

    def read(self, size: int = -1) -> bytes:  # noqa: ARG002 - our block is better than the library's
        """The next block, b"" at the end."""
        wanted = min(BLOCK, self._length - self.sent)
        if self._pace is not None and wanted and not self._aborted:
            self._pace(wanted)
        if self._aborted:  # looked at after the wait
            raise Aborted("the upload was given up")
        try:
            data = self._file.read(wanted)
        except OSError as error:
            raise _unreadable(self._path, error) from error
        if len(data) < wanted:
            raise Trouble.FILE_CHANGED.error(ConfigError, f"{self._path}: it is shorter than it was")
        for each in self._hashes.values():
            each.update(data)
        self.sent += len(data)
        return data

    @property
    def whole(self) -> bool:
        """Whether every byte has left."""
        return self.sent == self._length

    def digests(self) -> dict[str, str]:
        """The hashes of what was read so far, in hexadecimal, by name."""
        return {name: each.hexdigest() for name, each in self._hashes.items()}

    def goes_over(self, line: Line) -> None:
        """The connection that it is about to be sent over, told by that."""
        with self._lock:
            self._line = line
            if self._aborted:
                raise Aborted("the upload was given up")

    def abort(self) -> None:
        """End the sending, also one that waits for the network; from any thread."""
        with self._lock:
            self._aborted = True
            sock = self._line.sock if self._line is not None else None
            if sock is not None:
                with suppress(OSError):
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)  # below TLS: that has a state of its own


def hashes_of(path: str, length: int, names: tuple[str, ...] = HASHES) -> dict[str, str]:
    """The hashes of a file that is not sent, or not in one piece. Raises ConfigError."""
    with Body(path, 0, length, names) as body:
        for _ in body:
            pass
        return body.digests()


def _unreadable(path: str, error: OSError) -> ConfigError:
    return Trouble.FILE_UNREADABLE.error(ConfigError, f"{path}: {error.strerror or error}")
