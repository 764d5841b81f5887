"""A whole launcher."""

from __future__ import annotations

import logging
import os
import random
import socket
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from poolmgr.cloud.resolve import address_of
from poolmgr.config.settings import OpenStackProvider, Provider, Settings
from poolmgr.launcher.claims import Claims
from poolmgr.launcher.context import Parts, ProviderParts
from poolmgr.launcher.fleet import Fleet, Names
from poolmgr.launcher.static.context import StaticParts
from poolmgr.observe.board import Board
from poolmgr.observe.ledger import Ledger
from poolmgr.observe.stats import Stats, stats_from
from poolmgr.policy.tuning import Tuning
from poolmgr.runtime.clock import SystemClock
from poolmgr.runtime.executor import ThreadExecutor
from poolmgr.runtime.signals import stacks
from poolmgr.runtime.worker import Worker
from poolmgr.store.api import Store
from poolmgr.wiring.clouds import Connections, cloud_settings
from poolmgr.wiring.configuration import (
    REPORT_INTERVAL,
    WATCH_INTERVAL,
    Configuration,
    ReloadFacts,
    RestartKeys,
    follow_zookeeper,
)
from poolmgr.wiring.ending import close_all
from poolmgr.wiring.identity import new_id
from poolmgr.wiring.store import open_store
from poolmgr.wiring.web import DaemonSource, serve_web

if TYPE_CHECKING:
    from poolmgr.web.server import WebServer

log = logging.getLogger(__name__)

#: The part of the time for a stop that is the fleet's; the rest is for the web server and for the end of the session.
FLEET_SHARE = 0.8
#: Keys of a changed file that count only from the next start on; see `configuration.restart_needed`.
RESTART_KEYS = (
    "zookeeper-tls",
    "zookeeper-timeout",
    "zookeeper-servers: chroot",
    "webapp",
    "statsd-escape",
)


