"""What an image build may leave behind in its own temporary directory, and how all of it goes.

Processes, mounts, mappings and loop devices on files there, and the files. Each step may be repeated, and nothing is
removed before all that is mounted there is gone: the build's /dev may be the machine's.
"""

from __future__ import annotations

import logging
import os
import shutil
import stat
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from poolmgr.runtime.as_root import as_root
from poolmgr.runtime.descendants import end_all, working_in
from poolmgr.runtime.mounts import Device, devices_on, mounts, mounts_below, within

log = logging.getLogger(__name__)

_ROUNDS = 4  # a mount may be busy until a loop device on a file in it is gone, and the other way round


@dataclass
class Cleared:
    """What there was to do. `errors` is empty when nothing is left, the directory included."""

    killed: int = 0  # processes
    unmounted: list[str] = field(default_factory=list)
    detached: list[str] = field(default_factory=list)  # loop devices and mappings
    errors: list[str] = field(default_factory=list)


def clear_tmpdir(directory: Path, *, grace: float = 2.0) -> Cleared:
    """Remove the directory with everything that works in it, is mounted there or hangs on its files. Never raises.

    Processes get `grace` seconds between SIGTERM and SIGKILL. For what is root's, `sudo -n` is used if we are not
    root. Takes seconds; without anything but files there, as long as removing these.
    """
    done = Cleared()
    try:
        top = Path(os.path.realpath(directory.parent), directory.name)
        status = top.lstat()
    except OSError:
        status = None
    found = working_in(directory)
    done.killed = len(found)
    left = end_all(lambda: working_in(directory), grace=grace) if found else []
    done.errors += [f"process {one.pid} does not end" for one in left]
    if status is not None and not stat.S_ISDIR(status.st_mode):
        return done  # no build made that: it stays
    release(os.fspath(top), done)
    if status is not None:
        _remove(top, done)
    if done.killed or done.unmounted or done.detached or done.errors:
        log.info(
            "%s: %d processes ended, unmounted %s, detached %s, errors %s",
            directory,
            done.killed,
            done.unmounted or "nothing",
            done.detached or "nothing",
            done.errors or "none",
        )
    return done


def release(top: str, done: Cleared) -> None:
    """Unmount what is below `top` or on devices that hang on its files, and detach these."""
    complaints: list[str] = []
    for number in range(_ROUNDS):
        devices = devices_on(top)
        if not devices and not mounts_below(top):
            return
        lazily = number == _ROUNDS - 1  # someone we did not find still has a file open there
        complaints = _unmount(top, devices, done, lazily=lazily)
        complaints += [complaint for one in devices if (complaint := _detach(one, done))]
    if devices_on(top) or mounts_below(top):
        done.errors += complaints or [f"something below {top} is still mounted or attached"]


def _unmount(top: str, devices: list[Device], done: Cleared, *, lazily: bool) -> list[str]:
    numbers = frozenset().union(*(one.numbers for one in devices)) if devices else frozenset()
    complaints = []
    for one in reversed(mounts()):
        if not within(one.point, top) and one.device not in numbers:
            continue
        complaint = as_root("umount", *(["--lazy"] if lazily else []), "--no-canonicalize", one.point)
        if complaint:
            complaints.append(complaint)
        else:
            done.unmounted.append(one.point)
    return complaints


def _detach(device: Device, done: Cleared) -> str:
    """The complaint, if there is one."""
    if device.mapping:
        complaint = as_root("dmsetup", "remove", device.name)
    else:
        _remove_nodes(device)
        complaint = as_root("losetup", "--detach", f"/dev/{device.name}")
    if not complaint:
        done.detached.append(device.name)
    return complaint


def _remove_nodes(device: Device) -> None:
    """Names in /dev/mapper for a loop device: kernels without device-mapper have such instead of mappings."""
    with suppress(OSError):
        for node in Path("/dev/mapper").iterdir():
            status = node.lstat()
            number = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
            if stat.S_ISBLK(status.st_mode) and number in device.numbers:
                as_root("rm", "--force", os.fspath(node))


def _remove(top: Path, done: Cleared) -> None:
    mounted = mounts_below(os.fspath(top))
    if mounted:
        done.errors.append(f"{top} stays: {mounted[0].point} is mounted there")
        return
    try:
        shutil.rmtree(top)  # follows no links
    except FileNotFoundError:
        pass
    except OSError as error:
        complaint = str(error)
        if os.geteuid() != 0:
            complaint = as_root("rm", "--recursive", "--force", "--one-file-system", "--", os.fspath(top))
        if complaint:
            done.errors.append(complaint)
