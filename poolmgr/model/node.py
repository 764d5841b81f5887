"""Nodes: one machine each, from the decision to have it until its record is removed."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any


class NodeState(enum.Enum):
    """The states of spec zookeeper.md 7.2; Nodepool and Zuul know no others."""

    INIT = "init"
    BUILDING = "building"
    TESTING = "testing"
    READY = "ready"
    IN_USE = "in-use"
    USED = "used"
    HOLD = "hold"
    DELETING = "deleting"
    FAILED = "failed"
    ABORTED = "aborted"
    DELETED = "deleted"


#: States in which a node that nobody has locked is garbage (zookeeper.md 7.2, the rule).
GARBAGE_WHEN_UNLOCKED = frozenset(
    {
        NodeState.BUILDING,
        NodeState.IN_USE,
        NodeState.USED,
        NodeState.FAILED,
        NodeState.ABORTED,
        NodeState.DELETING,
        NodeState.DELETED,
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """One node record: the facts other launchers and Zuul share.

    Field names are the stored keys, except where `metadata["key"]` names the stored one. Times are
    seconds since the epoch (UTC). `version` and `zxid` describe the stored copy and are not stored.
    Keys we don't know are in `extra` and are written back.
    """

    id: str = field(default="", metadata={"stored": False})
    state: NodeState = NodeState.INIT
    state_time: float = 0.0
    labels: tuple[str, ...] = field(default=(), metadata={"key": "type"})
    provider: str | None = None
    pool: str | None = None
    cloud: str | None = None
    region: str | None = None
    az: str | None = None
    launcher: str | None = None
    allocated_to: str | None = None
    tenant_name: str | None = None
    requestor: str | None = None
    created_time: float | None = None
    external_id: Any = None  # the server's id; a dict for some foreign drivers
    hostname: str | None = None
    interface_ip: str | None = None
    public_ipv4: str | None = None
    private_ipv4: str | None = None
    public_ipv6: str | None = None
    host_id: str | None = None
    connection_type: str | None = "ssh"
    connection_port: Any = 22  # an int; a dict for some foreign drivers. Stored as ssh_port too
    username: str | None = None  # None: the executor's default user
    python_path: str | None = "auto"
    shell_type: str | None = None
    host_keys: tuple[str, ...] = ()  # "<type> <base64>" each
    image_id: str | None = None
    resources: Mapping[str, Any] | None = None  # cores, instances, ram (MiB), volumes, volume-gb
    attributes: Mapping[str, Any] | None = None
    slot: int | None = None
    driver_data: Any = None
    node_properties: Mapping[str, Any] | None = None
    user_data: Any = None
    hold_job: str | None = None
    comment: str | None = None
    hold_expiration: Any = None  # seconds in HOLD; None or 0: no limit of its own
    version: int = field(default=-1, compare=False, metadata={"stored": False})
    zxid: int = field(default=-1, compare=False, metadata={"stored": False})
    extra: Mapping[str, Any] = field(default_factory=dict, metadata={"stored": False})

    @property
    def label(self) -> str:
        """The first label: the one a launched node was made for."""
        return self.labels[0] if self.labels else ""

    def freed(self) -> Node:
        """The same node, belonging to nobody: it counts against no tenant's limits any more."""
        return replace(self, allocated_to=None, tenant_name=None)

    def moved(self, state: NodeState, *, at: float, **changes: Any) -> Node:
        """The same node in `state` since `at`; the original is untouched."""
        return replace(self, state=state, state_time=at, **changes)
