"""What operators have ordered for one provider, looked up in each cycle and told when it changes."""

from __future__ import annotations

import logging

from poolmgr.launcher.context import ProviderContext
from poolmgr.model.fleet import ProviderMode
from poolmgr.policy.orders import Standing, standing

log = logging.getLogger(__name__)


class Orders:
    """Keeps `ProviderContext.standing` current. Only the worker's thread touches it."""

    def __init__(self, context: ProviderContext) -> None:
        self._context = context

    def look(self, now: float) -> float:
        """Judge anew how the provider stands; returns when an order expires (monotonic seconds)."""
        context = self._context
        with context.store.reading() as snapshot:
            order = snapshot.provider_order(context.name)
        at = context.clock.time()
        found = standing(order, now=at, removed=context.config.removed)
        if found != context.standing:
            if _told(found) != _told(context.standing):
                log.warning("provider %s: %s", context.name, described(found))
            context.standing = found
            context.status.set(mode=found.mode)
        return float("inf") if found.until is None else now + max(0.0, found.until - at)


def _told(one: Standing) -> tuple[object, ...]:
    return one.mode, one.max_servers, one.reason


def described(one: Standing) -> str:
    """`one` in words, for logs."""
    words = {
        ProviderMode.RUNNING: "runs",
        ProviderMode.PAUSED: "is paused: takes no requests",
        ProviderMode.DRAINING: "is drained: takes no requests, its free nodes go",
    }[one.mode]
    if one.max_servers != float("inf"):
        words += f" with at most {one.max_servers:g} servers"
    order = one.order
    if one.reason != "ordered" or order is None:
        return f"{words} ({one.reason})"
    why = f": {order.reason}" if order.reason else ""
    return f"{words} (ordered by {order.by or 'someone'}{why})"
