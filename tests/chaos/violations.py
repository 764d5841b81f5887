"""What must never be, judged from what a look at records and clouds has shown. Pure: facts in, words out.

The promises themselves are in doc/guarantees.rst; the numbers there are those here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from poolmgr.model.request import MIN_READY_REQUESTOR

#: Servers of a pool that may be above its limit for a moment: one that a frozen launcher made after it was fenced off
#: is taken back, or found and deleted, while its node is launched elsewhere.
SPARE_SERVERS = 3


@dataclass(frozen=True, kw_only=True)
class Look:
    """One look at everything. Records as JSON has them, by id; servers by cloud."""

    at: float
    nodes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    requests: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    pools: Sequence[Mapping[str, Any]] = ()
    servers: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)

    def server_of(self, node: Mapping[str, Any]) -> Mapping[str, Any] | None:
        servers = self.servers.get(node.get("provider") or "", ())
        return next((server for server in servers if server["id"] == node.get("external_id")), None)


def over_pool_limits(look: Look, limits: Mapping[str, int]) -> list[str]:
    """(6) Records of a provider, and servers of ours in its cloud, above its pool's max-servers."""
    records = Counter(node.get("provider") for node in look.nodes.values())
    found = [
        f"{records[name]} nodes of {name}, {limit} allowed"
        for name, limit in limits.items()
        if records[name] > limit
    ]
    for name, servers in look.servers.items():
        ours = sum(not server["foreign"] for server in servers)
        if ours > limits[name] + SPARE_SERVERS:
            found.append(f"{ours} servers in {name}, {limits[name]} allowed")
    return found


def over_core_limits(look: Look, limits: Mapping[str, int]) -> list[str]:
    """(6) Cores of a provider's records above its pool's max-cores."""
    use: Counter[str] = Counter()
    for node in look.nodes.values():
        use[node.get("provider") or ""] += int((node.get("resources") or {}).get("cores", 0))
    return [
        f"{use[name]} cores of {name}, {limit} allowed" for name, limit in limits.items() if use[name] > limit
    ]


def over_tenant_limits(look: Look, limits: Mapping[str, int]) -> list[str]:
    """(6) Instances of a tenant, over all providers."""
    use: Counter[str] = Counter()
    for node in look.nodes.values():
        use[node.get("tenant_name") or ""] += int((node.get("resources") or {}).get("instances", 0))
    return [
        f"{use[name]} nodes of tenant {name}, {limit} allowed"
        for name, limit in limits.items()
        if use[name] > limit
    ]


def given_twice(look: Look) -> list[str]:
    """(1) Nodes that two fulfilled requests name."""
    found, named = [], dict[str, str]()
    for request_id, node_id in _promised(look):
        if node_id in named:
            found.append(f"node {node_id} is given to {named[node_id]} and to {request_id}")
        named[node_id] = request_id
    return found


def promises_broken(look: Look) -> list[str]:
    """(2) Nodes of fulfilled requests that are not there, or another's."""
    found = []
    for request_id, node_id in _promised(look):
        node = look.nodes.get(node_id)
        if node is None:
            found.append(f"request {request_id} is fulfilled with node {node_id}, which is gone")
        elif node.get("allocated_to") != request_id:
            whose = node.get("allocated_to")
            found.append(
                f"request {request_id} is fulfilled with node {node_id}, which is allocated to {whose}"
            )
    return found


def _promised(look: Look) -> Iterator[tuple[str, str]]:
    """Requests with each of their nodes; what the launchers ask for themselves, for min-ready, is anybody's."""
    for request_id, request in look.requests.items():
        if request.get("state") == "fulfilled" and request.get("requestor") != MIN_READY_REQUESTOR:
            for node_id in request.get("nodes") or ():
                yield request_id, node_id


def without_server(look: Look) -> list[str]:
    """(4) Nodes that are ready, used or on hold, and whose server is not in its cloud."""
    return [
        f"node {node_id} is {node['state']}, and its server {node.get('external_id')} is gone"
        for node_id, node in look.nodes.items()
        if node.get("state") in ("ready", "in-use", "hold") and look.server_of(node) is None
    ]


