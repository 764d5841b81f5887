"""The SSH server of all guests: real key exchange, real host keys.

    version lines -> KEXINIT both ways -> ECDH_INIT, ECDH_REPLY (host key, signature) -> NEWKEYS both ways
    -> SERVICE_REQUEST accepted -> what else comes is for the guest (ssh_guest.py)

One wildcard socket listens for the whole of 127.0.0.0/8; the address that a client came to tells which guest
it wants. Where no guest is up, the connection is taken and closed at once, for a wildcard listener cannot
refuse it. Written by hand on `cryptography` since a handshake then costs about a millisecond (RFC 4253, 5656, 8731).
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from poolmgr.simcloud.settings import SshConfig
from poolmgr.simcloud.ssh_guest import GuestSession
from poolmgr.simcloud.ssh_keys import HostKey, host_key
from poolmgr.simcloud.ssh_wire import Direction, Reader, WireError, mpint, name_list, string
from poolmgr.simcloud.things import Server
from poolmgr.simcloud.world import World

_VERSION = b"SSH-2.0-OpenSSH_9.2p1-simcloud"
_BACKLOG = 1024
_GRACE = 120.0  # seconds a connection may last

_CURVE = ("curve25519-sha256", "curve25519-sha256@libssh.org")
_KEX = (*_CURVE, "ecdh-sha2-nistp256")
_CIPHERS = {"aes128-ctr": 16, "aes256-ctr": 32}
_MACS = ("hmac-sha2-256",)

_DISCONNECT, _IGNORE, _UNIMPLEMENTED, _DEBUG, _SERVICE_REQUEST, _SERVICE_ACCEPT = 1, 2, 3, 4, 5, 6
_EXT_INFO, _KEXINIT, _NEWKEYS, _ECDH_INIT, _ECDH_REPLY = 7, 20, 21, 30, 31


@dataclass(frozen=True, kw_only=True)
class Met:
    """The guest at an address."""

    server: Server
    keys: list[HostKey]
    key: str | None  # the public key that gets in


class SshProtocol(asyncio.Protocol):
    """One connection to one guest."""

    def __init__(self, guest_at: Callable[[str], Met | None], connections: set[SshProtocol]) -> None:
        self._guest_at, self._connections = guest_at, connections
        self._met: Met | None = None
        self._session: GuestSession | None = None
        self._transport: asyncio.Transport | None = None
        self._grace: asyncio.TimerHandle | None = None
        self._keys: list[HostKey] = []
        self._buffer = bytearray()
        self._in, self._out = Direction(), Direction()
        self._their_version = b""
        self._our_init = self._their_init = b""
        self._kex = self._key_algorithm = ""
        self._skip_guess = False
        self._new_keys: Callable[[], None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._met = self._guest_at(str(transport.get_extra_info("sockname")[0]))
        if self._met is None:
            self._transport.close()
            return
        self._keys = self._met.keys
        self._connections.add(self)
        self._grace = asyncio.get_running_loop().call_later(_GRACE, self.close)
        self._our_init = self._offer()
        self._transport.write(_VERSION + b"\r\n" + self._out.pack(self._our_init))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the loop's signature
        self._connections.discard(self)
        if self._grace is not None:
            self._grace.cancel()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        try:
            if self._their_version or self._read_version():
                while (payload := self._in.unpack(self._buffer)) is not None:
                    self._receive(payload)
        except (WireError, ValueError):  # ValueError: a point that is not on the curve
            self.close()

    def _read_version(self) -> bool:
        end = self._buffer.find(b"\n")
        if end < 0:
            if len(self._buffer) > 255:
                raise WireError("no version line")
            return False
        self._their_version = bytes(self._buffer[:end]).rstrip(b"\r")
        del self._buffer[: end + 1]
        if not self._their_version.startswith(b"SSH-2.0-"):
            raise WireError("not SSH 2")
        return True

    def _send(self, payload: bytes) -> None:
        if self._transport is not None:
            self._transport.write(self._out.pack(payload))

    def _receive(self, payload: bytes) -> None:
        kind = payload[0] if payload else 0
        if kind == _KEXINIT:
            self._negotiate(payload)
        elif kind == _ECDH_INIT and self._kex:
            self._exchange(payload)
        elif kind == _NEWKEYS and self._new_keys is not None:
            self._new_keys()
        elif kind == _DISCONNECT:
            self.close()
        elif kind == _SERVICE_REQUEST:
            self._send(bytes([_SERVICE_ACCEPT]) + string(Reader(payload, 1).string()))
        elif self._session is not None and self._session.receive(payload):
            return
        elif kind not in (_IGNORE, _UNIMPLEMENTED, _DEBUG, _EXT_INFO):
            self._send(bytes([_UNIMPLEMENTED]) + b"\0\0\0\0")

    # -- key exchange ------------------------------------------------------------------------------------

    def _offer(self) -> bytes:
        algorithms = tuple(name for key in self._keys for name in key.algorithms)
        ciphers = tuple(_CIPHERS)
        lists = (_KEX, algorithms, ciphers, ciphers, _MACS, _MACS, ("none",), ("none",), (), ())
        return bytes([_KEXINIT]) + os.urandom(16) + b"".join(map(name_list, lists)) + b"\0" + b"\0\0\0\0"

    def _negotiate(self, payload: bytes) -> None:
        """The client's first name that we know too, of each list (RFC 4253 section 7.1)."""
        if self._kex:
            raise WireError("keys are exchanged once")
        self._their_init = payload
        reader = Reader(payload, 17)
        theirs = [reader.names() for _ in range(10)]
        guessed = reader.flag()
        self._kex = _first(theirs[0], _KEX)
        self._key_algorithm = _first(theirs[1], [a for key in self._keys for a in key.algorithms])
        self._cipher_in, self._cipher_out = (_first(theirs[i], _CIPHERS) for i in (2, 3))
        _first(theirs[4], _MACS), _first(theirs[5], _MACS)
        right = theirs[0][0] == self._kex and theirs[1][0] == self._key_algorithm
        self._skip_guess = guessed and not right

    def _exchange(self, payload: bytes) -> None:
        if self._skip_guess:
            self._skip_guess = False
            return
        theirs = Reader(payload, 1).string()
        ours, secret = _agree(self._kex, theirs)
        key = next(k for k in self._keys if self._key_algorithm in k.algorithms)
        parts = (self._their_version, _VERSION, self._their_init, self._our_init, key.blob, theirs, ours)
        shared = mpint(int.from_bytes(secret, "big"))
        digest = hashlib.sha256(b"".join(map(string, parts)) + shared).digest()
        signature = key.signature(self._key_algorithm, digest)
        self._send(bytes([_ECDH_REPLY]) + string(key.blob) + string(ours) + string(signature))
        self._send(bytes([_NEWKEYS]))
        self._switch(shared, digest)

    def _switch(self, shared: bytes, digest: bytes) -> None:
        """Encrypt what we send from now on, and what we get once the client says so (RFC 4253 section 7.2)."""

        def derive(letter: bytes, size: int) -> bytes:
            return hashlib.sha256(shared + digest + letter + digest).digest()[:size]

        def their_turn() -> None:
            self._in.encrypt(
                key=derive(b"C", _CIPHERS[self._cipher_in]),
                iv=derive(b"A", 16),
                mac_key=derive(b"E", 32),
                decrypting=True,
            )
            self._new_keys = None

        assert self._met is not None
        self._session = GuestSession(self._met.server, self._met.key, digest, self._send)
        self._out.encrypt(
            key=derive(b"D", _CIPHERS[self._cipher_out]),
            iv=derive(b"B", 16),
            mac_key=derive(b"F", 32),
            decrypting=False,
        )
        self._new_keys = their_turn


