"""An upload under way: whether it must end, what it has made in the cloud, and what its record says of that.

The image's id, and where bytes are staged, are in the record before the first byte goes out: whoever finds the record
after a crash finds the rest.
"""

from __future__ import annotations

import threading
from typing import Any

from poolmgr.builder.context import Parts
from poolmgr.builder.upload_record import UploadRecord
from poolmgr.model.cloud_image import UploadPhase, UploadProgress
from poolmgr.policy.upload_end import UploadEnd, upload_end

#: The phase of an image that is whole and is being tried; its hook has let it pass.
VALIDATING = "validating"


class UploadWatch:
    """`look` and `end` come from any thread, the rest from the upload's own."""

    def __init__(self, parts: Parts) -> None:
        self.ending: UploadEnd | None = None
        self.cancelled = threading.Event()
        self.whole = False  # the image is in the cloud, complete
        self.image_id: str | None = None  # of the image that this upload has made or found
        self.staged: str | None = None
        self._parts = parts
        self._record: UploadRecord | None = None
        self._passed: str | None = None  # id of the image whose hook let it pass, in an earlier attempt
        self._told: UploadProgress | None = None
        self._note_at = 0.0  # monotonic; the next time that only bytes have moved

    @property
    def record(self) -> UploadRecord | None:
        return self._record

    def attend(self, record: UploadRecord) -> None:
        """From now on this is what is watched."""
        upload = record.upload
        self._record = record
        self._passed = upload.external_id if upload.phase == VALIDATING else None
        self.image_id, self.staged = upload.external_id, upload.staged

    def passed_hook(self) -> bool:
        """Whether the image, which is whole, has passed the hook before."""
        return self._passed is not None and self._passed == self.image_id

    def end(self, why: UploadEnd) -> None:
        """Make it end soon."""
        if self.ending is None:
            self.ending = why
        self.cancelled.set()

    def look(self) -> None:
        """End it if the store or the settings say so."""
        store, record = self._parts.store, self._record
        if record is None or self.cancelled.is_set():
            return
        with store.reading() as snapshot:
            if not store.connected:  # what it shows is old
                return
            why = upload_end(snapshot, self._parts.settings(), record.upload)
        if why is not None:
            self.end(why)

    def progress(self, told: UploadProgress) -> None:
        """For `ImageCloud.upload_image`. Raises what `UploadRecord.write` does."""
        assert self._record is not None
        before, self._told, now = self._told, told, self._parts.clock.monotonic()
        self.look()
        self.image_id = told.image_id or self.image_id
        self.staged = told.staged or self.staged
        upload = self._record.upload
        if (self.image_id, self.staged) != (upload.external_id, upload.staged):
            named = {"external_id": self.image_id, "staged": self.staged}
            self._record.write(self.cancelled, **named, **self._stage(told))
        elif self._is_news(before, told) or now >= self._note_at:
            self._record.note(**self._stage(told))
        else:
            return
        self._note_at = now + self._parts.tuning.progress_interval

    @staticmethod
    def _is_news(before: UploadProgress | None, told: UploadProgress) -> bool:
        return before is None or (before.phase, before.method) != (told.phase, told.method)

    def may_come_late(self) -> bool:
        """Whether the cloud may still be making an image that does not name us: a task cannot be called back."""
        told = self._told
        return (
            not self.whole and told is not None and bool(told.staged) and told.phase is UploadPhase.IMPORTING
        )

    def _stage(self, told: UploadProgress) -> dict[str, Any]:
        stage = {"method": told.method, "sent": told.sent}
        if self.passed_hook():
            return stage  # that it passed is not forgotten while it is found again
        return {**stage, "phase": told.phase.value}
