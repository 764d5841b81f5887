"""Which flavor a label gets, and what a node of it costs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from poolmgr.config.settings import PoolLabel
from poolmgr.model.resources import Resources
from poolmgr.model.server import Flavor


class FlavorWish(Protocol):
    """What a label says about its flavor."""

    @property
    def flavor_name(self) -> str | None: ...

    @property
    def min_ram_mib(self) -> int: ...


def choose_flavor(flavors: Iterable[Flavor], label: FlavorWish) -> Flavor | None:
    """The flavor for `label` by the rules of launcher.md 7.5, or None if no flavor fits.

    Without `min-ram` the name or id must match exactly. With it, the first by (ram, name) with enough memory
    whose name contains `flavor-name`: that order decides what operators' files mean (config.md).
    """
    if not label.min_ram_mib:
        return next((f for f in flavors if label.flavor_name in (f.name, f.id)), None)
    fitting = (f for f in flavors if f.ram_mib >= label.min_ram_mib and (label.flavor_name or "") in f.name)
    return min(fitting, key=lambda f: (f.ram_mib, f.name), default=None)


def network_price(told: Resources, *, auto_floating_ip: bool) -> Resources:
    """What one node takes of the Network service's quotas; `told` by the cloud for the label's networks.

    It is no part of a node's stored `resources`, which other programs sum up and compare with their own.
    """
    return told if auto_floating_ip else {name: n for name, n in told.items() if name != "floating-ips"}


def price(flavor: Flavor, label: PoolLabel) -> Resources:
    """What one node of `label` takes from quotas."""
    cost: dict[str, float] = {"instances": 1, "cores": flavor.vcpus, "ram": flavor.ram_mib}
    if label.boot_from_volume:
        cost.update({"volumes": 1, "volume-gb": label.volume_gib})
    return cost
