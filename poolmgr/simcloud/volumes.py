"""The volumes of a pretend cloud: made by a call or by a server that boots from one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from poolmgr.simcloud.faults import NO_TROUBLE, FaultKind, Trouble
from poolmgr.simcloud.quota import Quota
from poolmgr.simcloud.refusal import bad_request, cinder_quota, no_such
from poolmgr.simcloud.things import Volume
from poolmgr.simcloud.timeline import Timeline

_CREATE_SECONDS = 0.2
_DELETABLE = ("available", "error")


class Volumes:
    def __init__(self, *, quota: Quota, timeline: Timeline, new_id: Callable[[], str]) -> None:
        self.volumes: dict[str, Volume] = {}
        self._quota, self._timeline, self._new_id = quota, timeline, new_id
        self._slow: dict[str, float] = {}  # volumes that their server leaves behind -> seconds of `detaching`

    def used(self) -> dict[str, float]:
        return {
            "volumes": len(self.volumes),
            "gigabytes": sum(v.size_gib for v in self.volumes.values()),
        }

    def create(
        self,
        *,
        size_gib: int,
        metadata: Mapping[str, str] | None = None,
        foreign: bool = False,
        trouble: Trouble = NO_TROUBLE,
        **fields: Any,
    ) -> Volume:
        """A volume, `creating` for a moment unless a server boots from it; `fields` as in things.Volume.

        Raises Refusal.
        """
        if not foreign:
            self._check(size_gib)
        fresh = {"name": "", "status": "creating", **fields}
        volume = Volume(
            id=self._new_id(),
            size_gib=size_gib,
            created=self._timeline.time,
            metadata=dict(metadata or {}),
            foreign=foreign,
            **fresh,
        )
        self.volumes[volume.id] = volume
        if volume.status == "creating" and not trouble.of(FaultKind.STUCK_VOLUME):
            status = "error" if trouble.of(FaultKind.ERROR_VOLUME) else "available"
            self._timeline.after(_CREATE_SECONDS, lambda: self._step(volume.id, "creating", status=status))
        return volume

    def _check(self, size_gib: int) -> None:
        exceeded = self._quota.exceeded({"volumes": 1, "gigabytes": size_gib}, self.used())
        if "volumes" in exceeded:
            raise cinder_quota("Volume", exceeded["volumes"][2])
        if "gigabytes" in exceeded:
            raise cinder_quota("Gigabyte", exceeded["gigabytes"][2])

    def _step(self, volume_id: str, before: str, **changes: Any) -> None:
        """Change a volume that still has the status `before`."""
        volume = self.volumes.get(volume_id)
        if volume is not None and volume.status == before:
            self.update(volume_id, **changes)

    def update(self, volume_id: str, **changes: Any) -> Volume:
        self.volumes[volume_id] = replace(self.volume(volume_id), **changes)
        return self.volumes[volume_id]

    def add_metadata(self, volume_id: str, metadata: Mapping[str, str]) -> Volume:
        """What is named is written, what else is there stays."""
        return self.update(volume_id, metadata={**self.volume(volume_id).metadata, **metadata})

    # -- a server's side ---------------------------------------------------------------------------------

    def boot_volume(self, server_id: str, size_gib: int, volume_type: str = "") -> tuple[str, ...]:
        """The nameless volume that Nova makes for a server that boots from one; () for size 0."""
        if not size_gib:
            return ()
        made = self.create(
            size_gib=size_gib,
            server_id=server_id,
            status="in-use",
            bootable=True,
            volume_type=volume_type or "default",
        )
        return (made.id,)

    def attach(self, volume_id: str, server_id: str) -> Volume:
        """A volume that was there before becomes a server's. Raises Refusal."""
        self.check_attachable(volume_id)
        return self.update(volume_id, status="in-use", server_id=server_id)

    def check_attachable(self, volume_id: str) -> None:
        """Raises Refusal, in Nova's words."""
        volume = self.volumes.get(volume_id)
        if volume is None:
            raise bad_request(f"Block Device Mapping is Invalid: failed to get volume {volume_id}.")
        if volume.status != "available":
            raise bad_request(
                f"Invalid volume: volume {volume_id} status must be 'available'. "
                f"Currently in '{volume.status}' status"
            )

    def detach_slowly(self, volumes: Iterable[str], seconds: float) -> None:
        """Plan that these stay when their server goes, `detaching` for so long."""
        self._slow.update(dict.fromkeys(volumes, seconds))

    def release(self, volumes: Iterable[str], doomed: Iterable[str]) -> None:
        """Their server is gone: the doomed go with it, the others become available."""
        for volume_id in volumes:
            if volume_id not in self.volumes:
                continue
            slow = self._slow.pop(volume_id, None)
            if slow is not None:
                self.update(volume_id, status="detaching")
                self._detach_after(volume_id, slow)
            elif volume_id in doomed:
                del self.volumes[volume_id]
            else:
                self.update(volume_id, status="available", server_id=None)

    def _detach_after(self, volume_id: str, seconds: float) -> None:
        self._timeline.after(
            seconds, lambda: self._step(volume_id, "detaching", status="available", server_id=None)
        )

    # -- Cinder's side -----------------------------------------------------------------------------------

    def volume(self, volume_id: str) -> Volume:
        if volume_id not in self.volumes:
            raise no_such("volume", volume_id)
        return self.volumes[volume_id]

    def delete(self, volume_id: str, trouble: Trouble = NO_TROUBLE, *, force: bool = False) -> None:
        """Raises Refusal (400, as Cinder does) unless its status allows it, or, by `force`, no server has it."""
        volume = self.volume(volume_id)
        if volume.server_id is not None if force else volume.status not in _DELETABLE:
            raise bad_request(
                "Invalid volume: Volume status must be available or error or error_restoring or "
                "error_extending or error_managing and must not be migrating, attached, belong to a group, "
                "have snapshots, awaiting a transfer, or be disassociated from snapshots after volume transfer."
            )
        if trouble.of(FaultKind.ERROR_DELETE) or (trouble.of(FaultKind.UNFORCED_DELETE) and not force):
            self.update(volume_id, status="error_deleting")
        elif not trouble.of(FaultKind.IGNORED_DELETE):
            del self.volumes[volume_id]
