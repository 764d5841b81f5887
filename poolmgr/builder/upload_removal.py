"""How one upload goes: marked DELETING, then out of the cloud with all that was staged for it, then its record.

Each step may be repeated, so a crash anywhere leaves a record from which the next pass goes on: the record goes only
after the cloud has said that the image is gone.
"""

from __future__ import annotations

import enum
import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from poolmgr.builder.context import ImageProvider, Parts
from poolmgr.builder.upload_spec import owner_of
from poolmgr.errors import CloudUnavailable, LockLost, RecordGone, Rejected
from poolmgr.model.cloud_image import StagedObject
from poolmgr.model.image import BuildState, Upload, UploadState
from poolmgr.model.server import Listing
from poolmgr.policy.image_leaks import of_cut_off_upload
from poolmgr.policy.removals import RemoveUpload, Retention, Why
from poolmgr.store.api import Lock

log = logging.getLogger(__name__)

#: Between what a record told before and what keeps its image in the cloud.
STILL = "; still there: "
Thing = TypeVar("Thing")
_REASON_LIMIT = 500  # characters


class Outcome(enum.Enum):
    GONE = "gone"  # the record too
    CLEARED = "cleared"  # the cloud's part; the record stays, to tell of the failure
    LATE = "late"  # nothing is there now, but something may come
    MOVED = "moved"  # the record changed, or it does not go any more: the next pass sees


class UploadRemoval:
    """`ask`: the policy's answer for an image as things are now; its argument `holding` as in `RetentionFacts`."""

    def __init__(
        self, parts: Parts, ask: Callable[[str, str | None], Retention], stopping: threading.Event
    ) -> None:
        self._parts, self._store, self._ask, self._stopping = parts, parts.store, ask, stopping

    def carry_out(self, upload: Upload, place: ImageProvider | None) -> Outcome:
        """Remove it through `place`, its cloud; None: it is not known, and nothing can be there.

        Raises CloudError (what refuses for good is told in the record), and StoreError.
        """
        if upload.state is UploadState.UPLOADING:
            abandoned = self._abandon(upload)
            if abandoned is None:
                return Outcome.MOVED
            upload = abandoned
        lock, fresh = self._store.lock_upload(upload)
        try:
            act = self._judged(fresh)
            if act is not None and not act.keep_record and fresh.state is not UploadState.DELETING:
                fresh = self._marked(fresh, act.why, lock)
                act = self._judged(fresh)  # a node may have chosen it before it saw the mark
            return Outcome.MOVED if act is None else self._remove(act, fresh, place, lock)
        finally:
            self._store.unlock(lock)

    def _abandon(self, upload: Upload) -> Upload | None:
        """Marked under the lock of those who upload, so that none of them takes it up again; None: it does not go."""
        lock = self._store.lock_uploads(upload.image, upload.build, upload.provider)
        try:
            act = self._judged(upload, holding=upload.path)
            return self._marked(act.upload, act.why, lock) if act else None
        finally:
            self._store.unlock(lock)

    def _judged(self, fresh: Upload, *, holding: str | None = None) -> RemoveUpload | None:
        """What the policy says now about this very state of the record."""
        for act in self._ask(fresh.image, holding).uploads:
            if act.upload.path == fresh.path and act.upload.version == fresh.version:
                return act
        return None

    def _marked(self, upload: Upload, why: Why, lock: Lock) -> Upload:
        log.info("%s goes: %s", upload.path, why.value)
        now = self._parts.clock.time()
        marked = replace(upload, state=UploadState.DELETING, state_time=now, reason=why.value, phase=None)
        return self._store.save_upload(marked, lock)

    def _remove(self, act: RemoveUpload, upload: Upload, place: ImageProvider | None, lock: Lock) -> Outcome:
        if act.why is Why.ORDERED:
            self._withdraw(upload)
        try:
            if place is not None:
                self._clear(upload, place, lock)
        except Rejected as error:
            self._tell(upload, act, str(error), lock)
            raise
        if act.late_until is not None:
            return Outcome.LATE
        if act.keep_record:
            self._store.save_upload(replace(upload, external_id=None, staged=None), lock)
            return Outcome.CLEARED
        self._store.delete_upload(upload, lock)
        log.info("%s is gone", upload.path)
        return Outcome.GONE

    def _withdraw(self, upload: Upload) -> None:
        """Keep it known that this build is not wanted there, before the record that says so goes."""
        with self._store.reading() as snapshot:
            build = snapshot.build(upload.image, upload.build)
        if build is None or build.state is BuildState.DELETING or upload.provider in build.withdrawn:
            return
        try:
            self._store.save_build(replace(build, withdrawn=(*build.withdrawn, upload.provider)))
        except RecordGone:
            log.debug("build %s is gone", build.name)

    # In the cloud

    def _clear(self, upload: Upload, place: ImageProvider, lock: Lock) -> None:
        """An image whose id no record has is looked for, by its properties and its name."""
        cloud = place.images
        if upload.external_id:
            self._sure(lock)
            cloud.delete_image(upload.external_id)
        else:
            images = _whole(cloud.list_images())
            with self._store.reading() as snapshot:
                found = of_cut_off_upload(snapshot, upload, images, self._parts.identity.deployment)
            for image in found:
                self._sure(lock)
                log.info("%s: deleting image %s, which it left", upload.path, image.id)
                cloud.delete_image(image.id)
        if upload.staged or upload.method == "tasks":
            for staged in _whole(cloud.list_staged()).items.values():
                if self._is_staged_for(upload, staged):
                    self._sure(lock)
                    cloud.delete_staged(staged)

    def _is_staged_for(self, upload: Upload, staged: StagedObject) -> bool:
        owner = owner_of(upload, self._parts.identity.deployment)
        return staged.owner == owner or f"{staged.container}/{staged.name}" == upload.staged

    def _sure(self, lock: Lock) -> None:
        """Before each act that cannot be taken back. Raises LockLost."""
        sure = self._store.connected and self._store.fresh and lock.valid
        if self._stopping.is_set() or not sure:
            raise LockLost(f"{lock.path}: not held for sure")

    def _tell(self, upload: Upload, act: RemoveUpload, message: str, lock: Lock) -> None:
        """Why it takes long, in the record, once."""
        if upload.state is UploadState.DELETING and act.why is not Why.ORDERED:
            reason = f"{act.why.value}: {message}"
        else:
            reason = (upload.reason or act.why.value).partition(STILL)[0] + STILL + message
        reason = reason[:_REASON_LIMIT]
        if reason != upload.reason:
            log.warning("%s stays in the cloud for now: %s", upload.path, message)
            self._store.save_upload(replace(upload, reason=reason), lock)


def _whole(listing: Listing[Thing]) -> Listing[Thing]:
    """Raises CloudUnavailable for a list that may lack what is looked for."""
    if not listing.complete:
        raise CloudUnavailable("the cloud's list is not complete")
    return listing
