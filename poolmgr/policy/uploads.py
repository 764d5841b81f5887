"""Which build goes to a provider next, and why none does (builder.md 5; cloud.md 3.4).

Withdrawn uploads. A person who deletes the upload of a build wants the previous image back, so the same build must not
be uploaded there again. While the upload's record is there, it says so itself: DELETING, and its `reason` does not
begin with a word of AUTOMATIC (up to a colon), which is what builders write when they delete something on their own
("surplus", "surplus: in use by 2 servers"). Before that record is removed, whoever removes it adds the provider to
`Build.withdrawn`, under the build's lock; a provider is never taken out of it.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from poolmgr.config.settings import OpenStackProvider, Settings
from poolmgr.model.image import Build, Upload
from poolmgr.model.snapshot import Snapshot
from poolmgr.policy.image_tuning import ImageTuning

#: Formats of a build that are whole and on this builder's disk, by (image, build).
LocalFiles = Mapping[tuple[str, str], Collection[str]]

#: How the `reason` of a DELETING record begins when a builder, not a person, wanted it deleted: the words of
#: `policy.retention.Why` but for ORDERED.
AUTOMATIC = frozenset({"surplus", "not-listed", "abandoned", "failed"})


class UploadRest(enum.Enum):
    PAUSED = "paused"  # in the provider's list
    NO_BUILD = "no-build"  # no ready build
    NO_FILE = "no-file"  # its file is not here: another builder's, or gone by `delete-after-upload`
    NO_FORMAT = "no-format"  # the newest ready build has not this cloud's format; a build that has it is due
    UPLOADED = "uploaded"
    UPLOADING = "uploading"  # someone holds the lock
    WITHDRAWN = (
        "withdrawn"  # a person deleted the upload of this build: the same bad image does not come back
    )
    BACKOFF = "backoff"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, kw_only=True)
class UploadDue:
    """Upload `build` in `image_format`. `resume`: the record of an attempt that was cut off, taken over with its id."""

    image: str
    build: Build
    image_format: str
    failures: int = 0
    resume: Upload | None = None


@dataclass(frozen=True, kw_only=True)
class NoUpload:
    image: str
    rest: UploadRest
    until: float | None = None  # epoch seconds; None: only on change
    detail: str = ""


def uploads_due(
    snapshot: Snapshot,
    settings: Settings,
    provider: OpenStackProvider,
    image_format: str,
    files: LocalFiles,
    tuning: ImageTuning,
    now: float,
) -> tuple[UploadDue | NoUpload, ...]:
    """One answer for each image that `provider` lists, in file order.

    Only the newest READY build of any builder is uploaded, and only where its file is. A build whose upload to this
    provider was deleted by a person stays away until there is a newer build (known weak point: "go back to the previous
    image").
    """
    raise NotImplementedError


def upload_of(
    snapshot: Snapshot,
    settings: Settings,
    provider: OpenStackProvider,
    image: str,
    image_format: str,
    files: LocalFiles,
    tuning: ImageTuning,
    now: float,
    *,
    holding_lock: bool = False,
) -> UploadDue | NoUpload:
    """The answer for one image; `holding_lock`: the lock of this upload is ours, ask everything else again."""
    raise NotImplementedError
