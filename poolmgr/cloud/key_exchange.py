"""The start of an SSH key exchange, as bytes: just enough for a server to show its host key. No I/O.

A server sends its host key in the first answer of the exchange, in clear (RFC 4253 section 8). So a scan
never needs the shared secret, and its own public values may be constants: nothing is ever encrypted with
them, the connection ends there. Like ssh-keyscan, it does not check the signature: the first look at a
server has nothing to trust anyway, and a false key only makes the client's own check fail later.

This is not left to paramiko: its release 5 does not speak to servers that have only `ssh-rsa` or SHA-1
exchanges, as network devices and old systems are, does not tell what host keys a server offers, and takes a
thread and several times the CPU for each connection (tools/bench/probe.py).

Sources: RFC 4253 (transport), 4419 (group exchange), 5656 (ECDH), 8731 (curve25519), 8332 (RSA with SHA-2).
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from poolmgr.errors import ProbeError

#: Host key types in the order they are reported, each with the algorithms that show it, preferred first.
KEY_TYPES: dict[str, tuple[str, ...]] = {
    "ssh-ed25519": ("ssh-ed25519",),
    "ecdsa-sha2-nistp256": ("ecdsa-sha2-nistp256",),
    "ecdsa-sha2-nistp384": ("ecdsa-sha2-nistp384",),
    "ecdsa-sha2-nistp521": ("ecdsa-sha2-nistp521",),
    "ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256", "ssh-rsa"),
}

IDENTIFICATION = b"SSH-2.0-poolmgr\r\n"

_DISCONNECT, _IGNORE, _DEBUG, _KEXINIT = 1, 2, 4, 20
_INIT, _REPLY = 30, 31
_GEX_GROUP, _GEX_INIT, _GEX_REPLY, _GEX_REQUEST = 31, 32, 33, 34

_LARGEST_PACKET = 35_000  # RFC 4253 6.1
_LONGEST_PREAMBLE = 16_384  # of other lines before the identification, which the RFC does not bound
_MOST_BYTES = 131_072  # of all a server may say before we have its key

# Offered so that the server finds one in common and goes on; none is ever used.
_CIPHERS = (
    "aes128-ctr,aes192-ctr,aes256-ctr,chacha20-poly1305@openssh.com,aes128-gcm@openssh.com,"
    "aes256-gcm@openssh.com,aes128-cbc,aes192-cbc,aes256-cbc,3des-cbc"
)
_MACS = (
    "hmac-sha2-256,hmac-sha2-512,hmac-sha2-256-etm@openssh.com,hmac-sha2-512-etm@openssh.com,hmac-sha1,"
    "umac-64@openssh.com,umac-128@openssh.com,hmac-sha1-etm@openssh.com,umac-128-etm@openssh.com,hmac-md5"
)
_COMPRESSIONS = "none,zlib@openssh.com,zlib"


def _string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def _packet(payload: bytes) -> bytes:
    """`payload` as an unencrypted packet: at least 4 bytes of padding, to a multiple of 8 (RFC 4253 6)."""
    padding = 8 - (5 + len(payload)) % 8
    padding += 8 if padding < 4 else 0
    return struct.pack(">IB", 1 + len(payload) + padding, padding) + payload + bytes(padding)


# Public values. X25519: its base point. NIST curves: their generators (SEC 2), as 04 || x || y.
_X25519 = bytes([9]) + bytes(31)
_P256 = bytes.fromhex(
    "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
    "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
)
_P384 = bytes.fromhex(
    "04aa87ca22be8b05378eb1c71ef320ad746e1d3b628ba79b9859f741e082542a385502f25dbf55296c3a545e3872760ab7"
    "3617de4a96262c6f5d9e98bf9292dc29f8f41dbd289a147ce9da3113b5f0b8c00a60b1ce1d7e819d7a431d7c90ea0e5f"
)
_P521 = bytes.fromhex(
    "0400c6858e06b70404e9cd9e3ecb662395b4429c648139053fb521f828af606b4d3dbaa14b5e77efe75928fe1dc127a2ff"
    "a8de3348b3c1856a429bf97e7e31c2e5bd66011839296a789a3bc0045c8a5fb42c7d1bd998f54449579b446817afbd1727"
    "3e662c97ee72995ef42640c550b9013fad0761353c7086a272c24088be94769fd16650"
)
# An ML-KEM-768 encapsulation key that passes the modulus check of FIPS 203 7.2: all coefficients 0.
_MLKEM768 = bytes(1184)
# Diffie-Hellman: one number for every group. A square, so that it lies in the prime-order subgroup; below the
# smallest modulus (1024 bits); with many bits set, which OpenSSH asks for.
_DH = int.from_bytes(bytes([0x55]) * 60, "big") ** 2
_DH_VALUE = _string(b"\0" + _DH.to_bytes(120, "big"))
_GEX_SIZES = struct.pack(">III", 1024, 2048, 8192)

#: The client's first message by key exchange method, in our order of preference: cheap ones first.
_FIRST_MESSAGES: dict[str, bytes] = {
    "curve25519-sha256": bytes([_INIT]) + _string(_X25519),
    "curve25519-sha256@libssh.org": bytes([_INIT]) + _string(_X25519),
    "ecdh-sha2-nistp256": bytes([_INIT]) + _string(_P256),
    "ecdh-sha2-nistp384": bytes([_INIT]) + _string(_P384),
    "ecdh-sha2-nistp521": bytes([_INIT]) + _string(_P521),
    "mlkem768x25519-sha256": bytes([_INIT]) + _string(_MLKEM768 + _X25519),
    "diffie-hellman-group14-sha256": bytes([_INIT]) + _DH_VALUE,
    "diffie-hellman-group14-sha1": bytes([_INIT]) + _DH_VALUE,
    "diffie-hellman-group16-sha512": bytes([_INIT]) + _DH_VALUE,
    "diffie-hellman-group18-sha512": bytes([_INIT]) + _DH_VALUE,
    "diffie-hellman-group-exchange-sha256": bytes([_GEX_REQUEST]) + _GEX_SIZES,
    "diffie-hellman-group-exchange-sha1": bytes([_GEX_REQUEST]) + _GEX_SIZES,
    "diffie-hellman-group1-sha1": bytes([_INIT]) + _DH_VALUE,
}

#: Every method and host key algorithm we know, as the first proposal on a connection makes them.
ALL_METHODS = tuple(_FIRST_MESSAGES)
ALL_ALGORITHMS = tuple(name for names in KEY_TYPES.values() for name in names)


@dataclass(frozen=True, kw_only=True, slots=True)
class Offer:
    """What a server's KEXINIT says it can do."""

    methods: tuple[str, ...]
    algorithms: tuple[str, ...]

    def method(self) -> str:
        """The exchange method that we and the server will come to. Raises ProbeError if there is none."""
        for name in ALL_METHODS:
            if name in self.methods:
                return name
        raise ProbeError(f"no key exchange method in common; it offers {_listed(self.methods)}")

    def by_type(self) -> dict[str, str]:
        """The algorithm to ask for by key type, for all types we know of, in the order of KEY_TYPES.

        Raises ProbeError if there is none.
        """
        found = {
            key_type: next(name for name in names if name in self.algorithms)
            for key_type, names in KEY_TYPES.items()
            if not set(names).isdisjoint(self.algorithms)
        }
        if not found:
            raise ProbeError(f"no host key type in common; it offers {_listed(self.algorithms)}")
        return found


