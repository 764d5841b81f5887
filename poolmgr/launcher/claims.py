"""Which of this process's workers is at which request.

The request lock in the store decides between processes. Between the workers of one process it would cost two
write transactions for each loser, so they ask here first.
"""

from __future__ import annotations

import threading


class Claims:
    """Request ids in hand, shared by all workers of a process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ids: set[str] = set()

    def claim(self, request_id: str) -> bool:
        """Whether the caller has it now; it must `release` it."""
        with self._lock:
            if request_id in self._ids:
                return False
            self._ids.add(request_id)
            return True

    def release(self, request_id: str) -> None:
        with self._lock:
            self._ids.discard(request_id)

    def __contains__(self, request_id: str) -> bool:
        with self._lock:
            return request_id in self._ids
