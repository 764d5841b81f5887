"""Builders in one thread: memory store, simulated clouds, real directories, a clock that only moves when told.

`BuilderSite` is the world that builders share, with records and images as a builder before would have left them;
`BuilderProcess` is one builder's janitor on it, that can be killed at any write or cloud call.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from poolmgr.builder.context import Activity, Identity, ImageProvider, Parts
from poolmgr.builder.files import ImageFiles
from poolmgr.builder.janitor import Janitor
from poolmgr.cloud.api import Trial, TrialResult
from poolmgr.cloud.simulated import SimulatedCloud
from poolmgr.cloud.simulated.images import CONTAINER, OWNER_HEADER
from poolmgr.config.settings import DiskImage, ImageBuild, OpenStackProvider, ProviderImage, Settings
from poolmgr.model.cloud_image import ImageOwner
from poolmgr.model.image import Build, BuildState, Upload, UploadState
from poolmgr.observe.stats import NullStats
from poolmgr.policy.image_files import Marker
from poolmgr.policy.image_tuning import ImageTuning
from poolmgr.runtime.executor import Executor
from poolmgr.simcloud.config import fault_of
from poolmgr.simcloud.config import load as sim_config
from poolmgr.simcloud.content import Digest
from poolmgr.simcloud.images import NewImage
from poolmgr.simcloud.world import World
from poolmgr.store.memory import MemoryStore, MemoryTree
from tests.fakes import FakeClock, InlineExecutor
from tests.scenario.harness import Fuse, Fused, FusedCalls, Killed

TUNING = ImageTuning(late_import=120.0, sweep_interval=100.0, sweep_age=150.0)
STEP = 10.0  # seconds between cycles
STORE_ACTS = (
    "lock_builds",
    "save_build",
    "delete_build",
    "lock_uploads",
    "lock_upload",
    "save_upload",
    "delete_upload",
    "unlock",
)


def build_id(number: int) -> str:
    return f"{number:032x}"


class CountingStats(NullStats):
    def __init__(self) -> None:
        self.leaks: list[tuple[str, str]] = []

    def image_leaked(self, provider: str, kind: str, count: int = 1) -> None:
        self.leaks += [(provider, kind)] * count


class CountingCanary:
    """A canary without trials; its sweeps are counted."""

    def __init__(self) -> None:
        self.sweeps = 0

    def try_image(self, trial: Trial, **_: Any) -> TrialResult:
        raise AssertionError(trial)

    def sweep(self) -> int:
        self.sweeps += 1
        return 0


class BuilderSite:
    """`clouds`: the shape of each, by name; providers have the names of their clouds, and list `img`."""

    def __init__(
        self, directory: Path, clouds: Mapping[str, str] | None = None, *, delete_after_upload: bool = False
    ) -> None:
        shapes = clouds or {"north": "direct", "south": "direct"}
        self.directory = directory
        self.clock = FakeClock()
        config = {"seed": 1, "clouds": {name: {"shape": shape} for name, shape in shapes.items()}}
        self.world = World(sim_config(config), self.clock.time)
        self.tree = MemoryTree()
        self.client = MemoryStore(self.tree, clock=self.clock)
        self.client.start()
        self.deployment = self.client.deployment()
        self.settings = Settings(
            images_dir=str(directory),
            diskimages={
                "img": DiskImage(name="img", build=ImageBuild(delete_after_upload=delete_after_upload))
            },
            providers={name: provider(name) for name in shapes},
        )
        self._started = itertools.count(1)

    def without(self, *names: str) -> None:
        """Drop providers from the settings."""
        left = {name: one for name, one in self.settings.providers.items() if name not in names}
        self.settings = replace(self.settings, providers=left)

    def start(self, **more: Any) -> BuilderProcess:
        return BuilderProcess(self, next(self._started), **more)

    def run(self, *processes: BuilderProcess, seconds: float = 300.0, step: float = STEP) -> None:
        end = self.clock.monotonic() + seconds
        while self.clock.monotonic() < end:
            for process in processes:
                process.cycle()
            self.clock.advance(step)

    # What builders before have left

    def put_build(
        self,
        number: int,
        state: BuildState = BuildState.READY,
        *,
        builder: str = "me",
        files: Iterable[str] = (),
        **more: Any,
    ) -> Build:
        """A build that ended `number` hours after the beginning of time; with marker and files if it has any."""
        record = Build(
            image="img",
            id=build_id(number),
            state=state,
            state_time=self.clock.time() - 1e6 + 3600.0 * number,
            builder_id=builder,
            **more,
        )
        lock = self.client.lock_builds("img")
        record = self.client.create_build(record, lock)
        self.client.unlock(lock)
        if files:
            self.put_files(number, *files, builder=builder)
        return record

    def put_files(self, number: int, *formats: str, builder: str = "me") -> ImageFiles:
        self.directory.mkdir(exist_ok=True)
        files = ImageFiles(self.directory, deployment=self.deployment, builder_id=builder)
        files.mark(
            Marker(
                image="img",
                build=build_id(number),
                deployment=self.deployment,
                builder_id=builder,
                formats=tuple(formats),
            )
        )
        for one in formats:
            files.path("img", build_id(number), one).write_text("x")
        return files

    def put_upload(
        self, of: int, where: str, state: UploadState = UploadState.READY, *, there: bool = True, **more: Any
    ) -> Upload:
        """The record of an upload, and its image, unless `there` is False."""
        record = Upload(
            image="img",
            build=build_id(of),
            provider=where,
            state=state,
            state_time=self.clock.time() - 1e6 + 3600.0 * of,
            builder_id=more.pop("builder", "me"),
            format="qcow2",
            cloud=where,
            **more,
        )
        record = self.client.create_upload(record)
        if there:
            image_id = self.put_image(where, self.owner(record))
            record = self.client.save_upload(replace(record, external_id=image_id))
        return record

    def owner(self, upload: Upload) -> ImageOwner:
        return ImageOwner(
            provider=upload.provider,
            image=upload.image,
            build=upload.build,
            upload=upload.id,
            deployment=self.deployment,
        )

    def put_image(self, cloud: str, owner: ImageOwner | None = None, *, name: str = "img-1") -> str:
        """An active image in the cloud; its id."""
        properties = owner.properties() if owner else {}
        images = self.world.clouds[cloud].images
        return str(images.add(NewImage(name=name, properties=properties), status="active").id)

    def put_object(self, cloud: str, name: str, owner: ImageOwner) -> None:
        objects = self.world.clouds[cloud].objects
        objects.create_container(CONTAINER)
        digest = Digest()
        digest.feed(b"x")
        objects.put(CONTAINER, name, digest, headers={OWNER_HEADER: json.dumps(asdict(owner))})

    def fault(self, cloud: str, **fault: Any) -> None:
        self.world.clouds[cloud].faults.add(fault_of(fault))

    # Looking

    def images(self, cloud: str) -> set[str]:
        """Ids of the project's images that really are there."""
        return {image.id for image in self.world.clouds[cloud].images.images.values() if image.mine}

    def objects(self, cloud: str) -> set[str]:
        return set(self.world.clouds[cloud].objects.containers.get(CONTAINER, {}))

    def builds(self) -> dict[int, Build]:
        with self.client.reading() as snapshot:
            return {int(build.id, 16): build for build in snapshot.builds()}

    def uploads(self) -> dict[tuple[int, str, int], Upload]:
        """By build, provider and number."""
        with self.client.reading() as snapshot:
            return {(int(u.build, 16), u.provider, int(u.id)): u for u in snapshot.uploads()}

    def files(self) -> set[str]:
        return {path.name for path in self.directory.iterdir()}

    def calls(self, cloud: str, operation: str) -> int:
        return int(self.world.clouds[cloud].calls[operation])


