"""Swift: containers, objects, large objects (Object Storage API reference v1)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from email.utils import formatdate
from typing import Any

from poolmgr.simcloud.content import Digest, whole
from poolmgr.simcloud.envelope import refused, timestamp
from poolmgr.simcloud.faults import FaultKind
from poolmgr.simcloud.manifests import delete_with_segments, put_manifest
from poolmgr.simcloud.refusal import Refusal, bad_request, no_such
from poolmgr.simcloud.routes import Call, Handler, Route, empty, json_response
from poolmgr.simcloud.things import StoredObject
from poolmgr.simcloud.wire import Response

_KEPT_HEADERS = ("x-object-meta-", "x-object-manifest")


def refuse(refusal: Refusal) -> Response:
    """Plain text or HTML, as Swift answers."""
    response = refused(refusal, {})
    response.body = f"<html><h1>{refusal.kind or 'Error'}</h1><p>{refusal.message}</p></html>".encode()
    response.content_type = "text/html; charset=UTF-8"
    return response


def info(call: Call) -> Response:
    rules = call.cloud.objects.rules
    body: dict[str, Any] = {
        "swift": {
            "max_file_size": rules.max_file_size,
            "version": "2.30.0",
            "container_listing_limit": rules.listing_limit,
        },
        "dlo": {"max_segments": None},
    }
    if rules.slo:
        body["slo"] = {
            "max_manifest_segments": rules.max_manifest_segments,
            "max_manifest_size": 8388608,
            "min_segment_size": rules.min_segment_size,
        }
    return json_response(body)


# -- containers ------------------------------------------------------------------------------------------


def account(call: Call) -> Response:
    containers = call.cloud.objects.containers
    rows = [
        {"name": name, "count": len(objects), "bytes": sum(o.size for o in objects.values())}
        for name, objects in sorted(containers.items())
    ]
    return _listing(call, _cut(call, rows), {"X-Account-Container-Count": str(len(containers))})


def list_container(call: Call) -> Response:
    """JSON with format=json, else one name a line."""
    objects = call.cloud.objects.container(call.params["container"])
    rows = [
        {
            "name": name,
            "bytes": stored.size,
            "hash": stored.etag.strip('"'),
            "content_type": stored.content_type,
            "last_modified": timestamp(stored.updated, zone="", micro=True),
        }
        for name, stored in sorted(objects.items())
    ]
    headers = {
        "X-Container-Object-Count": str(len(objects)),
        "X-Container-Bytes-Used": str(sum(o.size for o in objects.values())),
    }
    return _listing(call, _cut(call, rows), headers)


def _cut(call: Call, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows that the query's prefix, marker, end_marker and limit leave."""
    repeats = call.trouble.of(FaultKind.REPEATED_PAGE) is not None
    prefix, marker = call.one("prefix") or "", "" if repeats else call.one("marker") or ""
    end, limit, most = call.one("end_marker"), call.one("limit"), call.cloud.objects.rules.listing_limit
    if limit and limit.isdigit() and int(limit) > most:
        raise Refusal(412, f"Maximum limit is {most}", kind="Precondition Failed")
    rows = [r for r in rows if r["name"].startswith(prefix) and r["name"] > marker]
    rows = [r for r in rows if not end or r["name"] < end]
    return rows[: int(limit) if limit and limit.isdigit() else most]


def _listing(call: Call, rows: list[dict[str, Any]], headers: dict[str, str]) -> Response:
    if call.one("format") == "json" or "json" in call.request.headers.get("accept", ""):
        return json_response(rows, 200, headers)
    text = "".join(f"{row['name']}\n" for row in rows).encode()
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


# -- objects ---------------------------------------------------------------------------------------------


