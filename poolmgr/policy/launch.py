"""The life of one launch, as a state machine that is only told facts.

    NEW -> CREATING -> BOOTING -> EXPOSING -> PROBING -> (ready)
              |  ^         \\________|____________|
              v  |                    v
           UNKNOWN               CLEANING -> NEW (next attempt), or the end

CREATING and EXPOSING mean that a call is in flight; in BOOTING one is while the fault of a server is read that no
listing told. UNKNOWN: the create call was sent and never answered; the server is looked for by its metadata in
listings before anything is sent again (cloud.md 3.6). CLEANING: the failed attempt's server is being deleted; the next
attempt begins when it is gone. All times are monotonic seconds.

A launch that was adopted (`policy.adoption`) begins in BOOTING when its record names a server. Otherwise in UNKNOWN: a
launcher that is gone may have sent a create call, of whatever attempt.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace

from poolmgr.model.server import FaultKind, Listing, Server, ServerStatus
from poolmgr.policy import adoption
from poolmgr.policy.growth import doubling
from poolmgr.policy.tuning import Tuning


class Phase(enum.Enum):
    NEW = "new"
    CREATING = "creating"
    UNKNOWN = "unknown"
    BOOTING = "booting"
    EXPOSING = "exposing"
    PROBING = "probing"
    CLEANING = "cleaning"


class Result(enum.Enum):
    """How an attempt ended: the metric's last part (metrics.md 2.3)."""

    READY = "ready"
    QUOTA = "error.quota"
    STATUS = "error.status"
    TIMEOUT = "error.servercreatetimeout"
    KEYSCAN = "error.keyscan"
    IMAGE = "error.nodepool"
    NETWORK = "error.network"
    CAPACITY = "error.capacity"
    ZKSESSION = "error.zksession"
    UNKNOWN = "error.unknown"


@dataclass(frozen=True, kw_only=True, slots=True)
class LaunchFacts:
    """Where a launch stands."""

    node_id: str
    phase: Phase = Phase.NEW
    since: float = 0.0  # of the phase
    attempt: int = 1  # goes into the server's metadata, so that each create call can be told from the others
    charged: int = 0  # attempts that failed and count against launch-retries
    attempt_since: float = 0.0
    not_before: float = 0.0  # of the next create call or probe
    server_id: str | None = None
    busy: bool = False  # a call or probe of this phase is in flight
    adopted: bool = False  # from a launcher that is gone, and the attempt in hand was that one's


@dataclass(frozen=True, slots=True)
class Wait:
    reason: str
    until: float = float("inf")  # look again then, if nothing happened before; never in the past
    absence: bool = False  # what is waited for is proof that something is not there: complete listings only


@dataclass(frozen=True, slots=True)
class Create:
    """`attempt`: its number from now on; None leaves it."""

    reason: str = "new"
    attempt: int | None = None


@dataclass(frozen=True, slots=True)
class Adopt:
    """The server of a create call that was never answered. `others` were made for the same node, and have to go."""

    server: Server
    reason: str = "found"
    others: tuple[Server, ...] = ()


@dataclass(frozen=True, slots=True)
class Expose:
    server: Server
    reason: str = "active"


@dataclass(frozen=True, slots=True)
class Probe:
    reason: str = "address"


@dataclass(frozen=True, slots=True)
class Fail:
    """`charged` False: the cloud failed, not the server, so it does not count against launch-retries.

    `unexplained` is a server in ERROR of which the listing did not say why: asked for alone, it may (cloud.md 3.7).
    """

    result: Result
    reason: str
    charged: bool = True
    unexplained: Server | None = None


Step = Wait | Create | Adopt | Expose | Probe | Fail


def next_step(
    facts: LaunchFacts,
    listing: Listing[Server] | None,
    *,
    now: float,
    launch_timeout: float,
    boot_timeout: float,
    tuning: Tuning,
    provider: str,
    deployment: str,
    before: Listing[Server] | None = None,
) -> Step:
    """What to do next for one launch. Every input has an answer, so this never raises.

    `listing` is the newest, None before the first; a partial one proves no absence. `before` is the complete one before
    it: where that is given, a server has vanished only when both lack it. `provider` and `deployment` are ours: the
    server of an unanswered create call must name them, as another installation may have a node of the same id.
    """
    if facts.phase is Phase.CLEANING:
        return Wait("cleaning")
    deadline = facts.attempt_since + launch_timeout
    if now >= deadline:
        if facts.phase is Phase.CREATING and facts.busy:
            return Wait("creating")  # only its answer says what there is to clean up
        return Fail(Result.TIMEOUT, f"not ready within launch-timeout ({launch_timeout:g} s)")
    if facts.phase is Phase.UNKNOWN and facts.adopted:
        step = _look_for_server(
            facts, listing, before, now=now, provider=provider, deployment=deployment, tuning=tuning
        )
    else:
        step = _step(
            facts, listing, before, now=now, boot_timeout=boot_timeout, deployment=deployment, tuning=tuning
        )
    return replace(step, until=min(step.until, deadline)) if isinstance(step, Wait) else step


def _step(
    facts: LaunchFacts,
    listing: Listing[Server] | None,
    before: Listing[Server] | None,
    *,
    now: float,
    boot_timeout: float,
    deployment: str | None,
    tuning: Tuning,
) -> Step:
    match facts.phase:
        case Phase.NEW:
            return Create() if now >= facts.not_before else Wait("backoff", facts.not_before)
        case Phase.UNKNOWN:
            return _settle_unknown(facts, listing, now=now, deployment=deployment, tuning=tuning)
        case Phase.BOOTING:
            return _watch_boot(facts, listing, before, now=now, tuning=tuning)
        case Phase.PROBING:
            return _watch_probe(facts, listing, now=now, boot_timeout=boot_timeout)
    return Wait(facts.phase.value)


