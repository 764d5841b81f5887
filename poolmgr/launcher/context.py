"""What the parts of one provider's worker share.

`ProviderContext` is what the worker of any provider has; `Context` adds a cloud.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

from poolmgr.cloud.api import Cloud, CloudInfo, Prober
from poolmgr.config.settings import Label, OpenStackProvider, Provider, TenantLimits
from poolmgr.errors import Conflict, LockLost
from poolmgr.launcher.claims import Claims
from poolmgr.launcher.jobs import Jobs
from poolmgr.launcher.listings import SharedListing
from poolmgr.launcher.marks import VolumeMarks
from poolmgr.launcher.tenure import StatusBoard, Tenure
from poolmgr.model.node import Node
from poolmgr.model.server import FloatingIp, Listing, Owner, Port, Server, Volume
from poolmgr.model.snapshot import Snapshot
from poolmgr.observe.ledger import Deletion, Ledger
from poolmgr.observe.stats import Stats
from poolmgr.policy.leaks import Evidence
from poolmgr.policy.orders import Standing
from poolmgr.policy.requests import awaited
from poolmgr.policy.tuning import Tuning
from poolmgr.runtime.clock import Clock
from poolmgr.runtime.executor import Executor
from poolmgr.store.api import Lock, Store

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class ProviderConfig:
    """The settings a worker goes by; a reload replaces the whole."""

    provider: Provider
    labels: Mapping[str, Label] = field(default_factory=dict)
    tenants: Mapping[str, TenantLimits] = field(default_factory=dict)
    max_hold_age: float = 0.0
    fair_tenants: bool = False  # tenants of one priority take turns
    idle_hold: float = 120.0  # seconds that a request may hold ready nodes while others of it find no room
    offers: Mapping[tuple[str, str], frozenset[str]] = field(
        default_factory=dict
    )  # labels of all (provider, pool)
    removed: bool = False  # the configuration has it no more: it is only there to be drained


@dataclass(frozen=True, kw_only=True)
class Config(ProviderConfig):
    """The same for a provider that has a cloud."""

    provider: OpenStackProvider


@dataclass(frozen=True, kw_only=True)
class ProviderParts:
    """The outside world of a worker, as `wiring` joins it."""

    store: Store
    prober: Prober
    clock: Clock
    stats: Stats
    probes: Executor  # for attempts to reach servers
    rng: random.Random
    new_id: Callable[[], str]  # 32 hex
    deployment: str
    hostname: str
    fqdn: str
    claims: Claims


@dataclass(frozen=True, kw_only=True)
class Parts(ProviderParts):
    """The same with a cloud."""

    cloud: Cloud
    api: Executor  # for API calls
    ledger: Ledger


class ProviderContext:
    """One worker's world. Only the worker's thread touches it."""

    def __init__(
        self, parts: ProviderParts, config: ProviderConfig, tuning: Tuning, jobs: Jobs, tenure: Tenure
    ) -> None:
        self.parts = parts
        self.tenure = tenure
        self.status = StatusBoard(parts.store, tenure)
        self.store = parts.store
        self.clock = parts.clock
        self.stats = parts.stats
        self.config = config
        self.tuning = tuning
        self.jobs = jobs
        self.standing = Standing()  # kept by launcher.orders
        self.name = config.provider.name
        self.disturbances = 0  # how often the connection to the store has changed

    @property
    def session(self) -> tuple[int, int]:
        """The same for as long as the store was there without a break."""
        return self.store.epoch, self.disturbances

    def save_node(self, node: Node, lock: Lock) -> Node:
        """Save a node whose lock we hold.

        A version conflict can then only come from an own write whose answer was lost: save again on top of it.
        Raises LockLost, RecordGone, StoreUnavailable.
        """
        try:
            return self.store.save_node(node, lock)
        except Conflict:
            version = self.store.read_node(node.id).version
            return self.store.save_node(replace(node, version=version), lock)

    def awaited(self, snapshot: Snapshot) -> Collection[frozenset[str]]:
        """The labels of each pool that is configured, here or by a live peer, but not registered."""
        return awaited(self.config.offers, snapshot)

    def holds(self, lock: Lock) -> bool:
        """Whether `lock` and the provider are ours, for all that we have heard."""
        return lock.valid and self.tenure.valid and self.store.connected

    def fence(self, lock: Lock | None = None) -> None:
        """Raise LockLost unless we still own the provider, and `lock` still protects the call that follows.

        A process that stood still has heard of nothing yet, but knows that it has not (`Store.fresh`).
        """
        for needed in (lock, self.tenure.lock):
            if needed is not None and not needed.valid:
                raise LockLost(f"{needed.path} is not ours any more")
        if not (self.store.connected and self.store.fresh):
            raise LockLost("nothing is sure: no word from the store")


class Context(ProviderContext):
    """The world of a worker that has a cloud."""

    parts: Parts
    config: Config

    def __init__(self, parts: Parts, config: Config, tuning: Tuning, jobs: Jobs, tenure: Tenure) -> None:
        super().__init__(parts, config, tuning, jobs, tenure)
        self.cloud = parts.cloud
        self.info: CloudInfo | None = None  # None until the cloud has answered once
        self.boots: deque[float] = deque(maxlen=20)  # seconds from the create call to ACTIVE, lately
        self.deletions: deque[float] = deque(maxlen=20)  # seconds from the delete call until absent
        name = self.name
        self.servers: SharedListing[Server] = self._listing(
            f"servers of {name}",
            parts.cloud.list_servers,
            fetch_states=partial(parts.cloud.list_servers, partial_ok=True),
        )
        self.ports: SharedListing[Port] = self._listing(f"ports of {name}", parts.cloud.list_ports)
        self.floating_ips: SharedListing[FloatingIp] = self._listing(
            f"floating IPs of {name}", parts.cloud.list_floating_ips
        )
        self.volumes: SharedListing[Volume] = self._listing(f"volumes of {name}", parts.cloud.list_volumes)
        self.marks = VolumeMarks(parts.cloud, jobs, parts.api, parts.clock, tuning)

    def owner_of(self, node_id: str, attempt: int | None = None) -> Owner:
        """What marks a thing as made for this node."""
        return Owner(provider=self.name, node_id=node_id, deployment=self.parts.deployment, attempt=attempt)

    def told(self, evidence: Evidence) -> Mapping[str, object]:
        """`evidence` as the ledger has it: with epoch seconds."""
        ago = self.clock.time() - self.clock.monotonic()
        return {
            "records_seen": round(evidence.viewed_at + ago, 3),
            "listings": [round(at + ago, 3) for at in evidence.listings],
            "store_epoch": evidence.session[0],
        }

    def delete(self, deletion: Deletion, call: Callable[[], None], *, lock: Lock | None = None) -> None:
        """Make the `call` that deletes, if we still have the right to, and write it down; from any thread.

        Raises LockLost, and what `call` raises.
        """
        self.fence(lock)
        self.write_down(deletion, call)

    def write_down(self, deletion: Deletion, call: Callable[[], None]) -> None:
        """Make the `call` that deletes, whatever we still own, and write it down. Raises what `call` raises."""
        whole = replace(
            deletion,
            provider=self.name,
            deployment=deletion.deployment or self.parts.deployment,
            peer=self.tenure.status.owner,
        )
        self.parts.ledger.delete(whole, call)

    def boots_from_volumes(self) -> bool:
        """Whether nodes of this provider have volumes, or may get some."""
        labels = (label for pool in self.config.provider.pools.values() for label in pool.labels.values())
        if any(label.boot_from_volume for label in labels):
            return True
        with self.store.reading() as snapshot:
            return snapshot.use(self.name).get("volumes", 0) > 0

    def _listing(
        self,
        name: str,
        fetch: Callable[[], Listing[T]],
        fetch_states: Callable[[], Listing[T]] | None = None,
    ) -> SharedListing[T]:
        return SharedListing(
            name, fetch, self.jobs, self.parts.api, self.clock, self.tuning, fetch_states=fetch_states
        )
