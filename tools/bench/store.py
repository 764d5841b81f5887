#!/usr/bin/env python3
"""What the store costs on a real ZooKeeper: transactions, CPU and events of nodes' lives.

    tools/bench/store.py [--lives 1000] [--workers 4] [--json]

Three processes beside a private ZooKeeper: this one is the launcher (it locks requests, makes, readies and deletes
nodes), one is the client (it requests, uses and releases them), one only watches, as the other launchers of a fleet
would. CPU is that of each process from the first request to the last deletion; nothing but the store runs in them.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import tempfile
import threading
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from poolmgr.errors import StoreError  # noqa: E402 - after the path is set
from poolmgr.model.node import Node, NodeState  # noqa: E402
from poolmgr.model.request import NodeRequest, RequestState  # noqa: E402
from poolmgr.runtime.zookeeper_server import ZooKeeperServer  # noqa: E402
from poolmgr.store.api import Change, ChangeKind  # noqa: E402
from poolmgr.store.zookeeper import ZooKeeperStore  # noqa: E402

KEYS = tuple(f"ssh-{kind} {'A' * length}" for kind, length in (("rsa", 370), ("ed25519", 68), ("ecdsa", 140)))
RESOURCES = {"cores": 4, "ram": 8192, "instances": 1}


class Wanted:
    """Runs `act` for each id that a change names, on some threads."""

    def __init__(self, store: ZooKeeperStore, kind: ChangeKind, workers: int, act: Any) -> None:
        self._store, self._kind, self._act = store, kind, act
        self._wake = threading.Condition()
        self._ids: dict[str, None] = {}
        self._ended = False
        store.subscribe(self._on_change)
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(workers)]
        for thread in self._threads:
            thread.start()

    def _on_change(self, change: Change) -> None:
        if change.kind is self._kind:
            with self._wake:
                self._ids[change.id] = None
                self._wake.notify()

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._ids and not self._ended:
                    self._wake.wait()
                if self._ended:
                    return
                one = next(iter(self._ids))
                del self._ids[one]
            with suppress(StoreError):  # another thread was quicker
                self._act(self._store, one)

    def end(self) -> None:
        with self._wake:
            self._ended = True
            self._wake.notify_all()


def opened(hosts: str) -> ZooKeeperStore:
    store = ZooKeeperStore(hosts)
    store.start()
    return store


# The launcher


def serve(store: ZooKeeperStore, request_id: str) -> None:
    """A request's node, from the lock on the request to `fulfilled`; or what is left to do once it is gone."""
    with store.reading() as snapshot:
        request = snapshot.request(request_id)
        locked = snapshot.request_locked(request_id)
    if request is None:
        if not locked:
            store.drop_request_lock(request_id)
        return
    if locked or request.state is not RequestState.REQUESTED:
        return
    lock, request = store.lock_request(request_id)
    request = store.save_request(request.moved(RequestState.PENDING, at=time.time()), lock)
    node_lock, node = store.create_node(
        Node(
            state=NodeState.BUILDING,
            state_time=time.time(),
            created_time=time.time(),
            labels=request.labels,
            provider="north",
            pool="main",
            launcher="launcher.example.com-PoolWorker.north-main-0123456789abcdef0123456789abcdef",
            allocated_to=request.id,
            image_id="/nodepool/images/debian/builds/0123456789abcdef/providers/north/images/0000000001",
            resources=RESOURCES,
        )
    )
    node = store.save_node(_with(node, external_id="0" * 36), node_lock)
    ready = _with(node, interface_ip="192.0.2.1", public_ipv4="192.0.2.1", az="nova", host_keys=KEYS)
    node = store.save_node(ready.moved(NodeState.READY, at=time.time()), node_lock)
    done = request.moved(RequestState.FULFILLED, at=time.time(), nodes=(node.id,))
    store.finish_request(done, lock, [(node, node_lock)])


def retire(store: ZooKeeperStore, node_id: str) -> bool:
    """Delete a node that is used and unlocked."""
    with store.reading() as snapshot:
        node = snapshot.node(node_id)
        if node is None or node.state is not NodeState.USED or snapshot.node_locked(node_id):
            return False
    lock, node = store.lock_node(node_id)
    store.delete_node(store.save_node(node.moved(NodeState.DELETING, at=time.time()), lock), lock)
    return True


def _with(node: Node, **changes: Any) -> Node:
    return node.moved(node.state, at=node.state_time, **changes)


