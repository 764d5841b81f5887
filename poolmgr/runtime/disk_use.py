"""How much disk files take."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress

from poolmgr.runtime.mounts import mounts

_BLOCK = 512  # of st_blocks, stat(2)


def disk_use(places: Iterable[str]) -> int:
    """Bytes allocated for these files and all below these directories.

    What is mounted there is left out; hard links are counted once. What is gone or may not be read counts nothing.
    """
    points = {one.point for one in mounts()}
    seen: set[tuple[int, int]] = set()
    total = 0
    ahead = list(places)
    while ahead:
        place = ahead.pop()
        with suppress(OSError):
            status = os.lstat(place)
            if status.st_nlink > 1 and (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            total += status.st_blocks * _BLOCK
            if os.path.isdir(place) and not os.path.islink(place) and place not in points:
                ahead += [os.path.join(place, name) for name in os.listdir(place)]
    return total


def free_space(place: str) -> int | None:
    """Bytes that are free for us where the file or directory is; None if that cannot be told."""
    try:
        status = os.statvfs(place)
    except OSError:
        return None
    return status.f_bavail * status.f_frsize
