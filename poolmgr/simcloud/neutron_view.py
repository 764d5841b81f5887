"""How Neutron shows its things (Networking API reference v2.0)."""

from __future__ import annotations

from typing import Any

from poolmgr.simcloud.envelope import timestamp
from poolmgr.simcloud.routes import Call
from poolmgr.simcloud.things import FloatingIp, Network, Port, Router, SecurityGroup, Subnet


def network(call: Call, network: Network) -> dict[str, Any]:
    return {
        "id": network.id,
        "name": network.name,
        "status": "ACTIVE",
        "admin_state_up": network.admin_state_up,
        "shared": network.shared,
        "router:external": network.external,
        "subnets": list(network.subnets),
        "port_security_enabled": network.port_security,
        "mtu": 1450,
        "description": "",
        "tags": [],
        "availability_zones": ["nova"],
        **({"provider:physical_network": network.physical} if network.physical else {}),
        **_tenant(call, mine=not (network.external or network.shared)),
    }


def subnet(call: Call, subnet: Subnet) -> dict[str, Any]:
    return {
        "id": subnet.id,
        "name": subnet.name,
        "network_id": subnet.network_id,
        "cidr": subnet.cidr,
        "ip_version": subnet.version,
        "gateway_ip": subnet.gateway,
        "enable_dhcp": subnet.version == 4,
        "ipv6_address_mode": None if subnet.version == 4 else "slaac",
        "ipv6_ra_mode": None if subnet.version == 4 else "slaac",
        "dns_nameservers": [],
        "host_routes": [],
        "tags": [],
        **_tenant(call),
    }


def router(call: Call, router: Router) -> dict[str, Any]:
    gateway = None
    if router.external_network_id is not None:
        gateway = {"network_id": router.external_network_id, "enable_snat": True, "external_fixed_ips": []}
    return {
        "id": router.id,
        "name": router.name,
        "status": "ACTIVE",
        "admin_state_up": True,
        "external_gateway_info": gateway,
        "routes": [],
        "tags": [],
        **_tenant(call),
    }


def port(call: Call, port: Port) -> dict[str, Any]:
    return {
        "id": port.id,
        "name": port.name,
        "network_id": port.network_id,
        "mac_address": port.mac,
        "fixed_ips": [{"subnet_id": s, "ip_address": a} for s, a in port.fixed_ips],
        "device_id": port.device_id,
        "device_owner": port.device_owner,
        "status": port.status,
        "admin_state_up": True,
        "security_groups": list(port.security_groups),
        "description": port.description,
        "tags": list(port.tags),
        "port_security_enabled": True,
        "binding:vnic_type": "normal",
        "created_at": timestamp(port.created),
        "updated_at": timestamp(port.created),
        **_tenant(call),
    }


def floating_ip(call: Call, floating: FloatingIp) -> dict[str, Any]:
    return {
        "id": floating.id,
        "floating_ip_address": floating.address,
        "floating_network_id": floating.network_id,
        "port_id": floating.port_id,
        "fixed_ip_address": floating.fixed_address,
        "router_id": floating.router_id,
        "status": floating.status,
        "description": floating.description,
        "tags": list(floating.tags),
        "port_details": None,
        "created_at": timestamp(floating.created),
        "updated_at": timestamp(floating.created),
        **_tenant(call),
    }


def group(call: Call, group: SecurityGroup) -> dict[str, Any]:
    return {
        "id": group.id,
        "name": group.name,
        "description": group.description,
        "security_group_rules": [_rule(group, way) for way in ("egress", "ingress")],
        "stateful": True,
        "tags": [],
        **_tenant(call),
    }


def _rule(group: SecurityGroup, direction: str) -> dict[str, Any]:
    """All groups let everything pass, as the guests of a pretend cloud can be reached from anywhere."""
    return {
        "id": f"{group.id}-{direction}",
        "security_group_id": group.id,
        "direction": direction,
        "ethertype": "IPv4",
        "protocol": None,
        "port_range_min": None,
        "port_range_max": None,
        "remote_ip_prefix": None,
        "remote_group_id": None,
    }


def _tenant(call: Call, *, mine: bool = True) -> dict[str, str]:
    project_id = call.cloud.identity.credentials.project_id if mine else "0" * 32
    return {"tenant_id": project_id, "project_id": project_id}
