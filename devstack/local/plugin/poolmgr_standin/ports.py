"""Ports of variant `fake`: bound and up at once, as if an agent on the compute host had said so."""

from neutron_lib import constants
from neutron_lib.api.definitions import portbindings
from neutron_lib.plugins.ml2 import api


class StandinMechanismDriver(api.MechanismDriver):
    """An ML2 mechanism driver that binds each ordinary port, whatever its host, and reports it ACTIVE."""

    connectivity = portbindings.CONNECTIVITY_L2

    def initialize(self):
        pass

    def bind_port(self, context):
        if context.current.get(portbindings.VNIC_TYPE) not in (None, portbindings.VNIC_NORMAL):
            return
        for segment in context.segments_to_bind[:1]:
            context.set_binding(
                segment[api.ID],
                portbindings.VIF_TYPE_OTHER,
                {portbindings.CAP_PORT_FILTER: True},
                status=constants.PORT_STATUS_ACTIVE,
            )
