"""A store in this process: for tests, and for a demo without ZooKeeper.

A `MemoryTree` does what a ZooKeeper server does with znodes: transactions, versions, sequences, ephemerals,
persistent recursive watches, sessions that are cut off or expire. Several `MemoryStore` may share one, as
several processes would share a server. All else is the same code as over ZooKeeper.

It is deterministic: ids are counted, and each operation tells all stores of the tree what changed before it
returns, in the thread that called it. (With several threads, one that is telling already tells the rest too.)
"""

from __future__ import annotations

import functools
import itertools
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from poolmgr.errors import StoreUnavailable
from poolmgr.runtime.clock import Clock, SystemClock
from poolmgr.store import paths
from poolmgr.store.tree import (
    Answer,
    Check,
    Children,
    Create,
    Delete,
    Done,
    EventKind,
    Get,
    Listener,
    OnChildren,
    OnData,
    Operation,
    Queued,
    Refusal,
    Refused,
    SetData,
    Stat,
    Write,
)
from poolmgr.store.tree_store import TreeStore

Undo = Callable[[], object]


@dataclass
class _Znode:
    data: bytes = b""
    version: int = 0
    zxid: int = 0
    owner: int = 0
    created: float = 0.0
    creations: int = 0  # the next sequence number among its children
    children: set[str] = field(default_factory=set)

    @property
    def stat(self) -> Stat:
        return Stat(self.version, self.zxid, self.owner, self.created)


