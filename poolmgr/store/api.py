"""What all poolmgr processes agree on, and how: records, locks, components, elections.

Two implementations, `zookeeper` and `memory`, pass one contract suite (tests/contract/test_store.py).

Rules every implementation keeps:
- Reads come from `reading()`; it shows this process's own completed writes at once.
- A write of an existing record is conditional on the version its copy was read with (`Conflict`), and where
  a `Lock` is given, also on that lock still being held (`LockLost`). Nothing is ever created by a save.
- After the session is lost every `Lock` of it is void: `valid` turns False and writes with it raise `LockLost`.
- Each method may raise `StoreUnavailable`; the other leaves are named below. Methods are thread-safe.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from poolmgr.model.component import Component
from poolmgr.model.fleet import Peer, ProviderOrder, ProviderStatus, ReclaimApproval, TenantPromises
from poolmgr.model.image import Build, ImageOrder, Order, Upload
from poolmgr.model.node import Node
from poolmgr.model.request import NodeRequest
from poolmgr.model.snapshot import Snapshot


class ChangeKind(enum.Enum):
    NODE = "node"  # data, creation, deletion, or a lock contender
    REQUEST = "request"
    COMPONENT = "component"
    IMAGE = "image"
    FLEET = "fleet"  # a peer, or a provider's lock, order, approval or status, a tenant's promises
    SESSION = "session"  # connected, suspended or lost


@dataclass(frozen=True, slots=True)
class Change:
    """Something that a watch reported. Only a hint to look again; events may be merged."""

    kind: ChangeKind
    id: str = ""  # IMAGE: the image's name; FLEET: the peer's znode, if it is about one
    provider: str = ""  # NODE and FLEET: the provider, where known


class Lock(Protocol):
    """A held lock. `path` is the lock directory; `valid` is False once released or lost."""

    @property
    def path(self) -> str: ...

    @property
    def valid(self) -> bool: ...


class Election(Protocol):
    """A standing candidacy; `leading` says whether we hold it now."""

    @property
    def leading(self) -> bool: ...

    def withdraw(self) -> None: ...


class Store(Protocol):
    """Requests, nodes, components, images, as `spec/zookeeper.md` lays them out."""

    # Connection

    def start(self, *, stop: Callable[[], bool] = lambda: False) -> None:
        """Connect and fill the snapshot; blocks until done, logging every 10 s while it cannot connect.

        Returns early, unconnected, once `stop()` is true. Raises ConfigError for unusable TLS files.
        """

    def close(self) -> None:
        """End the session: all locks and ephemeral records go. Idempotent; never raises."""

    @property
    def connected(self) -> bool:
        """Whether the session is up and the snapshot current; False while SUSPENDED, LOST or refilling."""

    @property
    def fresh(self) -> bool:
        """Whether our locks are ours for a while yet: the server has answered what we sent it lately.

        False once the last thing that it has answered was sent longer ago than 2/3 of the session's timeout. A process
        that stood still (SIGSTOP, a frozen machine) sees this at once when it goes on, before it hears that its
        session is over; so look at it before each act that must not be done for what was lost.
        """

    @property
    def epoch(self) -> int:
        """Counts sessions: it changes whenever locks taken before are void."""

    @property
    def writes(self) -> int:
        """How many write transactions this process has sent; for benchmarks and metrics."""

    @property
    def queues(self) -> Mapping[str, int]:
        """Lengths of the client's and caches' queues by metric name tail (metrics.md 2.2)."""

    def reading(self) -> AbstractContextManager[Snapshot]:
        """The snapshot, held still until the block ends. Keep the block short: watches wait for it."""

    def subscribe(self, on_change: Callable[[Change], None]) -> Callable[[], None]:
        """Call `on_change` for each change from a store thread (it must return at once). Returns the undo."""

    # Requests

    def create_request(self, request: NodeRequest, *, priority: int, ephemeral: bool = False) -> NodeRequest:
        """Store a new request as `<priority, 3 digits>-<sequence>`; returns it with id and version."""

    def read_request(self, request_id: str) -> NodeRequest:
        """Read past the cache. Raises RecordGone, BadRecord."""

    def lock_request(self, request_id: str) -> tuple[Lock, NodeRequest]:
        """Lock without waiting and re-read. Raises LockBusy, RecordGone, BadRecord (all leave nothing locked)."""

    def save_request(self, request: NodeRequest, lock: Lock | None = None) -> NodeRequest:
        """Replace the record. Raises Conflict, LockLost, RecordGone."""

    def delete_request(self, request_id: str) -> None:
        """Delete a request of our own (min-ready, the `request` command). Gone already is fine."""

    def drop_request_lock(self, request_id: str) -> bool:
        """Remove the lock directory of a request that is gone, if nobody contends. True if it is gone now."""

    def stale_request_locks(self) -> Iterable[str]:
        """Ids with a lock directory but no request; reads the directory list once."""

    # Nodes

    def create_node(self, node: Node, *, owner: Lock | None = None) -> tuple[Lock, Node]:
        """Store a new node and lock it: first as INIT, then, in one transaction with the lock, in `node.state`.

        `owner`: the lock of its provider (`lock_provider`); given that, both are only done while it is held.
        Returns the lock and the node with its id and version. Raises LockLost (of `owner`).
        """

    def read_node(self, node_id: str) -> Node:
        """Read past the cache. Raises RecordGone, BadRecord."""

    def lock_node(self, node_id: str, *, timeout: float = 0.0) -> tuple[Lock, Node]:
        """Lock, waiting at most `timeout` seconds, and re-read. Raises LockBusy, RecordGone, BadRecord.

        Never creates the node: a lock directory is only made below an existing node.
        """

    def save_node(self, node: Node, lock: Lock | None = None) -> Node:
        """Replace the record. Raises Conflict, LockLost, RecordGone."""

    def delete_node(self, node: Node, lock: Lock) -> None:
        """Remove node, lock directory and our contender in one transaction; other contenders go too.

        Raises LockLost, Conflict. Gone already is fine.
        """

    def finish_request(
        self,
        request: NodeRequest,
        lock: Lock,
        nodes: Iterable[tuple[Node, Lock]] = (),
    ) -> NodeRequest:
        """In one transaction: release the locks of `nodes`, save `request`, release its lock, in this order.

        Nodes are not written. Used for fulfilled (9.1 step 4) and for handing back.
        Raises Conflict, LockLost, RecordGone (the request was deleted); then nothing was changed.
        """

    def unlock(self, lock: Lock) -> None:
        """Release. Never raises: a lock that is lost or gone is released already."""

    def purge_empty(self) -> int:
        """Remove nodes, requests, builds and uploads without data that nobody has locked; the count.

        Locks of others bring such znodes back after the record was deleted (zookeeper.md 4, 15.1).
        """

    # Components and elections

    def register(self, component: Component) -> Component:
        """Publish an ephemeral component record; it is published again by itself after a lost session."""

    def update_component(self, component: Component) -> Component:
        """Change a registered record, no write if nothing differs; one that someone has removed is made anew.

        Raises RecordGone when not registered.
        """

    def unregister(self, component: Component) -> None:
        """Withdraw it. Never raises."""

    def elect(self, name: str, identifier: str) -> Election:
        """Stand for `/nodepool/elections/<name>`; stands again by itself after a lost session."""

    # Images (zookeeper.md 8). Folders above builds and uploads are made where they are missing.

    def order_image(self, order: ImageOrder) -> ImageOrder:
        """Let an order stand; one of the same kind that stands already stays as it is and is returned."""

    def withdraw_order(self, image: str, kind: Order) -> bool:
        """False if there was none."""

    def lock_builds(self, image: str) -> Lock:
        """Lock the building of an image, without waiting. Raises LockBusy."""

    def create_build(self, build: Build, lock: Lock) -> Build:
        """Store a new build under its own id. Raises Conflict (there is one), LockLost."""

    def save_build(self, build: Build, lock: Lock | None = None) -> Build:
        """Replace the record. `lock`: that of `lock_builds`. Raises Conflict, LockLost, RecordGone."""

    def delete_build(self, build: Build) -> None:
        """Remove the record with its lock and folders. Gone already is fine.

        Raises Conflict when it was changed since it was read, or has an upload's record below.
        """

    def lock_uploads(self, image: str, build_id: str, provider: str) -> Lock:
        """Lock the uploading of a build to a provider, without waiting. Raises LockBusy, RecordGone (the build)."""

    def create_upload(self, upload: Upload, lock: Lock | None = None) -> Upload:
        """Store a new upload; returns it with id and version.

        `lock`: that of `lock_uploads`; without one also what is above is made, the build's folder included (tests,
        demo). Raises LockLost, RecordGone (the build).
        """

    def read_upload(self, path: str) -> Upload:
        """Read past the cache. Raises RecordGone, BadRecord."""

    def save_upload(self, upload: Upload, lock: Lock | None = None) -> Upload:
        """Replace the record. `lock`: that of `lock_uploads` or `lock_upload`.

        Raises Conflict, LockLost, RecordGone.
        """

    def lock_upload(self, upload: Upload) -> tuple[Lock, Upload]:
        """Lock one upload's record, to delete it, without waiting, and re-read.

        Raises LockBusy, RecordGone, BadRecord (all leave nothing locked).
        """

    def delete_upload(self, upload: Upload, lock: Lock | None = None) -> None:
        """Remove the record with its lock (`lock`: that of `lock_upload`). Gone already is fine.

        Raises Conflict when it was changed since it was read, LockLost.
        """

    def image_data(self) -> dict[str, str]:
        """Every build, upload and pause, as stored, by path (builder.md 10). Reads the tree, not the cache."""

    def restore_image_data(self, data: Mapping[str, str]) -> int:
        """Write what `image_data` returned, over what is there; returns how many records were written.

        Sequence numbers of later uploads will be above those of `data`. Nothing is deleted.
        Raises BadRecord, before anything is written, for paths or texts that are no such records.
        """

    # What is ours alone: under /poolmgr

    def announce(self, peer: Peer) -> Peer:
        """Publish this launcher, as long as the session lives; again by itself after a lost session."""

    def update_peer(self, peer: Peer) -> Peer:
        """Change what was announced, no write if nothing differs. Raises RecordGone when it was not announced."""

    def retract(self, peer: Peer) -> None:
        """Withdraw it. Never raises."""

    def lock_provider(self, provider: str) -> Lock:
        """Become the provider's owner, without waiting. Raises LockBusy."""

    def save_provider_status(self, status: ProviderStatus, lock: Lock) -> ProviderStatus:
        """Make or replace it; no write if nothing differs. `lock`: that of `lock_provider`. Raises LockLost."""

    def order_provider(self, order: ProviderOrder) -> ProviderOrder:
        """Let an order stand, in place of one that stood."""

    def withdraw_provider_order(self, provider: str) -> bool:
        """False if there was none."""

    def approve_reclaim(self, approval: ReclaimApproval) -> ReclaimApproval:
        """Let it stand, in place of one that stood."""

    def use_approval(self, approval: ReclaimApproval, lock: Lock) -> bool:
        """Take it away, so that it counts once. `lock`: that of `lock_provider`. False if it is not there any more.

        Raises LockLost.
        """

    def promise(self, promises: TenantPromises) -> TenantPromises:
        """Replace what was promised to a tenant's requests; version -1: there must be no such record yet.

        Raises Conflict: someone else has promised something meanwhile, which may not be in the snapshot yet.
        """

    def deployment(self) -> str:
        """This installation's id (32 hex), made at first use under `/poolmgr/deployment`."""
