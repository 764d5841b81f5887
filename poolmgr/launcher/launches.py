"""Bringing nodes up: obeys `policy.launch`, one `Launch` per node whose lock we hold; `failures` ends what fails.

Three writes bring a node from nothing to READY: its creation as BUILDING (before any cloud call), the server's id as
soon as the cloud has named it, and everything else together with READY.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import TypeVar

from poolmgr.errors import (
    AuthFailed,
    BadRecord,
    CloudUnavailable,
    ImageGone,
    LockLost,
    NoCapacity,
    NotFound,
    NotSupported,
    OutcomeUnknown,
    OverQuota,
    PoolmgrError,
    RecordGone,
    Rejected,
    StoreUnavailable,
)
from poolmgr.launcher.context import Context
from poolmgr.launcher.failures import Failures
from poolmgr.launcher.jobs import Outcome
from poolmgr.launcher.launch import Launch, count, server_spec
from poolmgr.launcher.removals import Removals
from poolmgr.launcher.watcher import Watcher
from poolmgr.model.node import NodeState
from poolmgr.model.server import Addresses, Server
from poolmgr.observe.ledger import Deletion
from poolmgr.policy import launch as policy
from poolmgr.policy.launch import Phase, Result
from poolmgr.policy.polling import patience

log = logging.getLogger(__name__)
R = TypeVar("R")

_MAKING = (Phase.CREATING, Phase.EXPOSING)


class Launches:
    """All launches of one worker, by node id."""

    def __init__(self, context: Context, removals: Removals, watcher: Watcher) -> None:
        self._context = context
        self._removals = removals
        self._watcher = watcher
        self._launches: dict[str, Launch] = {}
        self._failures = Failures(context, removals, watcher, self._launches)

    def __len__(self) -> int:
        return len(self._launches)

    def __contains__(self, node_id: str) -> bool:
        return node_id in self._launches

    def __iter__(self) -> Iterator[Launch]:
        return iter(list(self._launches.values()))

    def get(self, node_id: str) -> Launch | None:
        return self._launches.get(node_id)

    def begin(self, launch: Launch) -> None:
        self._launches[launch.node.id] = launch
        self._guarded(launch, lambda: self._obey(launch, self._context.clock.monotonic()))

    def resume(self, launch: Launch) -> None:
        """Go on with one that another launcher began."""
        self._launches[launch.node.id] = launch

    @property
    def calling(self) -> bool:
        """Whether a call is in flight that makes something in the cloud."""
        return any(one.facts.busy and one.facts.phase in _MAKING for one in self._launches.values())

    def abandon(self, node_id: str) -> None:
        """Give up a launch nobody wants any more; its node and lock are the caller's, who has to remove it."""
        self._launches.pop(node_id, None)

    def forget_all(self) -> None:
        """The session is lost: the nodes are whoever's finds them unlocked, those locked since then too."""
        for launch in self._launches.values():
            self._context.store.unlock(launch.lock)
        self._launches.clear()

    def advance(self, now: float) -> float:
        """Obey the policy for each launch; returns when the next timer is due (monotonic seconds)."""
        due = float("inf")
        for launch in list(self._launches.values()):
            if launch.failure is not None:
                self._guarded(launch, partial(self._failures.conclude, launch))
            else:
                due = min(due, self._guarded(launch, partial(self._obey, launch, now)) or due)
        return due

    def _guarded(self, launch: Launch, act: Callable[[], R]) -> R | None:
        """`act()`, for which the launch's lock is needed; without it the launch is not ours any more.

        When the store is away the launch is left so that the next cycle tries again.
        """
        try:
            return act()
        except (LockLost, RecordGone) as error:
            launch.log.warning("lost while it was launched: %s", error)
            self._launches.pop(launch.node.id, None)
            self._watcher.node_lost(launch.node.id, Result.ZKSESSION)
        except StoreUnavailable:
            later = self._context.clock.monotonic() + 1.0
            phase = Phase.BOOTING if launch.facts.phase is Phase.EXPOSING else launch.facts.phase
            launch.facts = replace(launch.facts, phase=phase, busy=False, not_before=later)
            raise
        return None

    def _obey(self, launch: Launch, now: float) -> float:
        context = self._context
        provider = context.config.provider
        self._look_at_server(launch)
        step = policy.next_step(
            launch.facts,
            context.servers.last,
            now=now,
            launch_timeout=provider.launch_timeout,
            boot_timeout=provider.boot_timeout,
            tuning=context.tuning,
            provider=context.name,
            deployment=context.parts.deployment,
            before=context.servers.whole_before,
        )
        match step:
            case policy.Wait(until=until, absence=absence):
                if launch.facts.phase not in (Phase.BOOTING, Phase.UNKNOWN):
                    return until
                look_at = launch.facts.since + patience(context.boots, context.tuning)
                if now < look_at:
                    return min(until, look_at)
                (context.servers.want if absence else context.servers.want_states)(now)
                return until
            case policy.Create(attempt=attempt, reason=reason):
                if attempt is not None:
                    launch.log.info("attempt %d begins: %s", attempt, reason)
                    launch.facts = replace(launch.facts, attempt=attempt, adopted=False)
                self._create(launch, now)
            case policy.Adopt(server=server, others=others):
                launch.log.info("found server %s of the unanswered create call", server.id)
                for other in others:
                    self._remove_other(launch, other)
                self._created(launch, server.id)
            case policy.Expose(server=server):
                self._expose(launch, server, now)
            case policy.Probe():
                self._probe(launch)
            case policy.Fail(unexplained=Server() as server):
                self._read_fault(launch, server)
            case policy.Fail(result=result, reason=reason, charged=charged):
                self._failures.fail(launch, result, reason, charged=charged)
        return float("inf")

    def _look_at_server(self, launch: Launch) -> None:
        """As soon as its server shows volumes they get our mark; nothing waits for that.

        That of an adopted launch also tells which attempt it is of.
        """
        context, facts = self._context, launch.facts
        server = context.servers.last.items.get(facts.server_id or "") if context.servers.last else None
        if server is None:
            return
        if facts.adopted:
            attempt = server.owner.attempt if server.owner else None
            facts = launch.facts = replace(facts, attempt=attempt or facts.attempt, adopted=False)
        if server.volumes:
            context.marks.note(server, context.owner_of(launch.node.id, facts.attempt))

    def _remove_other(self, launch: Launch, server: Server) -> None:
        """Another attempt's server of an adopted node: only one can be its own."""
        if server.id not in self._removals:
            launch.log.warning("server %s of an earlier attempt is removed", server.id)
            gone = partial(launch.log.info, "server %s is gone", server.id)
            self._removals.begin_for_leak(server, gone, why="of an earlier attempt", evidence={})

    def _mine(self, launch: Launch, attempt: int, phase: Phase) -> bool:
        """Whether an outcome still concerns this launch: the same attempt, still in the phase that asked."""
        facts = launch.facts
        same = self._launches.get(launch.node.id) is launch and launch.failure is None
        return same and facts.attempt == attempt and facts.phase is phase

    # Create

    def _create(self, launch: Launch, now: float) -> None:
        context = self._context
        attempt = launch.facts.attempt
        spec, upload_path = server_spec(launch, context)
        if spec is None:
            self._failures.fail(launch, Result.IMAGE, f"no image {launch.label.image.name} in {context.name}")
            return
        launch.node = replace(launch.node, image_id=upload_path)
        launch.facts = replace(launch.facts, phase=Phase.CREATING, since=now, busy=True)
        node_id, lock = launch.node.id, launch.lock

        def job() -> str:
            context.fence(lock)  # the last moment at which nothing has happened yet
            server_id = context.cloud.create_server(spec)
            if not context.holds(lock):  # frozen in between, perhaps
                launch.log.warning("server %s was made while the lock was in doubt", server_id)
                if not self._may_be_adopted(node_id, server_id):
                    # Should it fail, the sweep finds it.
                    stray = Deletion(kind="server", id=server_id, why="lock in doubt", node=node_id)
                    context.write_down(stray, partial(context.cloud.delete_server, server_id))
                raise OutcomeUnknown(f"{lock.path} is in doubt")
            return server_id

        def then(outcome: Outcome[str]) -> None:
            if not self._mine(launch, attempt, Phase.CREATING):
                return  # given up meanwhile; the removal finds the server by its metadata
            self._guarded(launch, lambda: self._create_answered(launch, outcome))

        context.jobs.run(context.parts.api, job, then)

    def _may_be_adopted(self, node_id: str, server_id: str) -> bool:
        """Whether the node's record, as it is now, allows whoever has it to find and use this server.

        Where that cannot be told it stays: the owner of the provider finds it, as the node's or as nobody's.
        """
        try:
            node = self._context.store.read_node(node_id)
        except RecordGone:
            return False
        except (StoreUnavailable, BadRecord):
            return True
        return node.external_id == server_id or (node.state is NodeState.BUILDING and not node.external_id)

    def _create_answered(self, launch: Launch, outcome: Outcome[str]) -> None:
        if outcome.error is not None:
            self._create_failed(launch, outcome.error)
        elif outcome.value:
            self._created(launch, outcome.value)

    def _created(self, launch: Launch, server_id: str) -> None:
        now = self._context.clock.monotonic()
        launch.facts = replace(launch.facts, phase=Phase.BOOTING, since=now, server_id=server_id, busy=False)
        launch.node = replace(launch.node, external_id=server_id)
        launch.node = self._context.save_node(launch.node, launch.lock)
        launch.log.info("server %s is being built in %s", server_id, self._context.name)

    def _create_failed(self, launch: Launch, error: PoolmgrError) -> None:
        now = self._context.clock.monotonic()
        match error:
            case OutcomeUnknown():
                launch.log.warning("create call not answered, looking for the server: %s", error)
                launch.facts = replace(launch.facts, phase=Phase.UNKNOWN, since=now, busy=False)
                self._context.servers.want(now)
            case (
                CloudUnavailable() | AuthFailed()
            ):  # nothing was made: the same call again, no attempt charged
                pause = getattr(error, "retry_after", None) or 5.0
                launch.log.warning("cannot create a server yet: %s", error)
                self._context.servers.want_states(now)  # tells soon whether the cloud is away for all
                launch.facts = replace(  # launch-timeout is for what the cloud has begun
                    launch.facts,
                    phase=Phase.NEW,
                    since=now,
                    attempt_since=now,
                    busy=False,
                    not_before=now + pause,
                )
            case LockLost():
                launch.facts = replace(
                    launch.facts, phase=Phase.NEW, since=now, busy=False, not_before=now + 1.0
                )
            case OverQuota():
                self._failures.fail(launch, Result.QUOTA, str(error))
            case NoCapacity():
                self._failures.fail(launch, Result.CAPACITY, str(error))
            case ImageGone():
                self._failures.fail(launch, Result.IMAGE, str(error))
            case Rejected() | NotSupported():
                self._failures.fail(launch, Result.UNKNOWN, str(error), hopeless=True)
            case _:
                self._failures.fail(launch, Result.UNKNOWN, str(error))

    def _read_fault(self, launch: Launch, server: Server) -> None:
        """Ask for the server alone: some clouds tell only then why it failed (cloud.md 3.7)."""
        context = self._context
        attempt = launch.facts.attempt
        launch.facts = replace(launch.facts, busy=True)

        def then(outcome: Outcome[Server]) -> None:
            if not self._mine(launch, attempt, Phase.BOOTING):
                return
            told = outcome.value or server
            reason = told.fault or f"server {server.id} is in ERROR, without a fault"
            self._guarded(
                launch, lambda: self._failures.fail(launch, policy.result_of_fault(told.fault_kind), reason)
            )

        context.jobs.run(context.parts.api, lambda: context.cloud.get_server(server.id), then)

    # Addresses and reachability

    def _expose(self, launch: Launch, server: Server, now: float) -> None:
        context = self._context
        attempt = launch.facts.attempt
        launch.server = server
        if launch.active_at is None:
            launch.active_at = now
            context.boots.append(now - launch.facts.since)
            self._watcher.had_room(launch.flavor, launch.node.az)
        launch.facts = replace(launch.facts, phase=Phase.EXPOSING, busy=True)  # `since` stays that of BOOTING
        owner = context.owner_of(launch.node.id, attempt)
        lock, auto = launch.lock, launch.pool.auto_floating_ip

        def job() -> Addresses:
            context.fence(lock)
            return context.cloud.expose(server, owner=owner, auto_floating_ip=auto)

        def then(outcome: Outcome[Addresses]) -> None:
            if self._mine(launch, attempt, Phase.EXPOSING):
                self._guarded(launch, lambda: self._exposed(launch, outcome))

        context.jobs.run(context.parts.api, job, then)

    def _exposed(self, launch: Launch, outcome: Outcome[Addresses]) -> None:
        context = self._context
        now = context.clock.monotonic()
        facts = replace(launch.facts, busy=False)
        match outcome.error:
            case None:
                pass
            case OverQuota():
                return self._failures.fail(launch, Result.QUOTA, str(outcome.error))
            case NoCapacity():
                return self._failures.fail(launch, Result.CAPACITY, str(outcome.error))
            case NotFound():
                return self._failures.fail(
                    launch, Result.STATUS, "the server vanished before it had an address"
                )
            case Rejected() | NotSupported():
                return self._failures.fail(launch, Result.NETWORK, str(outcome.error), hopeless=True)
            case _:
                launch.log.warning("no address yet: %s", outcome.error)
                launch.facts = replace(facts, phase=Phase.BOOTING, not_before=now + 5.0)
                return None
        addresses = outcome.value or Addresses()
        if not addresses.interface_ip:
            if now - (launch.active_at or now) > context.tuning.address_grace:
                return self._failures.fail(launch, Result.NETWORK, "ACTIVE without an address")
            launch.facts = replace(facts, phase=Phase.BOOTING, not_before=now + 1.0)
            context.servers.want_states(now)
            return None
        launch.addresses = addresses
        if not launch.label.host_key_checking:
            return self._ready(launch, ())
        launch.facts = replace(facts, phase=Phase.PROBING, since=now, not_before=now)
        return self._probe(launch)

    def _probe(self, launch: Launch) -> None:
        context = self._context
        attempt = launch.facts.attempt
        launch.facts = replace(launch.facts, busy=True)
        address, image = launch.addresses.interface_ip, launch.label.image
        timeout = context.tuning.probe_timeout
        prober = context.parts.prober

        def job() -> tuple[str, ...]:
            return prober.host_keys(
                address,
                image.connection_port,
                connection_type=image.connection_type,
                timeout=timeout,
            )

        def then(outcome: Outcome[tuple[str, ...]]) -> None:
            if not self._mine(launch, attempt, Phase.PROBING):
                return
            if outcome.error is None:
                self._guarded(launch, lambda: self._ready(launch, outcome.value or ()))
                return
            launch.log.debug("not reachable yet: %s", outcome.error)
            at = context.clock.monotonic()
            launch.facts = replace(launch.facts, busy=False, not_before=at + context.tuning.probe_interval)

        context.jobs.run(context.parts.probes, job, then)

    def _ready(self, launch: Launch, keys: tuple[str, ...]) -> None:
        context, addresses = self._context, launch.addresses
        server = launch.server
        node = launch.node.moved(
            NodeState.READY,
            at=context.clock.time(),
            interface_ip=addresses.interface_ip,
            public_ipv4=addresses.public_v4,
            private_ipv4=addresses.private_v4 or addresses.public_v4,
            public_ipv6=addresses.public_v6,
            host_keys=keys,
            az=(server.az if server else None) or launch.node.az,
            host_id=server.host_id if server else None,
        )
        launch.node = context.save_node(node, launch.lock)
        self._launches.pop(node.id, None)
        seconds = context.clock.monotonic() - launch.started
        launch.log.info("ready at %s after %.1f s", addresses.interface_ip, seconds)
        count(launch, context, Result.READY)
        self._watcher.node_ready(launch.node, launch.lock)
