"""Calls to the Object Storage service (Swift, API v1)."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from poolmgr.cloud.openstack.discovery import Discovery
from poolmgr.cloud.openstack.errors import Failure, error_of
from poolmgr.cloud.openstack.service import Service
from poolmgr.cloud.openstack.session import Answer, Session
from poolmgr.cloud.openstack.timestamps import epoch_of
from poolmgr.cloud.openstack.upload_body import Body
from poolmgr.cloud.openstack.versions import root_of
from poolmgr.errors import CloudError, CloudUnavailable, NotFound
from poolmgr.model.trouble import Trouble

log = logging.getLogger(__name__)

#: The longest object where a store does not tell (Swift's default).
MAX_OBJECT = 5 << 30
MANIFEST_TIMEOUTS = (10.0, 300.0)  # seconds; the store looks at each segment before it answers


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreLimits:
    """What `GET /info` says (Object Storage API v1, "Discoverability"), and what holds where it says nothing.

    `static` False: there are no static large objects, so a large one has to be a dynamic one.
    """

    max_object: int = MAX_OBJECT  # bytes
    static: bool = False
    min_segment: int = 1
    max_segments: int = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class Listed:
    """An object as the list of its container shows it."""

    name: str
    size: int
    last_modified: float | None  # epoch seconds


class ObjectStore:
    """What we ask of the Object Storage service. Paths are `<container>/<object>`, unquoted."""

    def __init__(self, service: Service, session: Session, discovery: Discovery) -> None:
        self._service = service
        self._session = session
        self._discovery = discovery

    def present(self) -> bool:
        return self._service.endpoint() is not None

    def limits(self) -> StoreLimits:
        """What the store allows; cautious numbers where it does not tell."""
        url = root_of(self._discovery.need(self._service.name).url) + "/info"
        try:
            document = self._session.send(self._service.name, "GET", url, authenticated=False).document()
        except CloudUnavailable:
            raise
        except CloudError as error:
            log.debug("the object store does not tell its limits: %s", error)
            return StoreLimits()
        return limits_of(document or {})

    def make_container(self, name: str) -> None:
        """It may be there already."""
        self._service.put(f"/{quote(name)}")

    def send(self, path: str, body: Body, headers: Mapping[str, str]) -> str:
        """Store an object; returns its ETag, the md5 of what arrived. Sent once.

        Raises CloudUnavailable, also for a token that ended and for bytes that were changed on the way (422).
        """
        wanted = {"Content-Type": "application/octet-stream", **headers}
        answer = self._service.stream("PUT", _path(path), body, headers=wanted)
        if not isinstance(answer, Answer):
            raise _send_error(answer)
        etag = answer.headers.get("etag", "").strip('"')
        if not etag:
            raise Trouble.WEB_PAGE.error(CloudUnavailable, f"{answer.call}: {answer.status} without an ETag")
        return etag.lower()

    def put_static(self, path: str, segments: list[dict[str, Any]], headers: Mapping[str, str]) -> None:
        """A static large object of `segments` (Object Storage API v1, "Static large objects")."""
        query = {"multipart-manifest": "put"}
        self._service.put(_path(path), segments, query=query, headers=headers, timeouts=MANIFEST_TIMEOUTS)

    def put_dynamic(self, path: str, prefix: str, headers: Mapping[str, str]) -> None:
        """A dynamic large object of all that is called `<prefix>...`; `prefix` is `<container>/<beginning>`."""
        self._service.put(_path(path), headers={**headers, "X-Object-Manifest": quote(prefix)})

    def head(self, path: str) -> Mapping[str, str]:
        """The headers of an object, large ones with the length of the whole. Raises NotFound."""
        return self._service.head(_path(path)).headers

    def delete(self, path: str, *, with_segments: bool = False) -> None:
        """NotFound is success. `with_segments` is for static large objects only."""
        query = {"multipart-manifest": "delete"} if with_segments else None
        try:
            self._service.delete(_path(path), query)
        except NotFound:
            log.debug("object %s is gone already", path)

    def list(self, container: str, prefix: str) -> Iterator[Listed]:
        """The objects of a container whose names begin so; none if there is no such container."""
        marker = ""
        while True:
            query = {"format": "json", "prefix": prefix, "marker": marker}
            try:
                answer = self._service.get(f"/{quote(container)}", query)
            except NotFound:
                return
            page = [listed for row in _rows(answer) if (listed := _listed(row)) is not None]
            yield from page
            if not page or page[-1].name <= marker:  # a store that ignores the marker
                return
            marker = page[-1].name


def limits_of(info: Mapping[str, Any]) -> StoreLimits:
    """The limits in the document of `GET /info`."""
    swift, slo = _section(info, "swift"), _section(info, "slo")
    return StoreLimits(
        max_object=_positive(swift.get("max_file_size"), MAX_OBJECT),
        static=isinstance(info.get("slo"), Mapping),
        min_segment=_positive(slo.get("min_segment_size"), 1),
        max_segments=_positive(slo.get("max_manifest_segments"), 1000),
    )


def _section(info: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = info.get(name)
    return found if isinstance(found, Mapping) else {}


def _positive(value: object, otherwise: int) -> int:
    return value if isinstance(value, int) and value > 0 else otherwise


def _send_error(failure: Failure) -> CloudError:
    """A 422 says that the bytes were changed on the way, and a 401 that the token ended: both may be tried again."""
    error = error_of(failure, repeatable=True)
    if failure.status in (401, 422):
        return CloudUnavailable(str(failure), request_id=failure.request_id)
    return error


def _rows(answer: Answer) -> list[Mapping[str, Any]]:
    """The JSON list in an answer. Raises CloudUnavailable when it is something else."""
    try:
        rows = json.loads(answer.content or b"[]")
    except ValueError:
        rows = None
    if not isinstance(rows, list):
        raise CloudUnavailable(f"{answer.call}: {answer.status} without a JSON list")
    return [row for row in rows if isinstance(row, Mapping)]


def _listed(row: Mapping[str, Any]) -> Listed | None:
    """None for a row that is no object (a `subdir`)."""
    name = row.get("name")
    if not isinstance(name, str):
        return None
    return Listed(
        name=name, size=int(row.get("bytes") or 0), last_modified=epoch_of(row.get("last_modified"))
    )


def _path(path: str) -> str:
    return "/" + quote(path)
