"""The sections of a survey: each a function that asks a cloud for one kind of fact, and makes nothing.

Each raises whatever its calls raise; what an odd answer does to it is a fault of its section, too.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from poolmgr.cloud.api import CloudInfo
from poolmgr.cloud.openstack.calls import IDENTITY
from poolmgr.cloud.openstack.compute import Compute
from poolmgr.cloud.openstack.discovery import TYPES, Discovery
from poolmgr.cloud.openstack.floating import NatPlan
from poolmgr.cloud.openstack.image import Images
from poolmgr.cloud.openstack.login import GIVEN_TOKENS
from poolmgr.cloud.openstack.network import Networks
from poolmgr.cloud.openstack.service import Service
from poolmgr.cloud.openstack.session import Session
from poolmgr.cloud.openstack.timestamps import epoch_of_http_date
from poolmgr.cloud.openstack.tls import host_of, tls_facts
from poolmgr.cloud.openstack.versions import Version, regions_in, root_of, version_in_path
from poolmgr.cloud.openstack.volumes import Volumes
from poolmgr.config.settings import CloudSettings
from poolmgr.errors import NotFound
from poolmgr.model.cloud_report import (
    ClockFacts,
    GroupFacts,
    KeyPairFacts,
    LoginFacts,
    ServiceFacts,
    TlsFacts,
    ZoneFacts,
)
from poolmgr.runtime.clock import Clock

log = logging.getLogger(__name__)

SSH = 22
EVERYWHERE = (None, "", "0.0.0.0/0", "::/0")


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What of a cloud's connection the survey uses. `service` makes a client of one; `unscoped` logs in anew."""

    settings: CloudSettings
    region: str | None
    reachable_v6: bool  # whether this machine has a way to the v6 internet
    clock: Clock
    session: Session
    discovery: Discovery
    service: Callable[[str], Service]
    compute: Compute
    networks: Networks
    plan: Callable[[], NatPlan]
    images: Images
    volumes: Volumes
    connect: Callable[[], CloudInfo]
    unscoped: Callable[[], Session]


Section = Callable[[Parts], Any]

SERVICES, QUOTAS = "services.", "quotas."  # sections of which each service has one


def _login(parts: Parts) -> LoginFacts:
    settings = parts.settings
    facts = LoginFacts(
        auth_type=settings.auth_type,
        auth_url=str(settings.auth.get("auth_url") or ""),
        renewable=settings.auth_type not in GIVEN_TOKENS,
    )
    access = parts.session.access()
    if access is None:
        return facts
    catalog = access.service_catalog.normalize_catalog() if access.has_service_catalog() else []
    return replace(
        facts,
        received_at=parts.clock.time(),
        user=access.username or "",
        user_id=access.user_id or "",
        project=access.project_name or "",
        project_id=access.project_id or "",
        domain=access.project_domain_name or "",
        roles=tuple(sorted(access.role_names or ())),
        issued_at=access.issued.timestamp() if access.issued else None,
        expires_at=access.expires.timestamp() if access.expires else None,
        regions=regions_in(catalog),
    )


def projects(parts: Parts) -> tuple[str, ...]:
    """Projects that the login may use: whoever may not use the one it names learns which (Identity API v3,
    "Get available project scopes")."""
    root = root_of(str(parts.settings.auth.get("auth_url") or ""))
    document = parts.unscoped().send(IDENTITY, "GET", f"{root}/v3/auth/projects").json()
    return tuple(sorted(str(project["name"]) for project in document.get("projects") or ()))


def _clock(parts: Parts) -> ClockFacts | None:
    """From the Date of a version document; None where there is none (uwsgi sends none, measured on Keystone Zed)."""
    url = str(parts.settings.auth.get("auth_url") or "")
    if not url:
        return None
    began = parts.clock.time()
    answer = parts.session.send(IDENTITY, "GET", url.rstrip("/") + "/", authenticated=False)
    ended = parts.clock.time()
    told = epoch_of_http_date(answer.headers.get("date", ""))
    if told is None:
        return None
    return ClockFacts(skew=skew(told, began, ended))


def skew(told: float, began: float, ended: float) -> float:
    """By how much a clock is ahead that told a time, in whole seconds, between `began` and `ended` of ours."""
    if began - 1.0 <= told <= ended:
        return 0.0
    return round(told + 0.5 - (began + ended) / 2, 1)


def _tls(parts: Parts) -> tuple[TlsFacts, ...]:
    """Of every host that we talk to, each once."""
    listed = (parts.discovery.listed(service) for service in TYPES)
    auth_url = str(parts.settings.auth.get("auth_url") or "")
    urls = [url for url in (auth_url, *(entry.url for entry in listed if entry)) if url]
    once = {host_of(url): url for url in urls}
    found = (tls_facts(parts.settings, url) for url in once.values())
    return tuple(facts for facts in found if facts is not None)


