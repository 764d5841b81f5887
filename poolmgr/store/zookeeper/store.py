"""The store that all launchers, builders and Zuul share."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from poolmgr.errors import ConfigError
from poolmgr.runtime.clock import Clock, SystemClock
from poolmgr.store.tree_store import TreeStore
from poolmgr.store.zookeeper.session import ZooKeeperSession
from poolmgr.store.zookeeper.sockets import Handler, TlsFiles, tls_context

log = logging.getLogger(__name__)

#: Seconds between the lines that say that there is no connection yet (zookeeper.md 1).
_LOG_EVERY = 10.0
#: Seconds between looks at whether to give up.
_LOOK_EVERY = 0.1


class ZooKeeperStore(TreeStore):
    """A `store.api.Store`.

    `hosts` is `host:port,...` with an optional chroot at its end. `timeout` is the session's, in seconds.
    `tls` None is plaintext. Raises ConfigError for TLS files that cannot be used.
    """

    def __init__(
        self,
        hosts: str,
        *,
        timeout: float = 10.0,
        tls: TlsFiles | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._hosts = hosts
        self._clock = clock or SystemClock()
        # One server that does not answer must leave time for another before the session is over.
        handler = Handler(tls_context(tls) if tls else None, connect_timeout=max(1.0, timeout / 3))
        self._zookeeper = ZooKeeperSession(hosts, timeout=timeout, handler=handler, clock=self._clock)
        super().__init__(self._zookeeper, clock=self._clock)

    def start(self, *, stop: Callable[[], bool] = lambda: False) -> None:
        self._zookeeper.open(self)
        log_at = self._clock.monotonic() + _LOG_EVERY
        pause = threading.Event()
        while not self.connected and not stop():
            self._clock.wait(pause, _LOOK_EVERY)
            if self._clock.monotonic() >= log_at:
                log_at += _LOG_EVERY
                log.warning("no connection to ZooKeeper at %s yet: %s", self._hosts, self._zookeeper.trouble)

    def close(self) -> None:
        self._zookeeper.close()
        self.suspended()
        self.lost()

    def set_hosts(self, hosts: str) -> None:
        """Go over to these servers, keeping the session. Raises ConfigError if the chroot differs."""
        try:
            self._zookeeper.set_hosts(hosts)
        except ValueError as error:
            raise ConfigError(
                f"zookeeper-servers: the chroot cannot change while running: {error}"
            ) from error
        self._hosts = hosts
