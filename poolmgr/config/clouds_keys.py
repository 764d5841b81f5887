"""The keys of a cloud and of its networks, and what their values have to look like (cloud.md 1.5, 1.6).

YAML types are kept. Where the reference took texts for numbers or booleans, so do we, as long as nothing can be
misread; 2.60 for a microversion can, as YAML makes 2.6 of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import voluptuous as vol

from poolmgr.config.settings import NetworkApi
from poolmgr.config.shape import NAME, TEXT, Advice, ListOf, Section, Shape, Value, quoting_hint

#: The services we use by their key in CloudSettings.services, each with its prefixes, first the preferred.
SERVICES: dict[str, tuple[str, ...]] = {
    "compute": ("compute",),
    "image": ("image",),
    "network": ("network",),
    "block_storage": ("block_storage", "volumev3", "volumev2", "volume"),
    "object_store": ("object_store",),
    "identity": ("identity",),
}

#: The listings whose age `cache.expiration` may tell.
EXPIRATIONS = ("server", "port", "floating-ip")

# Other official services: their keys are right, and nothing to us.
_OTHER_SERVICES = (
    "accelerator", "alarm", "alarming", "application_catalog", "application_container", "backup",
    "baremetal", "baremetal_introspection", "clustering", "container", "container_infra",
    "container_infrastructure", "container_infrastructure_management", "data_processing", "data_protection",
    "database", "dns", "event", "function_engine", "instance_ha", "key_manager", "load_balancer",
    "messaging", "meter", "metering", "metric", "monitoring", "nfv_orchestration", "orchestration",
    "placement", "rating", "rdb", "reservation", "resource_cluster", "root_cause_analysis", "search",
    "shared_file_system", "share", "sharev2", "workflow", "workflowv2",
)  # fmt: skip

_UNQUOTED = "quote it: YAML cannot tell {0} from {0}0"


def _flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise vol.Invalid("no boolean")


def _number(value: Any) -> float:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError as error:
            raise vol.Invalid("no number") from error
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
        raise vol.Invalid("no positive number")
    return float(value)


def _whole(value: Any) -> int:
    number = _number(value)
    if number != int(number):
        raise vol.Invalid("no whole number")
    return int(number)


def _version(value: Any) -> str:
    """`2`, `"2.0"`, `3`, `v3`. Floats are written with one digit or two, and 2.10 is never one of them."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise vol.Invalid("no version")
    if isinstance(value, float) and value not in (1.0, 1.1, 2.0, 2.1, 3.0) and _may_lack_a_zero(value):
        raise Advice(_UNQUOTED.format(value))
    text = str(value).removeprefix("v")
    if not re.fullmatch(r"\d+(\.\d+)?", text):
        raise vol.Invalid("no version")
    return text


def _microversion(value: Any) -> str:
    if isinstance(value, float) and _may_lack_a_zero(value):
        raise Advice(_UNQUOTED.format(value))
    text = str(value)
    if isinstance(value, bool) or not re.fullmatch(r"\d+\.\d+", text):
        raise vol.Invalid("no microversion")
    return text


def _may_lack_a_zero(value: float) -> bool:
    return len(str(value).partition(".")[2]) == 1


def _interfaces(value: Any) -> tuple[str, ...]:
    """One or several, also in the spelling of the version 2 catalog: `publicURL`."""
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not names:
        raise vol.Invalid("no interfaces")
    short = tuple(str(name).removesuffix("URL") for name in names)
    if not set(short) <= {"public", "internal", "admin"}:
        raise vol.Invalid("no such interface")
    return short


def _network_api(value: Any) -> NetworkApi | None:
    """YAML's none is the text "none", its null is None: people write either."""
    if value is None or (isinstance(value, str) and value.lower() in ("none", "null", "")):
        return None
    if isinstance(value, str) and value.lower() in ("neutron", "nova"):
        return NetworkApi(value.lower())
    raise vol.Invalid("no such service")


def _per_service(value: Any, single: Any) -> dict[str, Any]:
    """What is said of each service; "" stands for all that are not named."""
    if not isinstance(value, dict):
        return {"": single(value)}
    return {str(name).replace("-", "_"): single(each) for name, each in value.items()}


def _properties(value: Any) -> dict[str, str]:
    """Image properties are texts: True becomes "True", as xenapi_use_agent wants it."""
    if not isinstance(value, dict) or not all(isinstance(each, (str, int, float)) for each in value.values()):
        raise vol.Invalid("no mapping of texts")
    return {str(name): str(each) for name, each in value.items()}


