"""`Prober` on a pretend world."""

from __future__ import annotations

import base64
import hashlib

from poolmgr.errors import ProbeError
from poolmgr.simcloud import world as sim


class SimulatedProber:
    """Scans host keys of guests of a world. The keys are made up, but stay those of their server."""

    def __init__(self, world: sim.World) -> None:
        self._world = world

    def host_keys(self, address: str, port: int, *, connection_type: str, timeout: float) -> tuple[str, ...]:  # noqa: ARG002
        """As in cloud.api; `timeout` has no meaning here."""
        server = self._world.guest_at(address)
        if server is None:
            raise ProbeError(f"{address} port {port}: nothing answers")
        if connection_type not in ("ssh", "network_cli"):
            return ()
        key = base64.b64encode(hashlib.sha256(server.id.encode()).digest()).decode()
        return (f"ssh-ed25519 {key}",)
