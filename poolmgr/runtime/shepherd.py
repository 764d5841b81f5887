"""`python -m poolmgr.runtime.shepherd`: runs one command and leaves nothing of it behind, whatever happens to us.

Started by `runtime.supervised`, which writes an `Errand` as a line of JSON to our standard input, keeps that open, and
reads an `Outcome` as JSON from our standard output. The end of the input means that the builder died.

    command runs --- it ends by itself ----------------.
        |                                              v
        +--- SIGTERM, or our input ends ---> end all that it started ---> clear its TMPDIR ---> tell the outcome

All orphans below us become our children, as we are their subreaper (prctl(2)); so daemons that left the command's group
and session are found too. The command writes to its log file itself: nobody waits for a pipe that a daemon keeps open.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from poolmgr.runtime.descendants import descendants, end_all
from poolmgr.runtime.disk_use import disk_use, free_space
from poolmgr.runtime.leftovers import clear_tmpdir

_PR_SET_CHILD_SUBREAPER = 36
_LIBC = ctypes.CDLL(None, use_errno=True)
_NOT_FOUND, _NOT_EXECUTABLE = 127, 126  # exit codes of shells for commands that cannot be started
_LOOK_SHARE = 50  # at most one part in so many of the time goes into looking how much disk is used


@dataclass(frozen=True, kw_only=True)
class Errand:
    """What a shepherd is told. `environ` is the whole environment of the command, and may hold secrets."""

    command: list[str]
    environ: Mapping[str, str] = field(repr=False)
    log_path: str  # appended to
    tmpdir: str | None = None  # made before the command starts, removed after it; must not be there
    outputs: list[str] = field(
        default_factory=list
    )  # "/dir/prefix": whose disk use counts beside the tmpdir's
    grace: float = 10.0  # seconds between SIGTERM and SIGKILL
    look: float = 5.0  # seconds between looks at how much disk is used


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How it ended. `told_to`: it was made to end. `errors`: what could not be cleaned up."""

    code: int | None = None  # exit code; negative: that signal; None: the shepherd itself was killed
    told_to: bool = False
    killed: int = 0  # processes it had left running
    unmounted: tuple[str, ...] = ()
    detached: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    space: int = 0  # bytes of disk it used at its peak, as far as seen
    least_free: int | None = None  # bytes free on the fullest of the disks, when that was least

    @property
    def killed_by(self) -> str:
        """The name of the signal that ended the command, "" if none did."""
        if self.code is None or self.code >= 0:
            return ""
        try:
            return signal.Signals(-self.code).name
        except ValueError:
            return f"signal {-self.code}"


def outcome_from(text: str) -> Outcome:
    """Raises ValueError for what is none."""
    told = json.loads(text)
    if not isinstance(told, dict):
        raise ValueError("not a mapping")
    known = {one.name for one in fields(Outcome)}
    values: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in told.items() if k in known
    }
    return Outcome(**values)


class _Use:
    """Looks from time to time at the disk that is used."""

    def __init__(self, errand: Errand) -> None:
        self._tmpdir = errand.tmpdir
        self._outputs = [Path(one) for one in errand.outputs]
        self._pause = errand.look
        self._next = 0.0
        self.space = 0
        self.least_free: int | None = None

    def look(self, *, now: bool = False) -> None:
        began = time.monotonic()
        if began < self._next and not now:
            return
        written = [str(path) for one in self._outputs for path in one.parent.glob(f"{_literal(one.name)}*")]
        self.space = max(self.space, disk_use([*([self._tmpdir] if self._tmpdir else []), *written]))
        places = [*([self._tmpdir] if self._tmpdir else []), *(str(one.parent) for one in self._outputs)]
        free = [amount for place in places if (amount := free_space(place)) is not None]
        self.least_free = min(free + ([self.least_free] if self.least_free is not None else []), default=None)
        took = time.monotonic() - began
        self._next = began + max(self._pause, took * _LOOK_SHARE)


