"""Every key of a cloud that is in force, and who set it: what `poolmgr cloud config` prints.

Secrets are left out here, not where it is printed.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from typing import Any

from poolmgr.config.clouds_keys import SERVICES
from poolmgr.config.clouds_plugins import OPTIONS, SECRETS
from poolmgr.config.settings import CloudService, CloudSettings

HIDDEN = "<hidden>"
DEFAULT = "default"


@dataclass(frozen=True, kw_only=True)
class Effective:
    """A key as clouds.yaml has it, its value in force, and who set it: a file and line, a profile, ..."""

    key: str
    value: Any  # as JSON has it
    source: str


_SHOWN_APART = frozenset({"name", "auth", "services", "networks", "expiration", "origins"})

#: The keys of clouds.yaml that may have set a field of another name, the strongest first.
_SET_BY = {
    "verify": ("insecure", "verify"),
    "force_ipv4": ("force_ipv4", "prefer_ipv6", "broken_ipv6"),
    "networks": ("networks", "external_network", "internal_network"),
    "regions": ("regions", "region_name"),
}
_SHOWN_AS = {f"statsd_{name}": f"metrics.statsd.{name}" for name in ("host", "port", "prefix")}

#: The endings of the keys of clouds.yaml that may have set a field of CloudService.
_ENDINGS = {
    "interfaces": ("interface",),
    "endpoint_override": ("endpoint_override", "endpoint"),
    "default_microversion": ("default_microversion", "api_version"),
}
_ALWAYS_SHOWN = ("present", "interfaces")


def effective(settings: CloudSettings) -> tuple[Effective, ...]:
    """All keys in force. Of a service only what is said, and whether and where it is looked for."""
    return (
        *(_row(settings, f"auth.{key}", _shown(key, value)) for key, value in settings.auth.items()),
        *_plain(settings),
        *(row for service in SERVICES for row in _of_service(settings, service)),
        *_networks(settings),
        *(
            _row(settings, f"cache.expiration.{kind}", seconds, "cache")
            for kind, seconds in settings.expiration.items()
        ),
    )


def _row(settings: CloudSettings, key: str, value: Any, *set_by: str) -> Effective:
    source = next((settings.origins[name] for name in set_by or (key,) if name in settings.origins), DEFAULT)
    return Effective(key=key, value=_plain_value(value), source=source)


def _shown(key: str, value: Any) -> Any:
    """An option of a plugin that we do not know may be a secret."""
    return value if key in OPTIONS - SECRETS else HIDDEN


def _plain(settings: CloudSettings) -> Iterator[Effective]:
    for field in fields(settings):
        name = field.name
        if name in _SHOWN_APART:
            continue
        set_by = _SET_BY.get(name, (name,))
        if name == "requires_floating_ip" and settings.floating_ip_source is None:
            set_by = ("floating_ip_source",)
        yield _row(settings, _SHOWN_AS.get(name, name), getattr(settings, name), *set_by)


def _of_service(settings: CloudSettings, service: str) -> Iterator[Effective]:
    said = settings.service(service)
    for field in fields(CloudService):
        name, value = field.name, getattr(said, field.name)
        if value is None and name not in _ALWAYS_SHOWN:
            continue
        prefixes = SERVICES[service]
        if name == "present":
            yield _row(settings, f"has_{service}", value, *(f"has_{prefix}" for prefix in prefixes))
        elif name in ("rate_limit", "concurrency"):
            yield _row(settings, f"{name}.{service}", value, name)
        else:
            endings = _ENDINGS.get(name, (name,))
            set_by = [f"{prefix}_{ending}" for ending in endings for prefix in prefixes]
            yield _row(settings, f"{service}_{endings[0]}", value, *set_by, endings[0])


def _networks(settings: CloudSettings) -> Iterator[Effective]:
    for position, network in enumerate(settings.networks):
        flags = {key: value for key, value in asdict(network).items() if value}
        yield _row(settings, f"networks[{position}]", flags, *_SET_BY["networks"])


def _plain_value(value: Any) -> Any:
    if isinstance(value, enum.Enum):
        return value.value
    return list(value) if isinstance(value, tuple) else value
