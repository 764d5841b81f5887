"""`python -m poolmgr.simcloud.dib ARGUMENT...`: takes disk-image-create's arguments and pretends to be it.

It writes `<output>.<format>` for each format (valid disks of random content), the checksum files with `--checksum`,
the manifests in `<output>.d/dib-manifests`, works below TMPDIR as the real one does, and says what it does in lines
with the time in front. What it does is chosen by the environment, so by `env-vars` of a diskimage:

    SIMDIB_SIZE        bytes of content (8 MiB)
    SIMDIB_DISK        size of the disk in bytes; beyond SIMDIB_SIZE it is a hole (SIMDIB_SIZE)
    SIMDIB_SECONDS     how long it works before it writes the files (0)
    SIMDIB_SEED        the same number makes the same bytes (each build differs)
    SIMDIB_FAULT       one or several of FAULTS, with commas between
    SIMDIB_FAULT_FILE  where to read further ones at the start, so that they can be changed from build to build
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from poolmgr.simcloud.disk_formats import WRITERS

FAULTS = {
    "fail": "an element fails half-way: exit code 1",
    "hang": "never ends, and ignores SIGTERM",
    "no-file": "exit code 0 without the last format's file",
    "empty-file": "exit code 0, and the last format's file is empty",
    "half-file": "dies half-way through the first file, by SIGKILL",
    "daemon": "leaves a process behind, in a session of its own, that keeps the output open",
    "fill-disk": "writes to the first file until the disk is full (at most 1 GiB)",
}
LONGEST_FILL = 1 << 30
STEPS = (
    "Running hooks from {build}/hooks/root.d",
    "Running hooks from {build}/hooks/extra-data.d",
    "Running hooks from {build}/hooks/pre-install.d",
    "Running hooks from {build}/hooks/install.d",
    "Running hooks from {build}/hooks/post-install.d",
    "Running hooks from {build}/hooks/finalise.d",
    "Running hooks from {build}/hooks/cleanup.d",
)
PACKAGES = (
    ("base-files", "12.4"),
    ("libc6", "2.36-9"),
    ("linux-image-amd64", "6.1.1"),
    ("openssh-server", "1:9.2"),
)


class _Failure(Exception):
    """Ends the program with this text and exit code 1."""


@dataclass(frozen=True, kw_only=True)
class _Plan:
    output: Path
    formats: tuple[str, ...]
    elements: tuple[str, ...]
    checksum: bool
    size: int
    disk: int
    seconds: float
    seed: int
    faults: frozenset[str]

    def path(self, image_format: str) -> Path:
        return self.output.with_name(f"{self.output.name}.{image_format}")


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    told = _parser().parse_args(arguments)
    try:
        plan = _plan(told, environ)
        _say("diskimage-builder version 0 (pretended)")
        _say(f"Building elements: base {' '.join(plan.elements)}")
        _build(plan, arguments)
    except (_Failure, OSError, ValueError) as failure:
        _say(f"ERROR: {failure}")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    """The real one's options; those that make no difference here are only taken."""
    parser = argparse.ArgumentParser(prog="disk-image-create", allow_abbrev=False)
    parser.add_argument("elements", nargs="*", metavar="ELEMENT")
    parser.add_argument("-o", dest="output", default="image")
    parser.add_argument("-t", dest="formats", default="qcow2")
    parser.add_argument("-x", dest="trace", action="count", default=0)
    for flag in ("-u", "-c", "-n", "--offline", "--no-tmpfs", "--checksum"):
        parser.add_argument(flag, action="store_true")
    for option in (
        "-a",
        "-p",
        "--logfile",
        "--image-size",
        "--image-extra-size",
        "--image-cache",
        "--min-tmpfs",
    ):
        parser.add_argument(option)
    for option in ("--max-online-resize", "--mkfs-journal-size", "--mkfs-options", "--qemu-img-options"):
        parser.add_argument(option)
    for option in ("--root-label", "--ramdisk-element", "--install-type", "--docker-target"):
        parser.add_argument(option)
    parser.add_argument("--version", action="version", version="0 (pretended)")
    return parser


