"""The operator's post-upload-hook: a program that sees an image in its cloud and may refuse it.

It is called `<hook> <provider> <image id> <file>`, without a shell, in a process group of its own that ends with it.
What it says goes into our log; one that never stops talking fills no disk.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from poolmgr.errors import PoolmgrError
from poolmgr.runtime.clock import Clock
from poolmgr.runtime.process import Process

#: Bytes of output that are kept; when there are more, what came first is forgotten.
MOST_OUTPUT = 256 << 10
LAST_LINES = 20
_LINE = 400  # characters
_LOOK_EVERY = 0.2  # seconds
_GRACE = 5.0  # seconds between SIGTERM and SIGKILL


class HookFailed(PoolmgrError):
    """It said no, could not be started, or took too long; the message says which."""


def run_hook(
    command: Sequence[str],
    *,
    timeout: float,
    ended: threading.Event,
    clock: Clock,
    log: logging.Logger | logging.LoggerAdapter[logging.Logger],
) -> None:
    """Run it to its end. Raises HookFailed, also once `ended` is set, and ProcessFailed when it cannot be started."""
    with TemporaryDirectory(prefix="poolmgr-hook-") as directory:
        output = Path(directory) / "output"
        with Process(command, log_path=output, name="post-upload-hook", dies_with_us=True) as process:
            try:
                code = _wait(process, output, clock.monotonic() + timeout, ended, clock)
            finally:
                process.stop(_GRACE)
        said = [line.rstrip()[:_LINE] for line in process.last_output(LAST_LINES).splitlines()]
    for line in said:
        log.log(logging.INFO if code == 0 else logging.WARNING, "post-upload-hook: %s", line)
    if code is None:
        raise HookFailed("post-upload-hook was cut off" if ended.is_set() else _too_long(timeout))
    if code != 0:
        last = f": {said[-1]}" if said else ""
        raise HookFailed(f"post-upload-hook refused the image with exit code {code}{last}")


def _wait(
    process: Process, output: Path, deadline: float, ended: threading.Event, clock: Clock
) -> int | None:
    """The exit code, None when it must not go on."""
    while not ended.is_set() and clock.monotonic() < deadline:
        code = process.wait(min(_LOOK_EVERY, max(0.0, deadline - clock.monotonic())))
        if code is not None:
            return code
        if output.stat().st_size > MOST_OUTPUT:
            os.truncate(output, 0)  # it is appended to
    return None


def _too_long(timeout: float) -> str:
    return f"post-upload-hook was not done within {timeout:g} s"
