"""Calls to the Image service, API v2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from poolmgr.cloud.openstack.errors import Failure
from poolmgr.cloud.openstack.image_record import image_of, new_image, patch_of
from poolmgr.cloud.openstack.service import Service
from poolmgr.cloud.openstack.session import Answer
from poolmgr.cloud.openstack.upload_body import Body
from poolmgr.errors import CloudUnavailable, NotFound, Rejected
from poolmgr.model.cloud_image import CloudImage, ImageSpec

STREAM = {"Content-Type": "application/octet-stream"}
PATCH = {"Content-Type": "application/openstack-images-v2.1-json-patch"}
#: Glance's default page has 25 images.
PAGE = "1000"


class ImagesV2:
    """What we ask of version 2. `service` is the Image service's."""

    version = 2

    def __init__(self, service: Service) -> None:
        self._service = service

    def get(self, image_id: str) -> CloudImage:
        """Raises NotFound."""
        return image_of(self._service.get(f"/images/{image_id}").json())

    def search(self, filters: Mapping[str, str]) -> tuple[list[CloudImage], str]:
        """(images, why these are not all) that fit. Filters are fields or properties, compared as texts.

        To be checked again by the caller: a service that does not know a filter ignores it.
        """
        pages = self._service.pages("/images", "images", {**filters, "limit": PAGE})
        return [image_of(raw) for raw in pages.items], pages.problem

    def create(
        self, spec: ImageSpec, properties: Mapping[str, str], numbers: Mapping[str, int]
    ) -> CloudImage:
        """A queued image. Raises OutcomeUnknown."""
        return image_of(self._service.post("/images", new_image(spec, properties, numbers)).json())

    def send(self, image_id: str, body: Body) -> Answer | Failure:
        """The bytes. Sent once."""
        return self._service.stream("PUT", f"/images/{image_id}/file", body, headers=STREAM)

    def write(
        self, image_id: str, properties: Mapping[str, str], fields: Mapping[str, Any] | None = None
    ) -> None:
        """Set properties and fields; the others stay. Raises NotFound, Rejected."""
        self._service.patch(f"/images/{image_id}", patch_of(properties, fields), headers=PATCH)

    def delete(self, image_id: str) -> None:
        """Raises NotFound, Rejected."""
        self._service.delete(f"/images/{image_id}")

    # -- import ------------------------------------------------------------------------------------------

    def import_methods(self) -> frozenset[str]:
        """The ways of import that are offered (Image API v2, "Import methods and values discovery")."""
        try:
            document = self._service.get("/info/import").json()
        except (NotFound, Rejected):  # before API 2.6
            return frozenset()
        offered = document.get("import-methods")
        values = offered.get("value") if isinstance(offered, Mapping) else None
        return frozenset(str(value) for value in values or ())

    def stage(self, image_id: str, body: Body) -> Answer | Failure:
        """The bytes, to be imported. Sent once."""
        return self._service.stream("PUT", f"/images/{image_id}/stage", body, headers=STREAM)

    def start_import(self, image_id: str, method: Mapping[str, str]) -> None:
        """`method`: its name, and what it needs. Done twice it is refused: Rejected."""
        self._service.ask(f"/images/{image_id}/import", {"method": method})

    def import_message(self, image_id: str) -> str:
        """Why an import failed, in the cloud's words; "" where it does not tell (Image API v2.12, "Image tasks")."""
        try:
            tasks = self._service.get(f"/images/{image_id}/tasks").json().get("tasks")
        except (CloudUnavailable, NotFound, Rejected):
            return ""
        told = [str(task.get("message") or "") for task in tasks or () if isinstance(task, Mapping)]
        return next((message for message in told if message), "")
