"""Which nodes the hosts of a static provider have, and when each host is looked at (launcher.md 10).

A host has a number of slots; a slot is free for registration when no record stands for it, in whatever state. So
every record of a host is given a slot first, and only what is left over becomes a new node: a launcher that was killed
between two writes finds what it left, and never registers a slot twice.

What is promised or in use is not touched: only nodes that are READY, nobody's and not locked are rewritten or removed
here, and whoever carries that out looks again under the node's lock.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from poolmgr.config.settings import StaticNode, StaticPool, StaticProvider
from poolmgr.model.node import GARBAGE_WHEN_UNLOCKED, Node, NodeState
from poolmgr.model.request import NodeRequest
from poolmgr.policy.capacity import Capacity
from poolmgr.policy.growth import doubling
from poolmgr.policy.requests import LabelFacts, PoolFacts
from poolmgr.policy.tuning import Tuning

#: What the records of static nodes have for `launcher` (zookeeper.md 7.1).
LAUNCHER = "static driver"

Key = tuple[str, str | None, int | None]  # name, username, connection port: what makes a host the same host


@dataclass(frozen=True, kw_only=True)
class Host:
    """One entry of `nodes` in a static pool, and where it stands."""

    provider: str
    pool: str
    settings: StaticNode
    attributes: Mapping[str, Any] | None = None

    @property
    def key(self) -> Key:
        return self.settings.name, self.settings.username, self.settings.connection_port

    @property
    def slots(self) -> int:
        return max(0, self.settings.max_parallel_jobs)

    @property
    def told(self) -> str:
        """For logs: `user@name:port`."""
        return f"{self.settings.username}@{self.settings.name}:{self.settings.connection_port}"


def hosts_of(provider: StaticProvider) -> dict[Key, Host]:
    """Its hosts by what identifies them. One that is listed twice counts once, the last time."""
    hosts = (
        Host(provider=provider.name, pool=pool.name, settings=node, attributes=pool.node_attributes)
        for pool in provider.pools.values()
        for node in pool.nodes
    )
    return {host.key: host for host in hosts}


def key_of(node: Node) -> Key:
    """What identifies the host that `node` is on."""
    port = node.connection_port  # foreign drivers have dicts there
    return node.hostname or "", node.username, port if isinstance(port, int) else None


# Health


class Check(enum.Enum):
    CONNECT = "connect"  # does anything listen there?
    SCAN = "scan"  # its address and its host keys as well


@dataclass(frozen=True, slots=True)
class Findings:
    """What a scan brought. `address`: what the name resolves to; None: it does not, or nobody asked."""

    keys: tuple[str, ...] = ()
    address: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Health:
    """What is known of a host. Monotonic seconds; None: never."""

    findings: Findings | None = None  # of the last scan that was good
    scanned_at: float | None = None  # when that was
    seen_at: float | None = None  # when it answered last, to whichever check
    tried_at: float = 0.0  # when the last check ended
    failures: int = 0  # checks in a row that failed
    trouble: str | None = None  # why the last one did; None: it did not


def answered(health: Health, host: Host, findings: Findings | None, *, now: float, tuning: Tuning) -> Health:
    """`health` after a check that got an answer; `findings` None: it only connected.

    A host whose keys are not the configured ones is another machine than the operator means: it is out at once.
    """
    if findings is None:
        return replace(health, seen_at=now, tried_at=now, failures=0, trouble=None)
    absent = [key for key in host.settings.host_keys if key not in findings.keys]
    if absent and host.settings.host_key_checking:
        return replace(
            health,
            tried_at=now,
            failures=max(health.failures + 1, tuning.static_strikes),
            trouble=f"host key mismatch: it does not have the configured {_short(absent)}",
        )
    return Health(findings=findings, scanned_at=now, seen_at=now, tried_at=now)


def unanswered(health: Health, why: str, *, now: float) -> Health:
    """`health` after a check that failed."""
    return replace(health, tried_at=now, failures=health.failures + 1, trouble=why)


def is_up(health: Health, tuning: Tuning) -> bool:
    """Whether its nodes may stay: it was scanned once, and has not failed too often since."""
    return health.findings is not None and health.failures < tuning.static_strikes


def is_down(health: Health, tuning: Tuning) -> bool:
    """Whether its free nodes go. A host that nobody has looked at yet is neither up nor down."""
    return health.failures >= tuning.static_strikes


def is_live(health: Health, host: Host, *, now: float, tuning: Tuning) -> bool:
    """Whether a node of it may be handed out without asking first."""
    if health.failures or health.seen_at is None:
        return False
    return not host.settings.host_key_checking or now - health.seen_at <= tuning.static_live


def next_check(
    health: Health, *, vacant: bool, free: bool, wanted: bool, now: float, tuning: Tuning
) -> tuple[float, Check] | None:
    """When to look at a host next (monotonic seconds) and how; None: there is no need to.

    `vacant`: it has a slot to register; `free`: it has free nodes; `wanted`: a request waits for one of those.
    """
    if not (vacant or free):
        return None
    if health.failures:
        pause = doubling(tuning.static_retry, health.failures - 1, tuning.static_retry_max)
        scan = vacant or health.findings is None or is_down(health, tuning)
        return health.tried_at + pause, Check.SCAN if scan else Check.CONNECT
    if health.scanned_at is None or health.seen_at is None:
        return now, Check.SCAN
    dues = []
    if vacant:
        dues.append((health.scanned_at + tuning.static_fresh, Check.SCAN))
    if free:
        pause = tuning.static_live if wanted else tuning.static_check
        dues.append((health.scanned_at + tuning.static_rescan, Check.SCAN))
        dues.append((health.seen_at + pause, Check.CONNECT))
    return min(dues, key=lambda due: due[0])


def _short(keys: Iterable[str]) -> str:
    return ", ".join(key if len(key) <= 60 else f"{key[:40]}...{key[-12:]}" for key in keys)


# Slots


@dataclass(frozen=True, slots=True)
class Register:
    """Make a node of a slot for which no record stands."""

    host: Host
    slot: int
    findings: Findings


@dataclass(frozen=True, slots=True)
class Rewrite:
    """Write `changes` into a free node."""

    node: Node
    changes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove the record, if its state is still one of `states`; READY only while it is nobody's."""

    node: Node
    reason: str
    states: Collection[NodeState] = (NodeState.READY,)


