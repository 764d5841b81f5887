"""A pretend world's servers as ours."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from poolmgr.cloud.faults import fault_kind
from poolmgr.model.server import Addresses, Server, ServerStatus
from poolmgr.simcloud import world as sim

#: Servers that are remembered as converted, at most.
_REMEMBERED = 20_000


class Reading:
    """Reads servers of one cloud. Without `lists_faults` a fault is only told of a single server."""

    def __init__(self, cloud: sim.SimCloud, *, lists_faults: bool) -> None:
        self._external = {p.name for p in cloud.shape.networks if p.external}
        self._lists_faults = lists_faults
        self._known: dict[str, tuple[sim.Server, Server]] = {}  # as last converted

    def listed(self, server: sim.Server) -> Server:
        listed = self.whole(server)
        return listed if self._lists_faults else replace(listed, fault="", fault_kind=None)

    def whole(self, server: sim.Server) -> Server:
        """Converted once for each change: records of a world do not change, they are replaced."""
        known = self._known.get(server.id)
        if known is not None and known[0] is server:
            return known[1]
        if len(self._known) > _REMEMBERED:
            self._known.clear()
        converted = _server(server, self._addresses(server))
        self._known[server.id] = (server, converted)
        return converted

    def _addresses(self, server: sim.Server) -> Addresses:
        """By role, as the cloud's shape says what its networks are for."""
        v4 = [a for a in server.addresses if a.version == 4]
        floating = _first(a.address for a in v4 if a.kind == "floating")
        public = floating or _first(a.address for a in v4 if a.network in self._external)
        private = _first(a.address for a in v4 if a.network not in self._external and a.kind != "floating")
        v6 = _first(a.address for a in server.addresses if a.version == 6)
        return Addresses(
            public_v4=public,
            private_v4=private,
            public_v6=v6,
            interface_ip=v6 or public or private,
            fixed_v4=private or _first(a.address for a in v4 if a.kind != "floating"),
            floating_v4=floating,
        )


def _server(server: sim.Server, addresses: Addresses) -> Server:
    try:
        status = ServerStatus(server.status)
    except ValueError:
        status = ServerStatus.OTHER
    flavor = server.flavor
    return Server(
        id=server.id,
        name=server.name,
        status=status,
        status_text=server.status,
        task_state=server.task_state,
        fault=server.fault.message if server.fault else "",
        fault_kind=fault_kind(server.fault.message) if server.fault else None,
        metadata=server.metadata,
        addresses=addresses,
        az=server.zone,
        host_id=server.host or None,
        volumes=server.volumes,
        resources={"instances": 1, "cores": flavor.vcpus, "ram": flavor.ram_mib},
        created_at=server.created,
        flavor_name=flavor.name,
        image_id=server.image_id,
    )


def _first(texts: Iterable[str]) -> str:
    return next((text for text in texts if text), "")
