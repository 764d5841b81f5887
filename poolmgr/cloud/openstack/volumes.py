"""Calls to the Block Storage service (Cinder, API v3)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from poolmgr.cloud.openstack.service import Service
from poolmgr.errors import NotFound
from poolmgr.model.server import Listing, Owner, Volume, owner_of_metadata
from poolmgr.runtime.clock import Clock

log = logging.getLogger(__name__)


class Volumes:
    """What we ask of the Block Storage service."""

    def __init__(self, service: Service, clock: Clock) -> None:
        self._service = service
        self._clock = clock

    def present(self) -> bool:
        return self._service.endpoint() is not None

    def list(self) -> Listing[Volume]:
        started_at = self._clock.monotonic()
        pages = self._service.list("/volumes/detail", "volumes")
        return Listing(
            items={raw["id"]: volume_of(raw) for raw in pages.items},
            started_at=started_at,
            finished_at=self._clock.monotonic(),
            complete=pages.complete,
        )

    def mark(self, volume_id: str, owner: Owner) -> None:
        """Add the owner to the volume's metadata; what else is there stays."""
        self._service.ask(f"/volumes/{volume_id}/metadata", {"metadata": owner.metadata()})

    def delete(self, volume_id: str) -> None:
        try:
            self._service.delete(f"/volumes/{volume_id}")
        except NotFound:
            log.debug("volume %s is gone already", volume_id)


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
        created_at=_epoch(raw.get("created_at")),
    )


def _epoch(text: object) -> float | None:
    """Cinder tells UTC without saying so (measured on simcloud's answers as the API reference shows them)."""
    try:
        return datetime.fromisoformat(str(text)).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None
