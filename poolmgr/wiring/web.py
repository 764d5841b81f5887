"""The web server of a daemon."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from poolmgr.config.settings import Settings, WebApp
from poolmgr.errors import ConfigError
from poolmgr.observe.board import Board
from poolmgr.observe.ledger import Ledger
from poolmgr.runtime.clock import Clock
from poolmgr.store.api import Store

if TYPE_CHECKING:
    from poolmgr.web.server import WebServer

log = logging.getLogger(__name__)

#: Seconds for answers that are being sent when a daemon stops.
WEB_STOP_TIMEOUT = 4.0

_EVERYWHERE = ("", "0.0.0.0", "::")


@dataclass(kw_only=True)
class DaemonSource:
    """What the web app is shown of a daemon; see `web.source.Source`. Asked by the server's threads."""

    store: Store
    settings_in_force: Callable[[], Settings]
    ready: Callable[[], str | None]
    live: Callable[[], str | None]
    board: Board
    ledger: Ledger | None = None
    builds: bool = False  # whether there are build logs and manifests
    url: str | None = None

    @property
    def settings(self) -> Settings:
        return self.settings_in_force()

    @property
    def build_logs(self) -> Path | None:
        return Path(self.settings.build_log_dir) if self.builds else None

    @property
    def manifests(self) -> Path | None:
        directory = self.settings.images_dir
        return Path(directory) if self.builds and directory else None


def serve_web(
    source: DaemonSource, clock: Clock, place: WebApp, *, fqdn: str, setting: str, needed: bool = True
) -> WebServer | None:
    """Start the server where `place` says; its URL goes into `source`.

    `setting` is the key of the configuration that names the place. Without `needed`, None when it is taken. Raises
    ConfigError.
    """
    from poolmgr.web.server import WebServer  # uvicorn and starlette: not for who serves nothing

    address = place.listen_address
    server = WebServer(source, clock, address=address, port=place.port, setting=setting)
    try:
        server.start()
    except ConfigError as error:
        if needed:
            raise
        log.warning("Going on without web server: %s", error)
        return None
    host = fqdn if address in _EVERYWHERE else address
    source.url = f"http://{f'[{host}]' if ':' in host else host}:{server.port}"
    log.info("Web server on port %d of %s", server.port, address)
    return server
