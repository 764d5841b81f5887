"""What a guest does once the connection is encrypted: it lets in who has the key of its key pair, and runs one command.

Nothing is run: the guest says who came, which command it was told and what it was fed, and ends as its faults want
(`command-fails`, `command-hangs`, `no-login`). RFC 4252 (login with a key), RFC 4254 (channels).
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_ssh_public_key

from poolmgr.simcloud.ssh_wire import Reader, WireError, name_list, string
from poolmgr.simcloud.things import Server

_USERAUTH_REQUEST, _USERAUTH_FAILURE, _USERAUTH_SUCCESS, _USERAUTH_PK_OK = 50, 51, 52, 60
_GLOBAL_REQUEST, _REQUEST_FAILURE = 80, 82
_OPEN, _OPEN_CONFIRMATION, _OPEN_FAILURE, _WINDOW_ADJUST, _DATA, _EOF, _CLOSE = 90, 91, 92, 93, 94, 96, 97
_REQUEST, _SUCCESS, _FAILURE = 98, 99, 100

_WINDOW = 1 << 21
_PIECE = 16384
_MOST_INPUT = 1 << 20  # bytes of what a command may be fed


class GuestSession:
    """One client on one guest. `key`: the public key that gets in, as in authorized_keys; None: nobody does."""

    def __init__(
        self, server: Server, key: str | None, session_id: bytes, send: Callable[[bytes], None]
    ) -> None:
        self._server, self._key, self._session_id, self._send = server, key, session_id, send
        self._user = ""  # "": not logged in
        self._theirs: int | None = None  # their number of the channel that is open
        self._command: str | None = None
        self._input = bytearray()

    def receive(self, payload: bytes) -> bool:
        """False for a message that is none of a login or a channel. Raises WireError."""
        reader = Reader(payload, 1)
        if payload[0] == _USERAUTH_REQUEST:
            self._log_in(reader)
            return True
        act = _ACTS.get(payload[0])
        if act is None or not self._user:
            return False
        act(self, reader)
        return True

    # -- login -------------------------------------------------------------------------------------------

    def _log_in(self, reader: Reader) -> None:
        user, service, method = reader.string(), reader.string(), reader.string()
        if method != b"publickey" or not self._key or self._server.guest.locked:
            self._refuse()
            return
        signed, algorithm, blob = reader.flag(), reader.string(), reader.string()
        if base64.b64encode(blob).decode() not in self._key.split():
            self._refuse()
        elif not signed:
            self._send(bytes([_USERAUTH_PK_OK]) + string(algorithm) + string(blob))
        elif _verified(blob, reader.string(), self._signed(user, service, algorithm, blob)):
            self._user = user.decode(errors="replace") or "nobody"
            self._send(bytes([_USERAUTH_SUCCESS]))
        else:
            self._refuse()

    def _signed(self, user: bytes, service: bytes, algorithm: bytes, blob: bytes) -> bytes:
        head = string(self._session_id) + bytes([_USERAUTH_REQUEST]) + string(user) + string(service)
        return head + string(b"publickey") + b"\1" + string(algorithm) + string(blob)

    def _refuse(self) -> None:
        self._send(bytes([_USERAUTH_FAILURE]) + name_list(("publickey",)) + b"\0")

    # -- one channel, one command ------------------------------------------------------------------------

    def _global(self, reader: Reader) -> None:
        reader.string()
        if reader.flag():
            self._send(bytes([_REQUEST_FAILURE]))

    def _open(self, reader: Reader) -> None:
        kind, theirs = reader.string(), reader.number()
        if kind != b"session" or self._theirs is not None:
            self._send(bytes([_OPEN_FAILURE]) + _numbers(theirs, 1) + string(b"") + string(b""))
            return
        self._theirs = theirs
        self._send(bytes([_OPEN_CONFIRMATION]) + _numbers(theirs, 0, _WINDOW, _PIECE * 2))

    def _request(self, reader: Reader) -> None:
        reader.number()
        kind, wants_answer = reader.string(), reader.flag()
        taken = kind == b"exec" and self._command is None
        if wants_answer:
            self._say(_SUCCESS if taken else _FAILURE)
        if taken:
            self._command = reader.string().decode(errors="replace")
            if self._command.split()[:2] != ["sh", "-s"]:
                self._run()

    def _data(self, reader: Reader) -> None:
        reader.number()
        data = reader.string()
        self._input += data
        if len(self._input) > _MOST_INPUT:
            raise WireError("it is fed too much")
        self._say(_WINDOW_ADJUST, _numbers(len(data)))

    def _eof(self, _: Reader) -> None:
        if self._command is not None and self._command.split()[:2] == ["sh", "-s"]:
            self._run()

    def _close(self, _: Reader) -> None:
        if self._theirs is not None:
            self._theirs, self._command = None, None
            self._input.clear()

    def _run(self) -> None:
        guest = self._server.guest
        if guest.hangs:
            return
        told = f"{self._user}@{self._server.name}: {self._command}\n".encode() + bytes(self._input)
        output = guest.says.encode() or told
        for start in range(0, len(output), _PIECE):
            self._say(_DATA, string(output[start : start + _PIECE]))
        self._say(_REQUEST, string(b"exit-status") + b"\0" + _numbers(guest.status))
        self._say(_EOF)
        self._say(_CLOSE)

    def _say(self, kind: int, rest: bytes = b"") -> None:
        if self._theirs is not None:
            self._send(bytes([kind]) + _numbers(self._theirs) + rest)


_ACTS: dict[int, Callable[[GuestSession, Reader], None]] = {
    _GLOBAL_REQUEST: GuestSession._global,
    _OPEN: GuestSession._open,
    _REQUEST: GuestSession._request,
    _DATA: GuestSession._data,
    _EOF: GuestSession._eof,
    _CLOSE: GuestSession._close,
    _WINDOW_ADJUST: lambda _session, _reader: None,
}


def _numbers(*values: int) -> bytes:
    return struct.pack(f">{len(values)}I", *values)


def _verified(blob: bytes, signature: bytes, data: bytes) -> bool:
    """Whether the private half of the public key `blob` has signed `data`."""
    reader = Reader(signature)
    algorithm, raw = reader.string(), reader.string()
    kind = Reader(blob).string()
    try:
        key = load_ssh_public_key(kind + b" " + base64.b64encode(blob))
        if isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(raw, data)
        elif isinstance(key, rsa.RSAPublicKey):
            digest = hashes.SHA512() if algorithm.endswith(b"512") else hashes.SHA256()
            key.verify(raw, data, padding.PKCS1v15(), digest)
        elif isinstance(key, ec.EllipticCurvePublicKey) and key.key_size == 256:
            parts = Reader(raw)
            r, s = (int.from_bytes(parts.string(), "big") for _ in range(2))
            key.verify(encode_dss_signature(r, s), data, ec.ECDSA(hashes.SHA256()))
        else:
            return False
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):
        return False
    return True
