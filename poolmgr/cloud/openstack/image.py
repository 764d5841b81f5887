"""The images of a cloud, whichever version of the Image API it has."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Mapping
from typing import TypeAlias

from poolmgr.cloud.openstack.errors import Forbidden
from poolmgr.cloud.openstack.image_v1 import ImagesV1
from poolmgr.cloud.openstack.image_v2 import ImagesV2
from poolmgr.cloud.openstack.service import Service
from poolmgr.cloud.openstack.versions import version_in_path
from poolmgr.errors import NotFound, Rejected
from poolmgr.model.cloud_image import PROP_PROTECTED, CloudImage, ImageStatus
from poolmgr.model.server import Listing
from poolmgr.model.trouble import Trouble
from poolmgr.runtime.clock import Clock

log = logging.getLogger(__name__)

TTL = 60.0  # seconds

ImageApi: TypeAlias = "ImagesV1 | ImagesV2"

_UUID = re.compile(r"[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}", re.IGNORECASE)


class Images:
    """What we ask of the Image service. `project_id` tells whose images are ours, None where nobody knows."""

    def __init__(self, service: Service, clock: Clock, project_id: Callable[[], str | None]) -> None:
        self._service = service
        self._clock = clock
        self._project_id = project_id
        self._v1, self._v2 = ImagesV1(service), ImagesV2(service)
        self._lock = threading.Lock()
        self._found: dict[str, tuple[float, str | None]] = {}

    def api(self) -> ImageApi:
        """The calls of the version that this cloud has. Raises ConfigError when it has no images at all."""
        version = version_in_path(self._service.need().url) or (2, 0)
        return self._v1 if version[0] == 1 else self._v2

    @property
    def v2(self) -> ImagesV2:
        """The calls of version 2, for whoever has seen to it that there is one."""
        return self._v2

    def find(self, name_or_id: str) -> str | None:
        """See `Cloud.find_image`."""
        now = self._clock.monotonic()
        with self._lock:
            held = self._found.get(name_or_id)
        if held and now - held[0] <= TTL:
            return held[1]
        image_id = self._by_id(name_or_id) or self._by_name(name_or_id)
        with self._lock:
            self._found[name_or_id] = (now, image_id)
        return image_id

    def get(self, image_id: str) -> CloudImage:
        """Raises NotFound."""
        return self.api().get(image_id)

    def listing(self) -> Listing[CloudImage]:
        """The project's own images, in any state."""
        started_at = self._clock.monotonic()
        images, problem = self._own({})
        if problem:
            log.warning("the list of images is incomplete: %s", problem)
        return Listing(
            items={image.id: image for image in images},
            started_at=started_at,
            finished_at=self._clock.monotonic(),
            complete=not problem,
        )

    def own(self, filters: Mapping[str, str]) -> list[CloudImage]:
        """The project's own images that fit `filters`, fields or properties.

        Raises CloudUnavailable if the list could not be read to its end.
        """
        images, problem = self._own(filters)
        if problem:
            raise self._service.cut_short("images", len(images), problem)
        return [image for image in images if _fits(image, filters)]

    def delete(self, image_id: str) -> None:
        """See `ImageCloud.delete_image`. Protection that was put on with the upload is taken off first."""
        api = self.api()
        try:
            self._delete(api, image_id)
        except NotFound:
            log.debug("image %s is gone already", image_id)
        self.drop_caches()

    def drop_caches(self) -> None:
        with self._lock:
            self._found.clear()

    @staticmethod
    def _delete(api: ImageApi, image_id: str) -> None:
        """Raises NotFound, Rejected."""
        try:
            return api.delete(image_id)
        except (Rejected, Forbidden) as error:
            image = api.get(image_id)
            if not image.protected or PROP_PROTECTED not in image.properties:
                raise _undeletable(image, error) from error
        api.write(image_id, {}, {"protected": False})
        try:
            return api.delete(image_id)
        except (Rejected, Forbidden) as error:
            raise _undeletable(image, error) from error

    def _own(self, filters: Mapping[str, str]) -> tuple[list[CloudImage], str]:
        """(images, why these are not all)."""
        project = self._project_id()
        wanted = {**filters, "owner": project} if project else dict(filters)
        images, problem = self.api().search(wanted)
        return [image for image in images if not project or image.project_id in ("", project)], problem

    def _by_id(self, image_id: str) -> str | None:
        if not _UUID.fullmatch(image_id):
            return None
        try:
            image = self.get(image_id)
        except NotFound:
            return None
        return image_id if image.status is ImageStatus.ACTIVE else None

    def _by_name(self, name: str) -> str | None:
        filters = {"name": name, "status": "active"}
        images, problem = self.api().search({**filters, "sort": "created_at:desc"})
        if problem:
            raise self._service.cut_short("images", len(images), problem)
        ids = [image.id for image in images if _fits(image, filters)]
        if len(ids) > 1:
            raise Trouble.IMAGE_AMBIGUOUS.error(
                Rejected,
                f"cloud {self._service.cloud}: image {name}: several active ones have this name: {', '.join(ids)}",
            )
        return ids[0] if ids else None


def _fits(image: CloudImage, filters: Mapping[str, str]) -> bool:
    """Checked again here: a service that does not know a filter ignores it."""
    shown = {**image.properties, "name": image.name, "status": image.status_text}
    return all(shown.get(name) == value for name, value in filters.items())


def _undeletable(image: CloudImage, error: Rejected | Forbidden) -> Rejected:
    """In whole sentences: Glance's own are for its operators."""
    what = f"image {image.id} ({image.name}) cannot be deleted"
    if image.protected:
        return Rejected(
            f"{what}, it is protected: take that off (`openstack image set --unprotected`): {error}"
        )
    return Rejected(f"{what} now; it may be in use by servers or volumes: delete those first: {error}")
