"""Clouds. `connect` is the library for other programs; everything else here is for the daemons and commands.

cloud = poolmgr.cloud.connect("north")
server = cloud.create_server("my-server", image="debian-12", flavor="small")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from poolmgr.cloud.library.connection import Connection, connect

__all__ = ["Connection", "connect"]


def __getattr__(name: str) -> Any:
    """The library, loaded when first asked for: a launcher that imports `poolmgr.cloud.api` needs nothing of it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from poolmgr.cloud.library import connection

    return getattr(connection, name)
