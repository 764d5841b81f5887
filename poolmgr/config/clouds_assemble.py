"""The merged keys of a cloud, checked and made into `CloudSettings`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from poolmgr.config.clouds_auth import Auth
from poolmgr.config.clouds_keys import (
    EXPIRATIONS,
    KEYS,
    NETWORKS,
    NULL_COUNTS,
    SERVICE_KEYS,
    SERVICES,
    reason_to_ignore,
)
from poolmgr.config.clouds_layers import Given, Layer
from poolmgr.config.clouds_plugins import OPTIONS
from poolmgr.config.clouds_regions import Region
from poolmgr.config.clouds_values import SECONDS
from poolmgr.config.problem import did_you_mean
from poolmgr.config.settings import CloudNetwork, CloudService, CloudSettings
from poolmgr.config.shape import NAME, PORT, WRONG, Part, Shape

_ALL_KEYS = (*KEYS, *SERVICE_KEYS, *OPTIONS, "auth", "regions", "networks")

#: Keys that are read elsewhere or by a function of their own below.
_APART = OPTIONS | {"regions", "networks", "cache"}

#: Keys that are fields of CloudSettings as they are.
_PLAIN = (
    "api_timeout", "use_external_network", "use_internal_network", "floating_ip_source", "secgroup_source",
    "private", "image_format", "image_api_use_tasks", "image_upload_method", "image_content_may_change",
    "disable_vendor_agent", "server_poll", "port_mode", "volume_mode", "project_is_dedicated", "profile",
)  # fmt: skip

_LONE_FLAGS = ("nat_source", "nat_destination", "default_interface")


@dataclass(frozen=True, kw_only=True)
class Target:
    """Which cloud's settings are being made, and what they depend on besides its keys."""

    name: str
    region: Region
    home: str  # what ~ stands for
    environ: Mapping[str, str]


def assemble(target: Target, layer: Layer, auth: Auth, defaults: Layer) -> CloudSettings:
    """The settings in `layer`; everything wrong is reported and left at its default.

    `defaults` is what the file says of all clouds.
    """
    merged = defaults.under(layer)
    values = {key: value for key, given in merged.keys.items() if (value := checked(key, given)) is not WRONG}
    options = {
        key: _expanded(given, target) if key == "auth_url" else given.value
        for key, given in auth.options.items()
    }
    statsd = _statsd(defaults.keys.get("metrics"), layer.keys.get("metrics"), target.environ)
    source_is_none = values.get("floating_ip_source", "neutron") is None
    return CloudSettings(
        name=target.name,
        auth_type=auth.type,
        auth=options,
        region_name=target.region.name,
        regions=tuple(target.region.known),
        **_tls(values, merged, target),
        services=_services(values, merged, target),
        networks=_networks(values, merged),
        requires_floating_ip=False if source_is_none else values.get("requires_floating_ip"),
        force_ipv4=_force_ipv4(values),
        **{key: values[key] for key in _PLAIN if key in values},
        expiration=_expiration(merged.keys.get("cache")),
        **{f"statsd_{name}": value for name, (value, _) in statsd.items()},
        origins=_origins(target, merged, auth) | {f"statsd_{name}": by for name, (_, by) in statsd.items()},
    )


def _origins(target: Target, merged: Layer, auth: Auth) -> dict[str, str]:
    """Who set each key, for those that say something."""
    origins = {
        key: given.origin
        for key, given in merged.keys.items()
        if given.value is not None or key in NULL_COUNTS
    }
    origins |= {f"auth.{key}": given.origin for key, given in auth.options.items()}
    return origins | ({"region_name": target.region.origin} if target.region.name else {})


def checked(key: str, given: Given) -> Any:
    """The value of a cloud's key as its shape returns it; WRONG when there is none to use, which is reported."""
    if key in _APART or (given.value is None and key not in NULL_COUNTS):
        return WRONG
    known = KEYS.get(key) or SERVICE_KEYS.get(key)
    if known is not None:
        return known.shape.check(given.value, given.spot)
    reason = reason_to_ignore(key)
    if reason is None:
        given.spot.doubt("unknown key", found="", hint=did_you_mean(key, _ALL_KEYS), key=True)
    elif reason:
        given.spot.warning("this key does nothing", found="", hint=reason, key=True)
    return WRONG


