"""Nova's servers: list, show, delete, actions (Compute API reference, "Servers"). nova_create.py makes them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from poolmgr.simcloud import nova_legacy
from poolmgr.simcloud.envelope import next_query, page, seconds_of
from poolmgr.simcloud.faults import FaultKind
from poolmgr.simcloud.nova_view import links, rendered, stub, without_fault
from poolmgr.simcloud.refusal import Refusal, bad_request
from poolmgr.simcloud.routes import Call, empty, json_response
from poolmgr.simcloud.things import Server
from poolmgr.simcloud.wire import Response

_FILTERS = {"limit", "marker", "changes-since", "changes-before", "status", "name", "tags", "sort_key"}
_FILTERS |= {
    "sort_dir",
    "deleted",
    "all_tenants",
    "image",
    "flavor",
    "uuid",
    "availability_zone",
    "ip",
    "ip6",
}
_STRICT_FILTERS = (2, 75)
_TAG_FILTERS = (2, 26)
_STUBS = (2, 69)


def list_detail(call: Call) -> Response:
    servers, more = _page(call)
    plain = call.cloud.config.fault_in_lists and not call.trouble.of(FaultKind.DOWN_CELL)
    look = _rendered if plain else _row
    return _list(call, servers, [look(call, s) for s in servers], more=more)


def list_brief(call: Call) -> Response:
    servers, more = _page(call)
    return _list(call, servers, [_brief(call, s) for s in servers], more=more)


def _row(call: Call, server: Server) -> bytes:
    if _unreachable(call, server):
        return json_response(stub(call.cloud, server, call.base, detailed=True)).body
    text = _rendered(call, server)
    if server.fault is not None and not call.cloud.config.fault_in_lists:
        return without_fault(text)
    return text


def _brief(call: Call, server: Server) -> bytes:
    if _unreachable(call, server):
        return json_response(stub(call.cloud, server, call.base, detailed=False)).body
    brief = {"id": server.id, "name": server.name, "links": links(call.base, "servers", server.id)}
    return json_response(brief).body


def _unreachable(call: Call, server: Server) -> bool:
    """Whether it is in a cell that is down now."""
    down = call.trouble.of(FaultKind.DOWN_CELL)
    return down is not None and down.message in ("", server.zone)


def _rendered(call: Call, server: Server) -> bytes:
    return rendered(call.cache, call.cloud, server, call.base, call.microversion)


def _list(call: Call, servers: Sequence[Server], rows: Sequence[bytes], *, more: bool) -> Response:
    body = b'{"servers":[' + b",".join(rows) + b"]"
    if more:
        path = "/servers/detail" if call.request.path.endswith("detail") else "/servers"
        href = f"{call.base}/v2.1{path}?{next_query(call, servers[-1].id)}"
        body += b',"servers_links":' + json_response([{"rel": "next", "href": href}]).body
    return Response(body=body + b"}")


def _page(call: Call) -> tuple[Sequence[Server], bool]:
    return page(_matching(call), call, most=call.cloud.config.page_size)


def _matching(call: Call) -> Sequence[Server]:
    """What the query asks for, newest first; with changes-since the deleted ones too."""
    compute = call.cloud.compute
    servers: Sequence[Server] = compute.list(call.trouble)
    if call.microversion < _STUBS and call.trouble.of(FaultKind.DOWN_CELL):
        servers = [s for s in servers if not _unreachable(call, s)]
    if not call.query:
        return servers
    if call.microversion >= _STRICT_FILTERS and (unknown := set(call.query) - _FILTERS):
        name = sorted(unknown)[0]
        message = f"Invalid input for query parameters {name}. Additional properties are not allowed"
        raise bad_request(message)
    if since := call.one("changes-since"):
        oldest = seconds_of(since)
        servers = [s for s in (*servers, *compute.deleted) if s.updated >= oldest]
    if status := call.one("status"):
        servers = [s for s in servers if s.status == status.upper()]
    if name_pattern := call.one("name"):
        servers = [s for s in servers if re.search(name_pattern, s.name)]
    if (tags := call.one("tags")) and call.microversion >= _TAG_FILTERS:
        servers = [s for s in servers if set(tags.split(",")) <= set(s.tags)]
    return servers


def show(call: Call) -> Response:
    server = call.cloud.compute.server(call.params["id"])
    if _unreachable(call, server):
        if call.microversion < _STUBS:
            raise Refusal(500, "Unexpected API Error.")
        return json_response({"server": stub(call.cloud, server, call.base, detailed=True)})
    return Response(body=b'{"server":' + _rendered(call, server) + b"}")


def delete(call: Call) -> Response:
    call.cloud.compute.delete(call.params["id"], call.trouble)
    return empty()


def metadata(call: Call) -> Response:
    server_id = call.params["id"]
    if call.request.method == "GET":
        return json_response({"metadata": dict(call.cloud.compute.server(server_id).metadata)})
    known = call.cloud.compute.server(server_id).metadata if call.request.method == "POST" else {}
    changed = call.cloud.compute.set_metadata(server_id, {**known, **call.entity("metadata")})
    return json_response({"metadata": dict(changed.metadata)})


def interfaces(call: Call) -> Response:
    """The ports of a server, as os-interface shows them."""
    call.cloud.compute.server(call.params["id"])
    shown = [
        {
            "port_id": port.id,
            "net_id": port.network_id,
            "mac_addr": port.mac,
            "port_state": port.status,
            "fixed_ips": [{"subnet_id": s, "ip_address": a} for s, a in port.fixed_ips],
        }
        for port in call.cloud.networking.ports_of(call.params["id"])
    ]
    return json_response({"interfaceAttachments": shown})


# -- actions ---------------------------------------------------------------------------------------------


def action(call: Call) -> Response:
    server_id, body = call.params["id"], call.json
    call.cloud.compute.server(server_id)
    name = next(iter(body), "") if isinstance(body, Mapping) else ""
    match name:
        case "os-getConsoleOutput":
            return json_response({"output": call.cloud.compute.console(server_id)})
        case "addFloatingIp" | "removeFloatingIp":
            return nova_legacy.bind(call, name, body[name] if isinstance(body[name], Mapping) else {})
        case "forceDelete":
            call.cloud.compute.delete(server_id, call.trouble, force=True)
        case "restore":
            call.cloud.compute.restore(server_id)
        case "os-stop" | "os-start":
            call.cloud.compute.set_status(server_id, "SHUTOFF" if name == "os-stop" else "ACTIVE")
        case _:
            raise bad_request(f"There is no such action: {name}")
    return empty(202)
