"""Several stores at work while connections break, sessions expire and answers get lost: in the end all agree.

The workers do what launchers and clients do, in random order. What they see while they work is not judged; what is
left when they have ended is: each store's snapshot is that of a store which has just read everything, and nobody
holds a lock.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from typing import Any

from poolmgr.errors import StoreError
from poolmgr.model.node import Node, NodeState
from poolmgr.model.request import NodeRequest, RequestState
from poolmgr.store.api import Lock
from poolmgr.store.tree_store import TreeStore
from tests.sites import Site, eventually

DISTURBANCES = ["suspend", "lose", "expire", "lose", "suspend", "expire", "lose", "expire"]


class Worker:
    def __init__(self, store: TreeStore, seed: int) -> None:
        self._store = store
        self._rng = random.Random(seed)
        self._ended = threading.Event()
        self.outcomes: Counter[str] = Counter()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._ended.set()
        self._thread.join(60)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        acts = [self._make_node, self._make_request, self._work_on_request, self._work_on_node, self._cancel]
        while not self._ended.is_set():
            if not self._store.connected:
                self._ended.wait(0.01)
                continue
            locks: list[Lock] = []
            try:
                self._rng.choice(acts)(locks)
                self.outcomes["done"] += 1
            except StoreError as error:
                self.outcomes[type(error).__name__] += 1
            finally:
                for lock in locks:
                    self._store.unlock(lock)

    def _make_node(self, locks: list[Lock]) -> None:
        lock, node = self._store.create_node(Node(provider="north", state=NodeState.BUILDING))
        locks.append(lock)
        self._store.save_node(node.moved(NodeState.READY, at=1.0), lock)

    def _make_request(self, _locks: list[Lock]) -> None:
        request = NodeRequest(labels=("small",))
        self._store.create_request(request, priority=200, ephemeral=self._rng.random() < 0.3)

    def _work_on_request(self, locks: list[Lock]) -> None:
        if request_id := self._any_request():
            lock, request = self._store.lock_request(request_id)
            locks.append(lock)
            request = self._store.save_request(request.moved(RequestState.PENDING, at=2.0), lock)
            self._store.finish_request(request.moved(RequestState.FULFILLED, at=3.0), lock)

    def _work_on_node(self, locks: list[Lock]) -> None:
        with self._store.reading() as snapshot:
            ids = [node.id for node in snapshot.nodes()]
        if ids:
            lock, node = self._store.lock_node(self._rng.choice(ids), timeout=self._rng.choice([0.0, 0.05]))
            locks.append(lock)
            node = self._store.save_node(node.moved(NodeState.USED, at=2.0), lock)
            if self._rng.random() < 0.7:
                self._store.delete_node(node, lock)

    def _cancel(self, _locks: list[Lock]) -> None:
        if request_id := self._any_request():
            self._store.delete_request(request_id)
            self._store.drop_request_lock(request_id)

    def _any_request(self) -> str | None:
        with self._store.reading() as snapshot:
            ids = [request.id for request in snapshot.requests()]
        return self._rng.choice(ids) if ids else None


def view(store: TreeStore) -> Any:
    """All that its snapshot says, with versions."""
    with store.reading() as snapshot:
        nodes = {node.id: (node, node.version) for node in snapshot.nodes()}
        requests = {request.id: (request, request.version) for request in snapshot.requests()}
        return nodes, requests, {i for i in nodes if snapshot.node_locked(i)}, set(snapshot.request_locks())


def disturb(site: Site, store: TreeStore, how: str) -> None:
    if how == "expire":
        site.expire(store)
        return
    if how == "suspend":
        site.suspend(store)
    else:
        site.lose_next_answer(store)
        eventually(lambda: not store.connected)
    site.resume(store)


def test_after_all_disturbances_everybody_agrees_and_nothing_is_locked(site):
    rng = random.Random(2)
    stores = [site.store() for _ in range(3)]
    workers = [Worker(store, seed) for seed, store in enumerate(stores * 2)]
    for how in DISTURBANCES:
        done = sum(worker.outcomes["done"] for worker in workers)
        eventually(lambda done=done: sum(worker.outcomes["done"] for worker in workers) > done + 50)
        disturb(site, rng.choice(stores), how)
    for worker in workers:
        worker.end()
    truth = view(site.store())
    for store in stores:
        eventually(lambda store=store: store.connected and view(store) == truth)
    assert (truth[2], truth[3]) == (set(), set())
    assert not any("__lock__" in path for path in site.paths())
