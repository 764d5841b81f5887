"""Is a server reachable, and what are its SSH host keys? `SshProber` is the `Prober` of cloud.api, on paramiko.

A server shows one host key in each key exchange, so each family of keys (Ed25519, ECDSA, RSA) takes a connection;
of several ECDSA keys one is found, as with ssh-keyscan. The first connection allows all families: it gets the
key of the first one that the server has, and hears which others there are. Only those are connected to, all at once.
So a server with n families sees n connections, and never one that ends in "no matching host key type", which sshd
logs. That matters: OpenSSH 9.8 counts a second against our address for each connection without a login, and refuses
us from 15 on; 10 connections without a login at the same time are too many (sshd_config: PerSourcePenalties,
MaxStartups).

One key is enough to recognise a server. So the scan fails when the first connection does; a later one that is refused,
reset or silent only costs its key, which is logged.

paramiko 5 has no SHA-1: a server that has nothing but `ssh-rsa`, or but SHA-1 exchanges, cannot be scanned.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from errno import EMSGSIZE
from typing import Any

from paramiko import Message, SSHException, Transport
from paramiko.common import MSG_DISCONNECT, MSG_KEXINIT
from paramiko.packet import Packetizer
from paramiko.ssh_exception import IncompatiblePeer

from poolmgr.errors import ProbeError
from poolmgr.runtime.clock import Clock

log = logging.getLogger(__name__)

#: Connection types whose servers speak SSH (the names are Zuul's); for others a TCP connect is enough.
SSH_CONNECTIONS = frozenset({"ssh", "network_cli"})

#: Host key algorithms by family, in the order their keys are asked for and reported.
_FAMILIES = (
    ("ssh-ed25519",),
    ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"),
    ("rsa-sha2-512", "rsa-sha2-256"),  # two signatures of one key
)

# Put first it saves 0.5 ms of CPU a key: paramiko's first choice is mlkem768x25519-sha256, which protects a secret that
# we do not have. What else paramiko knows follows, for servers without it. The choice of ciphers and MACs, and strict
# key exchange, made no difference that tools/bench/probe.py could tell.
_CHEAPEST_KEX = "curve25519-sha256@libssh.org"

# paramiko logs a traceback for each server that is not up yet; what is worth telling is in our ProbeError.
_PARAMIKO_LOG = f"{__name__}.paramiko"

_PIECE = 16_384  # bytes read at once: paramiko asks for as many as a packet claims to have, up to 4 GiB
_MOST_BYTES = 65_536  # of all a server may say before we have its key; OpenSSH says about 3,000


class SshProber:
    """Thread-safe: it holds nothing but the clock.

    paramiko's own log is off, unless the logger `poolmgr.cloud.probe.paramiko` has been given a level.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        paramiko_log = logging.getLogger(_PARAMIKO_LOG)
        if paramiko_log.level == logging.NOTSET:
            paramiko_log.setLevel(logging.CRITICAL + 1)

    def host_keys(self, address: str, port: int, *, connection_type: str, timeout: float) -> tuple[str, ...]:
        """As in cloud.api, in the order ed25519, ecdsa, rsa.

        `address` may be a name; to resolve it is the one step that `timeout` does not bound. A server with further
        keys that goes silent after the first costs all of `timeout`. Nothing outlives a call: no thread, no socket.
        """
        where = f"{address} port {port}"
        with _told_as_probe_error(where):
            targets = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)
            deadline = _Deadline(self._clock, timeout)
            with closing(_connected_to_any(targets, deadline)) as connection:
                if connection_type not in SSH_CONNECTIONS:
                    return ()
                with closing(_KeyExchange(connection, sum(_FAMILIES, ()))) as exchange:
                    key = exchange.host_key(deadline)
            others = exchange.families()[1:]
            return (key, *_further_keys(connection, others, deadline, where))


def _further_keys(
    connection: _Connection, families: Iterable[Sequence[str]], deadline: _Deadline, where: str
) -> list[str]:
    """The keys of `families`, as far as they can be had, of the server that `connection` led to."""
    exchanges, keys = [], []
    with ExitStack() as opened:
        for family in families:
            again = opened.enter_context(closing(connection.again()))
            exchanges.append((family, opened.enter_context(closing(_KeyExchange(again, family)))))
        for family, exchange in exchanges:
            try:
                keys.append(exchange.host_key(deadline))
            except ProbeError as error:
                log.info("%s: no %s key read: %s", where, family[0], error)
    return keys


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

    def wait(self, event: threading.Event) -> None:
        """Return once `event` is set. Raises TimeoutError when it is not in time."""
        while not event.is_set():
            self._clock.wait(event, self.left())


