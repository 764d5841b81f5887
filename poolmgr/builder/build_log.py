"""Logs of builds: `<build-log-dir>/<image>-<build>.log`, which nodepool-builder's users know (builder.md 4)."""

from __future__ import annotations

import logging
import os
import re
from collections import deque
from contextlib import suppress
from pathlib import Path

log = logging.getLogger(__name__)

#: The build's id has no hyphen, so the last one parts it from the image, whose name may have some.
_LOG = re.compile(r"(?P<image>.+)-(?:[0-9a-f]{32}|[0-9]{10})\.log")
_TAIL = 64 << 10  # bytes at the end of a log in which the last lines are looked for
_LINE = 400  # characters of a line that are shown


def log_path(directory: Path, image: str, build: str) -> Path:
    return directory / f"{image}-{build}.log"


def prune_logs(directory: Path, image: str, retention: int) -> None:
    """Remove the oldest logs of exactly this image, but for `retention` of them (at least one; below 0: all stay).

    Raises OSError when the directory cannot be read.
    """
    if retention < 0:
        return
    logs = []
    for path in directory.iterdir():
        named = _LOG.fullmatch(path.name)
        if named and named["image"] == image:
            with suppress(FileNotFoundError):
                logs.append((path.lstat().st_mtime, path))
    for _, path in sorted(logs)[: -max(1, retention)]:
        log.info("removing the old build log %s", path)
        path.unlink(missing_ok=True)


def add_exit_code(path: Path, code: int, reason: str = "") -> None:
    """The line at the end that says how it went, after one that says why. Never raises: the disk may be full."""
    text = (f"poolmgr: {reason}\n" if reason else "") + f"Exit code: {code}\n"
    try:
        with path.open("ab") as file:
            file.write(text.encode(errors="replace"))
    except OSError as error:
        log.warning("%s: %s", path, error)


def last_lines(path: Path, count: int = 12) -> list[str]:
    """The end of the log; [] if it cannot be read. Bytes that are no text are replaced, long lines cut."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
            lines = deque(file.read().decode(errors="replace").splitlines(), maxlen=count)
    except OSError:
        return []
    return [line[:_LINE] for line in lines]