Step = Register | Rewrite | Remove


@dataclass(frozen=True, kw_only=True)
class Occupation:
    """Who has the slots of one host."""

    host: Host
    vacant: Sequence[int] = ()  # slots for which no record stands
    free: Sequence[tuple[Node, int]] = ()  # free nodes and the slot of each
    surplus: Sequence[Node] = ()  # free nodes beyond its slots
    busy: int = 0  # nodes that somebody has, or that are going


@dataclass(frozen=True, kw_only=True)
class View:
    """The records that matter to one provider: its own, and whichever name its hosts."""

    provider: str
    records: Collection[Node] = ()
    locked: Collection[str] = ()  # ids of records that somebody has locked
    served: Collection[str] = ()  # providers that some launcher serves

    def is_free(self, node: Node) -> bool:
        """Whether it is READY, nobody's, not locked, and ours to change.

        A free node of a provider that nobody serves any more is ours when it is on a host of ours.
        """
        ours = node.provider == self.provider or node.provider not in self.served
        return ours and node.state is NodeState.READY and not node.allocated_to and node.id not in self.locked


def occupy(hosts: Mapping[Key, Host], view: View) -> tuple[list[Occupation], list[Node]]:
    """Who has which slot of which host; and the provider's records that belong to none of them."""
    by_host: dict[Key, list[Node]] = {key: [] for key in hosts}
    homeless: list[Node] = []
    for node in sorted(view.records, key=lambda n: n.id):
        by_host.get(key_of(node), homeless).append(node)
    strangers: list[Node] = []
    for node in homeless:  # its username or port was changed: it is on that machine all the same
        host = _same_machine(node, by_host, hosts)
        if host is not None:
            by_host[host].append(node)
        elif node.provider == view.provider:
            strangers.append(node)
    return [_occupy_one(hosts[key], nodes, view) for key, nodes in by_host.items()], strangers


