"""Swift: containers, objects, large objects (Object Storage API reference v1)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from email.utils import formatdate

from poolmgr.simcloud.envelope import refused, timestamp
from poolmgr.simcloud.images import Digest
from poolmgr.simcloud.refusal import Refusal, bad_request, no_such
from poolmgr.simcloud.routes import Call, Handler, Route, empty, json_response
from poolmgr.simcloud.things import StoredObject
from poolmgr.simcloud.wire import Response

_PAGE = 10000
_KEPT_HEADERS = ("x-object-meta-", "x-object-manifest", "x-delete-at")


def refuse(refusal: Refusal) -> Response:
    """Plain text or HTML, as Swift answers."""
    response = refused(refusal, {})
    response.body = f"<html><h1>{refusal.kind or 'Error'}</h1><p>{refusal.message}</p></html>".encode()
    response.content_type = "text/html; charset=UTF-8"
    return response


def info(call: Call) -> Response:
    largest = call.cloud.objects.max_object_bytes
    return json_response(
        {
            "swift": {"max_file_size": largest, "version": "2.30.0", "container_listing_limit": _PAGE},
            "slo": {"max_manifest_segments": 1000, "max_manifest_size": 8388608, "min_segment_size": 1},
            "dlo": {},
        }
    )


def account(call: Call) -> Response:
    containers = call.cloud.objects.containers
    rows = [
        {"name": name, "count": len(objects), "bytes": sum(o.size for o in objects.values())}
        for name, objects in sorted(containers.items())
    ]
    return json_response(rows)


def list_container(call: Call) -> Response:
    """JSON with format=json, else one name a line."""
    objects = call.cloud.objects.container(call.params["container"])
    prefix, marker = call.one("prefix") or "", call.one("marker") or ""
    names = sorted(n for n in objects if n.startswith(prefix) and n > marker)
    limit = call.one("limit")
    names = names[: int(limit) if limit and limit.isdigit() else _PAGE]
    headers = {"X-Container-Object-Count": str(len(objects))}
    if call.one("format") == "json" or "json" in call.request.headers.get("accept", ""):
        rows = [
            {
                "name": name,
                "bytes": objects[name].size,
                "hash": objects[name].etag.strip('"'),
                "last_modified": timestamp(objects[name].updated, zone="", micro=True),
            }
            for name in names
        ]
        return json_response(rows, 200, headers)
    text = "".join(f"{name}\n" for name in names).encode()
    return Response(
        status=200 if text else 204, body=text, headers=headers, content_type="text/plain; charset=utf-8"
    )


def put_container(call: Call) -> Response:
    return empty(201 if call.cloud.objects.create_container(call.params["container"]) else 202)


def post_container(call: Call) -> Response:
    call.cloud.objects.container(call.params["container"])
    return empty()


def delete_container(call: Call) -> Response:
    call.cloud.objects.delete_container(call.params["container"])
    return empty()


def put_object(call: Call) -> Response:
    objects, container, name = call.cloud.objects, call.params["container"], call.params["name"]
    headers = call.request.headers
    kept = {k: v for k, v in headers.items() if k.startswith(_KEPT_HEADERS)}
    after = headers.get("x-delete-after")
    delete_after = float(after) if after else None
    digest = call.request.sink if isinstance(call.request.sink, Digest) else Digest()
    if call.one("multipart-manifest") == "put":
        stored = objects.put_manifest(
            container, name, _segments(digest), headers=kept, delete_after=delete_after
        )
    else:
        stored = objects.put(
            container, name, digest, headers=kept, etag=headers.get("etag"), delete_after=delete_after
        )
    return empty(201, {"Etag": stored.etag, "Last-Modified": formatdate(stored.updated, usegmt=True)})


def _segments(digest: Digest) -> list[Mapping[str, object]]:
    try:
        segments = json.loads(digest.data or b"")
    except ValueError as error:
        raise bad_request("Manifest must be valid JSON.") from error
    if not isinstance(segments, list) or not all(isinstance(s, Mapping) for s in segments):
        raise bad_request("Manifest must be a list.")
    return segments


def show_object(call: Call) -> Response:
    """GET and HEAD. The bytes of large objects are not kept: their GET is empty with the right headers."""
    stored = _object(call)
    headers = {
        "Etag": stored.etag,
        "Last-Modified": formatdate(stored.updated, usegmt=True),
        "X-Timestamp": f"{stored.updated:.5f}",
        **{name.title(): value for name, value in stored.headers.items()},
    }
    if stored.parts:
        headers["X-Static-Large-Object"] = "True"
    if stored.delete_at is not None:
        headers["X-Delete-At"] = str(int(stored.delete_at))
    if call.request.method == "HEAD":
        return Response(headers={**headers, "Content-Length": str(stored.size)})
    return Response(body=stored.data or b"", headers=headers, content_type="application/octet-stream")


def _object(call: Call) -> StoredObject:
    objects, container, name = call.cloud.objects, call.params["container"], call.params["name"]
    objects.container(container)
    stored = objects.find(f"{container}/{name}")
    if stored is None:
        raise no_such("object", name)
    return stored


def delete_object(call: Call) -> Response:
    """With multipart-manifest=delete the segments go too, and the answer is a report."""
    bulk = call.one("multipart-manifest") == "delete"
    call.cloud.objects.delete(call.params["container"], call.params["name"], with_parts=bulk)
    if not bulk:
        return empty()
    return json_response({"Response Status": "200 OK", "Errors": [], "Number Deleted": 1})


_TABLE: tuple[tuple[str, str, str, Handler], ...] = (
    ("GET", "/", "account", account),
    ("GET", "/{container}", "container", list_container),
    ("HEAD", "/{container}", "container", list_container),
    ("PUT", "/{container}", "container", put_container),
    ("POST", "/{container}", "container", post_container),
    ("DELETE", "/{container}", "container", delete_container),
    ("GET", "/{container}/{name*}", "object", show_object),
    ("HEAD", "/{container}/{name*}", "object", show_object),
    ("DELETE", "/{container}/{name*}", "object", delete_object),
)

ROUTES = (
    *(Route(method=m, path=p, operation=o, handler=h) for m, p, o, h in _TABLE),
    Route(method="PUT", path="/{container}/{name*}", operation="object", handler=put_object, streamed=True),
)
