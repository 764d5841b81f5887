"""Orders, builds and uploads with their locks (zookeeper.md 8, 4; builder.md 2).

The locks of builds and uploads are kept in directories that live as long as what they guard, or longer: `builds/lock`
outlives all builds, that of a build's uploads goes with the build. What a lock needs above it is made from the build's
own znode downwards, so a lock never brings a build or an upload back that was deleted. nodepool-builder's locks do:
what they leave has no data, and `purge` removes it.
"""

from __future__ import annotations

from contextlib import suppress

from poolmgr.errors import BadRecord, Conflict, LockLost, RecordGone, StoreUnavailable
from poolmgr.model.image import Build, ImageOrder, Order, Upload
from poolmgr.store import paths, records
from poolmgr.store.cache import Cache
from poolmgr.store.codec import encode
from poolmgr.store.folders import below, ensure, ensure_below
from poolmgr.store.locks import HeldLock, Locks
from poolmgr.store.paths import Kind
from poolmgr.store.tree import (
    Check,
    Create,
    Delete,
    Get,
    Refusal,
    Refused,
    Session,
    SetData,
    Write,
)

#: How often a removal looks again at what was put below the record since it looked last.
_REMOVAL_TRIES = 10


class Images:
    def __init__(self, session: Session, cache: Cache, locks: Locks) -> None:
        self._session = session
        self._cache = cache
        self._locks = locks

    # Orders

    def order(self, order: ImageOrder) -> ImageOrder:
        _require_usable(order.image)
        path = paths.order(order.image, order.kind)
        data = encode(order)
        write = Write(Create(path, b"" if data == b"{}" else data, record=order))
        ensure(self._session, paths.parent(path))
        try:
            self._session.commit(write)
        except Refused as refused:
            if refused.why is Refusal.EXISTS:
                return self._standing(order, path)
            raise StoreUnavailable(f"{path} cannot be made: {refused}") from refused
        stored: ImageOrder = write.stored[path]
        return stored

    def withdraw(self, image: str, kind: Order) -> bool:
        _require_usable(image)
        try:
            self._session.commit(Write(Delete(paths.order(image, kind))))
        except Refused:
            return False
        return True

    def _standing(self, order: ImageOrder, path: str) -> ImageOrder:
        """The one that was quicker; ours if it was withdrawn just now, as ours would have been."""
        try:
            return records.read(self._session, path, ImageOrder)
        except RecordGone:
            return order

    # Builds

    def lock_builds(self, image: str) -> HeldLock:
        _require_usable(image)
        folder = paths.builds(image)
        ensure(self._session, folder)
        try:
            lock, _, _ = self._locks.acquire(paths.lock(folder), folder, 0.0)
        except RecordGone as error:
            raise StoreUnavailable(f"someone removes what is made: {error}") from error
        return lock

    def create_build(self, build: Build, lock: HeldLock) -> Build:
        _require_usable(build.image, build.id)
        path = paths.build(build.image, build.id)
        fence = self._locks.fence(lock, paths.lock(paths.builds(build.image)))
        # A creation in a transaction comes without its stat, which a change has.
        write = Write(fence, Create(path), SetData(path, encode(build), 0, build))
        try:
            self._session.commit(write)
        except Refused as refused:
            if refused.why is Refusal.EXISTS:
                raise Conflict(f"{path} exists already") from refused
            raise self._lost(lock, refused) from refused
        stored: Build = write.stored[path]
        return stored

    def save_build(self, build: Build, lock: HeldLock | None) -> Build:
        fence = self._fence(lock, paths.lock(paths.builds(build.image)))
        try:
            return records.save(self._session, paths.build(build.image, build.id), build, fence)
        except Refused as refused:
            raise self._lost(lock, refused) from refused

    def delete_build(self, build: Build) -> None:
        _require_usable(build.image, build.id)
        self._remove(paths.build(build.image, build.id), build.version)

    # Uploads

    def lock_uploads(self, image: str, build_id: str, provider: str) -> HeldLock:
        _require_usable(image, build_id, provider)
        build, folder = paths.build(image, build_id), paths.uploads(image, build_id, provider)
        try:
            self._session.get(folder)
        except Refused:
            self._make_folder(build, folder)
        lock, data, _ = self._locks.acquire(paths.lock(folder), build, 0.0)
        if not data:  # it is back by someone's lock alone
            self._locks.release(lock)
            raise RecordGone(f"{build} has no record")
        return lock

    def create_upload(self, upload: Upload, lock: HeldLock | None) -> Upload:
        _require_usable(upload.image, upload.build, upload.provider)
        folder = paths.uploads(upload.image, upload.build, upload.provider)
        if lock is None:
            ensure(self._session, folder)
        else:
            self._locks.require(lock, paths.lock(folder))
        write = Write(Create(f"{folder}/", encode(upload), sequence=True, record=upload))
        # A creation in a transaction comes without its stat, so the fence is looked at right behind it. A record
        # that is made in vain is one of an upload that nobody has locked: all know that it is dead.
        looks = [] if lock is None else [Get(lock.contender)]
        try:
            answers = self._session.commit(write, *looks)
        except Refused as refused:
            raise RecordGone(f"{folder} does not exist") from refused
        created: Upload = write.stored[write.results[0].path]
        for answer in answers:
            if isinstance(answer, Refused):
                with suppress(Conflict):  # the one who has the lock now may have seen that it is dead
                    self._remove(created.path, created.version)
                raise self._lost(lock, answer)
        return created

    def read_upload(self, path: str) -> Upload:
        if paths.place_of(path).kind is not Kind.UPLOAD:
            raise BadRecord(f"{path}: no upload is kept here")
        return records.read(self._session, path, Upload)

    def save_upload(self, upload: Upload, lock: HeldLock | None) -> Upload:
        whole = paths.lock(paths.uploads(upload.image, upload.build, upload.provider))
        single = paths.lock(upload.path)
        fence = self._fence(lock, whole if lock and lock.path == whole else single)
        try:
            return records.save(self._session, upload.path, upload, fence)
        except Refused as refused:
            raise self._lost(lock, refused) from refused

    def lock_upload(self, upload: Upload) -> tuple[HeldLock, Upload]:
        path = upload.path
        lock, data, stat = self._locks.acquire(paths.lock(path), path, 0.0)
        try:
            return lock, records.understood(path, data, stat, Upload)
        except BadRecord:
            self._locks.release(lock)
            raise

    def delete_upload(self, upload: Upload, lock: HeldLock | None) -> None:
        if lock is not None:
            self._locks.require(lock, paths.lock(upload.path))
        self._remove(upload.path, upload.version, lock)

    # What is left where a record was

    def purge(self, path: str, version: int) -> bool:
        """Remove a build or upload without data, with its directories; False if someone is at it."""
        try:
            data, stat = self._session.get(path)
            if data or stat.version != version:
                return False
            rest = [
                one for one in below(self._session, path) if paths.sequence_of(paths.name(one.path)) is None
            ]
            if any(paths.place_of(one.path).kind is Kind.UPLOAD for one in rest):
                return False
            self._session.commit(Write(*rest, Delete(path, version)))
        except Refused:
            return False
        return True

    # How

    def _make_folder(self, build: str, folder: str) -> None:
        try:
            ensure_below(self._session, build, folder)
        except Refused as refused:
            raise RecordGone(f"{build} does not exist") from refused

    def _remove(self, path: str, version: int, lock: HeldLock | None = None) -> None:
        """Remove a record with all below it, in one transaction. Raises Conflict, LockLost."""
        if version < 0:
            raise Conflict(f"{path}: this copy was never read from the store")
        fence = (
            [] if lock is None else [Delete(lock.contender)]
        )  # first: what is refused there, the lock is to blame
        for _ in range(_REMOVAL_TRIES):
            rest = [one for one in self._rest(path) if lock is None or one.path != lock.contender]
            try:
                self._session.commit(Write(*fence, *rest, Delete(path, version)))
            except Refused as refused:
                if refused.why is Refusal.BAD_VERSION:
                    raise Conflict(f"{refused.path} was changed by someone else") from refused
                if self._gone(path):
                    break
                if lock is not None and refused.path == lock.contender:
                    raise self._lost(lock, refused) from refused
                continue
            break
        else:
            raise Conflict(f"{path}: others keep adding to it")
        if lock is not None:
            self._locks.forget(lock)

    def _rest(self, path: str) -> list[Delete]:
        """What deletes all below `path`. Raises Conflict when an upload's record is there."""
        rest = below(self._session, path)
        return [self._unfilled(one) if paths.place_of(one.path).kind is Kind.UPLOAD else one for one in rest]

    def _unfilled(self, delete: Delete) -> Delete:
        """Delete what is no upload any more, but only as long as nobody makes it one. Raises Conflict."""
        try:
            data, stat = self._session.get(delete.path)
        except Refused:
            return delete
        if data:
            raise Conflict(f"{delete.path} is there still")
        return Delete(delete.path, stat.version)

    def _gone(self, path: str) -> bool:
        try:
            self._session.get(path)
        except Refused:
            return True
        return False

    def _fence(self, lock: HeldLock | None, expected: str) -> Check | None:
        return None if lock is None else self._locks.fence(lock, expected)

    def _lost(self, lock: HeldLock | None, refused: Refused) -> LockLost:
        if lock is not None:
            self._locks.forget(lock)
        return LockLost(f"{refused.path} is not ours any more")


def _require_usable(*names: str) -> None:
    for name in names:
        if not paths.usable(name):
            raise BadRecord(f"{name!r} cannot be a part of a path in the store")
