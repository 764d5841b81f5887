"""Logs and manifests of builds, as files below a directory: found by the build's name, read as they grow.

A name comes from a URL, so it may hold anything; only a regular file right in the directory is ever opened.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import NamedTuple

#: `<image>-<build>`; build ids are hex numbers, those of old releases decimal.
_NAME = re.compile(r"(?P<image>[^./\0][^/\0]*)-(?P<build>[0-9A-Za-z]+)")
#: At most so many bytes are looked through for the last lines of a log.
_TAIL_REACH = 16 * 2**20
CHUNK = 64 * 1024


class BuildName(NamedTuple):
    image: str
    build: str

    @classmethod
    def parse(cls, text: str) -> BuildName | None:
        """None for what is no build's name."""
        match = _NAME.fullmatch(text)
        return cls(match["image"], match["build"]) if match else None

    def __str__(self) -> str:
        return f"{self.image}-{self.build}"


class OpenFile:
    """A file open for reading from `position` on; close it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.position = 0

    @property
    def size(self) -> int:
        """Bytes it has now; it may be growing."""
        return os.fstat(self._descriptor).st_size

    def read(self, most: int = CHUNK) -> bytes:
        """What follows, at most so many bytes; b"" at its end for now."""
        data = os.pread(self._descriptor, most, self.position)
        self.position += len(data)
        return data

    def seek_tail(self, lines: int) -> None:
        """Go to the beginning of the last `lines` lines; 0: to its end."""
        end = self.size
        self.position = end if lines == 0 else self._start_of(lines, end)

    def close(self) -> None:
        os.close(self._descriptor)

    def _start_of(self, lines: int, end: int) -> int:
        left, at = lines, end
        while at > max(0, end - _TAIL_REACH):
            start = max(0, at - CHUNK)
            block = os.pread(self._descriptor, at - start, start)
            place = len(block) - 1 if at == end else len(block)  # the newline at its very end begins no line
            while (place := block.rfind(b"\n", 0, place)) >= 0:
                left -= 1
                if left == 0:
                    return start + place + 1
            at = start
        return at


def open_file(directory: Path, file_name: str) -> OpenFile | None:
    """The regular file of this name right in `directory`; None if there is none that can be read."""
    if "/" in file_name or "\0" in file_name:
        return None
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a FIFO must not hold us up
    try:
        descriptor = os.open(directory / file_name, flags)
    except OSError:
        return None
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return OpenFile(descriptor)
    os.close(descriptor)
    return None
