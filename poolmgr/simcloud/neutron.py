"""Neutron: networks, subnets, routers, ports, floating IPs, groups, quotas (Networking API reference v2.0)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from poolmgr.simcloud import neutron_view as view
from poolmgr.simcloud.envelope import next_query, refused
from poolmgr.simcloud.faults import FaultKind
from poolmgr.simcloud.refusal import Refusal, bad_request, neutron_quota, no_such
from poolmgr.simcloud.routes import Call, Handler, Route, empty, json_response
from poolmgr.simcloud.things import FloatingIp, Port
from poolmgr.simcloud.wire import Response

_KINDS = {
    400: "BadRequest",
    403: "Forbidden",
    404: "HTTPNotFound",
    409: "Conflict",
    500: "HTTPInternalServerError",
}
_NOT_FILTERS = {"fields", "limit", "marker", "sort_key", "sort_dir", "page_reverse"}


def refuse(refusal: Refusal) -> Response:
    if refusal.status in (401, 429, 503):
        error = {"code": refusal.status, "title": refusal.kind or "Error", "message": refusal.message}
        return refused(refusal, {"error": error})
    kind = refusal.kind or _KINDS.get(refusal.status, "HTTPInternalServerError")
    return refused(refusal, {"NeutronError": {"type": kind, "message": refusal.message, "detail": ""}})


def root(call: Call) -> Response:
    entry = {"id": "v2.0", "status": "CURRENT", "links": [{"rel": "self", "href": f"{call.base}/v2.0/"}]}
    return json_response({"versions": [entry]})


def version(call: Call) -> Response:
    names = ("networks", "subnets", "ports", "routers", "floatingips", "security-groups", "quotas")
    rows = [
        {"name": n, "collection": n, "links": [{"rel": "self", "href": f"{call.base}/v2.0/{n}"}]}
        for n in names
    ]
    return json_response({"resources": rows})


# -- lists -----------------------------------------------------------------------------------------------


def _lister(
    collection: str, read: Callable[[Call], Iterable[Any]], look: Callable[[Call, Any], Any]
) -> Handler:
    """A list with Neutron's filters (any attribute, several values are alternatives), fields and paging."""

    def answer(call: Call) -> Response:
        rows = [look(call, thing) for thing in read(call)]
        for name, values in call.query.items():
            if name not in _NOT_FILTERS:
                rows = [row for row in rows if _matches(row, name, values)]
        rows, more = _cut(call, rows)
        body: dict[str, Any] = {}
        if more:
            href = f"{call.base}/v2.0/{_path(collection)}?{next_query(call, rows[-1]['id'])}"
            body[f"{collection}_links"] = [{"rel": "next", "href": href}]
        if fields := call.query.get("fields"):
            names = {n for f in fields for n in f.split(",")}
            rows = [{name: value for name, value in row.items() if name in names} for row in rows]
        return json_response({collection: rows, **body})

    return answer


def _path(collection: str) -> str:
    return collection.replace("_", "-")


def _matches(row: Mapping[str, Any], name: str, values: list[str]) -> bool:
    if name == "fixed_ips":
        wanted = {v.partition("ip_address=")[2] for v in values}
        return any(f["ip_address"] in wanted for f in row.get("fixed_ips", ()))
    if name not in row:
        return True
    value = row[name]
    if isinstance(value, list):
        return any(v in value for v in values)
    shown = "" if value is None else str(value)
    return any(shown.lower() == v.lower() if isinstance(value, bool) else shown == v for v in values)


def _cut(call: Call, rows: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], bool]:
    """Paging: only where the client asks for it, or the operator caps it."""
    marker, limit = call.one("marker"), call.one("limit")
    if most := call.cloud.config.network_page_size:
        limit = str(min(most, int(limit) if limit and limit.isdigit() else most))
    if marker:
        ids = [row["id"] for row in rows]
        if marker not in ids:
            raise no_such("port", marker)
        rows = rows[ids.index(marker) + 1 :]
    if not limit:
        return rows, False
    if not limit.isdigit():
        raise bad_request(f"Invalid input for limit. '{limit}' is not an integer.")
    return rows[: int(limit)], 0 < int(limit) < len(rows)


def _shower(entity: str, find: Callable[[Call, str], Any], look: Callable[[Call, Any], Any]) -> Handler:
    def answer(call: Call) -> Response:
        return json_response({entity: look(call, find(call, call.params["id"]))})

    return answer


