"""Where a provider's services are, and which version of each we speak (cloud.md 3.2).

Each service is looked up when first used and kept for a day; `forget` makes the next use look again. What the
operator's settings say wins over what is found.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass

from poolmgr.cloud.openstack.calls import ServiceMap
from poolmgr.cloud.openstack.session import Answer, Session
from poolmgr.cloud.openstack.versions import (
    Listed,
    Version,
    best_microversion,
    endpoint_in,
    interfaces_in,
    regions_in,
    root_of,
    version_in_path,
    versioned_url,
    versions_in,
    without_project,
)
from poolmgr.config.settings import CloudService, CloudSettings
from poolmgr.errors import AuthFailed, CloudError, CloudUnavailable, ConfigError
from poolmgr.model.trouble import Trouble
from poolmgr.runtime.clock import Clock

log = logging.getLogger(__name__)

TTL = 86400.0  # seconds

#: Names in catalogs, the official one first (service-types-authority.openstack.org), and the key of clouds.yaml.
TYPES = {
    "compute": ("compute",),
    "network": ("network", "networking"),
    "image": ("image",),
    "block-storage": ("block-storage", "volumev3", "block-store", "volume", "volumev2"),
    "object-store": ("object-store", "object-storage"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Endpoint:
    """A service's base URL without a trailing slash, and the microversion to send, None for none."""

    url: str
    microversion: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Entry:
    endpoint: Endpoint | None
    found_at: float  # monotonic


