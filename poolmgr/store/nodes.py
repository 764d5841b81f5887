"""Node records with their locks: created, taken, saved and removed (zookeeper.md 7, 4)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from poolmgr.errors import BadRecord, Conflict, LockLost, StoreUnavailable
from poolmgr.model.node import Node, NodeState
from poolmgr.store import paths, records
from poolmgr.store.cache import Cache
from poolmgr.store.codec import encode
from poolmgr.store.folders import below
from poolmgr.store.locks import HeldLock, Locks
from poolmgr.store.tree import Create, Delete, Operation, Refusal, Refused, Session, SetData, Write

#: How often a removal looks again at what was put below the node since it looked last.
_REMOVAL_TRIES = 10


class Nodes:
    def __init__(self, session: Session, cache: Cache, locks: Locks) -> None:
        self._session = session
        self._cache = cache
        self._locks = locks

    def create(self, node: Node, owner: HeldLock | None) -> tuple[HeldLock, Node]:
        """See `Store.create_node`. Raises Conflict if someone takes the new node before we lock it."""
        sessions = self._locks.sessions_ended()
        folder = paths.provider(node.provider or "")
        fences: list[Operation] = [self._locks.fence(owner, paths.lock(folder))] if owner else []
        initial = replace(node, state=NodeState.INIT)
        write = Write(Create(f"{paths.NODES}/", encode(initial), sequence=True, record=initial), *fences)
        try:
            self._session.commit(write)
        except Refused as refused:
            raise self._lost(owner, refused) from refused
        path = write.results[0].path
        # A creation in a transaction of several comes without its stat.
        created: Node = write.stored.get(path) or replace(initial, id=paths.name(path), version=0)
        lock = paths.node_lock(created.id)
        prefix = self._locks.new_contender(lock)
        operations: list[Operation] = [Create(lock), Create(prefix, ephemeral=True, sequence=True)]
        if node.state is not NodeState.INIT:
            final = replace(created, state=node.state)
            operations.append(SetData(path, encode(final), created.version, final))
        write = Write(*operations, *fences)
        try:
            self._session.commit(write)
        except StoreUnavailable:
            self._locks.give_up(prefix)
            raise
        except Refused as refused:
            if owner and refused.index == len(operations):
                raise self._lost(owner, refused) from refused
            raise Conflict(f"{path} was changed before we could lock it") from refused
        return self._locks.hold(write.results[1].path, sessions), write.stored.get(path, created)

    def read(self, node_id: str) -> Node:
        return records.read(self._session, paths.node(node_id), Node)

    def lock(self, node_id: str, timeout: float) -> tuple[HeldLock, Node]:
        path = paths.node(node_id)
        lock, data, stat = self._locks.acquire(paths.node_lock(node_id), path, timeout)
        try:
            return lock, records.understood(path, data, stat, Node)
        except BadRecord:
            self._locks.release(lock)
            raise

    def save(self, node: Node, lock: HeldLock | None) -> Node:
        fence = self._locks.fence(lock, paths.node_lock(node.id)) if lock else None
        try:
            return records.save(self._session, paths.node(node.id), node, fence)
        except Refused as refused:
            raise self._lost(lock, refused) from refused

    def delete(self, node: Node, lock: HeldLock) -> None:
        """See `Store.delete_node`.

        The first try trusts the cache as to who else contends; one that fails looks at what is really there.
        """
        self._locks.require(lock, paths.node_lock(node.id))
        others = self._cache.contenders(lock.path) - {paths.name(lock.contender)}
        rest = [*(Delete(f"{lock.path}/{name}") for name in others), Delete(lock.path)]
        for _ in range(_REMOVAL_TRIES):
            try:
                self._remove(node, lock, rest)
            except Refused as refused:
                if refused.index == 0:
                    self._check_gone(node, lock, refused)
                    return
                if refused.why is Refusal.BAD_VERSION:
                    raise records.meaning(refused) from refused
                rest = [
                    delete
                    for delete in below(self._session, paths.node(node.id))
                    if delete.path != lock.contender
                ]
                continue
            return
        raise Conflict(f"{paths.node(node.id)}: others keep adding to it")

    def release_all(self, held: Iterable[tuple[Node, HeldLock]]) -> list[Delete]:
        """What releases these nodes' locks as part of another transaction, in their order. Raises LockLost."""
        deletes = []
        for node, lock in held:
            self._locks.require(lock, paths.node_lock(node.id))
            deletes.append(Delete(lock.contender))
        return deletes

    def _remove(self, node: Node, lock: HeldLock, rest: Iterable[Delete]) -> None:
        # Our own contender first: it is the fence.
        self._session.commit(
            Write(Delete(lock.contender), *rest, Delete(paths.node(node.id), node.version)),
        )
        self._locks.forget(lock)

    def _check_gone(self, node: Node, lock: HeldLock, refused: Refused) -> None:
        """Our contender is not there: fine only if the whole node isn't. Raises LockLost."""
        self._locks.forget(lock)
        try:
            self._session.get(paths.node(node.id))
        except Refused:
            return
        raise LockLost(f"{lock.path} is not ours any more") from refused

    def _lost(self, lock: HeldLock | None, refused: Refused) -> LockLost:
        if lock is not None:
            self._locks.forget(lock)
        return LockLost(f"{refused.path} is not ours any more")