class _Connection(socket.socket):
    """A TCP connection that remembers how the server began, takes only so much from it, and can be cut.

    To be cut is to have ended, for whoever reads or writes. A plain close would leave paramiko's thread waiting, and
    could have it read what belongs to the next connection with the same file descriptor.
    """

    def __init__(self, family: int, target: Any) -> None:
        """Not connected yet; `target` is a socket address of `family`."""
        super().__init__(family, socket.SOCK_STREAM)
        # Nagle would hold back each second message until the server's delayed ACK of the first, 40 ms.
        self.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._target = target
        self._taken = 0
        self._beginning = b""

    def connect_within(self, seconds: float) -> None:
        """Raises OSError when there is no connection by then."""
        self.settimeout(seconds)
        self.connect(self._target)

    def again(self) -> _Connection:
        """Begin another connection to the same server, without waiting: what fails shows when it is used."""
        other = _Connection(self.family, self._target)
        other.setblocking(False)
        other.connect_ex(self._target)
        return other

    def cut(self) -> None:
        with suppress(OSError):  # not connected, or no more
            self.shutdown(socket.SHUT_RDWR)

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        if self._taken > _MOST_BYTES:
            raise OSError(EMSGSIZE, f"no host key in the first {_MOST_BYTES} bytes")
        data = super().recv(min(size, _PIECE), flags)
        self._taken += len(data)
        if len(self._beginning) < 80:
            self._beginning += data
        return data

    def heard(self) -> str:
        """The beginning of what came, for messages."""
        line = self._beginning.split(b"\n")[0][:80]
        return f"it said {line.decode('ascii', 'backslashreplace').strip()!r}" if line else "it said nothing"


def _connected_to_any(targets: Sequence[tuple[Any, ...]], deadline: _Deadline) -> _Connection:
    """A connection to the first of `targets`, as `getaddrinfo` gives them, that takes one.

    Each may use an equal part of the time, so that a silent one leaves some to the next.
    """
    failure = OSError("no address")
    for number, (family, _, _, _, target) in enumerate(targets):
        connection = _Connection(family, target)
        try:
            connection.connect_within(deadline.left() / (len(targets) - number))
        except OSError as error:
            connection.close()
            failure = error
        else:
            return connection
    raise failure


class _Packets(Packetizer):
    """paramiko's packet layer, with an ear for what the server tells in clear, and without a timer.

    The timer is a thread of its own for each connection, and goes on for 15 s when an exchange fails (paramiko issue
    2247); _Deadline does its work.
    """

    kex: Sequence[str] = ()  # exchange methods the server offers
    host_keys: Sequence[str] = ()  # host key algorithms the server offers
    farewell: str | None = None  # why the server disconnected, as far as it said so

    def start_handshake(self, timeout: float) -> None:
        pass

    def read_message(self) -> tuple[int, Message]:
        kind, message = super().read_message()
        heard = Message(message.asbytes())  # paramiko reads the other
        if kind == MSG_KEXINIT:  # RFC 4253 7.1
            heard.get_bytes(16)
            self.kex, self.host_keys = heard.get_list(), heard.get_list()
        elif kind == MSG_DISCONNECT:  # RFC 4253 11.1
            heard.get_int()
            self.farewell = heard.get_text()
        return kind, message


class _KeyExchange:
    """A key exchange, under way on a thread of paramiko's, after which the server's host key is known and proven."""

    def __init__(self, connection: _Connection, algorithms: Sequence[str]) -> None:
        """Begin, on a `connection` that may still be connecting, with `algorithms` for the host key."""
        self._connection = connection
        self._done = threading.Event()
        self._transport = Transport(connection, packetizer_class=_Packets)
        self._transport.set_log_channel(_PARAMIKO_LOG)
        options = self._transport.get_security_options()
        options.key_types = algorithms
        options.kex = sorted(options.kex, key=lambda name: name != _CHEAPEST_KEX)
        self._transport.start_client(event=self._done)

    def host_key(self, deadline: _Deadline) -> str:
        """The key as `"<type> <base64>"`. Raises ProbeError."""
        try:
            deadline.wait(self._done)
            key = self._transport.get_remote_server_key()
        except (TimeoutError, SSHException) as error:
            failure = self._transport.get_exception() or error
            raise ProbeError(f"{self._told(failure)}; {self._connection.heard()}") from failure
        return f"{key.get_name()} {key.get_base64()}"

    def families(self) -> list[Sequence[str]]:
        """Those of _FAMILIES that the server offers; the first of ours that it has decides (RFC 4253 7.1)."""
        return [family for family in _FAMILIES if not set(family).isdisjoint(self._packets.host_keys)]

    def close(self) -> None:
        self._connection.cut()
        self._transport.join()  # at once: it waits for nothing but the connection

    @property
    def _packets(self) -> _Packets:
        packets = self._transport.packetizer
        assert isinstance(packets, _Packets)
        return packets

    def _told(self, failure: Exception) -> str:
        packets = self._packets
        if packets.farewell is not None:
            return f"it disconnected: {packets.farewell[:200]!r}"
        if isinstance(failure, IncompatiblePeer) and packets.kex:
            offer = f"{','.join(packets.kex)} with {','.join(packets.host_keys)}"
            return f"{_reason(failure)}; it offers {offer[:400]!r}"
        return _reason(failure)


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
    """`Connection refused`, `timed out`, `Name or service not known`, in a line of what can be printed."""
    if isinstance(error, EOFError):
        return "connection closed"
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return repr(text[:200])[1:-1]
