"""The object store of a pretend cloud: containers and objects. manifests.py has the large ones."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from urllib.parse import unquote

from poolmgr.simcloud.content import Digest, Keeper
from poolmgr.simcloud.refusal import Refusal, conflict, no_such
from poolmgr.simcloud.shapes import ObjectStore
from poolmgr.simcloud.things import StoredObject
from poolmgr.simcloud.timeline import Timeline


class Objects:
    def __init__(self, *, rules: Callable[[], ObjectStore], timeline: Timeline) -> None:
        """`rules` says what the store holds now."""
        self.containers: dict[str, dict[str, StoredObject]] = {}
        self._rules, self._timeline = rules, timeline

    @property
    def rules(self) -> ObjectStore:
        return self._rules()

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
        delete_at: float | None = None,
    ) -> StoredObject:
        """Store an object. Raises Refusal: 413 too large, 422 when it is not what `etag` says."""
        objects = self.container(container)
        if digest.size > self.rules.max_file_size:
            raise Refusal(413, "Your request is too large.", kind="Request Entity Too Large")
        if etag and etag.strip('"') != digest.md5:
            raise Refusal(422, "Unable to process the contained instructions", kind="Unprocessable Entity")
        now = self._timeline.time
        stored = StoredObject(
            name=name,
            size=digest.size,
            etag=digest.md5,
            updated=now,
            headers=dict(headers),
            delete_at=delete_at if delete_after is None else now + delete_after,
            content=digest.keeper,
        )
        objects[name] = stored
        return stored

    def stored(self, path: str) -> StoredObject | None:
        """The object itself at `container/name`, of a large one its manifest; None if there is none."""
        container, name = split(path)
        try:
            return self.container(container).get(name)
        except Refusal:
            return None

    def find(self, path: str) -> StoredObject | None:
        """The object at `container/name`, large ones as if they were in one piece; None if there is none.

        Raises Refusal for a static large object whose segments have gone or changed since.
        """
        stored = self.stored(path)
        if stored is None or not (stored.segments or _dynamic(stored)):
            return stored
        parts = self._parts(stored)
        etags = "".join(part.etag.strip('"') for part in parts)
        whole = hashlib.md5(etags.encode(), usedforsecurity=False).hexdigest()
        return replace(stored, size=sum(part.size for part in parts), etag=f'"{whole}"', content=None)

    def content(self, path: str) -> list[Keeper | None]:
        """Where the bytes of an object are, in order. Raises Refusal as `find` does."""
        stored = self.stored(path)
        if stored is None:
            return []
        if not (stored.segments or _dynamic(stored)):
            return [stored.content]
        return [part.content for part in self._parts(stored)]

    def _parts(self, stored: StoredObject) -> list[StoredObject]:
        manifest = _dynamic(stored)
        if manifest:
            container, prefix = split(unquote(manifest))
            names = sorted(n for n in self.containers.get(container, {}) if n.startswith(prefix))
            return [self.containers[container][n] for n in names]
        found = [(s, self.stored(f"{s.container}/{s.name}")) for s in stored.segments]
        if any(part is None or part.etag != segment.etag for segment, part in found):
            raise conflict("There was a conflict when trying to complete your request.")
        return [part for _, part in found if part is not None]

    def delete(self, container: str, name: str) -> StoredObject:
        """Remove the object itself; returns what it was."""
        objects = self.container(container)
        if name not in objects:
            raise no_such("object", name)
        return objects.pop(name)


def _dynamic(stored: StoredObject) -> str:
    """The prefix whose objects make up a dynamic large object; "" for others."""
    return stored.headers.get("x-object-manifest", "")


def split(path: str) -> tuple[str, str]:
    container, _, name = path.lstrip("/").partition("/")
    return container, name
