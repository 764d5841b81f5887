"""Networks, security groups and ports straight on a pretend world."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

from poolmgr.cloud.simulated.calls import Calls
from poolmgr.errors import CloudError, OverQuota, Rejected
from poolmgr.model.server import Port, ServerSpec, owner_of_metadata, owner_of_tag
from poolmgr.simcloud import world as sim


class SimulatedNetworks:
    """The Network service of one pretend cloud, if it has one, and what servers may be put on in any case."""

    def __init__(self, cloud: sim.SimCloud, calls: Calls) -> None:
        self._cloud, self._calls = cloud, calls
        self.present = "network" in cloud.shape.services

    def chosen(self, names: Sequence[str]) -> tuple[str, ...]:
        """Ids of the networks of these names, without names of all that servers can be put on."""
        networking = self._cloud.networking
        usable = [n for n in networking.networks.values() if n.pluggable]
        if not names or not self.present:
            return tuple(n.id for n in usable)
        chosen = [networking.network_named(name) for name in names]
        if blocked := [n.name for n in chosen if not n.pluggable]:
            raise Rejected(f"It is not allowed to create an interface on external network {blocked[0]}")
        return tuple(n.id for n in chosen)

    def price(self, names: Sequence[str]) -> tuple[int, bool]:
        """How many ports a server on them has, and whether all it has of IPv4 is private."""
        networking, plans = self._cloud.networking, {plan.name: plan for plan in self._cloud.shape.networks}
        try:
            chosen = [networking.networks[n].name for n in self.chosen(names)]
        except (CloudError, sim.Refusal):
            return 0, False  # the create call will say what is wrong
        v4 = [kind.value for kind in (plans[name].v4 for name in chosen if name in plans) if kind]
        return len(chosen), bool(v4) and "public" not in v4

    def groups(self, names: Sequence[str]) -> tuple[str, ...]:
        return tuple(self._cloud.networking.group_named(name).name for name in names)

    def make_ports(self, spec: ServerSpec) -> list[str]:
        """Ids of ports for a server to come, one in each of its networks, with the tag of its owner."""
        owner = owner_of_metadata(spec.metadata)
        tag = owner.tag() if owner else ""
        return [self._make_port(network, tag) for network in self.chosen(spec.networks)]

    def _make_port(self, network: str, tag: str) -> str:
        def make(trouble: sim.Trouble) -> str:
            if trouble.of(sim.FaultKind.QUOTA):
                raise OverQuota("Quota exceeded for resources: ['port'].")
            return self._cloud.networking.create_port(network, name=tag, description=tag).id

        return self._calls.ask("network.POST.ports", make, subject=tag)

    def list_ports(self) -> Mapping[str, Port]:
        if not self.present:
            return {}
        ports = self._calls.ask("network.GET.ports", lambda _: [*self._cloud.networking.ports.values()])
        return {p.id: _port(p) for p in ports}

    def delete_port(self, port_id: str) -> None:
        def delete(port_id: str, trouble: sim.Trouble) -> None:
            self._cloud.networking.port(port_id)
            if not trouble.of(sim.FaultKind.IGNORED_DELETE):
                self._cloud.networking.delete_port(port_id)

        self._calls.delete("network.DELETE.port", port_id, delete)

    def drop_ports(self, port_ids: Sequence[str]) -> None:
        """Delete those that became no server's, as far as the cloud lets us."""
        for port in port_ids:
            with suppress(CloudError):
                self.delete_port(port)


def _port(port: sim.Port) -> Port:
    return Port(
        id=port.id,
        device_id=port.device_id,
        device_owner=port.device_owner,
        status=port.status,
        owner=owner_of_tag(port.description),
    )
