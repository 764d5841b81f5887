"""All builds, uploads and pauses as texts by path, out of the tree and into it (builder.md 10).

The shape is that of nodepool's `export-image-data`. Texts go as they are, so keys that we do not know are kept.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping

from poolmgr.errors import BadRecord
from poolmgr.model.image import ImageOrder, Order
from poolmgr.store import paths
from poolmgr.store.codec import MAX_BYTES, decode
from poolmgr.store.folders import ensure
from poolmgr.store.mirror import Record, record_of
from poolmgr.store.paths import Kind
from poolmgr.store.tree import Create, Delete, Operation, Refusal, Refused, Session, SetData, Stat, Write

log = logging.getLogger(__name__)

#: Directories that are read through to find records.
_FOLDERS = frozenset({Kind.ROOT, Kind.IMAGE, Kind.IMAGE_FOLDER, Kind.BUILD})
#: A sequence of uploads is moved on one by one, so it must end somewhere; it grows by one with each attempt.
_MAX_SEQUENCE = 1_000_000
_BATCH = 100


def exported(session: Session) -> dict[str, str]:
    """See `Store.image_data`."""
    return dict(_texts(session, paths.IMAGES))


def _texts(session: Session, folder: str) -> Iterator[tuple[str, str]]:
    try:
        names = session.children(folder)
    except Refused:
        return
    for path in (f"{folder}/{name}" for name in sorted(names)):
        kind = paths.place_of(path).kind
        if _kept(path):
            yield from _text(session, path)
        if kind in _FOLDERS:
            yield from _texts(session, path)


def _kept(path: str) -> bool:
    kind, ids = paths.place_of(path)
    return kind in (Kind.BUILD, Kind.UPLOAD) or (kind is Kind.ORDER and ids[1] == Order.PAUSE.value)


def _text(session: Session, path: str) -> Iterator[tuple[str, str]]:
    try:
        data, _ = session.get(path)
        if data or paths.place_of(path).kind is Kind.ORDER:
            yield path, data.decode()
    except Refused:  # gone meanwhile
        return
    except UnicodeDecodeError:
        log.warning("%s is left out: its data is no text", path)


def restore(session: Session, data: Mapping[str, str]) -> int:
    """See `Store.restore_image_data`."""
    check(data)
    for folder in sorted({paths.parent(path) for path in data}):
        ensure(session, folder)
    for folder, highest in _sequences(data).items():
        _move_on(session, folder, highest + 1)
    for path, text in data.items():
        _write(session, path, text.encode())
    return len(data)


def check(data: Mapping[str, str]) -> None:
    """Raises BadRecord unless all of it can be written; for dry runs too."""
    for path, text in data.items():
        if not _kept(path):
            raise BadRecord(f"{path}: neither build nor upload nor pause of an image")
        if not all(paths.usable(part) for part in path.split("/")[1:]):
            raise BadRecord(f"{path}: not usable as a path")
        _check_text(path, text)
    _sequences(data)


def _check_text(path: str, text: str) -> None:
    try:
        body = text.encode()
    except UnicodeEncodeError as error:
        raise BadRecord(f"{path}: {error}") from error
    if len(body) > MAX_BYTES:
        raise BadRecord(f"{path}: {len(body)} bytes, at most {MAX_BYTES} fit")
    if paths.place_of(path).kind is not Kind.ORDER:
        record_of(path, body, Stat(0, 0, 0))
    elif body:  # what stands in the tree stands whatever it says; here someone can still be asked
        decode(ImageOrder, body)


def _sequences(data: Mapping[str, str]) -> dict[str, int]:
    """The highest number of an upload by directory. Raises BadRecord for what is no number."""
    highest: dict[str, int] = {}
    for path in data:
        if paths.place_of(path).kind is not Kind.UPLOAD:
            continue
        name = paths.name(path)
        if not (name.isascii() and name.isdigit() and len(name) == 10) or int(name) > _MAX_SEQUENCE:
            raise BadRecord(f"{path}: {name!r} is no number of an upload")
        highest[paths.parent(path)] = max(int(name), highest.get(paths.parent(path), 0))
    return highest


def _move_on(session: Session, folder: str, count: int) -> None:
    """Have `count` children come and go: the numbers that the tree gives are counted from that.

    They come and go in the same transaction, so nobody ever finds them, not even after a crash.
    """
    passer = f"{folder}/passing"
    for start in range(0, count, _BATCH):
        pair: list[Operation] = [Create(passer), Delete(passer)]
        session.commit(Write(*pair * min(_BATCH, count - start)))


def _write(session: Session, path: str, data: bytes) -> None:
    """Write over what is there, whoever wrote it: that is what was asked for."""
    record = record_of(path, data, Stat(0, 0, 0))
    while True:
        try:
            session.commit(Write(SetData(path, data, -1, record)))
        except Refused:
            if _create(session, path, data, record):
                return
        else:
            return


def _create(session: Session, path: str, data: bytes, record: Record) -> bool:
    """False when someone else has made it meanwhile."""
    try:
        session.commit(Write(Create(path, data, record=record)))
    except Refused as refused:
        if refused.why is Refusal.EXISTS:
            return False
        raise
    return True
