"""How much more a pool may launch, and how much a tenant may still have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from poolmgr.config.settings import Pool, TenantLimits
from poolmgr.model.node import NodeState
from poolmgr.model.resources import Resources, counted, minus, tightest, total
from poolmgr.model.server import Owner, Quota, Server, ServerStatus, Volume
from poolmgr.model.snapshot import Snapshot

_ONE_INSTANCE: Resources = {"instances": 1}


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """`ceiling`: the most a request may ever need here. `available`: what fits now. Absent names: no limit."""

    ceiling: Resources = field(default_factory=dict)
    available: Resources = field(default_factory=dict)


def unmanaged_use(
    servers: Iterable[Server], provider: str, snapshot: Snapshot, *, deployment: str
) -> Resources:
    """What servers use that are not nodes of `provider`: other people's, and leaked ones (launcher.md 7.1).

    `deployment` is ours: another installation may have a provider of the same name, and node ids begin at 0
    everywhere.
    """
    return total(
        server.resources or _ONE_INSTANCE
        for server in servers
        if server.status is not ServerStatus.DELETED
        and not _is_node(server.owner, provider, snapshot, deployment)
    )


def unmanaged_volumes(
    volumes: Iterable[Volume],
    servers: Mapping[str, Server],
    provider: str,
    snapshot: Snapshot,
    *,
    deployment: str,
) -> Resources:
    """What volumes take that no node of `provider` is priced for. A new one has no mark yet, but a server."""
    foreign = [
        volume
        for volume in volumes
        if not any(
            _is_node(owner, provider, snapshot, deployment)
            for owner in (volume.owner, *(servers[s].owner for s in volume.server_ids if s in servers))
        )
    ]
    return {"volumes": len(foreign), "volume-gb": sum(volume.size_gib for volume in foreign)}


NetworkPrices = Mapping[tuple[str | None, str], Resources]  # by pool and label


def network_use(provider: str, snapshot: Snapshot, prices: NetworkPrices) -> Resources:
    """Ports and floating IPs that nodes of `provider` have or will have; those of unknown labels count for none.

    Nodes without `resources` are left out: the price of their label has it all (`pool_capacity`).
    """
    priced = (node for node in snapshot.nodes_of(provider) if counted(node.resources))
    return total(prices.get((node.pool, node.label), {}) for node in priced)


def unmanaged_network(
    quotas: Iterable[Quota], provider: str, snapshot: Snapshot, prices: NetworkPrices
) -> Resources:
    """What others have of the limits in `quotas`: all that is used, but for what our nodes can have by now.

    A node on its way up may have less than its price yet; taken for having it all, it would hide somebody else's.
    """
    there = [n for n in snapshot.nodes_of(provider) if n.external_id is not None]
    ports = total(prices.get((n.pool, n.label), {}) for n in there)
    exposed = total(prices.get((n.pool, n.label), {}) for n in there if n.state is not NodeState.BUILDING)
    ours = {**ports, "floating-ips": exposed.get("floating-ips", 0)}
    return {q.resource: max(0.0, q.used - ours.get(q.resource, 0)) for q in quotas if q.used is not None}


def pool_capacity(
    provider: str,
    pool: Pool,
    snapshot: Snapshot,
    *,
    cloud_limits: Resources,
    unmanaged: Resources,
    prices: Mapping[str, Resources],
    network_use: Resources = MappingProxyType({}),
) -> Capacity:
    """What `pool` may launch, from the cloud's limits less everyone's use, and its own limits less its use.

    Nodes without `resources` (foreign records) are counted by the price of their label. `prices` by label.
    `network_use`: what the provider's nodes take that no record says: ports, floating IPs.
    """
    unpriced = snapshot.unpriced(provider)
    extra_all = total(prices.get(node.label, _ONE_INSTANCE) for node in unpriced)
    extra_pool = total(prices.get(n.label, _ONE_INSTANCE) for n in unpriced if n.pool == pool.name)
    pool_use = total((snapshot.use(provider, pool.name), extra_pool))
    own = minus(pool.limits, pool_use)
    if pool.ignore_provider_quota:
        return Capacity(ceiling=pool.limits, available=own)
    shared = minus(cloud_limits, total((unmanaged, snapshot.use(provider), extra_all, network_use)))
    return Capacity(ceiling=tightest((cloud_limits, pool.limits)), available=tightest((shared, own)))


def tenant_available(
    tenant: str | None, tenants: Mapping[str, TenantLimits], snapshot: Snapshot
) -> Resources:
    """What `tenant` may still have; empty (no limit) for none or an unlimited one (launcher.md 7.4)."""
    if tenant is None or tenant not in tenants:
        return {}
    return minus(tenants[tenant].limits, snapshot.use_by_tenant(tenant))


def _is_node(owner: Owner | None, provider: str, snapshot: Snapshot, deployment: str | None) -> bool:
    if owner is None or not owner.belongs_to(provider, deployment):
        return False
    node = snapshot.node(owner.node_id)
    return node is not None and node.provider == provider
