"""A tenant's limits hold over all launchers, however many take its requests at the same time.

A launcher that takes a request of a tenant with limits promises it the resources first, in one record for the tenant
that can only be written by who has seen its last version (`model.fleet.TenantPromises`). So of two that would take the
last room one is refused, looks again, and sees what the other has promised, also while it cannot see its nodes yet.
A promise is kept until its request is not worked on any more; then what its nodes have is what counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from poolmgr.config.settings import TenantLimits
from poolmgr.model.fleet import TenantPromises
from poolmgr.model.node import NodeState
from poolmgr.model.request import RequestState
from poolmgr.model.resources import Resources, counted, minus, total
from poolmgr.model.snapshot import Snapshot
from poolmgr.policy.capacity import tenant_available

#: So long after a promise was made it counts in any case, in seconds: a node that was made at once, and whose request
#: is gone again, may be seen a moment later than the record's next version.
FRESH = 2.0
#: The states of a node with which a promise is kept.
_COMING = (NodeState.INIT, NodeState.BUILDING, NodeState.READY)


def room(
    tenant: str | None,
    tenants: Mapping[str, TenantLimits],
    snapshot: Snapshot,
    *,
    now: float,
    besides: str = "",
) -> Resources:
    """What `tenant` may still have, over all launchers; empty (no limit) for none or an unlimited one.

    `besides`: the request that asks, whose own promise does not stand in its way. Nodes that are on their way out count
    as long as they are there. `now`: epoch seconds.
    """
    if tenant is None or tenant not in tenants:
        return {}
    left = tenant_available(tenant, tenants, snapshot)
    return minus(left, outstanding(tenant, snapshot, now=now, besides=besides))


def outstanding(tenant: str, snapshot: Snapshot, *, now: float, besides: str = "") -> Resources:
    """What is promised to the tenant's requests, but for `besides`, and not in nodes yet. `now`: epoch seconds."""
    promises = snapshot.promises(tenant).promised
    return total(
        _open(request_id, promise, tenant, snapshot)
        for request_id, promise in promises.items()
        if request_id != besides and _stands(request_id, promise, snapshot, now)
    )


def promised(
    tenant: str, request_id: str, need: Resources, snapshot: Snapshot, *, now: float
) -> TenantPromises:
    """The tenant's record with `need` promised to the request, and without what does not stand any more."""
    record = snapshot.promises(tenant)
    kept = {i: p for i, p in record.promised.items() if _stands(i, p, snapshot, now)}
    return replace(record, promised={**kept, request_id: {"at": now, "resources": dict(need)}})


def _stands(request_id: str, promise: Any, snapshot: Snapshot, now: float) -> bool:
    at = promise.get("at") if isinstance(promise, Mapping) else None
    if isinstance(at, (int, float)) and abs(now - at) < FRESH:
        return True
    request = snapshot.request(request_id)
    if request is None:
        return False
    return request.state is RequestState.PENDING or (
        request.state is RequestState.REQUESTED and snapshot.request_locked(request_id)
    )


def _open(request_id: str, promise: Any, tenant: str, snapshot: Snapshot) -> Resources:
    resources = promise.get("resources") if isinstance(promise, Mapping) else None
    need = counted(resources if isinstance(resources, Mapping) else None)
    has = total(
        node.resources or {}
        for node in snapshot.nodes_for(request_id)
        if node.tenant_name == tenant
        and node.state in _COMING  # in the place of another there will be a new one
    )
    return {name: left for name, left in minus(need, has).items() if left > 0}