def _find(things: Mapping[str, Any], kind: str, thing_id: str) -> Any:
    if thing_id not in things:
        raise no_such(kind, thing_id)
    return things[thing_id]


def _ports(call: Call) -> Iterable[Port]:
    """Ports of one device are what clients ask for most: those are found without a look at all others."""
    devices, networking = call.query.get("device_id"), call.cloud.networking
    if devices is None or "" in devices:
        return networking.ports.values()
    return [port for device in devices for port in networking.ports_of(device)]


def _floating_ips(call: Call) -> Iterable[FloatingIp]:
    ports, networking = call.query.get("port_id"), call.cloud.networking
    if ports is None or "" in ports:
        return networking.floating_ips.values()
    return [floating for port in ports for floating in networking.floating_ips_on(port)]


# -- ports -----------------------------------------------------------------------------------------------


def create_port(call: Call) -> Response:
    if call.trouble.of(FaultKind.QUOTA):
        raise neutron_quota("port")
    given = call.entity("port")
    networking = call.cloud.networking
    fields: dict[str, Any] = {
        "name": str(given.get("name") or ""),
        "description": str(given.get("description") or ""),
        "device_id": str(given.get("device_id") or ""),
        "device_owner": str(given.get("device_owner") or ""),
    }
    if "security_groups" in given:
        groups = given["security_groups"] or ()
        network = networking.networks.get(str(given.get("network_id")))
        if groups and network and not network.port_security:
            message = "Port security must be enabled and port must have an IP address in order to use security groups."
            raise bad_request(message, "PortSecurityAndIPRequiredForSecurityGroups")
        fields["security_groups"] = tuple(_find(networking.groups, "security group", g).id for g in groups)
    port = networking.create_port(str(given.get("network_id")), **fields)
    return json_response({"port": view.port(call, port)}, 201)


def update_port(call: Call) -> Response:
    allowed = ("name", "description", "device_id", "device_owner")
    changes = {k: str(v or "") for k, v in call.entity("port").items() if k in allowed}
    port = call.cloud.networking.update_port(call.params["id"], **changes)
    return json_response({"port": view.port(call, port)})


def delete_port(call: Call) -> Response:
    call.cloud.networking.port(call.params["id"])
    if not call.trouble.of(FaultKind.IGNORED_DELETE):
        call.cloud.networking.delete_port(call.params["id"])
    return empty()


# -- floating IPs ----------------------------------------------------------------------------------------


def create_floating_ip(call: Call) -> Response:
    if call.trouble.of(FaultKind.QUOTA):
        raise neutron_quota("floatingip")
    given = call.entity("floatingip")
    floating = call.cloud.networking.create_floating_ip(
        str(given.get("floating_network_id")),
        port_id=given.get("port_id"),
        fixed_address=given.get("fixed_ip_address"),
        trouble=call.trouble,
        description=str(given.get("description") or ""),
    )
    return json_response({"floatingip": view.floating_ip(call, floating)}, 201)


def update_floating_ip(call: Call) -> Response:
    given, networking = call.entity("floatingip"), call.cloud.networking
    floating = networking.floating_ip(call.params["id"])
    if "port_id" in given:
        fixed = given.get("fixed_ip_address")
        floating = networking.bind(floating.id, given["port_id"], fixed, trouble=call.trouble)
    if "description" in given:
        floating = networking.update_floating_ip(floating.id, description=str(given["description"] or ""))
    return json_response({"floatingip": view.floating_ip(call, floating)})


def delete_floating_ip(call: Call) -> Response:
    call.cloud.networking.floating_ip(call.params["id"])
    if not call.trouble.of(FaultKind.IGNORED_DELETE):
        call.cloud.networking.delete_floating_ip(call.params["id"])
    return empty()


# -- security groups, tags, quotas -----------------------------------------------------------------------


def create_group(call: Call) -> Response:
    given = call.entity("security_group")
    group = call.cloud.networking.create_group(str(given.get("name")), str(given.get("description") or ""))
    return json_response({"security_group": view.group(call, group)}, 201)


def delete_group(call: Call) -> Response:
    call.cloud.networking.delete_group(call.params["id"])
    return empty()


def set_tags(call: Call) -> Response:
    """PUT of all tags of a port or floating IP."""
    networking, thing_id = call.cloud.networking, call.params["id"]
    tags = tuple(str(t) for t in (call.json or {}).get("tags", ()))
    if "/ports/" in call.request.path:
        networking.update_port(thing_id, tags=tags)
    else:
        networking.update_floating_ip(thing_id, tags=tags)
    return json_response({"tags": list(tags)})


