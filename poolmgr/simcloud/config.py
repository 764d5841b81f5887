"""What the operator of pretend clouds may say, from a small YAML file or a dict.

    seed: 7                       # all chance of all clouds hangs on it
    host: 127.0.0.1
    port: 0                       # 0: any free one
    tls: self-signed              # or expired, other-host: HTTPS with a certificate made for the occasion
    ssh: {port: 0, key-types: [ed25519, ecdsa]}     # key types: ed25519, ecdsa, rsa
    defaults: {latency: 0.02}     # holds for every cloud that does not say otherwise
    clouds:
      north:
        shape: nat                # see shapes.py
        boot: {seconds: 2.0, spread: 0.5, ssh: 0.3}   # or only the seconds
        quota: {instances: 50, cores: 100, ram: 200000, ports: 100, floating-ips: 50, volumes: 10}
        rate-limit: {rate: 20, burst: 20, retry-after: 1}
        image-api: {methods: [put], max-bytes: 1000000}     # shapes.ImageApi: what differs from the shape
        object-store: {max-file-size: 1000, slo: false}     # shapes.ObjectStore
        catalog: {image: image/v1, volume: null}            # paths below the cloud's URL, or whole URLs
        without: [network]                                  # services of the shape that are not there
        networks:                                           # instead of the shape's; shapes.NetworkPlan
        - {name: ext, v4: floating, external: true}
        - {name: inside, v4: private, v6: ula, routed-to: ext}
        faults: [{kind: http-500, probability: 0.02}, {kind: error-server, name: "*-0003", times: 1}]

settings.py has all keys with their meaning, fault_kinds.py all faults.

Keys may be written with `-` or `_`. Times are seconds, ram is in MiB. A wrong file raises ConfigError.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from poolmgr.errors import ConfigError
from poolmgr.simcloud.fault_texts import TEXTS
from poolmgr.simcloud.faults import ENVELOPES, HEADERS, Fault, FaultKind
from poolmgr.simcloud.landscape import KINDS
from poolmgr.simcloud.parsing import check, mapping, part, record, tuples
from poolmgr.simcloud.quota import NAMES as QUOTA_NAMES
from poolmgr.simcloud.settings import (
    CERTIFICATES,
    DISTRIBUTIONS,
    KEY_TYPES,
    Boot,
    CloudConfig,
    FlavorConfig,
    ImageConfig,
    RateLimit,
    SimConfig,
    SshConfig,
)
from poolmgr.simcloud.shapes import ALL_SERVICES, METHODS, SHAPES, ImageApi, NetworkPlan, ObjectStore, Range

#: Keys that can also be changed while a cloud runs.
LIVE = frozenset(
    {
        "delete_seconds",
        "address_delay",
        "visible_after",
        "latency",
        "token_seconds",
        "microversions",
        "page_size",
        "network_page_size",
        "catalog",
        "without",
        "interfaces",
        "closed_zones",
        "fault_in_lists",
        "image_api",
        "object_store",
    }
)


def load(source: str | Path | Mapping[str, Any]) -> SimConfig:
    """The configuration in a YAML file, or in what such a file holds."""
    if isinstance(source, Mapping):
        return _sim(source)
    try:
        body = yaml.safe_load(Path(source).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{source}: {error}") from error
    try:
        return _sim(mapping(body, "the file"))
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from error


def fault_of(body: Any, where: str = "fault") -> Fault:
    """One fault from its mapping, as in the file or sent to /_sim/."""
    values = mapping(body, where)
    try:
        kind = FaultKind(values.pop("kind", None))
    except ValueError as error:
        raise ConfigError(f"{where}: kind must be one of {', '.join(k.value for k in FaultKind)}") from error
    operations = values.pop("operations", values.pop("operation", ()))
    values["operations"] = (operations,) if isinstance(operations, str) else tuple(operations)
    for key, known in (("header", HEADERS), ("envelope", ENVELOPES), ("text", ("", *TEXTS))):
        if values.get(key, known[0]) not in known:
            raise ConfigError(f"{where}.{key}: must be one of {', '.join(known)}")
    return record(Fault, {**values, "kind": kind}, where)


def changed(cloud: CloudConfig, body: Any) -> CloudConfig:
    """`cloud` with some of its LIVE keys set anew, from a mapping sent to /_sim/."""
    changes = mapping(body, cloud.name)
    if fixed := sorted(set(changes) - LIVE):
        raise ConfigError(
            f"{', '.join(fixed)} cannot be changed while a cloud runs; {', '.join(sorted(LIVE))} can"
        )
    for key in ("image_api", "object_store", "catalog"):
        if key in changes:
            changes[key] = {**getattr(cloud, key), **mapping(changes[key], key, keep=key == "catalog")}
    known = {key: getattr(cloud, key) for key in LIVE}
    fresh = _cloud(cloud.name, {}, {**known, "shape": cloud.shape, **changes})
    return replace(cloud, **{key: getattr(fresh, key) for key in changes})


def _sim(body: Mapping[str, Any]) -> SimConfig:
    values = mapping(body, "the file")
    defaults = mapping(values.pop("defaults", None) or {}, "defaults")
    clouds = mapping(values.pop("clouds", None) or {}, "clouds", keep=True)
    if not clouds:
        raise ConfigError("clouds: there must be at least one")
    if len(clouds) > 200:
        raise ConfigError("clouds: at most 200, since each has a /16 of the loopback range")
    ssh = record(SshConfig, tuples(mapping(values.pop("ssh", None) or {}, "ssh")), "ssh")
    if not ssh.key_types or not set(ssh.key_types) <= set(KEY_TYPES):
        raise ConfigError(f"ssh.key-types: {', '.join(KEY_TYPES)} are known")
    made = tuple(_cloud(str(name), defaults, entry) for name, entry in clouds.items())
    _check_regions(made)
    if values.get("tls", "") not in ("", *CERTIFICATES):
        raise ConfigError(f"tls: must be one of {', '.join(CERTIFICATES)}")
    return record(SimConfig, {**values, "clouds": made, "ssh": ssh}, "the file")


def _check_regions(clouds: tuple[CloudConfig, ...]) -> None:
    homes = {cloud.name: cloud for cloud in clouds if not cloud.region_of}
    seen = {(cloud.name, cloud.region) for cloud in homes.values()}
    for cloud in clouds:
        if not cloud.region_of:
            continue
        if cloud.region_of not in homes:
            raise ConfigError(f"clouds.{cloud.name}.region_of: must be a cloud with a Keystone of its own")
        if (cloud.region_of, cloud.region) in seen:
            raise ConfigError(
                f"clouds.{cloud.name}.region: {cloud.region_of} has a region {cloud.region} already"
            )
        seen.add((cloud.region_of, cloud.region))


def _cloud(name: str, defaults: Mapping[str, Any], entry: Any) -> CloudConfig:
    where = f"clouds.{name}"
    values = {**defaults, **mapping(entry or {}, where), "name": name}
    for key, parse in _PARSERS.items():
        if key in values:
            values[key] = parse(values[key], f"{where}.{key}")
    cloud = record(CloudConfig, tuples(values), where)
    if not name or any(c in name for c in "/? #%") or name == "_sim":
        raise ConfigError(f"{where}: a cloud's name becomes part of URLs")
    if cloud.shape not in SHAPES:
        raise ConfigError(f"{where}.shape: must be one of {', '.join(SHAPES)}")
    _check_image_api(cloud.kind.image_api, f"{where}.image_api")
    versions = cloud.microversions or ()
    if len(versions) not in (0, 2) or not all(isinstance(v, str) for v in versions):
        raise ConfigError(f'{where}.microversions: must be [] or like ["2.1", "2.90"], in quotes')
    _check_networks(cloud.kind.networks, f"{where}.networks")
    if "default" in cloud.security_groups:
        raise ConfigError(f"{where}.security_groups: there is a `default` in any case, and only one")
    if cloud.private not in ("", "unreachable", "loopback"):
        raise ConfigError(f"{where}.private: must be unreachable or loopback")
    return cloud


def _network(body: Any, where: str) -> NetworkPlan:
    """`v4` and `v6` by name; `pluggable` is false for floating IPs if it is not said."""
    values = mapping(body, where)
    for key, version in (("v4", 4), ("v6", 6)):
        kinds = {kind.value: kind for kind in KINDS[version]}
        given = values.pop(key, None)
        if given is not None and given not in kinds:
            raise ConfigError(f"{where}.{key}: must be one of {', '.join(kinds)}, or null")
        values[key] = kinds.get(given)
    values.setdefault("pluggable", values["v4"] is not Range.FLOATING)
    return record(NetworkPlan, values, where)


def _check_networks(networks: tuple[NetworkPlan, ...], where: str) -> None:
    seen: list[str] = []
    for plan in networks:
        if plan.routed_to is not None and seen.count(plan.routed_to) != 1:
            raise ConfigError(
                f"{where}: {plan.name} is routed to {plan.routed_to}, which is no external network above"
            )
        if plan.external:
            seen.append(plan.name)


def _catalog(body: Any, where: str) -> dict[str, str | None]:
    given = mapping(body or {}, where, keep=True)
    _services(list(given), where)
    for service, path in given.items():
        if path is not None:
            check(str, path, f"{where}.{service}")
    return given


def _services(names: Any, where: str) -> tuple[str, ...]:
    check(tuple[str, ...], tuple(names) if isinstance(names, list) else names, where)
    if unknown := sorted(set(names) - ALL_SERVICES):
        raise ConfigError(f"{where}: unknown {', '.join(unknown)}; known: {', '.join(sorted(ALL_SERVICES))}")
    return tuple(names)


def _check_image_api(api: ImageApi, where: str) -> None:
    for given, known in ((api.methods, METHODS), (api.versions, ("v1", "v2"))):
        if unknown := sorted(set(given) - set(known)):
            raise ConfigError(f"{where}: unknown {', '.join(unknown)}; known: {', '.join(known)}")


def _boot(body: Any, where: str) -> Boot:
    boot = (
        Boot(seconds=float(body))
        if isinstance(body, (int, float))
        else record(Boot, mapping(body, where), where)
    )
    if boot.distribution not in DISTRIBUTIONS:
        raise ConfigError(f"{where}.distribution: must be one of {', '.join(DISTRIBUTIONS)}")
    return boot


def _rate_limit(body: Any, where: str) -> RateLimit | None:
    if body is None or isinstance(body, (int, float)):
        return RateLimit(rate=float(body)) if body else None
    return record(RateLimit, mapping(body, where), where)


def _quota(body: Any, where: str) -> dict[str, float]:
    limits = mapping(body or {}, where)
    for name, value in limits.items():
        if name not in QUOTA_NAMES:
            raise ConfigError(f"{where}: unknown {name}; known: {', '.join(QUOTA_NAMES)}")
        check(float, value, f"{where}.{name}")
    return {name: float(value) for name, value in limits.items()}


_PARSERS: Mapping[str, Callable[[Any, str], Any]] = {
    "boot": _boot,
    "rate_limit": _rate_limit,
    "quota": _quota,
    "keypairs": lambda body, where: mapping(body or {}, where, keep=True),
    "networks": lambda body, where: tuple(_network(n, f"{where}[{i}]") for i, n in enumerate(body)),
    "catalog": _catalog,
    "without": _services,
    "image_api": lambda body, where: part(ImageApi, body, where),
    "object_store": lambda body, where: part(ObjectStore, body, where),
    "faults": lambda body, where: tuple(fault_of(f, f"{where}[{i}]") for i, f in enumerate(body or ())),
    "flavors": lambda body, where: tuple(record(FlavorConfig, mapping(f, where), where) for f in body),
    "images": lambda body, where: tuple(
        ImageConfig(name=i) if isinstance(i, str) else record(ImageConfig, mapping(i, where), where)
        for i in body
    ),
}
