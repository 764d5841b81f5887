"""The builds of one builder: as many threads as may build at once, each with one build at a time.

Each cycle asks the policy anew; the lock of an image is what keeps several builders apart.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping

from poolmgr.builder.build import BuildRun, Ending
from poolmgr.builder.build_record import BuildRecord
from poolmgr.builder.context import Parts
from poolmgr.builder.files import ImageFiles
from poolmgr.builder.recipe import tmpdir_parent
from poolmgr.builder.recovery import Recovery
from poolmgr.config.settings import DiskImage
from poolmgr.errors import Conflict, LockBusy, LockLost, StoreUnavailable
from poolmgr.model.image import Build, BuildState, Order
from poolmgr.policy.builds import BuildDue, BuilderFacts, BuildRest, Rest, build_of, builds_due
from poolmgr.policy.image_orders import orders_answered
from poolmgr.runtime.disk_use import free_space
from poolmgr.runtime.worker import Worker
from poolmgr.store.api import Lock

log = logging.getLogger(__name__)

#: Idle cycles, or looks of a build, that may be missed until it counts as stuck.
PATIENCE = 5
_LONGEST_SILENCE = 300.0  # seconds, of a build
_STORE_AWAY = 1.0  # seconds between looks at a store that is away
#: Reasons not to build that people have to know of.
_TOLD = (Rest.BACKOFF, Rest.NO_SPACE, Rest.UNREADABLE)


class Builds:
    """One of a builder's members (`builder.crew.Member`)."""

    def __init__(self, parts: Parts, workers: int, *, environ: Mapping[str, str] = os.environ) -> None:
        """The store has to be connected already: builds that are complete but for their record are claimed here."""
        self._parts = parts
        self._environ = environ
        self._files = ImageFiles(
            parts.images_dir, deployment=parts.identity.deployment, builder_id=parts.identity.id
        )
        self._stopping = threading.Event()
        self._recovery = Recovery(parts, self._files)
        self._lock = threading.Lock()  # of what follows
        self._runs: dict[str, BuildRun] = {}  # by worker
        self._rests: dict[str, BuildRest] = {}  # by image, as last told
        self._trouble: str | None = None  # with the images directory, as last told
        self._workers = [self._worker(f"build-worker-{n + 1}") for n in range(workers)]

    def start(self) -> None:
        for worker in self._workers:
            worker.start()

    def wake(self) -> None:
        """Something has changed; from any thread."""
        for worker in self._workers:
            worker.wake.set()
        for run in self._running().values():
            run.wake()

    def stop(self, timeout: float) -> bool:
        """End what runs and begin nothing; whether all has ended within `timeout` seconds."""
        deadline = self._parts.clock.monotonic() + timeout
        self._stopping.set()
        for worker in self._workers:
            worker.stop()
        for run in self._running().values():
            run.end(Ending.STOPPING)
        left = [one for one in self._workers if not one.join(deadline - self._parts.clock.monotonic())]
        return not left

    def describe(self) -> str:
        running = self._running()
        lines = [f"{one.name}: {running.get(one.name, 'idle')}" for one in self._workers]
        with self._lock:
            rests = list(self._rests.values())
        told = [f"{one.image}: {one.rest.value}" + (f", {one.detail}" if one.detail else "") for one in rests]
        return "\n".join([*lines, *told])

    def stalled(self, now: float) -> str | None:
        """Why some worker seems stuck; `now` in monotonic seconds."""
        running = self._running()
        for worker in self._workers:
            run = running.get(worker.name)
            since, limit = worker.last_cycle_at, PATIENCE * self._parts.tuning.idle_cycle
            if run is not None:
                since, limit = run.alive_at, _LONGEST_SILENCE
            if now - since > limit:
                return f"{worker.name}: {run or 'no cycle'}, silent for {now - since:.0f} s"
        return None

    def _worker(self, name: str) -> Worker:
        return Worker(
            name,
            lambda: self._cycle(name),
            self._parts.clock,
            retry_after=5.0,
            spacing=self._parts.tuning.cycle_spacing,
        )

    def _running(self) -> dict[str, BuildRun]:
        with self._lock:
            return dict(self._runs)

    # The cycle of a worker

    def _cycle(self, name: str) -> float:
        """Build what is due first; returns the seconds until it wants to be asked again."""
        if self._stopping.is_set():
            return self._parts.tuning.idle_cycle
        if not self._parts.store.connected:
            return _STORE_AWAY
        if self._is_homeless():
            return self._parts.tuning.idle_cycle
        try:
            self._recovery.complete(self._stopping)
            self._withdraw_answered()
            answers = self._answers()
            self._tell([one for one in answers if isinstance(one, BuildRest)])
            for one in answers:
                if isinstance(one, BuildDue) and self._build(name, one):
                    return 0.0
            return self._pause(answers)
        except StoreUnavailable as error:
            log.warning("%s: the store is away: %s", name, error)
            return _STORE_AWAY

    def _is_homeless(self) -> bool:
        """Whether nothing can be kept in the images directory: each build would only fail. Told once."""
        trouble = self._parts.images_dir_trouble()
        with self._lock:
            before, self._trouble = self._trouble, trouble
        if trouble is not None and before is None:
            log.error("%s: nothing is built until it is back, or the builder is started anew", trouble)
        elif trouble is None and before is not None:
            log.info("images-dir %s is back", self._files.directory)
        return trouble is not None

    def _withdraw_answered(self) -> None:
        """Also those that a builder which died had carried out. Images we do not know are none of our business."""
        known = self._parts.settings().diskimages
        with self._parts.store.reading() as snapshot:
            orders = [one for one in orders_answered(snapshot) if one.image in known]
        for order in orders:
            if self._parts.store.withdraw_order(order.image, Order.BUILD):
                log.info("the ordered build of %s is done", order.image)

    def _answers(self) -> list[BuildDue | BuildRest]:
        """In order; each image with the disk that it would be built on."""
        parts, settings = self._parts, self._parts.settings()
        now = parts.clock.time()
        facts = {name: self._facts(image) for name, image in settings.diskimages.items()}
        with parts.store.reading() as snapshot:
            order = builds_due(snapshot, settings, self._facts(None), parts.tuning, now)
            return [
                build_of(
                    snapshot, settings.diskimages[one.image], settings, facts[one.image], parts.tuning, now
                )
                for one in order
            ]

    def _facts(self, image: DiskImage | None) -> BuilderFacts:
        places = [os.fspath(self._files.directory)]
        if image is not None:
            places.append(tmpdir_parent(image, self._environ))
        free = [amount for place in places if (amount := free_space(place)) is not None]
        return BuilderFacts(
            builder_id=self._parts.identity.id,
            image_formats={name: one.image_format for name, one in self._parts.providers().items()},
            free=min(free, default=None),
        )

    def _tell(self, rests: list[BuildRest]) -> None:
        """Why nothing is built, when that has changed."""
        with self._lock:
            before, self._rests = self._rests, {one.image: one for one in rests}
        for one in rests:
            last = before.get(one.image)
            if one.rest in _TOLD and (last is None or last.rest is not one.rest):
                log.warning("no build of %s now: %s: %s", one.image, one.rest.value, one.detail)

    def _pause(self, answers: list[BuildDue | BuildRest]) -> float:
        now, idle = self._parts.clock.time(), self._parts.tuning.idle_cycle
        if self._recovery.waits:
            return _STORE_AWAY
        times = [one.until - now for one in answers if isinstance(one, BuildRest) and one.until is not None]
        return max(0.0, min([*times, idle]))

    # One build

    def _build(self, name: str, due: BuildDue) -> bool:
        """Carry it out on this thread; False if there was nothing to do after all."""
        image, record = self._begun(due)
        if image is None or record is None:
            return False
        run = BuildRun(self._parts, self._files, image, record, self._environ)
        with self._lock:
            self._runs[name] = run
        try:
            if self._stopping.is_set():  # since the cycle began: stop() may not have seen this run
                run.end(Ending.STOPPING)
            run.go()
        finally:
            with self._lock:
                del self._runs[name]
            self._parts.activity.end_build(record.build.image, record.build.id)
            record.let_go()
        return True

    def _begun(self, due: BuildDue) -> tuple[DiskImage | None, BuildRecord | None]:
        """Lock, ask again, store the record."""
        store = self._parts.store
        try:
            lock, record = store.lock_builds(due.image), None
        except LockBusy:
            return None, None
        image = None
        try:
            image, record = self._recorded(due.image, lock)
        except (LockLost, Conflict) as error:
            log.info("build of %s is not begun now: %s", due.image, error)
        finally:
            if record is None:
                store.unlock(lock)
        return image, record

    def _recorded(self, name: str, lock: Lock) -> tuple[DiskImage | None, BuildRecord | None]:
        parts, settings = self._parts, self._parts.settings()
        image = settings.diskimages.get(name)
        if image is None:
            return None, None
        facts, now = self._facts(image), parts.clock.time()
        with parts.store.reading() as snapshot:
            due = build_of(snapshot, image, settings, facts, parts.tuning, now, holding_lock=True)
        if not isinstance(due, BuildDue):
            return None, None
        build = self._new(image, due, now)
        record = None
        parts.activity.begin_build(build.image, build.id, now)  # before others can see it
        try:
            record = BuildRecord(parts, lock, parts.store.create_build(build, lock))
        finally:
            if record is None:
                parts.activity.end_build(build.image, build.id)
        return image, record

    def _new(self, image: DiskImage, due: BuildDue, now: float) -> Build:
        identity = self._parts.identity
        return Build(
            id=self._parts.new_id(),
            image=image.name,
            state=BuildState.BUILDING,
            state_time=now,
            builder=identity.fqdn,
            builder_id=identity.id,
            formats=",".join(due.formats),
            username=image.username,
            python_path=image.python_path,
            shell_type=image.shell_type,
            cause=due.cause.value,
            phase="preparing",
            started=now,
            failures=due.failures,
            url=identity.url,
        )
