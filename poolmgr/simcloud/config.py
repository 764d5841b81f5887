"""What the operator of pretend clouds may say, from a small YAML file or a dict.

    seed: 7                       # all chance of all clouds hangs on it
    host: 127.0.0.1
    port: 0                       # 0: any free one
    ssh: {port: 0, key-types: [ed25519, ecdsa]}     # key types: ed25519, ecdsa, rsa
    defaults: {latency: 0.02}     # holds for every cloud that does not say otherwise
    clouds:
      north:
        shape: nat                # see shapes.py
        boot: {seconds: 2.0, spread: 0.5, ssh: 0.3}   # or only the seconds
        quota: {instances: 50, cores: 100, ram: 200000, ports: 100, floating-ips: 50, volumes: 10}
        rate-limit: {rate: 20, burst: 20, retry-after: 1}
        faults: [{kind: http-500, probability: 0.02}, {kind: error-server, name: "*-0003", times: 1}]

Keys may be written with `-` or `_`. Times are seconds, ram is in MiB. A wrong file raises ConfigError.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import yaml

from poolmgr.errors import ConfigError
from poolmgr.simcloud.faults import Fault, FaultKind
from poolmgr.simcloud.quota import NAMES as QUOTA_NAMES
from poolmgr.simcloud.shapes import SHAPES, Shape

R = TypeVar("R")

KEY_TYPES = ("ed25519", "ecdsa", "rsa")
DISTRIBUTIONS = ("uniform", "normal", "exponential")


@dataclass(frozen=True, kw_only=True)
class Boot:
    """From the create call to ACTIVE: `seconds` in the mean, plus or minus up to `spread` by `distribution`.

    uniform: anywhere in the range; normal: `spread` is two standard deviations; exponential: `seconds` at
    least, and `spread` more in the mean. `ssh` seconds after ACTIVE its SSH server answers.
    """

    seconds: float = 2.0
    spread: float = 0.0
    distribution: str = "uniform"
    ssh: float = 0.0


@dataclass(frozen=True, kw_only=True)
class RateLimit:
    """`rate` calls a second, `burst` at once; more get 429 with `retry_after`, as seconds or as a date."""

    rate: float
    burst: float = 20.0
    retry_after: float | None = 1.0  # None: the header is left out
    as_date: bool = False


@dataclass(frozen=True, kw_only=True)
class FlavorConfig:
    name: str
    vcpus: int
    ram: int
    disk: int = 20


@dataclass(frozen=True, kw_only=True)
class ImageConfig:
    """An image that is there from the start and belongs to the cloud's owner."""

    name: str
    format: str = "qcow2"
    min_disk: int = 0
    min_ram: int = 0


_FLAVORS = tuple(
    FlavorConfig(name=name, vcpus=vcpus, ram=ram, disk=disk)
    for name, vcpus, ram, disk in (
        ("small", 1, 2048, 20),
        ("medium", 2, 4096, 40),
        ("large", 4, 8192, 80),
        ("xlarge", 8, 16384, 160),
    )
)


@dataclass(frozen=True, kw_only=True)
class CloudConfig:
    name: str
    shape: str = "direct"
    region: str = "RegionOne"
    project: str = "ci"
    username: str = "ci"
    password: str = "secret"
    domain: str = "Default"
    boot: Boot = Boot()
    delete_seconds: float = 0.5  # a deleted server stays listed as long
    address_delay: float = 0.5  # until Nova's listing shows a floating IP
    visible_after: float = 0.0  # a new server is missing from lists as long
    latency: float = 0.0  # of each call
    quota: Mapping[str, float] = field(default_factory=dict)  # absent: unlimited
    rate_limit: RateLimit | None = None
    token_seconds: float = 3600.0
    microversions: tuple[str, ...] | None = None  # lowest, highest; (): none; None: as the shape has it
    zones: tuple[str, ...] = ("nova",)
    full_zones: tuple[str, ...] = ()  # no valid host there
    flavors: tuple[FlavorConfig, ...] = _FLAVORS
    images: tuple[ImageConfig, ...] = (ImageConfig(name="debian-12"),)
    keypairs: Mapping[str, str] = field(default_factory=dict)  # name -> public key
    page_size: int = 1000  # Compute's and Block Storage's
    private: str = ""  # "": as the shape has it; unreachable or loopback
    faults: tuple[Fault, ...] = ()

    @property
    def kind(self) -> Shape:
        return SHAPES[self.shape]


@dataclass(frozen=True, kw_only=True)
class SshConfig:
    """`enabled` False: no SSH server. Port 0: any free one."""

    enabled: bool = True
    port: int = 0
    key_types: tuple[str, ...] = ("ed25519", "ecdsa")


@dataclass(frozen=True, kw_only=True)
class SimConfig:
    clouds: tuple[CloudConfig, ...]
    seed: int = 0
    host: str = "127.0.0.1"
    port: int = 0
    ssh: SshConfig = SshConfig()


