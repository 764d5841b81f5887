"""How Nova shows a server (Compute API reference, "Show Server Details"; checked on Zed, see openstack/NOTES.md)."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from poolmgr.simcloud.envelope import timestamp
from poolmgr.simcloud.things import Address, Flavor, Server
from poolmgr.simcloud.world import SimCloud

_POWER = {"ACTIVE": 1, "PAUSED": 3, "SHUTOFF": 4}
_EMBEDDED_FLAVOR = (2, 47)
_TAGS = (2, 26)

#: Of one cloud: (server id, embedded flavor, tags) -> (the record, its JSON).
Cache = dict[tuple[str, bool, bool], tuple[Server, bytes]]


def links(base: str, kind: str, thing_id: str) -> list[dict[str, str]]:
    return [
        {"rel": "self", "href": f"{base}/v2.1/{kind}/{thing_id}"},
        {"rel": "bookmark", "href": f"{base}/{kind}/{thing_id}"},
    ]


def server(cloud: SimCloud, server: Server, base: str, microversion: tuple[int, int]) -> dict[str, Any]:
    """The detailed record."""
    mine = cloud.identity.credentials
    body: dict[str, Any] = {
        "id": server.id,
        "name": server.name,
        "status": server.status,
        "tenant_id": mine.project_id,
        "user_id": mine.user_id,
        "metadata": dict(server.metadata),
        "hostId": hashlib.sha224(server.host.encode()).hexdigest() if server.host else "",
        "image": _image(server, base),
        "flavor": _flavor(server.flavor, base, embedded=microversion >= _EMBEDDED_FLAVOR),
        "created": timestamp(server.created),
        "updated": timestamp(server.updated),
        "addresses": _addresses(server.addresses),
        "accessIPv4": _access_ip(cloud, server),
        "accessIPv6": "",
        "links": links(base, "servers", server.id),
        "OS-DCF:diskConfig": "MANUAL",
        "progress": 100 if server.status == "ACTIVE" else 0,
        "OS-EXT-AZ:availability_zone": server.zone or "",
        "config_drive": "True" if server.config_drive else "",
        "key_name": server.key_name,
        "OS-SRV-USG:launched_at": timestamp(server.launched, zone="", micro=True),
        "OS-SRV-USG:terminated_at": None,
        "OS-EXT-STS:task_state": server.task_state,
        "OS-EXT-STS:vm_state": {"BUILD": "building", "SHUTOFF": "stopped"}.get(
            server.status, server.status.lower()
        ),
        "OS-EXT-STS:power_state": _POWER.get(server.status, 0),
        "os-extended-volumes:volumes_attached": [{"id": v} for v in server.volumes],
    }
    if server.status != "DELETED":
        body["security_groups"] = [{"name": name} for name in server.security_groups]
    if server.fault is not None:
        body["fault"] = {
            "code": server.fault.code,
            "created": timestamp(server.fault.at),
            "message": server.fault.message,
        }
    if microversion >= _TAGS:
        body["tags"] = list(server.tags)
    return body


def stub(cloud: SimCloud, server: Server, base: str, *, detailed: bool) -> dict[str, Any]:
    """All that Nova knows of a server in a cell that does not answer (API guide, "Handling Down Cells")."""
    known = {"id": server.id, "status": "UNKNOWN", "links": links(base, "servers", server.id)}
    if not detailed:
        return known
    project_id = cloud.identity.credentials.project_id
    return {**known, "tenant_id": project_id, "created": timestamp(server.created)}


def _image(server: Server, base: str) -> Any:
    """ "" for a server that boots from a volume."""
    if server.image_id is None:
        return ""
    return {"id": server.image_id, "links": links(base, "images", server.image_id)[1:]}


def _flavor(flavor: Flavor, base: str, *, embedded: bool) -> dict[str, Any]:
    if not embedded:
        return {"id": flavor.id, "links": links(base, "flavors", flavor.id)[1:]}
    return {
        "vcpus": flavor.vcpus,
        "ram": flavor.ram_mib,
        "disk": flavor.disk_gib,
        "ephemeral": 0,
        "swap": 0,
        "original_name": flavor.name,
        "extra_specs": dict(flavor.extra_specs),
    }


def _addresses(addresses: tuple[Address, ...]) -> dict[str, list[dict[str, Any]]]:
    shown: dict[str, list[dict[str, Any]]] = {}
    for address in addresses:
        line: dict[str, Any] = {"version": address.version, "addr": address.address}
        if address.kind:
            line |= {"OS-EXT-IPS:type": address.kind, "OS-EXT-IPS-MAC:mac_addr": address.mac}
        shown.setdefault(address.network, []).append(line)
    return shown


def _access_ip(cloud: SimCloud, server: Server) -> str:
    if not cloud.shape.access_ip:
        return ""
    return next((a.address for a in server.addresses if a.network == "public" and a.version == 4), "")


def without_fault(text: bytes) -> bytes:
    """A record as clouds list it that tell a server's fault only when it is asked for alone."""
    record = json.loads(text)
    record.pop("fault", None)
    return json.dumps(record, separators=(",", ":")).encode()


def rendered(cache: Cache, cloud: SimCloud, shown: Server, base: str, microversion: tuple[int, int]) -> bytes:
    """The record as JSON, from `cache` if the server has not changed: a list of a thousand is then a join."""
    key = (shown.id, microversion >= _EMBEDDED_FLAVOR, microversion >= _TAGS)
    known = cache.get(key)
    if known is not None and known[0] is shown:
        return known[1]
    text = json.dumps(server(cloud, shown, base, microversion), separators=(",", ":")).encode()
    if len(cache) > 20_000:
        cache.clear()
    cache[key] = (shown, text)
    return text
