"""The store over any tree: every method of `store.api.Store`, in the words of the modules beside this one.

It is also what a session reports to. `connected` says whether the snapshot can be believed: it is False from
the moment the connection breaks until everything was read again over a new one, and the locks, components and
elections of this process are in order.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import TypeVar

from poolmgr.errors import LockLost, StoreUnavailable
from poolmgr.model.component import Component, ComponentKind
from poolmgr.model.fleet import Peer, ProviderOrder, ProviderStatus, ReclaimApproval, TenantPromises
from poolmgr.model.image import Build, ImageOrder, Order, Upload
from poolmgr.model.node import Node
from poolmgr.model.request import NodeRequest
from poolmgr.model.snapshot import Snapshot
from poolmgr.runtime.clock import Clock, SystemClock
from poolmgr.store import image_data, paths
from poolmgr.store.api import Change, ChangeKind, Election, Lock
from poolmgr.store.cache import Cache
from poolmgr.store.elections import Elections
from poolmgr.store.folders import below, ensure
from poolmgr.store.images import Images
from poolmgr.store.locks import HeldLock, Locks
from poolmgr.store.nodes import Nodes
from poolmgr.store.providers import Providers
from poolmgr.store.registry import Registry
from poolmgr.store.requests import Requests
from poolmgr.store.tree import Create, Delete, EventKind, Refused, Session, Write

R = TypeVar("R")

#: Directories that must be there before anyone can be told of what is in them.
_FOLDERS = (
    paths.REQUESTS,
    paths.REQUEST_LOCKS,
    paths.NODES,
    paths.IMAGES,
    *(paths.component(kind) for kind in ComponentKind),
    paths.PEERS,
    paths.PROVIDERS,
    paths.TENANTS,
)
#: After this part of the session's timeout without proof, our locks are in doubt.
_FRESH = 2 / 3
_CACHES = {"node": paths.NODES, "request": paths.REQUESTS, "image": paths.IMAGES}


def new_id() -> str:
    """32 hex digits that nobody else has."""
    return uuid.uuid4().hex


class TreeStore:
    """A `store.api.Store`, as soon as there is a way to start and close its session."""

    def __init__(
        self, session: Session, *, clock: Clock | None = None, new_id: Callable[[], str] = new_id
    ) -> None:
        clock = clock or SystemClock()
        self._session = session
        self._monotonic = clock.monotonic
        self._new_id = new_id
        self._cache = Cache(session, clock)
        self._locks = Locks(session, self._cache, clock, new_id)
        self._nodes = Nodes(session, self._cache, self._locks)
        self._requests = Requests(session, self._cache, self._locks, self._nodes)
        self._images = Images(session, self._cache, self._locks)
        self._providers = Providers(session, self._cache, self._locks)
        self._registry = Registry(session, self._cache)
        self._elections = Elections(session, self._cache, self._locks, lambda: self.connected)
        self._state = threading.Lock()  # taken by the session's own thread too: never hold it during a call
        self._current_on = -1  # the session's `connection` at which the snapshot was completed
        self._epoch = 0

    # What the session reports (tree.Listener)

    def begin(self, write: Write) -> None:
        self._cache.begin(write)

    def settle(self, write: Write) -> None:
        self._cache.settle(write)

    def reached(self, write: Write) -> None:
        self._cache.reached(write)

    def event(self, place: int, kind: EventKind, path: str) -> None:
        self._cache.event(place, kind, path)

    def flush(self) -> None:
        self._cache.flush()

    def suspended(self) -> None:
        self._current_on = -1

    def lost(self) -> None:
        self._current_on = -1
        with self._state:
            self._epoch += 1
        self._locks.void_all()

    def disconnected(self, connection: int) -> None:
        self._cache.forget_connection(connection)
        self._cache.note(Change(ChangeKind.SESSION))

    def restore(self) -> None:
        connection = self._session.connection
        for root in paths.ROOTS:
            self._session.watch(root)
        for folder in _FOLDERS:
            ensure(self._session, folder)
        self._cache.refill()
        self._locks.recover()
        self._registry.restore()
        self._elections.restore()
        self._current_on = connection
        self._cache.note(Change(ChangeKind.SESSION))

    # Connection

    @property
    def connected(self) -> bool:
        return self._session.up and self._current_on == self._session.connection

    @property
    def fresh(self) -> bool:
        return self._monotonic() - self._session.proven_at <= _FRESH * self._session.timeout

    @property
    def epoch(self) -> int:
        with self._state:
            return self._epoch

    @property
    def writes(self) -> int:
        return self._session.writes

    @property
    def queues(self) -> Mapping[str, int]:
        queued = self._session.queues()
        lengths = {"zk.client.connection_queue": queued.requests}
        fetches = self._cache.fetches()
        for name, root in _CACHES.items():
            lengths[f"zk.{name}_cache.event_queue"] = queued.told
            lengths[f"zk.{name}_cache.playback_queue"] = fetches[root]
        return lengths

    def reading(self) -> AbstractContextManager[Snapshot]:
        return self._cache.reading()

    def subscribe(self, on_change: Callable[[Change], None]) -> Callable[[], None]:
        return self._cache.subscribe(on_change)

    # Requests

    def create_request(self, request: NodeRequest, *, priority: int, ephemeral: bool = False) -> NodeRequest:
        return self._in_order(lambda: self._requests.create(request, priority, ephemeral))

    def read_request(self, request_id: str) -> NodeRequest:
        return self._requests.read(request_id)

    def lock_request(self, request_id: str) -> tuple[Lock, NodeRequest]:
        return self._requests.lock(request_id)

    def save_request(self, request: NodeRequest, lock: Lock | None = None) -> NodeRequest:
        return self._requests.save(request, _ours(lock))

    def delete_request(self, request_id: str) -> None:
        self._requests.delete(request_id)

    def drop_request_lock(self, request_id: str) -> bool:
        return self._requests.drop_lock(request_id)

    def stale_request_locks(self) -> Iterable[str]:
        return self._requests.stale_locks()

    # Nodes

    def create_node(self, node: Node, *, owner: Lock | None = None) -> tuple[Lock, Node]:
        return self._in_order(lambda: self._nodes.create(node, _ours(owner)))

    def read_node(self, node_id: str) -> Node:
        return self._nodes.read(node_id)

    def lock_node(self, node_id: str, *, timeout: float = 0.0) -> tuple[Lock, Node]:
        return self._nodes.lock(node_id, timeout)

    def save_node(self, node: Node, lock: Lock | None = None) -> Node:
        return self._nodes.save(node, _ours(lock))

    def delete_node(self, node: Node, lock: Lock) -> None:
        self._nodes.delete(node, _held(lock))

    def finish_request(
        self, request: NodeRequest, lock: Lock, nodes: Iterable[tuple[Node, Lock]] = ()
    ) -> NodeRequest:
        held = [(node, _held(node_lock)) for node, node_lock in nodes]
        return self._requests.finish(request, _held(lock), held)

    def unlock(self, lock: Lock) -> None:
        self._locks.release(_held(lock))

    def purge_empty(self) -> int:
        return sum(self._purge(path, version) for path, version in self._cache.empty_records().items())

    def _purge(self, path: str, version: int) -> bool:
        """Whether `path` is gone by our doing: nobody contends for its lock, and it still has no data."""
        if self._cache.contenders(paths.lock(path)):
            return False
        if path.startswith(f"{paths.IMAGES}/"):
            return self._images.purge(path, version)
        try:
            data, stat = self._session.get(path)
            if data or stat.version != version:
                return False
            self._session.commit(Write(*self._leftovers(path), Delete(path, version)))
        except Refused:  # someone is at it
            return False
        return True

    def _leftovers(self, path: str) -> list[Delete]:
        """Directories below; contenders are left out, so that the transaction fails if there are any."""
        return [d for d in below(self._session, path) if paths.sequence_of(paths.name(d.path)) is None]

    # Components and elections

    def register(self, component: Component) -> Component:
        return self._registry.register(component)

    def update_component(self, component: Component) -> Component:
        return self._registry.update(component)

    def unregister(self, component: Component) -> None:
        self._registry.unregister(component)

    def elect(self, name: str, identifier: str) -> Election:
        return self._elections.elect(name, identifier)

    # Images

    def order_image(self, order: ImageOrder) -> ImageOrder:
        return self._images.order(order)

    def withdraw_order(self, image: str, kind: Order) -> bool:
        return self._images.withdraw(image, kind)

    def lock_builds(self, image: str) -> Lock:
        return self._images.lock_builds(image)

    def create_build(self, build: Build, lock: Lock) -> Build:
        return self._images.create_build(build, _held(lock))

    def save_build(self, build: Build, lock: Lock | None = None) -> Build:
        return self._images.save_build(build, _ours(lock))

    def delete_build(self, build: Build) -> None:
        self._images.delete_build(build)

    def lock_uploads(self, image: str, build_id: str, provider: str) -> Lock:
        return self._images.lock_uploads(image, build_id, provider)

    def create_upload(self, upload: Upload, lock: Lock | None = None) -> Upload:
        return self._images.create_upload(upload, _ours(lock))

    def read_upload(self, path: str) -> Upload:
        return self._images.read_upload(path)

    def save_upload(self, upload: Upload, lock: Lock | None = None) -> Upload:
        return self._images.save_upload(upload, _ours(lock))

    def lock_upload(self, upload: Upload) -> tuple[Lock, Upload]:
        return self._images.lock_upload(upload)

    def delete_upload(self, upload: Upload, lock: Lock | None = None) -> None:
        self._images.delete_upload(upload, _ours(lock))

    def image_data(self) -> dict[str, str]:
        return image_data.exported(self._session)

    def restore_image_data(self, data: Mapping[str, str]) -> int:
        return self._in_order(lambda: image_data.restore(self._session, data))

    # What is ours alone

    def announce(self, peer: Peer) -> Peer:
        return self._registry.register(peer)

    def update_peer(self, peer: Peer) -> Peer:
        return self._registry.update(peer)

    def retract(self, peer: Peer) -> None:
        self._registry.unregister(peer)

    def lock_provider(self, provider: str) -> Lock:
        return self._providers.lock(provider)

    def save_provider_status(self, status: ProviderStatus, lock: Lock) -> ProviderStatus:
        return self._providers.save_status(status, _held(lock))

    def order_provider(self, order: ProviderOrder) -> ProviderOrder:
        return self._providers.order(order)

    def withdraw_provider_order(self, provider: str) -> bool:
        return self._providers.withdraw_order(provider)

    def approve_reclaim(self, approval: ReclaimApproval) -> ReclaimApproval:
        return self._providers.approve(approval)

    def use_approval(self, approval: ReclaimApproval, lock: Lock) -> bool:
        return self._providers.use_approval(approval, _held(lock))

    def promise(self, promises: TenantPromises) -> TenantPromises:
        return self._providers.promise(promises)

    def deployment(self) -> str:
        while True:
            try:
                return self._session.get(paths.DEPLOYMENT)[0].decode()
            except Refused:
                ensure(self._session, paths.parent(paths.DEPLOYMENT))
            try:
                self._session.commit(Write(Create(paths.DEPLOYMENT, self._new_id().encode())))
            except Refused:
                continue  # someone was quicker: theirs counts

    def _in_order(self, create: Callable[[], R]) -> R:
        """Create something; a missing directory can only mean that someone removed the whole tree."""
        try:
            return create()
        except Refused as refused:
            raise StoreUnavailable(f"cannot create anything: {refused}") from refused


def _ours(lock: Lock | None) -> HeldLock | None:
    return None if lock is None else _held(lock)


def _held(lock: Lock) -> HeldLock:
    if not isinstance(lock, HeldLock):
        raise LockLost(f"{lock.path}: not a lock of this store")
    return lock
