"""Version documents and catalogs of OpenStack services, read: pure (cloud.md 3.2).

Both lie now and then: links with the scheme or host of something behind a proxy, versioned endpoints for a
service that has other versions too. So of a link only the path's version counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

Microversion = tuple[int, int]

#: What our compute calls may be sent with, best first; each gives what the ones below do (cloud.md 3.2). From 2.69 on
#: servers of a cell that is down are listed as UNKNOWN instead of not at all (Compute API guide, "Handling Down
#: Cells"): before, a complete list can lack servers that are there.
LADDER: tuple[Microversion, ...] = ((2, 69), (2, 67), (2, 52), (2, 47), (2, 37))

USABLE = ("CURRENT", "SUPPORTED", "STABLE", "DEPRECATED")

_VERSION_PART = re.compile(r"v(\d+)(?:\.(\d+))?$", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Version:
    """One entry of a version document. `minimum` and `maximum` None: no microversions."""

    number: tuple[int, int]
    path: str  # of its self link
    minimum: Microversion | None = None
    maximum: Microversion | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Listed:
    """An endpoint as a catalog lists it. Of an endpoint override only the URL is known, the rest is ""."""

    url: str
    type: str = ""
    interface: str = ""
    region: str = ""


def versions_in(document: Mapping[str, Any]) -> tuple[Version, ...]:
    """The usable versions of a document in any of its three shapes, newest first."""
    entries = document.get("versions", document.get("version"))
    if isinstance(entries, dict):
        entries = entries.get("values", [entries])
    if not isinstance(entries, list):
        return ()
    found = (_version(entry) for entry in entries if isinstance(entry, dict))
    return tuple(sorted((v for v in found if v), key=lambda v: v.number, reverse=True))


def _version(entry: Mapping[str, Any]) -> Version | None:
    number = _VERSION_PART.match(str(entry.get("id", "")))
    status = str(entry.get("status", "")).upper()
    links = entry.get("links")
    if not number or status not in USABLE or not isinstance(links, list) or not links:
        return None
    own = [link for link in links if isinstance(link, dict) and link.get("rel") == "self"]
    href = str((own or [{}])[0].get("href", ""))
    return Version(
        number=(int(number[1]), int(number[2] or 0)),
        path=urlsplit(href).path,
        minimum=_microversion(entry.get("min_version")),
        maximum=_microversion(entry.get("version") or entry.get("max_version")),
    )


def _microversion(text: object) -> Microversion | None:
    match = re.fullmatch(r"(\d+)\.(\d+)", str(text))
    return (int(match[1]), int(match[2])) if match else None


def version_in_path(url: str) -> tuple[int, int] | None:
    """(2, 1) for `http://nova.example/v2.1/<project>`; None for a URL without a version."""
    for part in reversed(urlsplit(url).path.split("/")):
        match = _VERSION_PART.fullmatch(part)
        if match:
            return int(match[1]), int(match[2] or 0)
    return None


def without_project(url: str, project_id: str | None) -> str:
    """`url` without a trailing project id (nova's `/v2.1/<id>`, others' `/AUTH_<id>`) and slash."""
    bare = url.rstrip("/")
    head, _, last = bare.rpartition("/")
    return head if project_id and last.removeprefix("AUTH_") == project_id else bare


def root_of(url: str) -> str:
    """`url` up to its version: where a service lists all of its versions."""
    parts = urlsplit(url)
    kept: list[str] = []
    for part in parts.path.split("/"):
        if _VERSION_PART.fullmatch(part):
            break
        kept.append(part)
    return urlunsplit((parts.scheme, parts.netloc, "/".join(kept).rstrip("/"), "", ""))


def versioned_url(asked: str, version: Version) -> str:
    """The base URL of `version`: scheme, host and mount of the URL we `asked`, version from its link."""
    last = [part for part in version.path.split("/") if _VERSION_PART.fullmatch(part)]
    name = last[-1] if last else f"v{version.number[0]}.{version.number[1]}"
    return f"{root_of(asked)}/{name}"


def best_microversion(
    minimum: Microversion | None, maximum: Microversion | None, wanted: str | None
) -> str | None:
    """The microversion to send, "2.69", or None for none.

    `wanted` is the operator's choice. Raises ValueError when the server does not offer that one.
    """
    if wanted is not None:
        asked = _microversion(wanted)
        if asked is None or minimum is None or maximum is None or not minimum <= asked <= maximum:
            offered = f"{_text(minimum)} to {_text(maximum)}" if minimum and maximum else "none"
            raise ValueError(f"microversion {wanted} is not offered (offered: {offered})")
        return wanted
    if minimum is None or maximum is None:
        return None
    return next((_text(step) for step in LADDER if minimum <= step <= maximum), None)


def offers(microversion: str | None, since: Microversion) -> bool:
    """Whether `microversion` has what came with `since`."""
    version = _microversion(microversion)
    return version is not None and version >= since


def _text(version: Microversion) -> str:
    return f"{version[0]}.{version[1]}"


def endpoint_in(
    catalog: Iterable[Mapping[str, Any]],
    types: Sequence[str],
    *,
    name: str | None,
    interfaces: Sequence[str],
    region: str | None,
) -> Listed | None:
    """What a normalized (v3) `catalog` gives for the first of `types` and `interfaces` that it has.

    `region` None takes the region that is listed first.
    """
    entries = list(catalog)
    for kind in types:
        endpoints = [
            endpoint
            for service in entries
            if service.get("type") == kind and name in (None, service.get("name"))
            for endpoint in service.get("endpoints", ())
            if region in (None, endpoint.get("region_name"))
        ]
        for interface in interfaces:
            for endpoint in endpoints:
                if endpoint.get("interface") == interface and endpoint.get("url"):
                    return Listed(
                        type=kind,
                        interface=interface,
                        region=str(endpoint.get("region_name") or ""),
                        url=str(endpoint["url"]),
                    )
    return None


def regions_in(catalog: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """The regions a normalized catalog has endpoints in, sorted."""
    names = {e.get("region_name") for service in catalog for e in service.get("endpoints", ())}
    return tuple(sorted(str(name) for name in names if name))


def interfaces_in(
    catalog: Iterable[Mapping[str, Any]], types: Sequence[str], *, region: str | None
) -> tuple[str, ...]:
    """The interfaces that services of these types have in `region` (None: any), sorted."""
    found = {
        str(endpoint.get("interface"))
        for service in catalog
        if service.get("type") in types
        for endpoint in service.get("endpoints", ())
        if region in (None, endpoint.get("region_name"))
    }
    return tuple(sorted(found))
