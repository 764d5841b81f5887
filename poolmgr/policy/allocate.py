"""Which nodes serve a request: free ready ones, spare ones being built, and new launches.

All nodes of a request come from one pool and, where the cloud has zones, from one zone (launcher.md 4.1).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from poolmgr.model.node import Node


@dataclass(frozen=True, slots=True)
class Plan:
    """For each still empty place of a request (index into its labels): a node to reuse, or a label to launch."""

    reuse: Mapping[int, Node]
    launch: Mapping[int, str]
    zone: str | None


def allocate(
    labels: Sequence[str],
    taken: Mapping[int, Node],
    free: Mapping[str, Collection[Node]],
    *,
    zone: str | None,
    zones: Sequence[str],
) -> Plan:
    """A plan for the places of `labels` that `taken` leaves empty.

    `free`: nodes by label that may be reused, in order of preference. `zone`: the zone the request is bound to,
    None while it is open: then it is bound to the one that saves most launches, among equals to that of the
    node preferred most. `zones`: where new nodes may go, the one whose turn it is first; () for the cloud's choice.
    """
    empty = {place: label for place, label in enumerate(labels) if place not in taken}
    used = frozenset(node.id for node in taken.values())
    candidates = [zone] if zone is not None else _zones_of(empty.values(), free)
    plans = [_reuse(empty, free, used, candidate) for candidate in candidates]
    reuse = max(plans, key=len)  # the first of the longest
    zone = zone or next((node.az for node in reuse.values() if node.az), None)
    launch = {place: label for place, label in empty.items() if place not in reuse}
    if launch and zone is None and zones:
        zone = zones[0]
    return Plan(reuse=reuse, launch=launch, zone=zone)


def reusable(labels: Sequence[str], free: Mapping[str, Collection[Node]]) -> Mapping[str, int]:
    """How many of `labels`, by label, `free` nodes can serve together: no node twice, all in one zone."""
    empty = dict(enumerate(labels))
    plans = [_reuse(empty, free, frozenset(), zone) for zone in _zones_of(labels, free)]
    return Counter(labels[place] for place in max(plans, key=len))


def _zones_of(labels: Iterable[str], free: Mapping[str, Collection[Node]]) -> list[str | None]:
    """The zones of the free nodes, in order of preference; never empty."""
    zones = dict.fromkeys(node.az for label in labels for node in free.get(label, ()) if node.az)
    return [*zones] or [None]


def _reuse(
    empty: Mapping[int, str], free: Mapping[str, Collection[Node]], used: frozenset[str], zone: str | None
) -> dict[int, Node]:
    """The free nodes that go to `empty` places when all are to be in `zone`; None allows any."""
    fitting = {
        label: [n for n in free.get(label, ()) if n.id not in used and (not zone or n.az in (None, zone))]
        for label in set(empty.values())
    }
    reuse: dict[int, Node] = {}
    seated: dict[str, int] = {}  # node id -> place
    for place in empty:
        _seat(place, empty, fitting, reuse, seated, set())
    return {place: reuse[place] for place in empty if place in reuse}


def _seat(
    place: int,
    labels: Mapping[int, str],
    fitting: Mapping[str, Collection[Node]],
    reuse: dict[int, Node],
    seated: dict[str, int],
    tried: set[str],
) -> bool:
    """Find a node for `place`, if need be one that another place can spare: a node may have several labels.

    Whether there is one; as many places get one as can (augmenting paths of a bipartite matching).
    """
    nodes = fitting[labels[place]]
    found = next((node for node in nodes if node.id not in seated), None)
    if found is None:
        for node in nodes:
            if len(node.labels) < 2 or node.id in tried:  # who has a node of one label wants just that label
                continue
            tried.add(node.id)
            if _seat(seated[node.id], labels, fitting, reuse, seated, tried):
                found = node
                break
    if found is None:
        return False
    reuse[place] = found
    seated[found.id] = place
    return True
