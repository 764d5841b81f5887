"""Cinder v3: volumes, limits, quotas (Block Storage API reference v3). Errors are wrapped as Nova's."""

from __future__ import annotations

from typing import Any

from poolmgr.simcloud.envelope import next_query, page, timestamp
from poolmgr.simcloud.faults import FaultKind
from poolmgr.simcloud.refusal import bad_request, cinder_quota
from poolmgr.simcloud.routes import Call, Handler, Route, empty, json_response
from poolmgr.simcloud.things import Volume
from poolmgr.simcloud.wire import Response


def root(call: Call) -> Response:
    entry = {
        "id": "v3.0",
        "status": "CURRENT",
        "version": "3.70",
        "min_version": "3.0",
        "updated": "2022-03-30T00:00:00Z",
        "links": [{"rel": "self", "href": f"{call.base}/v3/"}],
    }
    return json_response({"versions": [entry]}, 300)


def _volume(volume: Volume) -> dict[str, Any]:
    attached = volume.server_id is not None
    return {
        "id": volume.id,
        "name": volume.name,
        "size": volume.size_gib,
        "status": volume.status,
        "metadata": dict(volume.metadata),
        "bootable": "true" if attached else "false",
        "attachments": [{"server_id": volume.server_id, "volume_id": volume.id}] if attached else [],
        "created_at": timestamp(volume.created, zone="", micro=True),
        "availability_zone": "nova",
        "volume_type": "default",
        "description": None,
    }


def list_volumes(call: Call) -> Response:
    volumes = list(call.cloud.volumes.volumes.values())
    if status := call.one("status"):
        volumes = [v for v in volumes if v.status == status]
    chosen, more = page(volumes, call, most=call.cloud.config.page_size)
    detailed = call.request.path.endswith("detail")
    rows = [_volume(v) for v in chosen]
    body: dict[str, Any] = {
        "volumes": rows if detailed else [{"id": r["id"], "name": r["name"]} for r in rows]
    }
    if more:
        path = "/volumes/detail" if detailed else "/volumes"
        project_id = call.cloud.identity.credentials.project_id
        href = f"{call.base}/v3/{project_id}{path}?{next_query(call, chosen[-1].id)}"
        body["volumes_links"] = [{"rel": "next", "href": href}]
    return json_response(body)


def create(call: Call) -> Response:
    given = call.entity("volume")
    size = given.get("size")
    if not isinstance(size, int) or size <= 0:
        raise bad_request(f"Invalid input received: size must be a positive integer, got {size}")
    if call.trouble.of(FaultKind.QUOTA):
        raise cinder_quota("Volume", len(call.cloud.volumes.volumes))
    volume = call.cloud.volumes.create(
        name=str(given.get("name") or ""), size_gib=size, metadata=given.get("metadata") or {}
    )
    return json_response({"volume": _volume(volume)}, 202)


def show(call: Call) -> Response:
    return json_response({"volume": _volume(call.cloud.volumes.volume(call.params["id"]))})


def delete(call: Call) -> Response:
    call.cloud.volumes.volume(call.params["id"])
    if not call.trouble.of(FaultKind.IGNORED_DELETE):
        call.cloud.volumes.delete(call.params["id"])
    return empty(202)


def add_metadata(call: Call) -> Response:
    """What is named is written, what else is there stays."""
    changed = call.cloud.volumes.add_metadata(call.params["id"], call.entity("metadata"))
    return json_response({"metadata": dict(changed.metadata)})


def limits(call: Call) -> Response:
    quota, used = call.cloud.quota, call.cloud.volumes.used()
    absolute = {
        "maxTotalVolumes": int(quota.limit("volumes")),
        "maxTotalVolumeGigabytes": int(quota.limit("gigabytes")),
        "maxTotalSnapshots": -1,
        "totalVolumesUsed": int(used["volumes"]),
        "totalGigabytesUsed": int(used["gigabytes"]),
        "totalSnapshotsUsed": 0,
    }
    return json_response({"limits": {"rate": [], "absolute": absolute}})


_TABLE: tuple[tuple[str, str, str, Handler], ...] = (
    ("GET", "/volumes/detail", "volumes_detail", list_volumes),
    ("GET", "/volumes", "volumes", list_volumes),
    ("POST", "/volumes", "volumes", create),
    ("GET", "/volumes/{id}", "volume", show),
    ("DELETE", "/volumes/{id}", "volume", delete),
    ("POST", "/volumes/{id}/metadata", "volume_metadata", add_metadata),
    ("GET", "/limits", "limits", limits),
)

ROUTES = tuple(Route(method=m, path=p, operation=o, handler=h) for m, p, o, h in _TABLE)