FLAG = Value(schema=_flag, allowed="true or false")
SECONDS = Value(schema=_number, allowed="seconds, more than 0")
VERSION = Value(schema=_version, allowed="a version like 2 or '2.1'")
MICROVERSION = Value(schema=_microversion, allowed="a microversion like '2.67'")
INTERFACES = Value(schema=_interfaces, allowed="public, internal, admin, or a list of these")
NETWORK_API = Value(schema=_network_api, allowed="neutron, nova, none")
RATES = Value(
    schema=lambda value: _per_service(value, _number),
    allowed="calls per second, for all services or by service",
)
CONCURRENCIES = Value(
    schema=lambda value: _per_service(value, _whole), allowed="parallel calls, for all services or by service"
)
PROPERTIES = Value(schema=_properties, allowed="a mapping of image properties to texts")
MAPPING = Value(schema={str: object}, allowed="a mapping")


def _one_of(*words: str) -> Value:
    return Value(schema=vol.In(words), allowed=", ".join(words))


#: Keys of a cloud besides those of single services. `auth` and `regions` are read before these.
KEYS: Mapping[str, Shape] = {
    "profile": NAME,
    "auth_type": Value(schema=vol.Any(str, None), allowed="the name of an authentication plugin"),
    "region_name": TEXT,
    "interface": INTERFACES,
    "verify": FLAG,
    "insecure": FLAG,
    "cacert": NAME,
    "cert": NAME,
    "key": NAME,
    "api_timeout": SECONDS,
    "image_format": NAME,
    "image_api_use_tasks": FLAG,
    "image_upload_method": _one_of("auto", "put", "import", "web-download", "tasks", "v1"),
    "image_content_may_change": FLAG,
    "disable_vendor_agent": PROPERTIES,
    "floating_ip_source": NETWORK_API,
    "requires_floating_ip": FLAG,
    "secgroup_source": NETWORK_API,
    "external_network": NAME,
    "internal_network": NAME,
    "use_external_network": FLAG,
    "use_internal_network": FLAG,
    "private": FLAG,
    "force_ipv4": FLAG,
    "prefer_ipv6": FLAG,
    "broken_ipv6": FLAG,
    "rate_limit": RATES,
    "concurrency": CONCURRENCIES,
    "metrics": MAPPING,
    "server_poll": _one_of("auto", "full", "incremental"),
    "port_mode": _one_of("nova", "precreate"),
    "volume_mode": _one_of("nova", "precreate"),
    "project_is_dedicated": FLAG,
    "allow_unrenewable_auth": FLAG,
}

#: Keys where null is a value; everywhere else it is the same as no key.
NULL_COUNTS = frozenset({"auth_type", "floating_ip_source", "secgroup_source"})

#: Keys that are right and do nothing here, with what is said about them; "" is nothing.
IGNORED: Mapping[str, str] = {
    "vendor_hook": "code of others is not loaded; the cloud is used without it",
    "connect_retries": "poolmgr decides by itself what may be repeated",
    "connect_retry_delay": "poolmgr decides by itself what may be repeated",
    "status_code_retries": "poolmgr decides by itself what may be repeated",
    "status_code_retry_delay": "poolmgr decides by itself what may be repeated",
    "default_microversion": "it says of no service what it is; write compute_default_microversion",
    "app_name": "",
    "app_version": "",
    "timeout": "",
}

_SERVICE_KEYS: Mapping[str, Shape] = {
    "api_version": VERSION,
    "default_microversion": MICROVERSION,
    "endpoint_override": NAME,
    "endpoint": NAME,
    "interface": INTERFACES,
    "service_type": NAME,
    "service_name": NAME,
}
_IGNORED_SERVICE_KEYS = tuple(key for key in IGNORED if "retr" in key)

#: Keys of single services: `compute_api_version`, `has_network`.
SERVICE_KEYS: Mapping[str, Shape] = {
    f"{prefix}_{key}": shape
    for prefixes in SERVICES.values()
    for prefix in prefixes
    for key, shape in _SERVICE_KEYS.items()
} | {f"has_{prefix}": FLAG for prefixes in SERVICES.values() for prefix in prefixes}

_FOREIGN_KEYS = frozenset(f"{service}_{key}" for service in _OTHER_SERVICES for key in _SERVICE_KEYS) | {
    f"has_{service}" for service in _OTHER_SERVICES
}


def reason_to_ignore(key: str) -> str | None:
    """Why a right key does nothing ("" needs no words); None for one that does something, or is not known."""
    if key in _FOREIGN_KEYS:
        return ""
    for ending in _IGNORED_SERVICE_KEYS:
        if key.endswith("_" + ending):
            return IGNORED[ending]
    return IGNORED.get(key)


NETWORK_FLAGS = (
    "routes_externally",
    "routes_ipv4_externally",
    "routes_ipv6_externally",
    "nat_source",
    "nat_destination",
    "default_interface",
)

NETWORKS = ListOf(
    what="networks",
    item=Section(
        what="network",
        keys={"name": NAME, **dict.fromkeys(NETWORK_FLAGS, FLAG)},
        required=frozenset({"name"}),
    ),
)


def secret_text(value: Any) -> str:
    """A hint for an option that YAML did not read as a text; it never shows the value."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return "quote it: YAML reads 0123 as 83, and 1e5 as a number"
    return quoting_hint(value)
