"""What follows when an attempt to launch a node has failed: cleaning up and the next attempt, or the node's end."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from poolmgr.launcher.context import Context
from poolmgr.launcher.jobs import Outcome
from poolmgr.launcher.launch import Failure, Launch, count
from poolmgr.launcher.removals import Removals
from poolmgr.launcher.watcher import Watcher
from poolmgr.model.node import Node, NodeState
from poolmgr.model.server import Addresses
from poolmgr.policy import launch as policy
from poolmgr.policy.launch import After, LaunchFacts, Phase, Result
from poolmgr.policy.zones import Next, next_zone
from poolmgr.store.api import Lock

#: Console lines of a failed server that go to our log at most.
CONSOLE_LINES = 2000

#: Failures that the console may explain.
_CONSOLE_HELPS = (Result.KEYSCAN, Result.STATUS, Result.TIMEOUT)


class Failures:
    """Ends attempts of the launches `underway` (by node id, those of `Launches`), and takes out those that end so."""

    def __init__(
        self, context: Context, removals: Removals, watcher: Watcher, underway: dict[str, Launch]
    ) -> None:
        self._context = context
        self._removals = removals
        self._watcher = watcher
        self._underway = underway

    def fail(
        self,
        launch: Launch,
        result: Result,
        reason: str,
        *,
        hopeless: bool = False,
        charged: bool = True,
    ) -> None:
        context = self._context
        count(launch, self._context, result)
        zone = launch.node.az
        if result is Result.CAPACITY:
            zone, elsewhere = self._zone_after(launch, reason)
            charged = charged and not elsewhere
        after = policy.after_failure(
            result,
            launch.facts.charged + charged,
            retries=context.config.provider.launch_retries,
            hopeless=hopeless,
            charged=charged,
        )
        launch.log.warning(
            "attempt %d failed (%s, then %s): %s", launch.facts.attempt, result.value, after.value, reason
        )
        if hopeless:
            self._watcher.label_rejected(launch.label.name, reason)
        failure = Failure(result, reason, after, charged, zone)
        if launch.label.console_log and launch.facts.server_id and result in _CONSOLE_HELPS:
            self._read_console(launch, launch.facts.server_id, failure)
            return
        launch.failure = failure
        self.conclude(launch)

    def _zone_after(self, launch: Launch, reason: str) -> Next:
        """Where to go on as the launch's zone has no room, and whether it was not there yet."""
        here = launch.node.az
        launch.tried.add(here)
        full = self._watcher.no_room(launch.flavor, here, reason)
        following = next_zone(launch.zones, here, tried=launch.tried, full=full)
        if not following.untried:
            launch.tried.clear()
        return following

    def conclude(self, launch: Launch) -> None:
        """Carry out what follows a failed attempt; may be repeated until the store has taken it."""
        failure = launch.failure
        if failure is None:
            return
        match failure.after:
            case After.RETRY:
                self._clean(launch, failure)
            case After.ABORT:
                self._end(launch, NodeState.ABORTED)
                self._watcher.node_lost(launch.node.id, failure.result)
            case After.GIVE_UP:
                self._end(launch, NodeState.FAILED)
                self._watcher.node_failed(launch.node.id, failure.result, failure.reason)

    def _clean(self, launch: Launch, failure: Failure) -> None:
        """Delete what the attempt left, then begin the next one; the node and its lock stay."""
        now = self._context.clock.monotonic()
        launch.facts = replace(launch.facts, phase=Phase.CLEANING, since=now, busy=False)
        launch.failure = None
        done = partial(self._cleaned, launch, failure.zone, charged=failure.charged)
        self._removals.begin_for_node(launch.node, launch.lock, done)

    def _cleaned(self, launch: Launch, zone: str | None, *, charged: bool) -> None:
        context = self._context
        if self._underway.get(launch.node.id) is not launch:
            return
        now = context.clock.monotonic()
        if launch.node.external_id is not None or zone != launch.node.az:
            # The old server's id must not stay: the next attempt's server would look leaked beside it.
            launch.node = context.save_node(replace(launch.node, external_id=None, az=zone), launch.lock)
        before = launch.facts
        launch.facts = LaunchFacts(
            node_id=launch.node.id,
            since=now,
            attempt=before.attempt + 1,
            charged=before.charged + charged,
            # One that does not count takes no time of its own: launch-timeout goes on for both.
            attempt_since=now if charged else before.attempt_since,
            not_before=now + policy.backoff(before.attempt, context.tuning),
        )
        launch.addresses, launch.active_at = Addresses(), None

    def _end(self, launch: Launch, state: NodeState) -> None:
        """The launch is over without success; the node goes, with the reason in its state."""
        context = self._context
        launch.node = context.save_node(launch.node.moved(state, at=context.clock.time()), launch.lock)
        self._underway.pop(launch.node.id, None)
        node, lock = launch.node, launch.lock
        self._removals.begin_for_node(node, lock, lambda: self._removed(node, lock))

    def _removed(self, node: Node, lock: Lock) -> None:
        self._context.store.delete_node(node, lock)

    def _read_console(self, launch: Launch, server_id: str, failure: Failure) -> None:
        """Log the console; what follows the failure waits for it, as it takes the server away."""
        context, logger = self._context, launch.log
        launch.facts = replace(launch.facts, phase=Phase.CLEANING, since=context.clock.monotonic(), busy=True)

        def then(outcome: Outcome[str]) -> None:
            for line in (outcome.value or "").splitlines()[-CONSOLE_LINES:]:
                logger.info("console: %s", line)
            launch.failure = failure  # carried out by the next look at the launch, if it is still there

        context.jobs.run(context.parts.api, lambda: context.cloud.console(server_id), then)
