"""Nova's servers as our records: pure, and cheap, since every poll of a cloud goes through it."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from poolmgr.cloud.faults import fault_kind
from poolmgr.cloud.openstack.addresses import AddressRules, addresses_of
from poolmgr.cloud.openstack.floating import GuestPort
from poolmgr.cloud.openstack.timestamps import epoch_of
from poolmgr.cloud.openstack.topology import Network
from poolmgr.model.resources import Resources
from poolmgr.model.server import Addresses, Flavor, Server, ServerStatus

log = logging.getLogger(__name__)

_STATUS = {status.value: status for status in ServerStatus if status is not ServerStatus.OTHER}


#: What nova said of a server's addresses, and what we made of it.
Known = tuple[tuple[Any, str, str], Addresses]


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerReader:
    """Reads servers of one cloud under one set of address rules.

    `flavors` by id price servers whose listing only names a flavor. Addresses hardly ever change from one list
    to the next, so `known` keeps them by server id, for whoever keeps the reader.
    """

    rules: AddressRules
    flavors: Mapping[str, Flavor] = field(default_factory=dict)
    prices: dict[tuple[int, int], Resources] = field(default_factory=dict)  # one mapping per size
    known: dict[str, Known] = field(default_factory=dict)

    def read(self, raw: Mapping[str, Any]) -> Server:
        """A server of `GET /servers/detail` or `GET /servers/<id>`."""
        status = str(raw.get("status") or "UNKNOWN").upper()
        fault = raw.get("fault")
        message = str(fault.get("message") or "") if fault else ""
        flavor = raw.get("flavor") or {}
        return Server(
            id=raw["id"],
            name=raw.get("name") or "",
            status=_STATUS.get(status, ServerStatus.OTHER),
            status_text=status,
            task_state=raw.get("OS-EXT-STS:task_state"),
            fault=message,
            fault_kind=fault_kind(message) if fault else None,
            metadata=raw.get("metadata") or {},
            addresses=self._addresses(raw),
            az=raw.get("OS-EXT-AZ:availability_zone") or None,
            host_id=raw.get("hostId") or None,
            volumes=tuple(v["id"] for v in raw.get("os-extended-volumes:volumes_attached") or ()),
            resources=self._resources(flavor),
            created_at=epoch_of(raw.get("created")),
            flavor_name=self._flavor_name(flavor),
            image_id=(raw.get("image") or {}).get("id"),
        )

    def read_any(self, raw: Any) -> Server | None:
        """As `read`; a server that cannot be read is there all the same, with an unknown status.

        None for something without an id.
        """
        try:
            return self.read(raw)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            if not isinstance(raw, Mapping) or not isinstance(raw.get("id"), str):
                return None
            log.warning("server %s cannot be read: %r", raw["id"], error)
            return Server(id=raw["id"], name=str(raw.get("name")), status=ServerStatus.UNKNOWN)

    def forget_all_but(self, server_ids: Collection[str]) -> None:
        """Keep the memory no larger than the cloud."""
        if len(self.known) > 2 * len(server_ids) + 100:
            for server_id in set(self.known).difference(server_ids):
                self.known.pop(server_id, None)

    def _addresses(self, raw: Mapping[str, Any]) -> Addresses:
        said = (raw.get("addresses"), raw.get("accessIPv4") or "", raw.get("accessIPv6") or "")
        known = self.known.get(raw["id"])
        if known is not None and known[0] == said:
            return known[1]
        addresses = addresses_of(said[0] or {}, self.rules, access_v4=said[1], access_v6=said[2])
        self.known[raw["id"]] = (said, addresses)
        return addresses

    def _resources(self, flavor: Mapping[str, Any]) -> Resources | None:
        """From the embedded flavor (microversion 2.47 and later), else from the list of flavors."""
        if "vcpus" in flavor:
            return self._price(int(flavor["vcpus"]), int(flavor.get("ram") or 0))
        known = self.flavors.get(str(flavor.get("id")))
        return self._price(known.vcpus, known.ram_mib) if known else None

    def _flavor_name(self, flavor: Mapping[str, Any]) -> str:
        if "original_name" in flavor:
            return str(flavor["original_name"])
        known = self.flavors.get(str(flavor.get("id")))
        return known.name if known else ""

    def _price(self, vcpus: int, ram_mib: int) -> Resources:
        price = self.prices.get((vcpus, ram_mib))
        if price is None:
            price = self.prices[vcpus, ram_mib] = {"instances": 1, "cores": vcpus, "ram": ram_mib}
        return price


def listed_by_ports(
    ports: Iterable[GuestPort], networks: Mapping[str, Network]
) -> dict[str, list[dict[str, Any]]]:
    """A server's addresses as nova would list them, from its ports and the networks by id."""
    listed: dict[str, list[dict[str, Any]]] = {}
    for port in ports:
        network = networks.get(port.network_id)
        entries = listed.setdefault(network.name if network else port.network_id, [])
        told = {"OS-EXT-IPS:type": "fixed", "OS-EXT-IPS-MAC:mac_addr": port.mac}
        entries += [{"addr": ip, "version": 4, **told} for ip in port.fixed_v4]
        entries += [{"addr": ip, "version": 6, **told} for ip in port.fixed_v6]
    return listed


def flavor_of(raw: Mapping[str, Any]) -> Flavor:
    """A flavor of `GET /flavors/detail`."""
    return Flavor(
        id=str(raw["id"]),
        name=raw.get("name") or "",
        vcpus=int(raw.get("vcpus") or 0),
        ram_mib=int(raw.get("ram") or 0),
        disk_gib=int(raw.get("disk") or 0),
    )


def zones_of(infos: list[dict[str, Any]]) -> tuple[str, ...]:
    """Zones that take servers, sorted. `internal` is nova's own, for hosts that run its services."""
    names = {
        info["zoneName"] for info in infos if (info.get("zoneState") or {}).get("available") is not False
    }
    return tuple(sorted(names - {"internal"}))
