"""Taking nodes out of service: used, failed and forgotten ones, and those that are too old.

And what no record accounts for: servers, ports and floating IPs of ours that leaked. Everything is judged in
`policy.retire`; two agreeing looks come before anything is deleted that has no record.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from functools import partial

from poolmgr.errors import BadRecord, LockBusy, LockLost, RecordGone, StoreError
from poolmgr.launcher.context import Context
from poolmgr.launcher.jobs import Outcome
from poolmgr.launcher.removals import Removals
from poolmgr.model.node import GARBAGE_WHEN_UNLOCKED, Node, NodeState
from poolmgr.model.request import RequestState
from poolmgr.model.snapshot import Snapshot
from poolmgr.policy import retire
from poolmgr.store.api import Lock

log = logging.getLogger(__name__)

#: A node that stayed INIT this long lost its maker between two writes that are milliseconds apart.
STILLBORN_AFTER = 60.0
#: Nodes whose deletion is begun in one cycle, so that a flood of them does not hold up requests.
DELETIONS_PER_CYCLE = 20


class Retirement:
    """The deletions and sweeps of one worker."""

    def __init__(self, context: Context, removals: Removals, room_made: Callable[[], None]) -> None:
        self._context = context
        self._removals = removals
        self._room_made = room_made
        self._not_before: dict[str, float] = {}  # node id -> when to try again (someone had it locked)
        self._next_sweep = 0.0
        self._sweep_since: float | None = None  # a sweep waits for listings begun after this
        self._suspects: dict[str, frozenset[str]] = {}  # kind -> ids that the last sweep found
        self._ports_since: float | None = None
        self._next_ports = 0.0
        self._idle_ports: frozenset[str] = frozenset()

    # Records

    def collect(self, now: float) -> float:
        """Begin the deletion of garbage nodes, free promised ones; returns when to look again (monotonic)."""
        with self._context.store.reading() as snapshot:
            garbage = [n for n in snapshot.garbage(self._context.name) if n.id not in self._removals]
            orphans = [n for n in snapshot.promised(self._context.name) if _is_orphan(n, snapshot)]
        due = float("inf")
        begun = 0
        for node in garbage:
            if now < self._not_before.get(node.id, 0.0):
                due = min(due, self._not_before[node.id])
            elif begun >= DELETIONS_PER_CYCLE:
                return now
            else:
                begun += 1
                self._delete(node, GARBAGE_WHEN_UNLOCKED, now)
        for node in orphans:
            self._free_orphan(node, now)
        if len(self._not_before) > 1000:
            self._not_before = {k: v for k, v in self._not_before.items() if v > now}
        return due

    def _delete(self, node: Node, states: Collection[NodeState], now: float) -> None:
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
        self._removals.begin_for_node(fresh, lock, lambda: self._gone(fresh, lock))

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

    def _free_orphan(self, node: Node, now: float) -> None:
        """A ready node whose request is gone belongs to nobody (launcher.md 11.1)."""
        context = self._context
        if now < self._not_before.get(node.id, 0.0):
            return
        locked = self._lock(node, now)
        if locked is None:
            return
        lock, fresh = locked
        self._not_before[node.id] = now + 2.0  # if it cannot be freed now, not again in every cycle
        try:
            if fresh.state is NodeState.READY and fresh.allocated_to and self._abandoned(fresh.allocated_to):
                context.save_node(replace(fresh, allocated_to=None), lock)
                log.info("[node: %s] is free again: its request is gone", node.id)
        except (LockLost, RecordGone):
            pass
        finally:
            context.store.unlock(lock)

    def _abandoned(self, request_id: str) -> bool:
        """Read past the cache: a fulfilled request that still exists keeps its nodes (zookeeper.md 15.2)."""
        try:
            request = self._context.store.read_request(request_id)
        except RecordGone:
            return True
        except BadRecord:
            return False
        return request.state in (RequestState.REQUESTED, RequestState.FAILED)

    # Sweeps

    def sweep(self, now: float, in_hand: Collection[str]) -> float:
        """Ageing and leaks, each sweep_interval; returns when to look again. `in_hand`: node ids being launched."""
        context = self._context
        if self._sweep_since is None:
            if now < self._next_sweep:
                return self._next_sweep
            self._sweep_since = now
            self._next_sweep = now + context.tuning.sweep_interval
            self._age(now)
        if self._sweep_clouds(self._sweep_since, in_hand, now):
            self._sweep_since = None
        return self._next_sweep

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
            self._delete(node, (node.state,), now)
        for node in stillborn:
            self._delete(node, (NodeState.INIT,), now)

    def _sweep_clouds(self, since: float, in_hand: Collection[str], now: float) -> bool:
        """Whether all listings that a sweep needs were there and have been judged."""
        context = self._context
        servers = context.servers.since(since)
        info = context.info
        if servers is None or info is None:
            return False
        ips = context.floating_ips.since(since) if info.may_need_floating_ips else None
        if info.may_need_floating_ips and ips is None:
            return False
        deployment = context.parts.deployment
        busy = {*in_hand, *self._removals.keys()}
        with context.store.reading() as snapshot:
            leaked = retire.leaked_servers(
                servers, snapshot, provider=context.name, deployment=deployment, in_hand=busy
            )
            leaked_ips = (
                retire.leaked_floating_ips(
                    ips,
                    snapshot,
                    provider=context.name,
                    deployment=deployment,
                    in_hand=busy,
                    any_unattached=context.config.provider.clean_floating_ips,
                )
                if ips is not None
                else frozenset()
            )
            lost = retire.lost_nodes(servers, snapshot, context.name)
        for node_id in self._confirmed("nodes", lost):
            self._retire_lost(node_id, now)
        for server_id in self._confirmed("instances", leaked - set(self._removals.keys())):
            self._remove_leak(server_id)
        confirmed_ips = self._confirmed("floatingips", leaked_ips)
        self._delete_all("floatingips", confirmed_ips, context.cloud.delete_floating_ip)
        return True

    def _confirmed(self, kind: str, found: frozenset[str]) -> frozenset[str]:
        """Those that the sweep before found too."""
        before = self._suspects.get(kind, frozenset())
        self._suspects[kind] = found
        return found & before

    def _retire_lost(self, node_id: str, now: float) -> None:
        with self._context.store.reading() as snapshot:
            node = snapshot.node(node_id)
        if node is not None:
            log.warning("[node: %s] its server %s is gone or broken", node_id, node.external_id)
            self._delete(node, (NodeState.READY,), now)

    def _remove_leak(self, server_id: str) -> None:
        context = self._context
        server = context.servers.last.items.get(server_id) if context.servers.last else None
        owner = server.owner if server else None
        if server is None or owner is None:
            return
        try:  # past the cache, which may lag behind: the record itself has the last word
            node = context.store.read_node(owner.node_id)
            if node.provider == context.name and node.external_id in (None, server_id):
                return
        except RecordGone:
            pass
        except BadRecord:
            return
        log.warning("server %s (%s) has no node %s: deleting it", server.id, server.name, owner.node_id)
        context.stats.leaked(context.name, "instances", 1)
        self._removals.begin_for_leak(server, lambda: log.info("leaked server %s is gone", server.id))

    def sweep_ports(self, now: float) -> float:
        """DOWN ports of no server, seen twice one port-cleanup-interval apart (launcher.md 9.6)."""
        context = self._context
        interval = context.config.provider.port_cleanup_interval
        if interval <= 0 or context.info is None or not context.info.has_network:
            return float("inf")
        if self._ports_since is None:
            if now < self._next_ports:
                return self._next_ports
            self._ports_since, self._next_ports = now, now + interval
        ports, servers = context.ports.since(self._ports_since), context.servers.since(self._ports_since)
        if ports is None or servers is None:
            return self._next_ports
        self._ports_since = None
        found = retire.idle_ports(ports, servers)
        confirmed, self._idle_ports = found & self._idle_ports, found
        self._delete_all("ports", confirmed, context.cloud.delete_port)
        return self._next_ports

    def _delete_all(self, kind: str, ids: Iterable[str], delete: Callable[[str], None]) -> None:
        """Delete leftovers without record; what fails is found again by the next sweep."""
        context = self._context
        for thing in ids:
            log.warning("%s %s of %s belongs to no node: deleting it", kind, thing, context.name)

            def then(outcome: Outcome[None], thing: str = thing) -> None:
                if outcome.error is None:
                    context.stats.leaked(context.name, kind, 1)
                else:
                    log.warning("cannot delete %s %s: %s", kind, thing, outcome.error)

            context.jobs.run(context.parts.api, partial(delete, thing), then)


def _is_orphan(node: Node, snapshot: Snapshot) -> bool:
    """Whether its request seems gone or does not mean it any more, and nobody has it locked."""
    if snapshot.node_locked(node.id):
        return False
    request = snapshot.request(node.allocated_to or "")
    return request is None or request.state in (RequestState.REQUESTED, RequestState.FAILED)
