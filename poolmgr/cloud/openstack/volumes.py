"""Calls to the Block Storage service (Cinder, API v3)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from poolmgr.cloud.openstack.errors import Forbidden
from poolmgr.cloud.openstack.quota import limits_of, volume_quotas
from poolmgr.cloud.openstack.service import Service
from poolmgr.cloud.openstack.timestamps import epoch_of
from poolmgr.errors import CloudUnavailable, NotFound, OutcomeUnknown, Rejected
from poolmgr.model.resources import Resources
from poolmgr.model.server import Listing, Owner, Quota, Volume, owner_of_metadata
from poolmgr.runtime.clock import Clock

log = logging.getLogger(__name__)


class Volumes:
    """What we ask of the Block Storage service."""

    def __init__(self, service: Service, clock: Clock) -> None:
        self._service = service
        self._clock = clock

    def present(self) -> bool:
        return self._service.endpoint() is not None

    def limits(self) -> Resources:
        """The limits of volumes and volume-gb; unlimited and unknown ones are absent."""
        return limits_of(self.quotas())

    def quotas(self) -> tuple[Quota, ...]:
        """Limits and use of volumes and volume-gb; () where the cloud does not tell."""
        document = self._service.told("/limits") or {}
        return volume_quotas((document.get("limits") or {}).get("absolute") or {})

    def list(self) -> Listing[Volume]:
        started_at = self._clock.monotonic()
        pages = self._service.list("/volumes/detail", "volumes")
        return Listing(
            items={raw["id"]: volume_of(raw) for raw in pages.items},
            started_at=started_at,
            finished_at=self._clock.monotonic(),
            complete=pages.complete,
        )

    def get(self, volume_id: str) -> Volume:
        """Raises NotFound."""
        found = self._service.get(f"/volumes/{volume_id}").json().get("volume")
        if not isinstance(found, dict) or "id" not in found:
            where = f"cloud {self._service.cloud}: block-storage: volume {volume_id}"
            raise CloudUnavailable(f"{where}: the answer has no volume in it")
        return volume_of(found)

    def create(self, image_id: str, *, size_gib: int, volume_type: str | None, owner: Owner) -> str:
        """A volume of the image that bears the owner's mark; its id, while it is being filled.

        Raises OverQuota, ImageGone, NotFound (the type), Rejected, OutcomeUnknown.
        """
        wanted: dict[str, Any] = {
            "name": owner.tag(),
            "size": size_gib,
            "imageRef": image_id,
            "metadata": owner.metadata(),
        }
        if volume_type is not None:
            wanted["volume_type"] = volume_type
        answer = self._service.post("/volumes", {"volume": wanted})
        volume = (answer.document() or {}).get("volume")
        if not isinstance(volume, dict) or not volume.get("id"):
            raise OutcomeUnknown(f"{answer.call}: {answer.status} without a volume's id")
        return str(volume["id"])

    def unattached(self, owner: Owner) -> tuple[str, ...]:
        """Ids of the volumes of this very owner and attempt that no server has."""
        pages = self._service.list("/volumes/detail", "volumes", {"name": owner.tag()})
        found = map(volume_of, pages.items)
        return tuple(v.id for v in found if v.owner == owner and not v.server_ids)

    def mark(self, volume_id: str, owner: Owner) -> None:
        """Add the owner to the volume's metadata; what else is there stays."""
        self._service.ask(f"/volumes/{volume_id}/metadata", {"metadata": owner.metadata()})

    def delete(self, volume_id: str, *, force: bool = False) -> None:
        """A volume that is gone is success. `force`: see `Cloud.delete_volume`. Raises Rejected."""
        try:
            if not (force and self._forced(volume_id)):
                self._service.delete(f"/volumes/{volume_id}")
        except NotFound:
            log.debug("volume %s is gone already", volume_id)

    def _forced(self, volume_id: str) -> bool:
        """Whether the cloud took it (API v3, "Force delete a volume"): mostly administrators may. Raises NotFound."""
        if self.get(volume_id).server_ids:
            return False  # since it was listed
        try:
            self._service.ask(f"/volumes/{volume_id}/action", {"os-force_delete": {}})
        except (Rejected, Forbidden) as error:
            log.debug("volume %s cannot be deleted by force: %s", volume_id, error)
            return False
        return True


def volume_of(raw: Mapping[str, Any]) -> Volume:
    """A volume of `GET /volumes/detail`."""
    attached = raw.get("attachments") or ()
    return Volume(
        id=raw["id"],
        name=raw.get("name") or "",
        status=raw.get("status") or "",
        size_gib=int(raw.get("size") or 0),
        server_ids=tuple(a["server_id"] for a in attached if a.get("server_id")),
        owner=owner_of_metadata(raw.get("metadata") or {}),
        created_at=epoch_of(raw.get("created_at")),
    )
