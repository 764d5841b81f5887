"""What each znode means for the snapshot: paths and data in, records, locks and changes out.

It is told what is so; in which order to believe whom is the business of `cache`, which also holds the lock
under which all of this runs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from poolmgr.errors import BadRecord
from poolmgr.model.component import Component, ComponentKind
from poolmgr.model.fleet import (
    Peer,
    ProviderMode,
    ProviderOrder,
    ProviderStatus,
    ReclaimApproval,
    TenantPromises,
)
from poolmgr.model.image import Build, ImageOrder, Order, Upload
from poolmgr.model.node import Node
from poolmgr.model.request import NodeRequest
from poolmgr.model.snapshot import Snapshot
from poolmgr.store import paths
from poolmgr.store.api import Change, ChangeKind
from poolmgr.store.codec import decode
from poolmgr.store.paths import Kind, Place
from poolmgr.store.tree import Stat

log = logging.getLogger(__name__)

OfProvider = ProviderOrder | ReclaimApproval | ProviderStatus
Record = Node | NodeRequest | Component | Build | Upload | ImageOrder | Peer | OfProvider | TenantPromises

_OF_PROVIDER: dict[Kind, type[OfProvider]] = {
    Kind.PROVIDER_ORDER: ProviderOrder,
    Kind.APPROVAL: ReclaimApproval,
    Kind.PROVIDER_STATUS: ProviderStatus,
}
_ABOUT_PROVIDERS = frozenset({Kind.PROVIDER_CONTENDER, *_OF_PROVIDER})
#: Places whose data matters.
RECORDS = frozenset(
    {
        Kind.NODE,
        Kind.REQUEST,
        Kind.COMPONENT,
        Kind.ORDER,
        Kind.BUILD,
        Kind.UPLOAD,
        Kind.PEER,
        Kind.PROMISES,
        *_OF_PROVIDER,
    }
)
#: Those that mean nothing while they have no data: someone's lock brought them back after they were deleted.
_MAY_BE_EMPTY = frozenset({Kind.NODE, Kind.REQUEST, Kind.BUILD, Kind.UPLOAD})
_LOCKS = frozenset(
    {
        Kind.NODE_LOCK,
        Kind.REQUEST_LOCK,
        Kind.ELECTION,
        Kind.BUILDS_LOCK,
        Kind.UPLOADS_LOCK,
        Kind.RECORD_LOCK,
        Kind.PROVIDER_LOCK,
    }
)
_CONTENDERS = frozenset(
    {
        Kind.NODE_CONTENDER,
        Kind.REQUEST_CONTENDER,
        Kind.ELECTION_CONTENDER,
        Kind.BUILDS_CONTENDER,
        Kind.UPLOADS_CONTENDER,
        Kind.RECORD_CONTENDER,
        Kind.PROVIDER_CONTENDER,
    }
)
#: What a snapshot is to do with the ids of a place: about contenders, or all contenders of a lock.
_PUT: dict[Kind, Callable[..., None]] = {
    Kind.NODE_CONTENDER: Snapshot.put_node_contender,
    Kind.REQUEST_CONTENDER: Snapshot.put_request_contender,
    Kind.BUILDS_CONTENDER: Snapshot.put_build_contender,
    Kind.UPLOADS_CONTENDER: Snapshot.put_upload_contender,
    Kind.PROVIDER_CONTENDER: Snapshot.put_owner_contender,
}
_DROP: dict[Kind, Callable[..., None]] = {
    Kind.NODE_CONTENDER: Snapshot.drop_node_contender,
    Kind.NODE_LOCK: Snapshot.drop_node_contender,
    Kind.REQUEST_CONTENDER: Snapshot.drop_request_contender,
    Kind.REQUEST_LOCK: Snapshot.drop_request_contender,
    Kind.BUILDS_CONTENDER: Snapshot.drop_build_contender,
    Kind.BUILDS_LOCK: Snapshot.drop_build_contender,
    Kind.UPLOADS_CONTENDER: Snapshot.drop_upload_contender,
    Kind.UPLOADS_LOCK: Snapshot.drop_upload_contender,
    Kind.PROVIDER_CONTENDER: Snapshot.drop_owner_contender,
    Kind.PROVIDER_LOCK: Snapshot.drop_owner_contender,
}
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
        if kind is Kind.ORDER:
            return _order(ids, data, stamp | {"at": stat.created})
        if kind is Kind.COMPONENT and ids[0] in _COMPONENT_KINDS:
            component = decode(Component, data, znode=ids[1], stat_version=stat.version, zxid=stat.zxid)
            return replace(component, kind=_COMPONENT_KINDS[ids[0]])
        if kind is Kind.PEER:
            return decode(Peer, data, znode=ids[0], stat_version=stat.version, zxid=stat.zxid)
        if kind is Kind.PROMISES:
            return decode(TenantPromises, data, tenant=ids[0], **stamp)
        if kind in _OF_PROVIDER:
            return decode(_OF_PROVIDER[kind], data, provider=ids[0], **stamp)
    except BadRecord as error:
        raise BadRecord(f"{path}: {error}") from error
    raise BadRecord(f"{path}: no record is kept here")


def _order(ids: tuple[str, ...], data: bytes, stamp: dict[str, Any]) -> ImageOrder:
    """The order stands by being there. Those of the reference's tools have no data, and so no words."""
    about = {"image": ids[0], "kind": Order(ids[1]), **stamp}
    try:
        return decode(ImageOrder, data or b"{}", **about)
    except BadRecord:
        return ImageOrder(**about)


