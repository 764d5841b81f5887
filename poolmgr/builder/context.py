"""What the workers of one builder share."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from poolmgr.cloud.api import Canary, ImageCloud
from poolmgr.config.settings import Settings
from poolmgr.observe.stats import Stats
from poolmgr.policy.image_tuning import ImageTuning
from poolmgr.runtime.clock import Clock
from poolmgr.runtime.executor import Executor
from poolmgr.store.api import Store


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Who this builder is. `id` comes from `builder_id.txt` in the images directory."""

    id: str
    hostname: str
    fqdn: str
    deployment: str
    url: str | None = None  # of its web server, None without one


@dataclass(frozen=True, kw_only=True)
class ImageProvider:
    """One provider's cloud, as the builder needs it; made by `wiring`. Uploads have a session of their own."""

    name: str
    cloud: str  # in clouds.yaml
    region: str | None
    image_format: str
    images: ImageCloud
    canary: Canary
    uploads: Executor  # as many threads as `max-parallel-uploads` allows
    deletions: Executor  # for deleting and listing, so that uploads never wait for them nor they for uploads


@dataclass(frozen=True, kw_only=True)
class Parts:
    store: Store
    stats: Stats
    clock: Clock
    tuning: ImageTuning
    identity: Identity
    new_id: Callable[[], str]  # 32 hex
    settings: Callable[[], Settings]  # those in force
    providers: Callable[[], Mapping[str, ImageProvider]]  # those that could be reached for; by name
    stray_provider: Callable[[str, str | None], ImageProvider | None]
    """The cloud and region of an upload record whose provider is not configured; None if clouds.yaml lacks it."""
    activity: Activity
    images_dir_trouble: Callable[[], str | None] = lambda: None
    """Why nothing can be kept in the images directory now, None when something can."""

    @property
    def images_dir(self) -> Path:
        directory = self.settings().images_dir
        assert directory is not None  # a builder does not start without
        return Path(directory)


@dataclass
class Activity:
    """What this process is building and uploading right now; thread-safe. Builds as (image, build), uploads by path."""

    _lock: threading.Lock = field(default_factory=threading.Lock)
    _builds: dict[tuple[str, str], float] = field(default_factory=dict)
    _uploads: dict[str, float] = field(default_factory=dict)

    def begin_build(self, image: str, build: str, at: float) -> None:
        with self._lock:
            self._builds[image, build] = at

    def end_build(self, image: str, build: str) -> None:
        with self._lock:
            self._builds.pop((image, build), None)

    def begin_upload(self, path: str, at: float) -> None:
        with self._lock:
            self._uploads[path] = at

    def end_upload(self, path: str) -> None:
        with self._lock:
            self._uploads.pop(path, None)

    @property
    def builds(self) -> frozenset[tuple[str, str]]:
        with self._lock:
            return frozenset(self._builds)

    @property
    def uploads(self) -> frozenset[str]:
        with self._lock:
            return frozenset(self._uploads)
