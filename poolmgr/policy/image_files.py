"""What happens to the files in `images-dir`. Only what a marker of this installation names is ever deleted."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from poolmgr.model.image import Build, BuildState
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
    ORPHAN = "orphan"  # no record: note when that was first seen, unless the marker says so already
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
    working = frozenset(busy)
    return tuple(
        _fate(marker, snapshot, grace=grace, now=now)
        if (marker.deployment, marker.builder_id) == (deployment, builder_id)
        and (marker.image, marker.build) not in working
        else FileFate(marker=marker, fate=_hands_off(marker, working))
        for marker in markers
    )


def _hands_off(marker: Marker, working: frozenset[tuple[str, str]]) -> Fate:
    return Fate.KEEP if (marker.image, marker.build) in working else Fate.FOREIGN


def _fate(marker: Marker, snapshot: Snapshot, *, grace: float, now: float) -> FileFate:
    build = snapshot.build(marker.image, marker.build)
    if build is None and snapshot.image_unreadable(marker.image):
        return FileFate(marker=marker, fate=Fate.KEEP)  # its record may be the one that makes no sense
    if build is None:
        until = (now if marker.orphan_since is None else marker.orphan_since) + grace
        return FileFate(marker=marker, fate=Fate.ORPHAN if now < until else Fate.DELETE, until=until)
    if build.state in (BuildState.DELETING, BuildState.FAILED):
        return FileFate(marker=marker, fate=Fate.DELETE)
    return FileFate(marker=marker, fate=Fate.KEEP if marker.orphan_since is None else Fate.FOUND)


def adoptable(
    found: Mapping[tuple[str, str], tuple[str, ...]],
    markers: Iterable[Marker],
    snapshot: Snapshot,
    *,
    deployment: str,
    builder_id: str,
) -> tuple[tuple[str, str], ...]:
    """Builds whose files here are ours though no marker of this installation says so.

    A record with our `builder_id` is the proof. Nodepool-builder in this very directory makes no markers; and after
    `import-image-data` into a new ZooKeeper the installation has a new name, but the builds are the same. `found`:
    formats by (image, build), from file names.
    """
    settled = {
        (marker.image, marker.build)
        for marker in markers
        if marker.deployment == deployment or marker.builder_id != builder_id
    }
    return tuple(
        sorted(
            (image, build_id)
            for image, build_id in found.keys() - settled
            if _is_finished_by(snapshot.build(image, build_id), builder_id)
        )
    )


def _is_finished_by(build: Build | None, builder_id: str) -> bool:
    """Nodepool-builder takes a newline at the end of its id's file for a part of the id (builder.md 1)."""
    return (
        build is not None
        and build.state is not BuildState.BUILDING
        and (build.builder_id or "").strip() == builder_id
    )
