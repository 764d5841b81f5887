"""Small files that are whole or as they were before, whenever the machine stops."""

from __future__ import annotations

import os
from pathlib import Path

DRAFT = ".draft"  # at the end of a file's name while it is being written


def write_whole(path: Path, text: str) -> None:
    """Replace the file by one with this text; it is on the disk when this returns. Raises OSError."""
    draft = path.with_name(path.name + DRAFT)
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW  # a link there is none of ours
    with open(os.open(draft, flags, 0o644), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, path)
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Names made and removed there so far survive a power failure from here on. Raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
