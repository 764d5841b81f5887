"""The records of one static provider's slots: made, brought up to date and removed, as `policy.static` judges.

Everything is done under the node's lock, after another look at what is stored: the record may have been promised to
someone since the cache showed it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace

from poolmgr.errors import BadRecord, Conflict, LockBusy, LockLost, RecordGone
from poolmgr.launcher.orphans import Orphans
from poolmgr.launcher.static.context import StaticContext
from poolmgr.launcher.static.hosts import Hosts
from poolmgr.model.node import Node, NodeState
from poolmgr.policy import retire, static
from poolmgr.policy.static import Occupation, Register, Remove, Rewrite, View
from poolmgr.store.api import Lock

log = logging.getLogger(__name__)

#: Records written in one cycle, so that a provider of a thousand hosts does not hold up requests when it starts.
WRITES_PER_CYCLE = 50
#: Seconds after which the cache is taken for current, should its queues never be empty.
CATCH_UP = 5.0
#: Seconds before a record that someone else has locked is tried again.
BUSY_PAUSE = 2.0


class Slots:
    """Only the worker's thread touches it."""

    def __init__(self, context: StaticContext, hosts: Hosts) -> None:
        self._context = context
        self._hosts = hosts
        self._orphans = Orphans(context)
        self._not_before: dict[str, float] = {}  # node id -> when to try again
        self._next_ageing = 0.0
        self._began = context.clock.monotonic()
        self._caught_up = False
        self.occupations: list[Occupation] = []

    def free_orphans(self, now: float) -> None:
        """Nodes whose request is gone are free again."""
        self._orphans.free_all(now)

    def settle(self, now: float) -> float:
        """Make the records what they should be; returns when to look again (monotonic seconds)."""
        due = self._age(now)
        view = self._view()
        epoch_now = self._context.clock.time()
        self._remove_all(static.garbage(view, now=epoch_now, tuning=self._context.tuning), now)
        view = self._view()
        occupations, strangers = static.occupy(self._hosts.configured, view)
        written = 0
        for step in static.steps(
            occupations, strangers, self._hosts.healths, view, now=now, tuning=self._context.tuning
        ):
            if written >= WRITES_PER_CYCLE:
                due = now
                break
            if isinstance(step, Register) and not self._has_caught_up(now):
                due = min(due, now + 0.1)
                continue
            written += self._carry_out(step, now)
        if written:
            occupations, _ = static.occupy(self._hosts.configured, self._view())
        self.occupations = occupations
        stillborn = self._context.tuning.static_stillborn
        for node in view.records:
            if node.state is NodeState.INIT:
                due = min(due, now + max(0.1, node.state_time + stillborn - epoch_now))
        self._not_before = {k: v for k, v in self._not_before.items() if v > now}
        return min([due, *self._not_before.values()])

    def _has_caught_up(self, now: float) -> bool:
        """Whether the cache has taken in what the owner before us registered; asked until it has, once.

        What it was told before we got the provider's lock, it may be reading yet.
        """
        if not self._caught_up:
            waiting = any(self._context.store.queues.values())
            self._caught_up = not waiting or now - self._began >= CATCH_UP
        return self._caught_up

    def _view(self) -> View:
        context = self._context
        with context.store.reading() as snapshot:
            records = {node.id: node for node in snapshot.nodes_of(context.name)}
            for name in {host.settings.name for host in self._hosts.configured.values()}:
                records.update((node.id, node) for node in snapshot.at_host(name))
            return View(
                provider=context.name,
                records=tuple(records.values()),
                locked=frozenset(node_id for node_id in records if snapshot.node_locked(node_id)),
                served=frozenset(pool.provider_name for pool in snapshot.pools() if pool.provider_name),
            )

    def _age(self, now: float) -> float:
        context, config = self._context, self._context.config
        if now < self._next_ageing:
            return self._next_ageing
        self._next_ageing = now + context.tuning.sweep_interval
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
        self._remove_all((Remove(node, reason, (node.state,)) for node, reason in aged), now)
        return self._next_ageing

    # Acting

    def _remove_all(self, removes: Iterable[Remove], now: float) -> None:
        for remove in removes:
            self._carry_out(remove, now)

    def _carry_out(self, step: static.Step, now: float) -> bool:
        """Whether anything was written."""
        if isinstance(step, Register):
            return self._register(step)
        if now < self._not_before.get(step.node.id, 0.0):
            return False
        locked = self._lock(step.node, now)
        if locked is None:
            return False
        lock, fresh = locked
        try:
            return (
                self._remove(step, fresh, lock)
                if isinstance(step, Remove)
                else self._rewrite(step, fresh, lock)
            )
        except (Conflict, LockLost, RecordGone) as error:
            log.info("[node: %s] left as it is: %s", fresh.id, error)
            self._not_before[fresh.id] = now + BUSY_PAUSE
            return False
        finally:
            self._context.store.unlock(lock)

    def _register(self, step: Register) -> bool:
        context, host = self._context, step.host
        record = static.new_node(host, step.slot, step.findings, at=context.clock.time())
        try:
            lock, node = context.store.create_node(record, owner=context.tenure.lock)
        except (Conflict, LockLost) as error:
            log.info("slot %d of host %s is not registered yet: %s", step.slot, host.told, error)
            return False
        context.store.unlock(lock)
        log.info("[node: %s] registered: slot %d of host %s", node.id, step.slot, host.told)
        return True

    def _remove(self, step: Remove, fresh: Node, lock: Lock) -> bool:
        if fresh.state not in step.states or _is_promised(fresh):
            return False
        self._context.store.delete_node(fresh, lock)
        log.info("[node: %s] deregistered from host %s: %s", fresh.id, fresh.hostname, step.reason)
        return True

    def _rewrite(self, step: Rewrite, fresh: Node, lock: Lock) -> bool:
        if fresh.state is not NodeState.READY or _is_promised(fresh):
            return False
        self._context.store.save_node(replace(fresh, **step.changes), lock)
        log.info("[node: %s] host %s: changed %s", fresh.id, fresh.hostname, ", ".join(step.changes))
        return True

    def _lock(self, node: Node, now: float) -> tuple[Lock, Node] | None:
        try:
            return self._context.store.lock_node(node.id)
        except (LockBusy, RecordGone):
            self._not_before[node.id] = now + BUSY_PAUSE
        except BadRecord as error:
            log.warning("node %s cannot be read: %s", node.id, error)
            self._not_before[node.id] = now + 60.0
        return None


def _is_promised(node: Node) -> bool:
    return node.state is NodeState.READY and bool(node.allocated_to)
