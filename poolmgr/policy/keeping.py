"""What of one image's builds and uploads stays: what serves, what may serve again, and what someone is at work on."""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from poolmgr.config.settings import OpenStackProvider, Settings
from poolmgr.model.component import ComponentKind, ComponentState
from poolmgr.model.image import Build, BuildState, Upload, UploadState
from poolmgr.model.snapshot import Snapshot
from poolmgr.policy import image_times
from poolmgr.policy.image_tuning import ImageTuning
from poolmgr.policy.removals import RetentionFacts, Why
from poolmgr.policy.uploads import AUTOMATIC, UploadDue, upload_of


def why_of(record: Build | Upload) -> Why:
    """Why a DELETING record is to go."""
    word = (record.reason or "").partition(":")[0]
    return Why(word) if word in AUTOMATIC else Why.ORDERED


class Standing(enum.Enum):
    """What a provider is to an image."""

    LISTED = "listed"
    NOT_LISTED = "not-listed"
    UNKNOWN = "unknown"  # not in the settings: another builder's, or removed


@dataclass(frozen=True)
class World:
    """What the answers for all images are made from."""

    snapshot: Snapshot
    settings: Settings
    facts: RetentionFacts
    tuning: ImageTuning
    now: float

    def provider(self, name: str) -> OpenStackProvider | None:
        found = self.settings.providers.get(name)
        return found if isinstance(found, OpenStackProvider) else None

    def standing(self, name: str, image: str) -> Standing:
        provider = self.provider(name)
        if provider is None:
            return Standing.UNKNOWN
        return Standing.LISTED if image in provider.diskimages else Standing.NOT_LISTED

    def unserved_at(self, name: str) -> float | None:
        """From when on an unknown provider counts as removed; None while a launcher serves it."""
        if any(pool.provider_name == name for pool in self.snapshot.pools()):
            return None
        return self.facts.unserved_since.get(name, self.now) + self.tuning.lost_lock_grace

    def given_up_at(self, record: Build | Upload, key: str) -> float:
        """From when on it counts as left by its builder that nobody has the lock of what is under `key`."""
        if record.builder_id == self.facts.builder_id:
            return self.now
        tuning = self.tuning
        grace = tuning.lost_lock_grace if self._is_alive(record.builder) else tuning.abandoned_after
        return self.facts.free_since.get(key, self.now) + grace

    def ended_at(self, record: Build | Upload) -> float:
        """When it came into its state; long ago if only times from the future are told."""
        ended = image_times.ended_at(record, self.now, self.tuning.clock_skew)
        return float("-inf") if ended is None else ended

    def _is_alive(self, builder: str | None) -> bool:
        """Whether the builder is registered. Records name its FQDN, components its host name."""
        names = {builder, (builder or "").partition(".")[0]}
        return any(
            one.hostname in names and one.state is not ComponentState.STOPPED
            for one in self.snapshot.components(ComponentKind.BUILDER)
        )


