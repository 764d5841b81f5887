"""Floating IPs of the Network service (cloud.md 3.12).

One call allocates the address and binds it, so no other process can take it in between, and its description
names the owner, so a crash at any point leaves something that can be found. The cloud itself keeps it to one
floating IP per port: asked again, it refuses, and the one that is there is used.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

from poolmgr.cloud.openstack.errors import AlreadyBound, NoSuchApi
from poolmgr.cloud.openstack.floating import Bind, GuestPort, NatPlan, Refuse, nat_plan, port_for
from poolmgr.cloud.openstack.network import Networks
from poolmgr.config.settings import CloudSettings
from poolmgr.errors import CloudError, CloudUnavailable, NotFound, OutcomeUnknown, Rejected
from poolmgr.model.server import FloatingIp, Listing, Owner, Quota, Server
from poolmgr.model.trouble import Trouble

log = logging.getLogger(__name__)

KEPT = 10_000  # servers whose ports are remembered; for older ones the service is asked


class NeutronFloatingIps:
    """See `expose.FloatingIps`. It remembers ports that were made before their servers, which saves a call."""

    def __init__(self, settings: CloudSettings, networks: Networks) -> None:
        self._settings = settings
        self._networks = networks
        self._lock = threading.Lock()
        self._ports: dict[str, tuple[GuestPort, ...]] = {}  # by server id

    def plan(self) -> NatPlan:
        return nat_plan(self._settings, self._networks.topology())

    def learn_ports(self, server_id: str, ports: tuple[GuestPort, ...]) -> None:
        """`server_id` has these ports and no others."""
        with self._lock:
            self._ports[server_id] = ports
            if len(self._ports) > KEPT:
                self._ports.pop(next(iter(self._ports)))

    def ports_of(self, server_id: str) -> tuple[GuestPort, ...]:
        """As learnt; () if nothing was."""
        return self._ports.get(server_id, ())

    def give(self, server: Server, owner: Owner, bind: Bind) -> FloatingIp | None:
        port = self._port(server, bind)
        if port is None:
            return None
        addresses = server.addresses
        fixed = addresses.fixed_v4 if addresses.fixed_v4 in port.fixed_v4 else port.fixed_v4[0]
        try:
            made = self._networks.create_floating_ip(bind.source, port.id, fixed, owner.tag())
        except AlreadyBound:
            return self._adopted(port, owner)
        except NoSuchApi as error:
            raise Trouble.NO_FLOATING_IPS.error(
                Rejected, error.message, request_id=error.request_id
            ) from error
        except OutcomeUnknown:
            found = self._found(port, owner)
            if found is None:
                raise
            return found
        return self._confirmed(made, port, owner)

    def drop_caches(self) -> None:
        self._networks.drop_caches()

    def quotas(self) -> tuple[Quota, ...]:
        return ()  # among those of all that the Network service has

    def list(self) -> Listing[FloatingIp]:
        return self._networks.list_floating_ips()

    def delete(self, floating_ip_id: str) -> None:
        self._networks.delete_floating_ip(floating_ip_id)

    def release(self, server_id: str) -> None:
        """They bear their owner's tag, so they can be deleted later, and never hold up the server's deletion."""
        with self._lock:
            self._ports.pop(server_id, None)

    def _port(self, server: Server, bind: Bind) -> GuestPort | None:
        """The port to bind to; None if no port of the server can have one and none is required."""
        ports = self.ports_of(server.id) or self._networks.guest_ports(server.id)
        if not ports:
            raise NotFound(f"cloud {self._settings.name}: server {server.id} has no port (any more)")
        port = port_for(ports, bind, server.addresses, self._networks.topology())
        if isinstance(port, Refuse):
            raise port.error(Rejected, self._settings.name)
        if port is None and self._settings.requires_floating_ip:
            raise Rejected(
                f"cloud {self._settings.name}: no port of server {server.id} can have a floating IP"
            )
        return port

    def _confirmed(self, made: FloatingIp, port: GuestPort, owner: Owner) -> FloatingIp:
        """`made` if it is on the port, perhaps at a second look. Otherwise it is given up."""
        if made.id and made.port_id != port.id:
            made = self._seen_again(made)
        if made.port_id == port.id and made.address:
            log.info("floating IP %s (%s) bound for %s", made.address, made.id, owner.tag())
            return made
        self._give_up(made)
        raise CloudUnavailable(
            f"cloud {self._settings.name}: floating IP {made.id} was not bound to {port.id}"
        )

    def _seen_again(self, made: FloatingIp) -> FloatingIp:
        try:
            return self._networks.floating_ip(made.id)
        except CloudError as error:
            log.debug("cannot look at floating IP %s: %s", made.id, error)
            return made

    def _adopted(self, port: GuestPort, owner: Owner) -> FloatingIp:
        found = choice(self._networks.floating_ips_on(port.id), owner)
        if found is None:
            raise CloudUnavailable(f"cloud {self._settings.name}: port {port.id} was bound, and is not now")
        return found

    def _found(self, port: GuestPort, owner: Owner) -> FloatingIp | None:
        """What a create call that was not answered made, if it can be seen."""
        try:
            return choice(self._networks.floating_ips_on(port.id), owner)
        except CloudError as error:
            log.debug("cannot look for the floating IP: %s", error)
            return None

    def _give_up(self, made: FloatingIp) -> None:
        if not made.id:
            return
        try:
            self._networks.delete_floating_ip(made.id)
        except CloudError as error:
            log.warning("floating IP %s is left behind for the janitor: %s", made.id, error)


def choice(candidates: Sequence[FloatingIp], owner: Owner) -> FloatingIp | None:
    """Of the floating IPs on a port the owner's own, else any: the server can be reached by it all the same."""
    usable = [found for found in candidates if found.address]
    own = [found for found in usable if owner.same(found.owner)]
    return next(iter(own + usable), None)