def _listed(names: Iterable[str]) -> str:
    text = ", ".join(names)
    return repr(text[:200]) if text else "nothing"


def proposal(methods: Iterable[str] = ALL_METHODS, algorithms: Iterable[str] = ALL_ALGORITHMS) -> bytes:
    """Our KEXINIT packet. The cookie is constant, as no session key comes of it."""
    both = (_CIPHERS, _MACS, _COMPRESSIONS)
    lists = [",".join(methods), ",".join(algorithms), *(text for text in both for _ in range(2)), "", ""]
    names = b"".join(_string(text.encode()) for text in lists)
    return _packet(bytes([_KEXINIT]) + bytes(16) + names + bytes(5))


def first_message(method: str) -> bytes:
    """What a client sends after the proposals led to `method`; the server answers with its host key.

    In a group exchange the value does not depend on the group here, so it goes with the request.
    """
    message = _FIRST_MESSAGES[method]
    if message[0] == _GEX_REQUEST:
        return _packet(message) + _packet(bytes([_GEX_INIT]) + _DH_VALUE)
    return _packet(message)


class Answers:
    """Takes a server's bytes as they come and gives back its messages.

    A question answers None while more bytes are needed. All methods raise ProbeError when what came cannot be
    an SSH server's side of a key exchange.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._taken = 0
        self._first_line = b""

    def feed(self, data: bytes) -> None:
        self._buffer += data
        self._taken += len(data)
        if self._taken > _MOST_BYTES:
            raise ProbeError(f"not a key exchange: more than {_MOST_BYTES} bytes, {self.heard()}")

    def heard(self) -> str:
        """The beginning of what came, for messages."""
        line = (self._first_line or bytes(self._buffer)).split(b"\n")[0][:80]
        return f"it said {line.decode('ascii', 'backslashreplace').strip()!r}" if line else "it said nothing"

    def identification(self) -> str | None:
        """The server's first SSH line; packets follow. The RFC allows other lines before it."""
        while (end := self._buffer.find(b"\n")) >= 0:
            line = bytes(self._buffer[:end])
            del self._buffer[: end + 1]
            self._first_line = self._first_line or line
            if line.startswith((b"SSH-2.0-", b"SSH-1.99-")):
                return line.decode("ascii", "backslashreplace").strip()
            if line.startswith(b"SSH-"):
                raise ProbeError(f"only SSH 2 is supported, {self.heard()}")
        if self._taken > _LONGEST_PREAMBLE:
            raise ProbeError(f"not SSH, {self.heard()}")
        return None

    def message(self) -> bytes | None:
        """The payload of the next packet that has a meaning here."""
        while (payload := self._packet()) is not None:
            if payload[0] == _DISCONNECT:
                raise ProbeError(f"it disconnected: {_reason(payload)}")
            if payload[0] not in (_IGNORE, _DEBUG):
                return payload
        return None

    def _packet(self) -> bytes | None:
        if len(self._buffer) < 5:
            return None
        size, padding = struct.unpack_from(">IB", self._buffer)
        if size > _LARGEST_PACKET or size < padding + 2:
            raise ProbeError(f"not an SSH packet: {bytes(self._buffer[:8]).hex(' ')} ...")
        if len(self._buffer) < 4 + size:
            return None
        payload = bytes(self._buffer[5 : 4 + size - padding])
        del self._buffer[: 4 + size]
        return payload


