"""What the calls of one connection share."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from poolmgr.cloud.api import Prober
from poolmgr.cloud.library.waiting import SharedList
from poolmgr.cloud.openstack import OpenStackCloud
from poolmgr.errors import CloudUnavailable
from poolmgr.model.server import FloatingIp, Port, Server, Volume
from poolmgr.policy.tuning import Tuning
from poolmgr.runtime.clock import Clock

#: Between two lists 1.5 s at least: a program that waits for one server is not worth more (cloud.md 3.8).
TUNING = Tuning(poll_min=1.5, probe_interval=1.0)


@dataclass(frozen=True, kw_only=True)
class Parts:
    """One connection's cloud, clock and lists. `closed` ends all waiting."""

    name: str  # of the cloud, for messages
    cloud: OpenStackCloud
    servers: SharedList[Server]
    floating_ips: SharedList[FloatingIp]
    ports: SharedList[Port]
    volumes: SharedList[Volume]
    prober: Callable[[], Prober]
    clock: Clock
    closed: threading.Event
    tuning: Tuning = TUNING

    def pause(self, seconds: float) -> None:
        """Let so many seconds pass. Raises CloudUnavailable once the connection is closed."""
        self.clock.wait(self.closed, seconds)
        if self.closed.is_set():
            raise CloudUnavailable(f"cloud {self.name}: the connection was closed")


def parts_of(
    name: str,
    cloud: OpenStackCloud,
    prober: Callable[[], Prober],
    clock: Clock,
    tuning: Tuning = TUNING,
    closed: threading.Event | None = None,
) -> Parts:
    closed = closed or threading.Event()
    return Parts(
        name=name,
        cloud=cloud,
        servers=SharedList(f"cloud {name}: servers", cloud.list_servers, clock, tuning, closed),
        floating_ips=SharedList(
            f"cloud {name}: floating IPs", cloud.list_floating_ips, clock, tuning, closed
        ),
        ports=SharedList(f"cloud {name}: ports", cloud.list_ports, clock, tuning, closed),
        volumes=SharedList(f"cloud {name}: volumes", cloud.list_volumes, clock, tuning, closed),
        prober=prober,
        clock=clock,
        closed=closed,
        tuning=tuning,
    )
