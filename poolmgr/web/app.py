"""What launchers and builders answer over HTTP (cli-web.md 3). There is no login; nothing can be changed here.

Each table is answered as text, or as JSON to whoever prefers that, by any daemon for the whole system. What differs
from the reference on purpose: other methods than GET and HEAD are refused; an odd `Accept` gets text and is no error;
without ZooKeeper there is a 503 with the reason; `/ready` may go back to 503.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from email.utils import formatdate, parsedate_to_datetime
from pathlib import Path
from urllib.parse import quote, urlencode

from prometheus_client.metrics_core import Metric as Family
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from poolmgr.errors import StoreError, StoreUnavailable
from poolmgr.model.image import Build, BuildState
from poolmgr.web.accept import wants_json
from poolmgr.web.build_files import BuildName, OpenFile, open_file
from poolmgr.web.cache import AnswerCache, Rendered
from poolmgr.web.log_stream import FileAnswer, FollowAnswer
from poolmgr.web.metrics import own_families, page, whole_families
from poolmgr.web.source import Source
from poolmgr.web.table import table_text
from poolmgr.web.tables import ENDPOINTS, Endpoint, Question
from poolmgr.web.views import Column

#: Seconds that an answer is good for, here and in the caches of clients.
LIFETIME = 1
#: More clients than this do not follow logs at a time: there is no login.
MAX_FOLLOWERS = 32
#: Says that another daemon has sent the client here, so that it is not sent round in a circle.
_REDIRECTED = "redirected"
_NO_STORE = "no connection to ZooKeeper"
_ANYWHERE = {"Access-Control-Allow-Origin": "*"}


class WebApp:
    """The application of one daemon. `now` gives epoch seconds; `asgi` is what a server runs."""

    def __init__(self, source: Source, now: Callable[[], float]) -> None:
        self._source = source
        self._now = now
        self._cache = AnswerCache(lifetime=LIFETIME)
        self._stopping = threading.Event()
        self._followers = threading.BoundedSemaphore(MAX_FOLLOWERS)
        self.asgi = Starlette(
            routes=[
                *(Route(path, self._table(path, endpoint)) for path, endpoint in ENDPOINTS.items()),
                Route("/ready", self._ready),
                Route("/live", self._live),
                Route("/metrics", self._metrics),
                Route("/ledger", self._ledger),
                Route("/build-log/{name}", self._build_log),
                Route("/manifest/{name}", self._manifest),
            ],
            exception_handlers={HTTPException: _refused, StoreError: _store_failed, Exception: _crashed},
        )
        self.asgi.router.redirect_slashes = False  # the reference answers 404 there

    def stop(self) -> None:
        """End the answers that have no end of their own."""
        self._stopping.set()

    # Tables

    def _table(self, path: str, endpoint: Endpoint) -> Callable[[Request], Response]:
        def answer(request: Request) -> Response:
            self._require_store()
            as_json = wants_json(_accept(request))
            columns = endpoint.chosen(request.query_params.get("fields"))
            node_id = request.query_params.get("node_id") if endpoint.takes_node_id else None
            now = self._now()

            def render() -> bytes:
                return self._rendered(endpoint, None if as_json else columns, node_id, now)

            if node_id is None:
                shown = None if as_json else tuple(column.key for column in columns)
                rendered = self._cache.get((path, shown), render, now=now)
            else:  # there may be any number of them
                rendered = Rendered(render(), int(now))
            return _table_response(request, rendered, as_json=as_json, now=now)

        return answer

    def _rendered(
        self, endpoint: Endpoint, columns: tuple[Column, ...] | None, node_id: str | None, now: float
    ) -> bytes:
        """The body; `columns` None: JSON."""
        question = Question(now=now, retry_max=self._source.settings.image_retry_max, node_id=node_id)
        with self._source.store.reading() as snapshot:
            rows = endpoint.rows(snapshot, question)
        if columns is None:
            return json.dumps(rows, default=str).encode()
        return (table_text(rows, columns, now=now) + "\n").encode(errors="replace")

    def _require_store(self) -> None:
        if not self._source.store.connected:
            raise HTTPException(503, _NO_STORE, headers={"Retry-After": "5"})

    # Health

    def _ready(self, _request: Request) -> Response:
        if not self._source.store.connected:
            return _health(_NO_STORE)
        return _health(self._source.ready())

    def _live(self, _request: Request) -> Response:
        return _health(self._source.live())

    # Numbers

    def _metrics(self, request: Request) -> Response:
        """Also without the store: what is known of this daemon then."""
        accept, now = _accept(request), self._now()
        connected = self._source.store.connected
        families = [*own_families(self._source.board.totals(), connected=connected)]
        if connected:
            families += self._whole(now)
        body, content_type = page(families, accept)
        return Response(body, headers={"Cache-Control": "no-store", "Content-Type": content_type})

    def _whole(self, now: float) -> list[Family]:
        try:
            with self._source.store.reading() as snapshot:
                return list(whole_families(snapshot, now))
        except StoreUnavailable:
            return []

    # Deletions

    def _ledger(self, _request: Request) -> Response:
        """What this daemon has deleted lately; also without the store."""
        ledger = self._source.ledger
        if ledger is None:
            raise HTTPException(404, "this daemon keeps no ledger: ask a launcher")
        body = json.dumps(ledger.last(), default=str)
        return Response(body, headers={"Cache-Control": "no-store", "Content-Type": "application/json"})

    # Logs and manifests of builds

    def _build_log(self, request: Request) -> Response:
        name = _build_name(request)
        lines = _whole_number(request, "tail")
        follow = _flag(request, "follow")
        file = _opened(self._source.build_logs, f"{name}.log")
        if file is None:
            return self._elsewhere(request, name, "build-log")
        if follow and not self._followers.acquire(blocking=False):
            file.close()
            raise HTTPException(503, f"{MAX_FOLLOWERS} clients follow logs already", {"Retry-After": "30"})
        if lines is not None:
            file.seek_tail(lines)
        if not follow:
            return FileAnswer(file, "text/plain")
        return FollowAnswer(
            file, over=lambda: self._is_over(name), stopping=self._stopping, done=self._followers.release
        )

    def _manifest(self, request: Request) -> Response:
        name = _build_name(request)
        file = _opened(self._source.manifests, f"{name}.manifest.json")
        if file is None:
            return self._elsewhere(request, name, "manifest")
        return FileAnswer(file, "application/json")

    def _elsewhere(self, request: Request, name: BuildName, kind: str) -> Response:
        """To the builder whose build it is. Raises HTTPException when there is no such build, or none to ask."""
        self._require_store()
        build = self._build(name)
        if build is None:
            raise HTTPException(404, f"there is no build {name}, and nothing of it here")
        url = build.url or ""
        if not url.startswith(("http://", "https://")):
            raise HTTPException(404, f"its builder, {build.builder}, has no web server")
        if url == self._source.url or _REDIRECTED in request.query_params:
            raise HTTPException(404, f"build {name} has none here: not yet, or it was removed")
        query = urlencode([*request.query_params.multi_items(), (_REDIRECTED, "1")])
        return RedirectResponse(f"{url}/{kind}/{quote(str(name))}?{query}", 307)

    def _build(self, name: BuildName) -> Build | None:
        with self._source.store.reading() as snapshot:
            return snapshot.build(name.image, name.build)

    def _is_over(self, name: BuildName) -> bool:
        if not self._source.store.connected:
            return False
        try:
            build = self._build(name)
        except StoreUnavailable:
            return False
        return build is None or build.state is not BuildState.BUILDING


def _accept(request: Request) -> str:
    return ",".join(request.headers.getlist("accept"))


def _table_response(request: Request, rendered: Rendered, *, as_json: bool, now: float) -> Response:
    headers = {
        **_ANYWHERE,
        "Cache-Control": f"max-age={LIFETIME}, public",
        "Last-Modified": formatdate(rendered.modified, usegmt=True),
        "Expires": formatdate(now + LIFETIME, usegmt=True),
        "Vary": "Accept",
    }
    if _unchanged_since(request, rendered.modified):
        return Response(status_code=304, headers=headers)
    kind = "application/json" if as_json else "text/plain; charset=UTF-8"
    return Response(rendered.body, headers={**headers, "Content-Type": kind})


def _unchanged_since(request: Request, modified: int) -> bool:
    """Whether the client has it already; a header that is no date is ignored (RFC 9110, 13.1.3)."""
    try:
        since = parsedate_to_datetime(request.headers.get("if-modified-since", "")).timestamp()
    except (ValueError, TypeError, OverflowError, OSError):
        return False
    return modified <= since


def _health(why_not: str | None) -> Response:
    headers = {"Cache-Control": "no-store"}
    if why_not is None:
        return PlainTextResponse("OK", headers=headers)
    return PlainTextResponse(f"{why_not}\n", 503, headers)


def _build_name(request: Request) -> BuildName:
    name = BuildName.parse(request.path_params["name"])
    if name is None:
        raise HTTPException(404, "a build is named <image>-<build>")
    return name


def _whole_number(request: Request, parameter: str) -> int | None:
    text = request.query_params.get(parameter)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise HTTPException(400, f"{parameter} must be a whole number, not {text[:40]!r}")
    return int(text)


def _flag(request: Request, parameter: str) -> bool:
    return request.query_params.get(parameter, "0").lower() not in ("0", "false", "no")


def _opened(directory: Path | None, file_name: str) -> OpenFile | None:
    return None if directory is None else open_file(directory, file_name)


def _refused(request: Request, error: Exception) -> Response:
    """A 4xx or 5xx with its reason, as JSON for those who prefer it."""
    assert isinstance(error, HTTPException)
    detail = error.detail
    if error.status_code == 404 and detail == "Not Found":
        detail = f"there are {', '.join((*ENDPOINTS, '/ready', '/live', '/metrics', '/build-log/…', '/manifest/…'))}"
    headers = {**_ANYWHERE, **(error.headers or {})}
    if wants_json(_accept(request)):
        body = json.dumps({"error": detail})
        return Response(body, error.status_code, headers, media_type="application/json")
    return PlainTextResponse(f"{detail}\n", error.status_code, headers)


def _store_failed(_request: Request, error: Exception) -> Response:
    """It went away while the answer was made."""
    return PlainTextResponse(f"{error}\n", 503, _ANYWHERE)


def _crashed(_request: Request, _error: Exception) -> Response:
    """A bug; the server logs it."""
    return PlainTextResponse("internal error, see the log\n", 500, _ANYWHERE)
