"""A tree of znodes as one client sees it: transactions, reads, sessions, and the order of what it is told.

This is the seam between what poolmgr stores (requests, nodes, locks: the modules beside this one) and how it
gets there: `zookeeper` speaks to servers, `memory` keeps a tree in this process. Paths have no chroot.

Everything a session tells its `Listener` (watch events, answers to `fetch...`, results of own
writes) has a place in one sequence, which is the order in which the server sent it. ZooKeeper promises that
an event is sent before the answer to any request that was served after the change. So whoever applies all of
it in this order, and nothing else, always holds a state that the tree once had. `Write.place` is the place of
a write's result; it lets a writer show its own change at once, ahead of what is still queued before it.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from poolmgr.store.api import Change


class Stat(NamedTuple):
    """What we use of a znode's metadata."""

    version: int
    zxid: int  # of the last change of the data (mzxid)
    owner: int  # the session of an ephemeral znode, 0 for others
    created: float = 0.0  # epoch seconds of the server


class Create(NamedTuple):
    """Make a znode; `sequence` appends ten digits to `path`. `record` is what `data` says, decoded."""

    path: str
    data: bytes = b""
    ephemeral: bool = False
    sequence: bool = False
    record: Any = None


class SetData(NamedTuple):
    """Replace the data if the znode has `version`."""

    path: str
    data: bytes
    version: int
    record: Any = None


class Delete(NamedTuple):
    """Remove a znode that has no children; version -1 is any."""

    path: str
    version: int = -1


class Check(NamedTuple):
    """Refuse the transaction unless the znode exists and has `version`; -1 is any."""

    path: str
    version: int = -1


Operation = Create | SetData | Delete | Check


class Refusal(enum.Enum):
    NO_NODE = "no such znode"
    EXISTS = "znode exists"
    BAD_VERSION = "znode has another version"
    NOT_EMPTY = "znode has children"


class Refused(Exception):
    """The tree refused; nothing was changed. `index` is that of the first operation that could not be done.

    Stays inside the store: callers of `store.api` see Conflict, RecordGone or LockLost.
    """

    def __init__(self, why: Refusal, path: str, index: int = 0) -> None:
        super().__init__(f"{path}: {why.value}")
        self.why = why
        self.path = path
        self.index = index


class Done(NamedTuple):
    """The result of one operation: its path (of a `Create`: with its sequence), and what the znode is then.

    `stat` is None for a Create that was one of several operations, for Delete and for Check.
    """

    path: str
    stat: Stat | None = None


class Write:
    """One transaction, from before it is sent until its result has been applied. Use each only once."""

    __slots__ = ("applied", "changes", "deferred", "error", "operations", "place", "results", "stored")

    def __init__(self, *operations: Operation) -> None:
        self.operations = operations
        self.results: Sequence[Done] = ()
        self.error: Exception | None = None  # Refused, or StoreUnavailable: outcome unknown
        self.place = -1  # in the listener's sequence, once the result is known
        # For the cache, under its lock:
        self.applied = False
        self.deferred: set[str] = set()  # paths whose events wait for the result
        self.stored: dict[str, Any] = {}  # by path: the records as stored, with version and zxid
        self.changes: list[Change] = []  # to report when the sequence has come to it


class EventKind(enum.Enum):
    CREATED = 1
    DELETED = 2
    CHANGED = 3


class Get(NamedTuple):
    path: str


class Children(NamedTuple):
    path: str


Answer = tuple[bytes, Stat] | list[str] | Refused
#: Called in sequence with (place, value); the value is None if there is no such znode.
OnData = Callable[[int, tuple[bytes, Stat] | None], None]
OnChildren = Callable[[int, list[str] | None], None]


class Listener(Protocol):
    """Who keeps a copy of the tree, and what follows from the session's state."""

    def begin(self, write: Write) -> None:
        """`write` is about to be sent (called by the writer)."""

    def settle(self, write: Write) -> None:
        """`write` has its result (called by the writer, ahead of the sequence)."""

    def reached(self, write: Write) -> None:
        """The sequence has come to the result of `write`."""

    def event(self, place: int, kind: EventKind, path: str) -> None:
        """A watch reported something."""

    def flush(self) -> None:
        """The sequence is empty for now."""

    def suspended(self) -> None:
        """The connection is down; the session may live on. Called from any thread."""

    def lost(self) -> None:
        """The session is over and all its ephemeral znodes are gone. Called from any thread."""

    def disconnected(self, connection: int) -> None:
        """The sequence has come to the point where the connection broke; `connection` is the count since then."""

    def restore(self) -> None:
        """A connection is up: read everything anew. Raises StoreUnavailable if it went down again meanwhile."""


class Queued(NamedTuple):
    """How much waits: requests to be sent or answered, and items of the sequence to be told."""

    requests: int
    told: int


class Session(Protocol):
    """A client's session. Every call raises StoreUnavailable when it is not connected."""

    @property
    def up(self) -> bool:
        """Whether there is a connection now."""

    @property
    def connection(self) -> int:
        """Counts changes of the connection's state; what began at another count may have missed events."""

    @property
    def timeout(self) -> float:
        """Seconds without word from us after which the server ends the session."""

    @property
    def proven_at(self) -> float:
        """When that was sent, by the monotonic clock, which the server has answered last: the session lived then."""

    @property
    def id(self) -> int:
        """The session's own id, as in `Stat.owner`."""

    @property
    def writes(self) -> int:
        """Transactions sent so far, refused ones too."""

    def queues(self) -> Queued: ...

    def place(self) -> int:
        """A place in the sequence after all that has been received so far."""

    def commit(self, write: Write, *reads: Get | Children) -> list[Answer]:
        """Do `write`, then the reads, in one round trip. Raises Refused if the write is refused.

        A read that is refused has its Refused as its answer.
        """

    def get(self, path: str) -> tuple[bytes, Stat]:
        """Raises Refused."""

    def children(self, path: str) -> list[str]:
        """Raises Refused."""

    def fetch(self, path: str, then: OnData) -> None:
        """Read and tell in sequence; tells nothing when the connection is lost. Does not block."""

    def fetch_children(self, path: str, then: OnChildren) -> None:
        """The same for the names of the children."""

    def watch(self, path: str) -> None:
        """Report all changes at and below `path`, until the connection is lost."""
