"""Taking nodes out of service: used, failed and forgotten ones, those that are too old or have lost their server.

Everything is judged in `policy.retire` and `policy.leaks`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from functools import partial
from types import MappingProxyType

from poolmgr.errors import BadRecord, LockBusy, RecordGone, StoreError
from poolmgr.launcher.context import Context
from poolmgr.launcher.listings import Round
from poolmgr.launcher.orphans import Orphans
from poolmgr.launcher.reclaim import Reclaim, Suspect
from poolmgr.launcher.removals import Removals
from poolmgr.model.fleet import ProviderMode
from poolmgr.model.node import GARBAGE_WHEN_UNLOCKED, Node, NodeState
from poolmgr.policy import leaks, retire
from poolmgr.policy.orders import to_drain
from poolmgr.store.api import Lock

log = logging.getLogger(__name__)

#: A node that stayed INIT this long lost its maker between two writes that are milliseconds apart.
STILLBORN_AFTER = 60.0
#: Nodes whose deletion is begun in one cycle, so that a flood of them does not hold up requests.
DELETIONS_PER_CYCLE = 20


class Retirement:
    """The deletions of one worker's nodes."""

    def __init__(
        self, context: Context, removals: Removals, reclaim: Reclaim, room_made: Callable[[], None]
    ) -> None:
        self._context = context
        self._removals = removals
        self._reclaim = reclaim
        self._orphans = Orphans(context)
        self._room_made = room_made
        self._not_before: dict[str, float] = {}  # node id -> when to try again (someone had it locked)
        self._next_ageing = 0.0
        self._losses = Round(context.servers)
        self._lost: leaks.Sightings = {}

    # Records

    def collect(self, now: float, given_up: Collection[str]) -> float:
        """Begin the deletion of garbage nodes, free promised ones; returns when to look again (monotonic).

        BUILDING ones are garbage only if they are among `given_up`: the others may be adopted.
        """
        with self._context.store.reading() as snapshot:
            garbage = [
                n
                for n in snapshot.garbage(self._context.name)
                if n.id not in self._removals and (n.state is not NodeState.BUILDING or n.id in given_up)
            ]
            drained = list(to_drain(snapshot, self._context.name)) if self._draining else []
        due = float("inf")
        begun = 0
        going: list[tuple[Node, Collection[NodeState]]] = [(node, GARBAGE_WHEN_UNLOCKED) for node in garbage]
        going += [(node, (NodeState.READY,)) for node in drained]
        for node, states in going:
            if now < self._not_before.get(node.id, 0.0):
                due = min(due, self._not_before[node.id])
            elif begun >= DELETIONS_PER_CYCLE:
                return now
            else:
                begun += 1
                self._delete(node, states, now)
        self._orphans.free_all(now)
        if len(self._not_before) > 1000:
            self._not_before = {k: v for k, v in self._not_before.items() if v > now}
        return due

    @property
    def _draining(self) -> bool:
        return self._context.standing.mode is ProviderMode.DRAINING

    def _delete(
        self,
        node: Node,
        states: Collection[NodeState],
        now: float,
        why: str = "",
        evidence: Mapping[str, object] = MappingProxyType({}),
    ) -> None:
        """Lock it, look again, and begin its removal if it is still in one of `states`."""
        context = self._context
        locked = self._lock(node, now)
        if locked is None:
            return
        lock, fresh = locked
        if fresh.state not in states or fresh.provider != context.name:
            context.store.unlock(lock)
            return
        if fresh.state is NodeState.READY and fresh.allocated_to:
            context.store.unlock(lock)
            return
        try:
            if fresh.state is not NodeState.DELETING:
                fresh = context.save_node(fresh.moved(NodeState.DELETING, at=context.clock.time()), lock)
        except StoreError:
            context.store.unlock(lock)
            raise
        log.info("[node: %s] deleting (was %s)", node.id, node.state.value)
        self._removals.begin_for_node(
            fresh,
            lock,
            lambda: self._gone(fresh, lock),
            why=why or f"node was {node.state.value}",
            evidence=evidence,
        )

    def _gone(self, node: Node, lock: Lock) -> None:
        self._context.store.delete_node(node, lock)
        self._room_made()
        log.info("[node: %s] gone", node.id)

    def _lock(self, node: Node, now: float) -> tuple[Lock, Node] | None:
        try:
            return self._context.store.lock_node(node.id)
        except (LockBusy, RecordGone):
            self._not_before[node.id] = now + 5.0
        except BadRecord as error:
            log.warning("node %s cannot be read: %s", node.id, error)
            self._not_before[node.id] = now + 60.0
        return None

    # Sweeps

    def sweep(self, now: float) -> float:
        """Ageing and lost servers, each sweep_interval; returns when to look again (monotonic seconds)."""
        interval = self._context.tuning.sweep_interval
        if now >= self._next_ageing:
            self._next_ageing = now + interval
            self._age(now)
        if self._losses.ready(now, interval):
            self._retire_lost()
        return min(self._next_ageing, self._losses.next)

    def _age(self, now: float) -> None:
        context = self._context
        config = context.config
        with context.store.reading() as snapshot:
            aged = list(
                retire.aged(
                    snapshot,
                    context.name,
                    labels=config.labels,
                    max_hold_age=config.max_hold_age,
                    now=context.clock.time(),
                )
            )
            stillborn = [
                node
                for node in snapshot.nodes_of(context.name, NodeState.INIT)
                if context.clock.time() - node.state_time > STILLBORN_AFTER
            ]
        for node, reason in aged:
            log.info("[node: %s] is too old: %s", node.id, reason)
            self._delete(node, (node.state,), now, reason)
        for node in stillborn:
            self._delete(node, (NodeState.INIT,), now, "stillborn")

    def _retire_lost(self) -> None:
        """Free nodes without a server are for nobody."""
        context, servers = self._context, self._context.servers.whole
        if servers is None:
            return
        with context.store.reading() as snapshot:
            lost = leaks.lost_nodes(servers, snapshot, context.name)
            blind = leaks.sees_nothing(servers, snapshot, context.name)
            look = leaks.Look(
                listed_at=servers.started_at,
                viewed_at=context.clock.monotonic(),
                session=context.session,
            )
            self._lost = leaks.sighted(self._lost, lost, look)
            proved = leaks.confirmed(self._lost, context.session)
            nodes = {one: node for one in proved if (node := snapshot.node(one)) is not None}
        suspects = {
            one: Suspect(evidence=proved[one], act=partial(self._retire, node, proved[one]))
            for one, node in nodes.items()
        }
        self._reclaim.propose("nodes", suspects, blind=blind)

    def _retire(self, node: Node, evidence: leaks.Evidence, why: str) -> None:
        """Delete a node that has lost its server, if it is still free; the lock makes us read it again."""
        context = self._context
        log.warning("[node: %s] its server %s is gone or broken", node.id, node.external_id)
        now = context.clock.monotonic()
        self._delete(node, (NodeState.READY,), now, f"server lost, {why}", context.told(evidence))
