"""A whole builder."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from poolmgr.builder.builder_id import read_builder_id
from poolmgr.builder.builds import Builds
from poolmgr.builder.context import Activity, Identity, Parts
from poolmgr.builder.crew import Crew
from poolmgr.builder.images_dir import ImagesDirLock, images_dir_of
from poolmgr.builder.janitor import Janitor
from poolmgr.builder.providers import ProviderSet
from poolmgr.builder.uploads import Uploads
from poolmgr.config.settings import Settings, WebApp
from poolmgr.observe.board import Board
from poolmgr.observe.stats import Stats, stats_from
from poolmgr.policy.image_tuning import ImageTuning
from poolmgr.runtime.clock import SystemClock
from poolmgr.runtime.signals import stacks
from poolmgr.runtime.worker import Worker
from poolmgr.store.api import Store
from poolmgr.wiring.clouds import Connections
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
from poolmgr.wiring.image_clouds import ImageClouds
from poolmgr.wiring.store import open_store
from poolmgr.wiring.web import DaemonSource, serve_web

if TYPE_CHECKING:
    from poolmgr.web.server import WebServer

log = logging.getLogger(__name__)

#: As in `wiring.launcher`; `images-dir` is kept as it was by `BuilderDaemon` itself.
RESTART_KEYS = (
    "zookeeper-tls",
    "zookeeper-timeout",
    "zookeeper-servers: chroot",
    "builder-webapp",
    "statsd-escape",
)


class BuilderDaemon:
    """A whole builder in this process: configuration, images directory, store, connections, workers, web server.

    `start` and `stop` are called from the main thread. `store` None: as the configuration says.
    `upload_workers` goes for a configuration without `max-parallel-uploads`; None: no limit then.
    """

    def __init__(
        self,
        config_path: str,
        secure_path: str | None = None,
        *,
        build_workers: int = 1,
        upload_workers: int | None = None,
        webapp: bool = False,
        store: Store | None = None,
        environ: Mapping[str, str] = os.environ,
        tuning: ImageTuning | None = None,
    ) -> None:
        self._build_workers = build_workers
        self._upload_workers = upload_workers
        self._webapp = webapp
        self._environ = environ
        self._tuning = tuning or ImageTuning()
        self._clock = SystemClock()
        self._activity = Activity()
        self._fqdn = socket.getfqdn()
        self._settings = Settings()  # those in force; replaced as a whole
        self._store = store
        self._directory: ImagesDirLock | None = None
        self._stats: Stats | None = None
        self._board = Board()  # what /metrics shows
        self._web: WebServer | None = None
        self._providers: ProviderSet | None = None
        self._crew: Crew | None = None
        self._stopping = threading.Event()
        self._lock = threading.Lock()  # settings and providers are changed by one thread at a time
        self._configuration = Configuration(config_path, secure_path, environ, self._clock, builder=True)
        self._restart_keys = RestartKeys(self._settings, RESTART_KEYS)
        self._reload_wanted = threading.Event()
        self._next_report = 0.0
        self._watcher = Worker("watcher", self._watch, self._clock, retry_after=WATCH_INTERVAL)

    def start(self) -> None:
        """Load, connect and start everything; returns when it runs, or when `stop` was called meanwhile.

        Raises ConfigError. Waits for a ZooKeeper that is away.
        """
        settings = self._settings = self._with_options(self._configuration.read())
        self._restart_keys = RestartKeys(settings, RESTART_KEYS)
        directory = images_dir_of(settings)
        self._directory = ImagesDirLock(directory)
        builder_id = read_builder_id(directory, new_id)
        stats = self._stats = stats_from(
            self._environ, escape_all=settings.statsd_escape, clock=self._clock, sinks=[self._board]
        )
        store = self._store = self._store or open_store(settings)
        url = self._serve_web(store) if self._webapp else None
        store.start(stop=self._stopping.is_set)
        if self._stopping.is_set():
            return
        identity = Identity(
            id=builder_id,
            hostname=socket.gethostname(),
            fqdn=self._fqdn,
            deployment=store.deployment(),
            url=url,
        )
        with self._lock:
            providers = self._providers = self._provider_set(stats, identity.deployment)
            providers.apply(settings)
            self._crew = self._crew_of(self._parts(store, stats, identity, providers))
            self._crew.start()
        self._watcher.start()

    def interrupt(self) -> None:
        """Make `start` return soon if it is waiting; from any thread. `stop` has to follow."""
        self._stopping.set()

    def stop(self, timeout: float) -> bool:
        """End builds and uploads, tidy up, release and close; whether all went in time.

        The images directory is given up last: who comes next finds nobody at work there.
        """
        self._stopping.set()
        self._watcher.stop()
        clean = self._watcher.join(2.0)
        with self._lock:
            if self._crew is not None:
                clean = self._crew.stop(timeout) and clean
            if self._providers is not None:
                self._providers.close()
        clean = close_all(self._web, self._store, self._stats) and clean
        if self._directory is not None:
            self._directory.release()
        return clean

    def hurry(self) -> None:
        """Nothing is finished at a stop anyway: builds are ended, uploads broken off."""

    def reload(self) -> None:
        """Have the files read, soon; from any thread. A bad one changes nothing, and is complained about once."""
        self._reload_wanted.set()
        self._watcher.wake.set()

    def _reload_now(self) -> None:
        self._reload_wanted.clear()
        with self._lock:
            if self._crew is None or self._providers is None or self._stopping.is_set():
                return
            settings = self._configuration.read_again()
            self._next_report = 0.0
            if settings is None:
                return
            assert self._store is not None  # the crew has it
            follow_zookeeper(self._store, self._settings, settings)
            self._settings = self._with_options(self._with_old_place(settings))
            self._crew.apply(providers=self._providers.apply(self._settings))
            log.info("configuration loaded from %s", self._configuration.path)
            self._restart_keys.look(settings)

    def dump(self) -> str:
        """The state of each worker and the stack of each thread, as text."""
        crew = self._crew.describe() if self._crew else "not started"
        return f"{crew}\n{self._configuration.facts.text()}\n{stacks()}"

    @property
    def reload_facts(self) -> ReloadFacts:
        """Which configuration counts, and whether the last attempt to read another failed. From any thread."""
        return self._configuration.facts

    def ready(self) -> str | None:
        """Why images are not taken care of now, None if they are. From any thread."""
        crew, providers = self._crew, self._providers
        if crew is None or providers is None or self._stopping.is_set():
            return "starting or stopping"
        if self._configuration.facts.failed:
            return self._configuration.facts.text()
        if providers.failed and not providers.current():
            return "no provider can be served: " + "; ".join(providers.failed.values())
        return self._images_dir_trouble() or crew.ready()

    def live(self) -> str | None:
        """Why it had better be started anew, None if not. From any thread."""
        return self._crew.live() if self._crew and not self._stopping.is_set() else None

    def _watch(self) -> float:
        if self._configuration.changed() or self._reload_wanted.is_set():
            self._reload_now()
        self._report()
        with self._lock:
            if self._crew and self._providers and not self._stopping.is_set() and self._providers.tick():
                self._crew.apply(providers=True)
        return WATCH_INTERVAL

    def _report(self) -> None:
        now = self._clock.monotonic()
        if self._stats is not None and now >= self._next_report:
            self._next_report = now + REPORT_INTERVAL
            facts, hostname = self._configuration.facts, socket.gethostname()
            self._stats.reload_failed("builder", hostname, facts.failed)
            self._stats.configuration("builder", hostname, facts.digest)

    # Settings

    def _with_options(self, settings: Settings) -> Settings:
        if self._upload_workers is None or settings.max_parallel_uploads:
            return settings
        return replace(settings, max_parallel_uploads=self._upload_workers)

    def _with_old_place(self, settings: Settings) -> Settings:
        """Markers, files and the lock are where they are: another directory takes a restart."""
        if settings.images_dir != self._settings.images_dir:
            log.warning(
                "images-dir is %s until the builder is started anew, not %s",
                self._settings.images_dir,
                settings.images_dir,
            )
        return replace(settings, images_dir=self._settings.images_dir)

    # Parts

    def _images_dir_trouble(self) -> str | None:
        return self._directory.trouble() if self._directory else None

    def _provider_set(self, stats: Stats, deployment: str) -> ProviderSet:
        connections = Connections(
            clock=self._clock, environ=self._environ, deployment=deployment, stats=stats
        )
        clouds = ImageClouds(connections, lambda: self._configuration.clouds)
        return ProviderSet(
            self._clock, opener=clouds.opener, stray=clouds.stray, uploads=lambda: self._activity.uploads
        )

    def _parts(self, store: Store, stats: Stats, identity: Identity, providers: ProviderSet) -> Parts:
        return Parts(
            store=store,
            stats=stats,
            clock=self._clock,
            tuning=self._tuning,
            identity=identity,
            new_id=new_id,
            settings=lambda: self._settings,
            images_dir_trouble=self._images_dir_trouble,
            providers=providers.current,
            stray_provider=providers.stray,
            activity=self._activity,
        )

    def _crew_of(self, parts: Parts) -> Crew:
        return Crew(
            parts,
            builds=Builds(parts, self._build_workers, environ=self._environ),
            uploads=Uploads(parts),
            janitor=Janitor(parts),
            build_workers=self._build_workers,
        )

    def _serve_web(self, store: Store) -> str | None:
        """The URL of the web server; None where the usual port is taken and no other was asked for."""
        source = DaemonSource(
            store=store,
            settings_in_force=lambda: self._settings,
            ready=self.ready,
            live=self.live,
            board=self._board,
            builds=True,
        )
        place = self._settings.builder_webapp
        self._web = serve_web(
            source,
            self._clock,
            place or WebApp(port=self._tuning.web_port),
            fqdn=self._fqdn,
            setting="builder-webapp",
            needed=place is not None,
        )
        return source.url
