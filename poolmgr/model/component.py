"""Components: which launchers, pools and builders are alive (zookeeper.md 5)."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


class ComponentKind(enum.Enum):
    LAUNCHER = "launcher"
    BUILDER = "builder"
    POOL = "pool"


class ComponentState(enum.Enum):
    INITIALIZING = "initializing"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"


@dataclass(frozen=True, kw_only=True, slots=True)
class Component:
    """One component record; the fields from `id` on mean something for pools only.

    `znode` is the record's own name in the store (`<hostname><sequence>`), "" before registration.
    """

    znode: str = field(default="", metadata={"stored": False})
    kind: ComponentKind = ComponentKind.LAUNCHER
    hostname: str = ""
    state: ComponentState = ComponentState.INITIALIZING
    version: str | None = None  # of the software
    model_api: int = 0
    id: str | None = None  # the launcher-pool id that goes into declined_by
    name: str | None = None
    provider_name: str | None = None
    supported_labels: tuple[str, ...] = ()
    priority: int = 100  # lower is preferred
    paused: bool = False  # a request there waits for quota
    stat_version: int = field(default=-1, compare=False, metadata={"stored": False})
    zxid: int = field(default=-1, compare=False, metadata={"stored": False})
    extra: Mapping[str, Any] = field(default_factory=dict, metadata={"stored": False})
