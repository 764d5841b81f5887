"""From a method and a path to the function that answers, and what that function is given.

A service's routes are relative to its version (`/servers/{id}`); `operation` is the name part of metrics.md 5, so
that the calls which a client counts and those which the cloud counts can be compared.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote

from poolmgr.simcloud.content import Digest
from poolmgr.simcloud.faults import NO_TROUBLE, Trouble
from poolmgr.simcloud.refusal import Refusal, bad_request
from poolmgr.simcloud.wire import Request, Response
from poolmgr.simcloud.world import SimCloud


class Upload:
    """The body of a call to a streamed route, on its way in."""

    def __init__(self, digest: Digest) -> None:
        self.digest = digest
        self._early: Response | None = None
        self._after_bytes = 0

    def end_early(self, answer: Response, after_bytes: int) -> None:
        """Plan that `answer` is given as soon as `after_bytes` have come."""
        self._early, self._after_bytes = answer, after_bytes

    def feed(self, piece: bytes) -> Response | None:
        self.digest.feed(piece)
        return self._early if self.digest.size >= self._after_bytes else None


MOUNT = "cloud-"  # before a cloud's name in URLs


@dataclass(kw_only=True, slots=True)
class Call:
    """One API call on its way to its handler. `base` is the service's URL without version or slash at its end."""

    cloud: SimCloud
    request: Request
    params: Mapping[str, str]
    base: str
    microversion: tuple[int, int] = (2, 1)
    versioned: bool = False  # the cloud's Compute has microversions
    trouble: Trouble = NO_TROUBLE
    cache: dict[Any, Any] = field(default_factory=dict)  # of the cloud, for what is costly to render
    _json: Any = None
    _query: dict[str, list[str]] | None = None

    @property
    def query(self) -> dict[str, list[str]]:
        if self._query is None:
            self._query = parse_qs(self.request.query, keep_blank_values=True) if self.request.query else {}
        return self._query

    def one(self, name: str) -> str | None:
        """The first value of a query argument; None if it is not there."""
        values = self.query.get(name)
        return values[0] if values else None

    @property
    def json(self) -> Any:
        """The body. Raises Refusal when it is not JSON."""
        if self._json is None and self.request.body:
            try:
                self._json = json.loads(self.request.body)
            except ValueError as error:
                raise bad_request("The request body is not valid JSON.") from error
        return self._json

    def entity(self, name: str) -> Mapping[str, Any]:
        """The object `name` of the body. Raises Refusal when there is none."""
        body = self.json
        found = body.get(name) if isinstance(body, Mapping) else None
        if not isinstance(found, Mapping):
            raise bad_request(f"Invalid input: '{name}' is a required property")
        return found

    @property
    def digest(self) -> Digest:
        """The body of a call to a streamed route; an empty one had no sink."""
        sink = self.request.sink
        return sink.digest if isinstance(sink, Upload) else Digest()

    def detail(self) -> str:
        """What an action of a server is called; "" of other calls."""
        if not self.request.path.endswith("/action"):
            return ""
        try:
            body = self.json
        except Refusal:
            return ""
        return str(next(iter(body), "")) if isinstance(body, Mapping) else ""

    def subject(self) -> str:
        """What faults know the call by: the id in its path, else name or description in its body, else ""."""
        if self.params:
            return list(self.params.values())[-1]
        if self.request.sink is not None:
            return self.request.headers.get("x-image-meta-name", "")
        try:
            body = self.json
        except Refusal:
            return ""
        inner = next(iter(body.values()), None) if isinstance(body, Mapping) else None
        return str(inner.get("name") or inner.get("description") or "") if isinstance(inner, Mapping) else ""


Handler = Callable[[Call], Response]


@dataclass(frozen=True, kw_only=True)
class Route:
    method: str
    path: str
    operation: str
    handler: Handler
    open: bool = False  # answered without a token
    streamed: bool = False  # the body goes to an Upload


@dataclass(slots=True)
class _Step:
    routes: dict[str, Route] = field(default_factory=dict)  # by method
    below: dict[str, _Step] = field(default_factory=dict)
    any: _Step | None = None
    parameter: str = ""


class Router:
    """Finds routes by the segments of a path. `{name}` takes one segment, `{name*}` all that follow."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._root = _Step()
        for route in routes:
            self._add(route)

    def _add(self, route: Route) -> None:
        step = self._root
        for segment in _segments(route.path):
            if segment.startswith("{"):
                step.any = step.any or _Step(parameter=segment.strip("{}"))
                step = step.any
            else:
                step = step.below.setdefault(segment, _Step())
        step.routes[route.method] = route

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]]:
        """The route and its parameters. Raises Refusal 404 or 405."""
        step, params = self._root, {}
        segments = _segments(path)
        for position, segment in enumerate(segments):
            if segment in step.below:
                step = step.below[segment]
            elif step.any is None:
                raise Refusal(404, "The resource could not be found.")
            else:
                step = step.any
                if step.parameter.endswith("*"):
                    params[step.parameter[:-1]] = unquote("/".join(segments[position:]))
                    break
                params[step.parameter] = unquote(segment)
        if not step.routes:
            raise Refusal(404, "The resource could not be found.")
        if method not in step.routes:
            raise Refusal(405, "The method is not allowed for this resource.")
        return step.routes[method], params


def _segments(path: str) -> list[str]:
    return [s for s in path.split("/") if s]


_compact = json.JSONEncoder(separators=(",", ":")).encode


def json_response(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(status=status, body=_compact(body).encode(), headers=dict(headers or {}))


def empty(status: int = 204, headers: Mapping[str, str] | None = None) -> Response:
    return Response(status=status, headers=dict(headers or {}))
