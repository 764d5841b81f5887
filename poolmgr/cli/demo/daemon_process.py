"""A launcher or builder as a process of its own, that can be stopped, killed and started again."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from poolmgr.cli.demo.procfs import cpu_seconds, resident_mib
from poolmgr.errors import ProcessFailed
from poolmgr.runtime.process import Process

#: Longer than the daemon's own limit, which is given to it.
STOP_TIMEOUT = 30.0


class DaemonProcess:
    """`poolmgr-<kind>` on one configuration file; all its incarnations write to one log."""

    def __init__(
        self,
        kind: str,
        config_path: Path,
        log_path: Path,
        environ: Mapping[str, str],
        *,
        options: Sequence[str] = ("--no-webapp",),
    ) -> None:
        self.config_path = config_path
        self.log_path = log_path
        self.environ = environ
        self._kind = kind
        self._options = tuple(options)
        self._process: Process | None = None
        self._cpu_of_former = 0.0

    @property
    def pid(self) -> int | None:
        """None while there is no process."""
        return self._process.pid if self._process else None

    @property
    def cpu_seconds(self) -> float:
        """Of all incarnations, but for the last moments of former ones."""
        return self._cpu_of_former + (cpu_seconds(self._process.pid) if self._process else 0.0)

    @property
    def resident_mib(self) -> float:
        return resident_mib(self._process.pid) if self._process else 0.0

    def start(self) -> None:
        """Raises ProcessFailed. Dies with the calling thread."""
        args = ["-m", f"poolmgr.cli.{self._kind}", "-f", "--stop-timeout", f"{STOP_TIMEOUT - 5:g}"]
        self._process = Process(
            [sys.executable, *args, *self._options, "-c", str(self.config_path)],
            log_path=self.log_path,
            env=self.environ,
            name=self._kind,
            dies_with_us=True,
        )

    def check(self) -> None:
        """Raises ProcessFailed, with the end of the log, when it should run and does not."""
        if self._process is not None and not self._process.running:
            code = self._process.wait(0.0)
            raise ProcessFailed(f"the {self._kind} ended with {code}:\n{self._process.last_output()}")

    def stop(self) -> bool:
        """An orderly stop; whether it was one, in time. True when there is none."""
        if self._process is None:
            return True
        self._cpu_of_former = self.cpu_seconds
        process, self._process = self._process, None
        return process.stop(STOP_TIMEOUT) == 0

    def kill(self) -> None:
        """SIGKILL: a crash."""
        if self._process is None:
            return
        self._cpu_of_former = self.cpu_seconds
        process, self._process = self._process, None
        process.kill()
