"""Whether configuration files have changed, cheap enough to ask every second.

Each change is told once, whether or not the new file is any good: a bad file is read, and complained about, once.
A change is told when it has settled, that is when two looks in a row have seen the same: a file that is being written
may be good YAML up to the middle. So a file that is away for a moment (an editor or a deployment replaces it) is no
change, one that stays away is.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

_Stamp = tuple[
    int, int, int
]  # time of modification in ns, size, inode: a copy with an old time is noticed, too


class Watched:
    """Files as they were at the last look. Make it before reading them: what changes meanwhile is noticed."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._paths = tuple(paths)
        self._more: tuple[str, ...] = ()
        self._told = self._last = self._stamps()

    def changed(self) -> bool:
        """Whether a file has become another, came or went, since this was last told."""
        now = self._stamps()
        settled, self._last = now == self._last, now
        if not settled or now == self._told:
            return False
        self._told = now
        return True

    def mark(self) -> None:
        """They are about to be read, however they are: only what changes from now on is told."""
        self._told = self._last = self._stamps()

    def also(self, paths: Iterable[str]) -> None:
        """Watch these too, in place of those that were named before."""
        more = tuple(paths)
        if more == self._more:
            return
        self._more = more
        added = {path: _stamp(path) for path in more if path not in self._told}
        self._told = {path: self._told.get(path, added.get(path)) for path in (*self._paths, *more)}

    def _stamps(self) -> Mapping[str, _Stamp | None]:
        return {path: _stamp(path) for path in (*self._paths, *self._more)}


def _stamp(path: str) -> _Stamp | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
