"""What of builds and uploads has to go, and what must stay (builder.md 6).

Rules that are not the reference's, on purpose: an image that is not in the settings is left alone; an image that nodes
boot from is not deleted under them; records of failures stay until the next success; nothing is inferred from an
empty store.

What is to go is marked DELETING first, and `reason` says why: a word of `Why`, and after a colon what is in the way. A
DELETING record that begins with no such word was ordered by a person, or by a tool of the reference: then nothing
protects it but a node that is booting from it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from poolmgr.config.settings import Settings
from poolmgr.model.image import Build, BuildState, Upload, UploadState
from poolmgr.model.node import NodeState
from poolmgr.model.snapshot import Snapshot
from poolmgr.policy.image_tuning import ImageTuning
from poolmgr.policy.keeping import Keeping, Standing, World, why_of
from poolmgr.policy.removals import (
    DropBuild,
    DropFile,
    ForgetBuild,
    RemoveUpload,
    Retention,
    RetentionFacts,
    Waiting,
    Why,
)

_ANY = ""  # in place of a format: which one it is, is not known now


def retention(
    snapshot: Snapshot, settings: Settings, facts: RetentionFacts, tuning: ImageTuning, now: float
) -> Retention:
    """All that this builder should remove now. The acting side locks, re-reads and asks again before each act."""
    world = World(snapshot, settings, facts, tuning, now)
    uploads: dict[str, list[Upload]] = {build.image: [] for build in snapshot.builds()}
    for upload in snapshot.uploads():
        uploads.setdefault(upload.image, []).append(upload)
    answers = [_answer(world, image, uploads[image]) for image in sorted(uploads)]
    return Retention(
        uploads=tuple(one for answer in answers for one in answer.uploads),
        drops=tuple(one for answer in answers for one in answer.drops),
        forgets=tuple(one for answer in answers for one in answer.forgets),
        files=tuple(one for answer in answers for one in answer.files),
        waiting=tuple(one for answer in answers for one in answer.waiting),
    )


def retention_of(
    snapshot: Snapshot, settings: Settings, facts: RetentionFacts, tuning: ImageTuning, now: float, image: str
) -> Retention:
    """The same for one image."""
    uploads = [upload for upload in snapshot.uploads() if upload.image == image]
    return _answer(World(snapshot, settings, facts, tuning, now), image, uploads)


def late_until(upload: Upload, tuning: ImageTuning, now: float) -> float | None:
    """Until when an import by task that was cut off may still make an image; None: it made one, or will not."""
    if upload.external_id or not (upload.staged or upload.method == "tasks"):
        return None
    since = upload.started or upload.state_time
    until = since + tuning.late_import
    return until if since <= now + tuning.clock_skew and now < until else None


def may_be_in_cloud(upload: Upload, tuning: ImageTuning, now: float) -> bool:
    """Whether something of it is in its cloud, or may still come there."""
    return bool(upload.external_id or upload.staged or late_until(upload, tuning, now))


def _answer(world: World, image: str, records: Collection[Upload]) -> Retention:
    keeping = Keeping(world, image, records)
    uploads = [_of_upload(keeping, upload) for upload in records]
    builds = [_of_build(keeping, build) for build in keeping.builds.values()]
    return Retention(
        uploads=tuple(one for one in uploads if isinstance(one, RemoveUpload)),
        drops=tuple(one for one in builds if isinstance(one, DropBuild)),
        forgets=tuple(one for one in builds if isinstance(one, ForgetBuild)),
        files=tuple(_files(keeping)),
        waiting=tuple(one for one in (*uploads, *builds) if isinstance(one, Waiting)),
    )


# Uploads


def _of_upload(keeping: Keeping, upload: Upload) -> RemoveUpload | Waiting | None:
    why = _why(keeping, upload)
    if why is not None:
        return _removal(keeping, upload, why)
    if keeping.disk is None:
        return None
    if keeping.standing[upload.provider] is Standing.UNKNOWN:
        return _left_alone(keeping, upload)
    if upload.state is UploadState.FAILED and may_be_in_cloud(
        upload, keeping.world.tuning, keeping.world.now
    ):
        return _removal(keeping, upload, Why.FAILED, keep_record=True)
    if upload.state is UploadState.UPLOADING and not keeping.is_at_work(upload):
        return _wait(keeping, upload.path, "uploading", keeping.world.given_up_at(upload, upload.path))
    return None


def _why(keeping: Keeping, upload: Upload) -> Why | None:
    """Why the upload goes with its record; None if it does not."""
    if upload.state is UploadState.DELETING:
        return why_of(upload)
    end = keeping.ends.get(upload.build)
    if end is Why.ORDERED:
        return end
    if keeping.disk is None:
        return None
    match keeping.standing[upload.provider]:
        case Standing.NOT_LISTED:
            return Why.NOT_LISTED
        case Standing.UNKNOWN:
            return end if keeping.is_unserved(upload.provider) else None
    match upload.state:
        case UploadState.READY:
            return None if upload.path in keeping.kept_uploads else Why.SURPLUS
        case UploadState.UPLOADING:
            return None if keeping.unreadable or keeping.is_going_on(upload) else Why.ABANDONED
        case _:
            return Why.FAILED if _tells_nothing(keeping, upload) else None


def _tells_nothing(keeping: Keeping, upload: Upload) -> bool:
    """Whether a failure is history: a success followed, or another failure, or its build goes."""
    if keeping.unreadable:
        return False
    if upload.build not in keeping.builds or keeping.ends[upload.build] is not None:
        return True
    return any(_follows(keeping.world, other, upload) for other in keeping.by_provider[upload.provider])


def _follows(world: World, other: Upload, failed: Upload) -> bool:
    same = other.build == failed.build
    later = (world.ended_at(other), other.id) > (world.ended_at(failed), failed.id)
    match other.state:
        case UploadState.READY:
            return same or later
        case UploadState.FAILED:
            return same and later
        case _:
            return False


def _left_alone(keeping: Keeping, upload: Upload) -> Waiting | None:
    """An upload to a provider that is not configured here; told about only where it may be what remains."""
    until = keeping.world.unserved_at(upload.provider)
    if until is None or upload.build not in keeping.builds or upload.build in keeping.kept_builds:
        return None
    return _wait(keeping, upload.path, "provider-unserved", until)


def _wait(keeping: Keeping, path: str, reason: str, until: float) -> Waiting | None:
    return Waiting(path=path, reason=reason, until=until) if until > keeping.world.now else None


def _removal(
    keeping: Keeping, upload: Upload, why: Why, *, keep_record: bool = False
) -> RemoveUpload | Waiting:
    if upload.state in (UploadState.UPLOADING, UploadState.DELETING) and keeping.is_at_work(upload):
        return Waiting(path=upload.path, reason="uploading")
    if _is_in_use(keeping.world.snapshot, upload, why):
        return Waiting(path=upload.path, reason="in-use")
    unknown = keeping.standing[upload.provider] is Standing.UNKNOWN
    if unknown and upload.cloud is None and may_be_in_cloud(upload, keeping.world.tuning, keeping.world.now):
        return Waiting(path=upload.path, reason="provider-unknown")
    late = late_until(upload, keeping.world.tuning, keeping.world.now)
    return RemoveUpload(upload=upload, why=why, keep_record=keep_record, late_until=late)


def _is_in_use(snapshot: Snapshot, upload: Upload, why: Why) -> bool:
    nodes = snapshot.nodes_from(upload.path)
    if why is Why.ORDERED:
        return any(node.state in (NodeState.INIT, NodeState.BUILDING) for node in nodes)
    return bool(nodes)


# Builds


def _of_build(keeping: Keeping, build: Build) -> DropBuild | ForgetBuild | Waiting | None:
    if build.state is BuildState.DELETING:
        return _forgetting(keeping, build)
    why = keeping.ends[build.id]
    if why is not None:
        return DropBuild(build=build, why=why)
    if keeping.disk and build.state is BuildState.BUILDING and keeping.is_free:
        return _wait(keeping, build.name, "building", keeping.world.given_up_at(build, build.name))
    return None


def _forgetting(keeping: Keeping, build: Build) -> ForgetBuild | Waiting | None:
    """Its builder lets go of the files first: a store without the record would look like a wrong one to it.

    One that is away has as long as it keeps files without a record.
    """
    world = keeping.world
    if keeping.by_build.get(build.id) or keeping.unreadable:
        return None
    if (build.image, build.id) in world.facts.busy_builds:
        return Waiting(path=build.name, reason="building")
    builder = (build.builder_id or "").strip()
    until = world.ended_at(build) + world.settings.image_orphan_grace
    if builder not in ("", world.facts.builder_id) and world.now < until:
        return Waiting(path=build.name, reason="its-builder", until=until)
    return ForgetBuild(build=build, why=why_of(build))


# Files


def _files(keeping: Keeping) -> Iterator[DropFile]:
    """`delete-after-upload`. A format that may be any provider's keeps all of them."""
    if keeping.disk is None or not keeping.disk.build.delete_after_upload or keeping.unreadable:
        return
    for build in keeping.builds.values():
        formats = keeping.world.facts.files.get((keeping.image, build.id), ())
        if not formats or build.state is not BuildState.READY or not _is_uploaded(keeping, build):
            continue
        needed = {*keeping.disk.build.keep_formats, *_formats_needed(keeping, build)}
        for image_format in formats:
            if image_format not in needed and _ANY not in needed:
                yield DropFile(image=keeping.image, build=build.id, image_format=image_format)


def _is_uploaded(keeping: Keeping, build: Build) -> bool:
    """Whether it is in some cloud, and not on its way to another."""
    states = {upload.state for upload in keeping.by_build.get(build.id, ())}
    return UploadState.READY in states and UploadState.UPLOADING not in states


def _formats_needed(keeping: Keeping, build: Build) -> Iterator[str]:
    """Of providers that still lack it; `_ANY` for one whose format is not known now."""
    have = {u.provider for u in keeping.by_build.get(build.id, ()) if u.state is UploadState.READY}
    for provider in keeping.world.settings.providers:
        if provider not in have and keeping.wants(provider, build):
            yield keeping.world.facts.image_formats.get(provider, _ANY)
