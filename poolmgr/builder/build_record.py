"""The record of one running build: under its image's lock, which a lost session takes away and we take again.

A build takes hours, and neither it nor its files know of the store. So whatever happens to the record meanwhile, a good
build ends in one that says READY: the lock is taken again, a record that someone has removed is stored again under its
id. Only a person's wish to delete the build counts.
"""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from dataclasses import replace
from typing import Any

from poolmgr.builder.context import Parts
from poolmgr.errors import Conflict, LockBusy, LockLost, RecordGone, StoreUnavailable
from poolmgr.model.image import Build, BuildState
from poolmgr.policy.removals import Why
from poolmgr.store.api import Lock

log = logging.getLogger(__name__)

RETRY = 1.0  # seconds between tries at a store that is away, or at a lock that someone has

_LATER = (StoreUnavailable, LockBusy, LockLost, Conflict, RecordGone)


class BuildRecord:
    """Owned by the thread of the build; others may read `build`."""

    def __init__(self, parts: Parts, lock: Lock, build: Build) -> None:
        self.build = build  # as last written or read
        self._parts = parts
        self._lock = lock

    def unwanted(self) -> bool:
        """Whether a person has it deleted. That a builder gave it up, when we had lost the lock, is not meant."""
        with self._parts.store.reading() as snapshot:
            return _is_unwanted(snapshot.build(self.build.image, self.build.id))

    def look(self) -> None:
        """Take the lock again if the session that had it is gone. Someone else may have it now: that is no harm."""
        if not self._lock.valid and self._parts.store.connected:
            with suppress(LockBusy, StoreUnavailable):
                self._lock = self._parts.store.lock_builds(self.build.image)
                log.info("build %s: the lock was lost and taken again", self.build.name)

    def note(self, **changes: Any) -> None:
        """Store changes that are for people to look at: not, when the store is away."""
        with suppress(*_LATER):
            self._write(changes)

    def settle(self, ended: threading.Event, **changes: Any) -> bool:
        """Store how it ended, waiting for the store if need be; False if nobody wants to know: it is being deleted.

        Raises StoreUnavailable when it cannot be stored now and `ended` is set.
        """
        while True:
            try:
                return self._write(changes)
            except _LATER as error:
                if ended.is_set():
                    raise StoreUnavailable(f"build {self.build.name} is not recorded: {error}") from error
                log.debug("build %s is not recorded yet: %s", self.build.name, error)
            self._parts.clock.wait(ended, RETRY)

    def remove(self) -> None:
        """Delete the record. When that cannot be done now, the janitor finds it."""
        with suppress(*_LATER):
            self._parts.store.delete_build(self.build)

    def let_go(self) -> None:
        """Release the lock. Never raises."""
        self._parts.store.unlock(self._lock)

    def _write(self, changes: dict[str, Any]) -> bool:
        store = self._parts.store
        if not store.connected:
            raise StoreUnavailable("the store is away")
        self.look()
        with store.reading() as snapshot:
            found = snapshot.build(self.build.image, self.build.id)
        if _is_unwanted(found):
            return False
        if found is None:
            self.build = store.create_build(replace(self.build, **changes), self._lock)
            log.warning("build %s: its record was gone and is stored again", self.build.name)
        else:
            lock = self._lock if self._lock.valid else None
            self.build = store.save_build(replace(found, **changes), lock)
        return True


def _is_unwanted(found: Build | None) -> bool:
    if found is None or found.state is not BuildState.DELETING:
        return False
    return not (found.reason or "").startswith(Why.ABANDONED.value)
