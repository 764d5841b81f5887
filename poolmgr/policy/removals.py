"""What `policy.retention` answers: what of builds, uploads and their files is to be removed, and why."""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from poolmgr.model.image import Build, Upload
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

    `image_formats` as in `BuilderFacts`. `files`: what is on this builder's disk. `holding`: the image whose build
    lock, or the path of the upload whose uploading lock, this very question is asked under.

    What no record tells, since when this process sees it so, in epoch seconds: `free_since`, by `Upload.path` or
    `Build.name`, that nobody has the lock of what seems to be going on; `unserved_since`, by provider without
    settings here, that no launcher serves it.
    """

    builder_id: str
    image_formats: Mapping[str, str] = field(default_factory=dict)
    files: LocalFiles = field(default_factory=dict)
    busy_builds: Collection[tuple[str, str]] = ()
    busy_uploads: Collection[str] = ()
    holding: str | None = None
    free_since: Mapping[str, float] = field(default_factory=dict)
    unserved_since: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class RemoveUpload:
    """Delete the image in the cloud, what may be staged there, then the record.

    `keep_record`: what is in the cloud goes, the FAILED record stays, without id, to tell why. `late_until`: up to
    then, in epoch seconds, an image without our mark may still come, under the upload's name: look for it again and
    again, and keep the record so long. None: what can be seen now is all there is.
    """

    upload: Upload
    why: Why
    keep_record: bool = False
    late_until: float | None = None


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
    reason: str  # "in-use", "uploading", "building", "provider-unknown", "provider-unserved", "its-builder"
    until: float | None = None


@dataclass(frozen=True, kw_only=True)
class Retention:
    uploads: tuple[RemoveUpload, ...] = ()
    drops: tuple[DropBuild, ...] = ()
    forgets: tuple[ForgetBuild, ...] = ()
    files: tuple[DropFile, ...] = ()
    waiting: tuple[Waiting, ...] = ()
