"""Giving a server the floating IP it needs (cloud.md 3.12).

One call allocates the address and binds it, so no other process can take it in between, and its description
names the owner, so a crash at any point leaves something that can be found. The cloud itself keeps it to one
floating IP per port: asked again, it refuses, and the one that is there is used.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from poolmgr.cloud.openstack.addresses import AddressRules, with_floating
from poolmgr.cloud.openstack.errors import AlreadyBound
from poolmgr.cloud.openstack.floating import Bind, GuestPort, Leave, Refuse, decide, nat_plan, port_for
from poolmgr.cloud.openstack.network import Networks
from poolmgr.config.settings import CloudSettings, NetworkApi
from poolmgr.errors import CloudError, CloudUnavailable, NotFound, NotSupported, OutcomeUnknown, Rejected
from poolmgr.model.server import Addresses, FloatingIp, Owner, Server

log = logging.getLogger(__name__)


class Exposer:
    """Binds floating IPs, and remembers those that nova does not show yet. Thread-safe."""

    def __init__(
        self, settings: CloudSettings, networks: Networks, rules: Callable[[], AddressRules]
    ) -> None:
        self._settings = settings
        self._networks = networks
        self._rules = rules
        self._lock = threading.Lock()
        self._bound: dict[str, FloatingIp] = {}  # by server id

    def expose(self, server: Server, owner: Owner, *, auto: bool) -> Addresses:
        """See `Cloud.expose`."""
        addresses = server.addresses
        if addresses.floating_v4:
            self.forget_server(server.id)  # nova shows it by now
            return addresses
        known = self._bound.get(server.id)
        if known is not None:
            return with_floating(addresses, known.address, self._rules())
        refuse_nova(self._settings, addresses, auto=auto)
        topology = self._networks.topology()
        decision = decide(addresses, self._settings, nat_plan(self._settings, topology), auto=auto)
        match decision:
            case Leave(reason):
                log.debug("server %s gets no floating IP: %s", server.id, reason)
                return addresses
            case Refuse(message):
                raise Rejected(f"cloud {self._settings.name}: {message}")
        port = self._port(server, decision)
        if port is None:
            return addresses
        found = self._bind(decision.source, port, addresses, owner)
        with self._lock:
            self._bound[server.id] = found
        return with_floating(addresses, found.address, self._rules())

    def forget_server(self, server_id: str) -> None:
        with self._lock:
            self._bound.pop(server_id, None)

    def forget_floating_ip(self, floating_ip_id: str) -> None:
        with self._lock:
            self._bound = {s: fip for s, fip in self._bound.items() if fip.id != floating_ip_id}

    def _port(self, server: Server, decision: Bind) -> GuestPort | None:
        """The port to bind to; None if no port of the server can have one and none is required."""
        ports = self._networks.guest_ports(server.id)
        if not ports:
            raise NotFound(f"cloud {self._settings.name}: server {server.id} has no port (any more)")
        port = port_for(ports, decision, server.addresses, self._networks.topology())
        if isinstance(port, Refuse):
            raise Rejected(f"cloud {self._settings.name}: {port.message}")
        if port is None and self._settings.requires_floating_ip:
            raise Rejected(
                f"cloud {self._settings.name}: no port of server {server.id} can have a floating IP"
            )
        return port

    def _bind(self, source: str, port: GuestPort, addresses: Addresses, owner: Owner) -> FloatingIp:
        fixed = addresses.fixed_v4 if addresses.fixed_v4 in port.fixed_v4 else port.fixed_v4[0]
        try:
            made = self._networks.create_floating_ip(source, port.id, fixed, owner.tag())
        except AlreadyBound:
            return self._adopted(port, owner)
        except OutcomeUnknown:
            found = self._found(port, owner)
            if found is None:
                raise
            return found
        if made.port_id == port.id and made.address:
            log.info("floating IP %s (%s) bound for %s", made.address, made.id, owner.tag())
            return made
        self._give_up(made)
        raise CloudUnavailable(
            f"cloud {self._settings.name}: floating IP {made.id} was not bound to {port.id}"
        )

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
    own = [found for found in usable if found.owner and found.owner.tag() == owner.tag()]
    return next(iter(own + usable), None)


def refuse_nova(settings: CloudSettings, addresses: Addresses, *, auto: bool) -> None:
    """Raises NotSupported where a floating IP of nova's own kind would be needed, or might be."""
    wanted = (
        auto
        and settings.floating_ip_source is NetworkApi.NOVA
        and settings.requires_floating_ip is not False
        and not settings.private
        and not addresses.public_v4
        and addresses.fixed_v4
    )
    if wanted:
        raise NotSupported(
            f"cloud {settings.name}: floating IPs of the compute service are not supported yet; set "
            "requires_floating_ip: false if servers can be reached without, or auto-floating-ip: false"
        )
