"""`max-parallel-uploads` of a whole builder: so many uploads at once, and each provider gets its turn."""

from __future__ import annotations

import threading
from collections.abc import Callable


class UploadSlots:
    """Thread-safe. `limit` is asked each time, 0: none. `wake` is called with a provider whose turn has come."""

    def __init__(self, limit: Callable[[], int], wake: Callable[[str], None]) -> None:
        self._limit = limit
        self._wake = wake
        self._lock = threading.Lock()
        self._used = 0
        self._waiting: dict[str, None] = {}  # providers in order of asking

    def take(self, provider: str) -> bool:
        """Whether the provider may begin an upload. If not it is told when it may ask again, in its turn."""
        limit = self._limit()
        with self._lock:
            self._waiting.setdefault(provider)
            if limit > 0 and list(self._waiting).index(provider) >= limit - self._used:
                return False
            del self._waiting[provider]
            self._used += 1
            return True

    def give(self) -> None:
        """An upload has ended."""
        with self._lock:
            self._used -= 1
        self._call_next()

    def forgo(self, provider: str) -> None:
        """It has nothing to upload any more: the turn is the next one's."""
        with self._lock:
            if provider not in self._waiting:
                return
            del self._waiting[provider]
        self._call_next()

    def _call_next(self) -> None:
        limit = self._limit()
        with self._lock:
            turns = list(self._waiting)[: max(0, limit - self._used) if limit > 0 else None]
        for provider in turns:
            self._wake(provider)
