"""Is a server reachable, and what are its SSH host keys? `SshProber` is the `Prober` of cloud.api.

The first connection learns which key types a server offers and takes the key of one; each other type costs
one more connection, all at once. A connection ends as soon as its key is here, and nothing outlives a call: no
thread, no socket.

It takes three round trips for the first key and two for all others. OpenSSH 9.8 (sshd_config, PerSourcePenalties)
counts one second against our address for each connection without a login, and refuses us at 15.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from errno import EINPROGRESS
from typing import Any, TypeVar

from poolmgr.cloud import key_exchange
from poolmgr.cloud.key_exchange import Answers, Offer
from poolmgr.errors import ProbeError
from poolmgr.runtime.clock import Clock

#: Connection types whose servers speak SSH (the names are Zuul's); for others a TCP connect is enough.
SSH_CONNECTIONS = frozenset({"ssh", "network_cli"})

_PIECE = 16_384  # bytes read at once

T = TypeVar("T")


class SshProber:
    """Thread-safe: it holds nothing but the clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def host_keys(self, address: str, port: int, *, connection_type: str, timeout: float) -> tuple[str, ...]:
        """As in cloud.api, in the order of KEY_TYPES.

        `address` may be a name; to resolve it is the one step that `timeout` does not bound.
        """
        with _told_as_probe_error(f"{address} port {port}"), ExitStack() as open_connections:
            targets = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)
            deadline = _Deadline(self._clock, timeout)
            connection = open_connections.enter_context(closing(_connect_to_any(targets, deadline)))
            if connection_type not in SSH_CONNECTIONS:
                return ()
            return _scan(connection, open_connections)


def _scan(first: _Connection, open_connections: ExitStack) -> tuple[str, ...]:
    """All host keys of the server behind `first`."""
    first.send(key_exchange.IDENTIFICATION + key_exchange.proposal())
    offer = first.offer()
    method, (first_type, *other_types) = offer.method(), offer.by_type()
    first.send(key_exchange.first_message(method))
    # All are started before any is waited for: the server works on them at the same time.
    others = [(name, open_connections.enter_context(closing(first.another()))) for name in other_types]
    for name, connection in others:
        # Knowing the offer, we know what the proposals lead to, and send everything at once.
        proposal = key_exchange.proposal((method,), (offer.by_type()[name],))
        connection.send(key_exchange.IDENTIFICATION + proposal + key_exchange.first_message(method))
    keys = [first.host_key(method, first_type)]
    for name, connection in others:
        connection.offer()
        keys.append(connection.host_key(method, name))
    return tuple(keys)


class _Deadline:
    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._end = clock.monotonic() + seconds

    def left(self) -> float:
        """Seconds left, always above 0. Raises TimeoutError when there are none."""
        seconds = self._end - self._clock.monotonic()
        if seconds <= 0:
            raise TimeoutError("timed out")
        return seconds


class _Connection:
    """One TCP connection, connecting or connected. Every call ends by the deadline.

    Raises OSError when the network fails, ProbeError when the server's answer is at fault.
    """

    def __init__(self, family: int, target: Any, deadline: _Deadline) -> None:
        """Begin to connect to `target`, a socket address of `family`, without waiting."""
        self._family = family
        self._target = target
        self._deadline = deadline
        self._answers = Answers()
        self._socket = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            # Nagle would hold back our second message until the server's delayed ACK of the first, 40 ms.
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            error = self._socket.connect_ex(target)
            if error not in (0, EINPROGRESS):
                raise OSError(error, os.strerror(error))
        except BaseException:
            self._socket.close()
            raise

    def close(self) -> None:
        self._socket.close()

    def wait_until_connected(self, seconds: float) -> None:
        self._socket.settimeout(seconds)
        self._socket.send(b"")  # waits until there is a connection, or raises what prevented it

    def another(self) -> _Connection:
        """Begin another connection to the same server."""
        return _Connection(self._family, self._target, self._deadline)

    def send(self, data: bytes) -> None:
        """Send `data` once connected."""
        self._socket.settimeout(self._deadline.left())
        self._socket.sendall(data)

    def offer(self) -> Offer:
        self._wait("SSH identification", self._answers.identification)
        return key_exchange.read_offer(self._wait("proposal", self._answers.message))

    def host_key(self, method: str, key_type: str) -> str:
        key = None
        while key is None:
            key = key_exchange.read_key(method, key_type, self._wait("host key", self._answers.message))
        return key

    def _wait(self, what: str, question: Callable[[], T | None]) -> T:
        while (answer := question()) is None:
            self._answers.feed(self._receive(what))
        return answer

    def _receive(self, what: str) -> bytes:
        try:
            self._socket.settimeout(self._deadline.left())
            data = self._socket.recv(_PIECE)
        except OSError as error:
            raise ProbeError(f"{_reason(error)} before its {what}; {self._answers.heard()}") from error
        if not data:
            raise ProbeError(f"connection closed before its {what}; {self._answers.heard()}")
        return data


def _connect_to_any(targets: Sequence[tuple[Any, ...]], deadline: _Deadline) -> _Connection:
    """A connection to the first of `targets`, as `getaddrinfo` gives them, that takes one.

    Each may use an equal part of the time, so that a silent one leaves some to the next.
    """
    failure = OSError("no address")
    for number, (family, _, _, _, target) in enumerate(targets):
        try:
            seconds = deadline.left() / (len(targets) - number)
            return _connect(_Connection(family, target, deadline), seconds)
        except OSError as error:
            failure = error
    raise failure


def _connect(connection: _Connection, seconds: float) -> _Connection:
    try:
        connection.wait_until_connected(seconds)
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def _told_as_probe_error(where: str) -> Iterator[None]:
    """Any failure to reach or understand the server as a ProbeError that begins with `where`."""
    try:
        yield
    except ProbeError as error:
        raise ProbeError(f"{where}: {error}") from error
    except (OSError, ValueError) as error:  # ValueError: a name that cannot be a host's
        raise ProbeError(f"{where}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """`Connection refused`, `timed out`, `Name or service not known`."""
    return getattr(error, "strerror", None) or str(error)