# The client


def use(store: ZooKeeperStore, request_id: str) -> None:
    with store.reading() as snapshot:
        request = snapshot.request(request_id)
    if request is None or request.state is not RequestState.FULFILLED:
        return
    lock, node = store.lock_node(request.nodes[0], timeout=30.0)
    store.delete_request(request.id)
    node = store.save_node(node.moved(NodeState.IN_USE, at=time.time()), lock)
    store.save_node(node.moved(NodeState.USED, at=time.time()), lock)
    store.unlock(lock)


def client(hosts: str, pipe: Connection, lives: int, outstanding: int) -> None:
    store = opened(hosts)
    used = threading.Semaphore(outstanding)

    def act(store: ZooKeeperStore, request_id: str) -> None:
        before = store.writes
        use(store, request_id)
        if store.writes != before:
            used.release()

    worker = Wanted(store, ChangeKind.REQUEST, 1, act)
    pipe.send("ready")
    pipe.recv()
    began, writes = time.process_time(), store.writes
    data = {"build_set_uuid": "0" * 32, "tenant_name": "t", "pipeline_name": "check", "job_name": "job"}
    for _ in range(lives):
        used.acquire()
        request = NodeRequest(
            state_time=time.time(),
            labels=("small",),
            requestor="zuul",
            requestor_data=data,
            event_id="0" * 32,
        )
        store.create_request(request, priority=200)
    for _ in range(outstanding):
        used.acquire()
    pipe.send({"cpu": time.process_time() - began, "writes": store.writes - writes})
    pipe.recv()
    worker.end()
    store.close()


# Who only looks


def watcher(hosts: str, pipe: Connection) -> None:
    store = opened(hosts)
    events = 0
    event = store._cache.event

    def counting(*args: Any) -> None:
        nonlocal events
        events += 1
        event(*args)

    store._cache.event = counting  # type: ignore[method-assign]
    pipe.send("ready")
    pipe.recv()
    began = time.process_time()
    pipe.recv()
    pipe.send({"cpu": time.process_time() - began, "events": events})
    pipe.recv()
    store.close()


def started(target: Any, *args: Any) -> Connection:
    ours, theirs = multiprocessing.Pipe()
    multiprocessing.Process(target=target, args=(args[0], theirs, *args[1:]), daemon=True).start()
    assert ours.recv() == "ready"
    return ours


def measure(lives: int, workers: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as directory:
        server = ZooKeeperServer(Path(directory))
        server.start()
        try:
            return _measure(server.hosts, lives, workers)
        finally:
            server.stop()


def _measure(hosts: str, lives: int, workers: int) -> dict[str, float]:
    others = started(client, hosts, lives, 20), started(watcher, hosts)
    store = opened(hosts)
    retired = threading.Semaphore(0)
    requests = Wanted(store, ChangeKind.REQUEST, workers, serve)
    nodes = Wanted(store, ChangeKind.NODE, workers, lambda s, n: retire(s, n) and retired.release())
    began, cpu, writes = time.monotonic(), time.process_time(), store.writes
    for one in others:
        one.send("go")
    for _ in range(lives):
        retired.acquire()
    of_client = others[0].recv()
    took = time.monotonic() - began
    cpu, writes = time.process_time() - cpu, store.writes - writes
    others[1].send("enough")
    of_watcher = others[1].recv()
    for one in others:
        one.send("end")
    requests.end()
    nodes.end()
    store.close()
    return {
        "transactions_per_life": (writes + of_client["writes"]) / lives,
        "of_the_launcher": writes / lives,
        "lives_per_s": lives / took,
        "launcher_cpu_ms_per_life": 1000 * cpu / lives,
        "client_cpu_ms_per_life": 1000 * of_client["cpu"] / lives,
        "watcher_cpu_ms_per_life": 1000 * of_watcher["cpu"] / lives,
        "events_per_life": of_watcher["events"] / lives,
        "events_per_s": of_watcher["events"] / took,
        "watcher_cpu_us_per_event": 1e6 * of_watcher["cpu"] / of_watcher["events"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lives", type=int, default=1000)
    parser.add_argument(
        "--workers", type=int, default=4, help="threads of the launcher for each of its two jobs"
    )
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    figures = measure(args.lives, args.workers)
    if args.json:
        print(json.dumps(figures))
        return
    for name, value in figures.items():
        print(f"{name:28} {value:10.2f}")


if __name__ == "__main__":
    main()
