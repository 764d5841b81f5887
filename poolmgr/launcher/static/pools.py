"""The pools of one static provider: their component records, and the facts that requests are judged by."""

from __future__ import annotations

from poolmgr import __version__
from poolmgr.config.settings import StaticPool
from poolmgr.launcher.pools import with_place
from poolmgr.launcher.static.context import StaticContext
from poolmgr.launcher.static.hosts import Hosts
from poolmgr.model.component import Component, ComponentKind, ComponentState
from poolmgr.model.node import Node
from poolmgr.model.snapshot import Snapshot
from poolmgr.policy.requests import PoolFacts
from poolmgr.policy.static import key_of, pool_facts


class StaticDesk:
    """One pool. Lives until its worker or the pool goes."""

    def __init__(self, context: StaticContext, hosts: Hosts, pool: StaticPool) -> None:
        self._context = context
        self._hosts = hosts
        self.pool = pool
        parts = context.parts
        self.pool_id = f"{parts.fqdn}-PoolWorker.{context.name}-{pool.name}-{parts.new_id()}"
        self._component: Component | None = None
        self._unasked: frozenset[str] = frozenset()  # labels of free nodes whose hosts are asked first

    def publish(self) -> None:
        """Register, or bring the record up to date. It is not paused while its nodes are busy (launcher.md 10)."""
        wanted = Component(
            kind=ComponentKind.POOL,
            hostname=self._context.parts.hostname,
            state=ComponentState.RUNNING,
            version=__version__,
            id=self.pool_id,
            name=self.pool.name,
            provider_name=self._context.name,
            supported_labels=tuple(sorted(self.pool.labels)),
            priority=self.pool.priority,
            paused=self._context.standing.closed is not None,
        )
        store = self._context.store
        if self._component is None:
            self._component = store.register(wanted)
        else:
            self._component = store.update_component(with_place(wanted, self._component))

    def look(self, snapshot: Snapshot) -> None:
        """See which labels wait for an answer; once in a cycle, as `facts` are asked for often."""
        labels = self.pool.labels
        self._unasked = frozenset(name for name in labels if self._free(name, snapshot, live=False))

    def withdraw(self) -> None:
        if self._component is not None:
            self._context.store.unregister(self._component)
            self._component = None

    def facts(self, snapshot: Snapshot, now: float, *, launching: int) -> PoolFacts:  # noqa: ARG002
        context = self._context
        return pool_facts(
            context.config.provider,
            self.pool,
            pool_id=self.pool_id,
            unasked=self._unasked,
            closed=context.standing.closed,
            awaited=context.awaited(snapshot),
            patience=context.tuning.static_patience,
        )

    def free_ready(self, label: str, snapshot: Snapshot) -> list[Node]:
        """Free nodes of hosts that are known to be live, those that have been free longest in front."""
        return self._free(label, snapshot, live=True)

    def note_deferred(self, now: float) -> None:
        """Others need not be told: the pool is not paused."""

    def _free(self, label: str, snapshot: Snapshot, *, live: bool) -> list[Node]:
        alive, configured = self._hosts.live, self._hosts.configured
        found = []
        for node in snapshot.ready(label):
            host = configured.get(key_of(node))
            if host is None or host.pool != self.pool.name or label not in host.settings.labels:
                continue
            here = (node.provider, node.pool) == (self._context.name, self.pool.name)
            if here and (host.key in alive) is live and not snapshot.node_locked(node.id):
                found.append(node)
        return sorted(found, key=lambda node: (node.state_time, node.id))
