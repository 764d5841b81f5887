"""What a server takes of the Network service's quotas, before there is one: pure."""

from __future__ import annotations

from collections.abc import Sequence

from poolmgr.cloud.openstack.addresses import AddressRules
from poolmgr.cloud.openstack.floating import NatPlan
from poolmgr.cloud.openstack.netroles import Ground, floating_ip_need
from poolmgr.cloud.openstack.topology import Topology, networks_to_attach
from poolmgr.config.settings import CloudSettings
from poolmgr.errors import CloudError
from poolmgr.model.cloud_report import FloatingIpNeed
from poolmgr.model.resources import Resources


def network_price(
    asked: Sequence[str],
    settings: CloudSettings,
    topology: Topology | None,
    plan: NatPlan,
    rules: AddressRules,
) -> Resources:
    """See `Cloud.network_price`. `topology` None: there is no Network service, so ports are nobody's concern.

    Where networks cannot be chosen the price is empty: the create call will say what is wrong.
    """
    if topology is None:
        return {"floating-ips": 1} if plan.usable else {}
    try:
        networks = networks_to_attach(asked, settings.networks, topology)
    except CloudError:
        return {}
    ground = Ground(settings=settings, topology=topology, plan=plan, rules=rules)
    need, _ = floating_ip_need(networks, ground)
    floating = {"floating-ips": 1} if need is FloatingIpNeed.NEEDED else {}
    return {"ports": len(networks), **floating}
