"""Which nodes serve a request: free ready ones, spare ones being built, and new launches.

All nodes of a request come from one pool and, where the cloud has zones, from one zone (launcher.md 4.1).
"""

from __future__ import annotations

import random
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
    rng: random.Random,
) -> Plan:
    """A plan for the places of `labels` that `taken` leaves empty.

    `free`: nodes by label that may be reused, in order of preference. `zone`: the zone the request is bound to,
    None while it is open. `zones`: where new nodes may go, () for the cloud's choice.
    """
    reuse: dict[int, Node] = {}
    launch: dict[int, str] = {}
    used: set[str] = set()
    for place, label in enumerate(labels):
        if place in taken:
            continue
        node = _first(free.get(label, ()), used, zone)
        if node is None:
            launch[place] = label
            continue
        used.add(node.id)
        reuse[place] = node
        zone = zone or node.az
    if launch and zone is None and zones:
        zone = rng.choice(list(zones))
    return Plan(reuse=reuse, launch=launch, zone=zone)


def next_zone(zones: Sequence[str], full: str | None) -> str | None:
    """The zone to try after `full` had no room: the next in order, round and round."""
    if not zones or full not in zones:
        return full
    return zones[(zones.index(full) + 1) % len(zones)]


def _first(nodes: Iterable[Node], used: Collection[str], zone: str | None) -> Node | None:
    for node in nodes:
        if node.id not in used and (zone is None or node.az is None or node.az == zone):
            return node
    return None
