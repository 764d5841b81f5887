"""Glance v1: what it knows of an image travels in headers (Image API v1, removed from Glance in Rocky)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from poolmgr.simcloud.content import whole
from poolmgr.simcloud.envelope import page, timestamp
from poolmgr.simcloud.images import NewImage
from poolmgr.simcloud.refusal import bad_request
from poolmgr.simcloud.routes import Call, Handler, Route, empty, json_response
from poolmgr.simcloud.things import Image
from poolmgr.simcloud.wire import Response

_META = "x-image-meta-"
_PROPERTY = "x-image-meta-property-"
_PAGE = 25


def _image(call: Call, image: Image) -> dict[str, Any]:
    return {
        "id": image.id,
        "name": image.name,
        "status": image.status,
        "disk_format": image.disk_format,
        "container_format": image.container_format,
        "size": image.size or 0,
        "checksum": image.md5,
        "min_disk": image.min_disk,
        "min_ram": image.min_ram,
        "protected": image.protected,
        "is_public": image.visibility == "public",
        "deleted": False,
        "owner": call.cloud.identity.credentials.project_id if image.mine else "0" * 32,
        "created_at": timestamp(image.created, zone="", micro=True),
        "updated_at": timestamp(image.updated, zone="", micro=True),
        "deleted_at": None,
        "virtual_size": None,
        "properties": dict(image.properties),
    }


def list_images(call: Call) -> Response:
    images = sorted(call.cloud.images.visible(), key=lambda i: (i.created, i.id), reverse=True)
    shown = [i for i in images if _matches(_image(call, i), call.query)]
    rows = [_image(call, i) for i in page(shown, call, default=_PAGE, most=1000)[0]]
    if not call.request.path.endswith("detail"):
        brief = ("id", "name", "size", "checksum", "disk_format", "container_format")
        rows = [{key: row[key] for key in brief} for row in rows]
    return json_response({"images": rows})


def _matches(row: Mapping[str, Any], query: Mapping[str, list[str]]) -> bool:
    for name, values in query.items():
        if name.startswith("property-"):
            if row["properties"].get(name.removeprefix("property-")) != values[0]:
                return False
        elif name in ("name", "status", "disk_format", "container_format") and str(row[name]) != values[0]:
            return False
    return True


def create(call: Call) -> Response:
    """A queued image, or an active one if its data came along."""
    headers = call.request.headers
    image = call.cloud.images.create(NewImage(name=headers.get(f"{_META}name", ""), **_given(call)))
    return _answer(call, _filled(call, image), 201)


def update(call: Call) -> Response:
    """Its fields, and its data if the image is queued; what has no header is purged unless told otherwise."""
    image, changes = call.cloud.images.image(call.params["id"]), _given(call)
    if name := call.request.headers.get(f"{_META}name"):
        changes["name"] = name
    if call.request.headers.get("x-glance-registry-purge-props", "true").lower() == "false":
        changes["properties"] = {**image.properties, **changes["properties"]}
    image = call.cloud.images.update(image.id, **changes)
    return _answer(call, _filled(call, image), 200)


def _filled(call: Call, image: Image) -> Image:
    """The image with the body in it, if there is one."""
    digest, headers = call.digest, call.request.headers
    if not digest.size and headers.get("content-type") != "application/octet-stream":
        return image
    expected = headers.get(f"{_META}checksum")
    if expected and expected != digest.md5:
        call.cloud.images.change(image.id, status="killed")
        raise bad_request(f"Supplied checksum '{expected}' and checksum generated '{digest.md5}' don't match")
    return call.cloud.images.fill(image.id, digest, call.trouble)


def _given(call: Call) -> dict[str, Any]:
    """The fields that the headers name, and all properties."""
    headers = call.request.headers
    given: dict[str, Any] = {
        "properties": {
            name.removeprefix(_PROPERTY).replace("-", "_"): value
            for name, value in headers.items()
            if name.startswith(_PROPERTY)
        }
    }
    for name in ("disk_format", "container_format"):
        if value := headers.get(_META + name):
            given[name] = value
    for name in ("min_disk", "min_ram"):
        if value := headers.get(_META + name):
            given[name] = _number(name, value)
    if value := headers.get(f"{_META}protected"):
        given["protected"] = value.lower() == "true"
    if value := headers.get(f"{_META}is_public"):
        given["visibility"] = "public" if value.lower() == "true" else "private"
    return given


def _number(name: str, text: str) -> int:
    if not text.isdigit():
        raise bad_request(f'Cannot convert image {name} "{text}" to an integer.')
    return int(text)


def _answer(call: Call, image: Image, status: int) -> Response:
    location = {"Location": f"{call.base}/v1/images/{image.id}"}
    return json_response({"image": _image(call, image)}, status, location)


def show(call: Call) -> Response:
    """HEAD: all of it in headers; GET: the data too."""
    image = call.cloud.images.image(call.params["id"])
    shown = _image(call, image)
    properties = shown.pop("properties")
    headers = {f"X-Image-Meta-{k.title()}": _text(v) for k, v in shown.items() if v is not None}
    headers |= {f"X-Image-Meta-Property-{k}": v for k, v in properties.items()}
    if call.request.method == "HEAD":
        return Response(headers=headers)
    data = whole([image.content]) or b""
    return Response(body=data, headers=headers, content_type="application/octet-stream")


def _text(value: Any) -> str:
    return str(value)


def delete(call: Call) -> Response:
    call.cloud.images.delete(call.params["id"], call.trouble)
    return empty(200)


_TABLE: tuple[tuple[str, str, str, Handler], ...] = (
    ("GET", "/images", "images", list_images),
    ("GET", "/images/detail", "images_detail", list_images),
    ("HEAD", "/images/{id}", "image", show),
    ("GET", "/images/{id}", "image", show),
    ("DELETE", "/images/{id}", "image", delete),
)

ROUTES: tuple[Route, ...] = (
    *(Route(method=m, path=p, operation=o, handler=h) for m, p, o, h in _TABLE),
    Route(method="POST", path="/images", operation="images", handler=create, streamed=True),
    Route(method="PUT", path="/images/{id}", operation="image", handler=update, streamed=True),
)
