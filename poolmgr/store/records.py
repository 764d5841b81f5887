"""Reading and saving single records, and what a refusal means to the caller."""

from __future__ import annotations

from typing import TypeVar

from poolmgr.errors import Conflict, RecordGone, StoreError
from poolmgr.model.image import Build, ImageOrder, Upload
from poolmgr.model.node import Node
from poolmgr.model.request import NodeRequest
from poolmgr.store.codec import encode
from poolmgr.store.mirror import record_of
from poolmgr.store.tree import Check, Operation, Refusal, Refused, Session, SetData, Stat, Write

R = TypeVar("R", Node, NodeRequest, Build, Upload, ImageOrder)


def read(session: Session, path: str, kind: type[R]) -> R:
    """The record at `path`. Raises RecordGone, BadRecord."""
    try:
        data, stat = session.get(path)
    except Refused as refused:
        raise RecordGone(f"{path} does not exist") from refused
    return understood(path, data, stat, kind)


def understood(path: str, data: bytes, stat: Stat, kind: type[R]) -> R:
    """The record that `data` is. Raises BadRecord."""
    record = record_of(path, data, stat)
    assert isinstance(record, kind)
    return record


def replacing(path: str, record: R) -> SetData:
    """What saves `record`, unless someone else has changed it since it was read.

    Raises Conflict for a record that was never read: any version would fit it. Raises BadRecord.
    """
    if record.version < 0:
        raise Conflict(f"{path}: this copy was never read from the store")
    return SetData(path, encode(record), record.version, record)


def save(session: Session, path: str, record: R, fence: Check | None) -> R:
    """`record` as saved. Raises Conflict, RecordGone; Refused only when the fence is down."""
    change = replacing(path, record)
    operations: tuple[Operation, ...] = (change,) if fence is None else (fence, change)
    write = Write(*operations)
    try:
        session.commit(write)
    except Refused as refused:
        if refused.path == path:
            raise meaning(refused) from refused
        raise
    saved = write.stored[path]
    assert isinstance(saved, type(record))
    return saved


def meaning(refused: Refused) -> StoreError:
    """The error for a record that could not be replaced or removed."""
    if refused.why is Refusal.NO_NODE:
        return RecordGone(f"{refused.path} does not exist")
    return Conflict(f"{refused.path} was changed by someone else")
