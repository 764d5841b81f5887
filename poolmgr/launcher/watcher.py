"""Whom launches tell how they go: the requests that wait for them."""

from __future__ import annotations

from typing import Protocol

from poolmgr.model.node import Node
from poolmgr.model.server import Flavor
from poolmgr.policy.launch import Result
from poolmgr.store.api import Lock


class Watcher(Protocol):
    """Who wants to know how launches end; the node's lock passes to it with `node_ready`."""

    def node_ready(self, node: Node, lock: Lock) -> None: ...

    def node_lost(self, node_id: str, result: Result) -> None:
        """Aborted: the node goes, the request stays."""

    def node_failed(self, node_id: str, result: Result, reason: str) -> None:
        """All attempts are used up, or none can help."""

    def label_rejected(self, label: str, reason: str) -> None:
        """The cloud refuses the label's settings: no other node of it can be launched either."""

    def no_room(self, flavor: Flavor, zone: str | None, reason: str) -> frozenset[str | None]:
        """The zone had none for a server of this flavor; returns all zones that are known to have none now."""

    def had_room(self, flavor: Flavor, zone: str | None) -> None:
        """A server of this flavor has become ACTIVE there."""
