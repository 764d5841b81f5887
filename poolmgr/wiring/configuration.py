"""A daemon's configuration files: read as a whole, and looked at for changes."""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from poolmgr.cloud.vendor import VendorProfiles
from poolmgr.config.clouds import Clouds, load_clouds
from poolmgr.config.load import load
from poolmgr.config.settings import Settings
from poolmgr.config.watch import Watched
from poolmgr.errors import ConfigError
from poolmgr.runtime.clock import Clock
from poolmgr.store.api import Store
from poolmgr.store.zookeeper import ZooKeeperStore

log = logging.getLogger(__name__)

#: Seconds between a daemon's looks at its files, and at providers that could not be started.
WATCH_INTERVAL = 1.0
#: Seconds between reports of whether the last reading failed.
REPORT_INTERVAL = 10.0


def load_the_clouds(settings: Settings, environ: Mapping[str, str], clock: Clock) -> Clouds:
    """The clouds.yaml that `settings` mean, for a process that lasts. Raises ConfigError."""
    return load_clouds(
        environ=environ,
        paths=settings.clouds_files or None,
        remote=VendorProfiles(clock, environ),
    )


@dataclass(frozen=True, kw_only=True)
class FileFacts:
    """One file as it was read."""

    path: str
    sha256: str  # "" where it could not be read
    mtime: float  # epoch seconds; 0.0 the same


@dataclass(frozen=True, kw_only=True)
class ReloadFacts:
    """Which configuration counts, and what became of the last attempt to read another."""

    files: tuple[FileFacts, ...] = ()  # those that count
    loaded_at: float = 0.0  # epoch seconds
    failed_at: float | None = None  # None: the last attempt was a success
    problems: tuple[str, ...] = ()  # of the last attempt, if it failed, with file and line

    @property
    def failed(self) -> bool:
        return self.failed_at is not None

    @property
    def digest(self) -> str:
        """Of the text of all files that count; the same on every host that has the same."""
        return hashlib.sha256("".join(file.sha256 for file in self.files).encode()).hexdigest()[:12]

    def text(self) -> str:
        """In a sentence, for people."""
        files = ", ".join(f"{file.path} ({file.sha256[:12]})" for file in self.files)
        if not self.failed:
            return f"configuration: {files}"
        return f"the last reload failed ({self.problems[0]}); in force is still: {files}"


class Configuration:
    """The files of `-c` and `-s` with the clouds.yaml they need. Read by one thread at a time.

    `clouds` and `facts` may be asked for by any thread. `builder`: a file is bad that lacks what only builders need.
    """

    def __init__(
        self,
        path: str,
        secure_path: str | None,
        environ: Mapping[str, str],
        clock: Clock,
        *,
        builder: bool = False,
    ) -> None:
        self.path = path
        self._builder = builder
        self._secure_path = secure_path
        self._environ = environ
        self._clock = clock
        self._lock = threading.Lock()  # of `_clouds`
        self._clouds: Clouds | None = None
        self._facts = ReloadFacts()  # replaced as a whole
        self._own = (path, *([secure_path] if secure_path else []))
        self._watched = Watched(self._own)

    @property
    def clouds(self) -> Clouds:
        """Those of the last good reading."""
        with self._lock:
            assert self._clouds is not None  # `read` comes first
            return self._clouds

    @property
    def facts(self) -> ReloadFacts:
        return self._facts

    def changed(self) -> bool:
        """Whether a file, clouds.yaml and its companions included, was changed; each change is told once."""
        return self._watched.changed()

    def read(self) -> Settings:
        """The settings in the files now; warnings are logged. Raises ConfigError, and nothing has changed then."""
        self._watched.mark()
        files = tuple(map(_file_facts, self._own))
        loaded = load(
            self.path,
            secure=self._secure_path,
            environ=self._environ,
            check_clouds=False,
            builder=self._builder,
        )
        clouds = load_the_clouds(loaded.settings, self._environ, self._clock)
        with self._lock:
            self._clouds = clouds
        self._watched.also(clouds.places)
        if clouds.file is not None:
            files = (*files, _file_facts(clouds.file))
        self._facts = ReloadFacts(files=files, loaded_at=self._clock.time())
        for warning in (*loaded.warnings, *clouds.warnings):
            log.warning("%s", warning)
        return loaded.settings

    def read_again(self) -> Settings | None:
        """As `read`; None, and each problem is logged, when the files cannot be used: the old settings stay."""
        try:
            return self.read()
        except ConfigError as error:
            self._facts = replace(self._facts, failed_at=self._clock.time(), problems=error.problems)
            problems = "".join(f"\n  {problem}" for problem in error.problems)
            log.error("the configuration is unusable, the old one stays in force:%s", problems)
            return None


def _file_facts(path: str) -> FileFacts:
    try:
        content, found = Path(path).read_bytes(), os.stat(path)
    except OSError:
        return FileFacts(path=path, sha256="", mtime=0.0)
    return FileFacts(path=path, sha256=hashlib.sha256(content).hexdigest(), mtime=found.st_mtime)


def restart_needed(running: Settings, wanted: Settings) -> tuple[str, ...]:
    """The keys whose change counts only from the next start on. `running`: the settings of the start."""
    before, after = running.zookeeper, wanted.zookeeper
    changed = {
        "zookeeper-tls": before.tls != after.tls or before.plaintext != after.plaintext,
        "zookeeper-timeout": before.timeout != after.timeout,
        "zookeeper-servers: chroot": before.chroot != after.chroot,
        "webapp": running.webapp != wanted.webapp,
        "builder-webapp": running.builder_webapp != wanted.builder_webapp,
        "statsd-escape": running.statsd_escape != wanted.statsd_escape,
    }
    return tuple(key for key, differs in changed.items() if differs)


class RestartKeys:
    """Tells, once for each change, which keys need a restart. `running`: the settings of the start."""

    def __init__(self, running: Settings, keys: Collection[str]) -> None:
        self._running = running
        self._keys = keys
        self._told: tuple[str, ...] = ()

    def look(self, wanted: Settings) -> None:
        needed = tuple(key for key in restart_needed(self._running, wanted) if key in self._keys)
        if needed and needed != self._told:
            log.warning("these changes count from the next start on: %s", ", ".join(needed))
        self._told = needed


def follow_zookeeper(store: Store, before: Settings, after: Settings) -> None:
    """Have a connected store use the servers of a changed configuration; its session goes on."""
    if before.zookeeper.hosts == after.zookeeper.hosts or before.zookeeper.chroot != after.zookeeper.chroot:
        return
    if isinstance(store, ZooKeeperStore):
        store.set_hosts(after.zookeeper.hosts)
        log.info("ZooKeeper servers are now %s", after.zookeeper.hosts)
