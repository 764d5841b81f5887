"""Making a server: names become ids, then one call makes it (cloud.md 3.3, 3.6).

Everything that can be judged before is judged before anything is made.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from poolmgr.cloud.openstack.ahead import Ahead
from poolmgr.cloud.openstack.boot import create_body
from poolmgr.cloud.openstack.compute import Compute
from poolmgr.cloud.openstack.errors import StaleName, in_name_of
from poolmgr.cloud.openstack.floating import GuestPort
from poolmgr.cloud.openstack.image import Images
from poolmgr.cloud.openstack.network import Networks
from poolmgr.cloud.openstack.topology import Network, groups_for_all, networks_to_attach
from poolmgr.cloud.openstack.volumes import Volumes
from poolmgr.config.settings import CloudSettings, NetworkApi
from poolmgr.errors import CloudError, ImageGone, NotFound, OutcomeUnknown, Rejected
from poolmgr.model.cloud_image import CloudImage
from poolmgr.model.server import ServerSpec
from poolmgr.model.trouble import Trouble
from poolmgr.runtime.clock import Clock

log = logging.getLogger(__name__)

GIB = 1 << 30


@dataclass(frozen=True, kw_only=True, slots=True)
class Made:
    """A server that is being built. `ports` are those made for it in advance; () if nova makes them."""

    server_id: str
    ports: tuple[GuestPort, ...] = ()


class Creator:
    """Makes servers in one cloud."""

    def __init__(
        self,
        settings: CloudSettings,
        compute: Compute,
        networks: Networks,
        images: Images,
        volumes: Volumes,
        *,
        clock: Clock,
        closed: threading.Event,
    ) -> None:
        self._settings = settings
        self._compute = compute
        self._networks = networks
        self._images = images
        self._volumes = volumes
        self._clock = clock
        self._closed = closed
        self._disk_needs: dict[str, int] = {}  # GiB by image id

    def create(self, spec: ServerSpec) -> Made:
        """See `Cloud.create_server`."""
        try:
            with in_name_of(self._settings.name):
                return self._create(spec)
        except (StaleName, NotFound, ImageGone) as error:
            if isinstance(error, ImageGone) and spec.image_is_id:
                raise
            log.info("cloud %s: create is tried again with fresh lists: %s", self._settings.name, error)
        self._drop_caches()  # a 4xx: nothing was made, so sending once more is safe
        try:
            with in_name_of(self._settings.name):
                return self._create(spec)
        except NotFound as error:
            raise Rejected(
                error.message, request_id=error.request_id, reason=error.reason, remedy=error.remedy
            ) from error

    def _create(self, spec: ServerSpec) -> Made:
        image_id = spec.image if spec.image_is_id else self._images.find(spec.image)
        if image_id is None:
            message = f"cloud {self._settings.name}: no active image {spec.image}"
            raise Trouble.IMAGE_UNKNOWN.error(Rejected, message)
        self._check_volume(spec, image_id)
        groups = self._groups(spec)
        chosen = self._chosen(spec)
        ports_ahead = chosen is not None and self._settings.port_mode == "precreate"
        volume_ahead = spec.boot_from_volume and self._settings.volume_mode == "precreate"
        body = create_body(
            replace(spec, volume_type=None) if volume_ahead else spec,
            image_id=image_id,
            networks=self._plugs(spec, chosen),
            groups=groups if chosen is None else () if ports_ahead else groups_for_all(chosen, groups),
            microversion=self._compute.microversion(),
            metadata_items=self._compute.metadata_items,
        )
        ahead = self._ahead(spec)
        try:
            if volume_ahead:
                body["server"]["block_device_mapping_v2"] = [ahead.boot_volume(image_id)]
            if ports_ahead and chosen is not None:
                body["server"]["networks"] = [ahead.port(network, groups) for network in chosen]
            return Made(server_id=self._compute.create(body), ports=tuple(ahead.ports))
        except OutcomeUnknown:
            raise  # a server may have what was made ahead
        except CloudError:
            ahead.discard()
            raise

    def _chosen(self, spec: ServerSpec) -> tuple[Network, ...] | None:
        """The networks it gets; None where there is no Network service to name them."""
        if not self._networks.present():
            return None
        return networks_to_attach(spec.networks, self._settings.networks, self._networks.topology())

    def _plugs(
        self, spec: ServerSpec, chosen: Sequence[Network] | None
    ) -> Sequence[Mapping[str, str]] | str | None:
        if chosen is not None:
            return [{"uuid": network.id} for network in chosen]
        named = [{"uuid": name} for name in spec.networks]
        return named or ("auto" if self._compute.microversion() else None)

    def _ahead(self, spec: ServerSpec) -> Ahead:
        return Ahead(
            spec, networks=self._networks, volumes=self._volumes, clock=self._clock, closed=self._closed
        )

    def _check_volume(self, spec: ServerSpec, image_id: str) -> None:
        """Raises Rejected if the image does not fit on the volume, ImageGone if it is not there."""
        if not spec.boot_from_volume:
            return
        needed = self._disk_needs.get(image_id)
        if needed is None:
            try:
                needed = self._disk_needs[image_id] = disk_need(self._images.get(image_id))
            except NotFound as error:
                raise Trouble.IMAGE_GONE.error(
                    ImageGone, error.message, request_id=error.request_id
                ) from error
            except CloudError as error:
                log.info(
                    "cloud %s: the size of image %s is not known: %s", self._settings.name, image_id, error
                )
                return
        if spec.volume_gib < needed:
            raise Rejected(
                f"cloud {self._settings.name}: image {image_id} needs a volume of {needed} GiB, volume-size is "
                f"{spec.volume_gib}"
            )

    def _groups(self, spec: ServerSpec) -> tuple[str, ...]:
        """Security groups as nova takes them: ids where neutron has them, names where nova does."""
        source = self._settings.secgroup_source
        if spec.security_groups and source is None:
            log.info("cloud %s: security groups are left out, the cloud has none", self._settings.name)
            return ()
        if source is NetworkApi.NEUTRON and self._networks.present():
            return self._networks.group_ids(spec.security_groups)
        return spec.security_groups

    def _drop_caches(self) -> None:
        self._compute.drop_caches()
        self._networks.drop_caches()
        self._images.drop_caches()


def disk_need(image: CloudImage) -> int:
    """GiB that a volume of the image must have at least (Block Storage API v3, "Create a volume")."""
    largest = max(image.size or 0, image.virtual_size or 0)
    return max(image.min_disk_gib, math.ceil(largest / GIB))
