"""Removes what `policy.retention` says: uploads from the clouds, files from the disk, then records.

Level-triggered: each pass looks at everything again, and what a crash has left is found by the next. A pass with
nothing to do asks the store's cache and the directory's listing, nothing else.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import replace

from poolmgr.builder.context import Parts
from poolmgr.builder.deletions import Deletions
from poolmgr.builder.disk import Disk
from poolmgr.builder.files import ImageFiles
from poolmgr.builder.image_sweep import ImageSweep
from poolmgr.builder.observations import Observations
from poolmgr.builder.upload_removal import UploadRemoval
from poolmgr.errors import ConfigError, Conflict, LockBusy, LockLost, RecordGone, StoreUnavailable
from poolmgr.model.image import Build, BuildState
from poolmgr.policy.removals import DropBuild, DropFile, ForgetBuild, Retention
from poolmgr.policy.retention import retention, retention_of
from poolmgr.runtime.worker import Worker
from poolmgr.store.api import Lock

log = logging.getLogger(__name__)

#: Idle cycles that may be missed until it counts as stuck.
PATIENCE = 5
_STORE_AWAY = 1.0  # seconds between looks at a store that is away

#: Someone else was faster, or has it: the next pass sees what is left to do.
_MOVED = (Conflict, LockBusy, LockLost, RecordGone)


class Janitor:
    """One of a builder's workers (`builder.crew.Member`)."""

    def __init__(self, parts: Parts) -> None:
        self._parts, self._store = parts, parts.store
        self._files = ImageFiles(
            parts.images_dir, deployment=parts.identity.deployment, builder_id=parts.identity.id
        )
        self._stopping = threading.Event()
        self._disk = Disk(parts, self._files)
        self._observations = Observations(parts)
        removal = UploadRemoval(parts, self._ask, self._stopping)
        self._deletions = Deletions(parts, removal, self.wake)
        self._sweep = ImageSweep(parts, lambda: self._disk.trusts_store, self._stopping, self.wake)
        self._worker = Worker(
            "image-janitor", self.cycle, parts.clock, retry_after=5.0, spacing=parts.tuning.cycle_spacing
        )
        self._waiting = 0

    def start(self) -> None:
        """Nobody else may be writing markers yet."""
        self._files.clear_drafts()
        self._worker.start()

    def wake(self) -> None:
        """Something has changed; from any thread."""
        self._worker.wake.set()

    def stop(self, timeout: float) -> bool:
        """Begin nothing more; whether all that ran has ended within `timeout` seconds."""
        deadline = self._parts.clock.monotonic() + timeout
        self._stopping.set()
        self._worker.stop()
        ended = self._worker.join(timeout)
        for one in (self._deletions, self._sweep):
            ended = one.drain(deadline - self._parts.clock.monotonic()) and ended
        return ended

    def describe(self) -> str:
        """One line for dumps."""
        trust = "" if self._disk.trusts_store else ", the store lacks records"
        return f"janitor: {self._deletions.describe()}, {self._waiting} that wait{trust}"

    def stalled(self, now: float) -> str | None:
        """Why it seems stuck; `now` in monotonic seconds."""
        silent = now - self._worker.last_cycle_at
        if silent <= PATIENCE * self._parts.tuning.idle_cycle:
            return None
        return f"janitor: no cycle for {silent:.0f} s"

    def cycle(self) -> float:
        """One pass; returns the seconds until the next one is due."""
        if self._stopping.is_set():
            return self._parts.tuning.idle_cycle
        if not self._store.connected:
            return _STORE_AWAY
        try:
            return self._pass()
        except StoreUnavailable as error:
            log.warning("the store is away: %s", error)
            return _STORE_AWAY

    def _pass(self) -> float:
        self._disk.tidy()
        files = self._files.local()
        with self._store.reading() as snapshot:
            self._observations.observe(snapshot, files)
            answer = retention(
                snapshot,
                self._parts.settings(),
                self._observations.facts(),
                self._parts.tuning,
                self._parts.clock.time(),
            )
        self._waiting = len(answer.waiting)
        for forget in answer.forgets:
            self._forget(forget)
        for drop in answer.drops:
            self._drop(drop)
        for file in answer.files:
            self._drop_file(file)
        due = min(self._deletions.obey(answer.uploads), self._sweep.begin_due())
        return self._pause(answer, due)

    def _pause(self, answer: Retention, due: float) -> float:
        """Seconds until something is due. Whatever this pass has changed in the store wakes us, as all changes do."""
        now, clock = self._parts.clock.time(), self._parts.clock
        waits = [one.until - now for one in answer.waiting if one.until is not None and one.until > now]
        return max(0.0, min([*waits, due - clock.monotonic(), self._parts.tuning.idle_cycle]))

    def _ask(self, image: str, holding: str | None = None) -> Retention:
        """The policy's answer as things are now."""
        with self._store.reading() as snapshot:
            return retention_of(
                snapshot,
                self._parts.settings(),
                self._observations.facts(holding=holding),
                self._parts.tuning,
                self._parts.clock.time(),
                image,
            )

    # Builds

    def _drop(self, act: DropBuild) -> None:
        """Mark it: every builder lets go of its files, and its uploads follow."""
        build = act.build
        try:
            if build.state is not BuildState.BUILDING:
                return self._mark(build)
            lock = self._store.lock_builds(build.image)
            try:
                self._mark(build, lock)
            finally:
                self._store.unlock(lock)
        except _MOVED as error:
            log.debug("build %s is not dropped now: %s", build.name, error)

    def _mark(self, build: Build, lock: Lock | None = None) -> None:
        holding = build.image if lock else None
        for act in self._ask(build.image, holding).drops:
            if act.build.id == build.id:
                log.info("build %s goes: %s", build.name, act.why.value)
                before = f": {act.build.reason}" if act.build.reason else ""
                marked = replace(
                    act.build,
                    state=BuildState.DELETING,
                    state_time=self._parts.clock.time(),
                    phase=None,
                    reason=f"{act.why.value}{before}",
                )
                self._store.save_build(marked, lock)

    def _forget(self, act: ForgetBuild) -> None:
        """Files first: once the record is gone they are nobody's for a long grace."""
        build = act.build
        try:
            self._disk.let_go(build.image, build.id)
            if any(again.build.id == build.id for again in self._ask(build.image).forgets):
                self._store.delete_build(build)
                log.info("build %s is gone", build.name)
        except ConfigError as error:  # told by the look at the disk; the record stays as long as the files
            log.debug("build %s is not forgotten now: %s", build.name, error)
        except _MOVED as error:
            log.debug("build %s is not forgotten now: %s", build.name, error)

    def _drop_file(self, act: DropFile) -> None:
        if act not in self._ask(act.image).files:
            return
        log.info("removing the %s file of %s-%s: it is uploaded", act.image_format, act.image, act.build)
        try:
            self._files.remove_format(act.image, act.build, act.image_format)
        except ConfigError as error:
            log.error("files of %s-%s: %s", act.image, act.build, error)