def _first(theirs: list[str], ours: object) -> str:
    known = set(cast("list[str]", ours))
    for name in theirs:
        if name in known:
            return name
    raise WireError("no algorithm in common")


def _agree(kex: str, theirs: bytes) -> tuple[bytes, bytes]:
    """Our public value and the shared secret. Raises ValueError for a bad public value."""
    if kex in _CURVE:
        mine = x25519.X25519PrivateKey.generate()
        public = mine.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return public, mine.exchange(x25519.X25519PublicKey.from_public_bytes(theirs))
    curve = ec.SECP256R1()
    own = ec.generate_private_key(curve)
    point = own.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return point, own.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(curve, theirs))


class SshListener:
    """Answers for every guest of a world on one port."""

    def __init__(self, world: World, config: SshConfig, *, seed: int) -> None:
        self._world, self._config, self._seed = world, config, seed
        self._server: asyncio.Server | None = None
        self._connections: set[SshProtocol] = set()

    async def start(self) -> int:
        """Listen; returns the port. Raises OSError when it is taken."""
        # The wildcard is needed: there is no other way to listen on all of 127.0.0.0/8 with one socket. What
        # comes to an address that no guest has, so from outside too, is closed unread.
        listener = socket.create_server(("0.0.0.0", self._config.port), backlog=_BACKLOG)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: SshProtocol(self._guest_at, self._connections), sock=listener, backlog=_BACKLOG
        )
        return int(listener.getsockname()[1])

    def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.close()

    def _guest_at(self, address: str) -> Met | None:
        """None where no guest is up."""
        server = self._world.guest_at(address)
        if server is None:
            return None
        keys = [host_key(key_type, self._seed, server.id) for key_type in self._config.key_types]
        return Met(server=server, keys=keys, key=self._world.key_of(server))
