"""The images of a pretend cloud: Glance v2's states, uploads in one piece or staged, and tasks.

Bytes arrive as a `Digest` that was fed while they came in; only small images keep their bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from poolmgr.simcloud.refusal import Refusal, conflict, no_such
from poolmgr.simcloud.things import Image, StoredObject, Task
from poolmgr.simcloud.timeline import Timeline

KEPT_BYTES = 1 << 20
_IMPORT_SECONDS = 0.5
_TASK_SECONDS = 1.0


class Digest:
    """Size and hashes of bytes that come in pieces, and the bytes themselves while they are few."""

    def __init__(self) -> None:
        self.size = 0
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._sha512 = hashlib.sha512()
        self._kept: list[bytes] | None = []

    def feed(self, piece: bytes) -> None:
        self.size += len(piece)
        self._md5.update(piece)
        self._sha512.update(piece)
        if self._kept is not None:
            self._kept.append(bytes(piece))
            if self.size > KEPT_BYTES:
                self._kept = None

    @property
    def md5(self) -> str:
        return self._md5.hexdigest()

    @property
    def sha512(self) -> str:
        return self._sha512.hexdigest()

    @property
    def data(self) -> bytes | None:
        """None when they were too many to keep."""
        return None if self._kept is None else b"".join(self._kept)


@dataclass(frozen=True, kw_only=True)
class NewImage:
    name: str
    disk_format: str | None = None
    container_format: str | None = None
    visibility: str = "private"
    protected: bool = False
    hidden: bool = False
    min_disk: int = 0
    min_ram: int = 0
    tags: tuple[str, ...] = ()
    properties: Mapping[str, str] = field(default_factory=dict)


class Images:
    def __init__(self, *, tasks_only: bool, timeline: Timeline, new_id: Callable[[], str]) -> None:
        """`tasks_only`: images cannot be created or filled but by a task."""
        self.images: dict[str, Image] = {}
        self.tasks: dict[str, Task] = {}
        self.tasks_only = tasks_only
        self._timeline, self._new_id = timeline, new_id

    def image(self, image_id: str) -> Image:
        if image_id not in self.images:
            raise no_such("image", image_id)
        return self.images[image_id]

    def put_ready(self, *, name: str, disk_format: str, min_disk: int, min_ram: int) -> Image:
        """An image of the cloud's owner, active at once."""
        digest = Digest()
        digest.feed(name.encode())
        image = self._make(
            NewImage(
                name=name,
                disk_format=disk_format,
                container_format="bare",
                visibility="public",
                min_disk=min_disk,
                min_ram=min_ram,
            )
        )
        self.images[image.id] = replace(image, mine=False)
        return self._fill(image.id, digest)

    def create(self, new: NewImage) -> Image:
        """A queued image. Raises Refusal where images come only from tasks."""
        if self.tasks_only:
            raise Refusal(403, "You are not authorized to complete add_image action.")
        return self._make(new)

    def _make(self, new: NewImage) -> Image:
        now = self._timeline.time
        image = Image(
            **{**new.__dict__, "id": self._new_id(), "status": "queued", "created": now, "updated": now}
        )
        self.images[image.id] = image
        return image

    def _change(self, image_id: str, **changes: Any) -> Image:
        changed = replace(self.image(image_id), updated=self._timeline.time, **changes)
        self.images[image_id] = changed
        return changed

    def fill(self, image_id: str, digest: Digest) -> Image:
        """PUT of the data: active. Raises Refusal when it is not queued."""
        image = self.image(image_id)
        if image.status not in ("queued", "saving"):
            raise conflict(f"Image status transition from {image.status} to saving is not allowed")
        if self.tasks_only:
            raise Refusal(403, "You are not authorized to complete upload_image action.")
        return self._fill(image_id, digest)

    def _fill(self, image_id: str, digest: Digest) -> Image:
        return self._change(
            image_id,
            status="active",
            size=digest.size,
            md5=digest.md5,
            sha512=digest.sha512,
            data=digest.data,
        )

    def stage(self, image_id: str, digest: Digest) -> Image:
        if self.image(image_id).status != "queued":
            raise conflict(f"Image {image_id} is not in queued state")
        return self._change(
            image_id,
            status="uploading",
            size=digest.size,
            md5=digest.md5,
            sha512=digest.sha512,
            data=digest.data,
        )

    def import_(self, image_id: str, method: str, uri: str = "") -> None:
        """Interoperable import of what was staged (glance-direct), or of `uri` (web-download).

        Nothing is fetched from `uri`: the image is then made of the address's own bytes.
        """
        image = self.image(image_id)
        needed = "uploading" if method == "glance-direct" else "queued"
        if image.status != needed:
            raise conflict(f"Only images with status {needed} can be imported with {method}")
        if method == "web-download":
            digest = Digest()
            digest.feed(uri.encode())
            self._change(image_id, size=digest.size, md5=digest.md5, sha512=digest.sha512, data=digest.data)
        self._change(image_id, status="importing")
        self._timeline.after(_IMPORT_SECONDS, lambda: self._imported(image_id))

    def _imported(self, image_id: str) -> None:
        image = self.images.get(image_id)
        if image is not None and image.status == "importing":
            self._change(image_id, status="active")

    def update(self, image_id: str, **changes: Any) -> Image:
        self.image(image_id)
        return self._change(image_id, **changes)

    def delete(self, image_id: str) -> None:
        image = self.image(image_id)
        if image.protected:
            raise Refusal(403, f"Image {image_id} is protected and cannot be deleted.")
        if not image.mine:
            raise Refusal(403, "You are not authorized to complete delete_image action.")
        del self.images[image_id]

    # -- tasks -------------------------------------------------------------------------------------------

    def import_task(
        self,
        given: Mapping[str, object],
        stored: StoredObject | None,
        *,
        disk_format: str,
        failure: str = "",
    ) -> Task:
        """A task that makes an image of a stored object; it fails if there is none, or with `failure`."""
        task = Task(id=self._new_id(), status="pending", created=self._timeline.time, input=dict(given))
        self.tasks[task.id] = task
        self._timeline.after(
            _TASK_SECONDS,
            lambda: self._finish_task(task.id, stored, disk_format=disk_format, failure=failure),
        )
        return task

    def _finish_task(
        self, task_id: str, stored: StoredObject | None, *, disk_format: str, failure: str
    ) -> None:
        task = self.tasks[task_id]
        if stored is None:
            failure = failure or "The requested object could not be found."
        if failure or stored is None:
            self.tasks[task_id] = replace(task, status="failure", message=failure)
            return
        wanted = task.input.get("image_properties")
        name = wanted.get("name") if isinstance(wanted, Mapping) else None
        image = self._make(
            NewImage(name=str(name or task_id), disk_format=disk_format, container_format="ovf")
        )
        self._change(image.id, status="active", size=stored.size, md5=stored.etag.strip('"'))
        self.tasks[task_id] = replace(task, status="success", image_id=image.id)

    def task(self, task_id: str) -> Task:
        if task_id not in self.tasks:
            raise no_such("task", task_id)
        return self.tasks[task_id]
