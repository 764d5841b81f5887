"""Static large objects: manifests, and what is wrong with them (Object Storage API, "Static large objects")."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from poolmgr.simcloud.content import Digest
from poolmgr.simcloud.objects import Objects, split
from poolmgr.simcloud.refusal import Refusal, bad_request
from poolmgr.simcloud.things import Segment, StoredObject


@dataclass(frozen=True, kw_only=True)
class Removal:
    """What a delete of an object with all its segments did. `errors`: (path, why)."""

    deleted: int = 0
    missing: int = 0
    errors: tuple[tuple[str, str], ...] = ()


def put_manifest(
    objects: Objects,
    container: str,
    name: str,
    lines: Sequence[Mapping[str, object]],
    *,
    headers: Mapping[str, str],
    delete_after: float | None = None,
    delete_at: float | None = None,
) -> StoredObject:
    """Store a static large object. Raises Refusal naming the segments that are missing or differ."""
    most = objects.rules.max_manifest_segments
    if len(lines) > most:
        raise Refusal(413, f"Number of segments must be <= {most}", kind="Request Entity Too Large")
    judged = [_segment(objects, line) for line in lines]
    if wrong := [reason for reason in judged if isinstance(reason, str)]:
        raise bad_request("Errors:\n" + "\n".join(wrong), "Bad Request")
    segments = tuple(s for s in judged if isinstance(s, Segment))
    if not segments:
        raise bad_request("Too few segments; need at least 1", "Bad Request")
    stored = objects.put(
        container, name, Digest(), headers=headers, delete_after=delete_after, delete_at=delete_at
    )
    etags = "".join(s.etag.strip('"') for s in segments)
    etag = hashlib.md5(etags.encode(), usedforsecurity=False).hexdigest()
    stored = replace(stored, etag=f'"{etag}"', size=sum(s.size for s in segments), segments=segments)
    objects.containers[container][name] = stored
    return stored


def _segment(objects: Objects, line: Mapping[str, object]) -> Segment | str:
    """The line's segment, or what is wrong with it in Swift's words."""
    path = str(line.get("path", "")).lstrip("/")
    part = objects.find(path)
    if part is None:
        return f"{path}, 404 Not Found"
    if line.get("etag") and str(line["etag"]).strip('"') != part.etag.strip('"'):
        return f"{path}, Etag Mismatch"
    if line.get("size_bytes") is not None and line["size_bytes"] != part.size:
        return f"{path}, Size Mismatch"
    least = objects.rules.min_segment_size
    if part.size < max(least, 1):
        return f"{path}, Too Small; each segment must be at least {least} byte{'s' if least > 1 else ''}."
    container, name = split(path)
    return Segment(container=container, name=name, etag=part.etag, size=part.size)


def delete_with_segments(objects: Objects, container: str, name: str) -> Removal:
    """Remove a static large object and its segments; of others nothing, as Swift does."""
    stored = objects.stored(f"{container}/{name}")
    path = f"/{container}/{name}"
    if stored is None:
        return Removal(missing=1)
    if not stored.segments:
        return Removal(errors=((path, "400 Bad Request: Not an SLO manifest"),))
    deleted = missing = 0
    for segment in stored.segments:
        if objects.containers.get(segment.container, {}).pop(segment.name, None) is None:
            missing += 1
        else:
            deleted += 1
    objects.delete(container, name)
    return Removal(deleted=deleted + 1, missing=missing)
