"""What the web app is shown of the daemon it belongs to. `wiring` makes one for a launcher or a builder."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from poolmgr.config.settings import Settings
from poolmgr.observe.board import Board
from poolmgr.observe.ledger import Ledger
from poolmgr.store.api import Store


class Source(Protocol):
    """Asked from the web server's threads, several at a time; every answer is for now."""

    @property
    def store(self) -> Store: ...

    @property
    def settings(self) -> Settings:
        """Those in force."""

    @property
    def build_logs(self) -> Path | None:
        """Where `<image>-<build>.log` are; None: this daemon builds nothing."""

    @property
    def manifests(self) -> Path | None:
        """Where `<image>-<build>.manifest.json` are; None: this daemon builds nothing."""

    @property
    def board(self) -> Board:
        """What was told of this daemon as numbers."""

    @property
    def ledger(self) -> Ledger | None:
        """Where this daemon writes down what it deletes; None: nowhere."""

    @property
    def url(self) -> str | None:
        """What this daemon's own build records say in `url`."""

    def ready(self) -> str | None:
        """Why it does not do its work now, None when it does. The store is asked by the app itself."""

    def live(self) -> str | None:
        """Why it should be restarted, None when not."""
