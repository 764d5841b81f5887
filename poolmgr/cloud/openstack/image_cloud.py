"""`cloud.api.ImageCloud` on a real OpenStack: joins the Image service, the object store and the uploads."""

from __future__ import annotations

import threading
from collections.abc import Callable

from poolmgr.cloud.openstack.discovery import Discovery
from poolmgr.cloud.openstack.image import Images
from poolmgr.cloud.openstack.image_task import ImportTasks
from poolmgr.cloud.openstack.object_store import ObjectStore
from poolmgr.cloud.openstack.retry import Retrier
from poolmgr.cloud.openstack.service import Service
from poolmgr.cloud.openstack.session import Session
from poolmgr.cloud.openstack.staging import CONTAINER
from poolmgr.cloud.openstack.upload import Uploader
from poolmgr.cloud.openstack.upload_attempt import UploadPolicy
from poolmgr.config.settings import CloudSettings
from poolmgr.errors import NotFound
from poolmgr.model.cloud_image import CloudImage, ImageOwner, ImageSpec, StagedObject, UploadProgress
from poolmgr.model.server import Listing
from poolmgr.runtime.clock import Clock


class OpenStackImages:
    """The images of one cloud; see `cloud.api.ImageCloud` for what the methods promise."""

    def __init__(
        self,
        settings: CloudSettings,
        images: Images,
        session: Session,
        discovery: Discovery,
        retrier: Retrier,
        clock: Clock,
        *,
        deployment: str,
        new_id: Callable[[], str],
        policy: UploadPolicy | None = None,
    ) -> None:
        service = Service("image", session, discovery, retrier)
        store = ObjectStore(Service("object-store", session, discovery, retrier), session, discovery)
        self._clock = clock
        self.images = images
        self._uploader = Uploader(
            settings,
            self.images,
            ImportTasks(service),
            store,
            clock,
            deployment=deployment,
            new_id=new_id,
            lower_version=lambda: discovery.lower("image"),
            policy=policy,
        )

    def upload(
        self,
        spec: ImageSpec,
        progress: Callable[[UploadProgress], None] | None,
        cancelled: threading.Event | None,
        timeout: float | None,
        pace: Callable[[int], None] | None = None,
    ) -> CloudImage:
        image = self._uploader.upload(spec, progress or (lambda _: None), cancelled, timeout, pace)
        self.images.drop_caches()
        return image

    def delete(self, image_id: str) -> None:
        """Where images go through an object store, also what was left there of this one."""
        owner = self._owner(image_id) if self._uploader.staging is not None else None
        self.images.delete(image_id)
        if owner is not None:
            for staged in self.list_staged().items.values():
                if staged.owner == owner:
                    self.delete_staged(staged)

    def list_staged(self) -> Listing[StagedObject]:
        started_at = self._clock.monotonic()
        staging = self._uploader.staging
        found = list(staging.everything()) if staging is not None else []
        return Listing(
            items={f"{staged.container}/{staged.name}": staged for staged in found},
            started_at=started_at,
            finished_at=self._clock.monotonic(),
        )

    def delete_staged(self, staged: StagedObject) -> None:
        staging = self._uploader.staging
        if staging is not None and staged.container == CONTAINER:
            staging.delete(staged.name)

    def _owner(self, image_id: str) -> ImageOwner | None:
        try:
            return self.images.get(image_id).owner
        except NotFound:
            return None