def _expanded(given: Given, target: Target) -> str:
    """`{region_name}` replaced, which is the only variable; other braces may be meant as they are."""
    text = str(given.value)
    if "{region_name}" in text and target.region.name is None:
        given.spot.error("{region_name} stands for the region, and this cloud names none")
    return text.replace("{region_name}", target.region.name or "")


def _tls(values: Mapping[str, Any], merged: Layer, target: Target) -> dict[str, Any]:
    verify = values.get("verify", True)
    if "insecure" in values:
        merged.keys["insecure"].spot.warning(
            "'insecure' is out of date", found="", hint="use 'verify'", key=True
        )
        verify = verify and not values["insecure"]
    if "cacert" in values and not verify:
        what = "certificates are not verified, so this is not used"
        merged.keys["cacert"].spot.warning(what, found="", key=True)
    if "key" in values and "cert" not in values:
        merged.keys["key"].spot.error("a client key without 'cert', its certificate", found="", key=True)
    wanted = [key for key in ("cacert", "cert", "key") if key in values and (verify or key != "cacert")]
    return {"verify": verify, **{key: _readable(merged.keys[key], values[key], target) for key in wanted}}


def _readable(given: Given, name: str, target: Target) -> str:
    path = target.home + name[1:] if name.startswith("~/") else name
    if not os.path.isfile(path):
        given.spot.error("there is no such file")
    elif not os.access(path, os.R_OK):
        given.spot.error("the file cannot be read by this user")
    return path


def _force_ipv4(values: Mapping[str, Any]) -> bool:
    old = not values.get("prefer_ipv6", True) or values.get("broken_ipv6", False)
    return bool(values.get("force_ipv4", old))


def _services(values: Mapping[str, Any], merged: Layer, target: Target) -> dict[str, CloudService]:
    return {service: _service(service, values, merged, target) for service in SERVICES}


def _service(service: str, values: Mapping[str, Any], merged: Layer, target: Target) -> CloudService:
    def key_of(*endings: str) -> str | None:
        """The key that speaks of this service, by its preferred name if several do."""
        keys = (f"{prefix}_{ending}" for ending in endings for prefix in SERVICES[service])
        return next((key for key in keys if key in values), None)

    def said(ending: str) -> Any:
        key = key_of(ending)
        return values[key] if key else None

    override = key_of("endpoint_override", "endpoint")
    version, microversion = _versions(
        service, said("api_version"), key_of("default_microversion"), values, merged
    )
    return CloudService(
        present=all(values.get(f"has_{prefix}", True) for prefix in SERVICES[service]),
        interfaces=said("interface") or values.get("interface") or ("public",),
        endpoint_override=_expanded(merged.keys[override], target) if override else None,
        api_version=version,
        default_microversion=microversion,
        service_type=said("service_type"),
        service_name=said("service_name"),
        rate_limit=_of_service(values.get("rate_limit", {}), service),
        concurrency=_of_service(values.get("concurrency", {}), service),
    )


def _versions(
    service: str, version: str | None, key: str | None, values: Mapping[str, Any], merged: Layer
) -> tuple[str | None, str | None]:
    """The major version and the microversion. Compute "2.53" is major 2 and asks for microversion 2.53."""
    microversion = values[key] if key else None
    major, _, minor = (version or "").partition(".")
    if service != "compute" or not minor or minor == "0":
        return version, microversion
    if key and microversion != version:
        merged.keys[key].spot.error(f"compute_api_version asks for microversion {version} already")
    return major, version


def _of_service(by_service: Mapping[str, Any], service: str) -> Any:
    names = (*SERVICES[service], "")
    return next((by_service[name] for name in names if name in by_service), None)


