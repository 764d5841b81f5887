"""A call of a cloud's API, and what it is called in metrics and logs (metrics.md 5)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

_VERSION = re.compile(r"v\d+(\.\d+)?")
_PROJECT = re.compile(r"(AUTH_)?[0-9a-f]{32}")


@dataclass(frozen=True, kw_only=True, slots=True)
class ApiCall:
    """One HTTP exchange with a cloud. `seconds` excludes waiting for the rate limit.

    `name` is made by `api_call_name`; `status` is None when no answer came.
    """

    service: str  # service type: compute, network, image, ...
    method: str
    name: str
    status: int | None
    seconds: float


def api_call_name(url: str, project_id: str | None = None) -> str:
    """The name part of the call to `url` (whole, or only its path), such as `servers_detail` or `server_action`.

    Every second part of the path, without a trailing `s` when another part follows it; query, the leading
    version, the project's id and a `.json` suffix do not count. A path that ends in `detail` gives its last two parts.
    The path a service is mounted under (`/image/v2/...`) does not count either; the reference doubles such names.
    """
    parts = _below_project(
        [part for part in urlsplit(url).path.removesuffix(".json").split("/") if part], project_id
    )
    if parts and parts[-1] == "detail":
        return "_".join(parts[-2:])
    if parts[-2:] == ["auth", "tokens"]:  # the reference does not count these calls
        return "tokens"
    named = [
        part.removesuffix("s") if at + 1 < len(parts) else part
        for at, part in enumerate(parts)
        if at % 2 == 0
    ]
    return "_".join(named) or "discovery"


def _below_project(parts: Sequence[str], project_id: str | None) -> Sequence[str]:
    """`parts` without what leads to the version and without the project's id after it."""
    for at, part in enumerate(parts[:2]):
        if _VERSION.fullmatch(part):
            parts = parts[at + 1 :]
            break
    if parts and (_PROJECT.fullmatch(parts[0]) or parts[0] in (project_id, f"AUTH_{project_id}")):
        parts = parts[1:]
    return parts


def api_prefix(configured: str | None, environ: Mapping[str, str], *, provider: str) -> str:
    """The prefix of a provider's API metrics.

    `configured` is `metrics.statsd.prefix` of the cloud or region in clouds.yaml. Without it and STATSD_PREFIX it is
    what dashboards query, which the reference sends only where clouds.yaml says so (metrics.md 7).
    """
    return configured or environ.get("STATSD_PREFIX") or f"nodepool.task.{provider}"