def _plan(told: argparse.Namespace, environ: Mapping[str, str]) -> _Plan:
    formats = tuple(told.formats.split(","))
    unknown = sorted(set(formats) - set(WRITERS))
    if unknown:
        raise _Failure(f"cannot make {', '.join(unknown)}")
    if not told.elements:
        raise _Failure("At least one distribution root element must be specified")
    size = int(environ.get("SIMDIB_SIZE", 8 << 20))
    disk = max(size, int(environ.get("SIMDIB_DISK", size)))
    return _Plan(
        output=Path(told.output),
        formats=formats,
        elements=tuple(told.elements),
        checksum=told.checksum,
        size=size,
        disk=-(-disk // 512) * 512,
        seconds=float(environ.get("SIMDIB_SECONDS", 0)),
        seed=int(environ["SIMDIB_SEED"])
        if environ.get("SIMDIB_SEED")
        else random.SystemRandom().getrandbits(64),
        faults=_faults(environ),
    )


def _faults(environ: Mapping[str, str]) -> frozenset[str]:
    text = environ.get("SIMDIB_FAULT", "")
    if environ.get("SIMDIB_FAULT_FILE") and Path(environ["SIMDIB_FAULT_FILE"]).exists():
        text += "," + Path(environ["SIMDIB_FAULT_FILE"]).read_text(encoding="utf-8").strip()
    found = frozenset(name for name in text.split(",") if name)
    if found - FAULTS.keys():
        raise _Failure(f"no such SIMDIB_FAULT: {', '.join(sorted(found - FAULTS.keys()))}")
    return found


def _build(plan: _Plan, arguments: Sequence[str]) -> None:
    if "daemon" in plan.faults:
        _leave_daemon()
    with tempfile.TemporaryDirectory(prefix="dib_build.", ignore_cleanup_errors=True) as build:
        _work(plan, Path(build))
        _write_manifests(plan, arguments)
        _write_disks(plan)
    _say("Build completed successfully")


def _work(plan: _Plan, build: Path) -> None:
    """The hooks, which take the time, and some of the room in TMPDIR."""
    for number, step in enumerate(STEPS):
        _say(step.format(build=build))
        (build / f"step-{number}").write_bytes(b"\1" * min(plan.size // len(STEPS), 1 << 20))
        time.sleep(plan.seconds / len(STEPS))
        if number == len(STEPS) // 2:
            _fail_half_way(plan.faults)


def _fail_half_way(faults: Collection[str]) -> None:
    if "fail" in faults:
        raise _Failure("dib-run-parts 10-pretended failed")
    if "hang" in faults:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _say("dib-run-parts Running 50-wait-for-ever")
        while True:
            time.sleep(3600)


def _leave_daemon() -> None:
    """What an element does that starts a service in the chroot and forgets it."""
    if os.fork() == 0:
        os.setsid()
        if os.fork():
            os._exit(0)
        _say(f"a daemon runs as process {os.getpid()}")
        while True:
            time.sleep(3600)
    os.wait()


def _write_manifests(plan: _Plan, arguments: Sequence[str]) -> None:
    directory = plan.output.with_name(plan.output.name + ".d") / "dib-manifests"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "dib_arguments").write_text(" ".join(arguments) + "\n", encoding="utf-8")
    listed = [
        {"package": name, "arch": "amd64", "version": version, "status": "ii "} for name, version in PACKAGES
    ]
    manifest = directory / f"dib-manifest-dpkg-{plan.output.name}"
    manifest.write_text(json.dumps({"packages": listed}, indent=0), encoding="utf-8")


def _write_disks(plan: _Plan) -> None:
    if "fill-disk" in plan.faults:
        _fill(plan.path(plan.formats[0]))
    if "half-file" in plan.faults:
        WRITERS["raw"](plan.path(plan.formats[0]), data=plan.size // 2, size=plan.size // 2, seed=plan.seed)
        os.kill(os.getpid(), signal.SIGKILL)
    for image_format in plan.formats:
        path = plan.path(image_format)
        last = image_format == plan.formats[-1]
        if last and "no-file" in plan.faults:
            continue
        _say(f"Converting image using qemu-img convert, {path}")
        draft = path.with_name(path.name + ".tmp")
        if last and "empty-file" in plan.faults:
            draft.touch()
        else:
            WRITERS[image_format](draft, data=plan.size, size=plan.disk, seed=plan.seed)
        draft.replace(path)
        if plan.checksum:
            _write_checksums(path)
        _say(f"Image file {path} created")


def _fill(path: Path) -> None:
    piece = random.randbytes(1 << 20)
    with path.open("wb") as file:
        for _ in range(LONGEST_FILL // len(piece)):
            file.write(piece)  # raises what the real one stumbles over
    raise _Failure("the disk is larger than this pretends to fill")


def _write_checksums(path: Path) -> None:
    hashes = {"md5": hashlib.md5(usedforsecurity=False), "sha256": hashlib.sha256()}
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            for one in hashes.values():
                one.update(piece)
    for kind, one in hashes.items():
        path.with_name(f"{path.name}.{kind}").write_text(f"{one.hexdigest()}  {path}\n", encoding="utf-8")


def _say(text: str) -> None:
    sys.stdout.write(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S.%f}"[:23] + f" | {text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
