"""Making a server: names become ids, then one call makes it (cloud.md 3.3, 3.6).

With `port_mode: precreate` its ports come first, each with its owner's tag, so a crash between any two calls leaves
only what can be found. Nova never deletes such ports: a failed create does it here, and for a server that is gone
whoever deleted it (`Port.owner`). After a create call without an answer they stay, since a server may have them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from poolmgr.cloud.openstack.boot import create_body
from poolmgr.cloud.openstack.compute import Compute
from poolmgr.cloud.openstack.errors import StaleName, in_name_of
from poolmgr.cloud.openstack.floating import GuestPort
from poolmgr.cloud.openstack.image import Images
from poolmgr.cloud.openstack.network import Networks
from poolmgr.cloud.openstack.topology import Network, groups_for_all, networks_to_attach
from poolmgr.config.settings import CloudSettings, NetworkApi
from poolmgr.errors import CloudError, CloudUnavailable, ImageGone, NotFound, OutcomeUnknown, Rejected
from poolmgr.model.server import ServerSpec, owner_of_metadata
from poolmgr.model.trouble import Trouble

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Made:
    """A server that is being built. `ports` are those made for it in advance; () if nova makes them."""

    server_id: str
    ports: tuple[GuestPort, ...] = ()


class Creator:
    """Makes servers in one cloud."""

    def __init__(self, settings: CloudSettings, compute: Compute, networks: Networks, images: Images) -> None:
        self._settings = settings
        self._compute = compute
        self._networks = networks
        self._images = images

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
        groups = self._groups(spec)
        if not self._networks.present():
            networks = [{"uuid": name} for name in spec.networks]
            left_to_nova = "auto" if self._compute.microversion() else None
            return self._made(spec, image_id, networks or left_to_nova, groups)
        chosen = networks_to_attach(spec.networks, self._settings.networks, self._networks.topology())
        if self._settings.port_mode == "precreate":
            return self._create_with_ports(spec, image_id, chosen, groups)
        networks = [{"uuid": network.id} for network in chosen]
        return self._made(spec, image_id, networks, groups_for_all(chosen, groups))

    def _made(
        self,
        spec: ServerSpec,
        image_id: str,
        networks: Sequence[Mapping[str, str]] | str | None,
        groups: Sequence[str],
    ) -> Made:
        body = self._body(spec, image_id=image_id, networks=networks, groups=groups)
        return Made(server_id=self._compute.create(body))

    def _body(self, spec: ServerSpec, **more: Any) -> dict[str, Any]:
        microversion, items = self._compute.microversion(), self._compute.metadata_items
        return create_body(spec, microversion=microversion, metadata_items=items, **more)

    def _create_with_ports(
        self, spec: ServerSpec, image_id: str, chosen: Sequence[Network], groups: Sequence[str]
    ) -> Made:
        owner = owner_of_metadata(spec.metadata)
        if owner is None:
            raise Rejected(
                f"cloud {self._settings.name}: port_mode precreate: the metadata of {spec.name} names no owner, "
                "so its ports could not be told from others"
            )
        body = self._body(spec, image_id=image_id, networks=None, groups=())
        made: list[GuestPort] = []
        try:
            for network in chosen:
                made.append(self._port(network, owner.tag(), groups))  # noqa: PERF401 - those made count
            body["server"]["networks"] = [{"port": port.id} for port in made]
            return Made(server_id=self._compute.create(body), ports=tuple(made))
        except OutcomeUnknown:
            raise  # a server may have them
        except CloudError:
            self._delete_ports(port.id for port in made)
            raise

    def _port(self, network: Network, tag: str, groups: Sequence[str]) -> GuestPort:
        """A port of ours. Raises CloudUnavailable, not OutcomeUnknown: no server can have come of it."""
        try:
            return self._networks.create_port(
                network.id, tag=tag, groups=groups if network.port_security else ()
            )
        except OutcomeUnknown as error:
            try:
                self._delete_ports(self._networks.unbound_ports(tag))
            except CloudError as second:
                log.warning("a port %s may be left behind for the janitor: %s", tag, second)
            raise CloudUnavailable(str(error), request_id=error.request_id) from error

    def _delete_ports(self, port_ids: Iterable[str]) -> None:
        for port_id in port_ids:
            try:
                self._networks.delete_port(port_id)
            except CloudError as error:
                log.warning("port %s is left behind for the janitor: %s", port_id, error)

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
