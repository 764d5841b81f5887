"""The images of a pretend cloud: Glance's states, and uploads in one piece. imports.py has the other ways in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from poolmgr.simcloud.content import KEPT_BYTES, Digest
from poolmgr.simcloud.faults import NO_TROUBLE, FaultKind, Trouble
from poolmgr.simcloud.refusal import Refusal, conflict, no_such
from poolmgr.simcloud.shapes import ImageApi
from poolmgr.simcloud.things import Image
from poolmgr.simcloud.timeline import Timeline


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
    def __init__(self, *, api: Callable[[], ImageApi], timeline: Timeline, new_id: Callable[[], str]) -> None:
        """`api` says which ways in there are now."""
        self.images: dict[str, Image] = {}
        self._api, self._timeline, self._new_id = api, timeline, new_id

    @property
    def api(self) -> ImageApi:
        return self._api()

    def image(self, image_id: str) -> Image:
        if not self.knows(image_id):
            raise no_such("image", image_id)
        return self.images[image_id]

    def knows(self, image_id: str) -> bool:
        return image_id in self.images and self.images[image_id].visible_at <= self._timeline.time

    def visible(self) -> list[Image]:
        """Those that the APIs know."""
        return [image for image in self.images.values() if image.visible_at <= self._timeline.time]

    def put_ready(self, *, name: str, disk_format: str, min_disk: int, min_ram: int) -> Image:
        """An image of the cloud's owner, active at once."""
        digest = Digest()
        digest.feed(name.encode())
        image = self.add(
            NewImage(
                name=name,
                disk_format=disk_format,
                container_format="bare",
                visibility="public",
                min_disk=min_disk,
                min_ram=min_ram,
            )
        )
        return self.change(image.id, mine=False, status="active", **self.stored(digest))

    def create(self, new: NewImage) -> Image:
        """A queued image. Raises Refusal where images come only from tasks."""
        if not {"put", "glance-direct", "web-download"} & set(self.api.methods):
            raise Refusal(403, "You are not authorized to complete add_image action.")
        return self.add(new)

    def add(self, new: NewImage, **more: Any) -> Image:
        """An image record, whatever the ways in are; `more` as in things.Image."""
        now = self._timeline.time
        fields = {**new.__dict__, "status": "queued", "created": now, "updated": now, **more}
        image = Image(id=self._new_id(), **fields)
        self.images[image.id] = image
        return image

    def change(self, image_id: str, **changes: Any) -> Image:
        changed = replace(self.images[image_id], updated=self._timeline.time, **changes)
        self.images[image_id] = changed
        return changed

    def fill(self, image_id: str, digest: Digest, trouble: Trouble = NO_TROUBLE) -> Image:
        """The data in one piece: active. Raises Refusal when it is not queued, or that way is shut."""
        image = self.image(image_id)
        if image.status not in ("queued", "saving"):
            raise conflict(f"Image status transition from {image.status} to saving is not allowed")
        if "put" not in self.api.methods:
            raise Refusal(self.api.refusal, "You are not authorized to complete upload_image action.")
        self.check_size(digest)
        self.change(image_id, status="active", stores=self.api.stores[:1], **self.stored(digest))
        changed = self.spoil(image_id, trouble)
        if slow := trouble.of(FaultKind.SLOW_IMAGE):
            changed = self.change(image_id, status="saving")
            self._timeline.after(slow.delay, lambda: self.step(image_id, "saving", status="active"))
        return changed

    def check_size(self, digest: Digest) -> None:
        """Raises Refusal when the cloud takes only smaller images."""
        most = self.api.max_bytes
        if most is not None and digest.size > most:
            raise Refusal(
                413, f"Image exceeds the storage quota: The size of the data {digest.size} is over {most}."
            )

    def stored(self, digest: Digest) -> dict[str, Any]:
        """The fields of an image that holds these bytes."""
        return {
            "size": digest.size,
            "md5": digest.md5,
            "sha512": digest.sha512 if self.api.sha512 else None,
            "received": (digest.size, digest.md5),
            "content": digest.keeper,
        }

    def spoil(self, image_id: str, trouble: Trouble) -> Image:
        """The image as the cloud keeps it: as it came, unless something is wrong with the cloud."""
        before = self.images[image_id]
        size = before.size or 0
        if trouble.of(FaultKind.CONVERTED_IMAGE):  # as a plugin does: other bytes, and more of them
            return self._keep_others(before, f"converted {before.md5}".encode().ljust(512, b"\0"), size)
        if trouble.of(FaultKind.SHORT_IMAGE):
            return self._keep_others(before, b"", size // 2)
        return before

    def _keep_others(self, before: Image, head: bytes, zeros: int) -> Image:
        digest = Digest()
        digest.feed(head)
        for start in range(0, zeros, KEPT_BYTES):
            digest.feed(bytes(min(KEPT_BYTES, zeros - start)))
        return self.change(before.id, **{**self.stored(digest), "received": before.received})

    def step(self, image_id: str, before: str, **changes: Any) -> None:
        """Change an image that still has the status `before`; one that has moved on or gone stays as it is."""
        image = self.images.get(image_id)
        if image is not None and image.status == before:
            self.change(image_id, **changes)

    def update(self, image_id: str, **changes: Any) -> Image:
        self.image(image_id)
        return self.change(image_id, **changes)

    def delete(self, image_id: str, trouble: Trouble = NO_TROUBLE) -> None:
        """Raises Refusal for one that is protected, foreign or in use."""
        image = self.image(image_id)
        if image.protected:
            raise Refusal(403, f"Image {image_id} is protected and cannot be deleted.")
        if not image.mine:
            raise Refusal(403, "You are not authorized to complete delete_image action.")
        if used := trouble.of(FaultKind.IMAGE_IN_USE):
            raise conflict(used.words.format(id=image_id))
        if not trouble.of(FaultKind.IGNORED_DELETE):
            del self.images[image_id]
