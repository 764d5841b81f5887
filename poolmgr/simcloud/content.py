"""Bytes on their way in: their size and hashes, and the bytes themselves as far as they are kept.

The world keeps little, in memory; the HTTP face gives each upload a place on disk (spool.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Protocol

KEPT_BYTES = 1 << 20


class Keeper(Protocol):
    """Where the bytes of one upload stay."""

    def add(self, piece: bytes) -> None: ...

    def pieces(self) -> Iterator[bytes] | None:
        """All of them, in order; None when they were too many to keep."""


class InMemory:
    """Keeps up to KEPT_BYTES."""

    def __init__(self) -> None:
        self._size = 0
        self._pieces: list[bytes] | None = []

    def add(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > KEPT_BYTES:
            self._pieces = None
        elif self._pieces is not None:
            self._pieces.append(bytes(piece))

    def pieces(self) -> Iterator[bytes] | None:
        return None if self._pieces is None else iter(self._pieces)


class Joined:
    """The bytes of several keepers, one after the other; it takes none itself."""

    def __init__(self, keepers: Iterable[Keeper | None]) -> None:
        self._keepers = list(keepers)

    def add(self, piece: bytes) -> None:
        """Nothing: its keepers have it."""

    def pieces(self) -> Iterator[bytes] | None:
        return chained(self._keepers)


class Digest:
    """What came in, piece by piece. Nothing of it is held but by its keeper."""

    def __init__(self, keeper: Keeper | None = None) -> None:
        self.size = 0
        self.keeper: Keeper = keeper or InMemory()
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._sha512 = hashlib.sha512()

    def feed(self, piece: bytes) -> None:
        self.size += len(piece)
        self._md5.update(piece)
        self._sha512.update(piece)
        self.keeper.add(piece)

    @property
    def md5(self) -> str:
        return self._md5.hexdigest()

    @property
    def sha512(self) -> str:
        return self._sha512.hexdigest()

    @property
    def data(self) -> bytes | None:
        """None when they were too many to keep."""
        return whole([self.keeper])


def whole(keepers: Iterable[Keeper | None]) -> bytes | None:
    """All their bytes in one; None when some are not kept."""
    pieces = chained(keepers)
    return None if pieces is None else b"".join(pieces)


def chained(keepers: Iterable[Keeper | None]) -> Iterator[bytes] | None:
    """All their bytes, piece by piece; None when some are not kept."""
    parts = [keeper.pieces() if keeper else None for keeper in keepers]
    if any(part is None for part in parts):
        return None
    return (piece for part in parts if part is not None for piece in part)
