"""The course of a demo: start all parts, drive requests, drain, look what is left, report.

An interrupt shows as KeyboardInterrupt at the next look, never in the middle of a step.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from poolmgr.cli.client import NodeClient
from poolmgr.cli.demo.images import ImageTally, let_builds_go
from poolmgr.cli.demo.plan import Plan
from poolmgr.cli.demo.report import Costs, Left, report
from poolmgr.cli.demo.screen import Screen, view_of
from poolmgr.cli.demo.stack import Stack
from poolmgr.cli.demo.traffic import Tally, Traffic, mixed_wants
from poolmgr.cli.orders import Wanted
from poolmgr.errors import LockBusy, PoolmgrError, RecordGone, StoreError
from poolmgr.model.component import ComponentState
from poolmgr.model.image import BuildState, UploadState
from poolmgr.model.node import NodeState
from poolmgr.runtime.clock import Clock
from poolmgr.store.api import Store

REQUESTOR = "poolmgr-demo"
#: Between two looks: the screen is drawn again as often.
TICK = 0.25
#: Without any request fulfilled for so long, something is broken.
PATIENCE = 120.0
#: For the launchers to register, and for everything to go after the last request.
START_TIMEOUT = 60.0
DRAIN_TIMEOUT = 120.0
#: For a build and its uploads, and for all of them to go.
IMAGE_TIMEOUT = 90.0


@dataclass(frozen=True, kw_only=True)
class Course:
    """How much traffic. `hold`: seconds that nodes are kept. `wants` None: the mix of traffic.py."""

    requests: int
    outstanding: int
    hold: float = 1.0
    wants: Callable[[Plan, random.Random], Iterator[Wanted]] = mixed_wants


class Flow:
    """One run over a stack. `interrupt` may be called by any thread; all else belongs to one."""

    def __init__(self, stack: Stack, course: Course, clock: Clock, screen: Screen) -> None:
        self._stack = stack
        self._course = course
        self._clock = clock
        self._screen = screen
        self._began = clock.monotonic()
        self._looked_at = self._began - TICK
        self._stopping = threading.Event()
        self.images = ImageTally()
        self._client: NodeClient | None = None
        self._traffic: Traffic | None = None

    def interrupt(self) -> None:
        self._stopping.set()
        if self._client is not None:
            self._client.wake()

    def start(self) -> None:
        """All parts, until every pool is registered and most clouds have an image: by tasks it takes long.

        Raises PoolmgrError when they do not come.
        """
        self._stack.start(self._tell)
        store = self._stack.store
        self._client = NodeClient(store, self._clock, requestor=REQUESTOR, user_data={"poolmgr": "demo"})
        self._traffic = Traffic(
            self._client,
            self._clock,
            self._course.wants(self._stack.plan, random.Random(self._stack.plan.seed)),
            requests=self._course.requests,
            outstanding=self._course.outstanding,
            hold=self._course.hold,
        )
        pools = len(self._stack.plan.clouds)
        self._until(
            lambda: registered_pools(store) >= pools, "starting", START_TIMEOUT, f"{pools} pools to register"
        )
        self._until(
            lambda: 2 * self._served(1) > pools, "starting", IMAGE_TIMEOUT, "images in most of the clouds"
        )
        self._screen.tell(f"{pools} pools are registered; {self._course.requests} requests are coming")

    def serve(self, each_time: Callable[[], None] = lambda: None) -> None:
        """Drive all requests; `each_time` is called in between. Raises PoolmgrError when nothing moves."""
        assert self._traffic is not None
        self._stack.begin_counting()
        progress, since = -1, self._clock.monotonic()
        while not self._traffic.done:
            self.look("serving")
            each_time()
            self._traffic.step()
            tally = self._traffic.tally
            if tally.fulfilled + tally.failed != progress:
                progress, since = tally.fulfilled + tally.failed, self._clock.monotonic()
            if self._clock.monotonic() - since > PATIENCE:
                raise PoolmgrError(f"no request was fulfilled for {PATIENCE:.0f} seconds")
            self._traffic.wait(TICK)

    def renew(self) -> None:
        """Wait until every cloud has got the image, and most of them a newer one. Raises PoolmgrError."""
        clouds = len(self._stack.plan.clouds)
        self._until(
            lambda: self._served(1) == clouds and 2 * self._served(2) > clouds,
            "renewing",
            IMAGE_TIMEOUT,
            "an image in every cloud, and a newer one in most",
        )

    def empty_images(self) -> None:
        """No more images: every upload, file and record goes. Raises PoolmgrError when they do not."""
        if self._stack.plan.image is None:
            return
        store = self._stack.store
        self._until(lambda: self._at_rest(store), "emptying", IMAGE_TIMEOUT, "builds and uploads to end")
        self._stack.stop_listing_images()
        self._until(lambda: self._no_uploads(store), "emptying", IMAGE_TIMEOUT, "all uploads to go")
        self._until(
            lambda: let_builds_go(store, at=self._clock.time()), "emptying", IMAGE_TIMEOUT, "all builds to go"
        )
        self._until(lambda: not self._stack.image_files(), "emptying", IMAGE_TIMEOUT, "all image files to go")

    def drain(self) -> None:
        """No more min-ready, all nodes deleted. Raises PoolmgrError when they do not go."""
        store = self._stack.store
        self._stack.pause_images()
        self._stack.stop_making_ready()
        self._until(lambda: self._emptied(store), "draining", DRAIN_TIMEOUT, "all nodes and requests to go")
        self._looked_at -= TICK  # the last view shows that all have gone
        self.look("drained")

    def idle(self) -> None:
        """Show how things are until interrupted; the next interrupt counts again. Raises PoolmgrError."""
        while not self._stopping.is_set():
            self.look("idle")
            self._clock.wait(self._stopping, TICK)
        self._stopping.clear()

    def result(self, costs: Costs, left: Left) -> dict[str, Any]:
        """The report so far. Raises PoolmgrError when not even `start` came to its end."""
        if self._traffic is None:
            raise PoolmgrError("nothing was requested")
        plan = self._stack.plan
        return report(
            boot=plan.boot,
            tally=self._traffic.tally,
            left=left,
            costs=costs,
            clouds=[cloud.name for cloud in plan.clouds],
            images=self.images if plan.image else None,
        )

    @property
    def tally(self) -> Tally:
        return self._traffic.tally if self._traffic else Tally()

    def close(self) -> None:
        """Give everything back that is still ours."""
        if self._client is not None:
            self._client.close()

    def _served(self, times: int) -> int:
        """How many clouds have got the image so many times; all of them where no builder makes one."""
        plan = self._stack.plan
        if plan.image is None:
            return len(plan.clouds)
        with self._stack.store.reading() as snapshot:
            self.images.note(snapshot)
        return sum(count >= times for count in self.images.by_cloud.values())

    def _at_rest(self, store: Store) -> bool:
        """Whether nothing is being built or uploaded."""
        with store.reading() as snapshot:
            building = any(build.state is BuildState.BUILDING for build in snapshot.builds())
            return not building and all(u.state is UploadState.READY for u in snapshot.uploads())

    def _no_uploads(self, store: Store) -> bool:
        with store.reading() as snapshot:
            return not snapshot.uploads()

    def _emptied(self, store: Store) -> bool:
        """Whether no node, request or request lock is left; sends ready nodes away."""
        with store.reading() as snapshot:
            ready = [n.id for n in snapshot.nodes() if n.state is NodeState.READY and not n.allocated_to]
            empty = not snapshot.nodes() and not snapshot.requests()
        for node_id in ready:
            send_away(store, node_id, at=self._clock.time())
        return empty and not list(store.stale_request_locks())

    def _until(self, condition: Callable[[], bool], phase: str, timeout: float, what: str) -> None:
        deadline = self._clock.monotonic() + timeout
        while not condition():
            self.look(phase)
            if self._clock.monotonic() >= deadline:
                raise PoolmgrError(f"waited {timeout:.0f} seconds for {what}, in vain")
            self._clock.wait(self._stopping, TICK)

    def _tell(self, line: str) -> None:
        self._screen.tell(line)
        if self._stopping.is_set():
            raise KeyboardInterrupt

    def look(self, phase: str) -> None:
        """Draw, take in metrics, see that all parts live. Raises PoolmgrError for one that died."""
        if self._stopping.is_set():
            raise KeyboardInterrupt
        now = self._clock.monotonic()
        if (
            self._traffic is None or now - self._looked_at < TICK
        ):  # drawing at each event would be the main load
            return
        self._looked_at = now
        self._stack.check()
        with self._stack.store.reading() as snapshot:
            self.images.note(snapshot)
            view = view_of(
                self._stack.plan,
                snapshot,
                self._traffic,
                phase=phase,
                requests=self._course.requests,
                elapsed=now - self._began,
                metrics=self._stack.metrics,
                images=self.images,
            )
        self._screen.show(view)


def registered_pools(store: Store) -> int:
    with store.reading() as snapshot:
        return sum(pool.state is ComponentState.RUNNING for pool in snapshot.pools())


def send_away(store: Store, node_id: str, *, at: float) -> None:
    """Mark an idle node for deletion; one that somebody has, or that is gone, is left alone."""
    try:
        lock, node = store.lock_node(node_id)
    except (LockBusy, RecordGone):
        return
    try:
        if node.state is NodeState.READY and not node.allocated_to:
            store.save_node(node.moved(NodeState.DELETING, at=at), lock)
    except StoreError:
        return  # the next look tries again
    finally:
        store.unlock(lock)
