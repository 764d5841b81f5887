"""Which build goes to a provider next, and why none does (builder.md 5; cloud.md 3.4).

Withdrawn uploads. A person who deletes the upload of a build wants the previous image back, so the same build must not
be uploaded there again. While the upload's record is there, it says so itself: DELETING, and its `reason` does not
begin with a word of AUTOMATIC (up to a colon), which is what builders write when they delete something on their own
("surplus", "surplus: in use by 2 servers"). Before that record is removed, whoever removes it adds the provider to
`Build.withdrawn`, under the build's lock; a provider is never taken out of it.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from poolmgr.config.settings import OpenStackProvider, Settings
from poolmgr.model.image import Build, Upload, UploadState
from poolmgr.model.snapshot import Snapshot
from poolmgr.policy import image_times
from poolmgr.policy.builds import newest_ready, retry_at
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
    return tuple(
        upload_of(snapshot, settings, provider, image, image_format, files, tuning, now)
        for image in provider.diskimages
    )


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
    listed = provider.diskimages.get(image)
    if listed is None or listed.pause:
        return NoUpload(image=image, rest=UploadRest.PAUSED, detail=f"paused for {provider.name}")
    build = newest_ready(snapshot, image, now, tuning.clock_skew)
    if build is None:
        unreadable = snapshot.image_unreadable(image)
        return NoUpload(image=image, rest=UploadRest.UNREADABLE if unreadable else UploadRest.NO_BUILD)
    there = image_times.in_order(
        (u for u in snapshot.uploads_of(image, build.id) if u.provider == provider.name),
        now,
        tuning.clock_skew,
    )
    locked = not holding_lock and snapshot.upload_locked(image, build.id, provider.name)
    rest = (
        _settled(snapshot, build, provider.name, there)
        or (NoUpload(image=image, rest=UploadRest.UPLOADING) if locked else None)
        or _impossible(build, image_format, files)
    )
    return rest or _attempt(build, image_format, there, settings, tuning, now)


def _settled(snapshot: Snapshot, build: Build, provider: str, there: Sequence[Upload]) -> NoUpload | None:
    """Whether the provider has the build, or must not have it, or may have it."""
    image = build.image
    if any(u.state is UploadState.READY and u.external_id for u in there):
        return NoUpload(image=image, rest=UploadRest.UPLOADED)
    if provider in build.withdrawn or any(_by_order(u) for u in there):
        detail = f"its upload of {build.name} was deleted by command; the next build is uploaded"
        return NoUpload(image=image, rest=UploadRest.WITHDRAWN, detail=detail)
    above = f"/nodepool/images/{image}/builds/{build.id}/providers/{provider}/"
    if unreadable := [path for path in snapshot.unreadable_of(image) if path.startswith(above)]:
        detail = f"an upload's record makes no sense: {min(unreadable)}"
        return NoUpload(image=image, rest=UploadRest.UNREADABLE, detail=detail)
    return None


def _by_order(upload: Upload) -> bool:
    """Whether a person, not a builder, wanted it deleted."""
    word = (upload.reason or "").partition(":")[0]
    return upload.state is UploadState.DELETING and word not in AUTOMATIC


def _impossible(build: Build, image_format: str, files: LocalFiles) -> NoUpload | None:
    if image_format not in build.format_names:
        detail = f"{build.name} was not built as {image_format}"
        return NoUpload(image=build.image, rest=UploadRest.NO_FORMAT, detail=detail)
    if image_format not in files.get((build.image, build.id), ()):
        detail = f"{build.name}.{image_format} is not here; {build.builder or 'another builder'} built it"
        return NoUpload(image=build.image, rest=UploadRest.NO_FILE, detail=detail)
    return None


def _attempt(
    build: Build,
    image_format: str,
    there: Sequence[Upload],
    settings: Settings,
    tuning: ImageTuning,
    now: float,
) -> UploadDue | NoUpload:
    """The next attempt, or when it may be made. One that was cut off goes on at once: it has not failed."""
    failures, last = _failures(there)
    resume = _cut_off(there, image_format)
    if resume is None and last is not None:
        since = image_times.ended_at(last, now, tuning.clock_skew)
        at = retry_at(failures, since or 0.0, first=tuning.retry_first, most=settings.image_retry_max)
        if now < at:
            detail = f"{failures} failed in a row" + (f": {last.reason}" if last.reason else "")
            return NoUpload(image=build.image, rest=UploadRest.BACKOFF, until=at, detail=detail)
    return UploadDue(
        image=build.image, build=build, image_format=image_format, failures=failures, resume=resume
    )


def _cut_off(there: Sequence[Upload], image_format: str) -> Upload | None:
    """The last attempt that nobody is at, as nobody has the lock; it is of use if its format is the right one."""
    cut_off = [u for u in there if u.state is UploadState.UPLOADING and u.format in (None, image_format)]
    return max(cut_off, key=lambda upload: upload.id, default=None)


def _failures(there: Sequence[Upload]) -> tuple[int, Upload | None]:
    """How many attempts failed in a row, and the last of them. Ours carry the number, Nodepool's are counted."""
    failures, last = 0, None
    for upload in there:
        if upload.state is UploadState.FAILED:
            failures, last = upload.failures if upload.started is not None else failures + 1, upload
    return failures, last