def provider(name: str, *images: str) -> OpenStackProvider:
    listing = {one: ProviderImage(name=one) for one in images or ("img",)}
    return OpenStackProvider(name=name, cloud=name, diskimages=listing)


class BuilderProcess:
    """The janitor of builder `name`. `executors`: those of single clouds; everyone else's jobs run inline."""

    def __init__(
        self,
        site: BuilderSite,
        number: int,
        *,
        name: str = "me",
        fuse: Fuse | None = None,
        executors: Mapping[str, Executor] | None = None,
        directory: Path | None = None,
        deployment: str | None = None,
    ) -> None:
        self.site, self.fuse = site, fuse or Fuse()
        self.memory = MemoryStore(site.tree, clock=site.clock)
        self.memory.start()
        self.stats, self.activity = CountingStats(), Activity()
        self.canary = CountingCanary()
        self.alive = True
        places = {cloud: self._place(cloud, (executors or {}).get(cloud)) for cloud in site.world.clouds}
        self.places = places
        store: Any = Fused(self.memory, self.fuse, STORE_ACTS)
        self.parts = Parts(
            store=store,
            stats=self.stats,
            clock=site.clock,
            tuning=TUNING,
            identity=Identity(
                id=name, hostname=name, fqdn=f"{name}.example.org", deployment=deployment or site.deployment
            ),
            new_id=lambda: f"{number:032x}",
            settings=lambda: replace(site.settings, images_dir=str(directory or site.directory)),
            providers=lambda: {name: places[name] for name in site.settings.providers},
            stray_provider=lambda cloud, _: places.get(cloud),
            activity=self.activity,
        )
        (directory or site.directory).mkdir(exist_ok=True)
        self.janitor = Janitor(self.parts)

    def _place(self, cloud: str, executor: Executor | None) -> ImageProvider:
        far = self.site.world.clouds[cloud]
        return ImageProvider(
            name=cloud,
            cloud=cloud,
            region=None,
            image_format="qcow2",
            images=SimulatedCloud(far, clock=self.site.clock, calls=FusedCalls(far, self.fuse)),
            canary=self.canary,
            uploads=InlineExecutor(),
            deletions=InlineExecutor() if executor is None else executor,
        )

    def cycle(self) -> float | None:
        """The seconds until it wants to run again; None if it is dead."""
        if not self.alive:
            return None
        try:
            pause = self.janitor.cycle()
        except Killed:
            pause = 0.0
        if self.fuse.instead is None and self.fuse.at is not None and self.fuse.count >= self.fuse.at:
            self.die()  # on another thread, perhaps
        return pause

    def die(self) -> None:
        """Nothing more happens here, and the store notices after the session timeout (at once, here)."""
        self.alive = False
        self.memory.expire()
        self.memory.close()
