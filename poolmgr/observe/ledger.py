"""The ledger: every deletion in a cloud, one JSON line before the call is made and one after it.

The first line is with the operating system before the call begins, so after a crash at most outcomes are missing. What
cannot be written never stops the work: it is told once, and counted. Several processes may write one file.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import socket
import threading
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from poolmgr.errors import PoolmgrError
from poolmgr.runtime.clock import Clock

log = logging.getLogger(__name__)

#: Bytes of a file before it is put aside, and how many are kept beside it.
FILE_SIZE = 10 * 1024 * 1024
FILES = 10
#: Lines kept in memory.
MEMORY = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class Deletion:
    """One thing that is about to be deleted: what, whose, why, and on which evidence.

    "" and None: does not apply. `evidence`: times are epoch seconds.
    """

    kind: str  # server, port, floating-ip, volume, image, object
    id: str
    why: str
    name: str = ""
    provider: str = ""
    node: str | None = None
    request: str | None = None
    label: str | None = None
    deployment: str | None = None  # whose mark it bears
    peer: str = ""  # `Peer.id` of the launcher
    evidence: Mapping[str, Any] = field(default_factory=dict)


class Ledger:
    """That of one process; any thread may write. `path` None: in memory only."""

    def __init__(
        self, clock: Clock, path: str | None = None, *, size: int = FILE_SIZE, files: int = FILES
    ) -> None:
        self._clock = clock
        self._path = path
        self._size = size
        self._files = files
        self._lock = threading.Lock()
        self._lines: deque[Mapping[str, Any]] = deque(maxlen=MEMORY)
        self._number = 0
        self._place = {"host": socket.gethostname(), "pid": os.getpid()}
        self._failing = False
        self.lost = 0  # lines that could not be written

    def follow(self, path: str | None) -> None:
        """Write to `path` from now on."""
        with self._lock:
            self._path = path

    def last(self) -> tuple[Mapping[str, Any], ...]:
        """The last lines of this process, the oldest first."""
        with self._lock:
            return tuple(self._lines)

    def delete(self, deletion: Deletion, call: Callable[[], None]) -> None:
        """Make the `call` that deletes, between its two lines. Raises what it raises."""
        number = self._begin(deletion)
        outcome = "interrupted"
        try:
            call()
            outcome = "accepted"
        except PoolmgrError as error:
            outcome = f"{type(error).__name__}: {error}"
            raise
        finally:
            self._end(number, deletion, outcome)

    def _begin(self, deletion: Deletion) -> int:
        with self._lock:
            self._number += 1
            said = {one.name: getattr(deletion, one.name) for one in fields(deletion)}
            said["evidence"] = dict(deletion.evidence)
            what = {key: value for key, value in said.items() if value not in ("", None, {})}
            self._write({"event": "delete", "number": self._number, **what})
            return self._number

    def _end(self, number: int, deletion: Deletion, outcome: str) -> None:
        short = {"kind": deletion.kind, "id": deletion.id, "provider": deletion.provider}
        if deletion.node:
            short["node"] = deletion.node
        with self._lock:
            self._write({"event": "outcome", "number": number, **short, "outcome": outcome})

    def _write(self, body: Mapping[str, Any]) -> None:
        line = {"time": self._clock.time(), **body, **self._place}
        self._lines.append(line)
        if self._path is None:
            return
        try:
            before = b"\n" if self._failing else b""  # half a line may be there
            data = before + json.dumps(line, default=str).encode() + b"\n"
            _append(Path(self._path), data, self._size, self._files)
        except OSError as error:
            self.lost += 1
            if not self._failing:
                log.error("the ledger cannot be written: %s; deletions go on without it", error)
            self._failing = True
            return
        if self._failing:
            log.info("the ledger is written again, %d lines are missing in it", self.lost)
        self._failing = False


def _append(path: Path, line: bytes, size: int, files: int) -> None:
    """Append to the file, which other processes may write and put aside at the same time. Raises OSError.

    One write to the end of a file is one line, whoever else writes. Only putting it aside takes a lock, and never waits
    for that: its holder may stand still.
    """
    while True:
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
        try:
            there = os.fstat(file).st_size
            if there and there + len(line) > size and _put_aside(path, file, files):
                continue
            if os.write(file, line) != len(line):
                raise OSError(f"{path}: no room for a whole line")
            return
        finally:
            os.close(file)


def _put_aside(path: Path, file: int, files: int) -> bool:
    """Whether it, or someone else, has put aside what is open as `file`."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    if not _is_still(path, os.fstat(file)):
        return True
    for n in range(files - 1, 0, -1):
        with suppress(FileNotFoundError):
            os.replace(aside(path, n), aside(path, n + 1))
    os.replace(path, aside(path, 1))
    return True


def _is_still(path: Path, there: os.stat_result) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(os.stat(path), there)
    return False


def aside(path: Path, n: int) -> Path:
    """The nth file that was put aside, 1 the newest."""
    return path.with_name(f"{path.name}.{n}")


def read(path: str, *, files: int = FILES) -> list[dict[str, Any]]:
    """The lines of the file and of those put aside, the oldest first; what is no line of a ledger is left out.

    Raises OSError when there is a file that cannot be read, or none.
    """
    whole = Path(path)
    found: list[dict[str, Any]] = []
    for one in (*(aside(whole, n) for n in range(files, 0, -1)), whole):
        try:
            text = one.read_text(errors="replace")
        except FileNotFoundError:
            if one == whole and not found:
                raise
            continue
        for line in text.splitlines():
            with suppress(ValueError):
                entry = json.loads(line)
                if isinstance(entry, dict) and "event" in entry:
                    found.append(entry)
    return found
