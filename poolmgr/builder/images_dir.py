"""The images directory belongs to one builder process at a time."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from pathlib import Path

from poolmgr.config.settings import Settings
from poolmgr.errors import ConfigError

#: Locked while a builder runs. An flock: a crash releases it, and the programs of a build do not inherit it.
LOCK_FILE = ".poolmgr-builder.lock"


def images_dir_of(settings: Settings) -> Path:
    """The directory that the settings name. Raises ConfigError when there is none to work in."""
    if settings.images_dir is None:
        raise ConfigError(
            "no images-dir in the configuration",
            remedy="a builder needs this key: the directory where images are built and kept",
        )
    directory = Path(settings.images_dir)
    if not directory.is_dir():
        what = "is no directory" if directory.exists() else "does not exist"
        raise ConfigError(
            f"images-dir {directory} {what}",
            remedy="make it, on a disk with room for some images, and give it to the builder's user",
        )
    return directory


class ImagesDirLock:
    """Held from construction to `release`."""

    def __init__(self, directory: Path) -> None:
        """Raises ConfigError when another builder has the directory, or it cannot be written."""
        self._directory = directory
        self._identity = _identity(directory)
        path = directory / LOCK_FILE
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        except OSError as error:
            raise ConfigError(
                f"images-dir {directory}: cannot write there: {error.strerror}",
                remedy="it must belong to the user that the builder runs as",
            ) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            raise self._refusal(directory, error) from error

    def trouble(self) -> str | None:
        """Why nothing can be kept there now; None when it is the directory that was locked."""
        found = _identity(self._directory)
        if found is None:
            return f"images-dir {self._directory} is gone"
        if found != self._identity:  # made anew, or what was mounted there is not any more
            return f"images-dir {self._directory} is another directory than when the builder began"
        return None

    def release(self) -> None:
        """Idempotent; never raises. The file stays: to remove it would let two hold it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _refusal(self, directory: Path, error: OSError) -> ConfigError:
        holder = os.pread(self._descriptor, 20, 0).decode(errors="replace").strip()
        self.release()
        if error.errno not in (errno.EAGAIN, errno.EACCES):
            return ConfigError(f"images-dir {directory}: cannot lock it: {error.strerror}")
        return ConfigError(
            f"images-dir {directory}: another builder works there, process {holder or '?'}",
            remedy="stop that one, or give each builder a directory of its own",
        )


def _identity(directory: Path) -> tuple[int, int] | None:
    """Which directory it is, whatever its name; None when there is none."""
    try:
        found = directory.stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if stat.S_ISDIR(found.st_mode) else None
