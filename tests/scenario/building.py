"""Builders that really build, with the pretended disk-image-create: real processes, files and time, memory store.

A `BuildSite` is one store tree and the directories of one machine; a `Builder` is one builder process on it, whose
store goes through a fuse, so that it can be killed at any write.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from poolmgr.builder.builds import Builds
from poolmgr.builder.context import Activity, Identity, Parts
from poolmgr.builder.files import ImageFiles
from poolmgr.builder.janitor import Janitor
from poolmgr.config.settings import DiskImage, ImageBuild, Settings
from poolmgr.model.image import Build, BuildState
from poolmgr.observe.stats import NullStats
from poolmgr.policy.image_tuning import ImageTuning
from poolmgr.runtime.clock import SystemClock
from poolmgr.store.memory import MemoryStore, MemoryTree
from tests.scenario.harness import Fuse, Fused, Killed

ACTS = ("lock_builds", "create_build", "save_build", "delete_build", "withdraw_order", "unlock")
TUNING = ImageTuning(
    idle_cycle=0.5, cycle_spacing=0.0, retry_first=30.0, space_look=0.05, grace_kill=0.3, abandoned_after=0.2
)
DIB = f"{sys.executable} -m poolmgr.simcloud.dib"
ROOT = Path(__file__).parents[2]


def until(condition: Callable[[], Any], limit: float = 60.0) -> Any:
    end = time.monotonic() + limit
    while not (value := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)
    return value


class BuildStats(NullStats):
    def __init__(self) -> None:
        self.builds: list[dict[str, Any]] = []

    def build_ended(self, image: str, **more: Any) -> None:
        self.builds.append({"image": image, **more})


class BuildSite:
    def __init__(self, directory: Path) -> None:
        self.tree = MemoryTree()
        self.images_dir = directory / "images"
        self.log_dir = directory / "logs"
        self.tmp = directory / "tmp"
        for one in (self.images_dir, self.tmp):
            one.mkdir(parents=True, exist_ok=True)
        self.settings = Settings(images_dir=str(self.images_dir), build_log_dir=str(self.log_dir))
        self.builders: list[Builder] = []
        self.trouble: str | None = None  # with the images directory
        self.client = MemoryStore(self.tree)
        self.client.start()

    def images(self, **images: Mapping[str, Any]) -> None:
        """Configure these and no others: keys of ImageBuild, and of DiskImage below `image`."""
        made = {}
        for name, build in images.items():
            more = dict(build.get("image", {}))
            keys = {"dib_cmd": DIB, "elements": ("vm",), "formats": ("qcow2",)} | {
                key: value for key, value in build.items() if key != "image"
            }
            keys["env_vars"] = {"TMPDIR": str(self.tmp), "SIMDIB_SIZE": "70000", **keys.get("env_vars", {})}
            made[name] = DiskImage(name=name, build=ImageBuild(**keys), **more)
        self.settings = Settings(
            images_dir=str(self.images_dir), build_log_dir=str(self.log_dir), diskimages=made
        )

    def builder(
        self, *, name: str = "one", workers: int = 1, fuse: Fuse | None = None, **more: Any
    ) -> Builder:
        made = Builder(self, name=name, workers=workers, fuse=fuse or Fuse(), **more)
        self.builders.append(made)
        return made

    def close(self) -> None:
        for one in self.builders:
            one.die()
        self.client.close()

    def builds(self, image: str = "img") -> list[Build]:
        with self.client.reading() as snapshot:
            return sorted(snapshot.builds_of(image), key=lambda one: one.started or 0.0)

    def one(self, state: BuildState, image: str = "img") -> Build | None:
        found = [one for one in self.builds(image) if one.state is state]
        return found[0] if found else None

    def wait_for(self, state: BuildState, image: str = "img") -> Build:
        build: Build = until(lambda: self.one(state, image))
        return build

    def names(self) -> set[str]:
        """What is in the images directory."""
        return {path.name for path in self.images_dir.iterdir() if path.name != "builder_id.txt"}

    def left_in_tmp(self) -> list[str]:
        return os.listdir(self.tmp)

    def log(self, build: Build) -> str:
        return (self.log_dir / f"{build.name}.log").read_text(errors="replace")


class Builder:
    """`janitor`: whether this process cleans up too."""

    def __init__(
        self, site: BuildSite, *, name: str, workers: int, fuse: Fuse, janitor: bool = False, **tuning: Any
    ) -> None:
        self.site, self.fuse, self.killed = site, fuse, threading.Event()
        self.stats = BuildStats()
        self.memory = MemoryStore(site.tree)
        self.memory.start()
        self.store: Any = Fused(self.memory, fuse, ACTS)
        identity = Identity(
            id=f"id-{name}",
            hostname=name,
            fqdn=f"{name}.example.org",
            deployment=self.memory.deployment(),
            url=f"http://{name}:8006",
        )
        self.parts = Parts(
            store=self.store,
            stats=self.stats,
            clock=SystemClock(),
            tuning=replace(TUNING, **tuning),
            identity=identity,
            new_id=lambda: uuid4().hex,
            settings=lambda: site.settings,
            providers=dict,
            stray_provider=lambda cloud, region: None,
            activity=Activity(),
            images_dir_trouble=lambda: site.trouble,
        )
        self.files = ImageFiles(site.images_dir, deployment=identity.deployment, builder_id=identity.id)
        environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
        self.builds = Builds(self.parts, workers, environ=environ)
        self.janitor = Janitor(self.parts) if janitor else None
        self.undo = self.memory.subscribe(lambda _: self.wake())

    def start(self) -> Builder:
        if self.janitor:
            self.janitor.start()
        self.builds.start()
        return self

    def wake(self) -> None:
        self.builds.wake()
        if self.janitor:
            self.janitor.wake()

    def cycle(self) -> None:
        """One cycle of one worker, here; a blown fuse kills the process."""
        try:
            self.builds._cycle("build-worker-1")
        except Killed:
            self.die()

    def die(self) -> None:
        """As far as the store can tell, kill -9."""
        self.undo()
        self.builds.stop(0.0)
        if self.janitor:
            self.janitor.stop(0.0)
        with contextlib.suppress(Exception):
            self.memory.expire()
        self.memory.close()
