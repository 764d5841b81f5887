"""Room for requests that wait: free ready nodes of other labels go where they stand in the way (launcher.md 4.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from poolmgr.launcher.context import Context
from poolmgr.launcher.pools import PoolDesk
from poolmgr.launcher.spares import Spares
from poolmgr.model.node import GARBAGE_WHEN_UNLOCKED, Node, NodeState
from poolmgr.model.request import NodeRequest
from poolmgr.model.resources import Resources, minus, short_of, total
from poolmgr.model.snapshot import Snapshot
from poolmgr.policy.allocate import reusable
from poolmgr.policy.holding import room_by
from poolmgr.policy.requests import covering, to_launch

#: A request that waits, and the labels that it lacks.
Wanted = tuple[NodeRequest, Sequence[str]]
#: Nodes in these states are on their way out, or soon will be.
_GOING = GARBAGE_WHEN_UNLOCKED - {NodeState.BUILDING, NodeState.IN_USE}


class Room:
    """For the pools of one worker."""

    def __init__(self, context: Context, pools: Mapping[str, PoolDesk], spares: Spares) -> None:
        self._context = context
        self._pools = pools
        self._spares = spares

    def make(self, wanted: Mapping[str, Wanted], now: float) -> None:
        """`wanted`: for each pool in which something waits for room, who is first there."""
        for name, (request, labels) in wanted.items():
            desk = self._pools.get(name)
            if desk is None or self._context.standing.closed:
                continue
            with self._context.store.reading() as snapshot:
                if not self._free(snapshot) or self._others_could(request, snapshot):
                    continue
                doomed = self._in_the_way(desk, labels, snapshot, now)
            for node in doomed:
                self._spares.remove_ready(node.id)

    def _free(self, snapshot: Snapshot) -> list[Node]:
        """The provider's free ready nodes."""
        ready = snapshot.nodes_of(self._context.name, NodeState.READY)
        return [node for node in ready if not node.allocated_to and not snapshot.node_locked(node.id)]

    def _others_could(self, request: NodeRequest, snapshot: Snapshot) -> bool:
        """Whether a pool of another provider, that seems to have room, will look at it too."""
        provider = self._context.name
        return request.provider != provider and any(
            not pool.paused and pool.provider_name != provider and pool.id not in request.declined_by
            for pool in covering(request.labels, snapshot.pools())
        )

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
        reach = None if self._is_providers(desk, need, snapshot) else desk.pool.name
        here = [n for n in snapshot.nodes_of(self._context.name) if reach in (None, n.pool)]
        going = total(desk.taken_by(n) for n in here if n.state in _GOING)
        free = [
            node
            for node in self._free(snapshot)
            if reach in (None, node.pool) and not set(labels).intersection(node.labels)
        ]
        free.sort(key=lambda node: (node.pool != desk.pool.name, node.state_time))
        return room_by(need, facts.capacity.available, going, free, taken_by=desk.taken_by)

    def _is_providers(self, desk: PoolDesk, need: Resources, snapshot: Snapshot) -> bool:
        """Whether it is the provider that has no room, so that the end of any of its nodes would help."""
        own = minus(desk.pool.limits, snapshot.use(self._context.name, desk.pool.name))
        return short_of(need, own) is None
