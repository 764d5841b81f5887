"""Glance v2: images and their data (Image API reference v2). glance_imports.py has the rest of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from poolmgr.simcloud import glance_imports
from poolmgr.simcloud.content import whole
from poolmgr.simcloud.envelope import next_query, page, refused, timestamp
from poolmgr.simcloud.images import NewImage
from poolmgr.simcloud.refusal import Refusal, bad_request
from poolmgr.simcloud.routes import Call, Handler, Route, empty, json_response
from poolmgr.simcloud.things import Image
from poolmgr.simcloud.wire import Response

_PAGE = 25  # Glance's own default
_MINORS = {"v2": (15, 13, 12, 11, 10, 9, 7, 6, 5, 4, 3, 2, 1, 0), "v1": (1, 0)}
_KNOWN = ("name", "disk_format", "container_format", "visibility", "protected", "min_disk", "min_ram", "tags")
_NOT_FILTERS = {"limit", "marker", "sort", "sort_key", "sort_dir", "member_status"}


def refuse(refusal: Refusal) -> Response:
    """Glance answers in HTML with the message in it, but 401 as the middleware does."""
    if refusal.status == 401:
        return refused(refusal, {"error": {"code": 401, "title": "Unauthorized", "message": refusal.message}})
    response = refused(refusal, {})
    title = f"{refusal.status} {refusal.kind}".strip()
    page_text = f"<html>\n <head>\n  <title>{title}</title>\n </head>\n <body>\n  <h1>{title}</h1>\n"
    response.body = f"{page_text}  {refusal.message}<br /><br />\n </body>\n</html>".encode()
    response.content_type = "text/html; charset=UTF-8"
    return response


def root(call: Call) -> Response:
    """300 with every minor version, newest first, all of a major version under one address."""
    offered = call.cloud.shape.image_api.versions
    shown = [
        {
            "id": f"{major}.{minor}",
            "status": "SUPPORTED",
            "links": [{"rel": "self", "href": f"{call.base}/{major}/"}],
        }
        for major, minors in _MINORS.items()
        if major in offered
        for minor in minors
    ]
    if shown:
        shown[0]["status"] = "CURRENT"
    return json_response({"versions": shown}, 300)


def _image(call: Call, image: Image) -> dict[str, Any]:
    return {
        **_import_state(image),
        **image.properties,
        "id": image.id,
        "name": image.name,
        "status": image.status,
        "disk_format": image.disk_format,
        "container_format": image.container_format,
        "visibility": image.visibility,
        "protected": image.protected,
        "os_hidden": image.hidden,
        "min_disk": image.min_disk,
        "min_ram": image.min_ram,
        "size": image.size,
        "virtual_size": None,
        "checksum": image.md5,
        "os_hash_algo": "sha512" if image.sha512 else None,
        "os_hash_value": image.sha512,
        "owner": call.cloud.identity.credentials.project_id if image.mine else "0" * 32,
        "tags": list(image.tags),
        "created_at": timestamp(image.created),
        "updated_at": timestamp(image.updated),
        "self": f"/v2/images/{image.id}",
        "file": f"/v2/images/{image.id}/file",
        "schema": "/v2/schemas/image",
    }


def _import_state(image: Image) -> dict[str, str]:
    """What Glance adds to images of several stores, and to those that an import was asked for."""
    shown = {"stores": ",".join(image.stores)} if image.stores else {}
    if image.failed_import is not None:
        shown["os_glance_importing_to_stores"] = ",".join(image.importing_to)
        shown["os_glance_failed_import"] = ",".join(image.failed_import)
    return shown


def list_images(call: Call) -> Response:
    images = sorted(call.cloud.images.visible(), key=lambda i: (i.created, i.id), reverse=True)
    if (call.one("sort") or call.one("sort_dir") or "").endswith("asc"):
        images.reverse()
    hidden = call.one("os_hidden") == "true"
    shown = [i for i in images if i.hidden == hidden and _matches(_image(call, i), call.query)]
    chosen, more = page(shown, call, default=_PAGE, most=1000)
    body: dict[str, Any] = {
        "images": [_image(call, i) for i in chosen],
        "first": "/v2/images",
        "schema": "/v2/schemas/images",
    }
    if more:
        body["next"] = f"/v2/images?{next_query(call, chosen[-1].id)}"
    return json_response(body)


def _matches(row: Mapping[str, Any], query: Mapping[str, list[str]]) -> bool:
    for name, values in query.items():
        if name in _NOT_FILTERS or name == "os_hidden":
            continue
        value = values[0]
        wanted = value[3:].split(",") if value.startswith("in:") else [value]
        if name == "tag":
            if not set(values) <= set(row["tags"]):
                return False
        elif str(row.get(name)) not in wanted and str(row.get(name)).lower() not in wanted:
            return False
    return True


def create(call: Call) -> Response:
    given = call.json
    if not isinstance(given, Mapping):
        raise bad_request("The request body must be a JSON object.")
    extra = {k: v for k, v in given.items() if k not in _KNOWN and k not in ("os_hidden", "id")}
    if wrong := [k for k, v in extra.items() if not isinstance(v, str)]:
        raise bad_request(
            f"Provided object does not match schema 'image': {extra[wrong[0]]!r} is not of type 'string'"
        )
    image = call.cloud.images.create(
        NewImage(
            name=str(given.get("name") or ""),
            disk_format=given.get("disk_format"),
            container_format=given.get("container_format"),
            visibility=given.get("visibility", "shared"),
            protected=bool(given.get("protected")),
            hidden=bool(given.get("os_hidden")),
            min_disk=int(given.get("min_disk") or 0),
            min_ram=int(given.get("min_ram") or 0),
            tags=tuple(given.get("tags") or ()),
            properties=extra,
        )
    )
    headers = {"Location": f"{call.base}/v2/images/{image.id}"}
    if methods := call.cloud.imports.methods:
        headers["OpenStack-image-import-methods"] = ",".join(methods)
    if stores := call.cloud.images.api.stores:
        headers["OpenStack-image-store-ids"] = ",".join(stores)
    return json_response(_image(call, image), 201, headers)


def show(call: Call) -> Response:
    return json_response(_image(call, call.cloud.images.image(call.params["id"])))


def delete(call: Call) -> Response:
    call.cloud.images.delete(call.params["id"], call.trouble)
    return empty()


_FIELDS = {
    "name": "name",
    "visibility": "visibility",
    "protected": "protected",
    "min_disk": "min_disk",
    "min_ram": "min_ram",
    "tags": "tags",
    "os_hidden": "hidden",
    "disk_format": "disk_format",
    "container_format": "container_format",
}


def patch(call: Call) -> Response:
    """JSON patch of one level (application/openstack-images-v2.1-json-patch)."""
    image = call.cloud.images.image(call.params["id"])
    properties, changes = dict(image.properties), {}
    for step in call.json or ():
        name = str(step.get("path", "")).lstrip("/").replace("~1", "/").replace("~0", "~")
        if name in _FIELDS:
            value = step.get("value")
            changes[_FIELDS[name]] = tuple(value) if name == "tags" else value
        elif step.get("op") == "remove":
            if properties.pop(name, None) is None:
                raise Refusal(409, f"Property {name} does not exist.")
        else:
            properties[name] = str(step.get("value"))
    changed = call.cloud.images.update(image.id, properties=properties, **changes)
    return json_response(_image(call, changed))


# -- data ------------------------------------------------------------------------------------------------


def put_file(call: Call) -> Response:
    if call.request.headers.get("content-type") != "application/octet-stream":
        raise Refusal(415, "Unsupported Media Type")
    call.cloud.images.fill(call.params["id"], call.digest, call.trouble)
    return empty()


def get_file(call: Call) -> Response:
    image = call.cloud.images.image(call.params["id"])
    data = whole([image.content])
    if not data:
        return empty()  # queued, or made by a conversion and too large to have been kept
    return Response(body=data, content_type="application/octet-stream")


_TABLE: tuple[tuple[str, str, str, Handler], ...] = (
    ("GET", "/images", "images", list_images),
    ("POST", "/images", "images", create),
    ("GET", "/images/{id}", "image", show),
    ("PATCH", "/images/{id}", "image", patch),
    ("DELETE", "/images/{id}", "image", delete),
    ("GET", "/images/{id}/file", "image_file", get_file),
)

ROUTES: tuple[Route, ...] = (
    *(Route(method=m, path=p, operation=o, handler=h) for m, p, o, h in _TABLE),
    Route(method="PUT", path="/images/{id}/file", operation="image_file", handler=put_file, streamed=True),
    *glance_imports.ROUTES,
)
