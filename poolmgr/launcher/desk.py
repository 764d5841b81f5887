"""What `Assignment` has to know of pools, and of who works on what they take. Every driver has its own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from poolmgr.model.node import Node
from poolmgr.model.request import NodeRequest
from poolmgr.model.snapshot import Snapshot
from poolmgr.policy.requests import PoolFacts
from poolmgr.store.api import Lock


class Desk(Protocol):
    """One pool: where its requests are judged."""

    @property
    def pool_id(self) -> str:
        """That of its component record."""

    def facts(self, snapshot: Snapshot, now: float, *, launching: int) -> PoolFacts:
        """What judging needs to know. `launching`: nodes of this provider that are being brought up."""

    def free_ready(self, label: str, snapshot: Snapshot) -> list[Node]:
        """Nodes of this pool that can be handed out now, those to be taken first in front."""

    def note_deferred(self, now: float) -> None:
        """A request waits here for room."""


class Taker(Protocol):
    """Who works on the requests that one provider's pools take."""

    @property
    def launching(self) -> int:
        """How many nodes it brings up."""

    def spare_nodes(self, label: str, pool: str) -> list[Node]:
        """Nodes being built that no request wants."""

    def take(self, request: NodeRequest, lock: Lock, pool: str) -> None:
        """Begin to work on a request that was just locked and judged. Raises Conflict, LockLost, RecordGone."""

    def decline(self, request: NodeRequest, lock: Lock, pool_ids: Iterable[str], reason: str) -> None:
        """Write our refusal and let go."""

    def __contains__(self, request_id: str, /) -> bool:
        """Whether it is still at it."""
