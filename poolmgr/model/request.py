"""Node requests: what a CI system asks for, and what became of it."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

#: The requestor that marks requests launchers make for min-ready (zookeeper.md 6.1).
MIN_READY_REQUESTOR = "NodePool:min-ready"
#: The priority part of the ids of those requests.
MIN_READY_PRIORITY = 900


class RequestState(enum.Enum):
    """The states of zookeeper.md 6.2."""

    REQUESTED = "requested"
    PENDING = "pending"
    FULFILLED = "fulfilled"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeRequest:
    """One node request. `id` is `<priority>-<sequence>`, e.g. `200-0000012345`; times are epoch seconds."""

    id: str = field(default="", metadata={"stored": False})
    state: RequestState = RequestState.REQUESTED
    state_time: float = 0.0
    labels: tuple[str, ...] = field(default=(), metadata={"key": "node_types"})
    nodes: tuple[str, ...] = ()  # node ids in the order of `labels`; only when fulfilled
    declined_by: tuple[str, ...] = ()  # launcher-pool ids
    reuse: bool = True  # False: ready nodes must not be used (min-ready)
    requestor: str | None = None
    requestor_data: Any = None  # opaque, returned untouched
    provider: str | None = None  # the wanted provider's name, a preference
    relative_priority: int = 0  # lower first
    event_id: str | None = None
    created_time: float | None = None
    tenant_name: str | None = None
    version: int = field(default=-1, compare=False, metadata={"stored": False})
    zxid: int = field(default=-1, compare=False, metadata={"stored": False})
    extra: Mapping[str, Any] = field(default_factory=dict, metadata={"stored": False})

    @property
    def rank(self) -> tuple[str, int, str]:
        """The sort key: who is served first has the smallest (zookeeper.md 6.1)."""
        priority, _, sequence = self.id.partition("-")
        return (priority, self.relative_priority, sequence)

    @property
    def is_min_ready(self) -> bool:
        return self.requestor == MIN_READY_REQUESTOR

    def moved(self, state: RequestState, *, at: float, **changes: Any) -> NodeRequest:
        """The same request in `state` since `at`."""
        return replace(self, state=state, state_time=at, **changes)