def _same_machine(node: Node, by_host: Mapping[Key, Sequence[Node]], hosts: Mapping[Key, Host]) -> Key | None:
    """The host of the same name that has most slots left."""
    named = [key for key in hosts if key[0] == node.hostname]
    return max(named, key=lambda key: hosts[key].slots - len(by_host[key]), default=None)


def _occupy_one(host: Host, nodes: Sequence[Node], view: View) -> Occupation:
    """Busy nodes keep their slots, then free ones; whatever has none that counts gets one that is left."""
    left = dict.fromkeys(range(host.slots))
    busy = [node for node in nodes if not view.is_free(node)]
    free = [node for node in nodes if view.is_free(node)]
    placed: list[tuple[Node, int]] = []
    unplaced: list[Node] = []
    for node in (*busy, *free):
        if node.slot in left:
            del left[node.slot]
            placed.append((node, node.slot))
        else:
            unplaced.append(node)
    surplus = []
    for node in unplaced:
        slot = next(iter(left), None)
        if slot is not None:
            del left[slot]
            placed.append((node, slot))
        else:
            surplus.append(node)
    return Occupation(
        host=host,
        vacant=tuple(left),
        free=[(node, slot) for node, slot in placed if view.is_free(node)],
        surplus=[node for node in surplus if view.is_free(node)],
        busy=len(busy),
    )


def steps(
    occupations: Iterable[Occupation],
    strangers: Iterable[Node],
    healths: Mapping[Key, Health],
    view: View,
    *,
    now: float,
    tuning: Tuning,
) -> Iterator[Step]:
    """What to do so that each slot of each host that is up has one node, as configured. `now`: monotonic seconds."""
    for node in strangers:
        if view.is_free(node):
            yield Remove(node, "removed")
    for one in occupations:
        health = healths.get(one.host.key, Health())
        yield from (Remove(node, "slot") for node in one.surplus)
        if is_down(health, tuning):
            yield from (Remove(node, "unreachable") for node, _ in one.free)
            continue
        yield from _as_configured(one, health.findings)
        if is_up(health, tuning) and _is_fresh(health, now, tuning):
            findings = health.findings or Findings()
            yield from (Register(one.host, slot, findings) for slot in one.vacant)


def garbage(view: View, *, now: float, tuning: Tuning) -> Iterator[Remove]:
    """Records that nobody has locked in a state that is not left so: used, deleted, or never finished.

    `now`: epoch seconds. Nothing is done on the host. Those of other providers are theirs, unless nobody serves them.
    """
    for node in view.records:
        if node.id in view.locked or (node.provider != view.provider and node.provider in view.served):
            continue
        if node.state in GARBAGE_WHEN_UNLOCKED:
            yield Remove(node, node.state.value, GARBAGE_WHEN_UNLOCKED)
        elif node.state is NodeState.INIT and now - node.state_time >= tuning.static_stillborn:
            yield Remove(node, "stillborn", (NodeState.INIT,))


def described(host: Host, slot: int, findings: Findings | None) -> dict[str, Any]:
    """What the record of a node of this slot says by configuration; without `findings` nothing that a scan finds."""
    settings = host.settings
    fields: dict[str, Any] = {
        "labels": settings.labels,
        "provider": host.provider,
        "pool": host.pool,
        "external_id": settings.name,
        "hostname": settings.name,
        "interface_ip": settings.name,
        "username": settings.username,
        "connection_port": settings.connection_port,
        "connection_type": settings.connection_type,
        "shell_type": settings.shell_type,
        "python_path": settings.python_path,
        "attributes": host.attributes,
        "slot": slot,
    }
    if findings is not None:
        v6 = findings.address is not None and ":" in findings.address
        fields["host_keys"] = findings.keys if settings.host_key_checking else settings.host_keys
        fields["public_ipv4"] = None if v6 else findings.address
        fields["public_ipv6"] = findings.address if v6 else None
    return fields


