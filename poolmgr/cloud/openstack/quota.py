"""Limits of a project and what it uses of them, as three services tell them: pure (cloud.md 3.16)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from poolmgr.model.resources import Resources
from poolmgr.model.server import Quota

#: Our name, and nova's for the limit and the use (Compute API reference, "Limits").
_COMPUTE = {
    "instances": ("maxTotalInstances", "totalInstancesUsed"),
    "cores": ("maxTotalCores", "totalCoresUsed"),
    "ram": ("maxTotalRAMSize", "totalRAMUsed"),
}
#: The same of cinder (Block Storage API v3 reference, "Limits").
_VOLUMES = {
    "volumes": ("maxTotalVolumes", "totalVolumesUsed"),
    "volume-gb": ("maxTotalVolumeGigabytes", "totalGigabytesUsed"),
}
#: The same of nova's own floating IPs, told up to microversion 2.35.
_FLOATING = {"floating-ips": ("maxTotalFloatingIps", "totalFloatingIpsUsed")}
#: Ours and neutron's (Networking API v2.0 reference, "Quotas extension", "Quota details extension").
_NETWORK = {
    "ports": "port",
    "floating-ips": "floatingip",
    "security-groups": "security_group",
    "networks": "network",
    "subnets": "subnet",
    "routers": "router",
}


def compute_quotas(absolute: Mapping[str, Any]) -> tuple[Quota, ...]:
    """Nova's absolute limits."""
    return _of_absolute("compute", _COMPUTE, absolute)


def volume_quotas(absolute: Mapping[str, Any]) -> tuple[Quota, ...]:
    """Cinder's absolute limits."""
    return _of_absolute("block-storage", _VOLUMES, absolute)


def floating_ip_quotas(absolute: Mapping[str, Any]) -> tuple[Quota, ...]:
    """Nova's absolute limits of its own floating IPs; beside Neutron they mean nothing."""
    return _of_absolute("compute", _FLOATING, absolute)


def network_quotas(quota: Mapping[str, Any]) -> tuple[Quota, ...]:
    """Neutron's quota of a project, with details or without: then no use is told."""
    found = []
    for ours, theirs in _NETWORK.items():
        told = quota.get(theirs)
        if told is None:
            continue
        limit, used = (told.get("limit"), told.get("used")) if isinstance(told, Mapping) else (told, None)
        found.append(Quota(service="network", resource=ours, limit=_amount(limit), used=_amount(used)))
    return tuple(found)


def limits_of(quotas: tuple[Quota, ...]) -> Resources:
    """The limits alone; unlimited and unknown ones are absent."""
    return {quota.resource: quota.limit for quota in quotas if quota.limit is not None}


def _of_absolute(
    service: str, names: Mapping[str, tuple[str, str]], absolute: Mapping[str, Any]
) -> tuple[Quota, ...]:
    return tuple(
        Quota(
            service=service,
            resource=resource,
            limit=_amount(absolute.get(limit)),
            used=_amount(absolute.get(used)),
        )
        for resource, (limit, used) in names.items()
        if limit in absolute or used in absolute
    )


def _amount(value: object) -> float | None:
    """None for -1, which says unlimited, and for what is no number."""
    return value if isinstance(value, int | float) and value >= 0 else None
