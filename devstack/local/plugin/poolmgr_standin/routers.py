"""Floating IPs of variant `fake`: ACTIVE while they have a port, DOWN otherwise, as an L3 agent would report."""

from neutron.services.l3_router import l3_router_plugin
from neutron_lib import constants


class StandinL3Plugin(l3_router_plugin.L3RouterPlugin):
    """The stock router plugin, plus that report."""

    def create_floatingip(self, context, *args, **kwargs):
        return self._reported(context, super().create_floatingip(context, *args, **kwargs))

    def update_floatingip(self, context, *args, **kwargs):
        return self._reported(context, super().update_floatingip(context, *args, **kwargs))

    def disassociate_floatingips(self, context, port_id, *args, **kwargs):
        admin = context.elevated()
        held = self.get_floatingips(admin, filters={"port_id": [port_id]}, fields=["id"])
        result = super().disassociate_floatingips(context, port_id, *args, **kwargs)
        for floating_ip in held:
            self.update_floatingip_status(admin, floating_ip["id"], constants.FLOATINGIP_STATUS_DOWN)
        return result

    def _reported(self, context, floating_ip):
        wanted = constants.FLOATINGIP_STATUS_DOWN
        if floating_ip.get("port_id"):
            wanted = constants.FLOATINGIP_STATUS_ACTIVE
        if floating_ip.get("status") != wanted:
            self.update_floatingip_status(context.elevated(), floating_ip["id"], wanted)
            floating_ip["status"] = wanted
        return floating_ip
