"""All of our loggers at DEBUG for a while, then as they were.

Handlers are left alone: one with a level of its own goes on to keep back what is below it, mails of errors for one.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

from poolmgr.runtime.alarm import Alarm
from poolmgr.runtime.clock import Clock

log = logging.getLogger(__name__)

#: Seconds of it, unless it is asked for again meanwhile.
LOUD = 600.0
_OURS = ("poolmgr", "nodepool")


class Loudness:
    """Owned by the process; `begin` may come from any thread."""

    def __init__(self, clock: Clock) -> None:
        self._lock = threading.Lock()  # of `_before`
        self._before: dict[str, int] | None = None  # levels by logger; None: nothing was changed
        self._alarm = Alarm("loudness", self.end, clock)

    def begin(self) -> None:
        """DEBUG from now on, for `LOUD` seconds."""
        with self._lock:
            extends = self._before is not None
            if self._before is None:
                self._before = {one.name: one.level for one in _with_a_level()}
                for name in self._before:
                    logging.getLogger(name).setLevel(logging.DEBUG)
        self._alarm.set(LOUD)
        log.warning("Log level DEBUG for %s%.0f minutes", "another " if extends else "", LOUD / 60)

    def end(self) -> None:
        """As it was before `begin`. Idempotent."""
        with self._lock:
            if self._before is None:
                return
            log.warning("Log level as before")
            for name, level in self._before.items():
                logging.getLogger(name).setLevel(level)
            self._before = None

    def stop(self) -> None:
        self._alarm.stop()
        self.end()


def _with_a_level() -> Iterator[logging.Logger]:
    """Ours at the top, and those below that do not simply follow them."""
    for name, one in list(logging.getLogger().manager.loggerDict.items()):
        if not isinstance(one, logging.Logger) or name.partition(".")[0] not in _OURS:
            continue
        if name in _OURS or one.level not in (logging.NOTSET, logging.DEBUG):
            yield one