def new_node(host: Host, slot: int, findings: Findings, *, at: float) -> Node:
    """The record of a slot that is registered at `at` (epoch seconds)."""
    fields = described(host, slot, findings)
    return Node(
        state=NodeState.READY,
        state_time=at,
        created_time=at,
        launcher=LAUNCHER,
        node_properties={},
        **fields,
    )


def _as_configured(one: Occupation, findings: Findings | None) -> Iterator[Rewrite]:
    for node, slot in one.free:
        wanted = described(one.host, slot, findings)
        changes = {name: value for name, value in wanted.items() if getattr(node, name) != value}
        if changes:
            yield Rewrite(node, changes)


def _is_fresh(health: Health, now: float, tuning: Tuning) -> bool:
    """A node is only registered by what was found just now: the user before may have changed the host."""
    return health.scanned_at is not None and now - health.scanned_at <= tuning.static_fresh


def wanted_hosts(
    wanted: Mapping[str, int],
    occupations: Iterable[Occupation],
    live: Collection[Key],
) -> frozenset[Key]:
    """The hosts to be asked whether they are live, so that waiting requests can have their nodes.

    `wanted`: how many nodes of each label requests wait for. Only as many hosts as that takes, in order of the time
    their nodes have been free; none for what live hosts have.
    """
    left = dict(wanted)
    free = sorted(
        (
            (node.state_time, node.id, one.host.key, node.labels)
            for one in occupations
            for node, _ in one.free
        ),
        key=lambda each: each[:2],
    )
    found = set()
    for _, _, key, labels in sorted(free, key=lambda each: each[2] not in live):
        label = next((name for name in labels if left.get(name, 0) > 0), None)
        if label is not None:
            left[label] -= 1
            found.add(key)
    return frozenset(found - set(live))


# Requests


def pool_facts(
    provider: StaticProvider,
    pool: StaticPool,
    *,
    pool_id: str,
    unasked: Collection[str],
    closed: str | None,
    awaited: Collection[frozenset[str]],
    patience: float,
) -> PoolFacts:
    """What judging has to know of a static pool. `unasked`: labels of free nodes whose host is asked first.

    It launches nothing: a label without a free node waits. What asks for more nodes than there are slots is refused;
    slots are counted, for all labels and for each, under names that no tenant's limit has.
    """
    ceiling = {"static slots": sum(max(0, node.max_parallel_jobs) for node in pool.nodes)}
    for label in pool.labels:
        slots = sum(max(0, node.max_parallel_jobs) for node in pool.nodes if label in node.labels)
        ceiling[f"static slots of {label}"] = slots
    return PoolFacts(
        id=pool_id,
        provider=provider.name,
        priority=pool.priority,
        labels={
            label: LabelFacts(
                need={"static slots": 1, f"static slots of {label}": 1},
                waiting="liveness" if label in unasked else "capacity",
            )
            for label in pool.labels
        },
        disabled=pool.disabled,
        capacity=Capacity(ceiling=ceiling),
        only_ready=True,
        patience=patience,
        launching_forbidden=provider.max_concurrency == 0,
        closed=closed,
        awaited=awaited,
    )


def wanted_labels(requests: Iterable[NodeRequest], offered: Collection[str]) -> Counter[str]:
    """How many nodes of each label are waited for by requests that could be served here."""
    return Counter(
        label
        for request in requests
        if request.reuse and all(name in offered for name in request.labels)
        for label in request.labels
    )
