"""Another program, run as a process group of its own, its output in a file.

The group is the unit: what the program starts is stopped with it. A child that has ended is left as a zombie until
`stop` or `wait` collects it after its group was killed, so its number cannot name a stranger's group meanwhile.
"""

from __future__ import annotations

import ctypes
import logging
import os
import select
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from poolmgr.errors import ProcessFailed

log = logging.getLogger(__name__)

_PR_SET_PDEATHSIG = 1  # prctl(2)
_LIBC = ctypes.CDLL(None)  # loaded here: between fork and exec nothing may be


class Process:
    """A started program. Thread-safe: one thread may wait while another stops it.

    Standard output and standard error are appended to `log_path`; standard input is empty. Ctrl-C on our terminal
    does not reach it. As a context manager it is stopped at the end of the block.
    """

    def __init__(
        self,
        args: Sequence[str],
        *,
        log_path: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        name: str | None = None,
        dies_with_us: bool = False,
    ) -> None:
        """Start `args`. `env` is the whole environment, None for ours.

        `dies_with_us`: the kernel kills the program itself (not its group) as soon as the thread that starts it
        ends, even by SIGKILL; so that thread must live as long as the program should.
        Raises ProcessFailed when the program cannot be started or `log_path` not be written.
        """
        self.name = name or Path(args[0]).name
        self.log_path = log_path
        self._collecting = threading.Lock()
        try:
            with log_path.open("ab") as output:
                self._child = subprocess.Popen(  # collected in wait()
                    list(args),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=dict(env) if env is not None else None,
                    cwd=cwd,
                    start_new_session=True,
                    # Safe beside threads: it makes two system calls and takes no lock.
                    preexec_fn=_bind_to(os.getpid()) if dies_with_us else None,  # noqa: PLW1509
                )
        except OSError as error:
            raise ProcessFailed(f"cannot start {self.name}: {error}") from error

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def running(self) -> bool:
        """Whether the program itself has not ended yet."""
        return not self._ended(within=0.0)

    def wait(self, timeout: float | None = None) -> int | None:
        """The exit code (negative: the signal that killed it), None if it still runs after `timeout` seconds.

        What it left running in its group is killed.
        """
        if not self._ended(within=timeout):
            return None
        with self._collecting:
            if self._child.returncode is None:
                self.signal(signal.SIGKILL)
                self._child.wait()
        return self._child.returncode

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the whole group; nothing happens once it is gone."""
        if self._child.returncode is None:
            try:
                os.killpg(self._child.pid, number)
            except (
                ProcessLookupError,
                PermissionError,
            ):  # only zombies, or processes that became someone else's
                log.debug("%s: nobody to send %s to", self.name, number.name)

    def stop(self, grace: float = 10.0) -> int:
        """End the group: SIGTERM, and SIGKILL after `grace` seconds. Returns the exit code. Idempotent."""
        self.signal(signal.SIGTERM)
        code = self.wait(grace)
        if code is None:
            log.warning("%s did not stop within %g s and is killed", self.name, grace)
            code = self.kill()
        return code

    def kill(self) -> int:
        """End the group at once. Returns the exit code."""
        self.signal(signal.SIGKILL)
        code = self.wait()
        assert code is not None  # without a timeout wait() only returns at the end
        return code

    def last_output(self, lines: int = 20) -> str:
        """The end of its log, to show why it failed; bytes that are no text are replaced."""
        try:
            with self.log_path.open(encoding="utf-8", errors="replace") as output:
                return "".join(deque(output, maxlen=lines))
        except OSError as error:
            return f"({error})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _ended(self, within: float | None) -> bool:
        """Whether the program has ended after at most `within` seconds (None: however long); collects nothing."""
        if self._child.returncode is not None:
            return True
        try:
            descriptor = os.pidfd_open(self._child.pid)
        except ProcessLookupError:  # another thread collected it just now
            return True
        try:
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            return bool(poll.poll(None if within is None else max(0.0, within) * 1000))
        finally:
            os.close(descriptor)


def _bind_to(parent: int) -> Callable[[], None]:
    def bind() -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before the call above
            os._exit(1)

    return bind
