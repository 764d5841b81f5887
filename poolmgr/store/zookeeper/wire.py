"""Our operations as kazoo's requests, and kazoo's answers as ours.

Everything here speaks kazoo 2.11's own request and answer types (`kazoo.protocol.serialization`). Paths on the wire
have the chroot in front, ours have not.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from kazoo.exceptions import (
    BadVersionError,
    NodeExistsError,
    NoNodeError,
    NotEmptyError,
    RolledBackError,
)
from kazoo.protocol import serialization
from kazoo.protocol.states import ZnodeStat
from kazoo.security import OPEN_ACL_UNSAFE

from poolmgr.errors import StoreUnavailable
from poolmgr.store.tree import (
    Check,
    Children,
    Create,
    Delete,
    Done,
    Get,
    Operation,
    Refusal,
    Refused,
    SetData,
    Stat,
    Write,
)

_REFUSALS = {
    NoNodeError: Refusal.NO_NODE,
    NodeExistsError: Refusal.EXISTS,
    BadVersionError: Refusal.BAD_VERSION,
    NotEmptyError: Refusal.NOT_EMPTY,
}


def exists(path: str) -> Any:
    """The request for what is at `path`, complete with chroot."""
    return serialization.Exists(path, None)


def create(path: str) -> Any:
    """The request for an empty znode at `path`, complete with chroot."""
    return serialization.Create(path, b"", OPEN_ACL_UNSAFE, 0)


def reading(read: Get | Children, chroot: str) -> Any:
    kind = serialization.GetData if isinstance(read, Get) else serialization.GetChildren
    return kind(chroot + read.path, None)


def transaction(operations: Sequence[Operation], chroot: str) -> Any:
    """One request for all; a single operation goes by itself, as then a creation is answered with its stat."""
    if len(operations) > 1:
        parts = [_operation(operation, serialization.Create, chroot) for operation in operations]
        return serialization.Transaction(parts)
    return _operation(operations[0], serialization.Create2, chroot)


def _operation(operation: Operation, create: Any, chroot: str) -> Any:
    path = chroot + operation.path
    match operation:
        case Create():
            flags = operation.ephemeral | operation.sequence << 1
            return create(path, operation.data, OPEN_ACL_UNSAFE, flags)
        case SetData():
            return serialization.SetData(path, operation.data, operation.version)
        case Delete():
            return serialization.Delete(path, operation.version)
        case Check():
            return serialization.CheckVersion(path, operation.version)


def results(operations: Sequence[Operation], value: Any, error: Exception | None, chroot: str) -> list[Done]:
    """What became of each operation. Raises Refused, StoreUnavailable."""
    if error is not None:
        raise translated(error, operations[0].path, 0) from error
    if len(operations) == 1:
        if isinstance(operations[0], Create):
            path, stat = value
            return [Done(path[len(chroot) :], _stat(stat))]
        return [_done(operations[0], value)]
    for index, (operation, result) in enumerate(zip(operations, value, strict=True)):
        # Those before the one that failed are said to be rolled back.
        if isinstance(result, Exception) and not isinstance(result, RolledBackError):
            raise translated(result, operation.path, index) from result
    return [_done(operation, result) for operation, result in zip(operations, value, strict=True)]


def _done(operation: Operation, result: Any) -> Done:
    if isinstance(operation, SetData):
        return Done(operation.path, _stat(result))
    return Done(result if isinstance(operation, Create) else operation.path)


def translated(error: Exception, path: str, index: int) -> Refused | StoreUnavailable:
    for kind, why in _REFUSALS.items():
        if isinstance(error, kind):
            return Refused(why, path, index)
    return StoreUnavailable(f"ZooKeeper: {type(error).__name__} {error}".rstrip())


def _stat(stat: ZnodeStat) -> Stat:
    return Stat(stat.version, stat.mzxid, stat.ephemeralOwner, stat.ctime / 1000)


def data_of(value: tuple[bytes | None, ZnodeStat]) -> tuple[bytes, Stat]:
    data, stat = value
    return data or b"", _stat(stat)


class Reply:
    """What one request gets; told by kazoo's thread, once (kazoo sometimes tells twice)."""

    __slots__ = ("_arrived", "error", "value")

    def __init__(self) -> None:
        self.value: Any = None
        self.error: Exception | None = None
        self._arrived = threading.Lock()
        self._arrived.acquire()

    def set(self, value: Any = None) -> None:
        self.value = value
        self.arrived()

    def set_exception(self, error: Exception) -> None:
        self.error = error
        self.arrived()

    def arrived(self) -> None:
        if self._arrived.locked():
            self._arrived.release()

    def wait(self, timeout: float) -> Any:
        """The value. Raises what came instead, StoreUnavailable if nothing did."""
        if not self._arrived.acquire(timeout=timeout):
            raise StoreUnavailable(f"no answer from ZooKeeper within {timeout:g} seconds")
        if self.error is not None:
            raise self.error
        return self.value


class WriteReply(Reply):
    __slots__ = ("_chroot", "_reached", "_write")

    def __init__(self, write: Write, reached: Callable[[Write], None], chroot: str) -> None:
        super().__init__()
        self._write = write
        self._reached = reached
        self._chroot = chroot

    def arrived(self) -> None:
        if not self._arrived.locked():
            return
        try:
            self._write.results = results(self._write.operations, self.value, self.error, self._chroot)
        except (Refused, StoreUnavailable) as error:
            self._write.error = error
        self._reached(self._write)
        self._arrived.release()


class ReadReply:
    """Passes its value on, None where there is no such znode; nothing when the connection is lost."""

    __slots__ = ("_then",)

    def __init__(self, then: Callable[[Any], None]) -> None:
        self._then = then

    def set(self, value: Any = None) -> None:
        self._then(value)

    def set_exception(self, error: Exception) -> None:
        if isinstance(error, NoNodeError):
            self._then(None)
