"""Nova's servers as our records: pure, and cheap, since every poll of a cloud goes through it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from poolmgr.cloud.openstack.addresses import AddressRules, addresses_of
from poolmgr.model.resources import Resources
from poolmgr.model.server import Addresses, Flavor, Server, ServerStatus

_STATUS = {status.value: status for status in ServerStatus if status is not ServerStatus.OTHER}


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerReader:
    """Reads servers of one cloud. `flavors` by id price servers whose listing only names a flavor."""

    rules: AddressRules
    flavors: Mapping[str, Flavor] = field(default_factory=dict)
    prices: dict[tuple[int, int], Resources] = field(default_factory=dict)  # one mapping per size

    def read(self, raw: Mapping[str, Any]) -> Server:
        """A server of `GET /servers/detail` or `GET /servers/<id>`."""
        status = str(raw.get("status") or "UNKNOWN").upper()
        fault = raw.get("fault")
        return Server(
            id=raw["id"],
            name=raw.get("name") or "",
            status=_STATUS.get(status, ServerStatus.OTHER),
            status_text=status,
            task_state=raw.get("OS-EXT-STS:task_state"),
            fault=str(fault.get("message") or "") if fault else "",
            metadata=raw.get("metadata") or {},
            addresses=self._addresses(raw),
            az=raw.get("OS-EXT-AZ:availability_zone") or None,
            host_id=raw.get("hostId") or None,
            volumes=tuple(v["id"] for v in raw.get("os-extended-volumes:volumes_attached") or ()),
            resources=self._resources(raw.get("flavor") or {}),
        )

    def _addresses(self, raw: Mapping[str, Any]) -> Addresses:
        listed = raw.get("addresses")
        access_v4, access_v6 = raw.get("accessIPv4") or "", raw.get("accessIPv6") or ""
        if not listed and not access_v4 and not access_v6:
            return NO_ADDRESSES
        return addresses_of(listed or {}, self.rules, access_v4=access_v4, access_v6=access_v6)

    def _resources(self, flavor: Mapping[str, Any]) -> Resources | None:
        """From the embedded flavor (microversion 2.47 and later), else from the list of flavors."""
        if "vcpus" in flavor:
            return self._price(int(flavor["vcpus"]), int(flavor.get("ram") or 0))
        known = self.flavors.get(str(flavor.get("id")))
        return self._price(known.vcpus, known.ram_mib) if known else None

    def _price(self, vcpus: int, ram_mib: int) -> Resources:
        price = self.prices.get((vcpus, ram_mib))
        if price is None:
            price = self.prices[vcpus, ram_mib] = {"instances": 1, "cores": vcpus, "ram": ram_mib}
        return price


NO_ADDRESSES = Addresses()


def flavor_of(raw: Mapping[str, Any]) -> Flavor:
    """A flavor of `GET /flavors/detail`."""
    return Flavor(
        id=str(raw["id"]),
        name=raw.get("name") or "",
        vcpus=int(raw.get("vcpus") or 0),
        ram_mib=int(raw.get("ram") or 0),
        disk_gib=int(raw.get("disk") or 0),
    )


def limits_of(absolute: Mapping[str, Any]) -> dict[str, float]:
    """Nova's absolute limits as resources; what is unlimited (-1) or not told is absent."""
    names = {"instances": "maxTotalInstances", "cores": "maxTotalCores", "ram": "maxTotalRAMSize"}
    limits: dict[str, float] = {}
    for name, key in names.items():
        value = absolute.get(key)
        if isinstance(value, int | float) and value >= 0:
            limits[name] = value
    return limits


def zones_of(infos: list[dict[str, Any]]) -> tuple[str, ...]:
    """Zones that take servers, sorted. `internal` is nova's own, for hosts that run its services."""
    names = {
        info["zoneName"] for info in infos if (info.get("zoneState") or {}).get("available") is not False
    }
    return tuple(sorted(names - {"internal"}))
