"""What a pretend cloud offers: limits and their use, flavors, zones."""

from __future__ import annotations

from collections.abc import Sequence

from poolmgr.cloud.simulated.calls import Calls
from poolmgr.model.resources import Resources
from poolmgr.model.server import Flavor, Quota
from poolmgr.simcloud import world as sim

#: Service and name of each limit, with the world's name for it.
_QUOTAS = {
    ("compute", "instances"): "instances",
    ("compute", "cores"): "cores",
    ("compute", "ram"): "ram",
    ("block-storage", "volumes"): "volumes",
    ("block-storage", "volume-gb"): "gigabytes",
    ("network", "ports"): "ports",
    ("network", "floating-ips"): "floating_ips",
    ("network", "security-groups"): "security_groups",
}
_SERVICES = {"compute": "compute", "block-storage": "volume", "network": "network"}


class Offer:
    """What one pretend cloud offers."""

    def __init__(self, cloud: sim.SimCloud, calls: Calls) -> None:
        self._cloud, self._calls = cloud, calls
        services = cloud.shape.services
        self._services = {name for name, theirs in _SERVICES.items() if theirs in services}

    def limits(self, *, volumes: bool) -> Resources:
        limits = self._limits("compute", ("instances", "cores", "ram"))
        if volumes and "block-storage" in self._services:
            limits |= self._limits("block-storage", ("volumes", "volume-gb"))
        return limits

    def _limits(self, service: str, names: Sequence[str]) -> dict[str, float]:
        quota = self._calls.ask(f"{service}.GET.limits", lambda _: self._cloud.quota.limits)
        limits = {name: quota.get(_QUOTAS[service, name]) for name in names}
        return {name: limit for name, limit in limits.items() if limit is not None}

    def quotas(self) -> tuple[Quota, ...]:
        quota, used = self._calls.ask(
            "compute.GET.limits", lambda _: (self._cloud.quota.limits, self._cloud.resources_used())
        )
        return tuple(
            Quota(service=service, resource=ours, limit=quota.get(theirs), used=used[theirs])
            for (service, ours), theirs in _QUOTAS.items()
            if service in self._services
        )

    def network_quotas(self, *, floating_ips: bool) -> tuple[Quota, ...]:
        """Where the Network service is not there, floating IPs are the Compute service's."""
        has_network = "network" in self._services
        if not (has_network or floating_ips):
            return ()
        call = "network.GET.quota_details" if has_network else "compute.GET.limits"
        quota, used = self._calls.ask(
            call, lambda _: (self._cloud.quota.limits, self._cloud.resources_used())
        )
        told = [(ours, theirs) for ours, theirs in (("ports", "ports"), ("floating-ips", "floating_ips"))]
        return tuple(
            Quota(
                service="network" if has_network else "compute",
                resource=ours,
                limit=quota[theirs],
                used=used[theirs],
            )
            for ours, theirs in (told if has_network else told[1:])
            if theirs in quota
        )

    def flavors(self) -> tuple[Flavor, ...]:
        known = self._calls.ask(
            "compute.GET.flavors_detail", lambda _: [*self._cloud.compute.flavors.values()]
        )
        return tuple(_flavor(f) for f in known)

    def zones(self) -> tuple[str, ...]:
        return self._calls.ask(
            "compute.GET.os-availability-zone", lambda _: tuple(sorted(self._cloud.compute.zones))
        )


def _flavor(flavor: sim.Flavor) -> Flavor:
    return Flavor(
        id=flavor.id,
        name=flavor.name,
        vcpus=flavor.vcpus,
        ram_mib=flavor.ram_mib,
        disk_gib=flavor.disk_gib,
    )
