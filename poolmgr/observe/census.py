"""What there is of the whole system, from the shared state, for its gauges (metrics.md 2.1)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from poolmgr.model.component import Component
from poolmgr.model.node import Node, NodeState
from poolmgr.model.request import NodeRequest, RequestState
from poolmgr.model.resources import Resources
from poolmgr.model.snapshot import Snapshot


@dataclass(frozen=True, kw_only=True, slots=True)
class Census:
    """How many there are at one moment. Every mapping holds its zeros.

    `addressable` has one number for each (provider, pool).
    """

    nodes: Mapping[NodeState, int]
    provider_nodes: Mapping[str, Mapping[NodeState, int]]
    label_nodes: Mapping[str, Mapping[NodeState, int]]
    addressable: Mapping[tuple[str, str], int]
    requests: Mapping[RequestState, int]


def take_census(nodes: Iterable[Node], requests: Iterable[NodeRequest], pools: Iterable[Component]) -> Census:
    """The counts over `nodes` and `requests`; providers and labels are those of `pools` (pool components) and nodes.

    A node with several labels counts in each. A pool can address a request when it offers all of its labels.
    """
    pools = tuple(pools)
    provider_nodes = {pool.provider_name: Counter[NodeState]() for pool in pools if pool.provider_name}
    label_nodes = {label: Counter[NodeState]() for pool in pools for label in pool.supported_labels}
    total = Counter[NodeState]()
    # There are thousands of nodes but few kinds of them.
    kinds = Counter((node.provider, node.labels, node.state) for node in nodes)
    for (provider, labels, state), count in kinds.items():
        total[state] += count
        if provider:
            provider_nodes.setdefault(provider, Counter())[state] += count
        for label in set(labels):
            label_nodes.setdefault(label, Counter())[state] += count
    wanted, by_state = _count_requests(requests)
    return Census(
        nodes=_all_states(total),
        provider_nodes={provider: _all_states(counts) for provider, counts in provider_nodes.items()},
        label_nodes={label: _all_states(counts) for label, counts in label_nodes.items()},
        addressable=_addressable(wanted, pools),
        requests={state: by_state[state] for state in RequestState},
    )


def _all_states(counts: Counter[NodeState]) -> dict[NodeState, int]:
    return {state: counts[state] for state in NodeState}


def _count_requests(
    requests: Iterable[NodeRequest],
) -> tuple[Counter[frozenset[str]], Counter[RequestState]]:
    wanted: Counter[frozenset[str]] = Counter()
    by_state: Counter[RequestState] = Counter()
    for request in requests:
        wanted[frozenset(request.labels)] += 1
        by_state[request.state] += 1
    return wanted, by_state


def _addressable(
    wanted: Mapping[frozenset[str], int], pools: Iterable[Component]
) -> dict[tuple[str, str], int]:
    """Several launchers may serve pools of one name; what any of them offers counts."""
    offered: dict[tuple[str, str], set[str]] = {}
    for pool in pools:
        if pool.provider_name and pool.name:
            offered.setdefault((pool.provider_name, pool.name), set()).update(pool.supported_labels)
    return {
        key: sum(count for needed, count in wanted.items() if needed <= labels)
        for key, labels in offered.items()
    }


@dataclass(frozen=True, kw_only=True, slots=True)
class FleetFacts:
    """What launchers agree on, and what nodes use.

    `use`: by provider and pool (None: all its pools). `owners`: by provider the owner's host name, None when nobody
    owns it. `oldest`: seconds since the oldest request that waits in a state was made, 0 when none does.
    """

    peers: int
    owners: Mapping[str, str | None]
    alarms: Mapping[str, int]
    held_back: Mapping[tuple[str, str], int]
    use: Mapping[tuple[str, str | None], Resources]
    oldest: Mapping[RequestState, float]


def fleet_facts(snapshot: Snapshot, now: float) -> FleetFacts:
    """`now`: epoch seconds."""
    pools = {(pool.provider_name, pool.name) for pool in snapshot.pools()}
    statuses = snapshot.provider_statuses()
    told = {status.provider: status for status in statuses}
    providers = sorted({name for name, _ in pools if name} | told.keys())
    places: set[tuple[str, str | None]] = {(name, None) for name in providers}
    places |= {(provider, pool) for provider, pool in pools if provider and pool}
    return FleetFacts(
        peers=len(snapshot.peers()),
        owners={
            name: (told[name].hostname if name in told else "") if snapshot.provider_owned(name) else None
            for name in providers
        },
        alarms={status.provider: len(status.alarms) for status in statuses},
        held_back={
            (status.provider, kind): count for status in statuses for kind, count in status.held_back.items()
        },
        use={(provider, pool): dict(snapshot.use(provider, pool)) for provider, pool in places},
        oldest={
            state: max((now - _made_at(one) for one in snapshot.requests(state)), default=0.0)
            for state in (RequestState.REQUESTED, RequestState.PENDING)
        },
    )


def _made_at(request: NodeRequest) -> float:
    return request.created_time or request.state_time
