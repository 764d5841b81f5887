"""Image builds, their uploads to providers, and what operators order about an image (zookeeper.md 8).

Fields marked `OURS` are poolmgr's own: they are left out of the znode while they have their default, and records made
by nodepool-builder never have them. It ignores them, as it does all keys it does not know.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

#: Metadata of a field that only poolmgr writes, and only when it says something.
OURS = {"ours": True}


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


class Order(enum.Enum):
    """What an operator may order about an image; the value is the znode's name."""

    PAUSE = "pause"  # neither scheduled nor manual builds begin; uploads go on
    BUILD = "request-build"  # one build is wanted now


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageOrder:
    """An order that stands. `image` and `kind` come from its path. Orders of the reference's tools have no data."""

    image: str = field(default="", metadata={"stored": False})
    kind: Order = field(default=Order.BUILD, metadata={"stored": False})
    at: float = field(default=0.0, metadata={"stored": False})  # when the znode was made
    by: str | None = field(default=None, metadata=OURS)  # user@host
    reason: str | None = field(default=None, metadata=OURS)
    version: int = field(default=-1, compare=False, metadata={"stored": False})
    zxid: int = field(default=-1, compare=False, metadata={"stored": False})
    extra: Mapping[str, Any] = field(default_factory=dict, metadata={"stored": False})


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildFile:
    """One image file of a build, as it was when the build ended. Hashes are "" where they are not known."""

    size: int  # bytes
    allocated: int = 0  # bytes on disk; less than `size` for a sparse file
    md5: str = ""
    sha256: str = ""


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
    cause: str | None = field(default=None, metadata=OURS)  # why it was begun: `policy.builds.Cause`
    phase: str | None = field(default=None, metadata=OURS)  # while BUILDING
    started: float | None = field(default=None, metadata=OURS)  # epoch seconds
    duration: float | None = field(default=None, metadata=OURS)  # seconds, once it ended
    rc: int | None = field(
        default=None, metadata=OURS
    )  # of the image command; negative: killed by that signal
    reason: str | None = field(default=None, metadata=OURS)  # why it FAILED, or is DELETING
    failures: int = field(default=0, metadata=OURS)  # failed builds of the image in a row, with this one
    space: int | None = field(
        default=None, metadata=OURS
    )  # bytes of disk it needed at its peak, TMPDIR and files
    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, metadata=OURS)  # see `file`
    config_hash: str | None = field(default=None, metadata=OURS)  # of all that says how it is built
    withdrawn: tuple[str, ...] = field(
        default=(), metadata=OURS
    )  # providers where a person deleted its upload
    url: str | None = field(
        default=None, metadata=OURS
    )  # of its builder's web server, without slash at the end
    version: int = field(default=-1, compare=False, metadata={"stored": False})
    zxid: int = field(default=-1, compare=False, metadata={"stored": False})
    extra: Mapping[str, Any] = field(default_factory=dict, metadata={"stored": False})

    @property
    def name(self) -> str:
        """What people call it, and what its files are named after: `<image>-<build>`."""
        return f"{self.image}-{self.id}"

    @property
    def format_names(self) -> tuple[str, ...]:
        return tuple(name for name in (self.formats or "").split(",") if name)

    def file(self, image_format: str) -> BuildFile | None:
        """The file of this format; None where the record has none, as those of nodepool-builder."""
        found = self.files.get(image_format)
        if not isinstance(found, Mapping) or not isinstance(found.get("size"), int):
            return None
        return BuildFile(
            size=found["size"],
            allocated=int(found.get("allocated") or 0),
            md5=str(found.get("md5") or ""),
            sha256=str(found.get("sha256") or ""),
        )


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
    builder: str | None = field(default=None, metadata=OURS)  # FQDN of who uploads or uploaded it
    builder_id: str | None = field(default=None, metadata=OURS)
    cloud: str | None = field(
        default=None, metadata=OURS
    )  # in clouds.yaml: for when the provider is not configured
    region: str | None = field(default=None, metadata=OURS)
    phase: str | None = field(default=None, metadata=OURS)  # while UPLOADING: `UploadPhase`, or "validating"
    method: str | None = field(default=None, metadata=OURS)  # put, import, web-download, tasks, v1
    staged: str | None = field(default=None, metadata=OURS)  # "container/object" that may be there still
    sent: int = field(default=0, metadata=OURS)  # bytes of this attempt
    size: int | None = field(default=None, metadata=OURS)  # bytes of the file
    sha256: str | None = field(default=None, metadata=OURS)
    started: float | None = field(default=None, metadata=OURS)  # epoch seconds
    duration: float | None = field(default=None, metadata=OURS)  # seconds, once it ended
    reason: str | None = field(
        default=None, metadata=OURS
    )  # why it FAILED, or is DELETING, or why that takes long
    failures: int = field(
        default=0, metadata=OURS
    )  # failed attempts in a row at this build there, with this one
    evidence: str | None = field(
        default=None, metadata=OURS
    )  # the end of the canary's output and console log
    version: int = field(default=-1, compare=False, metadata={"stored": False})
    zxid: int = field(default=-1, compare=False, metadata={"stored": False})
    extra: Mapping[str, Any] = field(default_factory=dict, metadata={"stored": False})

    @property
    def path(self) -> str:
        """Where it is stored; node records name the upload they booted from by it (zookeeper.md 7.1)."""
        return f"/nodepool/images/{self.image}/builds/{self.build}/providers/{self.provider}/images/{self.id}"
