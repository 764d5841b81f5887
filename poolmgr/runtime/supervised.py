"""A command under a shepherd, as seen from the process that wants it run."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from poolmgr.errors import ProcessFailed
from poolmgr.runtime.shepherd import Errand, Outcome, outcome_from

log = logging.getLogger(__name__)

_ROOT = Path(__file__).parents[2]  # where the package is imported from


class Supervised:
    """A command that has been started. Thread-safe.

    `ended` is set once it, all that it started and all that it left are gone; then `outcome` says how it went.
    """

    def __init__(self, errand: Errand, *, name: str, on_end: Callable[[], None] = lambda: None) -> None:
        """`name` is shown to people in the process table. `on_end` is called from a thread of ours.

        Raises ProcessFailed when the shepherd cannot be started; a command that cannot is an outcome.
        """
        self.name = name
        self.ended = threading.Event()
        self.outcome = Outcome(errors=("it was killed together with what it should have cleaned up",))
        self._on_end = on_end
        self._lock = threading.Lock()  # of the input
        path = os.pathsep.join(filter(None, [os.fspath(_ROOT), os.environ.get("PYTHONPATH")]))
        try:
            with open(errand.log_path, "ab") as output:
                self._shepherd = subprocess.Popen(  # collected in _listen
                    [sys.executable, "-P", "-m", "poolmgr.runtime.shepherd", name],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=output,
                    env={**os.environ, "PYTHONPATH": path},
                    start_new_session=True,  # Ctrl-C on our terminal must not end it unasked
                )
        except OSError as error:
            raise ProcessFailed(f"cannot start {name}: {error}") from error
        self._send(json.dumps(asdict(errand)) + "\n")
        threading.Thread(target=self._listen, name=f"shepherd-{name}", daemon=True).start()

    def end(self) -> None:
        """Have it ended and cleaned up; `ended` tells when that is done. Idempotent."""
        with self._lock, suppress(OSError):
            assert self._shepherd.stdin is not None
            self._shepherd.stdin.close()

    def kill(self) -> None:
        """Give up a shepherd that does not come to an end. What it looked after may stay: clear its tmpdir."""
        self._shepherd.kill()

    def _send(self, text: str) -> None:
        assert self._shepherd.stdin is not None
        try:
            self._shepherd.stdin.write(text.encode())
            self._shepherd.stdin.flush()
        except OSError as error:
            log.error("%s: its shepherd is gone before it began: %s", self.name, error)

    def _listen(self) -> None:
        assert self._shepherd.stdout is not None
        with self._shepherd.stdout as answers:
            text = answers.read().decode(errors="replace")
        self._shepherd.wait()
        try:
            self.outcome = outcome_from(text)
        except (ValueError, TypeError):
            log.error("%s: its shepherd ended with %d", self.name, self._shepherd.returncode)
        self.end()
        self.ended.set()
        self._on_end()
