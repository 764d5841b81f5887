"""Records of who is alive: components (zookeeper.md 5), and peers, which are the launchers of this software.

They are ephemeral, so each session has its own. A registration outlives its record: after a session was lost
it is published again under a new name, and its owner goes on with the record it has.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TypeVar

from poolmgr.errors import Conflict, RecordGone, StoreUnavailable
from poolmgr.model.component import Component
from poolmgr.model.fleet import Peer
from poolmgr.store import paths
from poolmgr.store.cache import Cache
from poolmgr.store.codec import encode
from poolmgr.store.folders import ensure
from poolmgr.store.tree import Create, Delete, Refusal, Refused, Session, SetData, Write

Sign = Component | Peer
S = TypeVar("S", bound=Component | Peer)


class _Registration:
    def __init__(self, sign: Sign) -> None:
        self.current = sign
        self.names = {sign.znode}

    @property
    def path(self) -> str:
        return _path(self.current, self.current.znode)

    def published(self, sign: S) -> S:
        self.current = sign
        self.names.add(sign.znode)
        return sign


class Registry:
    def __init__(self, session: Session, cache: Cache) -> None:
        self._session = session
        self._cache = cache
        # Held during calls: a record that is just being made must not be taken for one that nobody wants.
        self._mutex = threading.RLock()
        self._registrations: list[_Registration] = []

    def register(self, sign: S) -> S:
        with self._mutex:
            published = self._publish(sign)
            self._registrations.append(_Registration(published))
            return published

    def update(self, sign: S) -> S:
        """See `Store.update_component`. Raises RecordGone, Conflict."""
        with self._mutex:
            registration = self._find(sign)
            if registration is None:
                raise RecordGone(f"{_path(sign, sign.znode)} is not registered")
            current = registration.current
            wanted = replace(sign, znode=current.znode, stat_version=current.stat_version)
            if registration.path not in self._cache.registered_by(self._session.id):
                return registration.published(self._publish(wanted))  # someone has removed it
            if wanted == current:
                return wanted
            return registration.published(self._replace(registration.path, wanted))

    def unregister(self, sign: Sign) -> None:
        """Never raises; a record that cannot be removed now goes at the next `restore`, or with the session."""
        with self._mutex:
            registration = self._find(sign)
            if registration is not None:
                self._registrations.remove(registration)
                self._remove(registration.path)

    def restore(self) -> None:
        """Publish what is missing, and remove records of ours that nobody registered (a reply got lost).

        The cache must be current.
        """
        with self._mutex:
            published = set(self._cache.registered_by(self._session.id))
            for registration in self._registrations:
                if registration.path in published:
                    published.discard(registration.path)
                else:
                    registration.published(self._publish(registration.current))
            for path in published:
                self._remove(path)

    def _find(self, sign: Sign) -> _Registration | None:
        folder = paths.parent(_path(sign, ""))
        for registration in self._registrations:
            if paths.parent(registration.path) == folder and sign.znode in registration.names:
                return registration
        return None

    def _publish(self, sign: S) -> S:
        prefix = _path(sign, sign.hostname)
        create = Create(prefix, encode(sign), ephemeral=True, sequence=True, record=sign)
        write = Write(create)
        try:
            self._session.commit(write)
        except Refused:
            ensure(self._session, paths.parent(prefix))
            write = Write(create)
            self._commit(write)
        return self._stored(write, sign)

    def _replace(self, path: str, wanted: S) -> S:
        """Save `wanted`, whatever someone else may have done to the record: it is ours alone."""
        change = SetData(path, encode(wanted), wanted.stat_version, wanted)
        write = Write(change)
        try:
            self._session.commit(write)
        except Refused as refused:
            if refused.why is Refusal.NO_NODE:
                return self._publish(wanted)
            _, stat = self._session.get(path)
            write = Write(change._replace(version=stat.version))
            self._commit(write)
        return self._stored(write, wanted)

    def _commit(self, write: Write) -> None:
        try:
            self._session.commit(write)
        except Refused as refused:
            raise Conflict(str(refused)) from refused

    def _stored(self, write: Write, as_sent: S) -> S:
        stored = write.stored[write.results[0].path]
        assert isinstance(stored, type(as_sent))
        return stored

    def _remove(self, path: str) -> None:
        try:
            self._session.commit(Write(Delete(path)))
        except (Refused, StoreUnavailable):
            return


def _path(sign: Sign, znode: str) -> str:
    """Where such a record is kept under that name."""
    if isinstance(sign, Peer):
        return paths.peer(znode)
    return f"{paths.component(sign.kind)}/{znode}"
