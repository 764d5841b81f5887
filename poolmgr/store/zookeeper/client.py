"""kazoo's client with persistent recursive watches, and what it wrote to its log.

kazoo up to 2.11.0 (the newest release, checked 2026-11) knows no such watches, which ZooKeeper has since 3.6
(opcode 106, mode 1). Its connection offers no way to add them, so this module, alone in poolmgr, reaches into
it: it replaces how watch events are read and how requests are sent. Tested with exactly the version in
constraints.txt; the contract suite fails if another one works differently.

No other watches are ever set, so every watch event is one of ours.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

from kazoo.client import KazooClient
from kazoo.protocol.connection import ConnectionHandler
from kazoo.protocol.serialization import Watch, write_string
from kazoo.protocol.states import KeeperState

from poolmgr.store.zookeeper.sockets import BufferedSocket, Handler

log = logging.getLogger(__name__)

_PERSISTENT_RECURSIVE = 1
_MODE = struct.Struct("!i")
_HEADER = struct.Struct("!iii")  # length of the rest, xid, opcode
#: Requests written before the next answer is read, so that neither starves the other.
_BATCH = 64


class AddWatch(NamedTuple):
    """The request for events of `path` and all below it, until the connection ends."""

    path: str
    type: int = 106

    def serialize(self) -> bytes:
        return bytes(write_string(self.path)) + _MODE.pack(_PERSISTENT_RECURSIVE)

    @staticmethod
    def deserialize(_data: bytes, _offset: int) -> bool:
        return True


class _Connection(ConnectionHandler):  # type: ignore[misc]
    _xid: int
    _socket: BufferedSocket

    def _connect_attempt(self, host: str, hostip: str, port: int, retry: Any) -> Any:
        try:
            return super()._connect_attempt(host, hostip, port, retry)
        except (
            Exception
        ):  # logged by kazoo, whose thread would end here: what is broken is the connection only
            self.client._session_callback(KeeperState.CONNECTING)
            return None

    def _read(self, length: int, timeout: float) -> bytes:
        taken = self._socket.take(length)
        return taken if taken is not None else super()._read(length, timeout)

    def _read_watch_event(self, buffer: bytes, offset: int) -> None:
        watch, _ = Watch.deserialize(buffer, offset)
        self.client.on_event(watch.type, watch.path)

    def _send_request(self, _read_timeout: float, connect_timeout: float) -> None:
        """Send what is queued, in one piece. One wake-up may stand for many requests."""
        client = self.client
        self._read_sock.recv(_BATCH)
        message = bytearray()
        for _ in range(_BATCH):
            if not client._queue:
                break
            request, reply = client._queue.popleft()
            self._xid = self._xid % 2147483647 + 1
            body = request.serialize()
            message += _HEADER.pack(len(body) + 8, self._xid, request.type)
            message += body
            # Before it is sent: when sending fails, all that is pending is told so.
            client._pending.append((request, reply, self._xid))
        if client._queue:
            self._write_sock.send(b"\0")
        if message:
            self._write(message, connect_timeout)


class Client(KazooClient):  # type: ignore[misc]
    """`on_event` gets (event type, path with chroot) of each watch event, `on_state` each new KazooState.

    Both are called on kazoo's own thread and must not wait for anything.
    """

    def __init__(
        self,
        hosts: str,
        *,
        timeout: float,
        handler: Handler,
        on_event: Callable[[int, str], None],
        on_state: Callable[[str], None],
    ) -> None:
        self.journal = _Journal()
        super().__init__(
            hosts,
            timeout=timeout,
            handler=handler,
            logger=self.journal.logger,
            connection_retry={
                "max_tries": -1,
                "delay": 0.1,
                "max_delay": 2.0,
                "sleep_func": handler.sleep_func,
            },
        )
        self.on_event = on_event
        self.add_listener(on_state)
        self._connection = _Connection(self, self._conn_retry.copy(), logger=self.journal.logger)

    @property
    def session_id(self) -> int:
        return self._session_id or 0

    @property
    def queued(self) -> int:
        """Requests not yet sent or not yet answered."""
        return len(self._queue) + len(self._pending)

    def submit(self, request: Any, reply: Any) -> None:
        """Send `request`; its answer goes to `reply.set` or `reply.set_exception`, on kazoo's thread."""
        self._call(request, reply)


class _Journal(logging.Handler):
    """Takes what kazoo logs, a line for each failed attempt, and keeps the last of it for our own lines."""

    def __init__(self) -> None:
        super().__init__()
        self.last = ""
        # Not one of getLogger's: each client has its own, and nobody configures it.
        self.logger = logging.Logger("kazoo", logging.WARNING)  # noqa: LOG001
        self.logger.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.ERROR:  # a bug, with its traceback
            log.handle(record)
            return
        message = record.getMessage()
        if message != "Transition to CONNECTING":
            self.last = message
        log.debug("kazoo: %s", message)
