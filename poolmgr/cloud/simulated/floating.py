"""Floating IPs straight on a pretend world: of its Network service, or of nova's own kind where it has none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from poolmgr.cloud.simulated.calls import Calls
from poolmgr.errors import CloudError, NotFound, OverQuota
from poolmgr.model.server import Addresses, FloatingIp, Owner, Server, owner_of_tag
from poolmgr.simcloud import world as sim


class SimulatedFloatingIps:
    """The floating IPs of one pretend cloud. `possible` False: its servers never need any."""

    def __init__(self, cloud: sim.SimCloud, calls: Calls) -> None:
        self._cloud, self._calls = cloud, calls
        self._neutron = "network" in cloud.shape.services
        routed = next((p.routed_to for p in cloud.shape.networks if p.routed_to), None)
        pool = next((p.name for p in cloud.shape.networks if p.external and not p.pluggable), None)
        self._source = routed if self._neutron else pool
        self.possible = self._source is not None

    def expose(self, server: Server, owner: Owner, *, auto: bool) -> Addresses:
        """The server's addresses, with a floating IP where it needs one and `auto` allows it."""
        addresses = server.addresses
        if addresses.floating_v4 or addresses.public_v4 or not addresses.fixed_v4 or not auto:
            return addresses
        given = self._give(server, owner)
        if not given:
            return addresses
        return replace(addresses, public_v4=given, interface_ip=given, floating_v4=given)

    def _give(self, server: Server, owner: Owner) -> str | None:
        """The address bound to the server, made or found; None where none can be had."""
        if self._source is None:
            return None
        return self._given_by_neutron(server, owner) if self._neutron else self._given_by_nova(server)

    def list(self) -> Mapping[str, FloatingIp]:
        if not self.possible:
            return {}
        operation = "network.GET.floatingips" if self._neutron else "compute.GET.os-floating-ips"
        known = self._calls.ask(operation, lambda _: [*self._cloud.networking.floating_ips.values()])
        return {f.id: self._record(f) for f in known}

    def delete(self, floating_ip_id: str) -> None:
        def delete(floating_ip_id: str, trouble: sim.Trouble) -> None:
            self._cloud.networking.floating_ip(floating_ip_id)
            if not trouble.of(sim.FaultKind.IGNORED_DELETE):
                self._cloud.networking.delete_floating_ip(floating_ip_id)

        operation = "network.DELETE.floatingip" if self._neutron else "compute.DELETE.os-floating-ip"
        self._calls.delete(operation, floating_ip_id, delete)

    def release(self, server_id: str) -> None:
        """Nova's own bear no mark: they go before their server."""
        if self._neutron or not self.possible:
            return
        for found in self.list().values():
            if found.port_id == server_id:
                self.delete(found.id)

    def _given_by_neutron(self, server: Server, owner: Owner) -> str:
        networking = self._cloud.networking
        ports = self._calls.ask("network.GET.ports", lambda _: networking.ports_of(server.id))
        if not ports:
            raise NotFound(f"server {server.id} has no port")
        for found in networking.floating_ips.values():
            if found.port_id == ports[0].id:
                return found.address

        def make(trouble: sim.Trouble) -> sim.FloatingIp:
            if trouble.of(sim.FaultKind.QUOTA):
                raise OverQuota("Quota exceeded for resources: ['floatingip'].")
            network = networking.network_named(str(self._source))
            return networking.create_floating_ip(network.id, port_id=ports[0].id, description=owner.tag())

        return self._calls.ask("network.POST.floatingips", make, subject=owner.tag()).address

    def _given_by_nova(self, server: Server) -> str:
        for found in self.list().values():
            if found.port_id == server.id:
                return found.address
        networking = self._cloud.networking

        def make(trouble: sim.Trouble) -> sim.FloatingIp:
            if trouble.of(sim.FaultKind.QUOTA):
                raise OverQuota("Maximum number of floating IPs exceeded")
            return networking.create_floating_ip(networking.network_named(str(self._source)).id)

        def bind(_: sim.Trouble) -> None:
            self._cloud.compute.server(server.id)
            networking.bind(made.id, networking.ports_of(server.id)[0].id, check_route=False)

        made = self._calls.ask("compute.POST.os-floating-ips", make)
        try:
            self._calls.ask("compute.POST.server_action", bind, subject=server.id)
        except CloudError:
            self.delete(made.id)
            raise
        return made.address

    def _record(self, floating: sim.FloatingIp) -> FloatingIp:
        port = self._cloud.networking.ports.get(floating.port_id or "")
        bound_to = floating.port_id if self._neutron else (port.device_id or None) if port else None
        return FloatingIp(
            id=floating.id,
            address=floating.address,
            port_id=bound_to,
            status=floating.status if self._neutron else "",
            owner=owner_of_tag(floating.description),
        )