def without_record(look: Look) -> list[str]:
    """(4) Servers of ours whose node has no record; a soft-deleted one is the cloud's."""
    return [
        f"server {server['id']} in {cloud} is of node {server['metadata'].get('nodepool_node_id')}, which is gone"
        for cloud, servers in look.servers.items()
        for server in servers
        if not server["foreign"]
        and server["status"] != "SOFT_DELETED"
        and server["metadata"].get("nodepool_node_id") not in look.nodes
    ]


def in_use_gone(look: Look, held: Mapping[str, str]) -> list[str]:
    """(7) What is wrong with nodes whose locks the CI system has all the time. `held`: those, with their requests."""
    found = []
    for node_id, request_id in held.items():
        node = look.nodes.get(node_id)
        if node is None:
            found.append(f"node {node_id}, in use for {request_id}, has no record")
        elif node.get("state") != "in-use":
            found.append(f"node {node_id}, in use for {request_id}, is {node.get('state')}")
        elif (server := look.server_of(node)) is None or server["status"] != "ACTIVE":
            status = server["status"] if server else "gone"
            found.append(f"node {node_id}, in use for {request_id}: its server is {status}")
    return found


def built_again(look: Look) -> list[str]:
    """(8) Attempts at a node with two living servers."""
    found = []
    for cloud, servers in look.servers.items():
        living = Counter(
            (server["metadata"].get("nodepool_node_id"), server["metadata"].get("poolmgr_attempt"))
            for server in servers
            if _lives(server)
        )
        found += [
            f"node {one}, attempt {n}, has two servers in {cloud}" for (one, n), c in living.items() if c > 1
        ]
    return found


def _lives(server: Mapping[str, Any]) -> bool:
    return (
        not server["foreign"]
        and server["status"] in ("ACTIVE", "BUILD")
        and server["task_state"] != "deleting"
    )


def owned_twice(look: Look) -> list[str]:
    """(8) Pools that two launchers have registered."""
    names = Counter((pool.get("provider_name"), pool.get("name")) for pool in look.pools)
    return [
        f"pool {name} of {provider} is registered {n} times" for (provider, name), n in names.items() if n > 1
    ]


def foreign_gone(cloud: str, kind: str, before: Collection[str], now: Iterable[str]) -> list[str]:
    """(5)"""
    missing = set(before) - set(now)
    return [f"{kind} {thing} of somebody else in {cloud} is gone" for thing in sorted(missing)]


def twins(look: Look) -> list[str]:
    """(8) Nodes with two living servers."""
    found = []
    for cloud, servers in look.servers.items():
        living = Counter(server["metadata"].get("nodepool_node_id") for server in servers if _lives(server))
        found += [f"node {node} has {n} living servers in {cloud}" for node, n in living.items() if n > 1]
    return found


def left_over(look: Look, counts: Mapping[str, Mapping[str, int]]) -> list[str]:
    """(4) At the end: records, and things of ours. `counts`: cloud -> kind -> how many that are not foreign."""
    found = [f"node {node_id} is left: {node.get('state')}" for node_id, node in look.nodes.items()]
    found += [f"request {request_id} is left: {r.get('state')}" for request_id, r in look.requests.items()]
    for cloud, kinds in counts.items():
        found += [f"{n} {kind} of ours are left in {cloud}" for kind, n in kinds.items() if n]
    return found


class Standing:
    """Turns what may be for a moment into a violation when it stays: `looks` looks in a row and `seconds` long."""

    def __init__(self, *, seconds: float) -> None:
        self._seconds = seconds
        self._since: dict[str, float] = {}
        self._told: set[str] = set()

    def judge(self, found: Iterable[str], at: float) -> list[str]:
        now = set(found)
        self._since = {words: self._since.get(words, at) for words in now}
        stood = [words for words, since in self._since.items() if at - since >= self._seconds]
        fresh = [words for words in stood if words not in self._told]
        self._told.update(fresh)
        return fresh
