"""The object store of a pretend cloud: containers, objects, static and dynamic large objects."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from urllib.parse import unquote

from poolmgr.simcloud.images import Digest
from poolmgr.simcloud.refusal import Refusal, bad_request, conflict, no_such
from poolmgr.simcloud.things import StoredObject
from poolmgr.simcloud.timeline import Timeline


class Objects:
    def __init__(self, *, timeline: Timeline, max_object_bytes: int = 5 << 30) -> None:
        self.containers: dict[str, dict[str, StoredObject]] = {}
        self.max_object_bytes = max_object_bytes
        self._timeline = timeline

    def create_container(self, name: str) -> bool:
        """True if it was not there before."""
        made = name not in self.containers
        self.containers.setdefault(name, {})
        return made

    def delete_container(self, name: str) -> None:
        if self.container(name):
            raise conflict("There was a conflict when trying to complete your request.")
        del self.containers[name]

    def container(self, name: str) -> dict[str, StoredObject]:
        """Its objects by name; expired ones are gone."""
        if name not in self.containers:
            raise no_such("container", name)
        now = self._timeline.time
        objects = self.containers[name]
        for expired in [o.name for o in objects.values() if o.delete_at is not None and o.delete_at <= now]:
            del objects[expired]
        return objects

    def put(
        self,
        container: str,
        name: str,
        digest: Digest,
        *,
        headers: Mapping[str, str],
        etag: str | None = None,
        delete_after: float | None = None,
    ) -> StoredObject:
        """Store an object. Raises Refusal: 413 too large, 422 when it is not what `etag` says."""
        objects = self.container(container)
        if digest.size > self.max_object_bytes:
            raise Refusal(413, "Your request is too large.")
        if etag and etag.strip('"') != digest.md5:
            raise Refusal(422, "Unable to process the contained instructions")
        stored = StoredObject(
            name=name,
            size=digest.size,
            etag=digest.md5,
            updated=self._timeline.time,
            headers=dict(headers),
            delete_at=None if delete_after is None else self._timeline.time + delete_after,
            data=digest.data,
        )
        objects[name] = stored
        return stored

    def put_manifest(
        self,
        container: str,
        name: str,
        segments: Iterable[Mapping[str, object]],
        *,
        headers: Mapping[str, str],
        delete_after: float | None = None,
    ) -> StoredObject:
        """A static large object. Raises Refusal naming the segments that are missing or differ."""
        parts, sizes, etags, wrong = [], 0, "", []
        for segment in segments:
            path = str(segment.get("path", "")).lstrip("/")
            part = self.find(path)
            expected = segment.get("etag")
            if part is None or (expected and expected != part.etag):
                wrong.append(f"{path}, {'404 Not Found' if part is None else 'Etag Mismatch'}")
                continue
            parts.append(_split(path))
            sizes += part.size
            etags += part.etag
        if wrong or not parts:
            raise bad_request("Errors:\n" + "\n".join(wrong))
        stored = self.put(container, name, Digest(), headers=headers, delete_after=delete_after)
        whole = hashlib.md5(etags.encode(), usedforsecurity=False).hexdigest()
        stored = replace(stored, size=sizes, etag=f'"{whole}"', parts=tuple(parts))
        self.containers[container][name] = stored
        return stored

    def find(self, path: str) -> StoredObject | None:
        """The object at `container/name`, large ones with the size of their parts; None if there is none."""
        container, name = _split(path)
        try:
            stored = self.container(container).get(name)
        except Refusal:
            return None
        manifest = stored.headers.get("x-object-manifest") if stored else None
        if stored is None or not manifest:
            return stored
        part_container, prefix = _split(unquote(manifest))
        parts = [
            o for n, o in sorted(self.containers.get(part_container, {}).items()) if n.startswith(prefix)
        ]
        return replace(stored, size=sum(o.size for o in parts))

    def delete(self, container: str, name: str, *, with_parts: bool = False) -> None:
        objects = self.container(container)
        if name not in objects:
            raise no_such("object", name)
        stored = objects.pop(name)
        for part_container, part in stored.parts if with_parts else ():
            self.containers.get(part_container, {}).pop(part, None)


def _split(path: str) -> tuple[str, str]:
    container, _, name = path.lstrip("/").partition("/")
    return container, name
