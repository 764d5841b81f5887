"""The operator's post-upload-hook: a program that sees an image in its cloud and may refuse it.

It is called `<hook> <provider> <image id> <file>`, without a shell, under a shepherd as builds are: whatever it starts
ends with it, and with us. What it says goes into our log; one that never stops talking fills no disk.
"""

from __future__ import annotations

import logging
import os
import shutil
import threading
from collections.abc import Sequence
from tempfile import TemporaryFile
from typing import IO

from poolmgr.errors import PoolmgrError, ProcessFailed
from poolmgr.runtime.clock import Clock
from poolmgr.runtime.shepherd import Errand
from poolmgr.runtime.supervised import Supervised

#: Bytes of output that are kept; when there are more, what came first is forgotten.
MOST_OUTPUT = 256 << 10
LAST_LINES = 20
_LINE = 400  # characters
_LOOK_EVERY = 0.2  # seconds
_GRACE = 5.0  # seconds between SIGTERM and SIGKILL
_NAME = "post-upload-hook"


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
    if shutil.which(command[0]) is None:
        raise ProcessFailed(f"cannot start {_NAME} {command[0]}: there is no such program")
    with TemporaryFile() as output:  # it has no name: a crash leaves none behind
        errand = Errand(
            command=list(command),
            environ=dict(os.environ),
            log_path=f"/proc/{os.getpid()}/fd/{output.fileno()}",
            grace=_GRACE,
        )
        hook = Supervised(errand, name=_NAME)
        in_time = _wait(hook, output, clock.monotonic() + timeout, ended, clock)
        hook.end()
        if not hook.ended.wait(4 * _GRACE):
            hook.kill()
        said = _last_lines(output)
    code = hook.outcome.code if in_time else None
    for line in said:
        log.log(logging.INFO if code == 0 else logging.WARNING, "%s: %s", _NAME, line)
    if not in_time:
        raise HookFailed(f"{_NAME} was cut off" if ended.is_set() else _too_long(timeout))
    if code != 0:
        last = f": {said[-1]}" if said else ""
        raise HookFailed(f"{_NAME} refused the image with exit code {code}{last}")


def _wait(hook: Supervised, output: IO[bytes], deadline: float, ended: threading.Event, clock: Clock) -> bool:
    """Whether it came to its end; False when it must not go on. A program takes real time, whatever the clock says."""
    while not ended.is_set() and clock.monotonic() < deadline:
        if hook.ended.wait(min(_LOOK_EVERY, max(0.0, deadline - clock.monotonic()))):
            return True
        if os.fstat(output.fileno()).st_size > MOST_OUTPUT:
            os.ftruncate(output.fileno(), 0)  # it is appended to
    return False


def _last_lines(output: IO[bytes]) -> list[str]:
    size = os.fstat(output.fileno()).st_size
    start = max(0, size - MOST_OUTPUT)
    text = os.pread(output.fileno(), MOST_OUTPUT, start).decode(errors="replace")
    return [line.rstrip()[:_LINE] for line in text.splitlines()[-LAST_LINES:]]


def _too_long(timeout: float) -> str:
    return f"{_NAME} was not done within {timeout:g} s"
