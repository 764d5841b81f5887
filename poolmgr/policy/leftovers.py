"""What create calls of the library left behind when their process was killed.

Such a call writes into the server's metadata when it gives up, and leaves one of two proofs when it has come to its
end: a floating IP with its tag, or the mark `poolmgr_library_ready` on a server that needed none. So a server with
neither, whose time is over, is half made. A floating IP, port or volume with a library's mark is left over
when no server has the same mark.

A server of a trial (`model.trial`) is never to stay: it is left over once its time is over, however far it has come.
"""

from __future__ import annotations

import enum
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from poolmgr.model.server import (
    LIBRARY,
    META_LIBRARY_READY,
    META_LIBRARY_UNTIL,
    FloatingIp,
    Listing,
    Owner,
    Port,
    Server,
    ServerStatus,
    Volume,
)
from poolmgr.model.trial import trial_of

#: Seconds beyond the end that a create call set itself: for clocks that differ, and for its own cleaning up.
GRACE = 600.0

_GONE = frozenset({ServerStatus.DELETED, ServerStatus.SOFT_DELETED})
_Thing = TypeVar("_Thing", Server, FloatingIp, Port, Volume)


class Standing(enum.Enum):
    """How far a server of the library has come."""

    WHOLE = "whole"
    MAKING = "being made"
    HALF_MADE = "half made"


@dataclass(frozen=True, kw_only=True, slots=True)
class Leftovers:
    """What nobody will finish and nobody uses."""

    servers: tuple[Server, ...] = ()
    floating_ips: tuple[FloatingIp, ...] = ()
    ports: tuple[Port, ...] = ()
    volumes: tuple[Volume, ...] = ()

    def owners(self) -> tuple[Owner, ...]:
        """Whose they are, each once."""
        things: tuple[Server | FloatingIp | Port | Volume, ...]
        things = (*self.servers, *self.floating_ips, *self.ports, *self.volumes)
        return tuple({whose(thing.owner): None for thing in things if thing.owner})

    def __bool__(self) -> bool:
        return bool(self.servers or self.floating_ips or self.ports or self.volumes)


def standing(
    server: Server, floating_ips: Iterable[FloatingIp], *, now: float, grace: float = GRACE
) -> Standing:
    """Of a server of the library. `now`: epoch seconds; `floating_ips`: all of the project."""
    owner = server.owner
    stays = trial_of(owner) is None
    if stays and META_LIBRARY_READY in server.metadata:
        return Standing.WHOLE
    if stays and any(ip.port_id == server.id or (owner and owner.same(ip.owner)) for ip in floating_ips):
        return Standing.WHOLE
    until = server.metadata.get(META_LIBRARY_UNTIL, "")
    if until.isdecimal() and now > int(until) + grace:
        return Standing.HALF_MADE
    return Standing.MAKING


def leftovers(
    servers: Listing[Server],
    floating_ips: Listing[FloatingIp],
    ports: Listing[Port],
    volumes: Listing[Volume],
    *,
    now: float,
    grace: float = GRACE,
) -> Leftovers:
    """What is left over in a project. `now`: epoch seconds.

    What hangs on a server is made when the server is listed already, or, ports made in advance, moments before. So
    `servers` must have begun after the other lists ended; incomplete and older lists prove nothing. What serves a
    server of anyone's stays, whatever its mark.
    """
    rest = (floating_ips, ports, volumes)
    if not servers.complete or not all(
        one.complete and servers.started_at >= one.finished_at for one in rest
    ):
        return Leftovers()
    ours = [s for s in servers.items.values() if is_librarys(s.owner) and s.status not in _GONE]
    ips = floating_ips.items.values()
    alive = {server.owner.node_id for server in ours if server.owner}

    def orphan(thing: FloatingIp | Port | Volume) -> bool:
        return thing.owner is not None and is_librarys(thing.owner) and thing.owner.node_id not in alive

    return Leftovers(
        servers=tuple(s for s in ours if standing(s, ips, now=now, grace=grace) is Standing.HALF_MADE),
        floating_ips=tuple(ip for ip in ips if orphan(ip) and unused(ip, ports.items, servers.items)),
        ports=tuple(p for p in ports.items.values() if orphan(p) and p.device_id not in servers.items),
        volumes=tuple(v for v in volumes.items.values() if orphan(v) and not v.server_ids),
    )


def both(first: Leftovers, second: Leftovers) -> Leftovers:
    """What is in both of two findings."""
    return Leftovers(
        servers=_both(first.servers, second.servers),
        floating_ips=_both(first.floating_ips, second.floating_ips),
        ports=_both(first.ports, second.ports),
        volumes=_both(first.volumes, second.volumes),
    )


def unused(ip: FloatingIp, ports: Mapping[str, Port], alive: Container[str]) -> bool:
    """Whether a floating IP leads nowhere, or to a port that a dead server left. `alive`: ids of servers."""
    if ip.port_id is None:
        return True
    port = ports.get(ip.port_id)
    if port is None or port.device_id in alive:
        return False
    made_with_it = ip.owner is not None and ip.owner.same(port.owner)
    return made_with_it or port.device_owner.startswith("compute:")


def whose(owner: Owner) -> Owner:
    """`owner` without the attempt, which tags do not name."""
    return replace(owner, attempt=None)


def is_librarys(owner: Owner | None) -> bool:
    return owner is not None and owner.deployment == LIBRARY


def _both(first: Iterable[_Thing], second: Iterable[_Thing]) -> tuple[_Thing, ...]:
    known = {thing.id for thing in first}
    return tuple(thing for thing in second if thing.id in known)
