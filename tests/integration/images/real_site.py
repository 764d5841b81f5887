"""A builder process that runs the real diskimage-builder, and the ZooKeeper of its installation, in one directory.

The directory outlives the tests: another run goes on with the installation, its records and its images where this one
stopped. So the image that tools/images.sh has made is what tests on real OpenStack services upload.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import psutil

from poolmgr.cli.demo.daemon_process import DaemonProcess
from poolmgr.cli.demo.stack import NO_PROXY
from poolmgr.model.image import Build, BuildState, Upload
from poolmgr.runtime.leftovers import clear_tmpdir
from poolmgr.runtime.zookeeper_server import ZooKeeperServer
from poolmgr.store.zookeeper import ZooKeeperStore
from tests.zookeeper import free_port

T = TypeVar("T")

#: tools/images.sh names it.
KEPT = Path(os.environ.get("POOLMGR_IMAGES", "/var/tmp/poolmgr-images"))
ELEMENTS = Path(__file__).parents[3] / "etc" / "elements"
IMAGE = "debian"
_CHROOT = "/images"
_PLACES = ("zookeeper", "images", "tmp", "logs")
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))

#: A node of Debian that boots by itself, shows what it does on its serial port, and takes its key from a config drive.
REAL_IMAGE = {
    "name": IMAGE,
    "elements": ["debian-minimal", "vm", "debian-node"],
    "release": os.environ.get("DIB_RELEASE", "bookworm"),
    "username": "debian",
    "python-path": "/usr/bin/python3",
    "build-timeout": 1500,
    "keep-builds": 1,
    "keep-uploads": 1,
    "env-vars": {
        "DIB_CLOUD_INIT_DATASOURCES": "ConfigDrive",
        "DIB_BOOTLOADER_DEFAULT_CMDLINE": "console=ttyS0,115200 net.ifnames=0",
        "DIB_GRUB_TIMEOUT": "0",
        "DIB_JOURNAL_SIZE": "16",
        "DIB_SHOW_IMAGE_USAGE": "0",
    },
}


def eventually(condition: Callable[[], T], *, within: float) -> T:
    """The first true answer of `condition`; the limit is for a hang only."""
    deadline = time.monotonic() + within
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise AssertionError("it never became true")
        time.sleep(0.1)
    return answer


class RealSite:
    """`start` and `close` may be called in turn. `image` says what is built, `providers` where it goes."""

    def __init__(
        self,
        directory: Path,
        *,
        image: Mapping[str, Any],
        providers: list[dict[str, Any]],
        clouds_yaml: Path,
    ) -> None:
        self.directory = directory
        for place in _PLACES:
            (directory / place).mkdir(parents=True, exist_ok=True)
        self.zookeeper = ZooKeeperServer(directory / "zookeeper")
        self.zookeeper.start()
        self.config = {
            "zookeeper-servers": [{"host": "127.0.0.1", "port": self.zookeeper.port, "chroot": _CHROOT}],
            "zookeeper-plaintext": True,
            "zookeeper-timeout": 4,
            "images-dir": str(self.images),
            "elements-dir": str(ELEMENTS),
            "build-log-dir": str(directory / "logs"),
            "builder-webapp": {"port": free_port(), "listen_address": "127.0.0.1"},
            "diskimages": [dict(image)],
            "providers": providers,
        }
        self.change()
        environ = {
            **os.environ,
            **NO_PROXY,
            "OS_CLIENT_CONFIG_FILE": str(clouds_yaml),
            "TMPDIR": str(self.tmp),
        }
        self.builder = DaemonProcess(
            "builder", self.config_path, directory / "builder.log", environ,
            options=["--tuning", "sweep_interval=5", "--tuning", "delete_retry=1"],
        )  # fmt: skip
        self.store = ZooKeeperStore(f"{self.zookeeper.hosts}{_CHROOT}")
        self.store.start()

    @property
    def images(self) -> Path:
        return self.directory / "images"

    @property
    def tmp(self) -> Path:
        return self.directory / "tmp"

    @property
    def config_path(self) -> Path:
        return self.directory / "nodepool.yaml"

    def change(self, **keys: Any) -> None:
        """Change top-level keys of the configuration; a running builder sees it."""
        self.config |= keys
        draft = self.config_path.with_suffix(".draft")
        draft.write_text(json.dumps(self.config))
        draft.replace(self.config_path)

    def builds(self) -> list[Build]:
        with self.store.reading() as snapshot:
            return list(snapshot.builds())

    def build(self, state: BuildState) -> Build | None:
        """One in this state. A build that failed is the end."""
        builds = self.builds()
        for one in builds:
            assert one.state is not BuildState.FAILED, f"{one.reason}\n{self.log_of(one)[-4000:]}"
        return next((one for one in builds if one.state is state), None)

    def uploads(self) -> list[Upload]:
        with self.store.reading() as snapshot:
            return list(snapshot.uploads())

    def log_of(self, build: Build) -> str:
        return (self.directory / "logs" / f"{build.name}.log").read_text()

    def command(self, *args: str) -> str:
        """What `poolmgr` says on standard output."""
        done = subprocess.run(
            [sys.executable, "-m", "poolmgr.cli.main", "-c", str(self.config_path), *args],
            env=self.builder.environ, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def left(self) -> list[str]:
        """What builds have left behind, or are using still: mounts, loop devices, processes, files."""
        mark = f"{self.tmp}/"
        mounts = Path("/proc/self/mounts").read_text().splitlines()
        found = [f"mount {line}" for line in mounts if mark in line]
        for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
            try:
                file = backing.read_text().strip()
            except OSError:  # just gone
                continue
            if file.startswith((mark, "/dev/loop")):
                found.append(f"{backing.parts[3]} on {file}")
        found += [f"node {node}" for node in Path("/dev/mapper").glob("loop*")]
        return [*found, *self._processes(), *map(str, self.tmp.iterdir())]

    def _processes(self) -> list[str]:
        known = {os.getpid(), self.builder.pid}
        found = []
        for process in psutil.process_iter():
            try:
                ours = process.environ().get("TMPDIR", "").startswith(str(self.tmp))
                if ours and process.pid not in known:
                    found.append(f"process {process.pid}: {' '.join(process.cmdline())}")
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found

    def close(self) -> None:
        """End all of it. The end of the builder's log is printed, which pytest shows when a test has failed."""
        self.builder.stop()
        self.store.close()
        self.zookeeper.stop()
        print((self.directory / "builder.log").read_text()[-20_000:])


def fresh(directory: Path) -> Path:
    """The directory without what an earlier run may have kept in it."""
    for place in _PLACES:
        for one in (directory / "tmp").glob("*") if place == "tmp" else ():
            assert clear_tmpdir(one).errors == []
        shutil.rmtree(directory / place, ignore_errors=True)
    (directory / "builder.log").unlink(missing_ok=True)
    return directory


def copy_of(kept: Path, directory: Path) -> Path:
    """The installation of `kept` as one of its own; image files, which nobody writes to again, are shared."""
    for place in _PLACES:
        if place == "images":
            shutil.copytree(kept / place, directory / place, copy_function=_share)
        else:
            shutil.copytree(kept / place, directory / place)
    return directory


def _share(source: str, target: str) -> None:
    if os.stat(source).st_size < 1 << 20:
        shutil.copy2(source, target)
        return
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)


def fetched(url: str) -> str:
    with _DIRECT.open(url, timeout=60) as answer:
        return answer.read().decode(errors="replace")
