"""The processes below one, however they got away from its group and session, and how they are ended.

Linux only: /proc says who is whose child (proc_pid_stat(5)). A process that is the subreaper of what it started
(prctl(2), PR_SET_CHILD_SUBREAPER) finds daemons among its own children, once their parent has ended.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from poolmgr.runtime.as_root import as_root

_LAST_GRACE = 20.0  # seconds for killed processes to go; one that waits for a broken disk never does
_PAUSE = 0.05


@dataclass(frozen=True, slots=True)
class Running:
    """A process that has not ended. `started`, in ticks since the machine's start, tells it from a later namesake."""

    pid: int
    parent: int
    started: int


def running() -> Mapping[int, Running]:
    """All processes but zombies, by pid."""
    found = {}
    for name in os.listdir("/proc"):
        one = _running(int(name)) if name.isdecimal() else None
        if one is not None:
            found[one.pid] = one
    return found


def descendants(pid: int) -> list[Running]:
    """Those below the process, not itself."""
    return _below([pid], running())


def working_in(directory: Path) -> list[Running]:
    """Processes whose TMPDIR is the directory, or whose root lies in it, and all below them; never us or our parents.

    Of other users' processes, unless we are root, only those are found that are below one of ours.
    """
    everyone = running()
    seeds = [pid for pid in everyone if _works_in(pid, os.fspath(directory))]
    above = set(_ancestors(os.getpid(), everyone))
    below = _below(seeds, everyone)
    found = {one.pid: one for one in [*(everyone[pid] for pid in seeds), *below]}
    return [one for pid, one in found.items() if pid not in above]


def end_all(find: Callable[[], list[Running]], *, grace: float) -> list[Running]:
    """End what `find` finds, also what it starts meanwhile: SIGTERM, after `grace` seconds SIGKILL. Those that stay."""
    left = find()
    if left and grace > 0:
        _send(left, signal.SIGTERM)
        left = _until_gone(find, grace)
    end = time.monotonic() + _LAST_GRACE
    while left and time.monotonic() < end:
        _send(left, signal.SIGKILL)
        left = _until_gone(find, 0.5)
    return left


def _until_gone(find: Callable[[], list[Running]], seconds: float) -> list[Running]:
    end = time.monotonic() + seconds
    while (left := find()) and time.monotonic() < end:
        time.sleep(_PAUSE)
    return left


def _send(processes: Iterable[Running], number: signal.Signals) -> None:
    foreign = [str(one.pid) for one in processes if not _signalled(one, number)]
    if foreign:
        as_root("kill", "-s", number.name.removeprefix("SIG"), "--", *foreign)


def _signalled(process: Running, number: signal.Signals) -> bool:
    """False if it is not ours to signal. A process that has its number by now is not touched."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except OSError:
        return True
    try:
        if _running(process.pid) == process or _started(process.pid) == process.started:
            signal.pidfd_send_signal(descriptor, number)
    except PermissionError:
        return False
    except ProcessLookupError:
        pass
    finally:
        os.close(descriptor)
    return True


def _running(pid: int) -> Running | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    state, parent, *rest = text.rpartition(")")[2].split()  # the name in brackets may hold anything
    if state in "ZX":
        return None
    return Running(pid=pid, parent=int(parent), started=int(rest[17]))


def _started(pid: int) -> int | None:
    one = _running(pid)
    return one.started if one is not None else None


def _below(pids: Iterable[int], everyone: Mapping[int, Running]) -> list[Running]:
    children: dict[int, list[Running]] = {}
    for one in everyone.values():
        children.setdefault(one.parent, []).append(one)
    found: dict[int, Running] = {}
    ahead = list(pids)
    while ahead:
        for child in children.get(ahead.pop(), ()):
            if child.pid not in found:
                found[child.pid] = child
                ahead.append(child.pid)
    return list(found.values())


def _ancestors(pid: int, everyone: Mapping[int, Running]) -> Iterable[int]:
    while pid in everyone:
        yield pid
        pid = everyone[pid].parent


def _works_in(pid: int, directory: str) -> bool:
    with suppress(OSError):
        if f"TMPDIR={directory}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            return True
    with suppress(OSError):
        return os.readlink(f"/proc/{pid}/root").startswith(f"{directory}/")
    return False
