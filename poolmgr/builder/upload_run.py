"""One upload, from the lock to a record that is READY or FAILED, on a thread of its provider.

    lock -> ask again -> record UPLOADING -> bytes, the image's id stored before the first -> hook -> trial -> READY

Whatever cuts it off leaves a record that names what may be in the cloud, or nothing in the cloud. When the builder
stops, what is whole stays and is taken up again by the next; what is half is removed.
"""

from __future__ import annotations

import enum
import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from poolmgr.builder.context import ImageProvider, Parts
from poolmgr.builder.files import ImageFiles
from poolmgr.builder.hook import HookFailed, run_hook
from poolmgr.builder.upload_plan import UploadPlan, plan_upload
from poolmgr.builder.upload_record import UploadRecord
from poolmgr.builder.upload_watch import VALIDATING, UploadWatch
from poolmgr.cloud.api import Trial, TrialResult
from poolmgr.config.settings import OpenStackProvider
from poolmgr.errors import (
    CloudError,
    ConfigError,
    LockBusy,
    PoolmgrError,
    ProcessFailed,
    RecordGone,
    StoreError,
)
from poolmgr.model.cloud_image import StagedObject, UploadPhase
from poolmgr.model.image import Upload, UploadState
from poolmgr.observe.context import context_logger
from poolmgr.policy.image_times import ready_time
from poolmgr.policy.upload_end import UploadEnd
from poolmgr.policy.uploads import UploadDue, upload_of
from poolmgr.store.api import Lock

log = logging.getLogger(__name__)

#: Characters of a failure, and of what a trial said, that go into the record.
MOST_REASON = 1000
MOST_EVIDENCE = 16 << 10

Pacing = Callable[[threading.Event], Callable[[int], None]]


class Result(enum.Enum):
    """How `UploadRun.go` ended."""

    DONE = "done"  # a record says how it went, or there was nothing to do
    LEFT = "left"  # cut off: to be taken up again, after a rest
    UNDECIDED = "undecided"  # the image is whole; whether it is good could not be found out: `go` again later


class TrialFailed(PoolmgrError):
    """The image did not pass. `evidence` is what it said."""

    def __init__(self, message: str, evidence: str = "") -> None:
        super().__init__(message)
        self.evidence = evidence


