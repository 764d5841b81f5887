"""Why an upload that is under way must not go on."""

from __future__ import annotations

import enum

from poolmgr.config.settings import OpenStackProvider, Settings
from poolmgr.model.image import BuildState, Upload, UploadState
from poolmgr.model.snapshot import Snapshot


class UploadEnd(enum.Enum):
    """The value is the word in logs and tests. None of them is a failure of the image."""

    STOPPING = "stopping"  # the builder is told to stop
    DELETED = "deleted"  # a person deleted the upload: its record is gone, or says so
    BUILD_DELETED = "build-deleted"
    PAUSED = "paused"  # in the provider's list
    NOT_LISTED = "not-listed"  # the provider does not list the image any more, or is itself gone


def upload_end(snapshot: Snapshot, settings: Settings, upload: Upload) -> UploadEnd | None:
    """What in the store or the settings ends `upload`, a record that this process has made; None: it goes on.

    The snapshot has to be current: what is not in it is taken for deleted.
    """
    if not snapshot.image_unreadable(upload.image):
        stored = snapshot.upload(upload.path)
        if stored is None or stored.state is UploadState.DELETING:
            return UploadEnd.DELETED
        build = snapshot.build(upload.image, upload.build)
        if build is None or build.state is BuildState.DELETING:
            return UploadEnd.BUILD_DELETED
    provider = settings.providers.get(upload.provider)
    listed = provider.diskimages.get(upload.image) if isinstance(provider, OpenStackProvider) else None
    if listed is None or upload.image not in settings.diskimages:
        return UploadEnd.NOT_LISTED
    return UploadEnd.PAUSED if listed.pause else None
