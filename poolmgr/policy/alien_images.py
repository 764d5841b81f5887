"""Alien images: cloud images that carry a build id and serve nobody; which of them a person may have deleted.

`image_leaks.aliens` says which they are, as the reference does: those that no READY upload names. Many of these are
nobody's leftover, so each is asked about before it is deleted, against a snapshot newer than the list it was seen in.
"""

from __future__ import annotations

import enum
from collections.abc import Collection

from poolmgr.model.cloud_image import CloudImage, ImageOwner
from poolmgr.model.image import Upload, UploadState
from poolmgr.model.snapshot import Snapshot


class Keep(enum.Enum):
    """Why an alien image is not deleted; the value is for people."""

    NO_OWNER = "does not say whose it is"
    OTHER_DEPLOYMENT = "of another deployment"
    OTHER_PROVIDER = "of another provider"
    RECORDED = "a record names it: builders see to it"
    UNREADABLE = "a record of its image is unreadable"
    IN_USE = "nodes boot from it"
    PROTECTED = "protected in the cloud"
    NOTHING_KNOWN = "ZooKeeper knows no image at all"  # the wrong one, or an emptied one


def why_keep(image: CloudImage, provider: str, snapshot: Snapshot, deployment: str) -> Keep | None:
    """Why the image, seen in the project of `provider`, must stay; None: it may be deleted.

    What poolmgr uploaded names its deployment, so it is known to be ours whatever its provider is called by now; an
    image of Nodepool has to name this very provider.
    """
    owner = image.owner
    if owner is None:
        return Keep.NO_OWNER
    if owner.deployment not in (None, deployment):
        return Keep.OTHER_DEPLOYMENT
    if owner.deployment is None and owner.provider != provider:
        return Keep.OTHER_PROVIDER
    if owner.deployment is None and not snapshot.images():
        return Keep.NOTHING_KNOWN
    if any(snapshot.image_unreadable(name) for name in _disk_images(owner, snapshot)):
        return Keep.UNREADABLE
    if any(_names(upload, image, owner) for upload in snapshot.uploads()):
        return Keep.RECORDED
    if nodes_from(image, snapshot):
        return Keep.IN_USE
    return Keep.PROTECTED if image.protected else None


def nodes_from(image: CloudImage, snapshot: Snapshot) -> int:
    """How many nodes boot, or booted, from the upload that the image says it is, whether it has a record or not."""
    owner = image.owner
    if owner is None:
        return 0
    paths = (_upload_path(owner, name) for name in _disk_images(owner, snapshot))
    return sum(len(snapshot.nodes_from(path)) for path in paths)


def _names(upload: Upload, image: CloudImage, owner: ImageOwner) -> bool:
    """Whether the upload's record means this image: by its id, or, while that may change, by what the image says."""
    if upload.external_id == image.id:
        return True
    named = (upload.build, upload.provider, upload.id) == (owner.build, owner.provider, owner.upload)
    return named and (upload.external_id is None or upload.state is UploadState.UPLOADING)


def _disk_images(owner: ImageOwner, snapshot: Snapshot) -> Collection[str]:
    """Names of the disk images it may be of: images of Nodepool do not say."""
    return (owner.image,) if owner.image else snapshot.images()


def _upload_path(owner: ImageOwner, name: str) -> str:
    upload = Upload(image=name, build=owner.build, provider=owner.provider, id=owner.upload)
    return upload.path
