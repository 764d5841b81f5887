"""The pools of one provider: their component records, and the facts policies judge them by."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace

from poolmgr import __version__
from poolmgr.config.settings import Pool, PoolLabel
from poolmgr.launcher.cloudfacts import CloudFacts
from poolmgr.launcher.context import Context
from poolmgr.model.component import Component, ComponentKind, ComponentState
from poolmgr.model.node import Node, NodeState
from poolmgr.model.resources import Resources, counted, total
from poolmgr.model.server import Flavor
from poolmgr.model.snapshot import Snapshot
from poolmgr.policy.capacity import Capacity, network_use, pool_capacity, unmanaged_use, unmanaged_volumes
from poolmgr.policy.flavors import price
from poolmgr.policy.orders import capped
from poolmgr.policy.requests import LabelFacts, PoolFacts
from poolmgr.policy.zones import in_turn

log = logging.getLogger(__name__)

#: Seconds a pool stays published as paused after the last request it put off: each change is a write.
PAUSED_LINGERS = 5.0


class PoolDesk:
    """One pool: where its requests are judged and its nodes made. Lives until its worker or the pool goes."""

    def __init__(self, context: Context, facts: CloudFacts, pool: Pool) -> None:
        self._context = context
        self._facts = facts
        self.pool = pool
        parts = context.parts
        self.pool_id = f"{parts.fqdn}-PoolWorker.{context.name}-{pool.name}-{parts.new_id()}"
        self._component: Component | None = None
        self._paused_until = 0.0
        self._turn = parts.rng.randrange(1_000)  # so that several launchers don't begin in the same zone
        self._unmanaged_at = (-1.0, -1.0)  # starts of the listings that `_unmanaged_use` was judged by
        self._unmanaged_use: Resources = {}

    # The component record

    def publish(self, now: float) -> None:
        """Register, or bring the record up to date; no write when nothing differs."""
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
            paused=self.why_paused(now) is not None,
        )
        store = self._context.store
        if self._component is None:
            self._component = store.register(wanted)
        else:
            self._component = store.update_component(with_place(wanted, self._component))

    def why_paused(self, now: float) -> str | None:
        """Why it takes nothing, as far as others may know; None when it does."""
        full = "full" if now < self._paused_until else None
        return self._context.standing.closed or self._facts.paused(now) or full

    def withdraw(self) -> None:
        if self._component is not None:
            self._context.store.unregister(self._component)
            self._component = None

    def note_deferred(self, now: float) -> None:
        """A request waits here for room: others with a lower priority may have it."""
        self._paused_until = now + PAUSED_LINGERS

    # Facts

    def facts(self, snapshot: Snapshot, now: float, *, launching: int) -> PoolFacts:
        """What judging needs to know. `launching`: nodes of this provider that this worker is bringing up."""
        context = self._context
        provider = context.config.provider
        labels = {name: self._label(label, snapshot, now) for name, label in self.pool.labels.items()}
        concurrency = provider.max_concurrency
        return PoolFacts(
            id=self.pool_id,
            provider=context.name,
            priority=self.pool.priority,
            labels=labels,
            disabled=self.pool.disabled,
            capacity=self._capacity(snapshot, labels),
            launches_left=float("inf") if concurrency < 0 else max(0, concurrency - launching),
            launching_forbidden=concurrency == 0,
            paused=self._facts.paused(now),
            closed=context.standing.closed,
            awaited=context.awaited(snapshot),
        )

    def _capacity(self, snapshot: Snapshot, labels: Mapping[str, LabelFacts]) -> Capacity:
        context = self._context
        capacity = pool_capacity(
            context.name,
            self.pool,
            snapshot,
            cloud_limits=self._facts.limits,
            unmanaged=self._unmanaged(snapshot),
            prices={name: fact.need for name, fact in labels.items() if fact.need},
            network_use=self._network_use(snapshot),
        )
        # A node that has no `resources` counts as one server too.
        use = total((snapshot.use(context.name), {"instances": len(snapshot.unpriced(context.name))}))
        return capped(capacity, context.standing.max_servers, use)

    def _network_use(self, snapshot: Snapshot) -> Resources:
        """Ports and floating IPs of the provider's nodes; those without `resources` are priced with them."""
        prices = self._facts.network_prices()
        return network_use(self._context.name, snapshot, prices) if prices else {}

    def _unmanaged(self, snapshot: Snapshot) -> Resources:
        """What others use in the project; of servers and volumes judged once for each pair of listings."""
        if self.pool.ignore_provider_quota:
            return {}
        return total((self._unmanaged_listed(snapshot), self._facts.unmanaged_network))

    def _unmanaged_listed(self, snapshot: Snapshot) -> Resources:
        servers, volumes = self._context.servers.last, self._context.volumes.last
        if servers is None or not self._facts.limits:
            return {}
        listed = (servers.started_at, volumes.started_at if volumes else 0.0)
        if self._unmanaged_at != listed:
            self._unmanaged_at = listed
            whose = (self._context.name, snapshot)
            deployment = self._context.parts.deployment
            use = [unmanaged_use(servers.items.values(), *whose, deployment=deployment)]
            if volumes is not None:
                volumes_of_all = volumes.items.values()
                use.append(unmanaged_volumes(volumes_of_all, servers.items, *whose, deployment=deployment))
            self._unmanaged_use = total(use)
        return self._unmanaged_use

    def _label(self, label: PoolLabel, snapshot: Snapshot, now: float) -> LabelFacts:
        facts = self._facts.label(label, self.pool, self.zones(), now)
        image = label.image
        if image.is_disk_image and snapshot.newest_upload(image.name, self._context.name) is None:
            return LabelFacts(need=facts.need, broken=facts.broken, waiting=facts.waiting or "image")
        return facts

    def taken_by(self, node: Node) -> Resources:
        """What the end of a node of this provider gives back: its `resources`, its ports and floating IPs."""
        network = self._facts.network_prices().get((node.pool, node.label), {})
        return {**counted(node.resources), **network}

    def free_ready(self, label: str, snapshot: Snapshot) -> list[Node]:
        """Free ready nodes of this pool, unlocked, the oldest first."""
        found = [
            node
            for node in snapshot.ready(label)
            if node.provider == self._context.name
            and node.pool == self.pool.name
            and not snapshot.node_locked(node.id)
        ]
        return sorted(found, key=lambda node: node.state_time)

    def zones(self) -> tuple[str, ...]:
        """Where new nodes may go; () leaves it to the cloud."""
        return self.pool.availability_zones or self._facts.zones

    def zones_in_turn(self, labels: Iterable[str], now: float) -> tuple[str, ...]:
        """The same, beginning with the one whose turn it is; those that have no room for one of `labels` last."""
        flavors = (self._facts.flavor(self.pool.labels[name]) for name in labels if name in self.pool.labels)
        full = [self._facts.full_zones(flavor, now) for flavor in flavors if flavor]
        return in_turn(self.zones(), self._turn, frozenset().union(*full))

    def took_turn(self, zone: str) -> None:
        """A request was bound to `zone`: the next one begins behind it."""
        zones = self.zones()
        self._turn = zones.index(zone) + 1 if zone in zones else self._turn

    def new_node(self, label: PoolLabel, flavor: Flavor, zone: str | None) -> Node:
        """A node record as it is stored before anything exists in the cloud."""
        context, image = self._context, label.image
        now = context.clock.time()
        info = context.info
        return Node(
            state=NodeState.BUILDING,
            state_time=now,
            created_time=now,
            labels=(label.name,),
            provider=context.name,
            pool=self.pool.name,
            cloud=info.cloud if info else None,
            region=info.region if info else None,
            az=zone,
            launcher=self.pool_id,
            connection_type=image.connection_type,
            connection_port=image.connection_port,
            username=image.username,
            python_path=image.python_path,
            shell_type=image.shell_type,
            resources=price(flavor, label),
            attributes=self.pool.node_attributes,
            node_properties={},
        )


def with_place(wanted: Component, registered: Component) -> Component:
    """`registered` with what `wanted` says of a pool."""
    return replace(
        registered,
        supported_labels=wanted.supported_labels,
        priority=wanted.priority,
        paused=wanted.paused,
        state=wanted.state,
    )
