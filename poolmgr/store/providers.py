"""What launchers agree on about a provider: who owns it, and the records that its owner and operators write.

All is kept in one folder for each provider, which is made when it is missing and stays. Who owns a provider holds the
lock in it; what the owner alone may write is refused to anyone whose contender for that lock is gone.
Beside them, what was promised to tenants.
"""

from __future__ import annotations

from typing import TypeVar

from poolmgr.errors import Conflict, LockLost, RecordGone, StoreUnavailable
from poolmgr.model.fleet import ProviderOrder, ProviderStatus, ReclaimApproval, TenantPromises
from poolmgr.store import paths
from poolmgr.store.cache import Cache
from poolmgr.store.codec import encode
from poolmgr.store.folders import ensure
from poolmgr.store.locks import HeldLock, Locks
from poolmgr.store.tree import Create, Delete, Operation, Refusal, Refused, Session, SetData, Write

R = TypeVar("R", ProviderOrder, ReclaimApproval)

#: How often something is tried anew that another process makes or removes meanwhile.
_TRIES = 10


class Providers:
    def __init__(self, session: Session, cache: Cache, locks: Locks) -> None:
        self._session = session
        self._cache = cache
        self._locks = locks

    def lock(self, provider: str) -> HeldLock:
        folder = paths.provider(provider)
        ensure(self._session, folder)
        try:
            lock, _, _ = self._locks.acquire(paths.lock(folder), folder, 0.0)
        except RecordGone as error:
            raise StoreUnavailable(f"someone removes what is made: {error}") from error
        return lock

    def save_status(self, status: ProviderStatus, lock: HeldLock) -> ProviderStatus:
        path = paths.provider_status(status.provider)
        fence = self._fence(status.provider, lock)
        with self._cache.reading() as snapshot:
            known = snapshot.provider_status(status.provider)
        if known == status:
            return known
        data = encode(status)
        # A creation in a transaction comes without its stat, which a change has.
        anew: list[Operation] = [Create(path), SetData(path, data, 0, status)]
        changes: list[Operation] = [SetData(path, data, -1, status)]  # any version: nobody else may write it
        for operations in (changes, anew):
            write = Write(fence, *operations)
            try:
                self._session.commit(write)
            except Refused as refused:
                if refused.index == 0:
                    raise self._lost(lock, refused) from refused
                continue
            stored: ProviderStatus = write.stored[path]
            return stored
        raise StoreUnavailable(f"{path}: someone else makes or removes it")

    def order(self, order: ProviderOrder) -> ProviderOrder:
        return self._put(paths.provider_order(order.provider), order)

    def withdraw_order(self, provider: str) -> bool:
        try:
            self._session.commit(Write(Delete(paths.provider_order(provider))))
        except Refused:
            return False
        return True

    def approve(self, approval: ReclaimApproval) -> ReclaimApproval:
        return self._put(paths.approval(approval.provider), approval)

    def use_approval(self, approval: ReclaimApproval, lock: HeldLock) -> bool:
        fence = self._fence(approval.provider, lock)
        if approval.version < 0:  # it was never stored, and any that is there would fit it
            return False
        try:
            self._session.commit(Write(fence, Delete(paths.approval(approval.provider), approval.version)))
        except Refused as refused:
            if refused.index == 0:
                raise self._lost(lock, refused) from refused
            return False  # used already, or another stands in its place
        return True

    def promise(self, promises: TenantPromises) -> TenantPromises:
        path, data = paths.promises(promises.tenant), encode(promises)
        operation: Operation = Create(path, data, record=promises)
        if promises.version >= 0:
            operation = SetData(path, data, promises.version, promises)
        write = Write(operation)
        try:
            self._session.commit(write)
        except Refused as refused:
            if refused.why is Refusal.NO_NODE and promises.version < 0:
                ensure(self._session, paths.TENANTS)
            raise Conflict(f"{path}: {refused}") from refused
        stored: TenantPromises = write.stored[path]
        return stored

    def _put(self, path: str, record: R) -> R:
        """Make or replace it, whatever is there."""
        data = encode(record)
        for _ in range(_TRIES):
            for operation in (SetData(path, data, -1, record), Create(path, data, record=record)):
                write = Write(operation)
                try:
                    self._session.commit(write)
                except Refused:
                    continue
                stored: R = write.stored[path]
                return stored
            ensure(self._session, paths.parent(path))
        raise StoreUnavailable(f"{path}: others keep making and removing it")

    def _fence(self, provider: str, lock: HeldLock) -> Operation:
        return self._locks.fence(lock, paths.lock(paths.provider(provider)))

    def _lost(self, lock: HeldLock, refused: Refused) -> LockLost:
        self._locks.forget(lock)
        return LockLost(f"{refused.path} is not ours any more")
