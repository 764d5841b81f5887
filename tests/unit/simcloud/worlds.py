"""One cloud with a clock that moves when told."""

from __future__ import annotations

from typing import Any

from poolmgr.simcloud.config import load
from poolmgr.simcloud.world import Server, ServerRequest, SimCloud, World

START = 1_700_000_000.0


class Scene:
    """A world with one cloud called `one`; `go` lets time pass."""

    def __init__(self, **cloud: Any) -> None:
        self.now = START
        self.world = World(load({"seed": 1, "clouds": {"one": cloud}}), lambda: self.now)
        self.cloud: SimCloud = self.world.clouds["one"]

    def go(self, seconds: float) -> None:
        self.now += seconds
        self.cloud.timeline.settle()

    def create(self, name: str = "n", **more: Any) -> Server:
        """Ask for a server as an API call does, faults included."""
        trouble = self.cloud.call("compute.POST.servers", name)
        networks = [n.id for n in self.cloud.networking.networks.values() if n.pluggable]
        flavor = next(iter(self.cloud.compute.flavors.values()))
        values = {"name": name, "flavor": flavor, "image_id": "i", "networks": tuple(networks), **more}
        return self.cloud.compute.create(ServerRequest(**values), trouble)

    def delete(self, server: Server) -> None:
        trouble = self.cloud.call("compute.DELETE.server", server.id)
        self.cloud.compute.delete(server.id, trouble)

    def server(self, server: Server) -> Server:
        return self.cloud.compute.server(server.id)

    def addresses(self, server: Server) -> list[str]:
        return [a.address for a in self.server(server).addresses]
