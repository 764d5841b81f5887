"""Volumes straight on a pretend world."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from poolmgr.cloud.simulated.calls import Calls
from poolmgr.errors import Rejected
from poolmgr.model.server import Owner, Server, Volume, owner_of_metadata
from poolmgr.simcloud import world as sim


class SimulatedVolumes:
    """The Block Storage service of one pretend cloud, if it has one."""

    def __init__(self, cloud: sim.SimCloud, calls: Calls) -> None:
        self._cloud, self._calls = cloud, calls
        self.present = "volume" in cloud.shape.services

    def list(self) -> Mapping[str, Volume]:
        if not self.present:
            return {}
        known = self._calls.ask(
            "block-storage.GET.volumes_detail", lambda _: [*self._cloud.volumes.volumes.values()]
        )
        return {v.id: _volume(v) for v in known}

    def mark(self, server: Server, owner: Owner) -> None:
        """Write the owner on each volume of the server."""
        volumes = self._cloud.volumes

        def mark(volume_id: str, _: sim.Trouble) -> None:
            volumes.add_metadata(volume_id, owner.metadata())

        for volume_id in server.volumes:
            self._calls.ask("block-storage.POST.volume_metadata", partial(mark, volume_id), subject=volume_id)

    def delete(self, volume_id: str, *, force: bool = False) -> None:
        """By `force` if the cloud lets us; else as usual."""

        def delete(volume_id: str, trouble: sim.Trouble) -> None:
            self._cloud.volumes.volume(volume_id)
            if not trouble.of(sim.FaultKind.IGNORED_DELETE):
                self._cloud.volumes.delete(volume_id, trouble)

        def force_delete(volume_id: str, trouble: sim.Trouble) -> None:
            self._cloud.volumes.delete(volume_id, trouble, force=True)

        if force:
            try:
                self._calls.delete("block-storage.POST.volume_action", volume_id, force_delete)
                return
            except Rejected:
                pass
        self._calls.delete("block-storage.DELETE.volume", volume_id, delete)


def _volume(volume: sim.Volume) -> Volume:
    return Volume(
        id=volume.id,
        name=volume.name,
        status=volume.status,
        size_gib=volume.size_gib,
        server_ids=(volume.server_id,) if volume.server_id else (),
        owner=owner_of_metadata(volume.metadata),
        created_at=volume.created,
    )
