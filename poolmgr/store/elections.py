"""Elections: the lock recipe with a name in the contender's data, and nobody who waits (zookeeper.md 4).

The directories are watched like everything else, so who leads is read from the cache.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

from poolmgr.errors import StoreUnavailable
from poolmgr.store import paths
from poolmgr.store.cache import Cache
from poolmgr.store.folders import ensure
from poolmgr.store.locks import Locks, holder
from poolmgr.store.tree import Create, Refused, Session, Write


class Candidacy:
    """A `store.api.Election`."""

    def __init__(self, elections: Elections, folder: str, identifier: str) -> None:
        self._elections = elections
        self.folder = folder
        self.identifier = identifier
        self.prefix = ""  # path of the contender of this session, without its sequence

    @property
    def leading(self) -> bool:
        return self._elections.leads(self)

    def withdraw(self) -> None:
        """Never raises."""
        self._elections.withdraw(self)


class Elections:
    def __init__(self, session: Session, cache: Cache, locks: Locks, current: Callable[[], bool]) -> None:
        self._session = session
        self._cache = cache
        self._locks = locks
        self._current = current
        self._mutex = threading.RLock()
        self._candidacies: list[Candidacy] = []

    def elect(self, name: str, identifier: str) -> Candidacy:
        candidacy = Candidacy(self, paths.election(name), identifier)
        with self._mutex:
            self._candidacies.append(candidacy)
            with suppress(StoreUnavailable):  # else it stands as soon as there is a connection
                self._enter(candidacy)
        return candidacy

    def leads(self, candidacy: Candidacy) -> bool:
        """Whether we know of nobody before us; never while it is not known who there is."""
        if not candidacy.prefix or not self._current():
            return False
        first = holder(self._cache.contenders(candidacy.folder))
        return first is not None and first.startswith(paths.name(candidacy.prefix))

    def withdraw(self, candidacy: Candidacy) -> None:
        with self._mutex:
            if candidacy in self._candidacies:
                self._candidacies.remove(candidacy)
                prefix, candidacy.prefix = candidacy.prefix, ""
                if prefix:
                    self._locks.give_up(prefix)

    def restore(self) -> None:
        """Stand again where we do not. The cache must be current."""
        with self._mutex:
            for candidacy in self._candidacies:
                names = self._cache.contenders(candidacy.folder)
                own = paths.name(candidacy.prefix)
                if not own or not any(name.startswith(own) for name in names):
                    self._enter(candidacy)

    def _enter(self, candidacy: Candidacy) -> None:
        candidacy.prefix = self._locks.new_contender(candidacy.folder)
        create = Create(candidacy.prefix, candidacy.identifier.encode(), ephemeral=True, sequence=True)
        try:
            self._session.commit(Write(create))
        except Refused:
            ensure(self._session, candidacy.folder)
            self._session.commit(Write(create))
