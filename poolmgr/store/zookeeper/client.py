"""kazoo's client with persistent recursive watches, and what it wrote to its log.

kazoo up to 2.11.0 (the newest release, checked 2026-11) knows no such watches, which ZooKeeper has since 3.6
(opcode 106, mode 1). Its connection offers no way to add them, so this module, alone in poolmgr, reaches into
it: it replaces how watch events are read and how requests are sent. Tested with exactly the version in
constraints.txt; the contract suite fails if another one works differently.

No other watches are ever set, so every watch event is one of ours.

It also notes until when the session is proven to have lived (`Lease`).
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

from kazoo.client import KazooClient
from kazoo.protocol.connection import PING_XID, ConnectionHandler
from kazoo.protocol.serialization import Watch, write_string
from kazoo.protocol.states import KeeperState

from poolmgr.runtime.clock import Clock
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


class Lease:
    """What is known of the session's life. Written by kazoo's thread alone.

    A server ends a session when it has not heard from us for `timeout`, and it hears us no earlier than we send. So
    what counts is when that was sent which it has answered, not when its answer was read: a process that stood still
    finds old answers waiting when it goes on.
    """

    def __init__(self, clock: Clock, timeout: float) -> None:
        self.timeout = timeout  # seconds; as the server has granted it, once there is a session
        self.proven_at = float("-inf")  # monotonic
        self._clock = clock
        self._asked: tuple[int, float] | None = (
            None  # (xid, when it was sent) of one request not yet answered
        )
        self._pinged: float | None = None  # when a ping was sent that is not yet answered

    def now(self) -> float:
        return self._clock.monotonic()

    def granted(self, timeout: float, asked_at: float) -> None:
        """A connection is made; what was asked over an old one is answered no more."""
        self.timeout, self.proven_at = timeout, asked_at
        self._asked = self._pinged = None

    def pinging(self) -> None:
        if self._pinged is None:
            self._pinged = self.now()

    def asking(self, xid: int) -> None:
        if self._asked is None:
            self._asked = (xid, self.now())

    def answered(self, xid: int) -> None:
        if xid == PING_XID and self._pinged is not None:
            self.proven_at, self._pinged = max(self.proven_at, self._pinged), None
        elif self._asked is not None and xid == self._asked[0]:
            self.proven_at, self._asked = max(self.proven_at, self._asked[1]), None


class _Connection(ConnectionHandler):  # type: ignore[misc]
    _xid: int
    _socket: BufferedSocket

    def _connect(self, host: str, hostip: str, port: int) -> tuple[float, float]:
        lease: Lease = self.client.lease
        asked_at = lease.now()
        read_timeout, connect_timeout = super()._connect(host, hostip, port)
        lease.granted(read_timeout * 1.5 / 1000, asked_at)  # kazoo waits for answers for 2/3 of it
        return read_timeout, connect_timeout

    def _send_ping(self, connect_timeout: float) -> None:
        self.client.lease.pinging()
        super()._send_ping(connect_timeout)

    def _read_header(self, timeout: float) -> Any:
        header, buffer, offset = super()._read_header(timeout)
        self.client.lease.answered(header.xid)
        return header, buffer, offset

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
            client.lease.asking(self._xid)
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
        clock: Clock,
    ) -> None:
        self.lease = Lease(clock, timeout)
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
