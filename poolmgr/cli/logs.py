"""Logging as a command line asks for it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from poolmgr.config.document import parse_document
from poolmgr.config.problem import refuse_errors
from poolmgr.observe import log


def for_command(*, file: str | None, debug: bool) -> None:
    """Messages go to stderr, or where `file` (`-l`) says; `debug` wins. Raises ConfigError."""
    log.set_up(file=file, parse=_parser(file), debug=debug, command=True)


def for_daemon(*, file: str | None, debug: bool, handler: logging.Handler | None = None) -> None:
    """Messages go to `handler` (None: stdout), or where `file` says; it wins over `debug`. Raises ConfigError."""
    log.set_up(file=file, parse=_parser(file), debug=debug, handler=handler)


def _parser(file: str | None) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        document = parse_document(text, file=file or "", environ={})
        refuse_errors(document.problems)
        return document.data

    return parse
