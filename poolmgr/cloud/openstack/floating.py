"""Whether a server needs a floating IP, and from where to where: pure (cloud.md 3.11).

What a cloud's networks allow is worked out once per topology (`nat_plan`); the decision for one server then
needs only its addresses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from poolmgr.cloud.openstack.topology import Network, Topology
from poolmgr.config.settings import CloudSettings
from poolmgr.errors import PoolmgrError
from poolmgr.model.server import Addresses
from poolmgr.model.trouble import Trouble

E = TypeVar("E", bound=PoolmgrError)


@dataclass(frozen=True, kw_only=True, slots=True)
class NatPlan:
    """How floating IPs are made in a cloud.

    `source` is the id of the network they come from (of nova's own kind: the name of their pool), None if there is
    none; `problem` then may say why one cannot be chosen. `destinations` are ids of networks whose ports can have
    one, None where the cloud does not tell them apart.
    """

    source: str | None = None
    destinations: frozenset[str] | None = frozenset()
    problem: Refuse | None = None

    @property
    def usable(self) -> bool:
        """Whether floating IPs can come up, be it only to be refused."""
        return bool(self.problem or (self.source and (self.destinations is None or self.destinations)))


@dataclass(frozen=True, kw_only=True, slots=True)
class GuestPort:
    """A server's port: its addresses, and the network they are on."""

    id: str
    network_id: str
    fixed_v4: tuple[str, ...] = ()
    fixed_v6: tuple[str, ...] = ()
    mac: str = ""


@dataclass(frozen=True, slots=True)
class Leave:
    """No floating IP, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class Bind:
    """One from the network `source`, on a port of one of `destinations` (empty: any inside network)."""

    source: str
    destinations: frozenset[str]


@dataclass(frozen=True, slots=True)
class Refuse:
    """One is needed and cannot be had as things are configured."""

    message: str
    trouble: Trouble

    def error(self, leaf: type[E], cloud: str) -> E:
        return self.trouble.error(leaf, f"cloud {cloud}: {self.message}")


Decision = Leave | Bind | Refuse


def nat_plan(settings: CloudSettings, topology: Topology) -> NatPlan:
    """What the networks of `topology` allow; configured sources and destinations win."""
    source, problem = _source(settings, topology)
    if source is None:
        return NatPlan(problem=problem)
    said = [network for network in settings.networks if network.nat_destination]
    if said:
        try:
            return NatPlan(source=source, destinations=frozenset({topology.pick(said[0].name).id}))
        except PoolmgrError as error:
            return NatPlan(problem=_misnamed("nat_destination", error))
    return NatPlan(source=source, destinations=_destinations(source, topology))


def pool_plan(settings: CloudSettings, pools: Sequence[str]) -> NatPlan:
    """What the pools of the Compute service allow; one that clouds.yaml names as a nat_source wins."""
    said = [network.name for network in settings.networks if network.nat_source]
    if said and said[0] not in pools:
        known = ", ".join(sorted(pools)) or "none"
        message = f"nat_source: floating IP pool {said[0]}: not found (the cloud's pools: {known})"
        return NatPlan(problem=Refuse(message, Trouble.NETWORK_UNKNOWN))
    choice = said[:1] or list(pools)
    if len(choice) > 1:
        listed = ", ".join(sorted(choice))
        message = f"there are several pools that floating IPs could come from: {listed}"
        return NatPlan(problem=Refuse(message, Trouble.SEVERAL_NAT_SOURCES))
    return NatPlan(source=choice[0], destinations=None) if choice else NatPlan()


def decide(settings: CloudSettings, plan: NatPlan) -> Decision:
    """What to do for a server that `no_need` knows no reason against."""
    if plan.source is None:
        problem = plan.problem
        if settings.requires_floating_ip and problem is None:
            missing = "no external network or pool is visible to take floating IPs from"
            problem = Refuse(missing, Trouble.NO_NAT_SOURCE)
        if problem is not None:
            return Refuse(f"a floating IP is needed, but {problem.message}", problem.trouble)
        return Leave("no source of floating IPs")
    if plan.destinations is None:
        return Bind(plan.source, frozenset())
    if not plan.destinations and not settings.requires_floating_ip:
        return Leave("no network is routed to the source of floating IPs")
    return Bind(plan.source, plan.destinations)


def may_come_up(settings: CloudSettings) -> bool:
    """Whether clouds.yaml leaves room for floating IPs at all."""
    possible = settings.floating_ip_source is not None and not settings.private
    return possible and settings.requires_floating_ip is not False


def no_need(addresses: Addresses, settings: CloudSettings, *, auto: bool) -> str:
    """Why a server with `addresses` needs none whatever the networks are, "" if it may need one.

    `auto` is its pool's auto-floating-ip.
    """
    reasons = (
        (settings.floating_ip_source is None, "the cloud has no floating IPs"),
        (settings.requires_floating_ip is False, "requires_floating_ip is false"),
        (settings.private, "the cloud is private"),
        (not auto, "auto-floating-ip is false"),
        (bool(addresses.floating_v4), "has one"),
        (bool(addresses.public_v4), "has a public address"),
        (not addresses.fixed_v4, "has no fixed IPv4 address"),
    )
    return next((reason for holds, reason in reasons if holds), "")


def _source(settings: CloudSettings, topology: Topology) -> tuple[str | None, Refuse | None]:
    """(id of the network floating IPs come from or None, why none can be chosen)."""
    said = [network for network in settings.networks if network.nat_source]
    if said:
        try:
            return topology.pick(said[0].name).id, None
        except PoolmgrError as error:
            return None, _misnamed("nat_source", error)
    if not settings.use_external_network:
        return None, None
    external = [n for n in topology.networks.values() if n.external and n.admin_up and _has_v4(n, topology)]
    if len(external) == 1:
        return external[0].id, None
    gateways = {
        router.gateway_network_id
        for router in topology.routers.values()
        if router.admin_up and router.gateway_network_id
    }
    if len(gateways) == 1:
        return gateways.pop(), None
    if len(external) > 1:
        listed = ", ".join(sorted(f"{network.name} ({network.id})" for network in external))
        message = f"several networks could be the source of floating IPs: {listed}"
        return None, Refuse(message, Trouble.SEVERAL_NAT_SOURCES)
    return None, None


def _misnamed(flag: str, error: PoolmgrError) -> Refuse:
    """A network with `flag` in clouds.yaml is not one that can be used."""
    return Refuse(f"{flag}: {error.message}", Trouble.of(error.reason) or Trouble.NETWORK_UNKNOWN)


def _has_v4(network: Network, topology: Topology) -> bool:
    """Whether an IPv4 subnet of it is visible; external networks often hide theirs, which says nothing."""
    subnets = topology.subnets_of(network.id)
    return not subnets or any(subnet.ip_version == 4 for subnet in subnets)


def _destinations(source: str, topology: Topology) -> frozenset[str]:
    """Networks with an IPv4 subnet that has a gateway and an interface of a router to `source`."""
    routed = {
        subnet_id
        for router in topology.routers.values()
        if router.gateway_network_id == source
        for subnet_id in router.subnet_ids
    }
    return frozenset(
        subnet.network_id
        for subnet in topology.subnets.values()
        if subnet.id in routed and subnet.ip_version == 4 and subnet.gateway_ip
    )


def port_for(
    ports: Sequence[GuestPort], bind: Bind, addresses: Addresses, topology: Topology
) -> GuestPort | Refuse | None:
    """Which of a server's ports the floating IP goes to; None if none of them can have one."""
    fit = [port for port in ports if port.fixed_v4 and _may_have_one(port, bind, topology)]
    networks = sorted({port.network_id for port in fit})
    if len(networks) > 1:
        listed = ", ".join(networks)
        message = f"several of the server's networks could have a floating IP: {listed}"
        return Refuse(message, Trouble.SEVERAL_NAT_DESTINATIONS)
    own = [port for port in fit if addresses.fixed_v4 in port.fixed_v4]
    return next(iter(own + fit), None)


def _may_have_one(port: GuestPort, bind: Bind, topology: Topology) -> bool:
    if bind.destinations:
        return port.network_id in bind.destinations
    network = topology.networks.get(port.network_id)
    return network is None or not network.external
