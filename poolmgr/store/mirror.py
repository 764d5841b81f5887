"""What each znode means for the snapshot: paths and data in, records, locks and changes out.

It is told what is so; in which order to believe whom is the business of `cache`, which also holds the lock
under which all of this runs.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

from poolmgr.errors import BadRecord
from poolmgr.model.component import Component, ComponentKind
from poolmgr.model.image import Build, Upload
from poolmgr.model.node import Node
from poolmgr.model.request import NodeRequest
from poolmgr.model.snapshot import Snapshot
from poolmgr.store import paths
from poolmgr.store.api import Change, ChangeKind
from poolmgr.store.codec import decode
from poolmgr.store.paths import Kind, Place
from poolmgr.store.tree import Stat

log = logging.getLogger(__name__)

Record = Node | NodeRequest | Component | Build | Upload

#: Places whose data matters.
RECORDS = frozenset({Kind.NODE, Kind.REQUEST, Kind.COMPONENT, Kind.BUILD, Kind.UPLOAD})
_LOCKS = frozenset({Kind.NODE_LOCK, Kind.REQUEST_LOCK, Kind.ELECTION})
_CONTENDERS = frozenset({Kind.NODE_CONTENDER, Kind.REQUEST_CONTENDER, Kind.ELECTION_CONTENDER})
_COMPONENT_KINDS = {kind.value: kind for kind in ComponentKind}


def record_of(path: str, data: bytes, stat: Stat) -> Record:
    """The record at `path`. Raises BadRecord, with the path; also for one of no kind that we know."""
    kind, ids = paths.place_of(path)
    stamp: dict[str, Any] = {"version": stat.version, "zxid": stat.zxid}
    try:
        if kind is Kind.NODE:
            return decode(Node, data, id=ids[0], **stamp)
        if kind is Kind.REQUEST:
            return decode(NodeRequest, data, id=ids[0], **stamp)
        if kind is Kind.UPLOAD:
            image, build, provider, upload = ids
            return decode(Upload, data, image=image, build=build, provider=provider, id=upload, **stamp)
        if kind is Kind.BUILD:
            return decode(Build, data, image=ids[0], id=ids[1], **stamp)
        if kind is Kind.COMPONENT and ids[0] in _COMPONENT_KINDS:
            component = decode(Component, data, znode=ids[1], stat_version=stat.version, zxid=stat.zxid)
            return replace(component, kind=_COMPONENT_KINDS[ids[0]])
    except BadRecord as error:
        raise BadRecord(f"{path}: {error}") from error
    raise BadRecord(f"{path}: no record is kept here")


def stamped(record: Record, path: str, stat: Stat) -> Record:
    """`record` as it is now that it is stored at `path`."""
    if isinstance(record, Component):
        return replace(record, znode=paths.name(path), stat_version=stat.version, zxid=stat.zxid)
    return replace(record, id=paths.name(path), version=stat.version, zxid=stat.zxid)


class Mirror:
    """Keeps a `Snapshot` equal to the tree. Methods return the change to report, None if nobody can care."""

    def __init__(self) -> None:
        self.snapshot = Snapshot()
        self.contenders: dict[str, set[str]] = {}  # names, by the path of the lock directory that has some
        self.locks: set[str] = set()  # paths of the lock directories of requests
        self.empty: dict[str, int] = {}  # versions, by path: nodes and requests without data
        self.owners: dict[str, int] = {}  # sessions, by path of the component
        self._zxids: dict[str, int] = {}  # of every record's data, readable or not
        self._complained: set[str] = set()

    def data(self, path: str, data: bytes, stat: Stat) -> Change | None:
        """`path` has `data`. What is older than what is known already is ignored."""
        place = paths.place_of(path)
        if stat.zxid <= self._zxids.get(path, -1):
            return None
        before = self._provider(place)
        self._zxids[path] = stat.zxid
        self.empty.pop(path, None)
        if not data:
            self._unreadable(place, path)
            if place.kind in (Kind.NODE, Kind.REQUEST):
                self.empty[path] = stat.version
            return self._change(place, before)
        try:
            record = record_of(path, data, stat)
        except BadRecord as error:
            self._unreadable(place, path)
            if path not in self._complained:
                self._complained.add(path)
                log.warning("skipping a record that cannot be read: %s", error)
            return self._change(place, before)
        self._complained.discard(path)
        self._put(record, path, stat.owner)
        return self._change(place, before)

    def record(self, path: str, record: Record, stat: Stat) -> Change | None:
        """`path` has `record`, which this process has written."""
        if stat.zxid <= self._zxids.get(path, -1):
            return None
        place = paths.place_of(path)
        before = self._provider(place)
        self._zxids[path] = stat.zxid
        self.empty.pop(path, None)
        self._put(record, path, stat.owner)
        return self._change(place, before)

    def created(self, path: str) -> Change | None:
        """`path` exists; only for what has no record: lock directories and contenders."""
        place = paths.place_of(path)
        if place.kind is Kind.REQUEST_LOCK:
            self.locks.add(path)
        if place.kind not in _CONTENDERS:
            return None
        self.contenders.setdefault(paths.parent(path), set()).add(place.ids[1])
        if place.kind is Kind.NODE_CONTENDER:
            self.snapshot.put_node_contender(*place.ids)
        elif place.kind is Kind.REQUEST_CONTENDER:
            self.snapshot.put_request_contender(*place.ids)
        return self._change(place, self._provider(place))

    def gone(self, path: str) -> Change | None:
        """`path` does not exist, nor anything below it."""
        place = paths.place_of(path)
        provider = self._provider(place)
        self._zxids.pop(path, None)
        self.empty.pop(path, None)
        self._complained.discard(path)
        if place.kind in _CONTENDERS:
            self._drop_contender(place, paths.parent(path))
        elif place.kind in _LOCKS:
            self._drop_lock(place, path)
        elif place.kind is Kind.NODE:
            self.snapshot.drop_node(place.ids[0])
            self._drop_lock(Place(Kind.NODE_LOCK, place.ids), paths.node_lock(place.ids[0]))
        elif place.kind is Kind.REQUEST:
            self.snapshot.drop_request(place.ids[0])
        elif place.kind is Kind.COMPONENT:
            self.owners.pop(path, None)
            if place.ids[0] in _COMPONENT_KINDS:
                self.snapshot.drop_component(_COMPONENT_KINDS[place.ids[0]], place.ids[1])
        elif place.kind is Kind.BUILD:
            self.snapshot.drop_build(*place.ids)
        elif place.kind is Kind.UPLOAD:
            self.snapshot.drop_upload(path)
        return self._change(place, provider)

    def known(self) -> set[str]:
        """Paths of all records and contenders there are, and of the requests' lock directories."""
        contenders = (f"{lock}/{name}" for lock, names in self.contenders.items() for name in names)
        return {*self._zxids, *self.locks, *contenders}

    def _put(self, record: Record, path: str, owner: int) -> None:
        match record:
            case Node():
                self.snapshot.put_node(record)
            case NodeRequest():
                self.snapshot.put_request(record)
            case Component():
                self.owners[path] = owner
                self.snapshot.put_component(record)
            case Build():
                self.snapshot.put_build(record)
            case Upload():
                self.snapshot.put_upload(record)

    def _unreadable(self, place: Place, path: str) -> None:
        match place.kind:
            case Kind.NODE:
                self.snapshot.put_unreadable_node(place.ids[0])
            case Kind.REQUEST:
                self.snapshot.drop_request(place.ids[0])
            case Kind.COMPONENT if place.ids[0] in _COMPONENT_KINDS:
                self.snapshot.drop_component(_COMPONENT_KINDS[place.ids[0]], place.ids[1])
            case Kind.BUILD:
                self.snapshot.drop_build(*place.ids)
            case Kind.UPLOAD:
                self.snapshot.drop_upload(path)

    def _drop_contender(self, place: Place, lock: str) -> None:
        names = self.contenders.get(lock)
        if names is not None:
            names.discard(place.ids[1])
            if not names:
                del self.contenders[lock]
        if place.kind is Kind.NODE_CONTENDER:
            self.snapshot.drop_node_contender(*place.ids)
        elif place.kind is Kind.REQUEST_CONTENDER:
            self.snapshot.drop_request_contender(*place.ids)

    def _drop_lock(self, place: Place, path: str) -> None:
        self.locks.discard(path)
        self.contenders.pop(path, None)
        if place.kind is Kind.NODE_LOCK:
            self.snapshot.drop_node_contender(place.ids[0])
        elif place.kind is Kind.REQUEST_LOCK:
            self.snapshot.drop_request_contender(place.ids[0])

    def _provider(self, place: Place) -> str:
        if place.kind not in (Kind.NODE, Kind.NODE_CONTENDER):
            return ""
        node = self.snapshot.node(place.ids[0])
        return (node.provider or "") if node else ""

    def _change(self, place: Place, provider_before: str) -> Change | None:
        kind = _CHANGES.get(place.kind)
        if kind is None:
            return None
        if kind is ChangeKind.NODE:
            return Change(kind, place.ids[0], self._provider(place) or provider_before)
        return Change(kind, place.ids[0] if kind is ChangeKind.REQUEST else place.ids[-1])


# Lock directories are no news by themselves: what is, is who contends in them.
_CHANGES = {
    Kind.NODE: ChangeKind.NODE,
    Kind.NODE_CONTENDER: ChangeKind.NODE,
    Kind.REQUEST: ChangeKind.REQUEST,
    Kind.REQUEST_CONTENDER: ChangeKind.REQUEST,
    Kind.COMPONENT: ChangeKind.COMPONENT,
    Kind.BUILD: ChangeKind.IMAGE,
    Kind.UPLOAD: ChangeKind.IMAGE,
}
