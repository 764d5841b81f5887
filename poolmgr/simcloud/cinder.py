"""Cinder v3: volumes, limits, quotas (Block Storage API reference v3). Errors are wrapped as Nova's."""

from __future__ import annotations

import ast
from collections.abc import Mapping
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
        "bootable": "true" if volume.bootable else "false",
        "attachments": [{"server_id": volume.server_id, "volume_id": volume.id}] if attached else [],
        "created_at": timestamp(volume.created, zone="", micro=True),
        "availability_zone": "nova",
        "volume_type": volume.volume_type,
        "description": volume.description,
    }


def list_volumes(call: Call) -> Response:
    volumes = [v for v in call.cloud.volumes.volumes.values() if _matches(v, call)]
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


def _matches(volume: Volume, call: Call) -> bool:
    """Filters by status, name and metadata; the last comes as the text of a Python mapping."""
    status, name, metadata = call.one("status"), call.one("name"), call.one("metadata")
    if (status and volume.status != status) or (name and volume.name != name):
        return False
    return metadata is None or _pairs(metadata).items() <= volume.metadata.items()


def _pairs(text: str) -> dict[str, str]:
    try:
        pairs = ast.literal_eval(text)
    except (ValueError, SyntaxError) as error:
        raise bad_request(f"Could not evaluate metadata value {text}") from error
    if not isinstance(pairs, dict):
        raise bad_request(f"Could not evaluate metadata value {text}")
    return pairs


def create(call: Call) -> Response:
    given = call.entity("volume")
    size = given.get("size")
    if not isinstance(size, int) or size <= 0:
        raise bad_request(f"Invalid input received: size must be a positive integer, got {size}")
    if call.trouble.of(FaultKind.QUOTA):
        raise cinder_quota("Volume", len(call.cloud.volumes.volumes))
    image = given.get("imageRef")
    if image and not call.cloud.images.knows(str(image)):
        raise bad_request("Invalid image identifier or unable to access requested image.")
    volume = call.cloud.volumes.create(
        name=str(given.get("name") or ""),
        size_gib=size,
        metadata=_metadata(given.get("metadata") or {}),
        description=given.get("description"),
        volume_type=str(given.get("volume_type") or "default"),
        bootable=bool(image),
        trouble=call.trouble,
    )
    return json_response({"volume": _volume(volume)}, 202)


def _metadata(given: Any) -> dict[str, str]:
    if not isinstance(given, Mapping) or not all(isinstance(v, str) for v in given.values()):
        raise bad_request("Invalid input for field/attribute metadata. Value must be text.")
    return dict(given)


def show(call: Call) -> Response:
    return json_response({"volume": _volume(call.cloud.volumes.volume(call.params["id"]))})


def update(call: Call) -> Response:
    given, volume = call.entity("volume"), call.cloud.volumes.volume(call.params["id"])
    changes = {k: given[k] for k in ("name", "description") if k in given}
    if "metadata" in given:
        changes["metadata"] = _metadata(given["metadata"])
    return json_response({"volume": _volume(call.cloud.volumes.update(volume.id, **changes))})


def show_metadata(call: Call) -> Response:
    return json_response({"metadata": dict(call.cloud.volumes.volume(call.params["id"]).metadata)})


def add_metadata(call: Call) -> Response:
    """What is named is written, what else is there stays."""
    changed = call.cloud.volumes.add_metadata(call.params["id"], _metadata(call.entity("metadata")))
    return json_response({"metadata": dict(changed.metadata)})


def replace_metadata(call: Call) -> Response:
    given = _metadata(call.entity("metadata"))
    return json_response(
        {"metadata": dict(call.cloud.volumes.update(call.params["id"], metadata=given).metadata)}
    )


def delete(call: Call) -> Response:
    call.cloud.volumes.delete(call.params["id"], call.trouble)
    return empty(202)


def action(call: Call) -> Response:
    volume_id, body = call.params["id"], call.json
    name = next(iter(body), "") if isinstance(body, Mapping) else ""
    if name != "os-force_delete":
        raise bad_request(f"There is no such action: {name}")
    call.cloud.volumes.delete(volume_id, call.trouble, force=True)
    return empty(202)


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
    ("PUT", "/volumes/{id}", "volume", update),
    ("DELETE", "/volumes/{id}", "volume", delete),
    ("POST", "/volumes/{id}/action", "volume_action", action),
    ("GET", "/volumes/{id}/metadata", "volume_metadata", show_metadata),
    ("POST", "/volumes/{id}/metadata", "volume_metadata", add_metadata),
    ("PUT", "/volumes/{id}/metadata", "volume_metadata", replace_metadata),
    ("GET", "/limits", "limits", limits),
)

ROUTES: tuple[Route, ...] = tuple(Route(method=m, path=p, operation=o, handler=h) for m, p, o, h in _TABLE)
