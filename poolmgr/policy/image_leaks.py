"""Cloud images and staged objects without a record: ours, to be deleted with proof, and aliens, to be shown only."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from poolmgr.model.cloud_image import PROP_BUILD, CloudImage, ImageOwner, ImageStatus, StagedObject
from poolmgr.model.image import Upload, UploadState
from poolmgr.model.server import Listing
from poolmgr.model.snapshot import Snapshot
from poolmgr.policy.image_tuning import ImageTuning

#: So many seconds a cloud's clock may be behind ours.
CLOCKS_APART = 300.0
_NUMBERED = re.compile("[0-9]{9}")


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """How often something without a record was seen in complete lists, and when first (monotonic seconds)."""

    first: float
    count: int = 1


@dataclass(frozen=True, kw_only=True)
class Leaks:
    """`images` and `objects` may be deleted; `seen` goes into the next call; keys: image id, "container/name"."""

    images: tuple[CloudImage, ...] = ()
    objects: tuple[StagedObject, ...] = ()
    seen: Mapping[str, Sighting] = field(default_factory=dict)


def image_leaks(
    snapshot: Snapshot,
    provider: str,
    deployment: str,
    images: Listing[CloudImage],
    objects: Listing[StagedObject],
    seen: Mapping[str, Sighting],
    tuning: ImageTuning,
    now: float,
) -> Leaks:
    """What of the provider's images and objects is ours by its properties and in no record, seen often enough.

    `snapshot` has to be newer than the lists are. Images that name no deployment (Nodepool's own) or another one, or
    another provider, are never among them, nor those of images with unreadable records, nor incomplete lists. How old
    they are is how long they were watched: clocks of clouds may be wrong.
    """
    ours = _Ours(snapshot, provider, deployment)
    suspects = {image.id for image in images.items.values() if ours.lacks_image(image)}
    suspects |= {_key(staged) for staged in objects.items.values() if ours.lacks_object(staged)}
    seen_now = {
        **_sighted(seen, {key for key in suspects if "/" not in key}, images, now, staged=False),
        **_sighted(seen, {key for key in suspects if "/" in key}, objects, now, staged=True),
    }
    proven = {
        key
        for key, sighting in seen_now.items()
        if key in suspects
        and sighting.count >= tuning.sweep_sightings
        and now - sighting.first >= tuning.sweep_age
    }
    return Leaks(
        images=tuple(image for image in images.items.values() if images.complete and image.id in proven),
        objects=tuple(one for one in objects.items.values() if objects.complete and _key(one) in proven),
        seen=seen_now,
    )


def _key(staged: StagedObject) -> str:
    return f"{staged.container}/{staged.name}"


def _sighted(
    before: Mapping[str, Sighting],
    suspects: Collection[str],
    listing: Listing[CloudImage] | Listing[StagedObject],
    now: float,
    *,
    staged: bool,
) -> dict[str, Sighting]:
    """The sightings of one kind after this list. One that is not complete proves nothing: they stay as they were."""
    if not listing.complete:
        return {key: sighting for key, sighting in before.items() if ("/" in key) is staged}
    return {
        key: Sighting(first=before[key].first, count=before[key].count + 1)
        if key in before
        else Sighting(first=now)
        for key in suspects
    }


class _Ours:
    """What of one provider's things this installation has made, and no record accounts for."""

    def __init__(self, snapshot: Snapshot, provider: str, deployment: str) -> None:
        self._snapshot, self._provider, self._deployment = snapshot, provider, deployment
        self._ids = {upload.external_id for upload in snapshot.uploads() if upload.external_id}
        self._staged = {upload.staged for upload in snapshot.uploads() if upload.staged}

    def lacks_image(self, image: CloudImage) -> bool:
        if image.status is ImageStatus.DELETED or image.id in self._ids:
            return False
        return self._is_lost(image.owner)

    def lacks_object(self, staged: StagedObject) -> bool:
        return _key(staged) not in self._staged and self._is_lost(staged.owner)

    def _is_lost(self, owner: ImageOwner | None) -> bool:
        """Whether nobody is at work on the upload that made it, nor will be, as far as its record tells.

        A READY upload names its image: what else bears its id was left by an attempt. So does a FAILED one as long as
        there is something to delete.
        """
        if owner is None or (owner.provider, owner.deployment) != (self._provider, self._deployment):
            return False
        if self._snapshot.image_unreadable(owner.image):
            return False
        if self._snapshot.upload_locked(owner.image, owner.build, owner.provider):
            return False
        record = self._snapshot.upload(_path(owner))
        return record is None or record.state in (UploadState.READY, UploadState.FAILED)


def _path(owner: ImageOwner) -> str:
    return Upload(image=owner.image, build=owner.build, provider=owner.provider, id=owner.upload).path


def of_cut_off_upload(
    snapshot: Snapshot, upload: Upload, images: Listing[CloudImage], deployment: str
) -> tuple[CloudImage, ...]:
    """Images that only this upload can have made: by its properties, or by a name that only it bears.

    An import by task puts the properties on an image that is there already, so one that was cut off leaves an image
    with nothing but its name (builder.md 12, 7). A name proves that only where it has a time or an upload's number in
    it (`image-name-format` need not), no other upload to the provider has it, and the image is not older than the
    upload and bears nobody's mark.
    """
    owner = ImageOwner(
        provider=upload.provider,
        image=upload.image,
        build=upload.build,
        upload=upload.id,
        deployment=deployment,
    )
    others = [u for u in snapshot.uploads() if u.provider == upload.provider and u.path != upload.path]
    taken = {other.external_id for other in others}
    named = upload.external_name if upload.external_name not in {u.external_name for u in others} else None
    since = (upload.started or upload.state_time) - CLOCKS_APART
    return tuple(
        image
        for image in images.items.values()
        if image.id not in taken
        and image.status is not ImageStatus.DELETED
        and (image.owner == owner or (image.owner is None and _came_since(image, named, since)))
    )


def _came_since(image: CloudImage, name: str | None, since: float) -> bool:
    """Whether it has this name and was made since then; one whose age the cloud does not tell was not."""
    if not name or image.name != name or not _NUMBERED.search(name):
        return False
    return image.created_at is not None and image.created_at >= since


def aliens(snapshot: Snapshot, images: Listing[CloudImage]) -> tuple[CloudImage, ...]:
    """Images with `nodepool_build_id` that no READY upload record names by id, by name (builder.md 8)."""
    ready = {upload.external_id for upload in snapshot.uploads() if upload.state is UploadState.READY}
    found = [
        image for image in images.items.values() if image.properties.get(PROP_BUILD) and image.id not in ready
    ]
    return tuple(sorted(found, key=lambda image: (image.name, image.id)))