def load(source: str | Path | Mapping[str, Any]) -> SimConfig:
    """The configuration in a YAML file, or in what such a file holds."""
    if isinstance(source, Mapping):
        return _sim(source)
    try:
        body = yaml.safe_load(Path(source).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{source}: {error}") from error
    try:
        return _sim(_mapping(body, "the file"))
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from error


def fault_of(body: Any, where: str = "fault") -> Fault:
    """One fault from its mapping, as in the file or sent to /_sim/."""
    values = _mapping(body, where)
    try:
        kind = FaultKind(values.pop("kind", None))
    except ValueError as error:
        raise ConfigError(f"{where}: kind must be one of {', '.join(k.value for k in FaultKind)}") from error
    operations = values.pop("operations", values.pop("operation", ()))
    values["operations"] = (operations,) if isinstance(operations, str) else tuple(operations)
    return _record(Fault, {**values, "kind": kind}, where)


def _sim(body: Mapping[str, Any]) -> SimConfig:
    values = _mapping(body, "the file")
    defaults = _mapping(values.pop("defaults", None) or {}, "defaults")
    clouds = _mapping(values.pop("clouds", None) or {}, "clouds", keep=True)
    if not clouds:
        raise ConfigError("clouds: there must be at least one")
    if len(clouds) > 200:
        raise ConfigError("clouds: at most 200, since each has a /16 of the loopback range")
    ssh = _record(SshConfig, _tuples(_mapping(values.pop("ssh", None) or {}, "ssh")), "ssh")
    if not ssh.key_types or not set(ssh.key_types) <= set(KEY_TYPES):
        raise ConfigError(f"ssh.key-types: {', '.join(KEY_TYPES)} are known")
    made = tuple(_cloud(str(name), defaults, entry) for name, entry in clouds.items())
    return _record(SimConfig, {**values, "clouds": made, "ssh": ssh}, "the file")


def _cloud(name: str, defaults: Mapping[str, Any], entry: Any) -> CloudConfig:
    where = f"clouds.{name}"
    values = {**defaults, **_mapping(entry or {}, where), "name": name}
    for key, parse in _PARSERS.items():
        if key in values:
            values[key] = parse(values[key], f"{where}.{key}")
    cloud = _record(CloudConfig, _tuples(values), where)
    if not name or any(c in name for c in "/? #%") or name == "_sim":
        raise ConfigError(f"{where}: a cloud's name becomes part of URLs")
    if cloud.shape not in SHAPES:
        raise ConfigError(f"{where}.shape: must be one of {', '.join(SHAPES)}")
    versions = cloud.microversions or ()
    if len(versions) not in (0, 2) or not all(isinstance(v, str) for v in versions):
        raise ConfigError(f'{where}.microversions: must be [] or like ["2.1", "2.90"], in quotes')
    if cloud.private not in ("", "unreachable", "loopback"):
        raise ConfigError(f"{where}.private: must be unreachable or loopback")
    return cloud


def _boot(body: Any, where: str) -> Boot:
    boot = (
        Boot(seconds=float(body))
        if isinstance(body, (int, float))
        else _record(Boot, _mapping(body, where), where)
    )
    if boot.distribution not in DISTRIBUTIONS:
        raise ConfigError(f"{where}.distribution: must be one of {', '.join(DISTRIBUTIONS)}")
    return boot


def _rate_limit(body: Any, where: str) -> RateLimit | None:
    if body is None or isinstance(body, (int, float)):
        return RateLimit(rate=float(body)) if body else None
    return _record(RateLimit, _mapping(body, where), where)


def _quota(body: Any, where: str) -> dict[str, float]:
    limits = _mapping(body or {}, where)
    for name, value in limits.items():
        if name not in QUOTA_NAMES:
            raise ConfigError(f"{where}: unknown {name}; known: {', '.join(QUOTA_NAMES)}")
        _check(float, value, f"{where}.{name}")
    return {name: float(value) for name, value in limits.items()}


_PARSERS: Mapping[str, Callable[[Any, str], Any]] = {
    "boot": _boot,
    "rate_limit": _rate_limit,
    "quota": _quota,
    "keypairs": lambda body, where: _mapping(body or {}, where, keep=True),
    "faults": lambda body, where: tuple(fault_of(f, f"{where}[{i}]") for i, f in enumerate(body or ())),
    "flavors": lambda body, where: tuple(_record(FlavorConfig, _mapping(f, where), where) for f in body),
    "images": lambda body, where: tuple(
        ImageConfig(name=i) if isinstance(i, str) else _record(ImageConfig, _mapping(i, where), where)
        for i in body
    ),
}


def _record(kind: type[R], values: Mapping[str, Any], where: str) -> R:
    """`kind` made of `values`; a key it has no field for is an error that names the known ones."""
    known = {f.name for f in fields(kind)}  # type: ignore[arg-type]
    if unknown := sorted(set(values) - known):
        raise ConfigError(f"{where}: unknown {', '.join(unknown)}; known: {', '.join(sorted(known))}")
    hints = get_type_hints(kind)
    for key, value in values.items():
        _check(hints[key], value, f"{where}.{key}")
    try:
        return kind(**values)
    except TypeError as error:
        raise ConfigError(f"{where}: {error}") from error


def _check(hint: Any, value: Any, where: str) -> None:
    """Raises ConfigError when a plain value is not of the kind that `hint` says; other hints are not looked at."""
    allowed, words = _PLAIN.get(hint, (object, ""))
    if not isinstance(value, allowed) or (isinstance(value, bool) and hint in (int, float, float | None)):
        raise ConfigError(f"{where}: must be {words}, not {value!r}")


_STRINGS = tuple[str, ...]
_PLAIN: Mapping[Any, tuple[Any, str]] = {
    float: ((int, float), "a number"),
    float | None: ((int, float, type(None)), "a number"),
    int: (int, "a whole number"),
    int | None: ((int, type(None)), "a whole number"),
    str: (str, "text"),
    bool: (bool, "true or false"),
    _STRINGS: (tuple, "a list"),
}


def _mapping(body: Any, where: str, *, keep: bool = False) -> dict[str, Any]:
    """A copy of `body` with `-` in its keys made `_`, unless they are names to `keep`."""
    if not isinstance(body, Mapping):
        raise ConfigError(f"{where}: must be a mapping")
    return {str(k) if keep else str(k).replace("-", "_"): v for k, v in body.items()}


def _tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