def _service(name: str) -> Section:
    def look(parts: Parts) -> ServiceFacts | None:
        endpoint = parts.discovery.find(name)
        listed = parts.discovery.listed(name)
        if endpoint is None or listed is None:
            return None
        offered = parts.discovery.offered(name)
        ranged = next((version for version in offered if version.maximum), None)
        return ServiceFacts(
            url=endpoint.url,
            catalog_url=listed.url if listed.type else None,
            type=listed.type,
            interface=listed.interface,
            region=listed.region,
            versions=tuple(_number(version.number) for version in offered),
            microversions=_range(ranged),
            microversion=endpoint.microversion,
        )

    return look


def _range(version: Version | None) -> tuple[str, str] | None:
    if version is None or version.minimum is None or version.maximum is None:
        return None
    return _number(version.minimum), _number(version.maximum)


def _number(pair: tuple[int, int]) -> str:
    return f"{pair[0]}.{pair[1]}"


def _extensions(parts: Parts) -> tuple[str, ...] | None:
    """Aliases of what the Network service can do (Networking API reference, "Extensions")."""
    if not parts.networks.present():
        return None
    try:
        found = parts.service("network").whole("/extensions", "extensions", {"fields": ["alias"]})
    except NotFound:
        return ()
    return tuple(sorted(str(raw["alias"]) for raw in found if raw.get("alias")))


def _groups(parts: Parts) -> tuple[GroupFacts, ...] | None:
    """The project's own security groups, whether they let SSH in."""
    if not parts.networks.present():
        return None
    project_id = parts.session.project_id()
    query = {"fields": ["id", "name", "project_id", "tenant_id", "security_group_rules"]}
    found = parts.service("network").whole("/security-groups", "security_groups", query)
    own = [raw for raw in found if (raw.get("project_id") or raw.get("tenant_id")) in (project_id, None)]
    return tuple(sorted((group_of(raw) for raw in own), key=lambda group: (group.name, group.id)))


def group_of(raw: Mapping[str, Any]) -> GroupFacts:
    rules = raw.get("security_group_rules")
    return GroupFacts(
        id=raw["id"],
        name=raw.get("name") or "",
        rules=len(rules or ()),
        ssh=None if rules is None else any(_lets_ssh_in(rule) for rule in rules),
    )


def _lets_ssh_in(rule: Mapping[str, Any]) -> bool:
    """Whether a rule is for TCP port 22 from anywhere (Networking API reference, "Security group rules")."""
    least, most = rule.get("port_range_min"), rule.get("port_range_max")
    return (
        rule.get("direction") == "ingress"
        and str(rule.get("protocol") or "any") in ("any", "tcp", "6", "0")
        and (least is None or least <= SSH)
        and (most is None or most >= SSH)
        and rule.get("remote_ip_prefix") in EVERYWHERE
        and not rule.get("remote_group_id")
        and not rule.get("remote_address_group_id")
    )


def _key_pairs(parts: Parts) -> tuple[KeyPairFacts, ...]:
    found = parts.service("compute").whole("/os-keypairs", "keypairs")
    pairs = [raw.get("keypair") or raw for raw in found]
    return tuple(
        KeyPairFacts(
            name=str(pair["name"]),
            type=str(pair.get("type") or "ssh"),
            fingerprint=str(pair.get("fingerprint") or ""),
        )
        for pair in pairs
    )


def _zones(parts: Parts) -> tuple[ZoneFacts, ...] | None:
    """All zones but nova's own; None where the cloud tells none."""
    document = parts.service("compute").told("/os-availability-zone")
    if document is None:
        return None
    zones = (
        ZoneFacts(
            name=str(raw["zoneName"]),
            available=(raw.get("zoneState") or {}).get("available") is not False,
        )
        for raw in document.get("availabilityZoneInfo") or ()
    )
    return tuple(sorted((zone for zone in zones if zone.name != "internal"), key=lambda zone: zone.name))


def _import_methods(parts: Parts) -> tuple[str, ...]:
    """What Glance's import can do; () where there is none."""
    endpoint = parts.discovery.find("image")
    version = version_in_path(endpoint.url) if endpoint else None
    if endpoint is None or (version and version[0] == 1):
        return ()
    return tuple(sorted(parts.images.v2.import_methods()))


#: Asked at once.
BEFORE_LOGIN: Mapping[str, Section] = {"login": _login, "clock": _clock}
#: Asked once there is a login.
AFTER_LOGIN: Mapping[str, Section] = {
    **{f"{SERVICES}{name}": _service(name) for name in TYPES},
    "tls": _tls,
    "extensions": _extensions,
    "topology": lambda parts: parts.networks.topology() if parts.networks.present() else None,
    "plan": lambda parts: parts.plan(),
    "security_groups": _groups,
    "key_pairs": _key_pairs,
    "flavors": lambda parts: parts.compute.flavors(),
    "zones": _zones,
    f"{QUOTAS}compute": lambda parts: parts.compute.quotas(),
    f"{QUOTAS}network": lambda parts: parts.networks.quotas() if parts.networks.present() else (),
    f"{QUOTAS}block-storage": lambda parts: parts.volumes.quotas() if parts.volumes.present() else (),
    "import_methods": _import_methods,
    "connect": lambda parts: parts.connect(),
}
