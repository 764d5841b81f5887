"""The keys of a cloud and of its networks (cloud.md 1.5, 1.6): one table, from which the manual is made too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import voluptuous as vol

from poolmgr.config.clouds_values import (
    CONCURRENCIES,
    FLAG,
    INTERFACES,
    MAPPING,
    MICROVERSION,
    NETWORK_API,
    PROPERTIES,
    RATES,
    SECONDS,
    VERSION,
    one_of,
)
from poolmgr.config.shape import NAME, TEXT, ListOf, Section, Shape, Value

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


@dataclass(frozen=True, kw_only=True)
class Key:
    """A key of a cloud: what its value looks like, and what it means, for the manual; "" for old spellings."""

    shape: Shape
    meaning: str = ""


def _key(shape: Shape, meaning: str = "") -> Key:
    return Key(shape=shape, meaning=meaning)


#: Keys of a cloud besides those of single services. `auth`, `regions` and `networks` have readers of their own.
KEYS: Mapping[str, Key] = {
    "profile": _key(NAME, "The vendor profile that this cloud's keys lie over, or the vendor's URL."),
    "auth_type": _key(
        Value(schema=vol.Any(str, None), allowed="the name of an authentication plugin"),
        "How to log in: a plugin of keystoneauth. Its options are in ``auth``.",
    ),
    "region_name": _key(TEXT, "The region, when ``regions`` does not list several."),
    "interface": _key(INTERFACES, "Which endpoints of the catalog are used; several in order of preference."),
    "verify": _key(FLAG, "Whether certificates are verified. ``false`` beats ``cacert``."),
    "insecure": _key(FLAG),
    "cacert": _key(NAME, "File with the authorities that certificates are verified with."),
    "cert": _key(NAME, "File with a client certificate."),
    "key": _key(NAME, "File with its key, where that is not in the same file."),
    "api_timeout": _key(
        SECONDS, "Seconds to wait for an answer. Not set: 10 to connect, 60 between parts of an answer."
    ),
    "rate_limit": _key(RATES, "Calls per second, besides a provider's ``rate``."),
    "concurrency": _key(CONCURRENCIES, "Calls at the same time."),
    "image_format": _key(
        NAME, "The format that servers boot from; decides which file of a build is uploaded."
    ),
    "image_upload_method": _key(
        one_of("auto", "put", "import", "web-download", "tasks", "v1"), "How images get into the cloud."
    ),
    "image_api_use_tasks": _key(FLAG, "Images are imported from the object store by a task."),
    "image_content_may_change": _key(FLAG, "The cloud converts images: checksums are not compared."),
    "disable_vendor_agent": _key(PROPERTIES, "Properties for every image that is uploaded."),
    "floating_ip_source": _key(
        NETWORK_API, "The service that floating IPs come from; ``none``: the cloud has none."
    ),
    "requires_floating_ip": _key(
        FLAG, "Whether servers need a floating IP to be reached. Not set: found out from the networks."
    ),
    "secgroup_source": _key(NETWORK_API, "The service of the security groups; ``none``: the cloud has none."),
    "use_external_network": _key(
        FLAG, "``false``: no network is taken for external unless ``networks`` says so."
    ),
    "use_internal_network": _key(
        FLAG, "``false``: no network is taken for internal unless ``networks`` says so."
    ),
    "external_network": _key(NAME),
    "internal_network": _key(NAME),
    "private": _key(FLAG, "We run inside of the cloud: private addresses are used, floating IPs never made."),
    "force_ipv4": _key(FLAG, "IPv6 addresses are never used."),
    "prefer_ipv6": _key(FLAG),
    "broken_ipv6": _key(FLAG),
    "server_poll": _key(one_of("auto", "full", "incremental"), "How the list of servers is kept up to date."),
    "port_mode": _key(one_of("nova", "precreate"), "Who makes a server's ports."),
    "volume_mode": _key(one_of("nova", "precreate"), "Who makes the volume that a server boots from."),
    "project_is_dedicated": _key(
        FLAG, "Nobody else uses the project: leftovers without our mark are deleted too."
    ),
    "allow_unrenewable_auth": _key(FLAG, "A daemon may log in with what ends with its token."),
    "metrics": _key(
        MAPPING, "``statsd`` with ``host``, ``port`` and ``prefix``, for the metrics of the API calls."
    ),
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

#: Keys of single services, by their endings.
ENDINGS: Mapping[str, Key] = {
    "api_version": _key(
        VERSION, "Its major version; not set: the best that we can use. ``2.N`` of compute is a microversion."
    ),
    "default_microversion": _key(MICROVERSION, "The microversion of its calls; the cloud has to offer it."),
    "interface": _key(INTERFACES, "As ``interface``."),
    "endpoint_override": _key(
        NAME,
        "Its URL, without looking into the catalog. ``{region_name}``, ``%(project_id)s`` and ``%(user_id)s`` are "
        "filled in.",
    ),
    "endpoint": _key(NAME),
    "service_type": _key(NAME, "Its type in the catalog."),
    "service_name": _key(NAME, "Its name in the catalog, where a type is there twice."),
}
_IGNORED_SERVICE_KEYS = tuple(key for key in IGNORED if "retr" in key)

#: Keys of single services: `compute_api_version`, `has_network`.
SERVICE_KEYS: Mapping[str, Key] = {
    f"{prefix}_{ending}": key
    for prefixes in SERVICES.values()
    for prefix in prefixes
    for ending, key in ENDINGS.items()
} | {f"has_{prefix}": _key(FLAG) for prefixes in SERVICES.values() for prefix in prefixes}

_FOREIGN_KEYS = frozenset(f"{service}_{key}" for service in _OTHER_SERVICES for key in ENDINGS) | {
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
