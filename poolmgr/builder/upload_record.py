"""The record of one upload, as long as it is ours to write: under its lock, which may have to be taken again.

A session that ends in mid-upload takes the lock with it, but neither the bytes nor the cloud know of it. So writes wait
for the store to come back, take the lock again if nobody else has, and go on where the record says what we last wrote.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import replace
from typing import Any

from poolmgr.builder.context import Parts
from poolmgr.errors import Conflict, LockBusy, LockLost, RecordGone, StoreUnavailable
from poolmgr.model.image import Upload, UploadState
from poolmgr.store.api import Lock

log = logging.getLogger(__name__)

RETRY = 1.0  # seconds between tries at a store that is away


class UploadRecord:
    """Owned by the thread of the upload; others may read `upload`."""

    def __init__(self, parts: Parts, lock: Lock, upload: Upload) -> None:
        self.upload = upload  # as last written or read
        self._parts = parts
        self._lock = lock

    def write(self, ended: threading.Event, **changes: Any) -> None:
        """Store the changes, waiting for a store that is away, for as long as other builders leave us the record.

        Raises RecordGone when a person deleted the upload, LockBusy when someone else has it now, StoreUnavailable
        when it took too long or `ended` was set meanwhile.
        """
        clock = self._parts.clock
        deadline = clock.monotonic() + self._parts.tuning.lost_lock_grace
        while True:
            try:
                return self._write(changes)
            except (StoreUnavailable, LockLost) as error:
                if ended.is_set() or clock.monotonic() >= deadline:
                    raise StoreUnavailable(f"{self.upload.path}: not written: {error}") from error
            clock.wait(ended, RETRY)

    def note(self, **changes: Any) -> None:
        """Store changes that are for people to look at: not, when the store is away. Raises as `write` does."""
        try:
            self._write(changes)
        except (StoreUnavailable, LockLost) as error:
            log.debug("%s: not written: %s", self.upload.path, error)

    def remove(self) -> None:
        """Delete the record, unless someone has changed it meanwhile. Raises StoreUnavailable."""
        try:
            self._parts.store.delete_upload(self.upload)
        except Conflict as error:
            log.info("%s stays: %s", self.upload.path, error)

    def let_go(self) -> None:
        """Release the lock. Never raises."""
        self._parts.store.unlock(self._lock)

    def _write(self, changes: dict[str, Any]) -> None:
        if not self._lock.valid:
            self._take_again()
        store = self._parts.store
        while True:
            try:
                self.upload = store.save_upload(replace(self.upload, **changes), self._lock)
                return
            except Conflict:
                found = store.read_upload(self.upload.path)
            if replace(found, **changes) == found:  # a write of ours whose answer was lost
                self.upload = found
                return
            self._must_be_ours(found)
            self.upload = found

    def _take_again(self) -> None:
        upload, store = self.upload, self._parts.store
        lock = store.lock_uploads(upload.image, upload.build, upload.provider)
        log.info("%s: the lock was lost and taken again", upload.path)
        self._lock = lock

    def _must_be_ours(self, found: Upload) -> None:
        if found.state is not UploadState.UPLOADING:
            raise RecordGone(f"{found.path} was set to {found.state.value}")
        if found.builder_id != self.upload.builder_id:
            raise LockBusy(f"{found.path} was taken over by builder {found.builder_id}")
