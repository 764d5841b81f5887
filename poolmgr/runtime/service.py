"""One thread that runs a loop of its own, a server's, until it is told to end."""

from __future__ import annotations

import threading
from collections.abc import Callable


class ServiceThread:
    """Runs `serve`, which returns some time after `end` was called. Neither may be used twice."""

    def __init__(self, name: str, serve: Callable[[], None], end: Callable[[], None]) -> None:
        self._end = end
        self._thread = threading.Thread(target=serve, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def stop(self, timeout: float) -> bool:
        """Whether it has ended within `timeout` seconds."""
        self._end()
        self._thread.join(max(0.0, timeout))
        return not self._thread.is_alive()
