"""The snapshot of this process, kept current from watches and from its own writes.

Everything arrives in one sequence (see `tree`), and each item is applied in its turn by whoever runs the
sequence; that alone would be right. Two things make it quick:

- A writer applies its own result at once, ahead of the items before it that are still queued. `_ahead` notes
  for each path the place of such a result, and older items about that path are then skipped.
- While an own write to a path is under way, events about that path start no read: they wait on the write.
  Its result says more than they do, or if it fails they are looked into then.

Watch events carry no data, so a change of a record costs one read, whose answer is an item like any other.
Contenders of locks are known by their names alone and cost none.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self

from poolmgr.errors import StoreUnavailable
from poolmgr.model.snapshot import Snapshot
from poolmgr.runtime.clock import Clock
from poolmgr.store import paths
from poolmgr.store.api import Change
from poolmgr.store.mirror import RECORDS, Mirror, stamped
from poolmgr.store.paths import Kind
from poolmgr.store.tree import Check, Create, Delete, EventKind, Session, SetData, Stat, Write

#: Places whose children are walked through on a refill.
_FOLDERS = frozenset(
    {
        Kind.ROOT,
        Kind.COMPONENT_KIND,
        Kind.IMAGE,
        Kind.IMAGE_FOLDER,
        Kind.BUILDS_LOCK,
        Kind.BUILD,
        Kind.UPLOADS_LOCK,
        Kind.RECORD_LOCK,
        Kind.NODE_LOCK,
        Kind.REQUEST_LOCK,
        Kind.ELECTION,
        Kind.PROVIDER,
        Kind.PROVIDER_LOCK,
    }
)
#: How long a refill may take before it is taken for stuck; with 100,000 znodes it takes about 20 s.
_REFILL_TIMEOUT = 300.0


class _Reading(AbstractContextManager[Snapshot]):
    def __init__(self, lock: threading.RLock, snapshot: Snapshot) -> None:
        self._lock = lock
        self._snapshot = snapshot

    def __enter__(self) -> Snapshot:
        self._lock.acquire()
        return self._snapshot

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()


class _Refill:
    """One walk over everything: what is still unanswered, and what was known before and not seen again.

    `began` is its place in the sequence. What comes from before it, even if it is applied later, is one more
    thing to be seen again: news of its end may have got lost with the old connection.
    """

    def __init__(self, unseen: set[str], began: int, connection: int) -> None:
        self.unseen = unseen
        self.began = began
        self.connection = connection
        self.unanswered = 0
        self.failed = False
        self.ended = threading.Event()

    def heard_of(self, path: str, place: int) -> None:
        """The sequence said something about `path`."""
        if place > self.began:
            self.unseen.discard(path)
        else:
            self.unseen.add(path)

    def fail(self) -> None:
        self.failed = True
        self.ended.set()


class Cache:
    """A `tree.Listener`'s part that concerns data; `TreeStore` has the rest."""

    def __init__(self, session: Session, clock: Clock) -> None:
        self._session = session
        self._clock = clock
        self._lock = threading.RLock()
        self._mirror = Mirror()
        self._reading = _Reading(self._lock, self._mirror.snapshot)
        self._writing: dict[str, Write] = {}  # own writes under way, by the path they set
        self._creating: dict[str, Write] = {}  # by the directory they create a record in
        self._ahead: dict[str, int] = {}
        self._refill: _Refill | None = None
        self._fetching = dict.fromkeys(paths.ROOTS, 0)
        self._changes: dict[Change, None] = {}  # an ordered set
        self._subscribers: tuple[Callable[[Change], None], ...] = ()
        self._waiting: dict[str, set[threading.Event]] = {}  # by lock directory

    # What the store asks

    def reading(self) -> AbstractContextManager[Snapshot]:
        return self._reading

    def contenders(self, lock: str) -> frozenset[str]:
        """Names of all that contend for the lock directory, as far as known."""
        with self._lock:
            return frozenset(self._mirror.contenders.get(lock, ()))

    def lock_known(self, lock: str) -> bool:
        """Whether that lock directory of a request exists, as far as known."""
        with self._lock:
            return lock in self._mirror.locks

    def empty_records(self) -> dict[str, int]:
        """Versions by path of the nodes, requests, builds and uploads without data."""
        with self._lock:
            return dict(self._mirror.empty)

    def registered_by(self, session: int) -> list[str]:
        """Paths of the component and peer records of that session."""
        with self._lock:
            return [path for path, owner in self._mirror.owners.items() if owner == session]

    def fetches(self) -> dict[str, int]:
        """Reads under way, by root."""
        return dict(self._fetching)

    def wait_for(self, lock: str) -> _Wait:
        """Notices, from now on, when fewer contend for `lock`."""
        return _Wait(self, lock)

    def subscribe(self, on_change: Callable[[Change], None]) -> Callable[[], None]:
        with self._lock:
            self._subscribers += (on_change,)

        def undo() -> None:
            with self._lock:
                self._subscribers = tuple(s for s in self._subscribers if s is not on_change)

        return undo

    # Own writes

    def begin(self, write: Write) -> None:
        with self._lock:
            for operation in write.operations:
                if isinstance(operation, SetData):
                    self._writing[operation.path] = write
                elif isinstance(operation, Create) and operation.record is not None:
                    self._creating[paths.parent(operation.path)] = write

    def settle(self, write: Write) -> None:
        with self._lock:
            if not write.applied:
                self._apply(write)
                self._ahead.update(dict.fromkeys(_touched(write), write.place))

    def reached(self, write: Write) -> None:
        with self._lock:
            touched = _touched(write)
            if not write.applied:
                self._apply(write)
            for path in touched:
                if self._ahead.get(path) == write.place:
                    del self._ahead[path]
            for operation in write.operations:
                if self._writing.get(operation.path) is write:
                    del self._writing[operation.path]
                if self._creating.get(paths.parent(operation.path)) is write:
                    del self._creating[paths.parent(operation.path)]
            for change in write.changes:
                self._note(change)
            for path in write.deferred.difference(touched):
                self._fetch(path)

    def _apply(self, write: Write) -> None:
        write.applied = True
        for operation, (path, stat) in zip(write.operations, write.results, strict=False):
            if self._refill:
                self._refill.heard_of(path, write.place)
            change = None
            if isinstance(operation, Delete):
                change = self._gone(path)
            elif isinstance(operation, (Create, SetData)) and operation.record is not None and stat:
                write.stored[path] = stamped(operation.record, path, stat)
                change = self._mirror.record(path, write.stored[path], stat)
            elif isinstance(operation, Create):
                change = self._mirror.created(path)
            if change is not None:
                write.changes.append(change)

    # The sequence

    def event(self, place: int, kind: EventKind, path: str) -> None:
        with self._lock:
            if self._refill:
                self._refill.heard_of(path, place)
            if self._ahead.get(path, -1) > place:
                return
            if kind is EventKind.DELETED:
                self._note(self._gone(path))
            elif paths.place_of(path).kind not in RECORDS:
                self._note(self._mirror.created(path))
            else:
                write = self._writing.get(path) or self._creating.get(paths.parent(path))
                if write is None:
                    self._fetch(path)
                else:
                    write.deferred.add(path)

    def flush(self) -> None:
        with self._lock:
            changes, self._changes = self._changes, {}
            subscribers = self._subscribers
        for change in changes:
            for tell in subscribers:
                tell(change)

    def note(self, change: Change) -> None:
        """Report `change` at the next `flush`."""
        with self._lock:
            self._note(change)

    def forget_connection(self, connection: int) -> None:
        """All up to this one are gone: whoever waits for something from them waits no more."""
        with self._lock:
            if self._refill and self._refill.connection <= connection:
                self._refill.fail()
            for events in self._waiting.values():
                for event in events:
                    event.set()

    def _note(self, change: Change | None) -> None:
        if change is not None:
            self._changes[change] = None

    def _gone(self, path: str) -> Change | None:
        change = self._mirror.gone(path)
        for lock in (path, paths.parent(path)):
            for event in self._waiting.get(lock, ()):
                event.set()
        return change

    def _fetch(self, path: str, refill: _Refill | None = None) -> None:
        root = paths.root_of(path)
        fetching = self._fetching

        def then(place: int, found: tuple[bytes, Stat] | None) -> None:
            with self._lock:
                fetching[root] -= 1
                if self._refill:
                    self._refill.heard_of(path, place)
                if self._ahead.get(path, -1) < place:
                    self._note(self._mirror.data(path, *found) if found else self._gone(path))
                self._answered(refill)

        fetching[root] += 1
        try:
            self._session.fetch(path, then)
        except StoreUnavailable:  # once there is a connection, everything will be read again
            fetching[root] -= 1
            if refill:
                refill.fail()

    # Reading everything anew

    def refill(self) -> None:
        """Read all there is; returns when the snapshot is current.

        The watches must be set already. Raises StoreUnavailable when the connection went down meanwhile.
        """
        with self._lock:
            connection, place = self._session.connection, self._session.place()
            refill = self._refill = _Refill(self._mirror.known(), place, connection)
            self._fetching = dict.fromkeys(paths.ROOTS, 0)
            refill.unanswered = 1  # so that it cannot end before all roots have been asked for
        for root in paths.ROOTS:
            self._walk(root, refill)
        with self._lock:
            self._answered(refill)
        self._clock.wait(refill.ended, _REFILL_TIMEOUT)
        with self._lock:
            complete = refill.ended.is_set() and not refill.failed
            self._refill = None
        if not complete:
            raise StoreUnavailable("the connection was lost while the store was read")

    def _walk(self, folder: str, refill: _Refill) -> None:
        def then(place: int, names: list[str] | None) -> None:
            with self._lock:
                for path in (f"{folder}/{name}" for name in names or ()):
                    if self._ahead.get(path, -1) < place:
                        self._visit(path, refill)
                self._answered(refill)

        with self._lock:
            refill.unanswered += 1
        try:
            self._session.fetch_children(folder, then)
        except StoreUnavailable:
            refill.fail()

    def _visit(self, path: str, refill: _Refill) -> None:
        kind = paths.place_of(path).kind
        refill.unseen.discard(path)
        if kind in RECORDS:
            refill.unanswered += 1
            self._fetch(path, refill)
        elif kind is not Kind.OTHER:
            self._note(self._mirror.created(path))
        if kind in (Kind.NODE, Kind.UPLOAD):  # nothing else is below them
            self._walk(paths.lock(path), refill)
        elif kind in _FOLDERS:
            self._walk(path, refill)

    def _answered(self, refill: _Refill | None) -> None:
        if refill is None:
            return
        refill.unanswered -= 1
        if refill.unanswered == 0 and self._refill is refill:
            for path in refill.unseen:
                self._note(self._gone(path))
            refill.ended.set()


class _Wait(AbstractContextManager["_Wait"]):
    """A wait for a lock's contenders to become fewer, from the time it is entered."""

    def __init__(self, cache: Cache, lock: str) -> None:
        self.event = threading.Event()
        self._cache = cache
        self._path = lock

    def __enter__(self) -> Self:
        with self._cache._lock:
            self._cache._waiting.setdefault(self._path, set()).add(self.event)
        return self

    def __exit__(self, *_: object) -> None:
        with self._cache._lock:
            events = self._cache._waiting[self._path]
            events.discard(self.event)
            if not events:
                del self._cache._waiting[self._path]


def _touched(write: Write) -> list[str]:
    """The paths that a successful write has changed; none for one that failed.

    A check says only that something was there: what is queued about it is news all the same.
    """
    done = zip(write.operations, write.results, strict=False)
    return [path for operation, (path, _) in done if not isinstance(operation, Check)]
