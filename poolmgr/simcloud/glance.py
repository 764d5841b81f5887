"""Glance v2: images, their data, import and tasks (Image API reference v2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from poolmgr.simcloud.envelope import next_query, page, refused, timestamp
from poolmgr.simcloud.faults import FaultKind
from poolmgr.simcloud.images import Digest, NewImage
from poolmgr.simcloud.refusal import Refusal, bad_request
from poolmgr.simcloud.routes import Call, Handler, Route, empty, json_response
from poolmgr.simcloud.things import Image, Task
from poolmgr.simcloud.wire import Response

_PAGE = 25  # Glance's own default
_METHODS = ("glance-direct", "web-download")
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
    """300 with every minor version, newest first, all under one address."""
    minors = [15, 13, 12, 11, 10, 9, 7, 6, 5, 4, 3, 2, 1, 0]
    links = [{"rel": "self", "href": f"{call.base}/v2/"}]
    versions = [
        {"id": f"v2.{minor}", "status": "CURRENT" if minor == 15 else "SUPPORTED", "links": links}
        for minor in minors
    ]
    return json_response({"versions": versions}, 300)


def _image(call: Call, image: Image) -> dict[str, Any]:
    return {
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


def list_images(call: Call) -> Response:
    images = sorted(call.cloud.images.images.values(), key=lambda i: (i.created, i.id), reverse=True)
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
    headers = {
        "Location": f"{call.base}/v2/images/{image.id}",
        "OpenStack-image-import-methods": ",".join(_METHODS),
    }
    return json_response(_image(call, image), 201, headers)


def show(call: Call) -> Response:
    return json_response(_image(call, call.cloud.images.image(call.params["id"])))


def delete(call: Call) -> Response:
    call.cloud.images.delete(call.params["id"])
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


def _digest(call: Call) -> Digest:
    """What came in; an empty body had no sink."""
    sink = call.request.sink
    return sink if isinstance(sink, Digest) else Digest()


def put_file(call: Call) -> Response:
    if call.request.headers.get("content-type") != "application/octet-stream":
        raise Refusal(415, "Unsupported Media Type")
    call.cloud.images.fill(call.params["id"], _digest(call))
    return empty()


def get_file(call: Call) -> Response:
    image = call.cloud.images.image(call.params["id"])
    if image.data is None:
        return empty()  # queued, or too large to have been kept
    return Response(body=image.data, content_type="application/octet-stream")


def stage(call: Call) -> Response:
    call.cloud.images.stage(call.params["id"], _digest(call))
    return empty()


def import_image(call: Call) -> Response:
    method = (call.json or {}).get("method") or {}
    if method.get("name") not in _METHODS:
        raise bad_request(f"Unknown import method name '{method.get('name')}'.")
    call.cloud.images.import_(call.params["id"], method["name"], str(method.get("uri") or ""))
    return empty(202)


def import_info(call: Call) -> Response:  # noqa: ARG001 - the same for every cloud
    methods = {"description": "Import methods available.", "type": "array", "value": list(_METHODS)}
    return json_response({"import-methods": methods})


# -- tasks -----------------------------------------------------------------------------------------------


def _task(task: Task) -> dict[str, Any]:
    return {
        "id": task.id,
        "type": "import",
        "status": task.status,
        "input": dict(task.input),
        "result": {"image_id": task.image_id} if task.image_id else None,
        "message": task.message,
        "created_at": timestamp(task.created),
        "self": f"/v2/tasks/{task.id}",
        "schema": "/v2/schemas/task",
    }


def create_task(call: Call) -> Response:
    given = call.json if isinstance(call.json, Mapping) else {}
    source = given.get("input")
    if given.get("type") != "import" or not isinstance(source, Mapping):
        raise bad_request("Task type must be import, with an input.")
    cloud = call.cloud
    task = cloud.images.import_task(
        source,
        cloud.objects.find(str(source.get("import_from", ""))),
        disk_format=cloud.shape.image_format,
        failure=_task_failure(call),
    )
    return json_response(_task(task), 201)


def _task_failure(call: Call) -> str:
    fault = call.trouble.of(FaultKind.FAILED_TASK)
    return (fault.message or "Image cannot be imported. Error code: '396'") if fault else ""


def show_task(call: Call) -> Response:
    return json_response(_task(call.cloud.images.task(call.params["id"])))


def list_tasks(call: Call) -> Response:
    tasks: Sequence[Task] = list(call.cloud.images.tasks.values())
    return json_response({"tasks": [_task(t) for t in tasks]})


def image_tasks(call: Call) -> Response:
    call.cloud.images.image(call.params["id"])
    tasks = [_task(t) for t in call.cloud.images.tasks.values() if t.image_id == call.params["id"]]
    return json_response({"tasks": tasks})


_TABLE: tuple[tuple[str, str, str, Handler], ...] = (
    ("GET", "/images", "images", list_images),
    ("POST", "/images", "images", create),
    ("GET", "/images/{id}", "image", show),
    ("PATCH", "/images/{id}", "image", patch),
    ("DELETE", "/images/{id}", "image", delete),
    ("GET", "/images/{id}/file", "image_file", get_file),
    ("POST", "/images/{id}/import", "image_import", import_image),
    ("GET", "/images/{id}/tasks", "image_tasks", image_tasks),
    ("GET", "/info/import", "info_import", import_info),
    ("POST", "/tasks", "tasks", create_task),
    ("GET", "/tasks", "tasks", list_tasks),
    ("GET", "/tasks/{id}", "task", show_task),
)

ROUTES = (
    *(Route(method=m, path=p, operation=o, handler=h) for m, p, o, h in _TABLE),
    Route(method="PUT", path="/images/{id}/file", operation="image_file", handler=put_file, streamed=True),
    Route(method="PUT", path="/images/{id}/stage", operation="image_stage", handler=stage, streamed=True),
)
