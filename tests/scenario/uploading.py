"""Uploads of builders in one thread: memory store, simulated clouds, small files, a clock that only moves when told.

`UploadSite` is a world of clouds, a store tree and an images directory; `Uploader` is the part of a builder process
that uploads, and can be killed at any write or cloud call.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from poolmgr.builder.context import Activity, Identity, ImageProvider, Parts
from poolmgr.builder.files import ImageFiles
from poolmgr.builder.janitor import Janitor
from poolmgr.builder.upload_queue import ProviderUploads
from poolmgr.builder.upload_slots import UploadSlots
from poolmgr.cloud.api import Trial, TrialResult
from poolmgr.cloud.simulated import SimulatedCloud
from poolmgr.config.settings import DiskImage, OpenStackProvider, ProviderImage, Settings
from poolmgr.errors import StoreUnavailable
from poolmgr.model.image import Build, BuildState, Upload, UploadState
from poolmgr.observe.stats import NullStats
from poolmgr.policy.image_files import Marker
from poolmgr.policy.image_tuning import ImageTuning
from poolmgr.runtime.executor import Executor
from poolmgr.runtime.pace import Pace
from poolmgr.simcloud.config import load as sim_config
from poolmgr.simcloud.faults import Fault, FaultKind
from poolmgr.simcloud.things import Image
from poolmgr.simcloud.world import World
from poolmgr.store.memory import MemoryStore, MemoryTree
from tests.fakes import FakeClock, InlineExecutor
from tests.scenario.harness import Fuse, Fused, FusedCalls, Killed

CONTENT = bytes(range(256)) * 40
TUNING = ImageTuning()
STEP = 5.0
STORE_ACTS = (
    "lock_uploads", "create_upload", "save_upload", "delete_upload", "unlock", "lock_upload", "save_build",
    "delete_build",
)  # fmt: skip


class RecordingStats(NullStats):
    def __init__(self) -> None:
        self.uploads: list[tuple[str, str, bool]] = []

    def upload_ended(self, image: str, provider: str, *, good: bool, seconds: float, size: int) -> None:
        self.uploads.append((image, provider, good))


class ScriptedCanary:
    """Trials end as `results` say, one after the other, then well. `during` runs within each."""

    def __init__(self, results: Iterable[TrialResult | Exception] = ()) -> None:
        self.results = list(results)
        self.trials: list[Trial] = []
        self.during: Callable[[], object] = lambda: None

    def try_image(self, trial: Trial, *, cancelled: Any = None) -> TrialResult:
        self.trials.append(trial)
        self.during()
        if cancelled is not None and cancelled.is_set():
            return TrialResult(passed=False, reason="cancelled")
        result = self.results.pop(0) if self.results else TrialResult(passed=True)
        if isinstance(result, Exception):
            raise result
        return result

    def sweep(self) -> int:
        return 0


def provider(name: str, images: Iterable[ProviderImage] = (), **more: Any) -> OpenStackProvider:
    listed = {one.name: one for one in images or [ProviderImage(name="debian")]}
    return OpenStackProvider(name=name, cloud=name, diskimages=listed, **more)


class Uploader:
    """One process. `executors` of single providers; everyone else's uploads run inline, within a cycle."""

    def __init__(
        self,
        site: UploadSite,
        *,
        fuse: Fuse | None = None,
        executors: Mapping[str, Executor] | None = None,
        builder: str = "one",
    ) -> None:
        self.site, self.fuse, self.stats = site, fuse or Fuse(), RecordingStats()
        self.memory = MemoryStore(site.tree, clock=site.clock)
        self.memory.start()
        store: Any = Fused(self.memory, self.fuse, STORE_ACTS)
        self.store = store
        self.clouds: dict[str, Any] = {}
        self.providers: dict[str, ImageProvider] = {}
        for name in site.world.clouds:
            cloud = self.clouds[name] = site.connect(name, self.fuse, self.memory.deployment())
            self.providers[name] = ImageProvider(
                name=name,
                cloud=name,
                region=None,
                image_format="raw",
                images=cloud,
                canary=site.canaries.setdefault(name, ScriptedCanary()),
                uploads=(executors or {}).get(name, InlineExecutor()),
                deletions=InlineExecutor(),
            )
        ids = (f"{n:032x}" for n in itertools.count(1))
        self.parts = Parts(
            store=store,
            stats=self.stats,
            clock=site.clock,
            tuning=site.tuning,
            identity=Identity(
                id=builder, hostname="host", fqdn="host.example.org", deployment=self.memory.deployment()
            ),
            new_id=lambda: next(ids),
            settings=lambda: site.settings,
            providers=lambda: self.providers,
            stray_provider=lambda cloud, region: None,
            activity=Activity(),
        )
        files = ImageFiles(
            site.directory, deployment=self.parts.identity.deployment, builder_id=self.parts.identity.id
        )
        slots = UploadSlots(lambda: site.settings.max_parallel_uploads, lambda name: self.queues[name].wake())
        pace = Pace(lambda: site.settings.upload_rate_limit, site.clock)
        self.queues = {name: ProviderUploads(self.parts, name, files, slots, pace) for name in self.providers}
        self.janitor = Janitor(self.parts)
        self.alive = True

    def cycle(self) -> None:
        cycles = [queue.cycle for queue in self.queues.values()]
        if self.site.tidied:
            cycles.append(self.janitor.cycle)
        for cycle in cycles:
            if self.alive and not self._is_dead():
                self._survive(cycle)
        if self.alive and self._is_dead():
            self.die()

    def _survive(self, cycle: Callable[[], float]) -> None:
        """As a worker's thread does."""
        with suppress(Killed, StoreUnavailable):
            cycle()

    def _is_dead(self) -> bool:
        """The executor catches what kills: a dead process is one that could not act any more."""
        fuse = self.fuse
        return fuse.at is not None and fuse.instead is None and fuse.count >= fuse.at

    def die(self) -> None:
        self.alive = False
        self.memory.expire()
        self.memory.close()

    def stop(self) -> None:
        for queue in self.queues.values():
            queue.stop(1.0)
        self.memory.close()
        self.alive = False


