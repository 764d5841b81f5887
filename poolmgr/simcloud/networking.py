"""The networks of a pretend cloud: ports, floating IPs, and who is found at an address.

Nova's part: a server's ports are made by `plug` and removed by `unplug`. `changed` is called with a server's
id when the addresses it shows may be others.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from poolmgr.simcloud.addresses import AddressPool, mapped, unmapped
from poolmgr.simcloud.faults import NO_TROUBLE, FaultKind, Trouble
from poolmgr.simcloud.landscape import built
from poolmgr.simcloud.quota import Quota
from poolmgr.simcloud.refusal import Refusal, bad_request, conflict, neutron_quota, no_such
from poolmgr.simcloud.shapes import NetworkPlan
from poolmgr.simcloud.things import Address, FloatingIp, Network, Port, Router, SecurityGroup
from poolmgr.simcloud.timeline import Timeline


class Networking:
    def __init__(
        self,
        *,
        number: int,
        plans: Iterable[NetworkPlan],
        groups: Iterable[str],
        private_on_loopback: bool,
        quota: Quota,
        timeline: Timeline,
        rng: random.Random,
        new_id: Callable[[], str],
        changed: Callable[[str], None],
    ) -> None:
        """`number` (1 to 254) picks the cloud's ranges: 127.<number>.0.0/16 and 10.<number>.0.0/16."""
        self._land = built(plans, number=number, private_on_loopback=private_on_loopback, new_id=new_id)
        self.networks, self.subnets, self.routers = (
            self._land.networks,
            self._land.subnets,
            self._land.routers,
        )
        self.ports: dict[str, Port] = {}
        self.floating_ips: dict[str, FloatingIp] = {}
        self.groups: dict[str, SecurityGroup] = {}
        self._quota, self._timeline, self._rng, self._new_id = quota, timeline, rng, new_id
        self._changed = changed
        self._ports_at: dict[str, str] = {}  # address -> port id
        self._ports_of: dict[str, list[str]] = {}  # device id -> port ids
        self._floating_on: dict[str, list[str]] = {}  # port id -> floating IP ids
        self._floating_at: dict[str, str] = {}
        self._dark: dict[str, float | None] = {}  # floating IPs that are DOWN -> for how long; None: for ever
        for name in ("default", *groups):
            self.create_group(name, "Default security group" if name == "default" else "")
        for router in self.routers.values():
            self._router_ports(router)

    def _router_ports(self, router: Router) -> None:
        for subnet_id in router.subnets:
            subnet = self.subnets[subnet_id]
            port = Port(
                id=self._new_id(),
                name="",
                network_id=subnet.network_id,
                mac=self._mac(),
                fixed_ips=((subnet.id, subnet.gateway or ""),),
                created=self._timeline.time,
                device_id=router.id,
                device_owner="network:router_interface",
                status="ACTIVE",
            )
            self.ports[port.id] = port
            self._ports_of.setdefault(router.id, []).append(port.id)

    def network_named(self, name: str) -> Network:
        """A network by id or name. Raises Refusal."""
        if name in self.networks:
            return self.networks[name]
        found = [n for n in self.networks.values() if n.name == name]
        if len(found) != 1:
            raise no_such("network", name)
        return found[0]

    # -- ports -------------------------------------------------------------------------------------------

    def used(self) -> dict[str, float]:
        return {
            "ports": len(self.ports),
            "floating_ips": len(self.floating_ips),
            "security_groups": len(self.groups),
        }

    def create_port(self, network_id: str, **fields: Any) -> Port:
        """A port with an address in each subnet of the network; `fields` as in things.Port. Raises Refusal."""
        network = self.networks.get(network_id)
        if network is None:
            raise no_such("network", network_id)
        if not fields.get("foreign") and self._quota.exceeded({"ports": 1}, {"ports": len(self.ports)}):
            raise neutron_quota("port")
        port = Port(
            **{
                "name": "",
                "security_groups": (self.group_named("default").id,) if network.port_security else (),
                **fields,
                "id": self._new_id(),
                "network_id": network_id,
                "mac": self._mac(),
                "fixed_ips": tuple(self._take(network)),
                "created": self._timeline.time,
            }
        )
        self.ports[port.id] = port
        for _, address in port.fixed_ips:
            self._ports_at[unmapped(address)] = port.id
        if port.device_id:
            self._ports_of.setdefault(port.device_id, []).append(port.id)
        return port

    def check_port_quota(self, count: int) -> None:
        """Whether so many ports more are allowed. Raises Refusal in Nova's words."""
        if self._quota.exceeded({"ports": count}, {"ports": len(self.ports)}):
            raise Refusal(403, "Maximum number of ports exceeded", kind="forbidden")

    def _take(self, network: Network) -> list[tuple[str, str]]:
        taken: list[tuple[str, str]] = []
        for subnet_id in network.subnets if network.admin_state_up else ():
            address = self._land.pools[subnet_id].take()
            if address is None:
                self._give_back(taken)
                raise conflict(
                    f"No more IP addresses available on network {network.id}.", "IpAddressGenerationFailure"
                )
            taken.append((subnet_id, mapped(address) if subnet_id in self._land.mapped else address))
        return taken

    def _give_back(self, fixed_ips: Iterable[tuple[str, str]]) -> None:
        for subnet_id, address in fixed_ips:
            self._land.pools[subnet_id].give_back(unmapped(address))
            self._ports_at.pop(unmapped(address), None)

    def update_port(self, port_id: str, **changes: Any) -> Port:
        port = self.port(port_id)
        if "device_id" in changes:
            self._leave_device(port)
        changed = self.ports[port_id] = replace(port, **changes)
        if changes.get("device_id"):
            self._ports_of.setdefault(changed.device_id, []).append(port_id)
        return changed

    def _leave_device(self, port: Port) -> None:
        ports = self._ports_of.get(port.device_id, [])
        if port.id in ports:
            ports.remove(port.id)
        if not ports:
            self._ports_of.pop(port.device_id, None)

    def delete_port(self, port_id: str) -> None:
        """Remove a port and unbind its floating IPs. Raises Refusal for a router's port."""
        port = self.port(port_id)
        if port.device_owner.startswith("network:"):
            message = f"Port {port_id} cannot be deleted directly via the port API: has device owner "
            raise conflict(message + f"{port.device_owner}.", "ServicePortInUse")
        for floating_id in list(self._floating_on.get(port_id, ())):
            self.bind(floating_id, None)
        self._leave_device(port)
        self._give_back(port.fixed_ips)
        del self.ports[port_id]
        if port.device_id:
            self._changed(port.device_id)

    def port(self, port_id: str) -> Port:
        if port_id not in self.ports:
            raise no_such("port", port_id)
        return self.ports[port_id]

    def ports_of(self, device_id: str) -> list[Port]:
        return [self.ports[port_id] for port_id in self._ports_of.get(device_id, ())]

    # -- a server's side ---------------------------------------------------------------------------------

    def plug(self, server_id: str, zone: str, networks: Iterable[str], ports: Iterable[str]) -> None:
        """Make and bind the ports of a server that is being built."""
        owner = f"compute:{zone}"
        for network_id in networks:
            self.create_port(
                network_id, device_id=server_id, device_owner=owner, status="ACTIVE", by_nova=True
            )
        for port_id in ports:
            if port_id in self.ports:
                self.update_port(port_id, device_id=server_id, device_owner=owner, status="ACTIVE")

    def unplug(self, server_id: str, *, leak: bool = False) -> None:
        """Remove the ports that Nova made and free the others; with `leak` they stay, DOWN."""
        for port in self.ports_of(server_id):
            if leak:
                self.update_port(port.id, status="DOWN")
            elif port.by_nova:
                self.delete_port(port.id)
            else:
                self.update_port(port.id, device_id="", device_owner="", status="DOWN")

    def addresses_of(self, server_id: str, *, typed: bool) -> tuple[Address, ...]:
        """What Nova shows of a server, floating IPs under their fixed network's name."""
        shown: list[Address] = []
        for port in self.ports_of(server_id):
            name = self.networks[port.network_id].name
            kinds = ("fixed", "floating") if typed else ("", "")
            for subnet_id, address in port.fixed_ips:
                version = self.subnets[subnet_id].version
                shown.append(
                    Address(network=name, address=address, version=version, kind=kinds[0], mac=port.mac)
                )
            for floating_id in self._floating_on.get(port.id, ()):
                address = self.floating_ips[floating_id].address
                shown.append(Address(network=name, address=address, kind=kinds[1], mac=port.mac))
        return tuple(shown)

    def device_at(self, address: str) -> str | None:
        """The id of the server that an address leads to; None if it leads nowhere."""
        floating_id = self._floating_at.get(address)
        port_id = self.floating_ips[floating_id].port_id if floating_id else self._ports_at.get(address)
        port = self.ports.get(port_id) if port_id else None
        return (port.device_id or None) if port else None

    # -- floating IPs ------------------------------------------------------------------------------------

    def create_floating_ip(
        self,
        network_id: str,
        *,
        port_id: str | None = None,
        fixed_address: str | None = None,
        trouble: Trouble = NO_TROUBLE,
        **fields: Any,
    ) -> FloatingIp:
        """Allocate, and bind where a port is named. Nothing is allocated when that fails. Raises Refusal."""
        network = self.networks.get(network_id)
        if network is None:
            raise no_such("network", network_id)
        if not network.external:
            raise bad_request(
                f"Bad floatingip request: Network {network_id} is not a valid external network."
            )
        used = {"floating_ips": len(self.floating_ips)}
        if not fields.get("foreign") and self._quota.exceeded({"floating_ips": 1}, used):
            raise neutron_quota("floatingip")
        if port_id is not None:
            self._fixed_v4(self.port(port_id), fixed_address)
            self._check_binding(network_id, self.port(port_id))
        pool = self._floating_pool(network)
        address = pool.take() if pool else None
        if address is None:
            message = (
                f"Unable to find any IP address on external network {network_id}."  # Neutron's own words
            )
            raise bad_request(message, "ExternalIpAddressExhausted")
        floating = FloatingIp(
            **{
                **fields,
                "id": self._new_id(),
                "address": address,
                "network_id": network_id,
                "created": self._timeline.time,
            }
        )
        self.floating_ips[floating.id] = floating
        self._floating_at[address] = floating.id
        if down := trouble.of(FaultKind.DOWN_FLOATING_IP):
            self._dark[floating.id] = down.seconds
        if port_id is not None:
            self.bind(floating.id, port_id, fixed_address, trouble=trouble)
        return self.floating_ips[floating.id]

    def _floating_pool(self, network: Network) -> AddressPool | None:
        """Of its first IPv4 subnet; None if it has none."""
        found = [s for s in network.subnets if self.subnets[s].version == 4]
        return self._land.pools[found[0]] if found else None

    def _check_binding(self, network_id: str, port: Port) -> Router | None:
        if self._floating_on.get(port.id):
            taken = self.floating_ips[self._floating_on[port.id][0]]
            message = (
                f"Cannot associate floating IP {taken.address} ({taken.id}) with port {port.id} using fixed "
                f"IP {port.fixed_ips[0][1]}, as that fixed IP already has a floating IP on external network "
                f"{network_id}."
            )
            raise conflict(message, "FloatingIPPortAlreadyAssociated")
        if self.networks[port.network_id].external:
            return None
        subnets = {subnet_id for subnet_id, _ in port.fixed_ips}
        for router in self.routers.values():
            if router.external_network_id == network_id and subnets & set(router.subnets):
                return router
        message = (
            f"External network {network_id} is not reachable from subnet {port.fixed_ips[0][0]}.  Therefore, "
            f"cannot associate Port {port.id} with a Floating IP."
        )
        raise Refusal(404, message, kind="ExternalGatewayForFloatingIPNotFound")

    def bind(
        self,
        floating_id: str,
        port_id: str | None,
        fixed_address: str | None = None,
        *,
        check_route: bool = True,
        trouble: Trouble = NO_TROUBLE,
    ) -> FloatingIp:
        """Bind a floating IP to a port, away from any other one; None only unbinds.

        `check_route` False: as nova-network does it, without routers. Raises Refusal.
        """
        floating = self.floating_ip(floating_id)
        if port_id == floating.port_id:
            return floating
        if port_id is None:
            self._unbind(floating)
            return self.floating_ips[floating_id]
        port = self.port(port_id)
        fixed = self._fixed_v4(port, fixed_address)
        router = self._check_binding(floating.network_id, port) if check_route else None
        self._unbind(floating)
        bound = replace(
            floating,
            port_id=port_id,
            fixed_address=fixed,
            router_id=router.id if router else None,
            status="DOWN" if floating_id in self._dark else "ACTIVE",
        )
        self.floating_ips[floating_id] = bound
        self._floating_on.setdefault(port_id, []).append(floating_id)
        if port.device_id:
            self._changed(port.device_id)
        self._plan_for(bound, port, trouble)
        return bound

    def _plan_for(self, bound: FloatingIp, port: Port, trouble: Trouble) -> None:
        """What happens to a binding later: its router gets to it, or somebody takes it away."""
        seconds = self._dark.pop(bound.id, None)
        if seconds is not None:
            self._timeline.after(seconds, lambda: self._light(bound.id))
        if stolen := trouble.of(FaultKind.STOLEN_FLOATING_IP):
            self._timeline.after(stolen.delay, lambda: self._steal(bound.id, port.network_id))

    def _light(self, floating_id: str) -> None:
        floating = self.floating_ips.get(floating_id)
        if floating is not None and floating.port_id is not None:
            self.floating_ips[floating_id] = replace(floating, status="ACTIVE")

    def _steal(self, floating_id: str, network_id: str) -> None:
        if floating_id in self.floating_ips:
            thief = self.create_port(network_id, name="thief", foreign=True)
            self.bind(floating_id, thief.id)

    def _fixed_v4(self, port: Port, wanted: str | None) -> str:
        """The port's fixed address that a floating IP is bound to. Raises Refusal in Neutron's words."""
        v4 = [a for s, a in port.fixed_ips if self.subnets[s].version == 4]
        if not v4:
            words = f"Cannot add floating IP to port {port.id} that has no fixed IPv4 addresses."
            raise bad_request(f"Bad floatingip request: {words}")
        if wanted and wanted not in v4:
            raise bad_request(f"Bad floatingip request: Port {port.id} does not have fixed ip {wanted}.")
        return wanted or v4[0]

    def _unbind(self, floating: FloatingIp) -> None:
        if floating.port_id is None:
            return
        self._floating_on[floating.port_id].remove(floating.id)
        self.floating_ips[floating.id] = replace(
            floating, port_id=None, fixed_address=None, router_id=None, status="DOWN"
        )
        port = self.ports.get(floating.port_id)
        if port is not None and port.device_id:
            self._changed(port.device_id)

    def update_floating_ip(self, floating_id: str, **changes: Any) -> FloatingIp:
        floating = self.floating_ip(floating_id)
        self.floating_ips[floating_id] = replace(floating, **changes)
        return self.floating_ips[floating_id]

    def delete_floating_ip(self, floating_id: str) -> None:
        floating = self.floating_ip(floating_id)
        self._unbind(floating)
        del self.floating_ips[floating_id]
        del self._floating_at[floating.address]
        self._dark.pop(floating_id, None)
        if pool := self._floating_pool(self.networks[floating.network_id]):
            pool.give_back(floating.address)

    def floating_ip(self, floating_id: str) -> FloatingIp:
        if floating_id not in self.floating_ips:
            raise no_such("floating IP", floating_id)
        return self.floating_ips[floating_id]

    def floating_ips_on(self, port_id: str) -> list[FloatingIp]:
        return [self.floating_ips[floating_id] for floating_id in self._floating_on.get(port_id, ())]

    # -- security groups ---------------------------------------------------------------------------------

    def create_group(self, name: str, description: str = "") -> SecurityGroup:
        if self._quota.exceeded({"security_groups": 1}, {"security_groups": len(self.groups)}):
            raise neutron_quota("security_group")
        if name == "default" and self.groups:
            raise conflict("Default security group already exists.", "SecurityGroupDefaultAlreadyExists")
        group = SecurityGroup(id=self._new_id(), name=name, description=description)
        self.groups[group.id] = group
        return group

    def delete_group(self, group_id: str) -> None:
        if self.groups.pop(group_id, None) is None:
            raise no_such("security group", group_id)

    def group_named(self, name: str) -> SecurityGroup:
        """A security group by id or name. Raises Refusal in Nova's words."""
        if name in self.groups:
            return self.groups[name]
        found = [group for group in self.groups.values() if group.name == name]
        if len(found) > 1:
            message = f"Multiple security groups found matching '{name}'. Use an ID to be more specific."
            raise conflict(message, "conflictingRequest")
        if not found:
            raise bad_request(f"Security group {name} not found for project")
        return found[0]

    def _mac(self) -> str:
        return "fa:16:3e:" + ":".join(f"{self._rng.randrange(256):02x}" for _ in range(3))
