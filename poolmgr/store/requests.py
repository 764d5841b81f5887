"""Node requests with their locks (zookeeper.md 6, 4, 15).

Nothing here creates anything below `/nodepool/requests` except a whole new request: one empty znode there
keeps a Zuul scheduler from starting (15.1).
"""

from __future__ import annotations

from collections.abc import Sequence

from poolmgr.errors import BadRecord, LockLost
from poolmgr.model.node import Node
from poolmgr.model.request import NodeRequest
from poolmgr.store import paths, records
from poolmgr.store.cache import Cache
from poolmgr.store.codec import encode
from poolmgr.store.locks import HeldLock, Locks
from poolmgr.store.nodes import Nodes
from poolmgr.store.tree import Create, Delete, Refusal, Refused, Session, Write


class Requests:
    def __init__(self, session: Session, cache: Cache, locks: Locks, nodes: Nodes) -> None:
        self._session = session
        self._cache = cache
        self._locks = locks
        self._nodes = nodes

    def create(self, request: NodeRequest, priority: int, ephemeral: bool) -> NodeRequest:
        # Zuul knows a request of ours by the hyphen at index 3.
        prefix = f"{paths.REQUESTS}/{priority:03d}-"
        write = Write(Create(prefix, encode(request), ephemeral=ephemeral, sequence=True, record=request))
        self._session.commit(write)
        created: NodeRequest = write.stored[write.results[0].path]
        return created

    def read(self, request_id: str) -> NodeRequest:
        return records.read(self._session, paths.request(request_id), NodeRequest)

    def lock(self, request_id: str) -> tuple[HeldLock, NodeRequest]:
        path = paths.request(request_id)
        lock, data, stat = self._locks.acquire(paths.request_lock(request_id), path, 0.0)
        try:
            return lock, records.understood(path, data, stat, NodeRequest)
        except BadRecord:
            self._locks.release(lock)
            raise

    def save(self, request: NodeRequest, lock: HeldLock | None) -> NodeRequest:
        fence = self._locks.fence(lock, paths.request_lock(request.id)) if lock else None
        try:
            return records.save(self._session, paths.request(request.id), request, fence)
        except Refused as refused:
            if lock:
                self._locks.forget(lock)
            raise LockLost(f"{refused.path} is not ours any more") from refused

    def delete(self, request_id: str) -> None:
        try:
            self._session.commit(Write(Delete(paths.request(request_id))))
        except Refused:
            return  # gone already

    def finish(
        self, request: NodeRequest, lock: HeldLock, nodes: Sequence[tuple[Node, HeldLock]]
    ) -> NodeRequest:
        """See `Store.finish_request`: nodes are unlocked before the request says so, as Zuul needs it."""
        path = paths.request(request.id)
        self._locks.require(lock, paths.request_lock(request.id))
        write = Write(
            *self._nodes.release_all(nodes), records.replacing(path, request), Delete(lock.contender)
        )
        held = [*(node_lock for _, node_lock in nodes), lock]
        try:
            self._session.commit(write)
        except Refused as refused:
            if refused.path == path:
                raise records.meaning(refused) from refused
            for one in held:
                if one.contender == refused.path:
                    self._locks.forget(one)
            raise LockLost(f"{refused.path} is not ours any more") from refused
        for one in held:
            self._locks.forget(one)
        finished: NodeRequest = write.stored[path]
        return finished

    def drop_lock(self, request_id: str) -> bool:
        """See `Store.drop_request_lock`."""
        try:
            self._session.get(paths.request(request_id))
        except Refused:
            pass
        else:
            return False
        try:
            self._session.commit(Write(Delete(paths.request_lock(request_id))))
        except Refused as refused:
            return refused.why is Refusal.NO_NODE
        return True

    def stale_locks(self) -> list[str]:
        """See `Store.stale_request_locks`."""
        try:
            folders = self._session.children(paths.REQUEST_LOCKS)
            requests = set(self._session.children(paths.REQUESTS))
        except Refused:
            return []
        return [request_id for request_id in folders if request_id not in requests]
