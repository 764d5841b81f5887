"""Component records: who is alive (zookeeper.md 5).

They are ephemeral, so each session has its own. A registration outlives its record: after a session was lost
it is published again under a new name, and its owner goes on with the component it has.
"""

from __future__ import annotations

import threading
from dataclasses import replace

from poolmgr.errors import Conflict, RecordGone, StoreUnavailable
from poolmgr.model.component import Component
from poolmgr.store import paths
from poolmgr.store.cache import Cache
from poolmgr.store.codec import encode
from poolmgr.store.folders import ensure
from poolmgr.store.tree import Create, Delete, Refusal, Refused, Session, SetData, Write


class _Registration:
    def __init__(self, component: Component) -> None:
        self.current = component
        self.names = {component.znode}

    @property
    def path(self) -> str:
        return paths.component(self.current.kind, self.current.znode)

    def published(self, component: Component) -> Component:
        self.current = component
        self.names.add(component.znode)
        return component


class Registry:
    def __init__(self, session: Session, cache: Cache) -> None:
        self._session = session
        self._cache = cache
        # Held during calls: a record that is just being made must not be taken for one that nobody wants.
        self._mutex = threading.RLock()
        self._registrations: list[_Registration] = []

    def register(self, component: Component) -> Component:
        with self._mutex:
            registration = _Registration(self._publish(component))
            self._registrations.append(registration)
            return registration.current

    def update(self, component: Component) -> Component:
        """See `Store.update_component`. Raises RecordGone, Conflict."""
        with self._mutex:
            registration = self._find(component)
            if registration is None:
                raise RecordGone(f"{component.kind.value} {component.znode!r} is not registered")
            current = registration.current
            wanted = replace(component, znode=current.znode, stat_version=current.stat_version)
            if registration.path not in self._cache.components_of(self._session.id):
                return registration.published(self._publish(wanted))  # someone has removed it
            if wanted == current:
                return current
            return registration.published(self._replace(registration, wanted))

    def unregister(self, component: Component) -> None:
        """Never raises; a record that cannot be removed now goes at the next `restore`, or with the session."""
        with self._mutex:
            registration = self._find(component)
            if registration is not None:
                self._registrations.remove(registration)
                self._remove(registration.path)

    def restore(self) -> None:
        """Publish what is missing, and remove records of ours that nobody registered (a reply got lost).

        The cache must be current.
        """
        with self._mutex:
            published = set(self._cache.components_of(self._session.id))
            for registration in self._registrations:
                if registration.path in published:
                    published.discard(registration.path)
                else:
                    registration.published(self._publish(registration.current))
            for path in published:
                self._remove(path)

    def _find(self, component: Component) -> _Registration | None:
        for registration in self._registrations:
            if registration.current.kind is component.kind and component.znode in registration.names:
                return registration
        return None

    def _publish(self, component: Component) -> Component:
        prefix = paths.component(component.kind, component.hostname)
        create = Create(prefix, encode(component), ephemeral=True, sequence=True, record=component)
        write = Write(create)
        try:
            self._session.commit(write)
        except Refused:
            ensure(self._session, paths.component(component.kind))
            write = Write(create)
            self._commit(write)
        return self._stored(write)

    def _replace(self, registration: _Registration, wanted: Component) -> Component:
        """Save `wanted`, whatever someone else may have done to the record: it is ours alone."""
        change = SetData(registration.path, encode(wanted), wanted.stat_version, wanted)
        write = Write(change)
        try:
            self._session.commit(write)
        except Refused as refused:
            if refused.why is Refusal.NO_NODE:
                return self._publish(wanted)
            _, stat = self._session.get(registration.path)
            write = Write(change._replace(version=stat.version))
            self._commit(write)
        return self._stored(write)

    def _commit(self, write: Write) -> None:
        try:
            self._session.commit(write)
        except Refused as refused:
            raise Conflict(str(refused)) from refused

    def _stored(self, write: Write) -> Component:
        component: Component = write.stored[write.results[0].path]
        return component

    def _remove(self, path: str) -> None:
        try:
            self._session.commit(Write(Delete(path)))
        except (Refused, StoreUnavailable):
            return
