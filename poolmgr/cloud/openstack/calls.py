"""Which service an HTTP request belongs to, and how many were sent (metrics.md 5).

Calls for tokens and version documents, which the reference does not count, are `identity.POST.tokens` and
`identity.GET.discovery`.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from urllib.parse import urlsplit

from poolmgr.observe.api_name import ApiCall, api_call_name

IDENTITY = "identity"


class ServiceMap:
    """Which service a URL belongs to: the one with the longest known base URL, else `identity`."""

    def __init__(self) -> None:
        self._bases: dict[str, str] = {}

    def learn(self, base_url: str, service: str) -> None:
        """Calls below `base_url` belong to `service` from now on."""
        self._bases = {**self._bases, base_url.rstrip("/"): service}

    def locate(self, url: str) -> tuple[str, str]:
        """(service, path) of `url`; the path of a known service is relative to its base."""
        bare = url.split("?", maxsplit=1)[0]
        bases = [base for base in self._bases if bare.startswith(base + "/")]
        if not bases:
            return IDENTITY, _identity_path(urlsplit(bare).path)
        base = max(bases, key=len)
        return self._bases[base], bare[len(base) :]


def call_name(service: str, path: str) -> str:
    """The name of a call in metrics. Names of containers and objects are data, and no part of it."""
    if service != "object-store":
        return api_call_name(path)
    parts = [part for part in path.split("/") if part]
    return ("account", "container", "object")[min(len(parts), 2)]


def _identity_path(path: str) -> str:
    """`/identity/v3/auth/tokens` as `/auth/tokens`; anything else is a version document, "/"."""
    mark = path.rfind("/auth/")
    return path[mark:] if mark >= 0 else "/"


class CallCounter:
    """Counts by `<service>.<METHOD>.<name>`; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    def add(self, call: ApiCall) -> None:
        with self._lock:
            self._counts[f"{call.service}.{call.method}.{call.name}"] += 1

    def counts(self) -> Mapping[str, int]:
        with self._lock:
            return dict(self._counts)
