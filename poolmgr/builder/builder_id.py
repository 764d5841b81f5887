"""Who a builder is: the id in its images directory, which its records and files name (builder.md 1)."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

from poolmgr.builder.durable import write_whole
from poolmgr.errors import ConfigError

FILE = "builder_id.txt"

_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,127}")


def read_builder_id(directory: Path, new_id: Callable[[], str]) -> str:
    """The id in `builder_id.txt`, without blanks around it; made of `new_id()` (32 hex digits) where there is no file.

    Raises ConfigError when the file cannot be read or made, or does not hold one id.
    """
    path = directory / FILE
    try:
        text = _text_or_new(path, new_id)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read or make {path}: {error}") from error
    found = text.strip()
    if not _ID.fullmatch(found):
        remedy = (
            "put the id there that this builder's records name, or remove the file to have a new one made"
        )
        raise ConfigError(f"{path} does not hold one builder id but {found[:40]!r}", remedy=remedy)
    return found


def _text_or_new(path: Path, new_id: Callable[[], str]) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        write_whole(path, str(UUID(new_id())))
        return path.read_text(encoding="utf-8")
