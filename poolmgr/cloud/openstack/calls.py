"""API calls as facts: what was asked of which service, what came back, and how a call is counted.

The names are those of the `openstack.api` metrics (metrics.md 5), so existing dashboards keep working; calls for
tokens and version documents, which the reference does not count, are `identity.POST.tokens` and
`identity.GET.discovery`.
"""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

IDENTITY = "identity"

_VERSION = re.compile(r"v\d+(\.\d+)?")
_PROJECT = re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, slots=True)
class ApiCall:
    """One HTTP request that was sent. `seconds` leaves out what our own limiter made it wait."""

    service: str  # compute, network, image, identity, ...
    method: str
    name: str
    status: int | None  # None: no answer
    seconds: float

    @property
    def key(self) -> str:
        """`<service>.<METHOD>.<name>`, as metrics and counters have it."""
        return f"{self.service}.{self.method}.{self.name}"


def call_name(path: str) -> str:
    """The metric name of a URL path: `/v2.1/servers/<id>/action` is `server_action`; "/" is `discovery`.

    The rule is that of metrics.md 5: without version, project id and `.json`, every second part, singular
    when another part follows.
    """
    parts = [part for part in path.split("?", maxsplit=1)[0].removesuffix(".json").split("/") if part]
    if parts and _VERSION.fullmatch(parts[0]):
        parts = parts[1:]
    if parts and _PROJECT.fullmatch(parts[0]):
        parts = parts[1:]
    if not parts:
        return "discovery"
    if parts[-1] in ("detail", "tokens"):
        wanted = parts[-2:] if parts[-1] == "detail" else parts[-1:]
        return "_".join(wanted)
    names = [
        part.removesuffix("s") if place + 1 < len(parts) else part
        for place, part in enumerate(parts)
        if place % 2 == 0
    ]
    return "_".join(names)


class ServiceMap:
    """Which service a URL belongs to: the one with the longest known base URL, else `identity`."""

    def __init__(self) -> None:
        self._bases: dict[str, str] = {}

    def learn(self, base_url: str, service: str) -> None:
        """Calls below `base_url` belong to `service` from now on."""
        self._bases = {**self._bases, base_url.rstrip("/"): service}

    def locate(self, url: str) -> tuple[str, str]:
        """(service, path) of `url`; the path is relative to the service's base, without the query."""
        bare = url.split("?", maxsplit=1)[0]
        bases = [b for b in self._bases if bare == b or bare.startswith(b + "/")]
        if not bases:
            return IDENTITY, _without_mount(urlsplit(bare).path)
        base = max(bases, key=len)
        return self._bases[base], bare[len(base) :]


def _without_mount(path: str) -> str:
    """`/identity/v3/auth/tokens` as `/v3/auth/tokens`; a path without a version as "/"."""
    parts = path.split("/")
    for place, part in enumerate(parts):
        if _VERSION.fullmatch(part):
            return "/" + "/".join(parts[place:])
    return "/"


class CallCounter:
    """Counts by `ApiCall.key`; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    def add(self, call: ApiCall) -> None:
        with self._lock:
            self._counts[call.key] += 1

    def counts(self) -> Mapping[str, int]:
        with self._lock:
            return dict(self._counts)
