"""Images as a cloud keeps them, and what is asked of a cloud when one is uploaded (cloud.md 3.4, 3.5).

Records of builds and uploads in the store are another thing: `model.image`.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

#: Image properties that name the owner; the first three are shared with Nodepool.
PROP_BUILD = "nodepool_build_id"
PROP_UPLOAD = "nodepool_upload_id"
PROP_PROVIDER = "nodepool_provider_name"
PROP_DEPLOYMENT = "owner_specified.poolmgr.deployment"
PROP_IMAGE = "owner_specified.poolmgr.image"
PROP_SHA256 = "owner_specified.poolmgr.sha256"
PROP_MD5 = "owner_specified.poolmgr.md5"
PROP_CALL = "owner_specified.poolmgr.call"  # which upload made it, where it has no owner
PROP_PROTECTED = "owner_specified.poolmgr.protected"  # it is protected because we were asked to


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageOwner:
    """Whose an image is. `upload` names one upload of one build for ever: it makes uploading idempotent.

    `deployment` None: made by Nodepool itself.
    """

    provider: str
    image: str  # the name in the configuration
    build: str
    upload: str
    deployment: str | None = None

    def properties(self) -> dict[str, str]:
        """The owner as image properties, which go into the call that makes the image."""
        named = {
            PROP_BUILD: self.build,
            PROP_UPLOAD: self.upload,
            PROP_PROVIDER: self.provider,
            PROP_IMAGE: self.image,
        }
        return {**named, PROP_DEPLOYMENT: self.deployment} if self.deployment else named


def owner_of_properties(properties: Mapping[str, object]) -> ImageOwner | None:
    """The owner that an image's properties name, None for an image that is neither ours nor Nodepool's."""
    provider, build, upload = (properties.get(key) for key in (PROP_PROVIDER, PROP_BUILD, PROP_UPLOAD))
    if not provider or not upload:
        return None
    deployment = properties.get(PROP_DEPLOYMENT)
    return ImageOwner(
        provider=str(provider),
        image=str(properties.get(PROP_IMAGE) or ""),
        build=str(build or ""),
        upload=str(upload),
        deployment=str(deployment) if deployment else None,
    )


class ImageStatus(enum.Enum):
    """Glance's states as far as we tell them apart (Image API v2, "Image statuses")."""

    QUEUED = "queued"
    SAVING = "saving"
    UPLOADING = "uploading"
    IMPORTING = "importing"
    ACTIVE = "active"
    DEACTIVATED = "deactivated"
    KILLED = "killed"
    DELETED = "deleted"  # and pending_delete
    OTHER = "other"


@dataclass(frozen=True, kw_only=True, slots=True)
class CloudImage:
    """One image as the cloud last showed it."""

    id: str
    name: str
    status: ImageStatus
    status_text: str = ""  # the cloud's own word, for logs
    size: int | None = None  # bytes; None until there are some
    virtual_size: int | None = None  # bytes of the disk in it; None where the cloud does not tell
    md5: str = ""  # "" where the cloud does not tell
    hash_algo: str = ""  # "sha512" mostly
    hash_value: str = ""
    disk_format: str = ""
    min_disk_gib: int = 0
    min_ram_mib: int = 0
    visibility: str = ""  # private, public, shared, community
    protected: bool = False
    created_at: float | None = None  # epoch seconds
    project_id: str = ""  # whose it is; "" where the cloud does not tell
    properties: Mapping[str, str] = field(default_factory=dict)  # all that Glance has no field for

    @property
    def owner(self) -> ImageOwner | None:
        return owner_of_properties(self.properties)


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageSpec:
    """An image to upload: a local file, and what the cloud is to know of it.

    `name` must be unique in the cloud: every upload is a new image. `size`, `md5` and `sha256` are the file's;
    "" for hashes not known, which are then computed while the bytes go out and written on the image afterwards.
    `url`, for web-download, is where the cloud can fetch the same bytes itself. `properties` are texts; `min_disk` and
    `min_ram` among them stand for the fields of that name.
    """

    name: str
    path: str
    size: int  # bytes
    disk_format: str = "qcow2"
    owner: ImageOwner | None = None  # None: a person's, at a command line; found again by its name only
    md5: str = ""
    sha256: str = ""
    min_disk_gib: int = 0
    min_ram_mib: int = 0
    properties: Mapping[str, str] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    protected: bool = False
    url: str | None = None


class UploadPhase(enum.Enum):
    """Where an upload is. Only SENDING counts bytes."""

    PREPARING = "preparing"  # looking for what an earlier attempt left, making the record
    SENDING = "sending"
    IMPORTING = "importing"  # the cloud works on bytes it has
    VERIFYING = "verifying"


@dataclass(frozen=True, kw_only=True, slots=True)
class UploadProgress:
    """What the uploader tells while it works. `sent` begins at 0 again with each attempt."""

    phase: UploadPhase
    method: str  # put, import, web-download, tasks, v1
    sent: int = 0  # bytes
    total: int = 0
    image_id: str | None = None  # as soon as the cloud has named the image: store it before going on
    attempt: int = 1
    #: Swift objects that hold the bytes meanwhile, "container/object"; store it before going on
    staged: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class StagedObject:
    """An object of ours in a cloud's object store, with its segments, left by an upload that was cut off.

    `owner` None: of an upload without one. Objects without our mark are never of this kind.
    """

    container: str
    name: str
    size: int = 0  # bytes, those of its segments included
    owner: ImageOwner | None = None
    last_modified: float | None = None  # epoch seconds