class _Shepherd:
    def __init__(self, errand: Errand) -> None:
        self._errand = errand
        self._use = _Use(errand)
        self._pid: int | None = None
        self._code: int | None = None
        self._alarm, self._ring = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def run(self) -> Outcome:
        errand = self._errand
        if _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "cannot become a subreaper")
        self._heed_signals()
        if errand.tmpdir is not None:
            os.mkdir(errand.tmpdir, 0o755)  # must be new: what others put there is not ours to remove
        child = self._start()
        told_to = child is not None and self._watch(child)
        self._use.look(now=True)
        killed = self._end_all(told_to)
        outcome = Outcome(
            code=self._code,
            told_to=told_to,
            killed=killed,
            space=self._use.space,
            least_free=self._use.least_free,
        )
        return self._cleared(outcome)

    def _heed_signals(self) -> None:
        signal.set_wakeup_fd(self._ring)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: None)

    def _start(self) -> subprocess.Popen[bytes] | None:
        """None if it could not be started; then the exit code says so, and the log why."""
        errand = self._errand
        try:
            with open(errand.log_path, "ab") as log:
                return subprocess.Popen(  # collected in _reap
                    errand.command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=dict(errand.environ),
                    start_new_session=True,
                )
        except OSError as error:
            self._code = _NOT_FOUND if isinstance(error, FileNotFoundError) else _NOT_EXECUTABLE
            self._note(f"cannot start {errand.command[0]}: {error.strerror}")
            return None

    def _watch(self, child: subprocess.Popen[bytes]) -> bool:
        """Wait for the command's end; True if it has to be brought about."""
        self._pid = child.pid
        poll = select.poll()
        ended = os.pidfd_open(child.pid)  # it cannot be gone: only _reap collects it
        for descriptor in (sys.stdin.fileno(), self._alarm, ended):
            poll.register(descriptor, select.POLLIN | select.POLLHUP)
        while True:
            ready = {descriptor for descriptor, _ in poll.poll(1000)}
            self._reap()
            if self._code is not None:
                return False
            if self._alarm in ready:
                return True
            if sys.stdin.fileno() in ready and not os.read(sys.stdin.fileno(), 4096):
                return True
            self._use.look()

    def _reap(self) -> None:
        """Collect all that ended; keep how the command did."""
        while True:
            try:
                one, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if one == 0:
                return
            if one == self._pid:
                self._code = os.waitstatus_to_exitcode(status)

    def _end_all(self, told_to: bool) -> int:
        """End what is below us; how many processes that were beyond the command itself."""
        left = descendants(os.getpid())
        if not left:
            return 0
        grace = self._errand.grace if told_to else min(self._errand.grace, 2.0)
        self._note(f"ending {len(left)} processes")
        for one in end_all(lambda: descendants(os.getpid()), grace=grace):
            self._note(f"process {one.pid} does not end")
        self._reap()
        return len(left)

    def _cleared(self, outcome: Outcome) -> Outcome:
        if self._errand.tmpdir is None:
            return outcome
        cleared = clear_tmpdir(Path(self._errand.tmpdir))
        for what in (*cleared.unmounted, *cleared.detached):
            self._note(f"released {what}, which was left in use")
        for trouble in cleared.errors:
            self._note(f"cannot clean up: {trouble}")
        told: dict[str, Any] = asdict(outcome)
        told |= {"unmounted": tuple(cleared.unmounted), "detached": tuple(cleared.detached)}
        return Outcome(**told | {"errors": tuple(cleared.errors), "killed": outcome.killed + cleared.killed})

    def _note(self, text: str) -> None:
        """A line in the command's log, in the form of disk-image-create's own."""
        line = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S.%f}"[:23] + f" | poolmgr: {text}\n"
        try:
            with open(self._errand.log_path, "ab") as log:
                log.write(line.encode(errors="replace"))
        except OSError:  # the disk is full: what has to be done is done all the same
            pass


def _literal(name: str) -> str:
    """So that a pattern means these very characters."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)


def main() -> int:
    with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as told:
        line = told.readline()
    if not line.endswith(b"\n"):
        return 1  # the builder died before it had said what to do
    try:
        outcome = _Shepherd(Errand(**json.loads(line))).run()
    except OSError as error:
        outcome = Outcome(code=_NOT_EXECUTABLE, errors=(str(error),))
    try:
        sys.stdout.write(json.dumps(asdict(outcome)) + "\n")
        sys.stdout.flush()
    except OSError:  # nobody listens any more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # no complaint at exit
    return 0


if __name__ == "__main__":
    sys.exit(main())
