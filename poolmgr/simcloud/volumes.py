"""The volumes of a pretend cloud: made by a call or by a server that boots from one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from poolmgr.simcloud.quota import Quota
from poolmgr.simcloud.refusal import bad_request, cinder_quota, no_such
from poolmgr.simcloud.things import Volume
from poolmgr.simcloud.timeline import Timeline

_CREATE_SECONDS = 0.2


class Volumes:
    def __init__(self, *, quota: Quota, timeline: Timeline, new_id: Callable[[], str]) -> None:
        self.volumes: dict[str, Volume] = {}
        self._quota, self._timeline, self._new_id = quota, timeline, new_id

    def used(self) -> dict[str, float]:
        return {
            "volumes": len(self.volumes),
            "gigabytes": sum(v.size_gib for v in self.volumes.values()),
        }

    def create(
        self,
        *,
        name: str = "",
        size_gib: int,
        metadata: Mapping[str, str] | None = None,
        foreign: bool = False,
        server_id: str | None = None,
    ) -> Volume:
        """A volume, `creating` for a moment unless a server boots from it. Raises Refusal."""
        if not foreign:
            self._check(size_gib)
        volume = Volume(
            id=self._new_id(),
            name=name,
            size_gib=size_gib,
            status="in-use" if server_id else "creating",
            created=self._timeline.time,
            metadata=dict(metadata or {}),
            server_id=server_id,
            foreign=foreign,
        )
        self.volumes[volume.id] = volume
        if not server_id:
            self._timeline.after(_CREATE_SECONDS, lambda: self._ready(volume.id))
        return volume

    def _check(self, size_gib: int) -> None:
        exceeded = self._quota.exceeded({"volumes": 1, "gigabytes": size_gib}, self.used())
        if "volumes" in exceeded:
            raise cinder_quota("Volume", exceeded["volumes"][2])
        if "gigabytes" in exceeded:
            raise cinder_quota("Gigabyte", exceeded["gigabytes"][2])

    def _ready(self, volume_id: str) -> None:
        volume = self.volumes.get(volume_id)
        if volume is not None and volume.status == "creating":
            self.volumes[volume_id] = replace(volume, status="available")

    def boot_volume(self, server_id: str, size_gib: int) -> tuple[str, ...]:
        """The nameless volume that Nova makes for a server that boots from one; () for size 0."""
        if not size_gib:
            return ()
        return (self.create(size_gib=size_gib, server_id=server_id).id,)

    def release(self, volumes: Iterable[str], doomed: Iterable[str]) -> None:
        """Their server is gone: the doomed go with it, the others become available."""
        for volume_id in volumes:
            volume = self.volumes.get(volume_id)
            if volume is None:
                continue
            if volume_id in doomed:
                del self.volumes[volume_id]
            else:
                self.volumes[volume_id] = replace(volume, status="available", server_id=None)

    def volume(self, volume_id: str) -> Volume:
        if volume_id not in self.volumes:
            raise no_such("volume", volume_id)
        return self.volumes[volume_id]

    def add_metadata(self, volume_id: str, metadata: Mapping[str, str]) -> Volume:
        volume = self.volume(volume_id)
        changed = replace(volume, metadata={**volume.metadata, **metadata})
        self.volumes[volume_id] = changed
        return changed

    def delete(self, volume_id: str) -> None:
        volume = self.volume(volume_id)
        if volume.status == "in-use":
            raise bad_request(
                "Invalid volume: Volume status must be available or error or error_restoring or "
                "error_extending or error_managing and must not be migrating, attached, belong to a group, "
                "have snapshots, awaiting a transfer, or be disassociated from snapshots after volume transfer."
            )
        del self.volumes[volume_id]
