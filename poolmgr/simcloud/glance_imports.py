"""Glance v2's other ways in: interoperable import with its stores, and tasks (Image API reference v2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from poolmgr.simcloud.envelope import timestamp
from poolmgr.simcloud.imports import ImportRequest
from poolmgr.simcloud.refusal import Refusal, bad_request
from poolmgr.simcloud.routes import Call, Handler, Route, empty, json_response
from poolmgr.simcloud.things import Task
from poolmgr.simcloud.wire import Response


def stage(call: Call) -> Response:
    call.cloud.imports.stage(call.params["id"], call.digest)
    return empty()


def import_image(call: Call) -> Response:
    """202; `stores`, `all_stores` and the header X-Image-Meta-Store say where to."""
    given = call.json if isinstance(call.json, Mapping) else {}
    method = given.get("method")
    if not isinstance(method, Mapping):
        raise bad_request("Provided object does not match schema: 'method' is a required property")
    if not call.cloud.imports.methods:
        raise Refusal(404, "The resource could not be found.")
    wanted = ImportRequest(
        method=str(method.get("name")), uri=str(method.get("uri") or ""), stores=_stores(call, given)
    )
    call.cloud.imports.start(call.params["id"], wanted, call.trouble)
    return empty(202)


def _stores(call: Call, given: Mapping[str, Any]) -> tuple[str, ...]:
    known = call.cloud.images.api.stores
    if given.get("all_stores"):
        return known
    named = call.request.headers.get("x-image-meta-store")
    return tuple(str(s) for s in given.get("stores") or ((named,) if named else ()))


def import_info(call: Call) -> Response:
    methods = list(call.cloud.imports.methods)
    if not methods:
        raise Refusal(404, "The resource could not be found.")
    shown = {"description": "Import methods available.", "type": "array", "value": methods}
    return json_response({"import-methods": shown})


def store_info(call: Call) -> Response:
    """404 where there is only one store, as Glance answers without enabled_backends."""
    stores = call.cloud.images.api.stores
    if not stores:
        raise Refusal(404, "Multi backend is not supported at this site.")
    shown = [{"id": s, "description": "", **({"default": "true"} if s == stores[0] else {})} for s in stores]
    return json_response({"stores": shown})


# -- tasks -----------------------------------------------------------------------------------------------


def _task(task: Task) -> dict[str, Any]:
    return {
        "id": task.id,
        "type": task.kind,
        "status": task.status,
        "input": dict(task.input),
        "result": {"image_id": task.image_id} if task.image_id else None,
        "image_id": task.image_id,
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
    return json_response(_task(call.cloud.imports.import_object(source, call.trouble)), 201)


def show_task(call: Call) -> Response:
    return json_response(_task(call.cloud.imports.task(call.params["id"])))


def list_tasks(call: Call) -> Response:
    return json_response({"tasks": [_task(t) for t in call.cloud.imports.tasks.values()]})


def image_tasks(call: Call) -> Response:
    image_id = call.cloud.images.image(call.params["id"]).id
    tasks = [_task(t) for t in call.cloud.imports.tasks.values() if t.image_id == image_id]
    return json_response({"tasks": tasks})


_TABLE: tuple[tuple[str, str, str, Handler], ...] = (
    ("POST", "/images/{id}/import", "image_import", import_image),
    ("GET", "/images/{id}/tasks", "image_tasks", image_tasks),
    ("GET", "/info/import", "info_import", import_info),
    ("GET", "/info/stores", "info_stores", store_info),
    ("POST", "/tasks", "tasks", create_task),
    ("GET", "/tasks", "tasks", list_tasks),
    ("GET", "/tasks/{id}", "task", show_task),
)

ROUTES: tuple[Route, ...] = (
    *(Route(method=m, path=p, operation=o, handler=h) for m, p, o, h in _TABLE),
    Route(method="PUT", path="/images/{id}/stage", operation="image_stage", handler=stage, streamed=True),
)
