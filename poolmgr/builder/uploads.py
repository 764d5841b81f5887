"""All uploads of one builder: a worker for each provider, what they share between them, and their start and stop."""

from __future__ import annotations

import threading

from poolmgr.builder.context import Parts
from poolmgr.builder.files import ImageFiles
from poolmgr.builder.upload_queue import ProviderUploads
from poolmgr.builder.upload_slots import UploadSlots
from poolmgr.runtime.pace import Pace


class Uploads:
    """`apply` has to follow each change of the settings or of the providers."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._files = ImageFiles(
            parts.images_dir, deployment=parts.identity.deployment, builder_id=parts.identity.id
        )
        self._slots = UploadSlots(lambda: parts.settings().max_parallel_uploads, self._wake_one)
        self._pace = Pace(lambda: parts.settings().upload_rate_limit, parts.clock)
        self._lock = threading.Lock()  # of what follows
        self._providers: dict[str, ProviderUploads] = {}
        self._started = self._stopped = False

    def start(self) -> None:
        with self._lock:
            self._started = True
        self.apply()

    def apply(self) -> None:
        """Make the workers those of the providers in force."""
        wanted = self._parts.providers()
        with self._lock:
            if not self._started or self._stopped:
                return
            gone = [one for name, one in self._providers.items() if name not in wanted and one.idle]
            for one in gone:
                del self._providers[one.name]
            new = [name for name in wanted if name not in self._providers]
            for name in new:
                self._providers[name] = self._made(name)
                self._providers[name].start()
        for one in gone:
            one.drain()
        self.wake()

    def wake(self) -> None:
        """Something has changed."""
        for one in self._all():
            one.wake()

    def stop(self, timeout: float) -> bool:
        """End everything; whether it has within `timeout` seconds."""
        with self._lock:
            self._stopped = True
        deadline = self._parts.clock.monotonic() + timeout
        for one in self._all():
            one.drain()
        ended = [one.stop(max(0.0, deadline - self._parts.clock.monotonic())) for one in self._all()]
        return all(ended)

    def describe(self) -> str:
        return "\n".join(one.describe() for one in self._all()) or "uploads: no provider"

    def stalled(self, now: float) -> str | None:
        """Why some worker seems stuck; `now` in monotonic seconds."""
        return next((why for one in self._all() if (why := one.stalled(now))), None)

    def _made(self, name: str) -> ProviderUploads:
        return ProviderUploads(self._parts, name, self._files, self._slots, self._pace)

    def _wake_one(self, name: str) -> None:
        with self._lock:
            one = self._providers.get(name)
        if one is not None:
            one.wake()

    def _all(self) -> list[ProviderUploads]:
        with self._lock:
            return list(self._providers.values())
