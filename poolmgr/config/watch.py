"""Whether configuration files have changed, cheap enough to ask every second.

Each change is told once, whether or not the new file is any good: a bad file is read, and complained about,
once. A file that is away (an editor or a deployment is replacing it) is no change; its coming back is.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

_Stamp = tuple[
    int, int, int
]  # time of modification in ns, size, inode: a copy with an old time is noticed, too


class Watched:
    """Files as they were at the last look. Make it before reading them: what changes meanwhile is noticed."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = tuple(paths)
        self._seen = self._stamps()

    def changed(self) -> bool:
        """Whether a file was written or came back since this was last asked (or since the start)."""
        now = self._stamps()
        changed = any(
            stamp is not None and stamp != seen for stamp, seen in zip(now, self._seen, strict=True)
        )
        self._seen = now
        return changed

    def forget(self) -> None:
        """Have the next look tell a change: for a file that vanished between the look and the reading."""
        self._seen = (None,) * len(self._paths)

    def _stamps(self) -> tuple[_Stamp | None, ...]:
        return tuple(_stamp(path) for path in self._paths)


def _stamp(path: str) -> _Stamp | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
