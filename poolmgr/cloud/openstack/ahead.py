"""What is made before a server, so that it bears the server's mark from its first moment (cloud.md 3.6, 3.14).

Ports with `port_mode: precreate`, the volume it boots from with `volume_mode: precreate`: a crash between any two calls
then leaves only what can be found. A create call that fails takes them with it; after one without an answer they stay,
since a server may have them. Nova never deletes such ports: for a server that is gone whoever deleted it does
(`Port.owner`). The volume goes with its server.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from poolmgr.cloud.openstack.floating import GuestPort
from poolmgr.cloud.openstack.network import Networks
from poolmgr.cloud.openstack.topology import Network
from poolmgr.cloud.openstack.volumes import Volumes
from poolmgr.errors import CloudError, CloudUnavailable, NoCapacity, NotFound, OutcomeUnknown, Rejected
from poolmgr.model.server import Owner, ServerSpec, owner_of_metadata
from poolmgr.runtime.clock import Clock

log = logging.getLogger(__name__)

FIRST_PAUSE = 1.0  # seconds, between looks at a volume that is filled from its image; doubles
LONGEST_PAUSE = 16.0
PATIENCE = 900.0


class Ahead:
    """What was made for one server. Whatever fails here, no server can have come of it."""

    def __init__(
        self,
        spec: ServerSpec,
        *,
        networks: Networks,
        volumes: Volumes,
        clock: Clock,
        closed: threading.Event,
    ) -> None:
        self._spec = spec
        self._networks = networks
        self._volumes = volumes
        self._clock = clock
        self._closed = closed
        self._volume_ids: list[str] = []
        self.ports: list[GuestPort] = []

    def port(self, network: Network, groups: Sequence[str]) -> dict[str, str]:
        """A port on `network`, as a create call names it."""
        tag = self._owner().tag()
        try:
            port = self._networks.create_port(
                network.id, tag=tag, groups=groups if network.port_security else ()
            )
        except OutcomeUnknown as error:
            self._delete_unanswered(tag)
            raise CloudUnavailable(str(error), request_id=error.request_id) from error
        self.ports.append(port)
        return {"port": port.id}

    def boot_volume(self, image_id: str) -> dict[str, Any]:
        """A volume of the image, once it is filled, as a create call names it. Raises NoCapacity if that fails."""
        owner, spec = self._owner(), self._spec
        try:
            volume_id = self._volumes.create(
                image_id, size_gib=spec.volume_gib, volume_type=spec.volume_type, owner=owner
            )
        except OutcomeUnknown as error:
            found = self._unanswered_volume(owner)  # one that is being filled cannot be deleted
            if found is None:
                raise CloudUnavailable(str(error), request_id=error.request_id) from error
            volume_id = found
        self._volume_ids.append(volume_id)
        self._wait_for(volume_id)
        return {
            "boot_index": 0,
            "uuid": volume_id,
            "source_type": "volume",
            "destination_type": "volume",
            "delete_on_termination": True,
        }

    def discard(self) -> None:
        """No server has them: delete them, as far as the cloud lets us."""
        _delete("port", (port.id for port in self.ports), self._networks.delete_port)
        _delete("volume", self._volume_ids, self._volumes.delete)

    def _owner(self) -> Owner:
        owner = owner_of_metadata(self._spec.metadata)
        if owner is None:
            raise Rejected(
                f"precreate: the metadata of {self._spec.name} names no owner, so what is made before it could not be "
                "told from others"
            )
        return owner

    def _delete_unanswered(self, tag: str) -> None:
        try:
            _delete("port", self._networks.unbound_ports(tag), self._networks.delete_port)
        except CloudError as error:
            log.warning("a port %s may be left behind for the janitor: %s", tag, error)

    def _unanswered_volume(self, owner: Owner) -> str | None:
        """The volume of a create call that was not answered, if it can be seen."""
        try:
            return next(iter(self._volumes.unattached(owner)), None)
        except CloudError as error:
            log.warning("a volume %s may be left behind for the janitor: %s", owner.tag(), error)
            return None

    def _wait_for(self, volume_id: str) -> None:
        until = self._clock.monotonic() + PATIENCE
        pause = FIRST_PAUSE
        while True:
            try:
                status = self._volumes.get(volume_id).status
            except NotFound as error:
                raise NoCapacity(f"volume {volume_id} vanished while it was made") from error
            if status == "available":
                return
            if status.startswith("error"):
                raise NoCapacity(f"volume {volume_id} is {status} instead of being filled from its image")
            if self._clock.monotonic() >= until:
                raise NoCapacity(f"volume {volume_id} is still {status} after {PATIENCE:.0f} s")
            self._clock.wait(self._closed, pause)
            pause = min(2 * pause, LONGEST_PAUSE)
            if self._closed.is_set():
                raise CloudUnavailable("the provider was stopped")


def _delete(kind: str, ids: Iterable[str], delete: Callable[[str], None]) -> None:
    for thing in ids:
        try:
            delete(thing)
        except CloudError as error:
            log.warning("%s %s is left behind for the janitor: %s", kind, thing, error)