class UploadSite:
    def __init__(
        self,
        directory: Path,
        shapes: Mapping[str, str | Mapping[str, Any]] | None = None,
        *,
        providers: Iterable[OpenStackProvider] | None = None,
        image: DiskImage | None = None,
        tuning: ImageTuning = TUNING,
        clock: Any = None,
        **settings: Any,
    ) -> None:
        """`shapes`: by name of cloud and provider, its shape or all that its configuration says."""
        self.directory = directory
        self.clock = clock or FakeClock()
        told = {
            name: {"shape": x} if isinstance(x, str) else x for name, x in (shapes or {"one": "nat"}).items()
        }
        self.world = self.open_world({"seed": 1, "ssh": {"enabled": False}, "clouds": told})
        self.tree = MemoryTree(self.clock)
        self.tuning = tuning
        self.canaries: dict[str, ScriptedCanary] = {}
        self.tidied = False  # whether the janitor is at work, too
        wanted = providers if providers is not None else [provider(name) for name in told]
        first = image or DiskImage(name="debian")
        self.settings = Settings(
            images_dir=str(directory),
            diskimages={first.name: first},
            providers={one.name: one for one in wanted},
            **settings,
        )
        self.client = MemoryStore(self.tree, clock=self.clock)
        self.client.start()
        self.processes: list[Uploader] = []
        self._built = 0

    def open_world(self, config: Mapping[str, Any]) -> World:
        return World(sim_config(config), self.clock.time)

    def connect(self, name: str, fuse: Fuse, deployment: str) -> Any:
        """The provider's cloud as a process sees it."""
        far = self.world.clouds[name]
        return SimulatedCloud(far, clock=self.clock, calls=FusedCalls(far, fuse))

    def start(self, fuse: Fuse | None = None, **more: Any) -> Uploader:
        process = Uploader(self, fuse=fuse, **more)
        self.processes.append(process)
        return process

    def run(self, until: Callable[[], Any] | None = None, *, seconds: float = 600.0) -> bool:
        """Cycle and let time pass until `until()` holds or `seconds` are over; whether it held."""
        end = self.clock.monotonic() + seconds
        while self.clock.monotonic() < end:
            for process in self.processes:
                process.cycle()
            if until is not None and until():
                return True
            self.clock.advance(STEP)
        return until is not None and bool(until())

    # As an operator, a builder, a cloud

    def change(self, name: str, **changes: Any) -> None:
        """Other settings for a provider."""
        changed = replace(self.settings.providers[name], **changes)
        self.settings = replace(self.settings, providers={**self.settings.providers, name: changed})

    def build(
        self,
        image: str = "debian",
        *,
        content: bytes = CONTENT,
        builder: str = "one",
        formats: str = "raw",
        **more: Any,
    ) -> Build:
        """A build that just became READY, with its files on the builder's disk."""
        self._built += 1
        build_id = f"{self._built:032x}"
        files = ImageFiles(self.directory, deployment=self.client.deployment(), builder_id=builder)
        files.mark(
            Marker(image=image, build=build_id, deployment=self.client.deployment(), builder_id=builder)
        )
        told = {
            "size": len(content),
            "md5": hashlib.md5(content, usedforsecurity=False).hexdigest(),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        for one in formats.split(","):
            files.path(image, build_id, one).write_bytes(content)
        build = Build(
            id=build_id,
            image=image,
            state=BuildState.READY,
            state_time=self.clock.time(),
            builder="host.example.org",
            builder_id=builder,
            formats=formats,
            username="ci",
            python_path="/usr/bin/python3",
            files=dict.fromkeys(formats.split(","), told),
            **more,
        )
        lock = self.client.lock_builds(image)
        stored = self.client.create_build(build, lock)
        self.client.unlock(lock)
        return stored

    def delete(self, upload: Upload) -> None:
        """As `image-delete` does."""
        gone = replace(upload, state=UploadState.DELETING, state_time=self.clock.time(), reason=None)
        self.client.save_upload(gone)

    def strike(self, kind: str, cloud: str = "one", **more: Any) -> None:
        operations = more.pop("operations", ())
        far = self.world.clouds[cloud]
        with far.lock:
            far.faults.add(Fault(kind=FaultKind(kind), operations=tuple(operations), **more))

    def calm(self, cloud: str = "one") -> None:
        far = self.world.clouds[cloud]
        with far.lock:
            far.faults.clear()

    # Looking

    def uploads(self, state: UploadState | None = None, provider: str | None = None) -> list[Upload]:
        with self.client.reading() as snapshot:
            found = [u for u in snapshot.uploads() if state in (None, u.state)]
        return sorted((u for u in found if provider in (None, u.provider)), key=lambda u: u.path)

    def upload(self) -> Upload:
        """The only one."""
        found = self.uploads()
        assert len(found) == 1, found
        return found[0]

    def ready(self, count: int = 1) -> bool:
        return len(self.uploads(UploadState.READY)) == count

    def images(self, cloud: str = "one") -> list[Image]:
        far = self.world.clouds[cloud]
        with far.lock:
            far.timeline.settle()
            return [image for image in far.images.images.values() if image.mine]

    def objects(self, cloud: str = "one") -> list[str]:
        far = self.world.clouds[cloud]
        with far.lock:
            containers = far.objects.containers.items()
            return [f"{container}/{name}" for container, held in containers for name in held]

    def locks(self) -> list[str]:
        return [path for path in self.tree.paths() if "__lock__" in path]

    def left(self) -> dict[str, Any]:
        """All there is, for messages."""
        return {
            "uploads": [(u.path, u.state.value, u.external_id, u.reason) for u in self.uploads()],
            "images": {cloud: [(i.id, i.status) for i in self.images(cloud)] for cloud in self.world.clouds},
            "objects": {cloud: self.objects(cloud) for cloud in self.world.clouds},
            "locks": self.locks(),
        }

    def assert_one_ready(self, cloud: str = "one") -> Upload:
        """One READY record, its image, whole and alone, nothing staged, nothing locked. Returns the record."""
        assert [u.state for u in self.uploads(provider=cloud)] == [UploadState.READY], self.left()
        (upload,) = self.uploads(provider=cloud)
        (image,) = self.images(cloud)
        assert (image.id, image.status, image.size) == (upload.external_id, "active", upload.size), (
            self.left()
        )
        assert self.objects(cloud) == [], self.left()
        assert self.locks() == [], self.left()
        return upload

    def assert_nothing(self, cloud: str = "one") -> None:
        assert self.images(cloud) == [], self.left()
        assert self.objects(cloud) == [], self.left()
        assert self.locks() == [], self.left()
