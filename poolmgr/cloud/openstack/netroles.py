"""What the networks of a project are for, and what becomes of a server on them, with the reasons: pure.

The same functions decide that launch servers; here they are asked of a server that does not exist, with the first
address of each subnet.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from poolmgr.cloud.openstack.addresses import AddressRules, Source, addresses_of, with_floating
from poolmgr.cloud.openstack.floating import Bind, Decision, Leave, NatPlan, Refuse, decide, no_need
from poolmgr.cloud.openstack.topology import Network, Subnet, Topology
from poolmgr.config.settings import CloudSettings
from poolmgr.model.cloud_report import FloatingIpNeed, NetworkFacts, NetworkRole, ServerFacts, SubnetFacts
from poolmgr.model.server import Addresses

UNSEEN = "192.0.2.1"  # stands for an address in a subnet that the cloud does not show


@dataclass(frozen=True, kw_only=True)
class Ground:
    """All that the answers depend on. `attached` are the networks of a server that names none, () for no choice."""

    settings: CloudSettings
    topology: Topology
    plan: NatPlan
    rules: AddressRules
    attached: tuple[Network, ...] = ()
    attached_why: str = ""


def network_facts(ground: Ground) -> tuple[NetworkFacts, ...]:
    """Every network, by name."""
    networks = sorted(ground.topology.networks.values(), key=lambda n: (n.name, n.id))
    return tuple(_facts(network, ground) for network in networks)


def server_facts(ground: Ground) -> ServerFacts:
    """What a server gets that names no network."""
    addresses = expected(ground.attached, ground)
    subnets = [s for network in ground.attached for s in ground.topology.subnets_of(network.id)]
    known = bool(subnets)
    need, why = floating_ip_need(ground.attached, ground) if known else _need_of_unknown(ground)
    source = ground.plan.source or ""
    return ServerFacts(
        networks=tuple(network.name for network in ground.attached),
        networks_why=ground.attached_why,
        ipv4=any(subnet.ip_version == 4 for subnet in subnets) if known else None,
        ipv6=any(subnet.ip_version == 6 for subnet in subnets) if known else None,
        own_ipv6_route=ground.rules.reachable_v6,
        connect_to=_kind(addresses, need, ground.rules) if known else "",
        floating_ip=need,
        floating_ip_why=why,
        floating_ip_source=_name(ground.topology, source),
    )


def expected(networks: Sequence[Network], ground: Ground) -> Addresses:
    """The addresses of a server on `networks`: one of each of their subnets."""
    listed = {
        network.name: [
            {"addr": ip, "version": 6 if ":" in ip else 4, "OS-EXT-IPS:type": "fixed"}
            for ip in _addresses(ground.topology.subnets_of(network.id))
        ]
        for network in networks
    }
    return addresses_of(listed, ground.rules)


def floating_ip_need(networks: Sequence[Network], ground: Ground) -> tuple[FloatingIpNeed, str]:
    """Whether a server on `networks` gets a floating IP, and why."""
    match _decision(expected(networks, ground), ground):
        case Leave(reason):
            return FloatingIpNeed.NOT_NEEDED, reason
        case Refuse() as refusal:
            return FloatingIpNeed.IMPOSSIBLE, refusal.message
        case Bind(destinations=routed) if routed and not routed & {network.id for network in networks}:
            return FloatingIpNeed.NOT_NEEDED, "no router joins it to the source of floating IPs"
        case Bind(source):
            why = (
                "requires_floating_ip is true"
                if ground.settings.requires_floating_ip
                else "no public address"
            )
            return FloatingIpNeed.NEEDED, f"{why}; from {_name(ground.topology, source)}"


def _need_of_unknown(ground: Ground) -> tuple[FloatingIpNeed, str]:
    """The same of a server whose addresses are known only when it runs."""
    private = Addresses(fixed_v4=UNSEEN, private_v4=UNSEEN)
    match _decision(private, ground):
        case Leave(reason):
            return FloatingIpNeed.NOT_NEEDED, reason
        case Refuse() as refusal:
            return FloatingIpNeed.UNKNOWN, refusal.message
        case Bind(source):
            name = _name(ground.topology, source)
            return FloatingIpNeed.UNKNOWN, f"needed by a server without a public address; from {name}"


def _decision(addresses: Addresses, ground: Ground) -> Decision:
    """What is done for a server with these addresses."""
    reason = no_need(addresses, ground.settings, auto=True)
    return Leave(reason) if reason else decide(ground.settings, ground.plan)


def _facts(network: Network, ground: Ground) -> NetworkFacts:
    need, why = floating_ip_need([network], ground)
    if network.bare or not network.admin_up:
        need, why = FloatingIpNeed.UNKNOWN, "it has no subnet" if network.bare else "it is switched off"
    return NetworkFacts(
        id=network.id,
        name=network.name,
        shared=network.shared,
        admin_up=network.admin_up,
        port_security=network.port_security,
        subnets=tuple(_subnet(s) for s in ground.topology.subnets_of(network.id)),
        roles=tuple(_roles(network, ground)),
        floating_ip=need,
        floating_ip_why=why,
    )


def _subnet(subnet: Subnet) -> SubnetFacts:
    return SubnetFacts(
        id=subnet.id, cidr=subnet.cidr, ip_version=subnet.ip_version, gateway=subnet.gateway_ip
    )


def _roles(network: Network, ground: Ground) -> Iterator[NetworkRole]:
    said = next((n for n in ground.settings.networks if n.name in (network.id, network.name)), None)
    place = f"clouds.yaml ({ground.settings.origins.get('networks', 'networks')})"
    yield _side(network, ground, place)
    if ground.plan.source == network.id:
        yield NetworkRole(
            role="nat-source", why=place if said and said.nat_source else _why_source(network, ground)
        )
    if network.id in (ground.plan.destinations or ()):
        why = place if said and said.nat_destination else _why_destination(network, ground)
        yield NetworkRole(role="nat-destination", why=why)
    if said and said.default_interface:
        yield NetworkRole(role="default-interface", why=place)
    if network in ground.attached:
        yield NetworkRole(role="attached", why=ground.attached_why)


def _side(network: Network, ground: Ground, place: str) -> NetworkRole:
    """Whether the internet begins there."""
    role = ground.rules.role(network.name, _some_address(network, ground))
    families = [
        name for name, is_external in (("IPv4", role.external4), ("IPv6", role.external6)) if is_external
    ]
    side = "external" if families else "internal"
    only = f" ({families[0]} only)" if len(families) == 1 else ""
    match role.source:
        case Source.CONFIGURED:
            why = place
        case Source.FOUND if network.external:
            why = "router:external"
        case Source.FOUND if network.physical:
            why = "provider:physical_network is told"
        case Source.FOUND:
            why = "not router:external"
        case _:
            why = "use_internal_network is false" if not network.external else "use_external_network is false"
    return NetworkRole(role=side, why=why + only)


def _why_source(network: Network, ground: Ground) -> str:
    others = [
        n for n in ground.topology.networks.values() if n.external and n.admin_up and n.id != network.id
    ]
    if network.external and not others:
        return "the only router:external network"
    routers = [
        r for r in ground.topology.routers.values() if r.gateway_network_id == network.id and r.admin_up
    ]
    if routers:
        return f"gateway of router {routers[0].name or routers[0].id}"
    return "the only router:external network with IPv4"


def _why_destination(network: Network, ground: Ground) -> str:
    subnets = {subnet.id for subnet in ground.topology.subnets_of(network.id)}
    router = next(
        (
            router
            for router in ground.topology.routers.values()
            if router.gateway_network_id == ground.plan.source and router.subnet_ids & subnets
        ),
        None,
    )
    by = f" by router {router.name or router.id}" if router else ""
    return f"routed to {_name(ground.topology, ground.plan.source or '')}{by}"


def _some_address(network: Network, ground: Ground) -> str:
    return next(_addresses(ground.topology.subnets_of(network.id)), UNSEEN)


def _addresses(subnets: Sequence[Subnet]) -> Iterator[str]:
    """One of each subnet."""
    for subnet in subnets:
        try:
            net = ipaddress.ip_network(subnet.cidr, strict=False)
        except ValueError:
            continue
        yield str(net[min(2, net.num_addresses - 1)])
    if not subnets:
        yield UNSEEN


def _kind(addresses: Addresses, need: FloatingIpNeed, rules: AddressRules) -> str:
    """Which of its addresses a server is reached by."""
    if need is FloatingIpNeed.NEEDED:
        addresses = with_floating(addresses, UNSEEN, rules)
    if addresses.interface_ip == UNSEEN == addresses.floating_v4:
        return "floating_v4"
    kinds = ("public_v4", "public_v6", "private_v4", "private_v6")
    return next(
        (
            kind
            for kind in kinds
            if addresses.interface_ip and getattr(addresses, kind) == addresses.interface_ip
        ),
        "",
    )


def _name(topology: Topology, network_id: str) -> str:
    """A network's name; of a floating IP pool of the Compute service, its own."""
    network = topology.networks.get(network_id)
    return network.name if network else network_id
