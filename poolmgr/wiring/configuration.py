"""A daemon's configuration files: read as a whole, and looked at for changes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping

from poolmgr.cloud.vendor import VendorProfiles
from poolmgr.config.clouds import Clouds, load_clouds
from poolmgr.config.load import load
from poolmgr.config.settings import Settings
from poolmgr.config.watch import Watched
from poolmgr.errors import ConfigError
from poolmgr.runtime.clock import Clock

log = logging.getLogger(__name__)

#: Seconds between a daemon's looks at its files, and at providers that could not be started.
WATCH_INTERVAL = 1.0


def load_the_clouds(settings: Settings, environ: Mapping[str, str], clock: Clock) -> Clouds:
    """The clouds.yaml that `settings` mean, for a process that lasts. Raises ConfigError."""
    return load_clouds(
        environ=environ,
        paths=settings.clouds_files or None,
        remote=VendorProfiles(clock, environ),
    )


class Configuration:
    """The files of `-c` and `-s` with the clouds.yaml they need. Read by one thread at a time.

    `clouds` are those of the last good reading. `builder`: a file is bad that lacks what only builders need.
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
        self._watched = Watched([path, *([secure_path] if secure_path else [])])

    @property
    def clouds(self) -> Clouds:
        with self._lock:
            assert self._clouds is not None  # `read` comes first
            return self._clouds

    def changed(self) -> bool:
        """Whether a file was written since this was last asked; each change is told once."""
        return self._watched.changed()

    def read(self) -> Settings:
        """The settings in the files now; warnings are logged. Raises ConfigError, and nothing has changed then."""
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
        for warning in (*loaded.warnings, *clouds.warnings):
            log.warning("%s", warning)
        return loaded.settings

    def read_again(self) -> Settings | None:
        """As `read`; None, and each problem is logged, when the files cannot be used: the old settings stay."""
        try:
            settings = self.read()
        except ConfigError as error:
            log.error("the configuration is unusable, the old one stays in force:")
            for problem in error.problems:
                log.error("  %s", problem)
            return None
        return settings
