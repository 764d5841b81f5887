"""Image builds and their uploads to providers (zookeeper.md 8)."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


class BuildState(enum.Enum):
    BUILDING = "building"
    READY = "ready"
    FAILED = "failed"
    DELETING = "deleting"


class UploadState(enum.Enum):
    UPLOADING = "uploading"
    READY = "ready"
    FAILED = "failed"
    DELETING = "deleting"


@dataclass(frozen=True, kw_only=True, slots=True)
class Build:
    """One build of a disk image. `image` and `id` come from its path."""

    id: str = field(default="", metadata={"stored": False})
    image: str = field(default="", metadata={"stored": False})
    state: BuildState = BuildState.BUILDING
    state_time: float = 0.0
    builder: str | None = None
    builder_id: str | None = None
    formats: str | None = None  # comma separated, sorted; absent when empty
    username: str | None = "zuul"
    python_path: str | None = "/usr/bin/python2"
    shell_type: str | None = None
    version: int = field(default=-1, compare=False, metadata={"stored": False})
    zxid: int = field(default=-1, compare=False, metadata={"stored": False})
    extra: Mapping[str, Any] = field(default_factory=dict, metadata={"stored": False})


@dataclass(frozen=True, kw_only=True, slots=True)
class Upload:
    """One upload of a build to a provider. `image`, `build`, `provider` and `id` come from its path."""

    id: str = field(default="", metadata={"stored": False})
    image: str = field(default="", metadata={"stored": False})
    build: str = field(default="", metadata={"stored": False})
    provider: str = field(default="", metadata={"stored": False})
    state: UploadState = UploadState.UPLOADING
    state_time: float = 0.0
    external_id: str | None = None
    external_name: str | None = None
    format: str | None = None
    username: str | None = "zuul"
    python_path: str | None = "/usr/bin/python2"
    shell_type: str | None = None
    version: int = field(default=-1, compare=False, metadata={"stored": False})
    zxid: int = field(default=-1, compare=False, metadata={"stored": False})
    extra: Mapping[str, Any] = field(default_factory=dict, metadata={"stored": False})

    @property
    def path(self) -> str:
        """Where it is stored; node records name the upload they booted from by it (zookeeper.md 7.1)."""
        return f"/nodepool/images/{self.image}/builds/{self.build}/providers/{self.provider}/images/{self.id}"
