"""SSH's packets (RFC 4253 section 6) and data types (RFC 4251 section 5), before and after encryption."""

from __future__ import annotations

import hashlib
import hmac
import os
import struct
from collections.abc import Callable

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

_MAX_PACKET = 35000


class WireError(Exception):
    """What came is not SSH as we speak it."""


def string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def mpint(number: int) -> bytes:
    return string(number.to_bytes(number.bit_length() // 8 + 1, "big")) if number else string(b"")


def name_list(names: tuple[str, ...]) -> bytes:
    return string(",".join(names).encode())


class Reader:
    """Reads data types off a payload. Raises WireError at its end."""

    def __init__(self, data: bytes, position: int = 0) -> None:
        self._data, self._position = data, position

    def take(self, count: int) -> bytes:
        piece = self._data[self._position : self._position + count]
        if len(piece) < count:
            raise WireError("the packet is too short")
        self._position += count
        return piece

    def number(self) -> int:
        (number,) = struct.unpack(">I", self.take(4))
        return int(number)

    def string(self) -> bytes:
        return self.take(self.number())

    def names(self) -> list[str]:
        return self.string().decode("latin-1").split(",")

    def flag(self) -> bool:
        return self.take(1) != b"\0"


class Direction:
    """One way of a connection: plain until `encrypt`, then aes-ctr with hmac-sha2-256."""

    def __init__(self) -> None:
        self._sequence = 0
        self._crypt: Callable[[bytes], bytes] | None = None
        self._mac_key = b""
        self._clear = b""  # the first block of a packet that has not come in whole

    def encrypt(self, *, key: bytes, iv: bytes, mac_key: bytes, decrypting: bool) -> None:
        cipher = Cipher(algorithms.AES(key), modes.CTR(iv))
        context = cipher.decryptor() if decrypting else cipher.encryptor()
        self._crypt, self._mac_key = context.update, mac_key

    def pack(self, payload: bytes) -> bytes:
        """A whole packet around a payload."""
        block = 16 if self._crypt else 8
        padding = block - (len(payload) + 5) % block
        padding += block if padding < 4 else 0
        packet = struct.pack(">IB", len(payload) + padding + 1, padding) + payload + os.urandom(padding)
        sequence, self._sequence = self._sequence, self._sequence + 1
        if self._crypt is None:
            return packet
        return self._crypt(packet) + self._mac(sequence, packet)

    def unpack(self, buffer: bytearray) -> bytes | None:
        """The next payload, taken off the buffer; None while it is not all there. Raises WireError."""
        block = 16 if self._crypt else 8
        if not self._clear:
            if len(buffer) < block:
                return None
            first = bytes(buffer[:block])
            del buffer[:block]
            self._clear = self._crypt(first) if self._crypt else first
        (length,) = struct.unpack(">I", self._clear[:4])
        if length > _MAX_PACKET or length < 5:
            raise WireError("the packet's length is out of range")
        rest, mac_size = length + 4 - block, 32 if self._crypt else 0
        if rest < 0:
            raise WireError("the packet's length is out of range")
        if len(buffer) < rest + mac_size:
            return None
        tail, mac = bytes(buffer[:rest]), bytes(buffer[rest : rest + mac_size])
        del buffer[: rest + mac_size]
        packet = self._clear + (self._crypt(tail) if self._crypt else tail)
        self._clear = b""
        sequence, self._sequence = self._sequence, self._sequence + 1
        if self._crypt and not hmac.compare_digest(mac, self._mac(sequence, packet)):
            raise WireError("the packet's code is wrong")
        padding = packet[4]
        if padding + 1 > length:
            raise WireError("the packet's padding is out of range")
        return packet[5 : 4 + length - padding]

    def _mac(self, sequence: int, packet: bytes) -> bytes:
        return hmac.digest(self._mac_key, struct.pack(">I", sequence & 0xFFFFFFFF) + packet, hashlib.sha256)
