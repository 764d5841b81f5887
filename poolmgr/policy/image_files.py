"""What happens to the files in `images-dir`. Only what a marker of this installation names is ever deleted."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from poolmgr.model.snapshot import Snapshot


@dataclass(frozen=True, kw_only=True)
class Marker:
    """`<image>-<build>.poolmgr.json`: whose the files of a build are. Written before the first of them is."""

    image: str
    build: str
    deployment: str
    builder_id: str
    formats: tuple[str, ...] = ()  # as wanted when the build began
    tmpdir: str | None = None  # the build's own temporary directory, removed with the rest
    orphan_since: float | None = None  # epoch seconds at which its record was first missed


class Fate(enum.Enum):
    KEEP = "keep"
    DELETE = "delete"  # the record says DELETING, or the grace is over
    ORPHAN = "orphan"  # no record: note when that was first seen
    FOUND = "found"  # the record is back: forget that
    FOREIGN = "foreign"  # of another installation, or of another builder: not touched


@dataclass(frozen=True, kw_only=True)
class FileFate:
    marker: Marker
    fate: Fate
    until: float | None = None  # when the grace of an orphan ends


def file_fates(
    markers: Iterable[Marker],
    snapshot: Snapshot,
    *,
    deployment: str,
    builder_id: str,
    busy: Iterable[tuple[str, str]],
    grace: float,
    now: float,
) -> tuple[FileFate, ...]:
    """One answer for each marker. `busy`: builds that this process works on now, as (image, build)."""
    raise NotImplementedError


def adoptable(
    found: Mapping[tuple[str, str], tuple[str, ...]],
    markers: Iterable[Marker],
    snapshot: Snapshot,
    *,
    builder_id: str,
) -> tuple[tuple[str, str], ...]:
    """Builds by nodepool-builder in this very directory: files of theirs are here, a record with our `builder_id` is,
    and no marker is. `found`: formats by (image, build), from file names."""
    raise NotImplementedError
