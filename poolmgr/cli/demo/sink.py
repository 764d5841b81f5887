"""A statsd server that only remembers which names it was told, as what, and the last value of each."""

from __future__ import annotations

import socket

#: Enough for seconds of metrics between two looks; the kernel may grant less.
_BUFFER_BYTES = 4 << 20


class StatsdSink:
    """Listens on a free UDP port of loopback. `drain` belongs to one thread; nothing runs in the background."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        self._socket.setblocking(False)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.values: dict[str, str] = {}  # name -> value and type, as sent
        self.sent: set[tuple[str, str]] = set()  # (name, type): one name may be sent as two
        self.malformed: list[str] = []

    def drain(self) -> None:
        """Take in everything that has arrived."""
        while True:
            try:
                datagram = self._socket.recv(65536)
            except BlockingIOError:
                return
            for line in datagram.decode("utf-8", "replace").splitlines():
                self._note(line)

    def close(self) -> None:
        self._socket.close()

    def _note(self, line: str) -> None:
        name, separator, value = line.partition(":")
        if not separator or "|" not in value:
            self.malformed.append(line)
            return
        self.values[name] = value
        self.sent.add((name, value.partition("|")[2]))
