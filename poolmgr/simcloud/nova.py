"""Nova: versions, flavors, limits, zones, key pairs, and the routes to the rest of it."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from poolmgr.simcloud import nova_create, nova_legacy, nova_servers
from poolmgr.simcloud.envelope import next_query, page, refused
from poolmgr.simcloud.nova_view import links
from poolmgr.simcloud.refusal import Refusal, bad_request, no_such
from poolmgr.simcloud.routes import Call, Handler, Route, empty, json_response
from poolmgr.simcloud.things import Flavor, Keypair
from poolmgr.simcloud.wire import Response

_KINDS = {
    400: "badRequest",
    403: "forbidden",
    404: "itemNotFound",
    405: "badMethod",
    409: "conflictingRequest",
    413: "overLimit",
    429: "overLimit",
    503: "serviceUnavailable",
}


def refuse(refusal: Refusal) -> Response:
    """Nova's envelope; of a missing token the middleware's."""
    if refusal.status == 401:
        error = {"code": 401, "title": "Unauthorized", "message": refusal.message}
        return refused(refusal, {"error": error})
    known = refusal.kind if refusal.kind in _KINDS.values() else ""
    kind = known or _KINDS.get(refusal.status, "computeFault")
    fault: dict[str, Any] = {"code": refusal.status, "message": refusal.message}
    if refusal.retry_after is not None:
        fault["retryAfter"] = str(int(refusal.retry_after))
    return refused(refusal, {kind: fault})


# -- versions --------------------------------------------------------------------------------------------


def _range(call: Call) -> tuple[str, str]:
    return call.cloud.shape.microversions or ("", "")


def _version(call: Call, name: str) -> dict[str, Any]:
    least, most = _range(call) if name == "v2.1" else ("", "")
    return {
        "id": "v2.1" if name == "v2.1" else "v2.0",
        "status": "CURRENT" if name == "v2.1" else "SUPPORTED",
        "version": most,
        "min_version": least,
        "updated": "2013-07-23T11:33:21Z",
        "links": [{"rel": "self", "href": f"{call.base}/{name}/"}],
    }


def root(call: Call) -> Response:
    return json_response({"versions": [_version(call, "v2"), _version(call, "v2.1")]})


def version(call: Call) -> Response:
    return json_response({"version": _version(call, "v2.1" if "v2.1" in call.request.path else "v2")})


def _numbers(text: str) -> tuple[int, int] | None:
    match = re.fullmatch(r"(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else None


def versioned(handler: Handler) -> Handler:
    """`handler` with the call's microversion read, checked and said in the answer."""

    def answer(call: Call) -> Response:
        headers = call.request.headers
        asked = headers.get("openstack-api-version", "").removeprefix("compute").strip()
        asked = asked or headers.get("x-openstack-nova-api-version", "")
        least, most = (_numbers(text) for text in _range(call))
        if least is None or most is None:
            return handler(call)  # a cloud without microversions ignores the header
        call.microversion, call.versioned = _chosen(asked, least, most), True
        response = handler(call)
        text = f"{call.microversion[0]}.{call.microversion[1]}"
        response.headers["OpenStack-API-Version"] = f"compute {text}"
        response.headers["X-OpenStack-Nova-API-Version"] = text
        response.headers["Vary"] = "OpenStack-API-Version, X-OpenStack-Nova-API-Version"
        return response

    return answer


def _chosen(asked: str, least: tuple[int, int], most: tuple[int, int]) -> tuple[int, int]:
    if not asked:
        return least
    if asked == "latest":
        return most
    number = _numbers(asked)
    if number is None:
        raise bad_request(
            f"API Version String {asked} is of invalid format. Must be of format MajorNum.MinorNum."
        )
    if not least <= number <= most:
        bounds = f"Minimum is {least[0]}.{least[1]} and maximum is {most[0]}.{most[1]}."
        raise Refusal(406, f"Version {asked} is not supported by the API. {bounds}", kind="computeFault")
    return number


# -- flavors, limits, zones ------------------------------------------------------------------------------


def _flavor(call: Call, flavor: Flavor) -> dict[str, Any]:
    return {
        "id": flavor.id,
        "name": flavor.name,
        "vcpus": flavor.vcpus,
        "ram": flavor.ram_mib,
        "disk": flavor.disk_gib,
        "swap": "" if call.microversion < (2, 75) else 0,
        "OS-FLV-EXT-DATA:ephemeral": 0,
        "OS-FLV-DISABLED:disabled": False,
        "os-flavor-access:is_public": True,
        "rxtx_factor": 1.0,
        "links": links(call.base, "flavors", flavor.id),
    }


def list_flavors(call: Call) -> Response:
    flavors, more = page(list(call.cloud.compute.flavors.values()), call, most=call.cloud.config.page_size)
    detailed = call.request.path.endswith("detail")
    shown = [_flavor(call, f) for f in flavors]
    if not detailed:
        shown = [{key: f[key] for key in ("id", "name", "links")} for f in shown]
    body: dict[str, Any] = {"flavors": shown}
    if more:
        path = "/flavors/detail" if detailed else "/flavors"
        href = f"{call.base}/v2.1{path}?{next_query(call, flavors[-1].id)}"
        body["flavors_links"] = [{"rel": "next", "href": href}]
    return json_response(body)