class MemoryTree:
    """Znodes by path, and the sessions that are told of changes. `clock`: the server's, so to speak."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self.lock = (
            threading.RLock()
        )  # held while the tree is read or changed, and while sessions are sent that
        self.sessions: list[MemorySession] = []
        self._znodes: dict[str, _Znode] = {"": _Znode()}
        self._zxid = 0
        self._places = itertools.count()
        self._ids = itertools.count(1)

    def new_id(self) -> str:
        """32 hex digits, different at each call and the same in each run."""
        return f"{self.next_number():032x}"

    def next_number(self) -> int:
        return next(self._ids)

    def next_place(self) -> int:
        return next(self._places)

    def paths(self) -> list[str]:
        """All paths there are, sorted."""
        with self.lock:
            return sorted(path for path in self._znodes if path)

    def get(self, path: str) -> tuple[bytes, Stat]:
        """Raises Refused."""
        with self.lock:
            znode = self._find(path)
            return znode.data, znode.stat

    def children(self, path: str) -> list[str]:
        """Raises Refused."""
        with self.lock:
            return sorted(self._find(path).children)

    def apply(self, operations: tuple[Operation, ...], session: int) -> list[Done]:
        """All of `operations`, or none. Raises Refused."""
        with self.lock:
            self._zxid += 1
            events: list[tuple[EventKind, str]] = []
            undos: list[Undo] = []
            try:
                done = [self._apply(o, i, session, events, undos) for i, o in enumerate(operations)]
            except Refused:
                for undo in reversed(undos):
                    undo()
                raise
            for one in self.sessions:
                one.send(events)
            if len(operations) == 1:
                return done
            # As on the wire: a creation that is not alone comes without its stat.
            return [Done(d.path) if type(o) is Create else d for o, d in zip(operations, done, strict=True)]

    def end(self, session: int) -> None:
        """Remove what lives no longer than that session; 0 is none, and the owner of all that is persistent."""
        with self.lock:
            if session == 0:
                return
            for path in [path for path, znode in self._znodes.items() if znode.owner == session]:
                self.apply((Delete(path),), 0)

    def tell(self) -> None:
        """Let every session work through what it has been sent."""
        for session in list(self.sessions):
            session.work()

    def _find(self, path: str, index: int = 0) -> _Znode:
        znode = self._znodes.get(path)
        if znode is None:
            raise Refused(Refusal.NO_NODE, path, index)
        return znode

    def _apply(
        self,
        operation: Operation,
        index: int,
        session: int,
        events: list[tuple[EventKind, str]],
        undos: list[Undo],
    ) -> Done:
        if isinstance(operation, Create):
            path = self._create(operation, index, session, undos)
            events.append((EventKind.CREATED, path))
            return Done(path, self._znodes[path].stat)
        znode = self._find(operation.path, index)
        if operation.version not in (-1, znode.version):
            raise Refused(Refusal.BAD_VERSION, operation.path, index)
        if isinstance(operation, Check):
            return Done(operation.path)
        if isinstance(operation, SetData):
            undos.append(lambda: self._znodes.update({operation.path: znode}))
            changed = self._znodes[operation.path] = _Znode(**vars(znode))
            changed.data, changed.version, changed.zxid = operation.data, znode.version + 1, self._zxid
            events.append((EventKind.CHANGED, operation.path))
            return Done(operation.path, changed.stat)
        if znode.children:
            raise Refused(Refusal.NOT_EMPTY, operation.path, index)
        self._unlink(operation.path)
        undos.append(lambda: self._link(operation.path, znode))
        events.append((EventKind.DELETED, operation.path))
        return Done(operation.path)

    def _create(self, operation: Create, index: int, session: int, undos: list[Undo]) -> str:
        parent = self._znodes.get(paths.parent(operation.path))
        if parent is None:
            raise Refused(Refusal.NO_NODE, operation.path, index)
        path = f"{operation.path}{parent.creations:010d}" if operation.sequence else operation.path
        if path in self._znodes:
            raise Refused(Refusal.EXISTS, path, index)
        parent.creations += 1
        owner = session if operation.ephemeral else 0
        znode = _Znode(operation.data, zxid=self._zxid, owner=owner, created=self._clock.time())
        self._link(path, znode)
        undos.append(lambda: self._unlink(path))
        return path

    def _link(self, path: str, znode: _Znode) -> None:
        self._znodes[path] = znode
        self._znodes[paths.parent(path)].children.add(paths.name(path))

    def _unlink(self, path: str) -> None:
        del self._znodes[path]
        self._znodes[paths.parent(path)].children.discard(paths.name(path))


class MemorySession:
    """A `tree.Session`. What it is sent waits in a queue until `work`."""

    def __init__(self, tree: MemoryTree, *, clock: Clock | None = None) -> None:
        self.timeout = 10.0
        self.up = False
        self.connection = 0
        self.id = 0
        self.writes = 0
        self._tree = tree
        self._clock = clock or SystemClock()
        self._silent_since: float | None = None
        self._listener: Listener | None = None
        self._watches: set[str] = set()
        self._sent: deque[Callable[[], None]] = deque()
        self._working = threading.Lock()
        self._loses_answer = False

    # What a test does to it

    def open(self, listener: Listener) -> None:
        self._listener = listener
        self._tree.sessions.append(self)
        self.id = self._tree.next_number()
        self.resume()

    def close(self) -> None:
        if self in self._tree.sessions:
            self.expire()
            self._tree.sessions.remove(self)

    def suspend(self) -> None:
        """Cut the connection; watches go with it, the session stays."""
        with self._tree.lock:
            if not self.up:
                return
            self.up = False
            self.connection += 1
            self._watches.clear()
        self.listener.suspended()
        self._sent.append(functools.partial(self.listener.disconnected, self.connection))
        self._tree.tell()

    def resume(self) -> None:
        """Connect again, to a new session if the old one has expired."""
        self._silent_since = None
        with self._tree.lock:
            self.up = True
            self.connection += 1
            self.id = self.id or self._tree.next_number()
        self.listener.restore()
        self._sent.append(self.listener.flush)
        self._tree.tell()

    def expire(self) -> None:
        """End the session, as ZooKeeper does when it has not heard from a client for long enough."""
        self.suspend()
        ended, self.id = self.id, 0
        self.listener.lost()
        self._tree.end(ended)
        self._tree.tell()

    def lose_next_answer(self) -> None:
        """The next transaction will be done, and the connection cut before its answer arrives."""
        self._loses_answer = True

    def fall_silent(self) -> None:
        """Nothing more is heard of the server from now on until `resume`, though nobody has noticed."""
        self._silent_since = self._clock.monotonic()

    # tree.Session

    @property
    def proven_at(self) -> float:
        return self._clock.monotonic() if self._silent_since is None else self._silent_since

    @property
    def listener(self) -> Listener:
        assert self._listener is not None
        return self._listener

    def queues(self) -> Queued:
        return Queued(requests=0, told=len(self._sent))

    def place(self) -> int:
        return self._tree.next_place()

    def commit(self, write: Write, *reads: Get | Children) -> list[Answer]:
        self._require()
        self.listener.begin(write)
        answers: list[Answer] = []
        with self._tree.lock:
            self.writes += 1
            try:
                self._require()  # again: a session that ended just now must own nothing new
                write.results = self._tree.apply(write.operations, self.id)
            except (Refused, StoreUnavailable) as error:
                write.error = error
            else:
                answers = [self._answer(read) for read in reads]
            if self._loses_answer:
                write.results, write.error = (), StoreUnavailable("the connection was lost")
            write.place = self._tree.next_place()
            self._sent.append(lambda: self.listener.reached(write))
        self.listener.settle(write)
        if self._loses_answer:
            self._loses_answer = False
            self.suspend()
        self._tree.tell()
        if write.error:
            raise write.error
        return answers

    def get(self, path: str) -> tuple[bytes, Stat]:
        self._require()
        return self._tree.get(path)

    def children(self, path: str) -> list[str]:
        self._require()
        return self._tree.children(path)

    def fetch(self, path: str, then: OnData) -> None:
        self._require()
        with self._tree.lock:
            found = None
            with suppress(Refused):
                found = self._tree.get(path)
            place = self._tree.next_place()
            self._sent.append(lambda: then(place, found))
        self.work()

    def fetch_children(self, path: str, then: OnChildren) -> None:
        self._require()
        with self._tree.lock:
            found = None
            with suppress(Refused):
                found = self._tree.children(path)
            place = self._tree.next_place()
            self._sent.append(lambda: then(place, found))
        self.work()

    def watch(self, path: str) -> None:
        self._require()
        self._watches.add(path)

    def send(self, events: list[tuple[EventKind, str]]) -> None:
        """Put what this session watches into its queue. Called under the tree's lock."""
        for kind, path in events:
            if any(path == root or path.startswith(f"{root}/") for root in self._watches):
                place = self._tree.next_place()
                self._sent.append(functools.partial(self.listener.event, place, kind, path))

    def work(self) -> None:
        """Apply what was sent, unless that is being done already."""
        while self._sent and self._working.acquire(blocking=False):
            try:
                while self._sent:
                    self._sent.popleft()()
                self.listener.flush()
            finally:
                self._working.release()

    def _answer(self, read: Get | Children) -> Answer:
        try:
            return self._tree.get(read.path) if isinstance(read, Get) else self._tree.children(read.path)
        except Refused as refused:
            return refused

    def _require(self) -> None:
        if not self.up:
            raise StoreUnavailable("there is no connection")