def put_object(call: Call) -> Response:
    """An object, or with multipart-manifest=put a static large one, where the store has such."""
    objects, container, name = call.cloud.objects, call.params["container"], call.params["name"]
    headers = call.request.headers
    kept = {k: v for k, v in headers.items() if k.startswith(_KEPT_HEADERS)}
    expiry = {"delete_after": _number(call, "x-delete-after"), "delete_at": _number(call, "x-delete-at")}
    digest = call.digest
    if call.one("multipart-manifest") == "put" and objects.rules.slo:
        stored = put_manifest(objects, container, name, _lines(digest), headers=kept, **expiry)
    else:
        stored = objects.put(container, name, digest, headers=kept, etag=headers.get("etag"), **expiry)
    return empty(201, {"Etag": stored.etag, "Last-Modified": formatdate(stored.updated, usegmt=True)})


def _number(call: Call, header: str) -> float | None:
    text = call.request.headers.get(header)
    if text is None:
        return None
    if not text.isdigit():
        raise bad_request(f"Non-integer {header.title()}", "Bad Request")
    return float(text)


def _lines(digest: Digest) -> list[Mapping[str, object]]:
    try:
        lines = json.loads(digest.data or b"")
    except ValueError as error:
        raise bad_request("Manifest must be valid JSON.") from error
    if not isinstance(lines, list) or not all(isinstance(s, Mapping) for s in lines):
        raise bad_request("Manifest must be a list.")
    return lines


def show_object(call: Call) -> Response:
    """GET and HEAD, of large objects as a whole; with multipart-manifest=get the manifest."""
    manifest = call.one("multipart-manifest") == "get" and call.cloud.objects.rules.slo
    stored = _object(call, in_one=not manifest)
    headers = {
        "Etag": stored.etag,
        "Last-Modified": formatdate(stored.updated, usegmt=True),
        "X-Timestamp": f"{stored.updated:.5f}",
        **{name.title(): value for name, value in stored.headers.items()},
    }
    if stored.segments:
        headers["X-Static-Large-Object"] = "True"
    if stored.delete_at is not None:
        headers["X-Delete-At"] = str(int(stored.delete_at))
    if manifest and stored.segments:
        return json_response(_manifest(stored), 200, headers)
    if call.request.method == "HEAD":
        return Response(headers={**headers, "Content-Length": str(stored.size)})
    path = f"{call.params['container']}/{call.params['name']}"
    body = whole(call.cloud.objects.content(path)) or b""
    return Response(body=body, headers=headers, content_type=stored.content_type)


def _object(call: Call, *, in_one: bool) -> StoredObject:
    objects, container, name = call.cloud.objects, call.params["container"], call.params["name"]
    objects.container(container)
    path = f"{container}/{name}"
    stored = objects.find(path) if in_one else objects.stored(path)
    if stored is None:
        raise no_such("object", name)
    return stored


def _manifest(stored: StoredObject) -> list[dict[str, Any]]:
    return [
        {
            "name": f"/{s.container}/{s.name}",
            "hash": s.etag.strip('"'),
            "bytes": s.size,
            "content_type": "application/octet-stream",
            "last_modified": timestamp(stored.updated, zone="", micro=True),
        }
        for s in stored.segments
    ]


def delete_object(call: Call) -> Response:
    """With multipart-manifest=delete the segments go too, and the answer is a report, always 200."""
    objects, container, name = call.cloud.objects, call.params["container"], call.params["name"]
    if call.one("multipart-manifest") != "delete" or not objects.rules.slo:
        _object(call, in_one=False)
        if not call.trouble.of(FaultKind.IGNORED_DELETE):
            objects.delete(container, name)
        return empty()
    removal = delete_with_segments(objects, container, name)
    return json_response(
        {
            "Response Status": "400 Bad Request" if removal.errors else "200 OK",
            "Response Body": "",
            "Number Deleted": removal.deleted,
            "Number Not Found": removal.missing,
            "Errors": [list(error) for error in removal.errors],
        }
    )


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

ROUTES: tuple[Route, ...] = (
    *(Route(method=m, path=p, operation=o, handler=h) for m, p, o, h in _TABLE),
    Route(method="PUT", path="/{container}/{name*}", operation="object", handler=put_object, streamed=True),
)