def stamped(record: Record, path: str, stat: Stat) -> Record:
    """`record` as it is now that it is stored at `path`."""
    if isinstance(record, (Component, Peer)):
        return replace(record, znode=paths.name(path), stat_version=stat.version, zxid=stat.zxid)
    if isinstance(record, ImageOrder):
        return replace(record, at=stat.created, version=stat.version, zxid=stat.zxid)
    if isinstance(record, OfProvider | TenantPromises):
        return replace(record, version=stat.version, zxid=stat.zxid)
    return replace(record, id=paths.name(path), version=stat.version, zxid=stat.zxid)


class Mirror:
    """Keeps a `Snapshot` equal to the tree. Methods return the change to report, None if nobody can care."""

    def __init__(self) -> None:
        self.snapshot = Snapshot()
        self.contenders: dict[str, set[str]] = {}  # names, by the path of the lock directory that has some
        self.locks: set[str] = set()  # paths of the lock directories of requests
        self.images: set[str] = set()  # paths
        self.empty: dict[str, int] = {}  # versions, by path: of nodes, requests, builds, uploads without data
        self.owners: dict[str, int] = {}  # sessions, by path of the component or peer
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
        if not data and place.kind not in (Kind.ORDER, Kind.PROMISES, *_OF_PROVIDER):
            self._unreadable(place, path, stat)
            if place.kind in _MAY_BE_EMPTY:
                self.empty[path] = stat.version
            if place.kind in (Kind.BUILD, Kind.UPLOAD):  # it never said anything that could be missed
                self.snapshot.drop_unreadable_image(place.ids[0], path)
            return self._change(place, before)
        try:
            record = record_of(path, data, stat)
        except BadRecord as error:
            self._unreadable(place, path, stat)
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
        """`path` exists; only for what has no record: images, lock directories and contenders."""
        place = paths.place_of(path)
        if place.kind is Kind.REQUEST_LOCK:
            self.locks.add(path)
        if place.kind is Kind.IMAGE:
            self.images.add(path)
            self.snapshot.put_image(place.ids[0])
            return self._change(place, "")
        if place.kind not in _CONTENDERS:
            return None
        self.contenders.setdefault(paths.parent(path), set()).add(place.ids[-1])
        if place.kind in _PUT:
            _PUT[place.kind](self.snapshot, *place.ids)
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
        elif place.kind is Kind.PEER:
            self.owners.pop(path, None)
            self.snapshot.drop_peer(place.ids[0])
        elif place.kind is Kind.PROMISES:
            self.snapshot.drop_promises(place.ids[0])
        elif place.kind in _OF_PROVIDER:
            self._of_provider_gone(place)
        else:
            self._image_gone(place, path)
        return self._change(place, provider)

    def known(self) -> set[str]:
        """Paths of all records, images and contenders there are, and of the requests' lock directories."""
        contenders = (f"{lock}/{name}" for lock, names in self.contenders.items() for name in names)
        return {*self._zxids, *self.locks, *self.images, *contenders}

    def _image_gone(self, place: Place, path: str) -> None:
        match place.kind:
            case Kind.IMAGE:
                self.images.discard(path)
                self.snapshot.drop_image(place.ids[0])
            case Kind.ORDER:
                self.snapshot.drop_order(place.ids[0], Order(place.ids[1]))
            case Kind.BUILD:
                self.snapshot.drop_build(*place.ids)
                self.snapshot.drop_unreadable_image(place.ids[0], path)
            case Kind.UPLOAD:
                self.snapshot.drop_upload(path)
                self.snapshot.drop_unreadable_image(place.ids[0], path)

    def _of_provider_gone(self, place: Place) -> None:
        match place.kind:
            case Kind.PROVIDER_ORDER:
                self.snapshot.drop_provider_order(place.ids[0])
            case Kind.APPROVAL:
                self.snapshot.drop_approval(place.ids[0])
            case Kind.PROVIDER_STATUS:
                self.snapshot.drop_provider_status(place.ids[0])

    def _put(self, record: Record, path: str, owner: int) -> None:
        match record:
            case Node():
                self.snapshot.put_node(record)
            case NodeRequest():
                self.snapshot.put_request(record)
            case Component():
                self.owners[path] = owner
                self.snapshot.put_component(record)
            case ImageOrder():
                self.snapshot.put_order(record)
            case Build():
                self.snapshot.put_build(record)
                self.snapshot.drop_unreadable_image(record.image, path)
            case Upload():
                self.snapshot.put_upload(record)
                self.snapshot.drop_unreadable_image(record.image, path)
            case Peer():
                self.owners[path] = owner
                self.snapshot.put_peer(record)
            case TenantPromises():
                self.snapshot.put_promises(record)
            case ProviderOrder():
                self.snapshot.put_provider_order(record)
            case ReclaimApproval():
                self.snapshot.put_approval(record)
            case ProviderStatus():
                self.snapshot.put_provider_status(record)

    def _unreadable(self, place: Place, path: str, stat: Stat) -> None:
        match place.kind:
            case Kind.NODE:
                self.snapshot.put_unreadable_node(place.ids[0])
            case Kind.REQUEST:
                self.snapshot.drop_request(place.ids[0])
            case Kind.COMPONENT if place.ids[0] in _COMPONENT_KINDS:
                self.snapshot.drop_component(_COMPONENT_KINDS[place.ids[0]], place.ids[1])
            case Kind.BUILD:
                self.snapshot.drop_build(*place.ids)
                self.snapshot.put_unreadable_image(place.ids[0], path)
            case Kind.UPLOAD:
                self.snapshot.drop_upload(path)
                self.snapshot.put_unreadable_image(place.ids[0], path)
            case Kind.PEER:
                self.snapshot.drop_peer(place.ids[0])
            case Kind.PROVIDER_ORDER:  # whatever it says, it may be that nothing is to be launched
                self.snapshot.put_provider_order(
                    ProviderOrder(
                        provider=place.ids[0],
                        mode=ProviderMode.PAUSED,
                        since=stat.created,
                        reason="order cannot be read",
                        version=stat.version,
                        zxid=stat.zxid,
                    )
                )
            case Kind.APPROVAL | Kind.PROVIDER_STATUS:
                self._of_provider_gone(place)
            case Kind.PROMISES:  # whoever promises next replaces it
                self.snapshot.put_promises(
                    TenantPromises(tenant=place.ids[0], version=stat.version, zxid=stat.zxid)
                )

    def _drop_contender(self, place: Place, lock: str) -> None:
        names = self.contenders.get(lock)
        if names is not None:
            names.discard(place.ids[-1])
            if not names:
                del self.contenders[lock]
        self._no_contender(place)

    def _drop_lock(self, place: Place, path: str) -> None:
        self.locks.discard(path)
        self.contenders.pop(path, None)
        self._no_contender(place)

    def _no_contender(self, place: Place) -> None:
        if place.kind in _DROP:
            _DROP[place.kind](self.snapshot, *place.ids)

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
        if kind is ChangeKind.FLEET:
            return (
                Change(kind, "", place.ids[0])
                if place.kind in _ABOUT_PROVIDERS
                else Change(kind, place.ids[0])
            )
        return Change(kind, place.ids[-1] if kind is ChangeKind.COMPONENT else place.ids[0])


