"""Uploads on disk, each in a file of its own that goes when nobody knows the upload any more."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

_IN_MEMORY = 64 << 10
_PIECE = 1 << 20


class Spool:
    """A directory for uploads, from its making to `close`."""

    def __init__(self) -> None:
        self._directory = TemporaryDirectory(prefix="simcloud-", ignore_cleanup_errors=True)
        self.path = Path(self._directory.name)
        self._numbers = count()

    def take(self) -> Spooled:
        """A place for one upload."""
        return Spooled(self.path / str(next(self._numbers)))

    def close(self) -> None:
        self._directory.cleanup()


class Spooled:
    """One upload: in memory while small, then in a file. Its file is open only while it is read or written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._small = bytearray()
        self._on_disk = False

    def add(self, piece: bytes) -> None:
        self._small += piece
        if len(self._small) <= _IN_MEMORY and not self._on_disk:
            return
        if not self._on_disk:
            self._on_disk = True
            weakref.finalize(self, Path.unlink, self._path, missing_ok=True)
        with self._path.open("ab") as file:
            file.write(self._small)
        self._small.clear()

    def pieces(self) -> Iterator[bytes]:
        if not self._on_disk:
            yield bytes(self._small)
            return
        with self._path.open("rb") as file:
            while piece := file.read(_PIECE):
                yield piece
