"""An image on its way through the object store: where its bytes lie there, and how nothing of it stays behind.

    images/poolmgr-<name>-<token>                            the object; large ones are a manifest
    images_segments/poolmgr-<name>-<token>/<upload>/00000001 segments, in a container of their own

`token` is new for each try, so tries never mix. The mark of the owner is on every object as metadata, and every object
deletes itself after a day (X-Delete-After), whatever becomes of us.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

from poolmgr.cloud.openstack.object_store import Listed, ObjectStore, StoreLimits
from poolmgr.errors import NotFound
from poolmgr.model.cloud_image import ImageOwner, ImageSpec, StagedObject

log = logging.getLogger(__name__)

CONTAINER = "images"
SEGMENTS = "images_segments"
PREFIX = "poolmgr-"
SEGMENT = 1 << 30  # bytes
LIFE = 86400  # seconds

_META = "x-object-meta-poolmgr-"
_MARK = _META + "call"  # on every object of ours
_OWNER = {
    "provider": _META + "provider",
    "image": _META + "image",
    "build": _META + "build",
    "upload": _META + "upload",
    "deployment": _META + "deployment",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    """A part of a file, and where it goes. `path` is `<container>/<object>`."""

    path: str
    offset: int
    length: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """Where one try puts a file. One segment whose path is the object's own: it needs no manifest."""

    name: str  # of the object in CONTAINER
    segments: tuple[Segment, ...]
    static: bool  # the manifest is a static one; else a dynamic one

    @property
    def path(self) -> str:
        return f"{CONTAINER}/{self.name}"

    @property
    def in_one_piece(self) -> bool:
        return len(self.segments) == 1 and self.segments[0].path == self.path

    @property
    def prefix(self) -> str:
        """What the paths of all segments begin with. The slash at its end keeps out names that begin alike."""
        return self.segments[0].path.rpartition("/")[0] + "/"


def layout_of(spec: ImageSpec, token: str, limits: StoreLimits, *, segment: int = SEGMENT) -> Layout:
    """Where the file of `spec` goes in a store with these limits. `token` is this try's own."""
    name = object_name(spec.name, token)
    longest = min(segment, limits.max_object)
    if limits.static:
        longest = min(max(longest, -(-spec.size // limits.max_segments)), limits.max_object)
    count = -(-spec.size // longest)
    if count == 1:
        only = Segment(path=f"{CONTAINER}/{name}", offset=0, length=spec.size)
        return Layout(name=name, segments=(only,), static=False)
    length = -(-spec.size // count)  # all about as long: a store may refuse a short one at the end
    below = spec.owner.upload if spec.owner else token
    segments = tuple(
        Segment(
            path=f"{SEGMENTS}/{name}/{below}/{number:08d}",
            offset=offset,
            length=min(length, spec.size - offset),
        )
        for number, offset in enumerate(range(0, spec.size, length), start=1)
    )
    return Layout(name=name, segments=segments, static=limits.static)


def object_name(image_name: str, token: str) -> str:
    """Without a slash: an import is told `<container>/<object>`."""
    return f"{PREFIX}{image_name.replace('/', '_')}-{token}"


def marks_for(spec: ImageSpec, token: str) -> dict[str, str]:
    """The headers that every object of an upload is stored with."""
    headers = {"X-Delete-After": str(LIFE), _MARK: token}
    if spec.owner is not None:
        told = ((header, getattr(spec.owner, name)) for name, header in _OWNER.items())
        headers |= {header: quote(value, safe=" /:") for header, value in told if value}
    return headers


def is_marked(headers: Mapping[str, str]) -> bool:
    """Whether an object with these headers is ours."""
    return bool(headers.get(_MARK))


def owner_in(headers: Mapping[str, str]) -> ImageOwner | None:
    """The owner that an object's headers name; None for one of ours without an owner."""
    told = {name: unquote(headers.get(header) or "") for name, header in _OWNER.items()}
    if not told["provider"] or not told["upload"]:
        return None
    return ImageOwner(
        provider=told["provider"],
        image=told["image"],
        build=told["build"],
        upload=told["upload"],
        deployment=told["deployment"] or None,
    )


class Staging:
    """The part of an object store that holds images on their way."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def prepare(self) -> None:
        self._store.make_container(CONTAINER)
        self._store.make_container(SEGMENTS)

    def join(self, layout: Layout, etags: Mapping[str, str], headers: Mapping[str, str]) -> None:
        """Make one object of the segments that are there. `etags`: of each segment, by path."""
        if layout.in_one_piece:
            return
        if not layout.static:
            self._store.put_dynamic(layout.path, layout.prefix, headers)
            return
        rows: list[dict[str, Any]] = [
            {"path": f"/{each.path}", "etag": etags[each.path], "size_bytes": each.length}
            for each in layout.segments
        ]
        self._store.put_static(layout.path, rows, headers)

    def size(self, name: str) -> int | None:
        """The bytes that an object has, segments included, as far as the store sees them now."""
        try:
            text = self._store.head(f"{CONTAINER}/{name}").get("content-length", "")
        except NotFound:
            return None
        return int(text) if text.isdecimal() else None

    def everything(self) -> Iterator[StagedObject]:
        """All that is ours, one for each try, also where only segments are there."""
        objects = {listed.name: [listed] for listed in self._store.list(CONTAINER, PREFIX)}
        segments: dict[str, list[Listed]] = {}
        for listed in self._store.list(SEGMENTS, PREFIX):
            segments.setdefault(listed.name.partition("/")[0], []).append(listed)
        for name in sorted(objects.keys() | segments.keys()):
            parts = segments.get(name, [])
            whole = objects.get(name, [])
            headers = self._headers(name, [part.name for part in parts])
            if is_marked(headers):
                yield StagedObject(
                    container=CONTAINER,
                    name=name,
                    size=sum(part.size for part in parts) or sum(each.size for each in whole),
                    owner=owner_in(headers),
                    last_modified=max(x.last_modified or 0.0 for x in (*whole, *parts)) or None,
                )

    def delete(self, name: str) -> None:
        """The object and its segments; what is gone already is success."""
        try:
            static = self._store.head(f"{CONTAINER}/{name}").get("x-static-large-object", "")
        except NotFound:
            pass
        else:
            self._store.delete(f"{CONTAINER}/{name}", with_segments=static.lower() == "true")
        for listed in self._store.list(SEGMENTS, f"{name}/"):
            self._store.delete(f"{SEGMENTS}/{listed.name}")

    def delete_layout(self, layout: Layout) -> None:
        """As `delete`, and every segment by its name too: a list may not show it yet."""
        self.delete(layout.name)
        if not layout.in_one_piece:
            for segment in layout.segments:
                self._store.delete(segment.path)

    def _headers(self, name: str, segments: list[str]) -> Mapping[str, str]:
        """Of the object, or of one of its segments."""
        for path in (f"{CONTAINER}/{name}", *(f"{SEGMENTS}/{segment}" for segment in segments[:1])):
            try:
                return self._store.head(path)
            except NotFound:
                continue
        return {}
