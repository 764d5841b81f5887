"""Calls to the Image service (Glance, API v2)."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from typing import Any

from poolmgr.cloud.openstack.service import Service
from poolmgr.errors import CloudUnavailable, NotFound, Rejected
from poolmgr.runtime.clock import Clock

TTL = 60.0  # seconds

_UUID = re.compile(r"[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}", re.IGNORECASE)


class Images:
    """What we ask of the Image service."""

    def __init__(self, service: Service, clock: Clock) -> None:
        self._service = service
        self._clock = clock
        self._lock = threading.Lock()
        self._found: dict[str, tuple[float, str | None]] = {}

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

    def drop_caches(self) -> None:
        with self._lock:
            self._found.clear()

    def _by_id(self, image_id: str) -> str | None:
        if not _UUID.fullmatch(image_id):
            return None
        try:
            image = self._service.get(f"/images/{image_id}").json()
        except NotFound:
            return None
        return image_id if image.get("status") == "active" else None

    def _by_name(self, name: str) -> str | None:
        query = {"name": name, "status": "active", "sort": "created_at:desc", "limit": "1000"}
        pages = self._service.list("/images", "images", query)
        if not pages.complete:
            raise CloudUnavailable("image: the list of images could not be read to its end")
        ids = [image["id"] for image in pages.items if _is(image, name)]
        if len(ids) > 1:
            raise Rejected(f"image {name}: several active ones have this name, use an id: {', '.join(ids)}")
        return ids[0] if ids else None


def _is(image: Mapping[str, Any], name: str) -> bool:
    """Checked again here: a service that does not know a filter ignores it."""
    return image.get("name") == name and image.get("status") == "active"
