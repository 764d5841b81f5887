"""What a build has made: whether it is all there, and its sizes and checksums.

The reference believes an exit code; a build without its file was READY, and no other was begun (builder.md 11, 7).
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from poolmgr.builder.durable import write_whole
from poolmgr.builder.files import ImageFiles
from poolmgr.errors import PoolmgrError

_PIECE = 4 << 20
_BLOCK = 512  # of st_blocks, stat(2)


class BuildFailed(PoolmgrError):
    """A build that came to nothing; the message is for its record. `rc`: the exit code that says so, if one does."""

    def __init__(self, message: str, *, rc: int | None = None) -> None:
        super().__init__(message)
        self.rc = rc


def size_of(path: Path) -> os.stat_result:
    """Raises BuildFailed, naming the file, when it is not there or has no content."""
    try:
        status = path.lstat()
    except FileNotFoundError as error:
        raise BuildFailed(f"{path.name} was not made") from error
    if not stat.S_ISREG(status.st_mode):
        raise BuildFailed(f"{path.name} is not a file")
    if status.st_size == 0:
        raise BuildFailed(f"{path.name} is empty")
    return status


def finished_file(
    files: ImageFiles, image: str, build: str, image_format: str, *, ended: Callable[[], bool]
) -> Mapping[str, Any]:
    """The file as a build's record keeps it. Checksums that nobody wrote are computed and put beside it.

    Raises BuildFailed, also when `ended()` is true meanwhile, and OSError.
    """
    path = files.path(image, build, image_format)
    status = size_of(path)
    _settle(path)
    md5, sha256 = files.checksums(image, build, image_format)
    if not (md5 and sha256):
        md5, sha256 = _hashes(path, ended)
        for kind, digest in (("md5", md5), ("sha256", sha256)):
            write_whole(path.with_name(f"{path.name}.{kind}"), f"{digest}  {path}\n")
    return {
        "size": status.st_size,
        "allocated": status.st_blocks * _BLOCK,
        "md5": md5,
        "sha256": sha256,
    }


def fits(path: Path, told: object) -> bool:
    """Whether the file is as long as `finished_file` once told."""
    if not isinstance(told, Mapping):
        return False
    try:
        return path.lstat().st_size == told.get("size")
    except OSError:
        return False


def _settle(path: Path) -> None:
    """A record that says READY must not outlive the content in a power failure."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _hashes(path: Path, ended: Callable[[], bool]) -> tuple[str, str]:
    md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            md5.update(piece)
            sha256.update(piece)
            if ended():
                raise BuildFailed("it was cut off while its files were checked")
    return md5.hexdigest(), sha256.hexdigest()
