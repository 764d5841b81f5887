"""What a provider is to do now: its configuration, an operator's order, and whether it is configured at all.

An order never makes a request fail: a provider that is paused, drained or limited puts off what it would else take,
so that other providers serve it, or it waits until the order ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from poolmgr.config.settings import Provider
from poolmgr.model.fleet import ProviderMode, ProviderOrder
from poolmgr.model.node import Node, NodeState
from poolmgr.model.resources import Resources
from poolmgr.model.snapshot import Snapshot
from poolmgr.policy.capacity import Capacity

#: `Standing.reason` of a provider that is drained because no configuration has it any more.
REMOVED = "removed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """How a provider stands. `order`: the one that says so; None: nobody ordered anything, or it has expired."""

    mode: ProviderMode = ProviderMode.RUNNING
    max_servers: float = float("inf")  # over all its pools
    reason: str = "configured"  # or "ordered", or REMOVED
    order: ProviderOrder | None = None

    @property
    def closed(self) -> str | None:
        """Why it takes no request at all, ready nodes neither; None when it takes some."""
        return None if self.mode is ProviderMode.RUNNING else self.mode.value

    @property
    def until(self) -> float | None:
        """When it has to be judged anew, in epoch seconds; None: not before something changes."""
        return self.order.until if self.order else None


def standing(order: ProviderOrder | None, *, now: float, removed: bool = False) -> Standing:
    """How the provider stands at `now` (epoch seconds). `removed`: it is there only to be drained (`on-remove`).

    What is removed is drained, whatever is ordered.
    """
    in_force = order if order is not None and order.stands(now) else None
    if removed:
        return Standing(mode=ProviderMode.DRAINING, reason=REMOVED, order=in_force)
    if in_force is None:
        return Standing()
    limit = float("inf") if in_force.max_servers is None else max(0, in_force.max_servers)
    return Standing(mode=in_force.mode, max_servers=limit, reason="ordered", order=in_force)


def capped(capacity: Capacity, limit: float, use: Resources) -> Capacity:
    """`capacity` of a pool whose provider may have `limit` servers and has `use`, over all its pools.

    The ceiling stays: what is too large for an order only is not too large for ever, and waits.
    """
    if limit == float("inf"):
        return capacity
    left = limit - use.get("instances", 0)
    available = min(capacity.available.get("instances", float("inf")), left)
    return replace(capacity, available={**capacity.available, "instances": available})


def to_drain(snapshot: Snapshot, provider: str) -> Iterator[Node]:
    """The nodes that go when the provider is drained: ready, nobody's, and not locked."""
    for node in snapshot.nodes_of(provider, NodeState.READY):
        if not node.allocated_to and not snapshot.node_locked(node.id):
            yield node


def is_drained(snapshot: Snapshot, provider: str) -> bool:
    """Whether no node of it is left, in whatever state."""
    return not snapshot.nodes_of(provider)


def takes_requests(snapshot: Snapshot, provider: str, now: float) -> bool:
    """Whether it takes requests at `now` (epoch seconds), as far as orders say. For whoever chooses among providers."""
    return standing(snapshot.provider_order(provider), now=now).closed is None


def configured_servers(provider: Provider) -> float:
    """The sum over its pools; infinity when one of them is unlimited."""
    return sum(max(0, pool.limits.get("instances", float("inf"))) for pool in provider.pools.values())


def configured_elsewhere(snapshot: Snapshot, provider: str, me: str) -> bool:
    """Whether another launcher has the provider in its configuration. `me`: our `Peer.id`."""
    return any(provider in peer.offers for peer in snapshot.peers() if peer.id != me)


def unserved(snapshot: Snapshot, configured: Iterable[str]) -> Mapping[str, int]:
    """Providers that have nodes, and that no configuration has: neither ours nor any live launcher's; how many nodes.

    `configured`: names of ours. Launchers of others tell of their providers by their pools.
    """
    known = {*configured, *(pool.provider_name for pool in snapshot.pools())}
    known.update(name for peer in snapshot.peers() for name in peer.providers)
    counts: dict[str, int] = {}
    for node in snapshot.nodes():
        if node.provider and node.provider not in known:
            counts[node.provider] = counts.get(node.provider, 0) + 1
    return dict(sorted(counts.items()))