class LauncherDaemon:
    """A whole launcher in this process: configuration, store, workers.

    `start` and `stop` are called from the main thread. `store` None: as the configuration says.
    `webapp`: serve tables and health over HTTP.
    """

    def __init__(
        self,
        config_path: str,
        secure_path: str | None = None,
        *,
        webapp: bool = False,
        store: Store | None = None,
        environ: Mapping[str, str] = os.environ,
        tuning: Tuning | None = None,
    ) -> None:
        self._environ = environ
        self._tuning = tuning or Tuning()
        self._clock = SystemClock()
        self._store = store
        self._claims = Claims()
        self._fleet: Fleet | None = None
        self._stats: Stats | None = None
        self._board = Board()  # what /metrics shows
        self._ledger = Ledger(self._clock)
        self._webapp = webapp
        self._web: WebServer | None = None
        self._settings = Settings()
        self._deployment = ""
        self._running = threading.Event()
        self._stopping = threading.Event()
        self._lock = threading.Lock()  # the fleet is changed by one thread at a time
        self._configuration = Configuration(config_path, secure_path, environ, self._clock)
        self._restart_keys = RestartKeys(self._settings, RESTART_KEYS)
        self._reload_wanted = threading.Event()
        self._next_report = 0.0
        self._watcher = Worker("watcher", self._watch, self._clock, retry_after=WATCH_INTERVAL)

    def start(self) -> None:
        """Load, connect and start everything; returns when it runs, or when `stop` was called meanwhile.

        Raises ConfigError. Waits for a ZooKeeper that is away.
        """
        settings = self._settings = self._configuration.read()
        self._ledger.follow(settings.ledger)
        self._restart_keys = RestartKeys(settings, RESTART_KEYS)
        self._stats = stats_from(
            self._environ, escape_all=settings.statsd_escape, clock=self._clock, sinks=[self._board]
        )
        if self._store is None:
            self._store = open_store(settings)
        if self._webapp:
            self._web = self._serve_web(self._store)
        self._store.start(stop=self._stopping.is_set)
        if self._stopping.is_set():
            return
        self._deployment = self._store.deployment()
        self._fleet = Fleet(
            self._store,
            self._stats,
            self._clock,
            self._tuning,
            names=Names(hostname=socket.gethostname(), fqdn=socket.getfqdn(), pid=os.getpid()),
            claims=self._claims,
            new_id=new_id,
            parts_for=self._parts_for,
        )
        with self._lock:
            self._fleet.start(settings)
        self._watcher.start()
        self._running.set()

    def interrupt(self) -> None:
        """Make `start` return soon if it is waiting; from any thread. `stop` has to follow."""
        self._stopping.set()

    def stop(self, timeout: float) -> bool:
        """Stop taking work, finish or hand back what is in hand, release and close. Whether all went in time."""
        self._stopping.set()
        self._running.clear()
        self._watcher.stop()
        clean = self._watcher.join(2.0)
        if self._fleet is not None:
            with self._lock:
                clean = self._fleet.stop(timeout * FLEET_SHARE) and clean
        return close_all(self._web, self._store, self._stats) and clean

    def hurry(self) -> None:
        """Have a `stop` that is under way hand back what is in hand; from any thread."""
        fleet = self._fleet
        if fleet is not None:
            fleet.hurry()

    def reload(self) -> None:
        """Have the files read, soon; from any thread. A bad one changes nothing, and is complained about once."""
        self._reload_wanted.set()
        self._watcher.wake.set()

    def _reload_now(self) -> None:
        self._reload_wanted.clear()
        with self._lock:
            if self._fleet is None or self._stopping.is_set():
                return
            settings = self._configuration.read_again()
            self._next_report = 0.0
            if settings is not None:
                assert self._store is not None  # the fleet has it
                follow_zookeeper(self._store, self._settings, settings)
                self._settings = settings
                self._ledger.follow(settings.ledger)
                self._fleet.apply(settings)
                log.info("configuration loaded from %s", self._configuration.path)
                self._restart_keys.look(settings)

    def dump(self) -> str:
        """The state of each worker and the stack of each thread, as text."""
        fleet = self._fleet.describe() if self._fleet else "not started"
        return f"{fleet}\n{self._configuration.facts.text()}\n{stacks()}"

    @property
    def reload_facts(self) -> ReloadFacts:
        """Which configuration counts, and whether the last attempt to read another failed. From any thread."""
        return self._configuration.facts

    def ready(self) -> str | None:
        """Why no requests are served now, None if they are. From any thread."""
        if self._fleet is None or not self._running.is_set():
            return "starting or stopping"
        if self._configuration.facts.failed:
            return self._configuration.facts.text()
        return self._fleet.ready()

    def live(self) -> str | None:
        """Why it had better be started anew, None if not. From any thread."""
        return self._fleet.live() if self._fleet and self._running.is_set() else None

    def _serve_web(self, store: Store) -> WebServer | None:
        source = DaemonSource(
            store=store,
            settings_in_force=lambda: self._settings,
            ready=self.ready,
            live=self.live,
            board=self._board,
            ledger=self._ledger,
        )
        place = self._settings.webapp
        return serve_web(source, self._clock, place, fqdn=socket.getfqdn(), setting="webapp")

    def _watch(self) -> float:
        if self._configuration.changed() or self._reload_wanted.is_set():
            self._reload_now()
        self._report()
        return WATCH_INTERVAL

    def _report(self) -> None:
        now = self._clock.monotonic()
        if self._stats is not None and now >= self._next_report:
            self._next_report = now + REPORT_INTERVAL
            facts, hostname = self._configuration.facts, socket.gethostname()
            self._stats.reload_failed("launcher", hostname, facts.failed)
            self._stats.configuration("launcher", hostname, facts.digest)

    def _parts_for(self, provider: Provider) -> tuple[object, Callable[[], ProviderParts]]:
        """What identifies how the provider is connected to, and how to make that. Raises ConfigError."""
        if isinstance(provider, OpenStackProvider):
            return self._cloud_parts_for(provider)

        def make() -> StaticParts:
            return StaticParts(
                resolve=address_of,
                **self._common_parts(),
                probes=self._probes(provider, self._tuning.static_threads),
            )

        return "static", make

    def _cloud_parts_for(self, provider: OpenStackProvider) -> tuple[object, Callable[[], Parts]]:
        settings = cloud_settings(provider, self._configuration.clouds)
        tuning = self._tuning
        assert self._stats is not None
        connections = Connections(
            clock=self._clock, environ=self._environ, deployment=self._deployment, stats=self._stats
        )

        def make() -> Parts:
            return Parts(
                cloud=connections.open(
                    provider.name,
                    settings,
                    region=provider.region_name,
                    rate=provider.rate,
                    pool_size=tuning.api_threads + 2,
                ),
                api=ThreadExecutor(f"api-{provider.name}", tuning.api_threads),
                ledger=self._ledger,
                probes=self._probes(provider, tuning.probe_threads),
                **self._common_parts(),
            )

        return (settings, provider.rate), make

    def _probes(self, provider: Provider, threads: int) -> ThreadExecutor:
        return ThreadExecutor(f"probe-{provider.name}", threads)

    def _common_parts(self) -> dict[str, Any]:
        from poolmgr.cloud.probe import SshProber  # loads paramiko

        return {
            "store": self._store,
            "prober": SshProber(self._clock),
            "clock": self._clock,
            "stats": self._stats,
            "rng": random.Random(),
            "new_id": new_id,
            "deployment": self._deployment,
            "hostname": socket.gethostname(),
            "fqdn": socket.getfqdn(),
            "claims": self._claims,
        }
