"""What is mounted where, and which block devices hang on files of a directory, from /proc and /sys.

proc_pid_mountinfo(5); Linux Documentation/ABI/testing/sysfs-block, `loop/backing_file`; sysfs `holders`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_BLOCK = Path("/sys/block")


@dataclass(frozen=True, slots=True)
class Mount:
    point: str
    device: str  # "major:minor"


@dataclass(frozen=True, slots=True)
class Device:
    """A loop device or a mapping. `numbers` are its own and its partitions', as "major:minor"."""

    name: str  # of a loop device in /dev, of a mapping in /dev/mapper
    kernel: str  # in /sys/block
    numbers: frozenset[str]
    mapping: bool = False


def within(path: str, directory: str) -> bool:
    """Whether the path is the directory or below it."""
    return path == directory or path.startswith(directory.rstrip("/") + "/")


def mounts() -> list[Mount]:
    """In the order in which they were made: what lies on top of others comes later."""
    text = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    fields = (line.split(" ") for line in text.splitlines())
    return [Mount(_unescaped(one[4]), one[2]) for one in fields]


def mounts_below(directory: str) -> list[Mount]:
    return [one for one in mounts() if within(one.point, directory)]


def devices_on(directory: str) -> list[Device]:
    """Loop devices backed by files there, loop devices backed by those, and mappings over them; the topmost first."""
    backing = dict(_loops())
    found: list[Device] = []
    names = [kernel for kernel, file in backing.items() if within(file, directory)]
    while names:
        layer = [_loop(kernel) for kernel in names]
        layer += [one for loop in layer for one in _mappings(loop)]
        found += [one for one in layer if one not in found]
        on_these = {f"/dev/{one.name}" for one in layer}
        known = {one.kernel for one in found}
        names = [kernel for kernel, file in backing.items() if file in on_these and kernel not in known]
    return found[::-1]


def _loops() -> Iterator[tuple[str, str]]:
    """(name, backing file) of each loop device in use."""
    for place in sorted(_BLOCK.glob("loop*/loop/backing_file")):
        with suppress(OSError):  # detached meanwhile
            text = place.read_text(encoding="utf-8", errors="surrogateescape").rstrip("\n")
            yield place.parts[-3], text.removesuffix(" (deleted)")


def _loop(kernel: str) -> Device:
    return Device(kernel, kernel, _numbers(_BLOCK / kernel))


def _mappings(device: Device) -> list[Device]:
    """Mappings that hold it or a partition of it, each after what it lies on."""
    found: list[Device] = []
    ahead = [device.kernel]
    while ahead:
        for holder in sorted(_holders(_BLOCK / ahead.pop())):
            with suppress(OSError):  # not a mapping, or removed meanwhile
                name = (_BLOCK / holder / "dm" / "name").read_text(encoding="utf-8").strip()
                mapping = Device(name, holder, _numbers(_BLOCK / holder), mapping=True)
                found.append(mapping)
                ahead.append(holder)
    return found


def _holders(block: Path) -> set[str]:
    places = [block / "holders", *block.glob(f"{block.name}p*/holders")]
    return {entry.name for place in places if place.is_dir() for entry in place.iterdir()}


def _numbers(block: Path) -> frozenset[str]:
    found = set()
    for place in (block / "dev", *block.glob(f"{block.name}p*/dev")):
        with suppress(OSError):
            found.add(place.read_text(encoding="ascii").strip())
    return frozenset(found)


def _unescaped(text: str) -> str:
    """Blanks and the like stand there as \\040."""
    raw = re.sub(rb"\\([0-7]{3})", lambda octal: bytes([int(octal[1], 8)]), os.fsencode(text))
    return os.fsdecode(raw)
