"""How daemons end, when all that works in them has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from poolmgr.observe.stats import Stats
from poolmgr.store.api import Store
from poolmgr.wiring.web import WEB_STOP_TIMEOUT

if TYPE_CHECKING:
    from poolmgr.web.server import WebServer


def close_all(web: WebServer | None, store: Store | None, stats: Stats | None) -> bool:
    """Answer nothing more, end the session, tell nothing more: what of them there is. Whether it went in time."""
    clean = web is None or web.stop(WEB_STOP_TIMEOUT)
    if store is not None:
        store.close()
    if stats is not None:
        stats.close()
    return clean
