"""What a log message is about: request, node and so on, bound once at the start of a unit of work.

Operators search logs for the prefix `[e: <event id>] [node_request: <id>] [node: <id>] ` (cli-web.md 4), so it is
part of the message itself and appears whatever format a site has configured.
"""

from __future__ import annotations

import logging
import re
from collections.abc import MutableMapping
from typing import Any

_PREFIXES = (("event", "e"), ("request", "node_request"), ("node", "node"))
#: Event ids come from other programs: nothing in them may start a new line or be taken for a % conversion.
_UNSAFE = re.compile(r"[^ -$&-~]")


class ContextLogger(logging.LoggerAdapter[logging.Logger]):
    """A logger that begins every message with its context and puts each value on the record (`record.node`)."""

    def __init__(self, logger: logging.Logger, context: dict[str, str]) -> None:
        super().__init__(logger, context)
        self._prefix = "".join(
            f"[{word}: {_UNSAFE.sub('_', context[key])}] " for key, word in _PREFIXES if key in context
        )

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        kwargs["extra"] = {**(self.extra or {}), **(kwargs.get("extra") or {})}
        return f"{self._prefix}{msg}", kwargs


def context_logger(
    log: logging.Logger | logging.LoggerAdapter[logging.Logger],
    *,
    event: str | None = None,
    request: str | None = None,
    node: str | None = None,
    **more: str | None,
) -> ContextLogger:
    """`log` bound to what is known (None: not known), on top of what it is bound to if it came from here.

    `more` may name provider, pool, image, build, upload or server: these are on the record, not in the message.
    """
    told = {"event": event, "request": request, "node": node, **more}
    known = {key: value for key, value in told.items() if value}
    if isinstance(log, ContextLogger):
        return ContextLogger(log.logger, {**{k: str(v) for k, v in (log.extra or {}).items()}, **known})
    return ContextLogger(log.logger if isinstance(log, logging.LoggerAdapter) else log, known)
