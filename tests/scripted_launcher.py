"""A launcher that does exactly what a test tells it, over any store: the other side for tests of clients."""

from __future__ import annotations

import time

from poolmgr.model.node import Node, NodeState
from poolmgr.model.request import RequestState
from poolmgr.store.api import Store


class ScriptedLauncher:
    def __init__(self, store: Store, provider: str = "north") -> None:
        self.store = store
        self.provider = provider

    def start_work(self, request_id: str) -> None:
        """Take a request and leave it pending with nodes that build; `fulfil` goes on."""
        lock, request = self.store.lock_request(request_id)
        self.request_lock = lock
        self.request = self.store.save_request(request.moved(RequestState.PENDING, at=time.time()), lock)
        self.nodes = [self.store.create_node(self.node(request_id, label)) for label in request.labels]

    def node(self, request_id: str, label: str) -> Node:
        return Node(
            state=NodeState.BUILDING,
            state_time=time.time(),
            labels=(label,),
            provider=self.provider,
            pool="main",
            allocated_to=request_id,
        )

    def fulfil(self, request_id: str) -> tuple[str, ...]:
        """All the way to fulfilled; returns the node ids."""
        self.start_work(request_id)
        ready = []
        for number, (lock, node) in enumerate(self.nodes):
            node = node.moved(NodeState.READY, at=time.time(), interface_ip=f"127.0.0.{number + 1}")
            ready.append((self.store.save_node(node, lock), lock))
        ids = tuple(node.id for node, _ in ready)
        done = self.request.moved(RequestState.FULFILLED, at=time.time(), nodes=ids)
        self.store.finish_request(done, self.request_lock, ready)
        return ids

    def fail(self, request_id: str, *declined_by: str) -> None:
        lock, request = self.store.lock_request(request_id)
        failed = request.moved(RequestState.FAILED, at=time.time(), declined_by=declined_by)
        self.store.finish_request(failed, lock)
