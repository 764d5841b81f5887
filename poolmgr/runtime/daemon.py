"""Leaving the terminal: detaching, and the pid file that keeps a second daemon from starting (cli-web.md 2).

The lock is an flock on the file, so a crash releases it. A file that nobody locks but that names a running launcher
or builder is respected too: the reference locks in another way.
"""

from __future__ import annotations

import fcntl
import os
import sys
import threading
from pathlib import Path

from poolmgr.errors import ConfigError
from poolmgr.runtime.clock import Clock

#: Seconds to wait for a predecessor to go.
PATIENCE = 10.0
_PAUSE = 0.2
_OUR_KIND = (b"nodepool", b"poolmgr")


class PidFile:
    """A locked file with this process's number in it. The lock outlives a fork; the number must be written again."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._descriptor = -1

    def acquire(self, patience: float = PATIENCE) -> None:
        """Lock the file, waiting at most `patience` seconds, and write our number.

        Raises ConfigError when another daemon has it, or it cannot be written.
        """
        deadline = self._clock.monotonic() + patience
        never = threading.Event()
        while (holder := self._try()) is not None:
            if self._clock.monotonic() >= deadline:
                raise ConfigError(f"{self._path}: process {holder or '?'} is running already")
            self._clock.wait(never, _PAUSE)
        self.write()

    def write(self) -> None:
        """Write the number of this process; again after `detach`."""
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Remove the file and the lock. Idempotent; never raises."""
        if self._descriptor < 0:
            return
        self._path.unlink(
            missing_ok=True
        )  # before the lock goes: whoever waits for it looks for a new file then
        os.close(self._descriptor)
        self._descriptor = -1

    def _try(self) -> int | None:
        """None if the lock is ours now, else the number in the file, 0 if there is none (yet)."""
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise ConfigError(f"Unable to write pid file {self._path}: {error.strerror}; see -p") from error
        pid = _number_in(descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return pid
        if (pid and _is_daemon(pid)) or not _still_there(self._path, descriptor):
            os.close(descriptor)
            return pid
        self._descriptor = descriptor
        return None


def _number_in(descriptor: int) -> int:
    text = os.pread(descriptor, 32, 0).strip()
    return int(text) if text.isdigit() else 0


def _is_daemon(pid: int) -> bool:
    """Whether the process runs and is one of ours or the reference's, not a stranger that got the number since."""
    if pid == os.getpid():
        return False
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return any(word in command for word in _OUR_KIND)


def _still_there(path: Path, descriptor: int) -> bool:
    """Whether `path` is the very file that is open; its last owner may just have removed it."""
    try:
        there, opened = path.stat(), os.fstat(descriptor)
    except FileNotFoundError:
        return False
    return (there.st_dev, there.st_ino) == (opened.st_dev, opened.st_ino)


def detach() -> None:
    """Go on in the background: a new session, `/` as directory, nothing read and nothing shown any more.

    To be called before any thread is started and before any connection is opened. The process that was called
    ends here, with 0; what returns is its grandchild, which can never get a terminal again.
    """
    for new_session in (True, False):
        sys.stdout.flush()
        sys.stderr.flush()
        if os.fork():
            os._exit(0)
        if new_session:
            os.setsid()
    os.chdir("/")
    null = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(null, standard)
    if null > 2:
        os.close(null)
