"""One request from submitting to giving the nodes back, told line by line: the `request` command at work."""

from __future__ import annotations

import difflib
import threading
from collections import Counter
from collections.abc import Callable, Collection, Sequence

from poolmgr.cli.client import NodeClient
from poolmgr.cli.orders import Order, Stage, Wanted
from poolmgr.model.node import Node
from poolmgr.model.request import NodeRequest, RequestState
from poolmgr.model.snapshot import Snapshot
from poolmgr.runtime.clock import Clock
from poolmgr.store.api import Store

#: Between two looks at the nodes of a request; the request itself wakes us.
PROGRESS_INTERVAL = 0.5
INTERRUPTED = 130


class Visit:
    """Runs one order; `tell` gets a line whenever something changed. `stop` ends it from a signal handler."""

    def __init__(
        self, store: Store, client: NodeClient, clock: Clock, *, tell: Callable[[str], None]
    ) -> None:
        self._store = store
        self._client = client
        self._clock = clock
        self._tell = tell
        self._stopping = threading.Event()

    def stop(self) -> None:
        self._stopping.set()
        self._client.wake()

    def run(
        self, wanted: Wanted, *, timeout: float | None, hold: float | None, show: Callable[[Order], None]
    ) -> int:
        """Submit, wait at most `timeout` seconds, `show`, hold for `hold` seconds (None: until stopped), release.

        Returns the exit code. Raises StoreUnavailable; the client's `close` cleans up.
        """
        order = self._client.submit(wanted)
        self._tell(f"request {order.request.id} submitted for {', '.join(wanted.labels)}")
        deadline = None if timeout is None else order.submitted_at + timeout
        self._wait_for_nodes(order, deadline)
        if order.stage is not Stage.HELD:
            return self._explain(order, timeout)
        self._tell(f"fulfilled after {order.latency or 0.0:.1f} seconds")
        show(order)
        return self._keep(order, hold)

    def _wait_for_nodes(self, order: Order, deadline: float | None) -> None:
        told = ""
        while order.stage in (Stage.WAITING, Stage.ACCEPTING) and not self._stopping.is_set():
            left = None if deadline is None else deadline - self._clock.monotonic()
            if left is not None and left <= 0:
                return
            with self._store.reading() as snapshot:
                text = progress_text(order.request, snapshot.nodes_for(order.request.id))
            if text != told:
                told = text
                self._tell(text)
            self._client.wait(PROGRESS_INTERVAL if left is None else min(PROGRESS_INTERVAL, left))
            self._client.step()

    def _explain(self, order: Order, timeout: float | None) -> int:
        """Why there are no nodes; the exit code. An open order is cancelled."""
        if order.stage in (Stage.FAILED, Stage.LOST):
            self._tell(f"request {order.request.id} failed: {order.reason}")
            for pool in order.request.declined_by:
                self._tell(f"  declined by {pool}")
            return 1
        self._client.release(order)
        if self._stopping.is_set():
            self._tell(f"request {order.request.id} cancelled")
            return INTERRUPTED
        self._tell(f"request {order.request.id} not fulfilled within {timeout:g} seconds; cancelled")
        return 1

    def _keep(self, order: Order, hold: float | None) -> int:
        until = None if hold is None else self._clock.monotonic() + hold
        if hold is None:
            self._tell("holding; Ctrl-C gives the nodes back")
        elif hold > 0:
            self._tell(f"holding for {hold:g} seconds; Ctrl-C gives the nodes back earlier")
        while order.stage is Stage.HELD and not self._stopping.is_set():
            left = 3600.0 if until is None else until - self._clock.monotonic()
            if left <= 0:
                break
            self._client.wait(left)
            self._client.step()
        if order.stage is not Stage.HELD:
            self._tell(f"nodes lost: {order.reason}")
            return 1
        self._client.release(order)
        self._tell("nodes given back")
        return 0


def progress_text(request: NodeRequest, nodes: Collection[Node]) -> str:
    """The state of a request and what its nodes are doing, e.g. `pending: 1 building, 1 ready on rax-dfw`."""
    text = request.state.value
    if request.declined_by and request.state is RequestState.REQUESTED:
        text += f", declined by {len(request.declined_by)} so far"
    if not nodes:
        return text
    states = Counter(node.state.value for node in nodes)
    providers = sorted({node.provider or "?" for node in nodes})
    counts = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    return f"{text}: {counts} on {', '.join(providers)}"


def label_warnings(labels: Sequence[str], snapshot: Snapshot) -> list[str]:
    """A line for each label that no running launcher offers, with the nearest that one does."""
    offered = {label for pool in snapshot.pools() for label in pool.supported_labels}
    if not offered:
        return ["no launcher is running: the request waits until one starts"]
    lines = []
    for label in dict.fromkeys(labels):
        if label in offered:
            continue
        near = difflib.get_close_matches(label, offered, n=1)
        hint = f"; did you mean {near[0]}?" if near else f" (offered: {', '.join(sorted(offered))})"
        lines.append(f"no running launcher offers label {label}{hint}")
    return lines