def _settle_unknown(
    facts: LaunchFacts,
    listing: Listing[Server] | None,
    *,
    now: float,
    deployment: str | None,
    tuning: Tuning,
) -> Step:
    for server in listing.items.values() if listing else ():
        owner = server.owner
        ours = owner and deployment in (None, owner.deployment)
        if owner and ours and (owner.node_id, owner.attempt) == (facts.node_id, facts.attempt):
            return Adopt(server)
    settled_at = facts.since + tuning.unknown_spacing
    if listing and listing.complete and listing.started_at >= settled_at:
        return Fail(
            Result.UNKNOWN, "the create call was not answered and no server came of it", charged=False
        )
    return Wait("unknown", settled_at if now < settled_at else float("inf"), absence=True)


def _look_for_server(
    facts: LaunchFacts,
    listing: Listing[Server] | None,
    before: Listing[Server] | None,
    *,
    now: float,
    provider: str,
    deployment: str,
    tuning: Tuning,
) -> Step:
    """An adopted launch whose record names no server: there is one, of some attempt, or two listings lack it."""
    servers = listing.items.values() if listing else ()
    there = adoption.servers_there(servers, facts.node_id, provider=provider, deployment=deployment)
    if there:
        return Adopt(there[0], others=tuple(there[1:]))
    settled_at = facts.since + tuning.adoption_spacing
    looks = ((listing, settled_at), (before, facts.since))
    if all(one and one.complete and one.started_at >= at for one, at in looks):
        bearing = (s for s in servers if s.owner and s.owner.node_id == facts.node_id)
        return Create("no server came of it", attempt=adoption.fresh_attempt(bearing))
    return Wait("unknown", settled_at if now < settled_at else float("inf"), absence=True)


def _watch_boot(
    facts: LaunchFacts,
    listing: Listing[Server] | None,
    before: Listing[Server] | None,
    *,
    now: float,
    tuning: Tuning,
) -> Step:
    server = listing.items.get(facts.server_id or "") if listing else None
    if server is None:
        grown_up = facts.since + tuning.young_server  # before, it may not be listed yet
        looks = [listing, before] if before else [listing]
        if all(one and one.complete and one.started_at >= grown_up for one in looks) and not any(
            one and facts.server_id in one.items for one in looks
        ):
            return Fail(Result.STATUS, "the server vanished while it was built")
        return Wait("unlisted", absence=now >= grown_up)
    match server.status:
        case ServerStatus.ERROR:
            if facts.busy:
                return Wait("fault")
            reason = server.fault or "server in ERROR, without a fault"
            unexplained = server if server.fault_kind is None else None
            return Fail(result_of_fault(server.fault_kind), reason, unexplained=unexplained)
        case ServerStatus.DELETED | ServerStatus.SOFT_DELETED:
            return Fail(Result.STATUS, "the server was deleted by someone else")
        case ServerStatus.OTHER:
            return Fail(Result.STATUS, f"the server is {server.status_text} before it was ready")
        case ServerStatus.ACTIVE:
            if facts.busy:
                return Wait("address")
            return Expose(server) if now >= facts.not_before else Wait("address", facts.not_before)
    return Wait("booting")


def _watch_probe(
    facts: LaunchFacts, listing: Listing[Server] | None, *, now: float, boot_timeout: float
) -> Step:
    server = listing.items.get(facts.server_id or "") if listing else None
    if server is not None and server.status is ServerStatus.ERROR:
        return Fail(Result.STATUS, server.fault or "server in ERROR after it was active")
    deadline = facts.since + boot_timeout
    if now >= deadline:
        return Fail(Result.KEYSCAN, f"not reachable within boot-timeout ({boot_timeout:g} s)")
    if facts.busy:
        return Wait("probing", deadline)
    if now < facts.not_before:
        return Wait("unreachable", min(facts.not_before, deadline))
    return Probe()


_RESULTS = {
    FaultKind.QUOTA: Result.QUOTA,
    FaultKind.CAPACITY: Result.CAPACITY,
    FaultKind.IMAGE: Result.IMAGE,
}


def result_of_fault(kind: FaultKind | None) -> Result:
    """How an attempt counts whose server went to ERROR with a fault of this kind."""
    return _RESULTS.get(kind, Result.STATUS) if kind else Result.STATUS


class After(enum.Enum):
    """What follows a failed attempt."""

    RETRY = "retry"
    ABORT = "abort"  # not the node's fault: throw the node away, keep the request, no attempt charged
    GIVE_UP = "give-up"  # the request is declined


def after_failure(
    result: Result, attempts: int, *, retries: int, hopeless: bool = False, charged: bool = True
) -> After:
    """What follows; `attempts` have failed and count, this one included if `charged`.

    `hopeless`: the cloud rejected the settings themselves, so no retry can help.
    """
    if result in (Result.QUOTA, Result.IMAGE):
        return After.ABORT
    if hopeless or (charged and attempts >= max(1, retries)):
        return After.GIVE_UP
    return After.RETRY


def backoff(attempt: int, tuning: Tuning) -> float:
    """Seconds to wait before attempt number `attempt + 1`."""
    return doubling(tuning.retry_backoff, attempt - 1, tuning.retry_backoff_max)
