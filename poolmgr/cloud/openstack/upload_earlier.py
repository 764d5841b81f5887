"""What earlier uploads of an image have left in the cloud: the answer to the next one, or waste.

An upload is known by the whole `ImageOwner`: ids of builds and uploads are the same in many installations.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from poolmgr.cloud.openstack.image import Images
from poolmgr.cloud.openstack.upload_attempt import Attempt, mine
from poolmgr.cloud.openstack.upload_body import hashes_of
from poolmgr.cloud.openstack.upload_judge import comparable, difference, sums_of
from poolmgr.cloud.openstack.upload_method import Way
from poolmgr.cloud.openstack.upload_task import TaskWay
from poolmgr.errors import Rejected
from poolmgr.model.cloud_image import (
    PROP_CALL,
    PROP_IMAGE,
    CloudImage,
    ImageStatus,
)
from poolmgr.model.trouble import Trouble

log = logging.getLogger(__name__)


class Earlier:
    """Finds it, and clears it away."""

    def __init__(self, images: Images, tasks: TaskWay, *, may_change: bool) -> None:
        """`may_change`: the cloud converts images."""
        self._images = images
        self._tasks = tasks
        self._may_change = may_change

    def found(self, attempt: Attempt) -> CloudImage | None:
        """The whole image that was uploaded before; broken ones are deleted."""
        whole = None
        for image in mine(self._images, attempt):
            if whole is None and self._is_whole(attempt, image):
                whole = image
            else:
                log.info("image %s: %s of an earlier upload is deleted", attempt.spec.name, image.id)
                self._images.delete(image.id)
        if whole is None:
            whole = self._of_name(attempt)
        if whole is not None and attempt.way is Way.TASKS:
            self._tasks.clear(attempt.spec.owner)
        return whole

    def _of_name(self, attempt: Attempt) -> CloudImage | None:
        """The image of our name that has no owner.

        With an owner: one that a task made and whose properties a crash kept us from writing. Without: one that the
        same person uploaded before; another one of this name is an error, as names could not be told apart.
        """
        spec = attempt.spec
        if spec.owner is not None and attempt.way is not Way.TASKS:
            return None
        named = [i for i in self._images.own({"name": spec.name}) if not i.owner]
        if spec.owner is not None:
            bare = [i for i in named if PROP_IMAGE not in i.properties and self._is_whole(attempt, i)]
            for image in bare[1:]:
                self._images.delete(image.id)
            return self._tasks.adopt(attempt, bare[0]) if bare else None
        others = [image for image in named if image.properties.get(PROP_CALL) != attempt.job.call]
        for image in others:
            if PROP_IMAGE in image.properties and self._is_whole(attempt, image, read=True):
                return image
        if others:
            shown = ", ".join(f"{image.id} ({image.status_text})" for image in others)
            raise Trouble.IMAGE_EXISTS.error(Rejected, f"there is an image of this name: {shown}")
        return None

    def _is_whole(self, attempt: Attempt, image: CloudImage, *, read: bool = False) -> bool:
        """Whether an image is ACTIVE and has our bytes. `read`: look into the file if no hash is known."""
        sums = sums_of(attempt.spec)
        may_change = self._may_change
        if image.status is not ImageStatus.ACTIVE or difference(image, sums, may_change=may_change):
            return False
        if not read or may_change or comparable(image, sums):
            return True
        sums = replace(sums, hashes=hashes_of(attempt.spec.path, sums.size))
        return not difference(image, sums, may_change=may_change)
