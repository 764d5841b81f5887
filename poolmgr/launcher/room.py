"""Room for requests that wait: free ready nodes of other labels go where they stand in the way (launcher.md 4.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from poolmgr.launcher.context import Context
from poolmgr.launcher.pools import PoolDesk
from poolmgr.launcher.spares import Spares
from poolmgr.model.node import GARBAGE_WHEN_UNLOCKED, Node, NodeState
from poolmgr.model.resources import Resources, minus, short_of, total
from poolmgr.model.snapshot import Snapshot
from poolmgr.policy.allocate import reusable
from poolmgr.policy.holding import room_by
from poolmgr.policy.requests import to_launch

#: Nodes in these states are on their way out, or soon will be.
_GOING = GARBAGE_WHEN_UNLOCKED - {NodeState.BUILDING, NodeState.IN_USE}


class Room:
    """For the pools of one worker."""

    def __init__(self, context: Context, pools: Mapping[str, PoolDesk], spares: Spares) -> None:
        self._context = context
        self._pools = pools
        self._spares = spares

    def make(self, wanted: Mapping[str, Sequence[str]], now: float) -> None:
        """`wanted`: for each pool in which something waits for room, the labels of whoever is first there."""
        for name, labels in wanted.items():
            desk = self._pools.get(name)
            if desk is None or self._context.standing.closed:
                continue
            with self._context.store.reading() as snapshot:
                doomed = self._in_the_way(desk, labels, snapshot, now)
            for node in doomed:
                self._spares.remove_ready(node.id)

    def _in_the_way(
        self, desk: PoolDesk, labels: Sequence[str], snapshot: Snapshot, now: float
    ) -> list[Node]:
        facts = desk.facts(snapshot, now, launching=0)
        if any(label not in facts.labels for label in labels):
            return []
        usable = {label: desk.free_ready(label, snapshot) for label in set(labels)}
        missing = to_launch(labels, reusable(labels, usable))
        need = total(facts.labels[label].need or {} for label in missing)
        if short_of(need, facts.capacity.available) is None:
            return []
        here = self._in_reach(desk, need, snapshot)
        going = total(desk.taken_by(n) for n in here if n.state in _GOING)
        free = [
            node
            for node in here
            if node.state is NodeState.READY
            and not node.allocated_to
            and not snapshot.node_locked(node.id)
            and not set(labels).intersection(node.labels)
        ]
        free.sort(key=lambda node: (node.pool != desk.pool.name, node.state_time))
        return room_by(need, facts.capacity.available, going, free, taken_by=desk.taken_by)

    def _in_reach(self, desk: PoolDesk, need: Resources, snapshot: Snapshot) -> list[Node]:
        """Nodes whose end would help: those of the pool; of all pools if it is the provider that has no room."""
        provider, name = self._context.name, desk.pool.name
        own = minus(desk.pool.limits, snapshot.use(provider, name))
        everywhere = short_of(need, own) is None
        return [node for node in snapshot.nodes_of(provider) if everywhere or node.pool == name]
