"""Locks as kazoo's plain `Lock` recipe has them on the wire (zookeeper.md 4).

A lock directory's children `<32 hex>__lock__<10 digits>` contend; the lowest sequence holds the lock. Ours are
made only below what was just seen to exist, so a lock never brings back a node or request that was deleted.

A holder's own contender is its fence: each write that the lock guards checks in the same transaction that the
contender is still there. When the outcome of a call that made or removed a contender is not known, the
contender is noted as a loose end, and looked for by its hex part once there is a connection again.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress

from poolmgr.errors import LockBusy, LockLost, RecordGone, StoreUnavailable
from poolmgr.runtime.clock import Clock
from poolmgr.store import paths
from poolmgr.store.cache import Cache
from poolmgr.store.tree import (
    Check,
    Children,
    Create,
    Delete,
    Get,
    Refusal,
    Refused,
    Session,
    Stat,
    Write,
)

log = logging.getLogger(__name__)


class HeldLock:
    """A `store.api.Lock`. `contender` is the path of our own znode."""

    def __init__(self, contender: str) -> None:
        self.contender = contender
        self.path = paths.parent(contender)
        self.valid = True

    def __repr__(self) -> str:
        return f"<{'held' if self.valid else 'void'} lock {self.contender}>"


class Locks:
    """Takes and releases locks of one session."""

    def __init__(self, session: Session, cache: Cache, clock: Clock, new_id: Callable[[], str]) -> None:
        self._session = session
        self._cache = cache
        self._clock = clock
        self._new_id = new_id
        self._mutex = threading.Lock()  # taken by the session's own thread too: never hold it during a call
        self._sessions = 0  # how many have ended
        self._held: dict[str, HeldLock] = {}  # by contender
        self._loose: dict[str, None] = {}  # paths of contenders, without their sequence: an ordered set

    def acquire(self, lock: str, record: str, timeout: float) -> tuple[HeldLock, bytes, Stat]:
        """The lock of directory `lock`, and `record` as it is under it.

        Raises LockBusy, RecordGone.
        """
        sessions = self.sessions_ended()
        if timeout <= 0 and self._cache.contenders(lock) and self._taken(lock):
            raise LockBusy(f"{lock} is held by someone else")
        prefix = self.new_contender(lock)
        try:
            contender, found = self._contend(lock, record, prefix)
            if found is None:
                self._wait(lock, contender, timeout)
                found = self._session.get(record)
        except Refused as refused:  # the record was deleted without asking for its lock
            self.give_up(prefix)
            raise RecordGone(f"{record} does not exist") from refused
        except (LockBusy, StoreUnavailable):
            self.give_up(prefix)
            raise
        return self.hold(contender, sessions), *found

    def sessions_ended(self) -> int:
        """To be asked before a contender is made, for `hold`."""
        with self._mutex:
            return self._sessions

    def new_contender(self, lock: str) -> str:
        """The path of a new contender, to which the tree appends the sequence."""
        return f"{lock}/{self._new_id()}__lock__"

    def hold(self, contender: str, sessions: int) -> HeldLock:
        """The lock that the contender at this path has got.

        Raises StoreUnavailable when more than `sessions` have ended: the contender's session may be among them.
        """
        held = HeldLock(contender)
        with self._mutex:
            if self._sessions == sessions:
                self._held[contender] = held
                return held
        self.give_up(contender)
        raise StoreUnavailable(f"the session was lost while {held.path} was taken")

    def fence(self, lock: HeldLock, expected: str) -> Check:
        """What makes a transaction fail when `lock` is not ours any more.

        Raises LockLost if that is known already, or if it is not the lock of directory `expected`.
        """
        self.require(lock, expected)
        return Check(lock.contender)

    def require(self, lock: HeldLock, expected: str) -> None:
        if lock.path != expected:
            raise LockLost(f"{lock.path} does not guard what {expected} does")
        if not lock.valid:
            raise LockLost(f"{lock.path} is not ours any more")

    def release(self, lock: HeldLock) -> None:
        """Never raises."""
        if self.forget(lock):
            self.give_up(lock.contender)

    def forget(self, lock: HeldLock) -> bool:
        """Note that `lock` is gone from the tree, or will be. False if that was known."""
        with self._mutex:
            lock.valid = False
            return self._held.pop(lock.contender, None) is not None

    def give_up(self, contender: str) -> None:
        """Remove a contender of ours, with or without its sequence in the path, that is or may be there.

        Never raises: without a connection it is done as soon as there is one. It is noted first, so whichever
        comes later, the new connection or this call, finds it.
        """
        with self._mutex:
            self._loose[contender] = None
        with suppress(StoreUnavailable):
            self._tidy(contender)

    def void_all(self) -> None:
        """The session is over: nothing is held, and nothing was left behind either."""
        with self._mutex:
            self._sessions += 1
            for lock in self._held.values():
                lock.valid = False
            self._held.clear()
            self._loose.clear()

    def recover(self) -> None:
        """After a break of the connection: remove loose ends, and void what someone has taken from us.

        The cache must be current.
        """
        with self._mutex:
            loose = list(self._loose)
            held = list(self._held.values())
        for contender in loose:
            self._tidy(contender)
        for lock in held:
            if paths.name(lock.contender) not in self._cache.contenders(lock.path) and self.forget(lock):
                log.info("%s is not ours any more: its contender went while we were away", lock.path)

    def _contend(self, lock: str, record: str, prefix: str) -> tuple[str, tuple[bytes, Stat] | None]:
        """The path of our new contender, and the record if the contender holds the lock already."""
        makes_folder = paths.parent(lock) == paths.REQUEST_LOCKS and not self._cache.lock_known(lock)
        while True:
            # Whoever makes the directory is the first in it and needs not look who else is there.
            ahead = [Create(lock)] if makes_folder else []
            looks = [] if makes_folder else [Children(lock)]
            write = Write(Check(record), *ahead, Create(prefix, ephemeral=True, sequence=True))
            try:
                found, *names = self._session.commit(write, Get(record), *looks)
            except Refused as refused:
                if refused.index == 0 or (makes_folder and refused.why is Refusal.NO_NODE):
                    raise
                makes_folder = refused.why is Refusal.NO_NODE
                continue
            contender = write.results[-1].path
            if isinstance(found, Refused):
                raise found
            assert isinstance(found, tuple)
            first = makes_folder or (isinstance(names[0], list) and holder(names[0]) == paths.name(contender))
            return contender, found if first else None

    def _taken(self, lock: str) -> bool:
        """Asks the tree, so that nothing depends on a cache that may lag."""
        try:
            return holder(self._session.children(lock)) is not None
        except Refused:
            return False

    def _wait(self, lock: str, contender: str, timeout: float) -> None:
        """Returns when `contender` holds the lock. Raises LockBusy; Refused when the directory is gone."""
        deadline = self._clock.monotonic() + timeout
        own = paths.name(contender)
        with self._cache.wait_for(lock) as wait:
            while True:
                wait.event.clear()  # before looking: what changes from here on ends the wait
                names = self._session.children(lock)
                if own not in names:
                    raise LockBusy(f"someone removed us from those who wait for {lock}")
                if holder(names) == own:
                    return
                left = deadline - self._clock.monotonic()
                if left <= 0:
                    raise LockBusy(f"{lock} is held by someone else")
                self._clock.wait(wait.event, left)

    def _tidy(self, contender: str) -> None:
        for path in self._present(contender):
            self._delete(path)
        with self._mutex:
            self._loose.pop(contender, None)

    def _present(self, contender: str) -> list[str]:
        """The full path of a contender that is known without its sequence; none if it is not there."""
        if not contender.endswith("__lock__"):
            return [contender]
        lock, prefix = paths.parent(contender), paths.name(contender)
        try:
            return [f"{lock}/{name}" for name in self._session.children(lock) if name.startswith(prefix)]
        except Refused:
            return []

    def _delete(self, path: str) -> None:
        try:
            self._session.commit(Write(Delete(path)))
        except Refused:
            return  # gone already


def holder(names: Iterable[str]) -> str | None:
    """Which of a lock directory's children holds the lock."""
    contenders = [name for name in names if paths.sequence_of(name)]
    return min(contenders, key=lambda name: paths.sequence_of(name) or "", default=None)
