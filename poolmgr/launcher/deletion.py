"""One node deleted by whoever has its lock, without being a provider's worker: `poolmgr delete --now`.

The deletion itself is that of the workers (`removals`), with the same proof that nothing is left. Whatever cuts it
short, a DELETING record stays, from which a launcher goes on.
"""

from __future__ import annotations

import logging

from poolmgr.cloud.api import CloudInfo
from poolmgr.errors import PoolmgrError
from poolmgr.launcher.context import Context
from poolmgr.launcher.jobs import Outcome
from poolmgr.launcher.removals import Removals
from poolmgr.model.node import Node
from poolmgr.store.api import Lock

log = logging.getLogger(__name__)

#: Seconds before a cloud that did not answer is asked again who it is.
_CONNECT_AGAIN = 2.0


class Deletion:
    """`node` is DELETING and `lock` its lock. Call `step` until it is `gone`; used by one thread."""

    def __init__(self, context: Context, node: Node, lock: Lock) -> None:
        self._context = context
        self._node = node
        self._lock = lock
        self._removals = Removals(context)
        self._begun = False
        self._connecting = False
        self._connect_at = 0.0
        self.trouble: PoolmgrError | None = None  # why the cloud did not answer last
        self.gone = False

    def step(self) -> float:
        """Take it further; returns the seconds until the next step has something to do, unless a job ends before.

        Raises LockLost, StoreUnavailable.
        """
        context = self._context
        now = context.clock.monotonic()
        context.jobs.deliver()
        context.fence(self._lock)
        if context.info is None:  # what there may be to delete depends on what the cloud is
            return self._connect(now)
        if not self._begun:
            self._begun = True
            self._removals.begin_for_node(self._node, self._lock, self._done)
        due = self._removals.advance(now)
        if self.gone:
            return 0.0
        rate = context.config.provider.rate
        dues = (
            due,
            context.servers.poll(rate),
            context.ports.poll_if_wanted(rate),
            context.floating_ips.poll_if_wanted(rate),
            context.volumes.poll_if_wanted(rate),
        )
        return max(0.0, min(dues) - context.clock.monotonic())

    def _connect(self, now: float) -> float:
        if not self._connecting and now >= self._connect_at:
            self._connecting = True
            context = self._context
            context.jobs.run(context.parts.api, context.cloud.connect, self._connected)
        return max(0.0, self._connect_at - now) if not self._connecting else float("inf")

    def _connected(self, outcome: Outcome[CloudInfo]) -> None:
        self._connecting = False
        self._connect_at = self._context.clock.monotonic() + _CONNECT_AGAIN
        self.trouble = outcome.error
        self._context.info = outcome.value

    def _done(self) -> None:
        self._context.store.delete_node(self._node, self._lock)
        self.gone = True
