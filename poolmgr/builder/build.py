"""One build, from its record to files that are checked, on a thread of its own.

    record BUILDING -> marker -> command -> conversions -> files checked -> manifest -> record READY

A crash before the manifest leaves what the marker accounts for; one after it, a build that the next start completes
(`builder.recovery`). What fails leaves a record that says why, and the log; what is ended leaves nothing.
"""

from __future__ import annotations

import enum
import logging
import os
import shutil
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from poolmgr.builder.build_files import BuildFailed, finished_file, size_of
from poolmgr.builder.build_log import add_exit_code, last_lines, log_path, prune_logs
from poolmgr.builder.build_record import BuildRecord
from poolmgr.builder.context import Parts
from poolmgr.builder.files import ImageFiles
from poolmgr.builder.manifest import manifest_of, packages_in, write_manifest
from poolmgr.builder.recipe import Recipe, recipe
from poolmgr.config.settings import DiskImage
from poolmgr.errors import ConfigError, PoolmgrError, ProcessFailed, StoreUnavailable
from poolmgr.model.image import Build, BuildState
from poolmgr.model.snapshot import Snapshot
from poolmgr.observe.context import context_logger
from poolmgr.policy.image_files import Marker
from poolmgr.policy.image_times import ready_time
from poolmgr.runtime.leftovers import clear_tmpdir
from poolmgr.runtime.shepherd import Errand, Outcome
from poolmgr.runtime.supervised import Supervised

log = logging.getLogger(__name__)

LOOK = 5.0  # seconds between looks at the settings and the store while a command runs
_CLEANING = 180.0  # seconds a shepherd may take to clean up, beyond its grace
_RUMOUR = 2.0  # seconds in which we hear that we are to stop, after others have
_FULL = 16 << 20  # bytes free: so few, and the disk counts as full
_FULL_TEXT = "No space left on device"
_MOST_REASON = 500  # characters


class Phase(enum.Enum):
    """What a running build is at; the value is in its record."""

    PREPARING = "preparing"
    BUILDING = "building"
    CONVERTING = "converting"
    CHECKING = "checking"


class Ending(enum.Enum):
    """Why a running build is ended."""

    TIMEOUT = "timeout"
    STOPPING = "stopping"
    DELETED = "deleted"


