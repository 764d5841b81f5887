"""Builds and uploads marked for deletion by a person; builders do the rest.

Records change while people think: each is saved only as it was read, else read again and judged again.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TypeVar

from poolmgr.cli.person import counted, user_at_host
from poolmgr.errors import Conflict, RecordGone, Refused
from poolmgr.model.image import Build, BuildState, Upload, UploadState
from poolmgr.model.node import NodeState
from poolmgr.model.snapshot import Snapshot
from poolmgr.policy.keeping import why_of
from poolmgr.policy.removals import Why
from poolmgr.store.api import Store

R = TypeVar("R", Build, Upload)

#: How often a record that changed under us is tried, and the seconds between, in which the news arrives.
_TRIES = 4
_BETWEEN = 0.5


def reason_text(reason: str | None) -> str:
    """What the record says: who, and why if they said so."""
    return f"by {user_at_host()}: {reason}" if reason else f"by {user_at_host()}"


def mark_each(records: Iterable[R], mark: Callable[[R], R | None]) -> tuple[list[R], bool]:
    """What of `records` is marked now, without what is gone, and whether none was refused; refusals are told."""
    marked, refused = [], 0
    for record in records:
        try:
            done = mark(record)
        except Refused as error:
            print(f"poolmgr: {error}", file=sys.stderr)
            refused += 1
        else:
            marked += [done] if done is not None else []
    return marked, not refused


def mark_build(store: Store, build: Build, reason: str, *, now: float) -> Build | None:
    """The build as stored, DELETING; None when it is gone. Raises Refused while it is being built."""

    def mark(current: Build) -> Build:
        if current.state is BuildState.BUILDING:
            raise Refused(
                f"cannot delete build {current.name}, it is in progress",
                remedy="wait for its end, `poolmgr dib-image-list --detail` tells when that may be",
            )
        return _mark(current, reason, now, store.save_build)

    def again() -> Build | None:
        with store.reading() as snapshot:
            return snapshot.build(build.image, build.id)

    return _marked(build, mark, again)


def mark_upload(store: Store, upload: Upload, reason: str, *, now: float) -> Upload | None:
    """The upload as stored, DELETING; None when it is gone. Raises Refused while it is being uploaded."""

    def mark(current: Upload) -> Upload:
        if current.state is UploadState.UPLOADING:
            raise Refused(
                f"cannot delete {upload_text(current)}, it is in progress",
                remedy="wait for its end; one whose builder has died is seen to by the others",
            )
        return _mark(current, reason, now, store.save_upload)

    def again() -> Upload | None:
        try:
            return store.read_upload(upload.path)
        except RecordGone:
            return None

    return _marked(upload, mark, again)


def booting(snapshot: Snapshot, upload: Upload) -> int:
    """How many nodes boot from it just now: what a person has deleted waits for these only."""
    nodes = snapshot.nodes_from(upload.path)
    return sum(node.state in (NodeState.INIT, NodeState.BUILDING) for node in nodes)


def tell_booting(what: str, count: int) -> None:
    if count:
        verb = "boots" if count == 1 else "boot"
        print(f"{what}: {counted(count, 'node')} {verb} from it, it goes after that", file=sys.stderr)


def upload_text(upload: Upload) -> str:
    return f"upload {upload.id} of build {upload.image}-{upload.build} to {upload.provider}"


def _mark(record: R, reason: str, now: float, save: Callable[[R], R]) -> R:
    """What is on its way already because a builder wanted it gone is a person's wish from now on."""
    deleting = type(record.state).DELETING
    if record.state is not deleting:
        return save(replace(record, state=deleting, state_time=now, reason=reason))
    return record if why_of(record) is Why.ORDERED else save(replace(record, reason=reason))


def _marked(record: R, mark: Callable[[R], R], again: Callable[[], R | None]) -> R | None:
    current: R | None = record
    for _ in range(_TRIES):
        if current is None:
            return None
        try:
            return mark(current)
        except RecordGone:
            return None
        except Conflict:
            known = current.version
            current = again()
            if current is not None and current.version == known:
                time.sleep(_BETWEEN)
                current = again()
    raise Conflict("the record changes all the time; nothing was changed, try again")
