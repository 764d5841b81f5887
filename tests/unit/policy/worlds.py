"""Small things that tests of policies are made of."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from poolmgr.model.component import Component, ComponentKind
from poolmgr.model.node import Node, NodeState
from poolmgr.model.request import NodeRequest
from poolmgr.model.server import Listing, Server, ServerStatus
from poolmgr.model.snapshot import Snapshot
from poolmgr.policy.tuning import Tuning

#: Fixed here, so that tests don't depend on what suits real clouds today.
TUNING = Tuning(
    absence_sightings=2,
    young_server=60.0,
    unknown_spacing=10.0,
    adoption_spacing=20.0,
    adoption_patience=5.0,
    adoption_grace=60.0,
    retry_backoff=1.0,
    retry_backoff_max=30.0,
    delete_reissue=30.0,
    delete_patience=300.0,
    delete_reissue_max=1800.0,
    leak_age=300.0,
    capacity_cooldown=60.0,
    capacity_cooldown_max=900.0,
)
DEPLOYMENT = "d" * 32
OTHER_DEPLOYMENT = "e" * 32


def listing(*things: Any, at: float = 0.0, complete: bool = True, partial: bool = False) -> Listing[Any]:
    """A listing of `things` that began at `at`."""
    items = {t.id: t for t in things}
    return Listing(items=items, started_at=at, finished_at=at + 0.1, complete=complete, partial=partial)


def server(id_: str = "s-1", status: ServerStatus = ServerStatus.BUILD, **fields: Any) -> Server:
    """A server; `node`, `provider`, `deployment` and `attempt` go into its metadata, None leaves a key out."""
    keys = {
        "nodepool_node_id": fields.pop("node", None),
        "nodepool_provider_name": fields.pop("provider", "north"),
        "poolmgr_deployment": fields.pop("deployment", DEPLOYMENT),
        "poolmgr_attempt": fields.pop("attempt", None),
    }
    metadata = {key: str(value) for key, value in keys.items() if value is not None}
    return Server(id=id_, name=id_, status=status, metadata=metadata, **fields)


def pool(id_: str, labels: Iterable[str], provider: str = "north", **fields: Any) -> Component:
    return Component(
        kind=ComponentKind.POOL,
        znode=id_,
        id=id_,
        provider_name=provider,
        supported_labels=tuple(labels),
        **fields,
    )


def ready(id_: str, label: str = "small", provider: str = "north", **fields: Any) -> Node:
    return Node(id=id_, state=NodeState.READY, labels=(label,), provider=provider, pool="main", **fields)


def snapshot_of(*records: Node | NodeRequest | Component) -> Snapshot:
    snapshot = Snapshot()
    for record in records:
        match record:
            case Node():
                snapshot.put_node(record)
            case NodeRequest():
                snapshot.put_request(record)
            case Component():
                snapshot.put_component(record)
    return snapshot
