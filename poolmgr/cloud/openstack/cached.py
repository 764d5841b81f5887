"""A value that is asked for again after a time, or when someone found it to be stale."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from poolmgr.errors import CloudError
from poolmgr.runtime.clock import Clock

V = TypeVar("V")


class Cached(Generic[V]):
    """What `load` returns, kept `ttl` seconds; thread-safe.

    One thread loads and the others wait for it. If that fails, those that waited get its error instead of a
    try each, so a service that hangs holds a thread once, not once for each thread in turn.
    """

    def __init__(self, load: Callable[[], V], ttl: float, clock: Clock) -> None:
        self._load = load
        self._ttl = ttl
        self._clock = clock
        self._lock = threading.Lock()
        self._held: tuple[float, V] | None = None
        self._last: V | None = None
        self._failures = 0
        self._error = CloudError("nothing was loaded yet")

    def get(self) -> V:
        """The value. Raises what `load` raises."""
        failures = self._failures
        with self._lock:
            if failures != self._failures:
                raise copy.copy(self._error)
            now = self._clock.monotonic()
            if self._held is None or now - self._held[0] > self._ttl:
                self._held = (now, self._loaded())
            return self._held[1]

    def last(self) -> V | None:
        """The value as last loaded, however old; None if it never was."""
        return self._last

    def drop(self) -> None:
        """The next `get` loads again."""
        with self._lock:
            self._held = None

    def _loaded(self) -> V:
        try:
            self._last = value = self._load()
        except CloudError as error:
            self._failures += 1
            self._error = error
            raise
        return value
