"""In which order waiting requests are looked at: by rank, or fairly among the tenants (`fair-tenants`).

Every launcher comes to the same order, as it follows from shared facts alone: what each tenant has, and what it waits
for. Tenants take turns within one priority (the first part of a request's id): each request is placed at the number
of nodes its tenant would have before it, were all its earlier ones served. Whoever has least comes first, and a tenant
with a hundred requests stands in the line no more often than one with two, until those two are served.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import attrgetter, itemgetter

from poolmgr.model.request import NodeRequest

Rank = tuple[str, int, str]

#: Requests without a tenant take turns with the tenants as if they had one of this name.
NOBODY = ""


def by_rank(waiting: Iterable[NodeRequest]) -> list[NodeRequest]:
    """By priority, relative priority, age (zookeeper.md 6.1)."""
    return sorted(waiting, key=attrgetter("rank"))


def in_turn(waiting: Iterable[NodeRequest], nodes_of: Callable[[str], int]) -> list[NodeRequest]:
    """By priority; within one, tenants in turn; within a tenant by rank. `nodes_of(tenant)`: how many it has now.

    A request that its tenant got earlier but that asks for many nodes moves the tenant's next one back by as many.
    Costs two sorts, however many tenants there are.
    """
    had: dict[tuple[str, str], int] = {}  # (priority, tenant) -> nodes before its next request
    placed: list[tuple[tuple[str, int, Rank], NodeRequest]] = []
    for rank, request in _ranked(waiting):
        tenant = request.tenant_name or NOBODY
        turn = (rank[0], tenant)
        before = had[turn] if turn in had else nodes_of(tenant)
        had[turn] = before + max(1, len(request.labels))
        placed.append(((rank[0], before, rank), request))
    placed.sort(key=itemgetter(0))
    return [request for _, request in placed]


def _ranked(waiting: Iterable[NodeRequest]) -> list[tuple[Rank, NodeRequest]]:
    ranked = [(request.rank, request) for request in waiting]
    ranked.sort(key=itemgetter(0))
    return ranked
