"""The metadata of a new server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import SimpleNamespace

from poolmgr.config.settings import PoolLabel
from poolmgr.model.node import Node
from poolmgr.model.request import NodeRequest
from poolmgr.model.server import (
    META_ATTEMPT,
    META_DEPLOYMENT,
    META_GROUPS,
    META_NODE_ID,
    META_POOL,
    META_PROVIDER,
)


def owner_metadata(node: Node, *, image: str, deployment: str, attempt: int) -> dict[str, str]:
    """The keys that say whose server it is; the first four are shared with Nodepool (launcher.md 9.4)."""
    return {
        META_NODE_ID: node.id,
        META_PROVIDER: node.provider or "",
        META_POOL: node.pool or "",
        META_GROUPS: ",".join((node.provider or "", image, node.label)),
        META_DEPLOYMENT: deployment,
        META_ATTEMPT: str(attempt),
    }


def configured_properties(label: PoolLabel) -> dict[str, str]:
    return {str(key): str(value) for key, value in label.instance_properties.items()}


def dynamic_properties(label: PoolLabel, request: NodeRequest | None) -> Iterator[tuple[str, str | None]]:
    """The label's format strings filled in from the request they are for; None where one cannot be filled in."""
    if request is None:
        return
    fields = SimpleNamespace(
        id=request.id,
        labels=list(request.labels),
        requestor=request.requestor,
        requestor_data=request.requestor_data,
        relative_priority=request.relative_priority,
        event_id=request.event_id,
        created_time=request.created_time,
        tenant_name=request.tenant_name,
    )
    for key, template in label.dynamic_instance_properties.items():
        yield key, _fill(template, {"request": fields})


def _fill(template: str, fields: Mapping[str, object]) -> str | None:
    try:
        return template.format(**fields)
    except (LookupError, ValueError, AttributeError, TypeError):
        return None