class UploadRun:
    """One upload of a build to a provider. `go` runs on one thread; `look` and `end` come from any.

    `pacing` makes what waits before each block, until the event it is given is set.
    """

    def __init__(
        self, parts: Parts, place: ImageProvider, files: ImageFiles, due: UploadDue, pacing: Pacing
    ) -> None:
        self.image, self.build = due.image, due.build.id
        self.place = place
        self._parts, self._files, self._pacing = parts, files, pacing
        self._watch = UploadWatch(parts)
        self._log = context_logger(log, provider=place.name, image=due.image, build=due.build.id)

    def __str__(self) -> str:
        record, ending = self._watch.record, self._watch.ending
        state = f"{record.upload.phase} {record.upload.sent}/{record.upload.size}" if record else "beginning"
        return f"{self.image}-{self.build} {state}" + (f", ending: {ending.value}" if ending else "")

    # From any thread

    @property
    def ending(self) -> UploadEnd | None:
        return self._watch.ending

    def look(self) -> None:
        """End it if the store or the settings say so."""
        self._watch.look()

    def end(self, why: UploadEnd) -> None:
        self._watch.end(why)

    # On the upload's thread

    def go(self) -> Result:
        """Carry the upload out, or what is left to do of it."""
        result = Result.LEFT
        try:
            result = self._go()
        except RecordGone as error:
            self._log.info(
                "upload of %s to %s is not wanted any more: %s", self.image, self.place.name, error
            )
            self._clear()
            result = Result.DONE
        except LockBusy as error:
            self._log.info(
                "upload of %s to %s: someone else is at it: %s", self.image, self.place.name, error
            )
        except StoreError as error:
            self._log.warning("upload of %s to %s goes on later: %s", self.image, self.place.name, error)
        finally:
            if result is not Result.UNDECIDED:
                self._let_go()
        return result

    def give_up(self) -> Result:
        """In place of `go`, for one that is UNDECIDED and was ended."""
        record = self._watch.record
        try:
            return self._give_up(record) if record else Result.DONE
        except StoreError as error:
            self._log.warning(
                "upload of %s to %s is cleared away later: %s", self.image, self.place.name, error
            )
            return Result.LEFT
        finally:
            self._let_go()

    def _let_go(self) -> None:
        record = self._watch.record
        if record is not None:
            self._parts.activity.end_upload(record.upload.path)
            record.let_go()

    def _go(self) -> Result:
        record = self._watch.record or (None if self.ending else self._begin())
        if record is None:
            return Result.DONE
        try:
            return self._carry_out(record)
        except (CloudError, ConfigError, ProcessFailed, HookFailed, TrialFailed) as error:
            return self._give_up(record) if self.ending else self._fail(record, error)

    def _begin(self) -> UploadRecord | None:
        """Lock, ask again, store the record. None if there is nothing to do."""
        store = self._parts.store
        lock, record = store.lock_uploads(self.image, self.build, self.place.name), None
        try:
            record = self._recorded(lock)
        finally:
            if record is None:
                store.unlock(lock)
        if record is not None:
            self._watch.attend(record)
            self._parts.activity.begin_upload(record.upload.path, self._parts.clock.time())
            self._log = context_logger(self._log, upload=record.upload.id)
        return record

    def _recorded(self, lock: Lock) -> UploadRecord | None:
        due = self._ask_again()
        if due is None:
            return None
        if due.resume is not None:  # with the next write
            return UploadRecord(self._parts, lock, replace(due.resume, **self._beginning(due)))
        new = Upload(
            image=self.image,
            build=self.build,
            provider=self.place.name,
            state=UploadState.UPLOADING,
            state_time=self._parts.clock.time(),
            phase=UploadPhase.PREPARING.value,
            **self._beginning(due),
        )
        return UploadRecord(self._parts, lock, self._parts.store.create_upload(new, lock))

    def _ask_again(self) -> UploadDue | None:
        parts, settings = self._parts, self._parts.settings()
        provider = settings.providers.get(self.place.name)
        if not isinstance(provider, OpenStackProvider):
            return None
        files, now, image_format = self._files.local(), parts.clock.time(), self.place.image_format
        with parts.store.reading() as snapshot:
            answer = upload_of(
                snapshot,
                settings,
                provider,
                self.image,
                image_format,
                files,
                parts.tuning,
                now,
                holding_lock=True,
            )
        return answer if isinstance(answer, UploadDue) and answer.build.id == self.build else None

    def _beginning(self, due: UploadDue) -> dict[str, Any]:
        """What the record says of an attempt, a first one or one that takes another up."""
        identity = self._parts.identity
        return {
            "format": due.image_format,
            "username": due.build.username,
            "python_path": due.build.python_path,
            "shell_type": due.build.shell_type,
            "builder": identity.fqdn,
            "builder_id": identity.id,
            "cloud": self.place.cloud,
            "region": self.place.region,
            "started": self._parts.clock.time(),
            "failures": due.failures,
        }

    # The steps

    def _carry_out(self, record: UploadRecord) -> Result:
        plan = plan_upload(self._parts, self._files, record.upload)
        trial = plan.trial("")  # before any byte: one that cannot be made fails the upload
        if not self._watch.whole:
            self._upload(record, plan)
        if trial is not None:
            try:
                self._try(record, plan)
            except (CloudError, ConfigError) as error:  # that an image is bad is no error but a result
                return self._give_up(record) if self.ending else self._undecided(record, error)
        return self._ready(record)

    def _upload(self, record: UploadRecord, plan: UploadPlan) -> None:
        """Returns once the image is whole in the cloud, and the hook has nothing against it."""
        watch = self._watch
        record.write(
            watch.cancelled,
            external_name=plan.name,
            size=plan.file.size,
            sha256=plan.file.sha256 or None,
            reason=None,
        )
        self._log.info("uploading %s to %s as %s", plan.file.path, self.place.name, plan.name)
        image = self.place.images.upload_image(
            plan.spec(record.upload),
            progress=watch.progress,
            cancelled=watch.cancelled,
            timeout=plan.provider.image_upload_timeout,
            pace=self._pacing(watch.cancelled),
        )
        watch.whole, watch.image_id, watch.staged = True, image.id, None
        record.write(watch.cancelled, external_id=image.id, staged=None, sent=plan.file.size)
        if plan.provider.post_upload_hook and not watch.passed_hook():
            run_hook(
                [plan.provider.post_upload_hook, plan.provider.name, image.id, plan.file.path],
                timeout=self._parts.tuning.hook_timeout,
                ended=watch.cancelled,
                clock=self._parts.clock,
                log=self._log,
            )

    def _try(self, record: UploadRecord, plan: UploadPlan) -> None:
        """Raises TrialFailed, and what `Canary.try_image` raises."""
        record.write(self._watch.cancelled, phase=VALIDATING)
        trial = plan.trial(self._watch.image_id or "")
        assert isinstance(trial, Trial)
        self._log.info("image %s in %s is tried with label %s", plan.name, self.place.name, trial.label.name)
        result = self.place.canary.try_image(trial, cancelled=self._watch.cancelled)
        if not result.passed:
            raise TrialFailed(f"the image did not pass its trial: {result.reason}", evidence_of(result))

    # How it ends

    def _ready(self, record: UploadRecord) -> Result:
        now = self._parts.clock.time()
        record.write(
            self._watch.cancelled,
            state=UploadState.READY,
            state_time=self._ready_time(record.upload, now),
            phase=None,
            duration=now - (record.upload.started or now),
            reason=None,
            failures=0,
        )
        upload = record.upload
        self._log.info(
            "image %s in %s is ready: %s", upload.external_name, self.place.name, upload.external_id
        )
        self._tell_stats(upload, good=True)
        return Result.DONE

    def _ready_time(self, upload: Upload, now: float) -> float:
        """Launchers take the upload with the greatest time: clocks must not make that an older one."""
        with self._parts.store.reading() as snapshot:
            there = snapshot.uploads_to(upload.image, upload.provider)
            return ready_time([one for one in there if one.state is UploadState.READY], now)

    def _fail(self, record: UploadRecord, error: PoolmgrError) -> Result:
        """The previous image serves on; nothing of this one is left that no record names."""
        left, now = self._clear(), self._parts.clock.time()
        named = (self._watch.image_id, self._watch.staged) if left else (None, None)
        record.write(
            self._watch.cancelled,
            state=UploadState.FAILED,
            state_time=now,
            duration=now - (record.upload.started or now),
            external_id=named[0],
            staged=named[1],
            reason="; ".join(filter(None, (str(error), left)))[:MOST_REASON],
            evidence=getattr(error, "evidence", "") or None,
            failures=record.upload.failures + 1,
        )
        self._log.error("upload of %s to %s failed: %s", self.image, self.place.name, record.upload.reason)
        self._tell_stats(record.upload, good=False)
        return Result.DONE

    def _undecided(self, record: UploadRecord, error: CloudError | ConfigError) -> Result:
        self._log.warning("image %s cannot be tried now: %s", record.upload.external_name, error)
        record.note(reason=f"it cannot be tried now: {error}"[:MOST_REASON])
        return Result.UNDECIDED

    def _give_up(self, record: UploadRecord) -> Result:
        """It was ended, which is no failure."""
        why = self.ending
        self._log.info("upload of %s to %s ends: %s", self.image, self.place.name, why.value if why else "")
        if why is UploadEnd.STOPPING and self._watch.whole:
            return Result.LEFT
        left = self._clear()
        if why is not UploadEnd.DELETED and not left and not self._watch.may_come_late():
            record.remove()
        return Result.LEFT if left else Result.DONE

    def _clear(self) -> str:
        """Remove what is in the cloud; returns what could not be removed, and why."""
        image_id, staged = self._watch.image_id, self._watch.staged
        try:
            if image_id:
                self.place.images.delete_image(image_id)
            if staged:
                container, _, name = staged.partition("/")
                self.place.images.delete_staged(StagedObject(container=container, name=name))
        except CloudError as error:
            self._log.warning("image %s in %s is left: %s", image_id, self.place.name, error)
            return f"what it left in the cloud could not be removed: {error}"
        return ""

    def _tell_stats(self, upload: Upload, *, good: bool) -> None:
        self._parts.stats.upload_ended(
            upload.image, upload.provider, good=good, seconds=upload.duration or 0.0, size=upload.size or 0
        )


def evidence_of(result: TrialResult) -> str:
    """The ends of what a trial's command and its server's console said, for the record."""
    said = [("output", result.output), ("console", result.console)]
    return "\n".join(
        f"--- {title} ---\n{text[-MOST_EVIDENCE // 2 :]}" for title, text in said if text.strip()
    )