# Lock directories are no news by themselves: what is, is who contends in them.
_CHANGES = {
    Kind.NODE: ChangeKind.NODE,
    Kind.NODE_CONTENDER: ChangeKind.NODE,
    Kind.REQUEST: ChangeKind.REQUEST,
    Kind.REQUEST_CONTENDER: ChangeKind.REQUEST,
    Kind.COMPONENT: ChangeKind.COMPONENT,
    Kind.IMAGE: ChangeKind.IMAGE,
    Kind.ORDER: ChangeKind.IMAGE,
    Kind.BUILD: ChangeKind.IMAGE,
    Kind.UPLOAD: ChangeKind.IMAGE,
    Kind.BUILDS_CONTENDER: ChangeKind.IMAGE,
    Kind.UPLOADS_CONTENDER: ChangeKind.IMAGE,
    Kind.RECORD_CONTENDER: ChangeKind.IMAGE,
    Kind.PEER: ChangeKind.FLEET,
    Kind.PROVIDER_CONTENDER: ChangeKind.FLEET,
    Kind.PROVIDER_ORDER: ChangeKind.FLEET,
    Kind.APPROVAL: ChangeKind.FLEET,
    Kind.PROVIDER_STATUS: ChangeKind.FLEET,
    Kind.PROMISES: ChangeKind.FLEET,
}
