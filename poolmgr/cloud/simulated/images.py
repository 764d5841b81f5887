"""Images straight on a pretend world, and objects that wait to become some; `upload` makes them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from poolmgr.cloud.simulated.calls import Calls
from poolmgr.errors import Rejected
from poolmgr.model.cloud_image import PROP_PROTECTED, CloudImage, ImageOwner, ImageStatus, StagedObject
from poolmgr.simcloud import world as sim

CONTAINER = "images"
OWNER_HEADER = "x-object-meta-poolmgr-owner"


class SimulatedImages:
    """The images of one pretend cloud."""

    def __init__(self, cloud: sim.SimCloud, calls: Calls) -> None:
        self._cloud, self._calls = cloud, calls

    def find(self, name_or_id: str) -> str | None:
        """The id of an active image. Raises Rejected when several have the name."""
        images = self._calls.ask("image.GET.images", lambda _: [*self._cloud.images.images.values()])
        active = [i for i in images if i.status == "active"]
        if any(i.id == name_or_id for i in active):
            return name_or_id
        found = [i.id for i in active if i.name == name_or_id]
        if len(found) > 1:
            raise Rejected(f"several images are called {name_or_id}: {', '.join(found)}")
        return found[0] if found else None

    def get(self, image_id: str) -> CloudImage:
        found = self._calls.ask(
            "image.GET.image", lambda _: self._cloud.images.image(image_id), subject=image_id
        )
        return _image(found)

    def list(self) -> Mapping[str, CloudImage]:
        """The project's own images, in any state, by id."""
        known = self._calls.ask("image.GET.images", lambda _: self._cloud.images.visible())
        return {image.id: _image(image) for image in known if image.mine}

    def delete(self, image_id: str) -> None:
        images = self._cloud.images

        def delete(image_id: str, trouble: sim.Trouble) -> None:
            image = images.image(image_id)
            if image.protected and PROP_PROTECTED in image.properties:
                images.change(image_id, protected=False)
            images.delete(image_id, trouble)

        self._calls.delete("image.DELETE.image", image_id, delete)

    def list_staged(self) -> Mapping[str, StagedObject]:
        staged: dict[str, StagedObject] = {}
        if self.way() == "task":
            for stored in self._calls.ask("object-store.GET.container", lambda _: self._stored()):
                if OWNER_HEADER in stored.headers:
                    told = json.loads(stored.headers[OWNER_HEADER])
                    staged[f"{CONTAINER}/{stored.name}"] = StagedObject(
                        container=CONTAINER,
                        name=stored.name,
                        size=stored.size,
                        owner=ImageOwner(**told) if told else None,
                        last_modified=stored.updated,
                    )
        return staged

    def delete_staged(self, staged: StagedObject) -> None:
        def delete(name: str, _: sim.Trouble) -> None:
            self._cloud.objects.delete(staged.container, name)

        self._calls.delete("object-store.DELETE.object", staged.name, delete)

    def way(self) -> str:
        """How bytes get into this cloud: put, glance-direct or task."""
        methods = self._cloud.images.api.methods
        return next((way for way in ("put", "glance-direct", "task") if way in methods), "put")

    def _stored(self) -> tuple[Any, ...]:
        try:
            return tuple(self._cloud.objects.container(CONTAINER).values())
        except sim.Refusal:
            return ()


def _image(image: sim.Image) -> CloudImage:
    known = {status.value: status for status in ImageStatus}
    return CloudImage(
        id=image.id,
        name=image.name,
        status=known.get(image.status, ImageStatus.OTHER),
        status_text=image.status,
        size=image.size,
        md5=image.md5 or "",
        hash_algo="sha512" if image.sha512 else "",
        hash_value=image.sha512 or "",
        disk_format=image.disk_format or "",
        min_disk_gib=image.min_disk,
        min_ram_mib=image.min_ram,
        visibility=image.visibility,
        protected=image.protected,
        created_at=image.created,
        properties=image.properties,
    )
