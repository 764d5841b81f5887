"""Signals as plain calls, made on a thread of their own.

A Python signal handler interrupts the main thread anywhere, also while that holds the lock of the very Event the
handler wants to set. So the handlers here only put the signal into a queue, the one thing that is safe there, and
a thread takes it out and calls what it stands for.
"""

from __future__ import annotations

import logging
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from types import FrameType
from typing import Any

log = logging.getLogger(__name__)

#: The logger operators know for it.
dump_log = logging.getLogger("nodepool.stack_dump")

_END = 0  # no signal has this number


@contextmanager
def handling(handlers: Mapping[signal.Signals, Callable[[], None]]) -> Iterator[None]:
    """Call `handlers[s]` for every signal `s` that arrives inside the block, one after the other.

    Handlers may set events and log. Previous dispositions return at the end. To be entered on the main thread.
    """
    arrived: queue.SimpleQueue[int] = queue.SimpleQueue()

    def note(number: int, _frame: FrameType | None) -> None:
        arrived.put(number)

    thread = threading.Thread(target=_dispatch, args=(arrived, dict(handlers)), name="signals", daemon=True)
    thread.start()
    before: dict[int, Any] = {number: signal.signal(number, note) for number in handlers}
    try:
        yield
    finally:
        for number, disposition in before.items():
            # None: set by foreign code, unknown to Python and not to be set back from here
            signal.signal(number, signal.SIG_DFL if disposition is None else disposition)
        arrived.put(_END)
        thread.join()


def _dispatch(arrived: queue.SimpleQueue[int], handlers: Mapping[signal.Signals, Callable[[], None]]) -> None:
    while (number := arrived.get()) != _END:
        try:
            handlers[signal.Signals(number)]()
        except Exception:  # the top of a thread: a failed reload must not make the process deaf to SIGTERM
            log.exception("Handling %s failed", signal.Signals(number).name)


def stop_signals(stop: Callable[[], None]) -> AbstractContextManager[None]:
    """For a command: SIGINT and SIGTERM call `stop` inside the block, each time one arrives."""
    return handling({signal.SIGINT: stop, signal.SIGTERM: stop})


def daemon_signals(
    *,
    stop: Callable[[], None],
    reload: Callable[[], None],
    louder: Callable[[], None],
    dump: Callable[[], str] | None = None,
) -> AbstractContextManager[None]:
    """For a daemon. Unlike with the reference (cli-web.md 2) SIGUSR1 stops nothing.

    SIGTERM and SIGINT call `stop`, SIGHUP calls `reload`, SIGUSR2 calls `louder`, SIGUSR1 logs what `dump` returns; by
    default the stacks of all threads.
    """
    text = dump or stacks
    return handling(
        {
            signal.SIGTERM: stop,
            signal.SIGINT: stop,
            signal.SIGHUP: reload,
            signal.SIGUSR1: lambda: log_dump(text()),
            signal.SIGUSR2: louder,
        }
    )


def log_dump(text: str) -> None:
    """Log `text` to `nodepool.stack_dump`: at DEBUG as the reference does, or so that it is seen all the same."""
    level = logging.DEBUG if dump_log.isEnabledFor(logging.DEBUG) else logging.WARNING
    dump_log.log(level, "%s", text)


def stacks() -> str:
    """For each thread its name, id, daemon flag and stack, innermost call last."""
    threads = {thread.ident: thread for thread in threading.enumerate()}
    parts = []
    for ident, frame in sorted(sys._current_frames().items()):
        thread = threads.get(ident)
        name = thread.name if thread else "?"
        daemon = thread.daemon if thread else "?"
        parts.append(f"Thread: {ident} {name} daemon: {daemon}\n{''.join(traceback.format_stack(frame))}")
    return "\n".join(parts)
