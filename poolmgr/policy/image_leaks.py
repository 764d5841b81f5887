"""Cloud images and staged objects without a record: ours, to be deleted with proof, and aliens, to be shown only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from poolmgr.model.cloud_image import CloudImage, StagedObject
from poolmgr.model.server import Listing
from poolmgr.model.snapshot import Snapshot
from poolmgr.policy.image_tuning import ImageTuning


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
    another provider, are never among them, nor those of images with unreadable records, nor incomplete lists.
    """
    raise NotImplementedError


def aliens(snapshot: Snapshot, images: Listing[CloudImage]) -> tuple[CloudImage, ...]:
    """Images with `nodepool_build_id` that no READY upload record names by id, by name (builder.md 8)."""
    raise NotImplementedError
