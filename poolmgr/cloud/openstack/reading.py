"""How the servers of one cloud are read: with its networks and flavors as they are known at the moment."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from poolmgr.cloud.openstack.addresses import AddressRules, addresses_of, rules_for
from poolmgr.cloud.openstack.compute import Compute
from poolmgr.cloud.openstack.floating import GuestPort
from poolmgr.cloud.openstack.network import Networks
from poolmgr.cloud.openstack.servers import ServerReader, listed_by_ports
from poolmgr.cloud.openstack.topology import Topology
from poolmgr.cloud.openstack.versions import offers
from poolmgr.config.settings import CloudSettings
from poolmgr.errors import CloudError
from poolmgr.model.server import Addresses, Flavor

log = logging.getLogger(__name__)

FLAVORS_EMBEDDED_SINCE = (2, 47)  # a listing holds the flavor itself and not only its id
NO_FLAVORS: Mapping[str, Flavor] = {}


class Reading:
    """Reader and rules of one cloud: the same ones as long as what they hang on is the same."""

    def __init__(
        self, settings: CloudSettings, compute: Compute, networks: Networks, *, reachable_v6: bool
    ) -> None:
        self._settings = settings
        self._compute = compute
        self._networks = networks
        self.reachable_v6 = reachable_v6
        self._held_rules: tuple[Topology, AddressRules] | None = None
        self._held_reader: ServerReader | None = None

    def reader(self) -> ServerReader:
        """Never waits for the Network service if its networks were ever known."""
        rules, flavors = self.rules(), self._flavors()
        held = self._held_reader
        if held is None or held.rules is not rules or held.flavors is not flavors:
            held = self._held_reader = ServerReader(rules=rules, flavors=flavors)
        return held

    def rules(self) -> AddressRules:
        """How addresses are told apart."""
        topology = self._networks.known_topology()
        held = self._held_rules
        if held is None or held[0] is not topology:
            rules = rules_for(self._settings, topology, reachable_v6=self.reachable_v6)
            held = self._held_rules = (topology, rules)
        return held[1]

    def addresses_of(self, ports: Sequence[GuestPort]) -> Addresses:
        """The addresses of the server that has these ports."""
        networks = self._networks.known_topology().networks
        return addresses_of(listed_by_ports(ports, networks), self.rules())

    def _flavors(self) -> Mapping[str, Flavor]:
        """By id, where listings only name them; a list of servers without them is better than none."""
        if offers(self._compute.microversion(), FLAVORS_EMBEDDED_SINCE):
            return NO_FLAVORS
        try:
            return self._compute.flavors_by_id()
        except CloudError as error:
            log.warning("cloud %s: flavors are not known now: %s", self._settings.name, error)
            return NO_FLAVORS