class MemoryStore(TreeStore):
    """A `store.api.Store` on a tree of its own, or on one that it shares with others."""

    def __init__(self, tree: MemoryTree | None = None, *, clock: Clock | None = None) -> None:
        self.tree = tree or MemoryTree(clock)
        self._memory = MemorySession(self.tree, clock=clock)
        super().__init__(self._memory, clock=clock, new_id=self.tree.new_id)

    def start(self, *, stop: Callable[[], bool] = lambda: False) -> None:
        if not stop():
            self._memory.open(self)

    def close(self) -> None:
        self._memory.close()

    # What a test does to it

    def suspend(self) -> None:
        """Cut the connection; the session lives on."""
        self._memory.suspend()

    def resume(self) -> None:
        """Connect again after `suspend` or `expire`."""
        self._memory.resume()

    def expire(self, *, reconnect: bool = True) -> None:
        """Lose the session, and unless told otherwise connect again at once with a new one."""
        self._memory.expire()
        if reconnect:
            self._memory.resume()

    def lose_next_answer(self) -> None:
        """The next transaction will be done, and the connection cut before its answer arrives."""
        self._memory.lose_next_answer()

    def fall_silent(self) -> None:
        """Nothing more is heard of the server from now on until `resume`, though nobody has noticed."""
        self._memory.fall_silent()
