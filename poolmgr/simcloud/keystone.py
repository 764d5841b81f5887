"""Keystone v3: tokens and the catalog (Identity API reference, "Authentication and token management")."""

from __future__ import annotations

from typing import Any

from poolmgr.simcloud.envelope import refused, timestamp
from poolmgr.simcloud.identity import Token
from poolmgr.simcloud.refusal import Refusal
from poolmgr.simcloud.routes import MOUNT, Call, Route, empty, json_response
from poolmgr.simcloud.wire import Response
from poolmgr.simcloud.world import SimCloud

_TITLES = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
}

#: (service of the shape, catalog type, catalog name, path below the cloud's URL)
_CATALOG = (
    ("identity", "identity", "keystone", "identity/v3"),
    ("compute", "compute", "nova", "compute/v2.1"),
    ("image", "image", "glance", "image"),
    ("network", "network", "neutron", "network"),
    ("volume", "volumev3", "cinderv3", "volume/v3/{project_id}"),
    ("volume", "block-storage", "cinder", "volume/v3/{project_id}"),
    ("object-store", "object-store", "swift", "object/v1/AUTH_{project_id}"),
)


def refuse(refusal: Refusal) -> Response:
    title = _TITLES.get(refusal.status, "Error")
    body = {"error": {"code": refusal.status, "message": refusal.message, "title": title}}
    return refused(refusal, body)


def root(call: Call) -> Response:
    """300 with all versions, as Keystone does."""
    return json_response({"versions": {"values": [_version(call)]}}, 300)


def version(call: Call) -> Response:
    return json_response({"version": _version(call)})


def _version(call: Call) -> dict[str, Any]:
    return {
        "id": "v3.14",
        "status": "stable",
        "updated": "2020-04-07T00:00:00Z",
        "links": [{"rel": "self", "href": f"{call.base}/v3/"}],
        "media-types": [{"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}],
    }


def log_in(call: Call) -> Response:
    token = call.cloud.identity.log_in(call.entity("auth"))
    body = {"token": _token(call, token)}
    return json_response(body, 201, {"X-Subject-Token": token.id, "Vary": "X-Auth-Token"})


def show_token(call: Call) -> Response:
    token = call.cloud.identity.token(call.request.headers.get("x-subject-token", ""))
    return json_response({"token": _token(call, token)}, 200, {"X-Subject-Token": token.id})


def revoke_token(call: Call) -> Response:
    call.cloud.identity.revoke(call.request.headers.get("x-subject-token"))
    return empty()


def _token(call: Call, token: Token) -> dict[str, Any]:
    mine = call.cloud.identity.credentials
    domain = {"id": mine.domain_id, "name": mine.domain}
    body = {
        "methods": [token.method],
        "user": {"id": mine.user_id, "name": mine.username, "domain": domain, "password_expires_at": None},
        "issued_at": timestamp(token.issued, micro=True),
        "expires_at": timestamp(token.expires, micro=True),
        "audit_ids": [token.id[:22]],
    }
    if not token.scoped:
        return body
    return {
        **body,
        "project": {"id": mine.project_id, "name": mine.project, "domain": domain},
        "is_domain": False,
        "roles": [{"id": "5fc1a1b2c3d4", "name": "member"}],
        "catalog": catalog(call.cloud, _url(call)),
    }


def catalog(cloud: SimCloud, url: str) -> list[dict[str, Any]]:
    """The services of all regions of the cloud; `url` is that of all clouds."""
    rows = []
    for service, kind, name, path in _CATALOG:
        endpoints = [
            {
                "id": f"{region.name}-{kind}-{interface}",
                "interface": interface,
                "region": region.config.region,
                "region_id": region.config.region,
                "url": address,
            }
            for region in cloud.regions
            if (address := _address(region, service, path, url))
            for interface in region.shape.interfaces
        ]
        if endpoints:
            rows.append({"id": f"{cloud.name}-{kind}", "type": kind, "name": name, "endpoints": endpoints})
    return rows


def _address(region: SimCloud, service: str, path: str, url: str) -> str | None:
    """Where the catalog says that a service is; None if it does not name it."""
    said = region.shape.catalog.get(service, path if service in region.shape.services else None)
    if said is None:
        return None
    home = region.regions[0] if service == "identity" else region
    said = said.replace("{project_id}", region.identity.credentials.project_id)
    return said if "://" in said else f"{url}/{MOUNT}{home.name}/{said}"


def _url(call: Call) -> str:
    """That of all clouds."""
    return call.base.removesuffix(f"/{MOUNT}{call.cloud.name}/identity")


def show_catalog(call: Call) -> Response:
    return json_response({"catalog": catalog(call.cloud, _url(call))})


def projects(call: Call) -> Response:
    """Those that the user has a role in."""
    mine = call.cloud.identity.credentials
    project = {"id": mine.project_id, "name": mine.project, "domain_id": mine.domain_id, "enabled": True}
    return json_response({"projects": [project], "links": {"next": None}})


ROUTES: tuple[Route, ...] = (
    Route(method="POST", path="/auth/tokens", operation="tokens", handler=log_in, open=True),
    Route(method="GET", path="/auth/tokens", operation="tokens", handler=show_token),
    Route(method="DELETE", path="/auth/tokens", operation="tokens", handler=revoke_token),
    Route(method="GET", path="/auth/catalog", operation="catalog", handler=show_catalog),
    Route(method="GET", path="/auth/projects", operation="projects", handler=projects),
)
