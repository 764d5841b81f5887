"""What the janitor knows beside the records: what this process does, has on its disk, and since when it sees things."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from poolmgr.builder.context import Parts
from poolmgr.config.settings import OpenStackProvider
from poolmgr.model.image import BuildState, UploadState
from poolmgr.model.snapshot import Snapshot
from poolmgr.policy.removals import RetentionFacts
from poolmgr.policy.uploads import LocalFiles


class Observations:
    """`observe` is called by one thread at a time; `facts` by any."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._epoch = parts.store.epoch
        self._facts = RetentionFacts(builder_id=parts.identity.id)

    def observe(self, snapshot: Snapshot, files: LocalFiles) -> None:
        """Take note of what `snapshot` shows. After a lost session everyone's locks were gone: times begin anew."""
        epoch, now = self._parts.store.epoch, self._parts.clock.time()
        before = self._facts if epoch == self._epoch else RetentionFacts(builder_id=self._facts.builder_id)
        self._epoch = epoch
        self._facts = replace(
            before,
            files=files,
            image_formats={name: place.image_format for name, place in self._parts.providers().items()},
            free_since=_since(before.free_since, _free(snapshot), now),
            unserved_since=_since(before.unserved_since, self._unserved(snapshot), now),
        )

    def facts(self, *, holding: str | None = None) -> RetentionFacts:
        """As of the last look, but for what this process works on: that is as of now."""
        activity = self._parts.activity
        return replace(
            self._facts, busy_builds=activity.builds, busy_uploads=activity.uploads, holding=holding
        )

    def _unserved(self, snapshot: Snapshot) -> set[str]:
        served = {pool.provider_name for pool in snapshot.pools()}
        known = self._parts.settings().providers
        return {
            provider
            for provider in {upload.provider for upload in snapshot.uploads()} - served
            if not isinstance(known.get(provider), OpenStackProvider)
        }


def _since(before: Mapping[str, float], seen: set[str] | Iterator[str], now: float) -> Mapping[str, float]:
    return {one: before.get(one, now) for one in seen}


def _free(snapshot: Snapshot) -> Iterator[str]:
    """What seems to be going on though nobody has its lock."""
    for upload in snapshot.uploads():
        where = upload.image, upload.build, upload.provider
        if upload.state is UploadState.UPLOADING and not snapshot.upload_locked(*where):
            yield upload.path
    for build in snapshot.builds():
        if build.state is BuildState.BUILDING and not snapshot.build_locked(build.image):
            yield build.name
