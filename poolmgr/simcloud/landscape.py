"""The networks, subnets and routers of a pretend cloud, built from its plans. Nothing of them changes later."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from poolmgr.simcloud.addresses import AddressPool, mapped
from poolmgr.simcloud.shapes import NetworkPlan, Range
from poolmgr.simcloud.things import Network, Router, Subnet


@dataclass(slots=True)
class Landscape:
    """All by id. Subnets of one range share its pool, so that no address is given twice."""

    networks: dict[str, Network] = field(default_factory=dict)
    subnets: dict[str, Subnet] = field(default_factory=dict)
    routers: dict[str, Router] = field(default_factory=dict)
    pools: dict[str, AddressPool] = field(default_factory=dict)  # by subnet
    mapped: set[str] = field(default_factory=set)  # subnets whose pool is of IPv4 addresses, shown mapped


def built(
    plans: Iterable[NetworkPlan], *, number: int, private_on_loopback: bool, new_id: Callable[[], str]
) -> Landscape:
    """`number` (1 to 254) picks the cloud's ranges."""
    land, pools = Landscape(), dict[str, AddressPool]()
    for plan in plans:
        network_id = new_id()
        subnets = [
            _subnet(
                land,
                pools,
                network_id,
                plan,
                kind,
                _cidr(kind, version, number, private_on_loopback),
                new_id(),
            )
            for version, kind in ((4, plan.v4), (6, plan.v6))
            if kind is not None
        ]
        land.networks[network_id] = Network(
            id=network_id,
            name=plan.name,
            external=plan.external,
            shared=plan.shared,
            pluggable=plan.pluggable,
            admin_state_up=plan.admin_state_up,
            port_security=plan.port_security,
            physical=plan.physical,
            subnets=tuple(s.id for s in subnets),
        )
        if plan.routed_to is not None:
            external = next(n.id for n in land.networks.values() if n.name == plan.routed_to and n.external)
            joined = tuple(s.id for s in subnets if s.version == 4)
            router = Router(
                id=new_id(), name=f"{plan.name}-router", external_network_id=external, subnets=joined
            )
            land.routers[router.id] = router
    return land


def _subnet(
    land: Landscape,
    pools: dict[str, AddressPool],
    network_id: str,
    plan: NetworkPlan,
    kind: Range,
    cidr: str,
    subnet_id: str,
) -> Subnet:
    pool = pools.setdefault(cidr, AddressPool(cidr))
    gateway = str(pool.network.network_address + 1)
    is_mapped = kind is Range.MAPPED
    version = 6 if is_mapped else pool.network.version
    subnet = Subnet(
        id=subnet_id,
        name=f"{plan.name}-v{version}",
        network_id=network_id,
        cidr=f"{mapped(str(pool.network.network_address))}/{96 + 18}" if is_mapped else cidr,
        version=version,
        gateway=(mapped(gateway) if is_mapped else gateway) if plan.gateway else None,
    )
    land.subnets[subnet.id], land.pools[subnet.id] = subnet, pool
    if is_mapped:
        land.mapped.add(subnet.id)
    return subnet


#: (kind, version) -> range, with the cloud's number in it.
_RANGES = {
    (Range.PUBLIC, 4): "127.{}.0.0/18",
    (Range.FLOATING, 4): "127.{}.128.0/18",
    (Range.MAPPED, 6): "127.{}.0.0/18",
    (Range.CGNAT, 4): "100.64.{}.0/24",
    (Range.GLOBAL, 4): "192.88.99.0/24",
    (Range.GLOBAL, 6): "3ffe:{}::/64",
    (Range.ULA, 6): "fd00:{}::/64",
}

#: What `v4` and `v6` of a plan may be.
KINDS = {
    4: (Range.PRIVATE, *(k for k, version in _RANGES if version == 4)),
    6: tuple(k for k, version in _RANGES if version == 6),
}


def _cidr(kind: Range, version: int, number: int, private_on_loopback: bool) -> str:
    if kind is Range.PRIVATE:
        return f"127.{number}.64.0/18" if private_on_loopback else f"10.{number}.0.0/16"
    return _RANGES[kind, version].format(number)