class Keeping:
    """The builds and uploads of one image. `ends`: by build, why it goes or is going, None if it stays."""

    def __init__(self, world: World, image: str, uploads: Collection[Upload]) -> None:
        self.world, self.image, self.uploads = world, image, uploads
        self.disk = world.settings.diskimages.get(image)
        self.unreadable = world.snapshot.image_unreadable(image)
        self.builds = {build.id: build for build in world.snapshot.builds_of(image)}
        self.by_build: dict[str, list[Upload]] = {}
        self.by_provider: dict[str, list[Upload]] = {}
        for upload in uploads:
            self.by_build.setdefault(upload.build, []).append(upload)
            self.by_provider.setdefault(upload.provider, []).append(upload)
        self.standing = {provider: world.standing(provider, image) for provider in self.by_provider}
        self._ready = self._newest_first(b for b in self.builds.values() if b.state is BuildState.READY)
        keep = self.disk.build.keep_builds if self.disk else 0
        self.kept_builds = {build.id for build in self._ready[:keep]}
        self.kept_uploads = {path for provider in self.by_provider for path in self._kept_at(provider)}
        self.ends = {build.id: self._end_of(build) for build in self.builds.values()}

    def _newest_first(self, records: Iterable[image_times.R]) -> list[image_times.R]:
        return image_times.in_order(records, self.world.now, self.world.tuning.clock_skew)[::-1]

    def _kept_at(self, provider: str) -> Iterator[str]:
        """Paths of uploads that serve or may again: the newest, that of the newest build, and what launchers take."""
        if self.disk is None or self.standing[provider] is not Standing.LISTED:
            return
        serving = [u for u in self.by_provider[provider] if self._serves(u)]
        if len(serving) <= self.disk.build.keep_uploads:  # so it is mostly, and that has to be cheap
            yield from (upload.path for upload in serving)
            return
        serving = self._newest_first(serving)
        yield from (upload.path for upload in serving[: self.disk.build.keep_uploads])
        yield from (upload.path for upload in [u for u in serving if u.build == self._newest_id][:1])
        yield max(serving, key=lambda upload: upload.state_time).path

    @property
    def _newest_id(self) -> str | None:
        return self._ready[0].id if self._ready else None

    def _serves(self, upload: Upload) -> bool:
        build = self.builds.get(upload.build)
        ordered = build is not None and build.state is BuildState.DELETING and why_of(build) is Why.ORDERED
        return upload.state is UploadState.READY and bool(upload.external_id) and not ordered

    # Builds

    def _end_of(self, build: Build) -> Why | None:
        if build.state is BuildState.DELETING:
            return why_of(build)
        if self.disk is None or (build.image, build.id) in self.world.facts.busy_builds:
            return None
        match build.state:
            case BuildState.READY:
                return None if self._is_needed(build) else Why.SURPLUS
            case BuildState.FAILED:
                return Why.FAILED if self._is_followed(build) else None
            case BuildState.BUILDING:
                given_up = self.is_free and self.world.now >= self.world.given_up_at(build, build.name)
                return Why.ABANDONED if given_up else None

    def _is_needed(self, build: Build) -> bool:
        return build.id in self.kept_builds or any(map(self._holds, self.by_build.get(build.id, ())))

    def _holds(self, upload: Upload) -> bool:
        """Whether the upload keeps its build, which is old."""
        if upload.state is UploadState.DELETING:
            return False
        if self.standing[upload.provider] is Standing.UNKNOWN:
            return not self.is_unserved(upload.provider)
        return upload.path in self.kept_uploads or self.is_going_on(upload)

    def _is_followed(self, build: Build) -> bool:
        """Whether a failure is not the last thing to tell about the image."""
        mine = self.world.ended_at(build), build.id
        return any(
            (self.world.ended_at(other), other.id) > mine
            for other in self.builds.values()
            if other.state in (BuildState.READY, BuildState.FAILED)
        )

    @property
    def is_free(self) -> bool:
        """Whether nobody can be building: it is one build of an image at a time."""
        return self.world.facts.holding == self.image or not self.world.snapshot.build_locked(self.image)

    # Uploads

    def is_unserved(self, provider: str) -> bool:
        """Whether an unknown provider counts as removed."""
        at = self.world.unserved_at(provider)
        return at is not None and self.world.now >= at

    def is_going_on(self, upload: Upload) -> bool:
        """Whether someone is uploading it, or will go on, or may do so still."""
        return upload.state is UploadState.UPLOADING and (
            self.is_at_work(upload)
            or self._is_resumable(upload)
            or self.world.now < self.world.given_up_at(upload, upload.path)
        )

    def is_at_work(self, upload: Upload) -> bool:
        facts = self.world.facts
        if upload.path in facts.busy_uploads:
            return True
        where = upload.image, upload.build, upload.provider
        return facts.holding != upload.path and self.world.snapshot.upload_locked(*where)

    def _is_resumable(self, upload: Upload) -> bool:
        """Whether the upload workers here take it up again."""
        world, facts = self.world, self.world.facts
        provider = world.provider(upload.provider)
        if provider is None or upload.build != self._newest_id:
            return False
        image_format = facts.image_formats.get(provider.name)
        if image_format is None:  # not reachable now: it may be
            return True
        due = upload_of(
            world.snapshot,
            world.settings,
            provider,
            self.image,
            image_format,
            facts.files,
            world.tuning,
            world.now,
            holding_lock=True,
        )
        return isinstance(due, UploadDue) and due.resume is not None and due.resume.path == upload.path

    def wants(self, name: str, build: Build) -> bool:
        """Whether the provider lists the image, and nobody has withdrawn this build from it."""
        provider = self.world.provider(name)
        if provider is None or self.image not in provider.diskimages or name in build.withdrawn:
            return False
        return not any(
            u.provider == name and u.state is UploadState.DELETING and why_of(u) is Why.ORDERED
            for u in self.by_build.get(build.id, ())
        )
