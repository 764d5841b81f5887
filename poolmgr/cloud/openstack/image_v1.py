"""Calls to the Image service, API v1, which clouds from before 2016 have, and few others.

Metadata travel in headers; a list has neither links nor tags (Image API v1).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from poolmgr.cloud.openstack.errors import Failure
from poolmgr.cloud.openstack.image_record import (
    V1_PREFIX,
    V1_PROPERTY,
    image_of_headers,
    image_of_v1,
    new_image_headers,
)
from poolmgr.cloud.openstack.service import Service
from poolmgr.cloud.openstack.session import Answer
from poolmgr.cloud.openstack.upload_body import Body
from poolmgr.errors import CloudUnavailable
from poolmgr.model.cloud_image import CloudImage, ImageSpec

PAGE = "1000"
#: Without it, what a call does not name is removed from the image.
KEEP = {"x-glance-registry-purge-props": "false"}


class ImagesV1:
    """What we ask of version 1; the same methods as `ImagesV2`, as far as there is such a thing."""

    version = 1

    def __init__(self, service: Service) -> None:
        self._service = service

    def get(self, image_id: str) -> CloudImage:
        """Raises NotFound."""
        answer = self._service.head(f"/images/{image_id}")
        image = image_of_headers(answer.headers)
        if image is None:
            raise CloudUnavailable(f"{answer.call}: {answer.status} without an image in its headers")
        return image

    def search(self, filters: Mapping[str, str]) -> tuple[list[CloudImage], str]:
        """(images, why these are not all). Only `name` and `status` are told to the service; check them again."""
        known = {name: value for name, value in filters.items() if name in ("name", "status")}
        images: dict[str, CloudImage] = {}
        marker: dict[str, str] = {}
        while True:
            pages = self._service.pages(
                "/images/detail", "images", {**known, "limit": PAGE, "sort_key": "id", **marker}
            )
            fresh = {raw["id"]: image_of_v1(raw) for raw in pages.items if raw["id"] not in images}
            if not fresh or not pages.complete:
                return [*images.values(), *fresh.values()], pages.problem
            images |= fresh
            marker = {"marker": pages.items[-1]["id"]}

    def create(
        self, spec: ImageSpec, properties: Mapping[str, str], numbers: Mapping[str, int]
    ) -> CloudImage:
        """A queued image. Raises OutcomeUnknown."""
        headers = new_image_headers(spec, properties, numbers)
        return image_of_v1(self._service.post("/images", None, headers=headers).json()["image"])

    def send(self, image_id: str, body: Body) -> Answer | Failure:
        """The bytes. Sent once."""
        headers = {"Content-Type": "application/octet-stream", **KEEP}
        return self._service.stream("PUT", f"/images/{image_id}", body, headers=headers)

    def write(
        self, image_id: str, properties: Mapping[str, str], fields: Mapping[str, Any] | None = None
    ) -> None:
        """Set properties and fields; the others stay. Raises NotFound, Rejected."""
        headers = {V1_PROPERTY + name: value for name, value in properties.items()}
        headers |= {V1_PREFIX + name: str(value) for name, value in (fields or {}).items()}
        self._service.put(f"/images/{image_id}", headers={**headers, **KEEP})

    def delete(self, image_id: str) -> None:
        """Raises NotFound, Rejected."""
        self._service.delete(f"/images/{image_id}")
