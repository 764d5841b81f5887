"""One tree that several stores share, with a hand on it from outside: in memory and on a real ZooKeeper.

The contract suite runs over both. `eventually` is for what another client sees: at once in memory, soon on the wire.
"""

from __future__ import annotations

import itertools
import json
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from kazoo.client import KazooClient
from kazoo.exceptions import NoNodeError

from poolmgr.runtime.clock import Clock, SystemClock
from poolmgr.store.memory import MemorySession, MemoryStore, MemoryTree
from poolmgr.store.tree import Create, Delete, Refused, SetData, Write
from poolmgr.store.tree_store import TreeStore
from poolmgr.store.zookeeper import ZooKeeperStore
from tests.zookeeper import Proxy


def eventually(condition: Callable[[], Any], *, within: float = 30.0) -> Any:
    """The first true answer of `condition`; the limit is for a hang only."""
    deadline = time.monotonic() + within
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise AssertionError("it never became true")
        time.sleep(0.005)
    return answer


class LateClock(SystemClock):
    """Of a process that once stood still: `late` seconds are gone by of which nobody here knew anything."""

    late = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.late


class Site(Protocol):
    """Stores on one tree. `put` and the like act as a client that is no poolmgr."""

    def store(self, *, clock: Clock | None = None) -> TreeStore:
        """A new store, connected."""

    def put(self, path: str, data: bytes | dict[str, Any] = b"") -> None:
        """Write a znode, made with what is above it if need be."""

    def get(self, path: str) -> bytes | None: ...

    def remove(self, path: str) -> None: ...

    def paths(self) -> list[str]: ...

    def contend(self, lock: str) -> str:
        """A foreign contender for a lock directory; its path."""

    def suspend(self, store: TreeStore) -> None: ...

    def resume(self, store: TreeStore) -> None: ...

    def expire(self, store: TreeStore) -> None:
        """End its session and wait until it has a new one and is current."""

    def lose_next_answer(self, store: TreeStore) -> None: ...

    def silence(self, store: TreeStore) -> None:
        """Let it hear no more of the server, on a connection that stands, until `resume`."""

    def close(self) -> None: ...


def as_bytes(data: bytes | dict[str, Any]) -> bytes:
    return data if isinstance(data, bytes) else json.dumps(data).encode()


class _Silent:
    """A listener that keeps nothing."""

    def __getattr__(self, _name: str) -> Callable[..., None]:
        return lambda *_args: None


class MemorySite:
    def __init__(self) -> None:
        self._tree = MemoryTree()
        self._stores: list[MemoryStore] = []
        self._outside = MemorySession(self._tree)
        self._outside.open(_Silent())  # type: ignore[arg-type]

    def store(self, *, clock: Clock | None = None) -> MemoryStore:
        store = MemoryStore(self._tree, clock=clock)
        store.start()
        self._stores.append(store)
        return store

    def put(self, path: str, data: bytes | dict[str, Any] = b"") -> None:
        try:
            self._outside.commit(Write(SetData(path, as_bytes(data), -1)))
        except Refused:
            for parent in itertools.accumulate(path.split("/")[1:-1], "{}/{}".format, initial=""):
                with suppress(Refused):
                    self._outside.commit(Write(Create(parent)))
            self._outside.commit(Write(Create(path, as_bytes(data))))

    def get(self, path: str) -> bytes | None:
        try:
            return self._tree.get(path)[0]
        except Refused:
            return None

    def remove(self, path: str) -> None:
        for child in self._tree.children(path):
            self.remove(f"{path}/{child}")
        self._outside.commit(Write(Delete(path)))

    def paths(self) -> list[str]:
        return self._tree.paths()

    def contend(self, lock: str) -> str:
        self.put(lock)
        write = Write(Create(f"{lock}/{uuid.uuid4().hex}__lock__", b"", ephemeral=True, sequence=True))
        self._outside.commit(write)
        return write.results[0].path

    def suspend(self, store: TreeStore) -> None:
        assert isinstance(store, MemoryStore)
        store.suspend()

    def resume(self, store: TreeStore) -> None:
        assert isinstance(store, MemoryStore)
        store.resume()

    def expire(self, store: TreeStore) -> None:
        assert isinstance(store, MemoryStore)
        store.expire()

    def lose_next_answer(self, store: TreeStore) -> None:
        assert isinstance(store, MemoryStore)
        store.lose_next_answer()

    def silence(self, store: TreeStore) -> None:
        assert isinstance(store, MemoryStore)
        store.fall_silent()

    def close(self) -> None:
        for store in self._stores:
            store.close()


class ZooKeeperSite:
    """Each store has a proxy of its own between it and the server."""

    def __init__(self, hosts: str) -> None:
        self._server, _, chroot = hosts.partition("/")
        self._chroot = f"/{chroot}"
        self._outside = KazooClient(hosts)
        self._outside.start_async().wait(30)
        self._outside.ensure_path("/")
        self._proxies: dict[ZooKeeperStore, Proxy] = {}

    def store(self, *, clock: Clock | None = None, timeout: float = 10.0) -> ZooKeeperStore:
        proxy = Proxy(self._server)
        store = ZooKeeperStore(proxy.address + self._chroot, clock=clock, timeout=timeout)
        self._proxies[store] = proxy
        deadline = time.monotonic() + 60
        store.start(stop=lambda: time.monotonic() > deadline)
        assert store.connected
        return store

    def put(self, path: str, data: bytes | dict[str, Any] = b"") -> None:
        try:
            self._outside.set(path, as_bytes(data))
        except NoNodeError:
            self._outside.create(path, as_bytes(data), makepath=True)

    def get(self, path: str) -> bytes | None:
        try:
            return self._outside.get(path)[0]
        except NoNodeError:
            return None

    def remove(self, path: str) -> None:
        self._outside.delete(path, recursive=True)

    def paths(self) -> list[str]:
        return sorted(self._below(""))

    def _below(self, path: str) -> list[str]:
        children = [f"{path}/{name}" for name in self._outside.get_children(path or "/")]
        return children + [below for child in children for below in self._below(child)]

    def contend(self, lock: str) -> str:
        self._outside.ensure_path(lock)
        prefix = f"{lock}/{uuid.uuid4().hex}__lock__"
        return str(self._outside.create(prefix, b"", ephemeral=True, sequence=True))

    def suspend(self, store: TreeStore) -> None:
        self._proxies[store].cut()  # type: ignore[index]
        eventually(lambda: not store.connected)

    def resume(self, store: TreeStore) -> None:
        self._proxies[store].resume()  # type: ignore[index]
        eventually(lambda: store.connected)

    def expire(self, store: TreeStore) -> None:
        """Take its session over and end it, as nobody else could do it at once."""
        assert isinstance(store, ZooKeeperStore)
        client = store._zookeeper._client
        identity, epoch = client.client_id, store.epoch
        self.suspend(store)
        thief = KazooClient(self._server, client_id=identity)
        thief.start_async().wait(30)
        thief.stop()
        thief.close()
        self._proxies[store].resume()
        eventually(lambda: store.connected and store.epoch != epoch)

    def lose_next_answer(self, store: TreeStore) -> None:
        self._proxies[store].cut_at_next_answer()  # type: ignore[index]

    def silence(self, store: TreeStore) -> None:
        self._proxies[store].hold()  # type: ignore[index]

    def inject(self, store: TreeStore, data: bytes) -> None:
        """Have the server say this to the store, before anything else."""
        self._proxies[store].inject(data)  # type: ignore[index]

    def close(self) -> None:
        for store, proxy in self._proxies.items():
            store.close()
            proxy.cut()
        self._outside.stop()
        self._outside.close()
