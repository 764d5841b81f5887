"""What of builds and uploads has to go, and what must stay (builder.md 6).

Rules that are not the reference's, on purpose: an image that is not in the settings is left alone; an image that nodes
boot from is not deleted under them; records of failures stay until the next success; nothing is inferred from an
empty store.

What is to go is marked DELETING first, and `reason` says why: a word of `Why`, and after a colon what is in the way. A
DELETING record that begins with no such word was ordered by a person, or by a tool of the reference: then nothing
protects it but a node that is booting from it.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from poolmgr.config.settings import OpenStackProvider, Settings
from poolmgr.model.component import ComponentKind, ComponentState
from poolmgr.model.image import Build, BuildState, Upload, UploadState
from poolmgr.model.node import NodeState
from poolmgr.model.snapshot import Snapshot
from poolmgr.policy.image_tuning import ImageTuning
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
from poolmgr.policy.uploads import AUTOMATIC


def retention(
    snapshot: Snapshot, settings: Settings, facts: RetentionFacts, tuning: ImageTuning, now: float
) -> Retention:
    """All that this builder should remove now. The acting side locks, re-reads and asks again before each act."""
    world = _World(snapshot, settings, facts, tuning, now)
    uploads: dict[str, list[Upload]] = {build.image: [] for build in snapshot.builds()}
    for upload in snapshot.uploads():
        uploads.setdefault(upload.image, []).append(upload)
    answers = [_Image(world, image, uploads[image]).answer() for image in sorted(uploads)]
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
    return _Image(_World(snapshot, settings, facts, tuning, now), image, uploads).answer()


def why_of(record: Build | Upload) -> Why:
    """Why a DELETING record is to go."""
    word = (record.reason or "").partition(":")[0]
    return Why(word) if word in AUTOMATIC else Why.ORDERED


def late_until(upload: Upload, tuning: ImageTuning, now: float) -> float | None:
    """Until when an import by task that was cut off may still make an image; None: it made one, or will not."""
    if upload.external_id or not (upload.staged or upload.method == "tasks"):
        return None
    until = (upload.started or upload.state_time) + tuning.late_import
    return until if now < until else None


class _Standing(enum.Enum):
    """What a provider is to an image."""

    LISTED = "listed"
    NOT_LISTED = "not-listed"
    UNKNOWN = "unknown"  # not in the settings: another builder's, or removed


@dataclass(frozen=True)
class _World:
    """What the answers for all images are made from."""

    snapshot: Snapshot
    settings: Settings
    facts: RetentionFacts
    tuning: ImageTuning
    now: float

    def standing(self, provider: str, image: str) -> _Standing:
        found = self.settings.providers.get(provider)
        if not isinstance(found, OpenStackProvider):
            return _Standing.UNKNOWN
        return _Standing.LISTED if image in found.diskimages else _Standing.NOT_LISTED

    def unserved_at(self, provider: str) -> float | None:
        """From when on an unknown provider counts as removed; None while a launcher serves it."""
        if any(pool.provider_name == provider for pool in self.snapshot.pools()):
            return None
        since = self.facts.unserved_since.get(provider, self.now)
        return since + self.tuning.lost_lock_grace

    def given_up_at(self, record: Build | Upload, key: str) -> float:
        """From when on it counts as left by its builder that nobody has the lock of what is under `key`."""
        if record.builder_id == self.facts.builder_id:
            return self.now
        grace = self.tuning.lost_lock_grace if self._is_alive(record.builder) else self.tuning.abandoned_after
        return self.facts.free_since.get(key, self.now) + grace

    def _is_alive(self, builder: str | None) -> bool:
        """Whether the builder is registered. Records name its FQDN, components its host name."""
        names = {builder, (builder or "").partition(".")[0]}
        return any(
            one.hostname in names and one.state is not ComponentState.STOPPED
            for one in self.snapshot.components(ComponentKind.BUILDER)
        )


class _Image:
    """The question for one image: which builds end and why, then what that means for each record."""

    def __init__(self, world: _World, image: str, uploads: Collection[Upload]) -> None:
        self._world, self._image, self._uploads = world, image, uploads
        self._facts, self._snapshot = world.facts, world.snapshot
        self._disk = world.settings.diskimages.get(image)
        self._unreadable = world.snapshot.image_unreadable(image)
        self._builds = {build.id: build for build in world.snapshot.builds_of(image)}
        ready = [build for build in self._builds.values() if build.state is BuildState.READY]
        ready.sort(key=lambda build: (build.state_time, build.id), reverse=True)
        self._newest = ready[0] if ready else None
        self._by_build: dict[str, list[Upload]] = {}
        self._by_provider: dict[str, list[Upload]] = {}
        for upload in uploads:
            self._by_build.setdefault(upload.build, []).append(upload)
            self._by_provider.setdefault(upload.provider, []).append(upload)
        self._standing = {provider: world.standing(provider, image) for provider in self._by_provider}
        keep = self._disk.build.keep_builds if self._disk else 0
        self._kept_builds = {build.id for build in ready[:keep]}
        self._kept_uploads = {path for provider in self._by_provider for path in self._kept_at(provider)}
        self._ends = {build.id: self._end_of(build) for build in self._builds.values()}

    def answer(self) -> Retention:
        uploads = [self._of_upload(upload) for upload in self._uploads]
        builds = [self._of_build(build) for build in self._builds.values()]
        return Retention(
            uploads=tuple(one for one in uploads if isinstance(one, RemoveUpload)),
            drops=tuple(one for one in builds if isinstance(one, DropBuild)),
            forgets=tuple(one for one in builds if isinstance(one, ForgetBuild)),
            files=tuple(self._files()),
            waiting=tuple(one for one in (*uploads, *builds) if isinstance(one, Waiting)),
        )

    # What stays

    def _kept_at(self, provider: str) -> Iterator[str]:
        """Paths of the uploads that serve, or may soon again: the newest ones, and that of the newest build."""
        if self._disk is None or self._standing[provider] is not _Standing.LISTED:
            return
        serving = [u for u in self._by_provider[provider] if self._serves(u)]
        serving.sort(key=lambda upload: (upload.state_time, upload.path), reverse=True)
        yield from (upload.path for upload in serving[: self._disk.build.keep_uploads])
        newest = [u for u in serving if self._newest and u.build == self._newest.id]
        yield from (upload.path for upload in newest[:1])

    def _serves(self, upload: Upload) -> bool:
        build = self._builds.get(upload.build)
        ordered = build is not None and build.state is BuildState.DELETING and why_of(build) is Why.ORDERED
        return upload.state is UploadState.READY and bool(upload.external_id) and not ordered

    def _end_of(self, build: Build) -> Why | None:
        """Why the build goes, or is going; None if it stays."""
        if build.state is BuildState.DELETING:
            return why_of(build)
        if self._disk is None or (build.image, build.id) in self._facts.busy_builds:
            return None
        match build.state:
            case BuildState.READY:
                return None if self._is_needed(build) else Why.SURPLUS
            case BuildState.FAILED:
                return Why.FAILED if self._is_followed(build) else None
            case BuildState.BUILDING:
                given_up = self._is_free() and self._world.now >= self._given_up_at(build)
                return Why.ABANDONED if given_up else None

    def _is_needed(self, build: Build) -> bool:
        return build.id in self._kept_builds or any(map(self._holds, self._by_build.get(build.id, ())))

    def _holds(self, upload: Upload) -> bool:
        """Whether the upload keeps its build, which is old."""
        if upload.state is UploadState.DELETING:
            return False
        if self._standing[upload.provider] is _Standing.UNKNOWN:
            return not self._is_unserved(upload.provider)
        return upload.path in self._kept_uploads or self._is_going_on(upload)

    def _is_unserved(self, provider: str) -> bool:
        at = self._world.unserved_at(provider)
        return at is not None and self._world.now >= at

    def _is_followed(self, build: Build) -> bool:
        """Whether a failure is not the last thing to tell about the image."""
        return any(
            (other.state_time, other.id) > (build.state_time, build.id)
            for other in self._builds.values()
            if other.state in (BuildState.READY, BuildState.FAILED)
        )

    def _is_free(self) -> bool:
        """Whether nobody can be building it: it is one build of an image at a time."""
        return self._facts.holding == self._image or not self._snapshot.build_locked(self._image)

    def _given_up_at(self, build: Build) -> float:
        return self._world.given_up_at(build, build.name)

    # Uploads

    def _of_upload(self, upload: Upload) -> RemoveUpload | Waiting | None:
        why = self._why(upload)
        if why is not None:
            return self._removal(upload, why)
        if self._disk is None:
            return None
        standing = self._standing[upload.provider]
        if standing is _Standing.UNKNOWN:
            return self._left_alone(upload)
        if upload.state is UploadState.FAILED and self._may_be_in_cloud(upload):
            return self._removal(upload, Why.FAILED, keep_record=True)
        if upload.state is UploadState.UPLOADING and not self._is_at_work(upload):
            return self._waiting(upload.path, "uploading", self._world.given_up_at(upload, upload.path))
        return None

    def _waiting(self, path: str, reason: str, until: float) -> Waiting | None:
        return Waiting(path=path, reason=reason, until=until) if until > self._world.now else None

    def _why(self, upload: Upload) -> Why | None:
        """Why the upload goes with its record; None if it does not."""
        if upload.state is UploadState.DELETING:
            return why_of(upload)
        end = self._ends.get(upload.build)
        if end is Why.ORDERED:
            return end
        if self._disk is None:
            return None
        match self._standing[upload.provider]:
            case _Standing.NOT_LISTED:
                return Why.NOT_LISTED
            case _Standing.UNKNOWN:
                return end if self._is_unserved(upload.provider) else None
        match upload.state:
            case UploadState.READY:
                return None if upload.path in self._kept_uploads else Why.SURPLUS
            case UploadState.UPLOADING:
                return None if self._unreadable or self._is_going_on(upload) else Why.ABANDONED
            case _:
                return Why.FAILED if self._tells_nothing(upload) else None

    def _is_going_on(self, upload: Upload) -> bool:
        """Whether someone is uploading, or will go on, or may do so still."""
        return upload.state is UploadState.UPLOADING and (
            self._is_at_work(upload)
            or self._is_resumable(upload)
            or self._world.now < self._world.given_up_at(upload, upload.path)
        )

    def _is_at_work(self, upload: Upload) -> bool:
        if upload.path in self._facts.busy_uploads:
            return True
        return self._facts.holding != upload.path and self._snapshot.upload_locked(
            upload.image, upload.build, upload.provider
        )

    def _is_resumable(self, upload: Upload) -> bool:
        """Whether the upload workers here take it up again: the rules of `policy.uploads`."""
        if self._newest is None or upload.build != self._newest.id:
            return False
        image_format = upload.format or self._facts.image_formats.get(upload.provider)
        if image_format not in self._facts.files.get((upload.image, upload.build), ()):
            return False
        others = [u for u in self._by_build[upload.build] if u.provider == upload.provider]
        latest = max((u for u in others if u.state is UploadState.UPLOADING), key=lambda u: u.id)
        done = any(u.state is UploadState.READY for u in others)
        return latest is upload and not done and self._wants(upload.provider, self._newest, paused=False)

    def _wants(self, provider: str, build: Build, *, paused: bool) -> bool:
        """Whether the build may go to the provider. `paused`: the answer for one whose list says so."""
        found = self._world.settings.providers.get(provider)
        if not isinstance(found, OpenStackProvider) or self._image not in found.diskimages:
            return False
        if found.diskimages[self._image].pause and not paused:
            return False
        return provider not in build.withdrawn and not any(
            u.provider == provider and u.state is UploadState.DELETING and why_of(u) is Why.ORDERED
            for u in self._by_build.get(build.id, ())
        )

    def _tells_nothing(self, upload: Upload) -> bool:
        """Whether a failure is history: a success followed, or another failure, or its build goes."""
        if self._unreadable:
            return False
        if upload.build not in self._builds or self._ends[upload.build] is not None:
            return True
        return any(
            (other.state is UploadState.READY and other.build == upload.build)
            or (other.state is UploadState.READY and other.state_time > upload.state_time)
            or (
                other.state is UploadState.FAILED
                and other.build == upload.build
                and (other.state_time, other.id) > (upload.state_time, upload.id)
            )
            for other in self._by_provider[upload.provider]
        )

    def _left_alone(self, upload: Upload) -> Waiting | None:
        """An upload to a provider that is not configured here; told about only where it may be what remains."""
        until = self._world.unserved_at(upload.provider)
        build = self._builds.get(upload.build)
        if until is None or build is None or upload.build in self._kept_builds:
            return None
        return self._waiting(upload.path, "provider-unserved", until)

    def _removal(self, upload: Upload, why: Why, *, keep_record: bool = False) -> RemoveUpload | Waiting:
        if upload.state in (UploadState.UPLOADING, UploadState.DELETING) and self._is_at_work(upload):
            return Waiting(path=upload.path, reason="uploading")
        if self._is_in_use(upload, why):
            return Waiting(path=upload.path, reason="in-use")
        unknown = self._standing[upload.provider] is _Standing.UNKNOWN
        if unknown and upload.cloud is None and self._may_be_in_cloud(upload):
            return Waiting(path=upload.path, reason="provider-unknown")
        late = late_until(upload, self._world.tuning, self._world.now)
        return RemoveUpload(upload=upload, why=why, keep_record=keep_record, late_until=late)

    def _is_in_use(self, upload: Upload, why: Why) -> bool:
        nodes = self._snapshot.nodes_from(upload.path)
        if why is Why.ORDERED:
            return any(node.state in (NodeState.INIT, NodeState.BUILDING) for node in nodes)
        return bool(nodes)

    def _may_be_in_cloud(self, upload: Upload) -> bool:
        late = late_until(upload, self._world.tuning, self._world.now)
        return bool(upload.external_id or upload.staged or late)

    # Builds

    def _of_build(self, build: Build) -> DropBuild | ForgetBuild | Waiting | None:
        why = self._ends[build.id]
        if build.state is BuildState.DELETING:
            return self._forgetting(build, why_of(build))
        if why is not None:
            return DropBuild(build=build, why=why)
        if self._disk and build.state is BuildState.BUILDING and self._is_free():
            return self._waiting(build.name, "building", self._given_up_at(build))
        return None

    def _forgetting(self, build: Build, why: Why) -> ForgetBuild | Waiting | None:
        """Its builder lets go of the files first: without the record it would keep them for a long grace."""
        if self._by_build.get(build.id) or self._unreadable:
            return None
        if (build.image, build.id) in self._facts.busy_builds:
            return Waiting(path=build.name, reason="building")
        until = build.state_time + self._world.tuning.abandoned_after
        if (build.builder_id or "").strip() != self._facts.builder_id and self._world.now < until:
            return Waiting(path=build.name, reason="its-builder", until=until)
        return ForgetBuild(build=build, why=why)

    # Files

    def _files(self) -> Iterator[DropFile]:
        if self._disk is None or not self._disk.build.delete_after_upload or self._unreadable:
            return
        for build in self._builds.values():
            formats = self._facts.files.get((self._image, build.id), ())
            if not formats or build.state is not BuildState.READY or not self._is_uploaded(build):
                continue
            needed = {*self._disk.build.keep_formats, *self._formats_needed(build)}
            for image_format in formats:
                if image_format not in needed and "" not in needed:
                    yield DropFile(image=self._image, build=build.id, image_format=image_format)

    def _is_uploaded(self, build: Build) -> bool:
        """Whether it is in some cloud, and not on its way to another."""
        states = {upload.state for upload in self._by_build.get(build.id, ())}
        return UploadState.READY in states and UploadState.UPLOADING not in states

    def _formats_needed(self, build: Build) -> Iterator[str]:
        """Of providers that still lack it; "" for one whose format is not known now: it may be any."""
        have = {u.provider for u in self._by_build.get(build.id, ()) if u.state is UploadState.READY}
        for provider in self._world.settings.providers:
            if provider not in have and self._wants(provider, build, paused=True):
                yield self._facts.image_formats.get(provider, "")