def _networks(values: Mapping[str, Any], merged: Layer) -> tuple[CloudNetwork, ...]:
    given = merged.keys.get("networks")
    if given is None or given.value in (None, []):
        return tuple(_old_networks(values, merged))
    for key in ("external_network", "internal_network"):
        if key in values:
            merged.keys[key].spot.error("cannot stand beside 'networks'", found="", key=True)
    parts = NETWORKS.check(given.value, given.spot)
    if parts is WRONG:
        return ()
    _refuse_doubles(parts)
    return tuple(_network(part) for part in parts if part.name)


def _old_networks(values: Mapping[str, Any], merged: Layer) -> Iterator[CloudNetwork]:
    """The two keys from before `networks`."""
    for key in {"external_network", "internal_network"} & values.keys():
        merged.keys[key].spot.warning(f"{key!r} is out of date", found="", hint="use 'networks'", key=True)
    if "external_network" in values:
        yield CloudNetwork(
            name=values["external_network"],
            routes_ipv4_externally=True,
            routes_ipv6_externally=True,
            default_interface=True,
        )
    if "internal_network" in values:
        yield CloudNetwork(name=values["internal_network"], nat_destination=True)


def _network(part: Part) -> CloudNetwork:
    outside = part.get("routes_externally", False)
    return CloudNetwork(
        name=part["name"],
        routes_ipv4_externally=part.get("routes_ipv4_externally", outside),
        routes_ipv6_externally=part.get("routes_ipv6_externally", outside),
        **{flag: part.get(flag, False) for flag in _LONE_FLAGS},
    )


def _refuse_doubles(parts: tuple[Part, ...]) -> None:
    names: set[str | None] = set()
    flags: dict[str, str | None] = {}
    for part in parts:
        if part.name in names:
            part.at("name").error("this network is listed already")
        names.add(part.name)
        for flag in (flag for flag in _LONE_FLAGS if part.get(flag)):
            if flag in flags:
                part.at(flag).error(
                    f"network {flags[flag]} has {flag} already", allowed="one network of a cloud"
                )
            flags.setdefault(flag, part.name)


def _expiration(given: Given | None) -> dict[str, float]:
    """How old listings may be, as hints for polling (`cache.expiration`)."""
    section = given.value.get("expiration") if given and isinstance(given.value, dict) else None
    if not isinstance(section, dict) or given is None:
        return {}
    found = {}
    for key in section:
        name = str(key).replace("_", "-")
        if name in EXPIRATIONS:
            found[name] = SECONDS.check(section[key], given.spot.step("expiration", key))
    return {name: seconds for name, seconds in found.items() if seconds is not WRONG}


def _statsd(
    general: Given | None, own: Given | None, environ: Mapping[str, str]
) -> dict[str, tuple[Any, str]]:
    """Where the API's metrics go and who says so: the cloud's `metrics`, else the file's, else the environment."""
    fields: dict[str, tuple[Any, str]] = {}
    variables = {"host": "STATSD_HOST", "port": "STATSD_PORT", "prefix": "STATSD_PREFIX"}
    for name, variable in variables.items():
        value = environ.get(variable)
        if value and (name != "port" or value.isdigit()):
            fields[name] = (int(value) if name == "port" else value, f"environment {variable}")
    for given in (general, own):
        fields |= _statsd_section(given) if given else {}
    return fields


def _statsd_section(given: Given) -> dict[str, tuple[Any, str]]:
    if not isinstance(given.value, dict):
        return {}  # reported with the other keys
    for other in given.value.keys() - {"statsd"}:
        given.spot.step(other).warning("only statsd metrics are supported", found="", key=True)
    section = given.value.get("statsd")
    if not isinstance(section, dict):
        return {}
    shapes: dict[str, Shape] = {"host": NAME, "port": PORT, "prefix": NAME}
    found = {}
    for name, shape in shapes.items():
        if section.get(name) is not None:
            at = given.spot.step("statsd", name)
            found[name] = (shape.check(section[name], at), replace(given, spot=at).origin)
    return {name: (value, origin) for name, (value, origin) in found.items() if value is not WRONG}