def read_offer(payload: bytes) -> Offer:
    """The server's proposal in its KEXINIT message. Raises ProbeError if it is another message, or broken."""
    if payload[0] != _KEXINIT:
        raise ProbeError(f"message {payload[0]} came where the server's proposal was due")
    methods, rest = _take(payload[17:])
    algorithms, _ = _take(rest)
    return Offer(methods=_names(methods), algorithms=_names(algorithms))


def read_key(method: str, key_type: str, payload: bytes) -> str | None:
    """The host key `"<type> <base64>"` in an answer to `first_message`; None if it comes with a later one.

    Raises ProbeError for any other message, and for a key of another type.
    """
    is_group_exchange = _FIRST_MESSAGES[method][0] == _GEX_REQUEST
    if is_group_exchange and payload[0] == _GEX_GROUP:
        return None
    if payload[0] != (_GEX_REPLY if is_group_exchange else _REPLY):
        raise ProbeError(f"message {payload[0]} came where the server's host key was due")
    blob, _ = _take(payload[1:])
    found = _take(blob)[0].decode("ascii", "backslashreplace")
    if found != key_type:
        raise ProbeError(f"a host key of type {found[:80]!r} came where {key_type} was asked for")
    return f"{key_type} {base64.b64encode(blob).decode()}"


def _take(data: bytes) -> tuple[bytes, bytes]:
    """The string at the beginning of `data`, and the rest."""
    size = int.from_bytes(data[:4], "big")
    if len(data) < 4 + size:
        raise ProbeError("an SSH message is cut short")
    return data[4 : 4 + size], data[4 + size :]


def _names(text: bytes) -> tuple[str, ...]:
    return tuple(text.decode("ascii", "backslashreplace").split(","))


def _reason(payload: bytes) -> str:
    text = _take(payload[5:])[0].decode("utf-8", "backslashreplace")
    return repr(text[:200])
