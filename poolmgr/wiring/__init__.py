"""The only place that picks real parts and joins them."""

from poolmgr.wiring.builder import BuilderDaemon
from poolmgr.wiring.clouds import open_image_clouds
from poolmgr.wiring.identity import new_id
from poolmgr.wiring.launcher import LauncherDaemon
from poolmgr.wiring.store import open_store

__all__ = ["BuilderDaemon", "LauncherDaemon", "new_id", "open_image_clouds", "open_store"]
