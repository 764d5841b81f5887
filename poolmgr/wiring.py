"""The only place that picks real parts and joins them."""

from __future__ import annotations

import logging
import os
import random
import socket
import threading
import uuid
from collections.abc import Callable, Mapping

from poolmgr.cloud.vendor import VendorProfiles
from poolmgr.config.clouds import Clouds, load_clouds
from poolmgr.config.load import load
from poolmgr.config.settings import OpenStackProvider, Settings
from poolmgr.config.watch import Watched
from poolmgr.errors import ConfigError
from poolmgr.launcher.claims import Claims
from poolmgr.launcher.context import Parts
from poolmgr.launcher.fleet import Fleet, Names
from poolmgr.observe.api_name import ApiCall, api_prefix
from poolmgr.observe.stats import Stats, stats_from
from poolmgr.policy.tuning import Tuning
from poolmgr.runtime.clock import SystemClock
from poolmgr.runtime.executor import ThreadExecutor
from poolmgr.runtime.signals import stacks
from poolmgr.runtime.worker import Worker
from poolmgr.store.api import Store
from poolmgr.store.zookeeper import TlsFiles, ZooKeeperStore

log = logging.getLogger(__name__)

#: Seconds between looks at the configuration files, and at providers that could not be started.
WATCH_INTERVAL = 1.0


def open_store(settings: Settings) -> Store:
    """The store that `settings` name, not started yet."""
    zookeeper = settings.zookeeper
    tls = zookeeper.tls
    return ZooKeeperStore(
        zookeeper.hosts,
        timeout=zookeeper.timeout,
        tls=TlsFiles(cert=tls.cert, key=tls.key, ca=tls.ca) if tls else None,
    )


def new_id() -> str:
    return uuid.uuid4().hex


class LauncherDaemon:
    """A whole launcher in this process: configuration, store, workers.

    `start`, `stop`, `reload` and `dump` are called from the main thread. `store` None: as the configuration says.
    """

    def __init__(
        self,
        config_path: str,
        secure_path: str | None = None,
        *,
        store: Store | None = None,
        environ: Mapping[str, str] = os.environ,
        tuning: Tuning | None = None,
    ) -> None:
        self._config_path = config_path
        self._secure_path = secure_path
        self._environ = environ
        self._tuning = tuning or Tuning()
        self._clock = SystemClock()
        self._store = store
        self._claims = Claims()
        self._clouds: Clouds | None = None
        self._fleet: Fleet | None = None
        self._stats: Stats | None = None
        self._deployment = ""
        self._stopping = threading.Event()
        self._lock = threading.Lock()  # the fleet is changed by one thread at a time
        paths = [config_path, *([secure_path] if secure_path else [])]
        self._watched = Watched(paths)
        self._watcher = Worker("watcher", self._watch, self._clock, retry_after=WATCH_INTERVAL)

    def start(self) -> None:
        """Load, connect and start everything; returns when it runs, or when `stop` was called meanwhile.

        Raises ConfigError. Waits for a ZooKeeper that is away.
        """
        settings = self._load()
        self._stats = stats_from(self._environ, escape_all=settings.statsd_escape, clock=self._clock)
        if self._store is None:
            self._store = open_store(settings)
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

    def interrupt(self) -> None:
        """Make `start` return soon if it is waiting; from any thread. `stop` has to follow."""
        self._stopping.set()

    def stop(self, timeout: float) -> bool:
        """Stop taking work, finish or hand back what is in hand, release and close. Whether all went in time."""
        self._stopping.set()
        self._watcher.stop()
        clean = self._watcher.join(2.0)
        if self._fleet is not None:
            with self._lock:
                clean = self._fleet.stop(timeout) and clean
        if self._store is not None:
            self._store.close()
        if self._stats is not None:
            self._stats.close()
        return clean

    def reload(self) -> None:
        """Read the files now. A bad one changes nothing, and is complained about once."""
        with self._lock:
            if self._fleet is None or self._stopping.is_set():
                return
            try:
                settings = self._load()
            except ConfigError as error:
                log.error("the configuration is unusable, the old one stays in force:")
                for problem in error.problems:
                    log.error("  %s", problem)
                return
            self._fleet.apply(settings)
            log.info("configuration loaded from %s", self._config_path)

    def dump(self) -> str:
        """The state of each worker and the stack of each thread, as text."""
        fleet = self._fleet.describe() if self._fleet else "not started"
        return f"{fleet}\n{stacks()}"

    def _watch(self) -> float:
        if self._watched.changed():
            self.reload()
        with self._lock:
            if self._fleet is not None and not self._stopping.is_set():
                self._fleet.tick()
        return WATCH_INTERVAL

    def _load(self) -> Settings:
        loaded = load(self._config_path, secure=self._secure_path, environ=self._environ, check_clouds=False)
        self._clouds = load_clouds(
            environ=self._environ,
            paths=loaded.settings.clouds_files or None,
            remote=VendorProfiles(self._clock, self._environ),
        )
        for warning in (*loaded.warnings, *self._clouds.warnings):
            log.warning("%s", warning)
        return loaded.settings

    def _parts_for(self, provider: OpenStackProvider) -> tuple[object, Callable[[], Parts]]:
        """What identifies the provider's connection to its cloud, and how to make it. Raises ConfigError."""
        from poolmgr.cloud.openstack import (
            OpenStackCloud,
        )  # a second to load: not for commands that only read
        from poolmgr.cloud.probe import SshProber

        assert self._clouds is not None
        assert self._store is not None
        assert self._stats is not None
        if not provider.cloud:
            raise ConfigError(f"provider {provider.name} names no cloud (key `cloud`) of clouds.yaml")
        cloud_settings = self._clouds.get(provider.cloud, provider.region_name)
        store, stats = self._store, self._stats
        prefix = api_prefix(cloud_settings.statsd_prefix, self._environ, provider=provider.name)

        def make() -> Parts:
            def on_call(call: ApiCall) -> None:
                stats.api_call(prefix, call)

            return Parts(
                store=store,
                cloud=OpenStackCloud(
                    provider.name,
                    cloud_settings,
                    region=provider.region_name,
                    rate=provider.rate,
                    clock=self._clock,
                    deployment=self._deployment,
                    on_call=on_call,
                    pool_size=self._tuning.api_threads + 2,
                ),
                prober=SshProber(self._clock),
                clock=self._clock,
                stats=stats,
                api=ThreadExecutor(f"api-{provider.name}", self._tuning.api_threads),
                probes=ThreadExecutor(f"probe-{provider.name}", self._tuning.probe_threads),
                rng=random.Random(),
                new_id=new_id,
                deployment=self._deployment,
                hostname=socket.gethostname(),
                fqdn=socket.getfqdn(),
                claims=self._claims,
            )

        return (cloud_settings, provider.rate), make
