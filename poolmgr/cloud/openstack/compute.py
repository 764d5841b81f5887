"""Calls to the Compute service (Nova, API v2.1)."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from poolmgr.cloud.openstack.boot import METADATA_ITEMS, described
from poolmgr.cloud.openstack.cached import Cached
from poolmgr.cloud.openstack.errors import Forbidden
from poolmgr.cloud.openstack.gate import Timeouts
from poolmgr.cloud.openstack.paging import Pages
from poolmgr.cloud.openstack.quota import compute_quotas, limits_of
from poolmgr.cloud.openstack.servers import flavor_of, zones_of
from poolmgr.cloud.openstack.service import Service
from poolmgr.errors import CloudUnavailable, ConfigError, NotFound, OutcomeUnknown, Rejected
from poolmgr.model.resources import Resources
from poolmgr.model.server import Flavor, Quota
from poolmgr.model.trouble import Trouble
from poolmgr.runtime.clock import Clock

log = logging.getLogger(__name__)

CATALOG_TTL = 300.0  # seconds; flavors and zones
CONSOLE_LINES = 2000
CONSOLE_LIMIT = 1024 * 1024  # characters
CONSOLE_TIMEOUTS: Timeouts = (10.0, 10.0)

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


class Compute:
    """What we ask of the Compute service."""

    def __init__(self, service: Service, clock: Clock) -> None:
        self._service = service
        self._flavors = Cached(self._read_flavors, CATALOG_TTL, clock)
        self._zones = Cached(self._read_zones, CATALOG_TTL, clock)
        self.metadata_items = (
            METADATA_ITEMS  # how many a server may have, as the limits last said; below 0: any
        )

    def microversion(self) -> str | None:
        endpoint = self._service.endpoint()
        return endpoint.microversion if endpoint else None

    def limits(self) -> Resources:
        """See `Cloud.limits`."""
        return limits_of(self.quotas())

    def quotas(self) -> tuple[Quota, ...]:
        """Limits and use of instances, cores and ram; () where the cloud does not tell."""
        document = self._service.told("/limits") or {}
        absolute = (document.get("limits") or {}).get("absolute") or {}
        if isinstance(absolute.get("maxServerMeta"), int):
            self.metadata_items = absolute["maxServerMeta"]
        return compute_quotas(absolute)

    def flavors(self) -> tuple[Flavor, ...]:
        """All flavors by name, cached 5 minutes."""
        return tuple(self._flavors.get().values())

    def flavors_by_id(self) -> Mapping[str, Flavor]:
        """The same; the same mapping as long as the cache lives."""
        return self._flavors.get()

    def zones(self) -> tuple[str, ...]:
        """See `Cloud.zones`."""
        return self._zones.get()

    def drop_caches(self) -> None:
        self._flavors.drop()
        self._zones.drop()

    def create(self, body: Mapping[str, Any]) -> str:
        """POST a server; its id. Raises what errors.RULES say, OutcomeUnknown when there is no usable answer."""
        answer = self._service.post("/servers", body, about=described(body))
        server = (answer.document() or {}).get("server")
        if not isinstance(server, dict) or not server.get("id"):
            raise OutcomeUnknown(f"{answer.call}: {answer.status} without a server id")
        return str(server["id"])

    def servers(self, *, changes_since: str | None = None) -> Pages:
        """All servers of the project as nova shows them, or those changed or deleted since an ISO 8601 time."""
        query = {"changes-since": changes_since} if changes_since else None
        return self._service.list("/servers/detail", "servers", query)

    def server(self, server_id: str) -> dict[str, Any]:
        document = self._service.get(f"/servers/{server_id}").json()
        found = document.get("server")
        if not isinstance(found, dict) or "id" not in found:
            where = f"cloud {self._service.cloud}: compute: server {server_id}"
            raise CloudUnavailable(f"{where}: the answer has no server in it")
        return found

    def delete(self, server_id: str, *, at_once: bool = False) -> None:
        """Ask for deletion. A server that is gone is success. Raises Rejected while its state forbids it.

        `at_once`: whatever its state, and for good where the cloud keeps deleted servers for a while, and with them
        their quota (Compute API reference, "Force-Delete Server"), where it lets us.
        """
        try:
            if not (at_once and self._force_deleted(server_id)):
                self._service.delete(f"/servers/{server_id}")
        except NotFound:
            log.debug("server %s is gone already", server_id)

    def _force_deleted(self, server_id: str) -> bool:
        """Whether the cloud took it. Raises NotFound."""
        try:
            self._service.ask(f"/servers/{server_id}/action", {"forceDelete": None})
        except (Rejected, Forbidden) as error:
            log.debug("server %s cannot be deleted at once: %s", server_id, error)
            return False
        return True

    def mark(self, server_id: str, metadata: Mapping[str, str]) -> None:
        """Add to a server's metadata (Compute API reference, "Create or update metadata items")."""
        self._service.ask(f"/servers/{server_id}/metadata", {"metadata": dict(metadata)})

    def console(self, server_id: str) -> str:
        """See `Cloud.console`."""
        wanted = {"os-getConsoleOutput": {"length": CONSOLE_LINES}}
        try:
            answer = self._service.ask(f"/servers/{server_id}/action", wanted, timeouts=CONSOLE_TIMEOUTS)
        except (Rejected, NotFound, Forbidden) as error:  # 409 not ready, 404 gone, 501 no such thing
            log.debug("no console: %s", error)
            return ""
        return _CONTROL.sub("", str(answer.json().get("output") or ""))[-CONSOLE_LIMIT:]

    def import_key(self, name: str, public_key: str) -> None:
        """Make sure our login has a key pair `name` with this key.

        Key pairs belong to a user, not to a project. Raises ConfigError when `name` holds another key.
        """
        try:
            self._service.post("/os-keypairs", {"keypair": {"name": name, "public_key": public_key}})
        except (Rejected, OutcomeUnknown) as error:  # 409: there is one
            try:
                found = self._service.get(f"/os-keypairs/{quote(name, safe='')}").json().get("keypair") or {}
            except NotFound:
                raise error from None
            if str(found.get("public_key", "")).split()[:2] != public_key.split()[:2]:
                message = (
                    f"cloud {self._service.cloud}: key pair {name}: the login has another key of this name"
                )
                raise Trouble.KEY_PAIR_DIFFERS.error(ConfigError, message) from None

    def delete_key(self, name: str) -> None:
        """NotFound is success."""
        try:
            self._service.delete(f"/os-keypairs/{quote(name, safe='')}")
        except NotFound:
            log.debug("key pair %s is gone already", name)

    def _read_flavors(self) -> Mapping[str, Flavor]:
        found = self._service.whole("/flavors/detail", "flavors")
        flavors = sorted((flavor_of(raw) for raw in found), key=lambda f: (f.name, f.id))
        return {flavor.id: flavor for flavor in flavors}

    def _read_zones(self) -> tuple[str, ...]:
        document = self._service.told("/os-availability-zone") or {}
        return zones_of(document.get("availabilityZoneInfo") or [])
