"""Pretend clouds: OpenStack's API over HTTP and one SSH server, in front of a world with scripted faults.

    with poolmgr.simcloud.running({"clouds": {"north": {"shape": "nat"}}}) as sim:
        sim.url, sim.ssh_port, sim.clouds_yaml(), sim.counts(), sim.world

`serve(file)` does the same in the foreground. `world` and what it imports are free of I/O.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from poolmgr.simcloud.server import RunningSim, SimServer, running, serve

__all__ = ["RunningSim", "SimServer", "running", "serve"]


def __getattr__(name: str) -> Any:
    """The servers are loaded when they are first asked for: users of `world` need no sockets or ciphers."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from poolmgr.simcloud import server

    return getattr(server, name)