class BuildRun:
    """`go` runs on one thread; `wake`, `end` and what tells of it come from any."""

    def __init__(
        self,
        parts: Parts,
        files: ImageFiles,
        image: DiskImage,
        record: BuildRecord,
        environ: Mapping[str, str],
    ) -> None:
        self.name = record.build.name
        self.alive_at = parts.clock.monotonic()  # when it last showed that it is not stuck
        self.phase = Phase.PREPARING
        self._parts, self._files, self._image, self._record = parts, files, image, record
        self._environ = environ
        self._wake = threading.Event()
        self._ended = threading.Event()
        self._stopping = threading.Event()
        self._ending: Ending | None = None
        self._space = 0
        self._least_free: int | None = None
        self._log_path = log_path(Path(parts.settings().build_log_dir), image.name, record.build.id)
        self._marker: Marker | None = None
        self._log = context_logger(log, image=image.name, build=record.build.id)

    def __str__(self) -> str:
        seconds = self._parts.clock.time() - (self._record.build.started or 0.0)
        return f"{self.name} {self.phase.value} for {seconds:.0f} s" + (
            f", ending: {self._ending.value}" if self._ending else ""
        )

    def wake(self) -> None:
        self._wake.set()

    def end(self, why: Ending) -> None:
        """Have it ended; the first reason counts."""
        self._ending = self._ending or why
        if why is Ending.STOPPING:
            self._stopping.set()
        self._ended.set()
        self._wake.set()

    def go(self) -> bool:
        """Carry the build out; whether it is READY."""
        try:
            document = self._made()
        except (BuildFailed, ConfigError, ProcessFailed, OSError) as error:
            self._clear()
            if self._ending in (Ending.STOPPING, Ending.DELETED):
                self._drop()
            else:
                self._fail(error)
            return False
        return self._ready(document)

    # The steps

    def _made(self) -> Mapping[str, Any]:
        """The manifest, once all is done that has to be. Raises BuildFailed, ConfigError, ProcessFailed, OSError."""
        told = self._prepared()
        deadline = self._parts.clock.monotonic() + self._image.build.build_timeout
        self._enter(Phase.BUILDING)
        self._run(told.command, told, deadline)
        for image_format in told.made:
            size_of(Path(told.path(image_format)))
        for one in told.conversions:
            self._enter(Phase.CONVERTING)
            self._run(one.command, told, deadline)
            size_of(Path(one.draft))
            os.replace(one.draft, told.path(one.image_format))
        self._enter(Phase.CHECKING)
        return self._checked(told)

    def _prepared(self) -> Recipe:
        settings, build = self._parts.settings(), self._record.build
        told = recipe(
            self._image,
            build.id,
            build.format_names,
            images_dir=self._files.directory,
            elements_dir=settings.elements_dir,
            environ=self._environ,
            has=lambda program, path: shutil.which(program, path=path) is not None,
        )
        marker = Marker(
            image=build.image,
            build=build.id,
            deployment=self._parts.identity.deployment,
            builder_id=self._parts.identity.id,
            formats=tuple(sorted({*told.formats, *told.made})),
            tmpdir=told.tmpdir,
        )
        self._files.mark(marker)
        self._marker = marker
        self._log_path.parent.mkdir(parents=True, exist_ok=True)
        prune_logs(self._log_path.parent, build.image, settings.build_log_retention)
        self._log.info("building %s (%s) as %s", self.name, build.cause, ", ".join(told.formats))
        return told

    def _run(self, command: tuple[str, ...], told: Recipe, deadline: float) -> None:
        """Raises BuildFailed unless it ends well, and before the deadline."""
        if self._ending is not None:
            raise BuildFailed(self._ended_because())
        errand = Errand(
            command=list(command),
            environ=told.environ,
            log_path=os.fspath(self._log_path),
            tmpdir=told.tmpdir,
            outputs=[f"{told.output}."],
            grace=self._parts.tuning.grace_kill,
            look=self._parts.tuning.space_look,
        )
        running = Supervised(errand, name=self.name, on_end=self._wake.set)
        self._await(running, deadline)
        outcome = running.outcome
        self._space = max(self._space, outcome.space)
        seen = [free for free in (self._least_free, outcome.least_free) if free is not None]
        self._least_free = min(seen, default=None)
        for trouble in outcome.errors:
            self._log.error("build %s left something behind: %s", self.name, trouble)
        self._judge(os.path.basename(command[0]), outcome)

    def _await(self, running: Supervised, deadline: float) -> None:
        clock, give_up_at = self._parts.clock, float("inf")
        while True:
            self._wake.clear()
            now = self.alive_at = clock.monotonic()
            self._look(now, deadline)
            if running.ended.is_set():
                return
            if self._ending is not None and give_up_at == float("inf"):
                running.end()
                give_up_at = now + self._parts.tuning.grace_kill + _CLEANING
            if now >= give_up_at:
                running.kill()
            clock.wait(self._wake, max(0.0, min(LOOK, deadline - now) if self._ending is None else LOOK))

    def _look(self, now: float, deadline: float) -> None:
        """End it if it takes too long or nobody wants it; see that the lock is ours."""
        if self._ending is not None:
            return
        if now >= deadline:
            self.end(Ending.TIMEOUT)
        elif self._record.unwanted():
            self.end(Ending.DELETED)
        else:
            self._record.look()

    def _judge(self, program: str, outcome: Outcome) -> None:
        if outcome.told_to:
            self._hear_why()
            raise BuildFailed(self._ended_because(), rc=1)
        if outcome.code is None:
            raise BuildFailed(f"{program} and its supervisor were killed")
        if outcome.killed_by:
            raise BuildFailed(f"{program} was killed by {outcome.killed_by}", rc=outcome.code)
        if outcome.code > 0:
            why = f": {outcome.errors[0]}" if outcome.errors else ""
            raise BuildFailed(f"{program} ended with exit code {outcome.code}{why}", rc=outcome.code)

    def _hear_why(self) -> None:
        """Whoever stops us may have told the shepherd first: systemd tells all processes at once."""
        if self._ending is None:
            self._parts.clock.wait(self._ended, _RUMOUR)

    def _ended_because(self) -> str:
        if self._ending is Ending.TIMEOUT:
            return f"timed out after {self._image.build.build_timeout:g} s"
        return f"ended: {self._ending.value if self._ending else 'by a signal to its supervisor'}"

    def _checked(self, told: Recipe) -> Mapping[str, Any]:
        build = self._record.build
        for image_format in told.surplus:
            self._files.remove_format(build.image, build.id, image_format)
        found = {
            name: finished_file(self._files, build.image, build.id, name, ended=self._is_ended)
            for name in told.formats
        }
        document = manifest_of(
            build,
            self._image,
            told,
            packages_in(Path(f"{told.output}.d")),
            files=found,
            deployment=self._parts.identity.deployment,
            ended=self._parts.clock.time(),
            space=self._space,
        )
        write_manifest(self._files.manifest_path(build.image, build.id), document)
        return document

    def _is_ended(self) -> bool:
        self.alive_at = self._parts.clock.monotonic()
        return self._ended.is_set()

    def _enter(self, phase: Phase) -> None:
        if phase is not self.phase:
            self.phase = phase
            self._record.note(phase=phase.value)

    # How it ends

    def _ready(self, document: Mapping[str, Any]) -> bool:
        add_exit_code(self._log_path, 0)
        with self._parts.store.reading() as snapshot:
            changes = ready_changes(document, snapshot, self._record.build, self._parts.clock.time())
        if not self._settled(**changes):
            return False
        build = self._record.build
        self._log.info("build %s is ready after %.0f s", self.name, build.duration or 0.0)
        self._tell_stats(build, good=True)
        return True

    def _fail(self, error: PoolmgrError | OSError) -> None:
        rc = getattr(error, "rc", None)
        lines = last_lines(self._log_path)
        reason = self._explained(str(error), lines)[:_MOST_REASON]
        add_exit_code(self._log_path, 1 if rc is None else rc, reason)
        self._log.error("build %s failed: %s; the end of its log, %s:", self.name, reason, self._log_path)
        for line in lines:
            self._log.error("%s: %s", self.name, line)
        now, build = self._parts.clock.time(), self._record.build
        changes = {
            "state": BuildState.FAILED,
            "state_time": now,
            "phase": None,
            "duration": now - (build.started or now),
            "rc": rc,
            "reason": reason,
            "failures": build.failures + 1,
            "space": self._space or None,
        }
        if self._settled(**changes):
            self._tell_stats(self._record.build, good=False)

    def _explained(self, reason: str, lines: list[str]) -> str:
        is_full = _FULL_TEXT in reason or any(_FULL_TEXT in line for line in lines)
        if not is_full and (self._least_free is None or self._least_free >= _FULL):
            return reason
        free = (
            f", {self._least_free >> 20} MiB were free at the least" if self._least_free is not None else ""
        )
        return f"the disk is full{free}: {reason}"

    def _settled(self, **changes: Any) -> bool:
        try:
            return self._record.settle(self._stopping, **changes)
        except StoreUnavailable as error:
            self._log.warning("%s", error)
            return False

    def _drop(self) -> None:
        """It is no failure: nobody waits longer for the next one."""
        self._log.info("build %s %s", self.name, self._ended_because())
        add_exit_code(self._log_path, 1, self._ended_because())
        if self._ending is Ending.STOPPING:
            self._record.remove()

    def _clear(self) -> None:
        """Remove the files, and what a shepherd that was killed has left. The log stays."""
        if self._marker is None:
            return
        if self._marker.tmpdir is not None and os.path.lexists(self._marker.tmpdir):
            clear_tmpdir(Path(self._marker.tmpdir))
        try:
            self._files.remove(self._marker)
        except ConfigError as error:
            self._log.error("files of %s: %s", self.name, error)

    def _tell_stats(self, build: Build, *, good: bool) -> None:
        rc = build.rc or 0
        self._parts.stats.build_ended(
            build.image,
            rc=rc if good or rc else 1,
            seconds=build.duration or 0.0,
            at=build.state_time,
            good=good,
            sizes={name: int(file.get("allocated", 0)) for name, file in build.files.items()},
        )


def ready_changes(
    document: Mapping[str, Any], snapshot: Snapshot, build: Build, now: float
) -> dict[str, Any]:
    """What the record of a build says once it is READY, by its manifest."""
    others = [one for one in snapshot.builds_of(build.image) if one.state is BuildState.READY]
    ended = float(document["ended"])
    return {
        "state": BuildState.READY,
        "state_time": ready_time(others, now),
        "phase": None,
        "duration": ended - (build.started or ended),
        "rc": 0,
        "reason": None,
        "failures": 0,
        "files": document["files"],
        "config_hash": document["config_hash"],
        "space": document["space"] or None,
    }