def show_flavor(call: Call) -> Response:
    flavor = call.cloud.compute.flavors.get(call.params["id"])
    if flavor is None:
        raise no_such("flavor", call.params["id"])
    return json_response({"flavor": _flavor(call, flavor)})


def limits(call: Call) -> Response:
    quota, used = call.cloud.quota, call.cloud.resources_used()
    absolute = {
        "maxTotalInstances": quota.limit("instances"),
        "maxTotalCores": quota.limit("cores"),
        "maxTotalRAMSize": quota.limit("ram"),
        "maxTotalKeypairs": 100,
        "maxServerMeta": 128,
        "maxImageMeta": 128,
        "maxServerGroups": 10,
        "maxServerGroupMembers": 10,
        "totalInstancesUsed": used["instances"],
        "totalCoresUsed": used["cores"],
        "totalRAMUsed": used["ram"],
        "totalServerGroupsUsed": 0,
    }
    if call.microversion < (2, 36):
        absolute |= {
            "maxTotalFloatingIps": quota.limit("floating_ips"),
            "totalFloatingIpsUsed": used["floating_ips"],
            "maxSecurityGroups": quota.limit("security_groups"),
            "totalSecurityGroupsUsed": used["security_groups"],
        }
    return json_response({"limits": {"rate": [], "absolute": {k: int(v) for k, v in absolute.items()}}})


def quota_set(call: Call) -> Response:
    quota, used = call.cloud.quota, call.cloud.resources_used()
    shown: dict[str, Any] = {"id": call.cloud.identity.credentials.project_id}
    for name in ("instances", "cores", "ram"):
        row = {"limit": int(quota.limit(name)), "in_use": int(used[name]), "reserved": 0}
        shown[name] = row if call.request.path.endswith("/detail") else row["limit"]
    return json_response({"quota_set": shown})


def zones(call: Call) -> Response:
    shown = [
        {
            "zoneName": name,
            "zoneState": {"available": name not in call.cloud.config.closed_zones},
            "hosts": None,
        }
        for name in call.cloud.compute.zones
    ]
    return json_response({"availabilityZoneInfo": shown})


# -- key pairs -------------------------------------------------------------------------------------------


def _keypair(keypair: Keypair) -> dict[str, Any]:
    return {"name": keypair.name, "public_key": keypair.public_key, "fingerprint": keypair.fingerprint}


def list_keypairs(call: Call) -> Response:
    return json_response(
        {"keypairs": [{"keypair": _keypair(k)} for k in call.cloud.compute.keypairs.values()]}
    )


def create_keypair(call: Call) -> Response:
    given = call.entity("keypair")
    name, key = str(given.get("name", "")), given.get("public_key")
    if not key:
        raise bad_request("Invalid input for field/attribute keypair. 'public_key' is a required property")
    fingerprint = hashlib.md5(str(key).encode(), usedforsecurity=False).hexdigest()
    made = call.cloud.compute.add_keypair(name, str(key), ":".join(re.findall("..", fingerprint)))
    return json_response({"keypair": _keypair(made)}, 201 if call.microversion >= (2, 2) else 200)


def show_keypair(call: Call) -> Response:
    keypair = call.cloud.compute.keypairs.get(call.params["name"])
    if keypair is None:
        raise no_such("keypair", call.params["name"])
    return json_response({"keypair": _keypair(keypair)})


def delete_keypair(call: Call) -> Response:
    if call.cloud.compute.keypairs.pop(call.params["name"], None) is None:
        raise no_such("keypair", call.params["name"])
    return empty(204 if call.microversion >= (2, 2) else 202)


_TABLE: tuple[tuple[str, str, str, Handler], ...] = (
    ("GET", "/servers/detail", "servers_detail", nova_servers.list_detail),
    ("GET", "/servers", "servers", nova_servers.list_brief),
    ("POST", "/servers", "servers", nova_create.create),
    ("GET", "/servers/{id}", "server", nova_servers.show),
    ("DELETE", "/servers/{id}", "server", nova_servers.delete),
    ("POST", "/servers/{id}/action", "server_action", nova_servers.action),
    ("GET", "/servers/{id}/os-interface", "server_os-interface", nova_servers.interfaces),
    ("GET", "/servers/{id}/metadata", "server_metadata", nova_servers.metadata),
    ("PUT", "/servers/{id}/metadata", "server_metadata", nova_servers.metadata),
    ("POST", "/servers/{id}/metadata", "server_metadata", nova_servers.metadata),
    ("GET", "/flavors/detail", "flavors_detail", list_flavors),
    ("GET", "/flavors", "flavors", list_flavors),
    ("GET", "/flavors/{id}", "flavor", show_flavor),
    ("GET", "/limits", "limits", limits),
    ("GET", "/os-quota-sets/{project}", "os-quota-set", quota_set),
    ("GET", "/os-quota-sets/{project}/detail", "os-quota-set_detail", quota_set),
    ("GET", "/os-availability-zone", "os-availability-zone", zones),
    ("GET", "/os-keypairs", "os-keypairs", list_keypairs),
    ("POST", "/os-keypairs", "os-keypairs", create_keypair),
    ("GET", "/os-keypairs/{name}", "os-keypair", show_keypair),
    ("DELETE", "/os-keypairs/{name}", "os-keypair", delete_keypair),
)

ROUTES: tuple[Route, ...] = tuple(
    Route(method=method, path=path, operation=operation, handler=versioned(handler))
    for method, path, operation, handler in (*_TABLE, *nova_legacy.TABLE)
)
