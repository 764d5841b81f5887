"""What of builds and uploads has to go, and what must stay (builder.md 6).

Rules that are not the reference's, on purpose: an image that is not in the settings is left alone; an image that nodes
boot from is not deleted under them; records of failures stay until the next success; nothing is inferred from an
empty store.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from poolmgr.config.settings import Settings
from poolmgr.model.image import Build, Upload
from poolmgr.model.snapshot import Snapshot
from poolmgr.policy.image_tuning import ImageTuning
from poolmgr.policy.uploads import LocalFiles


class Why(enum.Enum):
    """The reason goes into the record, the log and the table."""

    SURPLUS = "surplus"  # newer ones are there
    ORDERED = "ordered"  # a person said so: the record was DELETING already
    NOT_LISTED = "not-listed"  # the provider does not list the image any more
    ABANDONED = "abandoned"  # its builder died in the middle, and nobody takes it up
    FAILED = "failed"  # a failure that a success has followed, or remains of one


@dataclass(frozen=True, kw_only=True)
class RetentionFacts:
    """`busy_builds` and `busy_uploads`: what this process is working on, builds as (image, build), uploads by path.

    `image_formats` as in `BuilderFacts`. `files`: what is on this builder's disk.
    """

    builder_id: str
    image_formats: Mapping[str, str] = field(default_factory=dict)
    files: LocalFiles = field(default_factory=dict)
    busy_builds: Collection[tuple[str, str]] = ()
    busy_uploads: Collection[str] = ()


@dataclass(frozen=True, kw_only=True)
class RemoveUpload:
    """Delete the image in the cloud, what may be staged there, then the record.

    `keep_record`: what is in the cloud goes, the FAILED record stays, without id, to tell why.
    """

    upload: Upload
    why: Why
    keep_record: bool = False


@dataclass(frozen=True, kw_only=True)
class DropBuild:
    """Mark the build DELETING, so that every builder lets go of its files."""

    build: Build
    why: Why


@dataclass(frozen=True, kw_only=True)
class ForgetBuild:
    """Remove the record: no upload is left."""

    build: Build
    why: Why


@dataclass(frozen=True, kw_only=True)
class DropFile:
    """`delete-after-upload`: this format of the build is not needed here any more."""

    image: str
    build: str
    image_format: str


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """Something that would go, but not now; `until` is in epoch seconds, None: on change."""

    path: str  # of the upload, or `<image>-<build>`
    reason: str  # "in-use", "uploading", "late-import", "provider-unknown"
    until: float | None = None


@dataclass(frozen=True, kw_only=True)
class Retention:
    uploads: tuple[RemoveUpload, ...] = ()
    drops: tuple[DropBuild, ...] = ()
    forgets: tuple[ForgetBuild, ...] = ()
    files: tuple[DropFile, ...] = ()
    waiting: tuple[Waiting, ...] = ()


def retention(
    snapshot: Snapshot, settings: Settings, facts: RetentionFacts, tuning: ImageTuning, now: float
) -> Retention:
    """All that this builder should remove now. The acting side locks, re-reads and asks again before each act."""
    raise NotImplementedError
