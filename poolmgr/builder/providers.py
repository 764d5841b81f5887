"""The clouds of one builder: a connection for each provider, kept as long as its settings stay the same.

A connection that is replaced or not wanted any more takes nothing new from then on, and is closed once no upload runs
over it: the upload of a provider that a reload has changed in its middle is not cut off.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from poolmgr.builder.context import ImageProvider
from poolmgr.config.settings import OpenStackProvider, Settings
from poolmgr.errors import ConfigError, PoolmgrError
from poolmgr.runtime.clock import Clock

log = logging.getLogger(__name__)

#: A provider without connection (its cloud is not in clouds.yaml, say) is tried again so often, in seconds.
START_RETRY = 30.0


@dataclass(frozen=True, kw_only=True)
class Connection:
    """A provider's cloud as it was opened. `identity`: what it was opened by; the same again needs no new one."""

    provider: ImageProvider
    identity: object
    close: Callable[[], None]


#: What identifies the connection that a provider should have, and how to open it; raises ConfigError.
Opener = Callable[[OpenStackProvider], tuple[object, Callable[[], Connection]]]
#: The same for a cloud of clouds.yaml and a region that no provider of the configuration names.
StrayOpener = Callable[[str, str | None], Connection]


class ProviderSet:
    """Thread-safe. `apply`, `tick` and `close` are called by one thread at a time.

    `uploads` tells the paths of the uploads that run in this process.
    """

    def __init__(
        self, clock: Clock, *, opener: Opener, stray: StrayOpener, uploads: Callable[[], Collection[str]]
    ) -> None:
        self._clock = clock
        self._opener = opener
        self._open_stray = stray
        self._uploads = uploads
        self._lock = threading.Lock()  # of all below
        self._settings = Settings()
        self._open: dict[str, Connection] = {}
        self._current: Mapping[str, ImageProvider] = {}
        self._failed: dict[str, str] = {}
        self._strays: dict[tuple[str, str | None], Connection | None] = {}
        self._retired: list[Connection] = []
        self._retry_at = float("inf")

    def current(self) -> Mapping[str, ImageProvider]:
        """By name, those that have a connection; it has not been used yet, perhaps."""
        return self._current

    @property
    def failed(self) -> Mapping[str, str]:
        """By name, why a provider has no connection as configured."""
        with self._lock:
            return dict(self._failed)

    def stray(self, cloud: str, region: str | None) -> ImageProvider | None:
        """A connection to a cloud that an old record names; None if clouds.yaml does not know it."""
        with self._lock:
            for connection in self._open.values():
                if (connection.provider.cloud, connection.provider.region) == (cloud, region):
                    return connection.provider
            if (cloud, region) not in self._strays:
                self._strays[cloud, region] = self._opened_stray(cloud, region)
            found = self._strays[cloud, region]
        return found.provider if found else None

    def apply(self, settings: Settings) -> bool:
        """Open and retire what `settings` changes; whether any provider came, went or was opened anew."""
        with self._lock:
            self._settings = settings
            wanted = {p.name: p for p in settings.providers.values() if isinstance(p, OpenStackProvider)}
            before = dict(self._open)
            for name in [name for name in self._open if name not in wanted]:
                log.info("provider %s: removed from the configuration", name)
                self._retire(self._open.pop(name))
            for connection in filter(None, self._strays.values()):  # clouds.yaml may say something else now
                self._retire(connection)
            self._strays.clear()
            self._failed = {name: why for name, why in self._failed.items() if name in wanted}
            self._retry_at = float("inf")
            for provider in wanted.values():
                self._apply_one(provider)
            return self._publish(before)

    def tick(self) -> bool:
        """Called about once a second: tries again what failed. Whether any provider came."""
        with self._lock:
            self._close_idle()
            if self._clock.monotonic() < self._retry_at:
                return False
            self._retry_at = float("inf")
            before = dict(self._open)
            for name in list(self._failed):
                provider = self._settings.providers.get(name)
                if isinstance(provider, OpenStackProvider):
                    self._apply_one(provider)
            return self._publish(before)

    def close(self) -> None:
        """Close all connections, whatever still runs over them. Never raises."""
        with self._lock:
            connections = [*self._open.values(), *filter(None, self._strays.values())]
            self._open, self._current = {}, {}
            self._strays.clear()
            for connection in connections:
                self._retire(connection)
            for connection in self._retired:
                connection.close()
            self._retired.clear()

    def _apply_one(self, provider: OpenStackProvider) -> None:
        name = provider.name
        try:
            identity, opened = self._opener(provider)
            current = self._open.get(name)
            if current is not None and current.identity == identity:
                self._failed.pop(name, None)
                return
            connection = opened()
        except PoolmgrError as error:
            self._note_failure(name, str(error))
            return
        if current is not None:
            log.info("provider %s: its connection settings changed", name)
            self._retire(current)
        self._failed.pop(name, None)
        self._open[name] = connection

    def _note_failure(self, name: str, why: str) -> None:
        if self._failed.get(name) != why:
            goes_on = " as configured; it goes on with its old settings" if name in self._open else ""
            log.error("provider %s cannot be served%s: %s", name, goes_on, why)
        self._failed[name] = why
        self._retry_at = self._clock.monotonic() + START_RETRY

    def _opened_stray(self, cloud: str, region: str | None) -> Connection | None:
        try:
            return self._open_stray(cloud, region)
        except ConfigError as error:
            log.warning("Records name cloud %s, which cannot be used: %s", cloud, error)
            return None

    def _publish(self, before: Mapping[str, Connection]) -> bool:
        if self._open == before:
            return False
        self._current = MappingProxyType({name: c.provider for name, c in self._open.items()})
        return True

    def _retire(self, connection: Connection) -> None:
        connection.provider.uploads.stop()
        connection.provider.deletions.stop()
        self._retired.append(connection)

    def _close_idle(self) -> None:
        busy = {path.split("/providers/")[-1].partition("/")[0] for path in self._uploads()}
        for connection in [c for c in self._retired if c.provider.name not in busy]:
            self._retired.remove(connection)
            connection.close()