_QUOTAS = {"port": "ports", "floatingip": "floating_ips", "security_group": "security_groups"}


def quotas(call: Call) -> Response:
    quota, used = call.cloud.quota, call.cloud.resources_used()
    limits = {name: int(quota.limit(ours)) for name, ours in _QUOTAS.items()}
    if not call.request.path.removesuffix(".json").endswith("/details"):
        return json_response({"quota": {**limits, "network": -1, "subnet": -1, "router": -1}})
    details = {
        name: {"limit": limits[name], "used": int(used[ours]), "reserved": 0}
        for name, ours in _QUOTAS.items()
    }
    return json_response({"quota": details})


def extensions(call: Call) -> Response:  # noqa: ARG001 - the same for every cloud
    aliases = (
        "router",
        "security-group",
        "quotas",
        "quota_details",
        "standard-attr-description",
        "external-net",
    )
    return json_response(
        {"extensions": [{"alias": a, "name": a, "description": "", "links": []} for a in aliases]}
    )


_TABLE: tuple[tuple[str, str, str, Handler], ...] = (
    ("GET", "/extensions", "extensions", extensions),
    (
        "GET",
        "/networks",
        "networks",
        _lister("networks", lambda c: c.cloud.networking.networks.values(), view.network),
    ),
    (
        "GET",
        "/networks/{id}",
        "network",
        _shower("network", lambda c, i: _find(c.cloud.networking.networks, "network", i), view.network),
    ),
    (
        "GET",
        "/subnets",
        "subnets",
        _lister("subnets", lambda c: c.cloud.networking.subnets.values(), view.subnet),
    ),
    (
        "GET",
        "/subnets/{id}",
        "subnet",
        _shower("subnet", lambda c, i: _find(c.cloud.networking.subnets, "subnet", i), view.subnet),
    ),
    (
        "GET",
        "/routers",
        "routers",
        _lister("routers", lambda c: c.cloud.networking.routers.values(), view.router),
    ),
    (
        "GET",
        "/routers/{id}",
        "router",
        _shower("router", lambda c, i: _find(c.cloud.networking.routers, "router", i), view.router),
    ),
    ("GET", "/ports", "ports", _lister("ports", _ports, view.port)),
    ("POST", "/ports", "ports", create_port),
    ("GET", "/ports/{id}", "port", _shower("port", lambda c, i: c.cloud.networking.port(i), view.port)),
    ("PUT", "/ports/{id}", "port", update_port),
    ("DELETE", "/ports/{id}", "port", delete_port),
    (
        "GET",
        "/floatingips",
        "floatingips",
        _lister("floatingips", _floating_ips, view.floating_ip),
    ),
    ("POST", "/floatingips", "floatingips", create_floating_ip),
    (
        "GET",
        "/floatingips/{id}",
        "floatingip",
        _shower("floatingip", lambda c, i: c.cloud.networking.floating_ip(i), view.floating_ip),
    ),
    ("PUT", "/floatingips/{id}", "floatingip", update_floating_ip),
    ("DELETE", "/floatingips/{id}", "floatingip", delete_floating_ip),
    (
        "GET",
        "/security-groups",
        "security-groups",
        _lister("security_groups", lambda c: c.cloud.networking.groups.values(), view.group),
    ),
    ("POST", "/security-groups", "security-groups", create_group),
    (
        "GET",
        "/security-groups/{id}",
        "security-group",
        _shower(
            "security_group", lambda c, i: _find(c.cloud.networking.groups, "security group", i), view.group
        ),
    ),
    ("DELETE", "/security-groups/{id}", "security-group", delete_group),
    ("GET", "/quotas/{project}", "quota", quotas),
    ("GET", "/quotas/{project}/details", "quota_details", quotas),
    ("GET", "/quotas/{project}/details.json", "quota_details", quotas),
)

ROUTES: tuple[Route, ...] = (
    *(Route(method=m, path=p, operation=o, handler=h) for m, p, o, h in _TABLE),
    Route(method="PUT", path="/ports/{id}/tags", operation="port_tag", handler=set_tags),
    Route(method="PUT", path="/floatingips/{id}/tags", operation="floatingip_tag", handler=set_tags),
)
