"""The administrator's view of a real cloud, by plain calls: what there is in all projects.

Written without poolmgr's cloud layer, so that a mistake there cannot hide what it left behind.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from keystoneauth1 import loading
from keystoneauth1.session import Session


def keystone_session(clouds_yaml: Path, cloud: str) -> Session:
    entry = yaml.safe_load(clouds_yaml.read_text())["clouds"][cloud]
    plugin = loading.get_plugin_loader("password").load_from_options(**entry["auth"])
    return Session(auth=plugin)


#: Where each kind of thing is deleted: (service, path).
WHERE = {
    "servers": ("compute", "/servers"),
    "floating_ips": ("network", "/v2.0/floatingips"),
    "ports": ("network", "/v2.0/ports"),
    "images": ("image", "/v2/images"),
    "volumes": ("volumev3", "/volumes"),
}


class Admin:
    """Counts what users have in a cloud."""

    def __init__(self, clouds_yaml: Path) -> None:
        self._session = keystone_session(clouds_yaml, "admin")
        self._services = {s["type"] for s in self._list("identity", "/services", "services", v3=True)}

    def left(self) -> Mapping[str, tuple[str, ...]]:
        """Ids of everything of users in all projects, by kind; the cloud's own things are not among them."""
        ports = self._list("network", "/v2.0/ports", "ports")
        images = self._list("image", "/v2/images?limit=1000", "images")
        found = {
            "servers": self._list("compute", "/servers/detail?all_tenants=1", "servers"),
            "floating_ips": self._list("network", "/v2.0/floatingips", "floatingips"),
            "ports": [port for port in ports if not port["device_owner"].startswith("network:")],
            "images": [image for image in images if image["visibility"] != "public"],
        }
        if "volumev3" in self._services or "block-storage" in self._services:
            found["volumes"] = self._list("volumev3", "/volumes/detail?all_tenants=1", "volumes")
        return {kind: tuple(sorted(thing["id"] for thing in things)) for kind, things in found.items()}

    def sweep(self) -> None:
        """Delete whatever a broken run has left. The projects belong to these tests alone (devstack/README.rst)."""
        deadline = time.monotonic() + 120
        while any(left := self.left().values()) and time.monotonic() < deadline:
            for kind, ids in self.left().items():
                service, path = WHERE[kind]
                for thing in ids:
                    self._session.delete(
                        f"{path}/{thing}",
                        endpoint_filter={"service_type": service, "interface": "public"},
                        raise_exc=False,
                    )
            time.sleep(2)
        assert not any(left), "the projects cannot be emptied"

    def _list(self, service: str, path: str, key: str, *, v3: bool = False) -> list[dict[str, Any]]:
        where: dict[str, Any] = {"service_type": service, "interface": "public"}
        if v3:
            where["version"] = (3, 0)
        return list(self._session.get(path, endpoint_filter=where).json()[key])


class Objects:
    """What a project has in the object store."""

    def __init__(self, clouds_yaml: Path, cloud: str) -> None:
        self._session = keystone_session(clouds_yaml, cloud)

    def sizes(self) -> Iterator[tuple[str, int]]:
        """(container/object, bytes) of all; a manifest is listed with the size of the whole."""
        where = {"service_type": "object-store", "interface": "public"}
        for container in self._session.get("?format=json", endpoint_filter=where).json():
            path = f"/{container['name']}?format=json"
            for thing in self._session.get(path, endpoint_filter=where).json():
                yield f"{container['name']}/{thing['name']}", thing["bytes"]