class Discovery:
    """Endpoints of one cloud and region; thread-safe."""

    def __init__(
        self,
        session: Session,
        settings: CloudSettings,
        region: str | None,
        services: ServiceMap,
        clock: Clock,
    ) -> None:
        self._session = session
        self._settings = settings
        self._region = region
        self._services = services
        self._clock = clock
        self._lock = threading.Lock()
        self._looking: dict[
            str, threading.Lock
        ] = {}  # one for each service: one that hangs holds up no other
        self._entries: dict[str, _Entry] = {}
        self._lowered: set[str] = set()

    def find(self, service: str) -> Endpoint | None:
        """Where `service` is, or None when the cloud has none of it.

        Raises ConfigError when the settings cannot be met, NotSupported for a version that we do not speak.
        """
        with self._lock:
            looking = self._looking.setdefault(service, threading.Lock())
        with looking:
            entry = self._entries.get(service)
            if entry is None or self._clock.monotonic() - entry.found_at > TTL:
                entry = self._entries[service] = self._refreshed(service, entry)
            return entry.endpoint

    def need(self, service: str) -> Endpoint:
        """As `find`, but a missing service is a ConfigError."""
        endpoint = self.find(service)
        if endpoint is None:
            raise self._missing(service)
        return endpoint

    def forget(self, service: str) -> None:
        """The endpoint answered as if it were not one."""
        with self._lock:
            self._entries.pop(service, None)

    def lower(self, service: str) -> bool:
        """Speak version 1 with the service from now on: version 2 is listed and not there. False: done before."""
        with self._lock:
            known = service in self._lowered
            self._lowered.add(service)
            self._entries.pop(service, None)
            return not known

    def offered(self, service: str) -> tuple[Version, ...]:
        """All versions that `service` lists, newest first; () where it lists none. Not cached: for people.

        Raises as `find`, and CloudUnavailable.
        """
        endpoint = self.find(service)
        if endpoint is None or service == "object-store":  # which has no version documents
            return ()
        root = root_of(endpoint.url)
        return self._versions(service, root) or self._versions(service, endpoint.url)

    def _refreshed(self, service: str, old: _Entry | None) -> _Entry:
        now = self._clock.monotonic()
        try:
            return _Entry(endpoint=self._look(service), found_at=now)
        except CloudUnavailable:
            if old is None:
                raise
            return _Entry(endpoint=old.endpoint, found_at=now)  # it worked yesterday: go on with it

    def _look(self, service: str) -> Endpoint | None:
        wanted = self._settings.service(service.replace("-", "_"))
        listed = self.listed(service)
        if listed is None:
            return None
        endpoint = self._versioned(service, wanted, listed.url)
        self._services.learn(endpoint.url, service)
        log.debug("cloud %s: %s is at %s, microversion %s", self._settings.name, service, *_words(endpoint))
        return endpoint

    def listed(self, service: str) -> Listed | None:
        """Where settings or catalog have `service`, before anything is asked of it; None if they have not.

        Raises ConfigError, AuthFailed.
        """
        wanted = self._settings.service(service.replace("-", "_"))
        if not wanted.present:
            return None
        if wanted.endpoint_override:
            return Listed(url=self._filled(wanted.endpoint_override).rstrip("/"))
        access = self._session.access()
        if access is None:
            url = self._session.plugin_endpoint()
            return Listed(url=url) if url else None
        if not access.has_service_catalog():
            message = f"cloud {self._settings.name}: {service}: the token has no catalog of services"
            raise Trouble.NO_PROJECT.error(AuthFailed, message)
        types = (wanted.service_type,) if wanted.service_type else TYPES[service]
        return endpoint_in(
            access.service_catalog.normalize_catalog(),
            types,
            name=wanted.service_name,
            interfaces=wanted.interfaces,
            region=self._region,
        )

    def _filled(self, override: str) -> str:
        if "%(" not in override:
            return override
        ids = {"project_id": self._session.project_id() or "", "user_id": self._session.user_id() or ""}
        ids["tenant_id"] = ids["project_id"]
        try:
            return override % ids
        except (KeyError, ValueError, TypeError) as error:
            message = f"cloud {self._settings.name}: endpoint override {override}: {error}"
            raise Trouble.BAD_OVERRIDE.error(ConfigError, message) from error

    def _versioned(self, service: str, wanted: CloudService, url: str) -> Endpoint:
        match service:
            case "compute":
                return self._compute(wanted, url)
            case "network":  # has had one version since 2013; its old releases have no version document
                bare = without_project(url, None)
                return Endpoint(url=bare if version_in_path(bare) else f"{bare}/v2.0")
            case "image":
                return self._image(wanted, url)
            case "block-storage":
                return self._block_storage(url)
        return Endpoint(url=url.rstrip("/"))

    def _compute(self, wanted: CloudService, url: str) -> Endpoint:
        project = self._project_in(url)
        bare = without_project(url, project)
        tail = f"/{project}" if bare != url.rstrip("/") else ""
        found = self._version_of_compute(bare, overridden=wanted.endpoint_override is not None)
        if found is not None:
            asked, version = found
            base = bare if version_in_path(bare) else versioned_url(asked, version)
            if wanted.endpoint_override is None and version_in_path(base) == (2, 0) and version.maximum:
                base = versioned_url(asked, version)  # an old catalog entry beside a newer service
            return Endpoint(url=base + tail, microversion=self._microversion(wanted, version))
        if wanted.default_microversion:
            message = (
                f"cloud {self._settings.name}: compute: microversion {wanted.default_microversion} is asked for, and "
                f"{bare} tells of none"
            )
            raise Trouble.MICROVERSION_NOT_OFFERED.error(ConfigError, message)
        return Endpoint(url=url.rstrip("/"))

    def _version_of_compute(self, bare: str, *, overridden: bool) -> tuple[str, Version] | None:
        """(URL of a version document, what it offers); one with microversions if there is any.

        An endpoint `/v2` tells only of itself, while the root tells of 2.1 too.
        """
        first = None
        for asked in dict.fromkeys([bare, root_of(bare)]):
            fit = [version for version in self._versions("compute", asked) if version.number[0] == 2]
            ranged = next((version for version in fit if version.maximum), None)
            if ranged is not None:
                return asked, ranged
            first = first or ((asked, fit[0]) if fit else None)
            if first is not None and overridden:
                return first
        return first

    def _microversion(self, wanted: CloudService, version: Version) -> str | None:
        asked = wanted.default_microversion
        try:
            return best_microversion(version.minimum, version.maximum, asked)
        except ValueError as error:
            message = f"cloud {self._settings.name}: compute: {error}"
            raise Trouble.MICROVERSION_NOT_OFFERED.error(ConfigError, message) from error

    def _image(self, wanted: CloudService, url: str) -> Endpoint:
        """What the root lists wins over the version in the catalog, which is often a leftover (cloud.md 3.2)."""
        bare = without_project(url, self._project_in(url))
        named = version_in_path(bare)
        if wanted.endpoint_override and named:
            return Endpoint(url=bare)
        forced = "1" if "image" in self._lowered else (wanted.api_version or "").split(".", maxsplit=1)[0]
        majors = (int(forced),) if forced in ("1", "2") else (2, 1)
        try:
            listed = self._versions("image", root_of(bare))
        except CloudUnavailable:
            if not named or named[0] != majors[0]:  # what the catalog says may not be the best there is
                raise
            return Endpoint(url=bare)
        for major in majors:
            fit = [version for version in listed if version.number[0] == major]
            if fit:
                return Endpoint(url=versioned_url(bare, fit[0]))
        if named and (not forced or named[0] in majors):
            return Endpoint(url=bare)  # the root cannot be read
        return Endpoint(url=f"{root_of(bare)}/v{majors[0]}")

    def _block_storage(self, url: str) -> Endpoint:
        """Version 3; of what we ask version 2 is the same. All releases take the project's id in the path."""
        named = version_in_path(url)
        if named and named[0] >= 2:
            return Endpoint(url=url.rstrip("/"))
        root = root_of(without_project(url, self._project_in(url)))
        fit = [version for version in self._versions("block-storage", root) if version.number[0] in (2, 3)]
        base = versioned_url(root, fit[0]) if fit else f"{root}/v3"
        return Endpoint(url=f"{base}/{self._session.project_id()}")

    def _project_in(self, url: str) -> str | None:
        """Our project's id if `url` may end in it; asks for it only then."""
        named = version_in_path(url)
        last = url.rstrip("/").rpartition("/")[2]
        return self._session.project_id() if named and not last.lower().startswith("v") else None

    def _versions(self, service: str, url: str) -> tuple[Version, ...]:
        """What the version document at `url` lists; () when there is none. Raises CloudUnavailable."""
        try:
            return versions_in(self._document(service, url + "/").document() or {})
        except CloudUnavailable:
            raise
        except CloudError as error:
            log.debug("cloud %s: no version document at %s: %s", self._settings.name, url, error)
            return ()

    def _document(self, service: str, url: str) -> Answer:
        """Asked without a token first: some services refuse one there, most need none."""
        try:
            return self._session.send(service, "GET", url, authenticated=False)
        except AuthFailed:
            return self._session.send(service, "GET", url)

    def _missing(self, service: str) -> ConfigError:
        """Why there is none."""
        wanted = self._settings.service(service.replace("-", "_"))
        where = f"cloud {self._settings.name}: no {service} service"
        if not wanted.present:
            message = f"{where}: has_{service.replace('-', '_')} is false"
            return Trouble.SERVICE_DENIED.error(ConfigError, message)
        access = self._session.access()
        if access is None:
            return Trouble.NO_CATALOG.error(ConfigError, f"{where}: this auth_type has no catalog")
        catalog = access.service_catalog.normalize_catalog()
        regions = regions_in(catalog)
        region = f" in region {self._region}" if self._region else ""
        if self._region and self._region not in regions:
            message = f"{where}{region} (regions of the catalog: {', '.join(regions) or 'none'})"
            return Trouble.REGION_UNKNOWN.error(ConfigError, message)
        types = (wanted.service_type,) if wanted.service_type else TYPES[service]
        interfaces = interfaces_in(catalog, types, region=self._region)
        has = f"the catalog has its {', '.join(interfaces)}" if interfaces else "not in the catalog"
        message = f"{where}{region} with interface {' or '.join(wanted.interfaces)} ({has})"
        return Trouble.SERVICE_MISSING.error(ConfigError, message)


def _words(endpoint: Endpoint) -> tuple[str, str]:
    return endpoint.url, endpoint.microversion or "none"
