"""`/_sim/`: what is really in the pretend clouds, counted past their APIs, and the strings to pull.

GET    /_sim/                         counts of every cloud
GET    /_sim/<cloud>                  its counts
GET    /_sim/<cloud>/<kind>           servers, networks, ports, floating_ips, volumes, images, objects, keypairs,
                                      calls, faults
POST   /_sim/<cloud>/faults           add one fault, or a list of them (as in the file)
DELETE /_sim/<cloud>/faults           no more faults
POST   /_sim/<cloud>/quota            {"instances": 10, "ports": null}: null lifts the limit
GET    /_sim/<cloud>/traffic          {"most": calls of each service in its busiest second, "seconds": those of each}
GET    /_sim/<cloud>/settings         all settings of the cloud
POST   /_sim/<cloud>/settings         {"page-size": 2}: keys of the file that config.LIVE names
POST   /_sim/<cloud>/servers|ports|floating_ips|volumes|images   put one there that somebody else made
DELETE /_sim/<cloud>/servers/<id>     as if somebody deleted it
POST   /_sim/<cloud>/servers/<id>     {"status": "SHUTOFF"}: as if somebody did that to it
DELETE /_sim/<cloud>/tokens           all tokens are revoked
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

from poolmgr.errors import ConfigError
from poolmgr.simcloud.config import changed, fault_of
from poolmgr.simcloud.refusal import Refusal
from poolmgr.simcloud.things import Flavor
from poolmgr.simcloud.wire import Request, Response
from poolmgr.simcloud.world import SimCloud, World

Act = Callable[[SimCloud, Any, str], Any]


class State:
    """Answers what is asked below /_sim/. Its calls are not counted and have no faults."""

    def __init__(self, world: World) -> None:
        self._world = world

    def handle(self, request: Request) -> Response:
        parts = [*[p for p in request.path.split("/") if p][1:], "", "", ""]
        try:
            return _pretty(self._answer(request, *parts[:3]))
        except KeyError:
            return _pretty({"error": f"there is no {request.path}"}, 404)
        except (ValueError, TypeError, ConfigError, Refusal) as error:
            return _pretty({"error": str(error)}, 400)

    def _answer(self, request: Request, cloud_name: str, kind: str, thing_id: str) -> Any:
        if not cloud_name:
            return self._world.counts()
        cloud = self._world.clouds[cloud_name]
        if not kind:
            return self._world.counts()[cloud_name]
        with cloud.lock:
            cloud.timeline.settle()
            if request.method == "GET":
                return _listing(cloud, kind)
            body = json.loads(request.body) if request.body else {}
            return _ACTS[request.method, kind](cloud, body, thing_id)


def _listing(cloud: SimCloud, kind: str) -> Any:
    """The things of a kind as they are, or how often each operation was called."""
    if kind == "calls":
        return dict(cloud.calls)
    if kind == "faults":
        return cloud.faults.struck()
    if kind == "traffic":
        return {"most": cloud.traffic.most(), "seconds": cloud.traffic.by_second()}
    if kind == "settings":
        return _settings(cloud)
    if kind == "objects":
        return {name: sorted(objects) for name, objects in cloud.objects.containers.items()}
    return [_plain(thing) for thing in _things(cloud)[kind].values()]


def _things(cloud: SimCloud) -> Mapping[str, Mapping[str, Any]]:
    return {
        "servers": cloud.compute.servers,
        "keypairs": cloud.compute.keypairs,
        "networks": cloud.networking.networks,
        "ports": cloud.networking.ports,
        "floating_ips": cloud.networking.floating_ips,
        "volumes": cloud.volumes.volumes,
        "images": cloud.images.images,
    }


def _plain(thing: Any) -> dict[str, Any]:
    """All fields but the bytes."""
    plain = asdict(replace(thing, content=None) if hasattr(thing, "content") else thing)
    plain.pop("content", None)
    return plain


# -- acts ------------------------------------------------------------------------------------------------


def _add_faults(cloud: SimCloud, body: Any, thing_id: str) -> Any:  # noqa: ARG001 - every act's signature
    faults = [fault_of(f) for f in (body if isinstance(body, list) else [body])]
    for fault in faults:
        cloud.faults.add(fault)
    return {"added": len(faults)}


def _clear_faults(cloud: SimCloud, body: Any, thing_id: str) -> Any:  # noqa: ARG001
    cloud.faults.clear()
    return {}


def _set_quota(cloud: SimCloud, body: Any, thing_id: str) -> Any:  # noqa: ARG001
    cloud.quota.set(body)
    return cloud.quota.limits


def _configure(cloud: SimCloud, body: Any, thing_id: str) -> Any:  # noqa: ARG001
    cloud.configure(changed(cloud.config, body))
    return _settings(cloud)


def _settings(cloud: SimCloud) -> dict[str, Any]:
    return {key: value for key, value in asdict(cloud.config).items() if key != "password"}


def _server(cloud: SimCloud, body: Any, thing_id: str) -> Any:
    if thing_id:
        return _plain(cloud.compute.set_status(thing_id, str(body["status"])))
    given = body.get("flavor")
    flavor: Flavor | None = next((f for f in cloud.compute.flavors.values() if f.name == given), None)
    pluggable = [n.id for n in cloud.networking.networks.values() if n.pluggable]
    server = cloud.compute.put_foreign(
        name=str(body.get("name", "foreign")),
        metadata=body.get("metadata", {}),
        networks=pluggable,
        flavor=flavor,
    )
    return _plain(server)


def _delete_server(cloud: SimCloud, body: Any, thing_id: str) -> Any:  # noqa: ARG001
    cloud.compute.delete(thing_id)
    return {}


def _port(cloud: SimCloud, body: Any, thing_id: str) -> Any:  # noqa: ARG001
    network = cloud.networking.network_named(
        body.pop("network", None) or next(n.id for n in cloud.networking.networks.values() if n.pluggable)
    )
    return _plain(cloud.networking.create_port(network.id, foreign=True, **_fields(body)))


def _floating_ip(cloud: SimCloud, body: Any, thing_id: str) -> Any:  # noqa: ARG001
    network = next(n.id for n in cloud.networking.networks.values() if n.external and n.subnets)
    return _plain(cloud.networking.create_floating_ip(network, foreign=True, **_fields(body)))


def _volume(cloud: SimCloud, body: Any, thing_id: str) -> Any:  # noqa: ARG001
    made = cloud.volumes.create(
        name=str(body.get("name", "")),
        size_gib=int(body.get("size", 10)),
        metadata=body.get("metadata", {}),
        foreign=True,
    )
    return _plain(made)


def _image(cloud: SimCloud, body: Any, thing_id: str) -> Any:  # noqa: ARG001
    """An active image of the project, as if an upload had made it; `properties` as given."""
    made = cloud.images.put_ready(
        name=str(body["name"]),
        disk_format=str(body.get("format", cloud.shape.image_format)),
        min_disk=0,
        min_ram=0,
    )
    return _plain(cloud.images.update(made.id, mine=True, properties=body.get("properties", {})))


def _revoke_tokens(cloud: SimCloud, body: Any, thing_id: str) -> Any:  # noqa: ARG001
    cloud.identity.revoke_all()
    return {}


def _fields(body: Mapping[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in body.items()}


_ACTS: Mapping[tuple[str, str], Act] = {
    ("POST", "faults"): _add_faults,
    ("DELETE", "faults"): _clear_faults,
    ("POST", "quota"): _set_quota,
    ("POST", "settings"): _configure,
    ("POST", "servers"): _server,
    ("DELETE", "servers"): _delete_server,
    ("POST", "ports"): _port,
    ("POST", "floating_ips"): _floating_ip,
    ("POST", "volumes"): _volume,
    ("POST", "images"): _image,
    ("DELETE", "tokens"): _revoke_tokens,
}


def _pretty(body: Any, status: int = 200) -> Response:
    """JSON for people."""
    text = json.dumps(body, indent=1, sort_keys=True, default=str) + "\n"
    return Response(status=status, body=text.encode())
