"""What Nova had of networks before Neutron: floating IP pools and security groups (gone from microversion 2.36 on).

Compute API reference, "Floating IPs (DEPRECATED)"; binding is an action of the server, gone from 2.44 on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from poolmgr.simcloud.faults import FaultKind
from poolmgr.simcloud.refusal import Refusal, bad_request, no_such
from poolmgr.simcloud.routes import Call, Handler, empty, json_response
from poolmgr.simcloud.things import FloatingIp, Port
from poolmgr.simcloud.wire import Response


def _legacy(handler: Handler) -> Handler:
    """`handler` of an API that is gone from 2.36 on."""

    def answer(call: Call) -> Response:
        if call.microversion >= (2, 36):
            raise Refusal(404, "The resource could not be found.")
        return handler(call)

    return answer


def _floating_ip(call: Call, floating: FloatingIp) -> dict[str, Any]:
    networking = call.cloud.networking
    port = networking.ports.get(floating.port_id or "")
    return {
        "id": floating.id,
        "ip": floating.address,
        "pool": networking.networks[floating.network_id].name,
        "instance_id": (port.device_id or None) if port else None,
        "fixed_ip": floating.fixed_address,
    }


def list_floating_ips(call: Call) -> Response:
    shown = [_floating_ip(call, f) for f in call.cloud.networking.floating_ips.values()]
    return json_response({"floating_ips": shown})


def create_floating_ip(call: Call) -> Response:
    networking = call.cloud.networking
    pool = (call.json or {}).get("pool") if isinstance(call.json, Mapping) else None
    external = [n for n in networking.networks.values() if n.external and pool in (None, n.name, n.id)]
    if not external:
        raise Refusal(404, f"Floating IP pool {pool} not found.", kind="itemNotFound")
    if call.trouble.of(FaultKind.QUOTA):
        raise _quota()
    try:
        floating = networking.create_floating_ip(external[0].id)
    except Refusal as refusal:
        raise _in_novas_words(refusal, external[0].name) from refusal
    return json_response({"floating_ip": _floating_ip(call, floating)})


def _in_novas_words(refusal: Refusal, pool: str) -> Refusal:
    if refusal.kind == "OverQuota":
        return _quota()
    if refusal.kind == "ExternalIpAddressExhausted":
        return Refusal(404, f"No more floating IPs in pool {pool}.", kind="itemNotFound")
    return refusal


def _quota() -> Refusal:
    return Refusal(403, "Maximum number of floating IPs exceeded", kind="forbidden")


def show_floating_ip(call: Call) -> Response:
    floating = call.cloud.networking.floating_ip(call.params["id"])
    return json_response({"floating_ip": _floating_ip(call, floating)})


def delete_floating_ip(call: Call) -> Response:
    call.cloud.networking.floating_ip(call.params["id"])
    if not call.trouble.of(FaultKind.IGNORED_DELETE):
        call.cloud.networking.delete_floating_ip(call.params["id"])
    return empty(202)


def bind(call: Call, name: str, given: Mapping[str, Any]) -> Response:
    """addFloatingIp and removeFloatingIp. An address that another server has is taken from it, as Nova did."""
    if call.microversion >= (2, 44):
        raise Refusal(404, "The resource could not be found.")
    networking, address = call.cloud.networking, str(given.get("address"))
    floating = next((f for f in networking.floating_ips.values() if f.address == address), None)
    if floating is None:
        raise no_such("floating IP", address)
    if name == "removeFloatingIp":
        networking.bind(floating.id, None)
        return empty(202)
    port, fixed = _target(call, given.get("fixed_address"))
    networking.bind(floating.id, port.id, fixed, check_route=False)
    return empty(202)


def _target(call: Call, fixed: str | None) -> tuple[Port, str | None]:
    """The port of the server that has the address `fixed`, or its first one with an IPv4 address."""
    networking = call.cloud.networking
    for port in networking.ports_of(call.params["id"]):
        v4 = [a for s, a in port.fixed_ips if networking.subnets[s].version == 4]
        if v4 and fixed in (None, *v4):
            return port, fixed
    if fixed:
        raise bad_request("Specified fixed address not assigned to instance")
    raise bad_request("No fixed IPs associated to instance")


def floating_ip_pools(call: Call) -> Response:
    names = [n.name for n in call.cloud.networking.networks.values() if n.external]
    return json_response({"floating_ip_pools": [{"name": name} for name in names]})


def security_groups(call: Call) -> Response:
    shown = [
        {"id": g.id, "name": g.name, "description": g.description, "rules": []}
        for g in call.cloud.networking.groups.values()
    ]
    return json_response({"security_groups": shown})


TABLE: tuple[tuple[str, str, str, Handler], ...] = (
    ("GET", "/os-floating-ips", "os-floating-ips", _legacy(list_floating_ips)),
    ("POST", "/os-floating-ips", "os-floating-ips", _legacy(create_floating_ip)),
    ("GET", "/os-floating-ips/{id}", "os-floating-ip", _legacy(show_floating_ip)),
    ("DELETE", "/os-floating-ips/{id}", "os-floating-ip", _legacy(delete_floating_ip)),
    ("GET", "/os-floating-ip-pools", "os-floating-ip-pools", _legacy(floating_ip_pools)),
    ("GET", "/os-security-groups", "os-security-groups", _legacy(security_groups)),
)
