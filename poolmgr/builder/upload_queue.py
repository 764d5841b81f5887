"""One provider's uploads: which of them runs, which waits, and for what.

Level-triggered: each cycle asks anew what is due, and ends what is not wanted any more. The uploads themselves run on
the provider's own threads, so that a slow cloud holds up nobody but itself.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from dataclasses import dataclass

from poolmgr.builder.context import ImageProvider, Parts
from poolmgr.builder.files import ImageFiles
from poolmgr.builder.upload_run import Result, UploadRun
from poolmgr.builder.upload_slots import UploadSlots
from poolmgr.config.settings import OpenStackProvider, Settings
from poolmgr.policy.builds import retry_at
from poolmgr.policy.upload_end import UploadEnd
from poolmgr.policy.uploads import UploadDue, uploads_due
from poolmgr.runtime.pace import Pace, pacing
from poolmgr.runtime.worker import Worker

log = logging.getLogger(__name__)

#: Cycles that a worker may miss until it counts as stuck.
PATIENCE = 5
_STORE_AWAY = 1.0  # seconds between looks at a store that is away

Key = tuple[str, str]  # image, build


@dataclass(frozen=True)
class _Rest:
    """Not before `until` (epoch seconds), after so many that came to nothing in a row."""

    until: float
    times: int
    run: UploadRun | None = None  # one that is UNDECIDED, and has its lock still


class ProviderUploads:
    """`start`, `wake`, `drain` and `stop` come from other threads; a cycle is on the worker's."""

    def __init__(self, parts: Parts, name: str, files: ImageFiles, slots: UploadSlots, pace: Pace) -> None:
        """`pace` is the builder's; there is one for the provider beside it."""
        self.name = name
        self._parts, self._files, self._slots = parts, files, slots
        self._paces = (pace, Pace(self._rate, parts.clock))
        self._worker = Worker(
            f"uploads-{name}", self.cycle, parts.clock, retry_after=5.0, spacing=parts.tuning.cycle_spacing
        )
        self._lock = threading.Lock()  # of what follows
        self._running: dict[Key, UploadRun] = {}
        self._futures: dict[Key, Future[Result]] = {}
        self._rests: dict[Key, _Rest] = {}
        self._draining = False
        self._ended: queue.SimpleQueue[tuple[Key, UploadRun, Future[Result]]] = queue.SimpleQueue()

    # From other threads

    def start(self) -> None:
        self._worker.start()

    def wake(self) -> None:
        self._worker.wake.set()

    @property
    def idle(self) -> bool:
        with self._lock:
            return not self._running and not any(rest.run for rest in self._rests.values())

    def drain(self) -> None:
        """Begin nothing more, and end what runs."""
        with self._lock:
            self._draining = True
        for run in self._in_hand():
            run.end(UploadEnd.STOPPING)
        self._worker.stop()
        self._slots.forgo(self.name)

    def stop(self, timeout: float) -> bool:
        """Whether all has ended within `timeout` seconds."""
        self.drain()
        clock = self._parts.clock
        deadline = clock.monotonic() + timeout
        ended = self._worker.join(timeout)
        with self._lock:
            futures = list(self._futures.values())
            undecided = [rest.run for rest in self._rests.values() if rest.run]
        for run in undecided:
            if run.ending is UploadEnd.STOPPING:
                run.give_up()  # asks no cloud: the image is whole, and stays
        return not wait(futures, max(0.0, deadline - clock.monotonic())).not_done and ended

    def describe(self) -> str:
        """One line for dumps."""
        now = self._parts.clock.time()
        with self._lock:
            running = [str(run) for run in self._running.values()]
            resting = [
                f"{image}-{build} rests {r.until - now:.0f} s" for (image, build), r in self._rests.items()
            ]
        place = self._parts.providers().get(self.name)
        rest = place.images.login_rest() if place else 0.0
        refused = [f"the cloud has refused our login, again in {rest:.0f} s"] if rest > 0 else []
        return f"uploads to {self.name}: {'; '.join([*running, *resting, *refused]) or 'none'}"

    def stalled(self, now: float) -> str | None:
        """Why it seems stuck; `now` in monotonic seconds."""
        silent = now - self._worker.last_cycle_at
        if silent <= PATIENCE * self._parts.tuning.idle_cycle:
            return None
        return f"uploads to {self.name}: no cycle for {silent:.0f} s"

    # The cycle

    def cycle(self) -> float:
        """One look at everything; returns the seconds until the next one is due."""
        self._collect()
        for run in self._in_hand():
            run.look()
        self._give_up_ended()
        if not self._parts.store.connected:
            return _STORE_AWAY
        due = self._begin_due()
        return max(0.0, min(self._parts.tuning.idle_cycle, due - self._parts.clock.time()))

    def _drains(self) -> bool:
        return self._draining

    def _begin_due(self) -> float:
        """Begin what may be begun; returns when to ask again, in epoch seconds."""
        settings, place = self._parts.settings(), self._parts.providers().get(self.name)
        provider = settings.providers.get(self.name)
        if self._draining or place is None or not isinstance(provider, OpenStackProvider):
            self._slots.forgo(self.name)
            return float("inf")
        rest = place.images.login_rest()
        if rest > 0:  # an attempt could only fail, and leave a record of nothing
            self._slots.forgo(self.name)
            return self._parts.clock.time() + rest
        ready, later = self._ready(settings, provider, place)
        for key, make in ready:
            if self._count() >= max(1, provider.max_parallel_uploads):
                break
            if not self._slots.take(self.name):
                if self._drains():  # meanwhile
                    self._slots.forgo(self.name)
                return later  # it is called when its turn comes
            self._run(key, make(), place, UploadRun.go, slot=True)
        self._slots.forgo(self.name)
        return later

    def _ready(
        self, settings: Settings, provider: OpenStackProvider, place: ImageProvider
    ) -> tuple[list[tuple[Key, Callable[[], UploadRun]]], float]:
        """(what may be begun now, when to ask again): first those whose trial is due again."""
        files, now = self._files.local(), self._parts.clock.time()
        with self._parts.store.reading() as snapshot:
            answers = uploads_due(
                snapshot, settings, provider, place.image_format, files, self._parts.tuning, now
            )
        with self._lock:
            rests, running = dict(self._rests), frozenset(self._running)
        ready = [
            (key, _the(rest.run))
            for key, rest in rests.items()
            if rest.run and rest.until <= now and key not in running
        ]
        later = min((rest.until for rest in rests.values() if rest.until > now), default=float("inf"))
        for answer in answers:
            if not isinstance(answer, UploadDue):
                later = min(later, answer.until or float("inf"))
                continue
            key = (answer.image, answer.build.id)
            rest = rests.get(key)
            if key not in running and (rest is None or (rest.run is None and rest.until <= now)):
                ready.append((key, self._making(place, answer)))
        return ready, later

    def _making(self, place: ImageProvider, due: UploadDue) -> Callable[[], UploadRun]:
        clock = self._parts.clock
        return lambda: UploadRun(
            self._parts, place, self._files, due, lambda ended: pacing(self._paces, clock, ended)
        )

    def _run(
        self,
        key: Key,
        run: UploadRun,
        place: ImageProvider,
        act: Callable[[UploadRun], Result],
        *,
        slot: bool,
    ) -> None:
        """Have it done on a thread of the provider; `slot`: one was taken for it."""

        def ended(future: Future[Result]) -> None:
            self._ended.put((key, run, future))
            if slot:
                self._slots.give()
            self._worker.wake.set()

        with self._lock:  # here already, so that it is ended if we are told to stop right now
            self._running[key] = run
            if self._draining:
                run.end(UploadEnd.STOPPING)
        future = place.uploads.submit(lambda: act(run))
        with self._lock:
            self._futures[key] = future
        future.add_done_callback(ended)

    def _collect(self) -> None:
        """Take note of what has ended."""
        while True:
            try:
                key, run, future = self._ended.get_nowait()
            except queue.Empty:
                return
            result = Result.LEFT
            if not future.cancelled():
                error = future.exception()
                if error is not None:
                    log.error("upload of %s to %s crashed", key[0], self.name, exc_info=error)
                else:
                    result = future.result()
            with self._lock:
                self._running.pop(key, None)
                self._futures.pop(key, None)
                self._note(key, run, result)

    def _note(self, key: Key, run: UploadRun, result: Result) -> None:
        before = self._rests.pop(key, None)
        if result is Result.DONE:
            return
        times = (before.times if before else 0) + 1
        tuning, now = self._parts.tuning, self._parts.clock.time()
        most = self._parts.settings().image_retry_max
        if result is Result.UNDECIDED:  # others take a record for given up whose lock is free for too long
            most = min(most, tuning.lost_lock_grace / 2)
        until = retry_at(times, now, first=tuning.retry_first, most=most)
        self._rests[key] = _Rest(until, times, run if result is Result.UNDECIDED else None)

    def _give_up_ended(self) -> None:
        """Those that rest before another trial, and are not wanted any more."""
        place = self._parts.providers().get(self.name)
        with self._lock:
            resting = {key: rest.run for key, rest in self._rests.items() if key not in self._running}
            ended = [(key, run) for key, run in resting.items() if run and run.ending]
        for key, run in ended:
            self._run(key, run, place or run.place, UploadRun.give_up, slot=False)

    def _in_hand(self) -> Iterator[UploadRun]:
        with self._lock:
            running = list(self._running.values())
            resting = [rest.run for rest in self._rests.values() if rest.run]
        yield from (*running, *resting)

    def _count(self) -> int:
        with self._lock:
            return sum(not future.done() for future in self._futures.values())

    def _rate(self) -> float:
        provider = self._parts.settings().providers.get(self.name)
        return provider.upload_rate_limit if isinstance(provider, OpenStackProvider) else 0.0


def _the(run: UploadRun) -> Callable[[], UploadRun]:
    return lambda: run
