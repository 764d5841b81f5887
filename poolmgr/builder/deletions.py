"""Which uploads are being removed now, and when those that could not be are tried again.

Each provider has threads of its own for this: one whose cloud hangs holds up nobody else. All of it is owned by the
janitor's thread; only the removals themselves run on others.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from concurrent.futures import Future, wait
from dataclasses import dataclass

from poolmgr.builder.context import ImageProvider, Parts
from poolmgr.builder.upload_removal import Outcome, UploadRemoval
from poolmgr.config.settings import OpenStackProvider
from poolmgr.errors import CloudError, Conflict, LockBusy, LockLost, PoolmgrError, RecordGone
from poolmgr.model.image import Upload
from poolmgr.policy.growth import doubling
from poolmgr.policy.removals import RemoveUpload, Why
from poolmgr.policy.retention import may_be_in_cloud

log = logging.getLogger(__name__)

#: The record is someone else's for now, or another one than it was: the next pass sees what it is.
_MOVED = (Conflict, LockBusy, LockLost, RecordGone)


#: Seconds until the next look at such a one: another builder may be at it for as long as its cloud takes.
_LOOK_AGAIN = 5.0


@dataclass(frozen=True)
class _Pause:
    at: float  # monotonic seconds; not before
    times: int
    why: Why  # for another reason it is tried at once


class Deletions:
    """`wake`: called from any thread when something has ended."""

    def __init__(self, parts: Parts, removal: UploadRemoval, wake: Callable[[], None]) -> None:
        self._parts, self._removal, self._wake = parts, removal, wake
        self._running: dict[str, tuple[RemoveUpload, Future[Outcome]]] = {}  # by path
        self._pauses: dict[str, _Pause] = {}
        self._placeless: set[str] = set()  # paths of uploads to clouds nobody knows, told already

    def obey(self, acts: Iterable[RemoveUpload]) -> float:
        """Begin what is due of all that is to go; returns when to come again, in monotonic seconds."""
        self._collect()
        wanted = {act.upload.path: act for act in acts}
        self._pauses = {path: pause for path, pause in self._pauses.items() if path in wanted}
        self._placeless &= wanted.keys()
        due, now = float("inf"), self._parts.clock.monotonic()
        for path, act in wanted.items():
            pause = self._pauses.get(path)
            if path in self._running:
                continue
            if pause is not None and pause.why is act.why and now < pause.at:
                due = min(due, pause.at)
            else:
                self._begin(path, act)
        return due

    def describe(self) -> str:
        return f"{len(self._running)} uploads being deleted, {len(self._pauses)} to be tried again"

    def drain(self, timeout: float) -> bool:
        """Whether all that runs has ended within `timeout` seconds."""
        futures = [future for _, future in self._running.values()]
        return not wait(futures, max(0.0, timeout)).not_done

    def _begin(self, path: str, act: RemoveUpload) -> None:
        upload = act.upload
        place = self._place(upload)
        if place is None and may_be_in_cloud(upload, self._parts.tuning, self._parts.clock.time()):
            if path not in self._placeless:
                log.warning(
                    "%s cannot be deleted for now: its cloud is not configured or not reachable", path
                )
                self._placeless.add(path)
            return
        if place is None:
            future: Future[Outcome] = Future()
            self._settle(future, upload)
        else:
            future = place.deletions.submit(lambda: self._removal.carry_out(upload, place))
        self._running[path] = act, future
        future.add_done_callback(lambda _: self._wake())

    def _settle(self, future: Future[Outcome], upload: Upload) -> None:
        """No cloud is needed, so there is nothing to wait for."""
        try:
            future.set_result(self._removal.carry_out(upload, None))
        except PoolmgrError as error:
            future.set_exception(error)

    def _place(self, upload: Upload) -> ImageProvider | None:
        """The cloud where it is: the provider may be configured for another one by now, or not at all."""
        known = self._parts.providers().get(upload.provider)
        if upload.cloud is None or (known and (known.cloud, known.region) == (upload.cloud, upload.region)):
            return known
        configured = self._parts.settings().providers.get(upload.provider)
        if known is None and isinstance(configured, OpenStackProvider):
            return None  # not reachable now
        return self._parts.stray_provider(upload.cloud, upload.region)

    def _collect(self) -> None:
        for path, (act, future) in list(self._running.items()):
            if future.done():
                del self._running[path]
                self._learn(path, act, future)

    def _learn(self, path: str, act: RemoveUpload, future: Future[Outcome]) -> None:
        error = None if future.cancelled() else future.exception()
        if future.cancelled() or isinstance(error, _MOVED):
            log.debug("%s is not deleted now: %s", path, error)
            self._put_off(path, act, _LOOK_AGAIN)
        elif error is not None:
            self._fail(path, act, error)
        elif future.result() is Outcome.LATE:
            self._put_off(path, act, self._seconds(path, act), counts=True)
        elif future.result() is Outcome.MOVED:
            self._put_off(path, act, _LOOK_AGAIN)
        else:
            self._pauses.pop(path, None)

    def _fail(self, path: str, act: RemoveUpload, error: BaseException) -> None:
        """Told once; what a cloud refuses for good is told by its record too."""
        first = self._times(path, act) == 0
        self._put_off(path, act, self._seconds(path, act), counts=True)
        if not isinstance(error, PoolmgrError):
            log.error("%s: deleting it crashed", path, exc_info=error)
        else:
            level = logging.WARNING if first and isinstance(error, CloudError) else logging.DEBUG
            log.log(level, "%s cannot be deleted for now: %s", path, error)

    def _times(self, path: str, act: RemoveUpload) -> int:
        before = self._pauses.get(path)
        return before.times if before and before.why is act.why else 0

    def _seconds(self, path: str, act: RemoveUpload) -> float:
        tuning = self._parts.tuning
        return doubling(tuning.delete_retry, self._times(path, act), tuning.delete_retry_max)

    def _put_off(self, path: str, act: RemoveUpload, seconds: float, *, counts: bool = False) -> None:
        times = self._times(path, act) + (1 if counts else 0)
        self._pauses[path] = _Pause(self._parts.clock.monotonic() + seconds, times, act.why)
