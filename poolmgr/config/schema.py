"""The shape of the whole main file and of the secure file: one schema for `config-validate` and the daemons.

Cross-references are judged in `references`; defaults are those of the records in `settings`.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import voluptuous as vol

from poolmgr.config import oldkeys
from poolmgr.config.problem import did_you_mean
from poolmgr.config.rates import RATE
from poolmgr.config.schema_image import DISKIMAGE, ENV_VARS
from poolmgr.config.schema_openstack import OPENSTACK
from poolmgr.config.schema_static import STATIC
from poolmgr.config.settings import OnRemove
from poolmgr.config.shape import (
    COUNT,
    FLAG,
    NAME,
    PORT,
    SECONDS,
    TEXT,
    TEXTS,
    WRONG,
    Advice,
    ListOf,
    Part,
    Section,
    Spot,
    Value,
    Whole,
)

DRIVERS = {"openstack": OPENSTACK, "static": STATIC}
OTHER_DRIVERS = ("aws", "azure", "gce", "ibmvpc", "kubernetes", "metastatic", "openshift", "openshiftpods")
DEFAULT_DRIVER = "openstack"


@dataclass(frozen=True, kw_only=True)
class _AnyProvider:
    """A provider has the shape of its driver."""

    empty: Callable[[], Any] | None = None

    def check(self, value: Any, at: Spot) -> Any:
        """A Part of the driver's section."""
        driver = value.get("driver", DEFAULT_DRIVER) if isinstance(value, dict) else DEFAULT_DRIVER
        section = DRIVERS.get(driver) if isinstance(driver, str) else None
        if section is not None:
            return section.check(value, at)
        hint = did_you_mean(driver, DRIVERS)
        if driver in OTHER_DRIVERS:
            hint = f"poolmgr does not drive {', '.join(OTHER_DRIVERS)}; keep Nodepool for those providers"
        at.step("driver").error("unknown driver", allowed=", ".join(DRIVERS), hint=hint)
        return WRONG


def _host(value: object) -> str:
    if not isinstance(value, str) or not value or re.search(r"[\s,/]", value):
        raise vol.Invalid("not a host")
    literal = value.removeprefix("[").removesuffix("]")
    if ":" not in literal:
        return value
    try:
        ipaddress.IPv6Address(literal.split("%", 1)[0])
    except ValueError as error:
        raise Advice("the port is a key of its own: 'port'") from error
    return literal


def _chroot(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"(/[^/\s,]+)*/?", value):
        raise vol.Invalid("not a chroot")
    return value.rstrip("/")


def _positive_seconds(value: object) -> float:
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or not math.isfinite(value)
        or value <= 0
    ):
        raise vol.Invalid("not a time")
    return float(value)


SERVER = Section(
    what="ZooKeeper server",
    keys={
        "host": Value(schema=_host, allowed="a name or an address, without port"),
        "port": PORT,
        "chroot": Value(schema=_chroot, allowed="a path that begins with /"),
    },
    required=frozenset({"host"}),
)

TLS = Section(
    what="ZooKeeper TLS section",
    keys={"cert": NAME, "key": NAME, "ca": NAME},
    required=frozenset({"cert", "key", "ca"}),
    empty=lambda: None,
)

TENANT = Section(
    what="tenant's limits",
    keys={
        "tenant-name": NAME,
        "max-servers": COUNT,
        "max-cores": COUNT,
        "max-ram": COUNT,
        "max-volumes": COUNT,
        "max-volume-gb": COUNT,
    },
    required=frozenset({"tenant-name"}),
    others=COUNT,
)


def _min_ready_is_meant(label: Part) -> None:
    if label.get("min-ready", 0) < 0:
        label.at("min-ready").warning("below 0 acts as 0", hint="it does not switch the label off")


LABEL = Section(
    what="label",
    keys={"name": NAME, "min-ready": COUNT, "max-ready-age": Whole(unit="seconds", low=0)},
    required=frozenset({"name"}),
    old=oldkeys.LABEL,
    rules=(_min_ready_is_meant,),
)

WEBAPP = Section(
    what="webapp section",
    keys={"port": Whole(unit="port", low=0, high=65535), "listen_address": TEXT},
    empty=lambda: None,
)


def _images_url(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"https?://[^\s/?#]+[^\s?#]*", value):
        raise vol.Invalid("not a URL")
    return value.rstrip("/")


def _on_remove(value: object) -> str:
    if value not in [choice.value for choice in OnRemove]:
        raise vol.Invalid("not one of them")
    return str(value)


def _numbers_are_meant(main: Part) -> None:
    if main.get("image-retry-max") == 0:
        main.at("image-retry-max").warning("0 counts as not given", hint="the default holds")
    if main.get("image-orphan-grace") == 0:
        main.at("image-orphan-grace").warning(
            "files without a record go at once",
            hint="a ZooKeeper that was emptied by mistake empties the disk",
        )
    if main.get("build-log-retention") == 0:
        main.at("build-log-retention").warning("0 counts as 1", hint="below 0: all are kept")


_SERVERS = ListOf(item=SERVER, what="ZooKeeper servers")

MAIN = Section(
    what="configuration file",
    keys={
        "webapp": WEBAPP,
        "elements-dir": TEXT,
        "images-dir": NAME,
        "build-log-dir": NAME,
        "build-log-retention": COUNT,
        "builder-webapp": WEBAPP,  # ours, as the next five: for builders
        "max-parallel-uploads": Whole(unit="uploads", low=0),
        "upload-rate-limit": RATE,
        "image-retry-max": SECONDS,
        "image-orphan-grace": SECONDS,
        "images-url": Value(schema=_images_url, allowed="a URL that begins with http:// or https://"),
        "zookeeper-servers": _SERVERS,
        "zookeeper-tls": TLS,
        "zookeeper-plaintext": FLAG,  # ours: a connection without TLS has to be asked for
        "zookeeper-timeout": Value(schema=_positive_seconds, allowed="seconds, more than 0"),
        "clouds-files": TEXTS,  # ours: the files that may be clouds.yaml, instead of the usual places
        "statsd-escape": FLAG,  # ours: names do not add levels to metrics
        "on-remove": Value(
            schema=_on_remove, allowed="keep or drain"
        ),  # ours, as the next three: for launchers
        "fair-tenants": FLAG,
        "idle-hold": SECONDS,
        "ledger": NAME,
        "labels": ListOf(item=LABEL, what="labels"),
        "diskimages": ListOf(item=DISKIMAGE, what="disk images"),
        "providers": ListOf(item=_AnyProvider(), what="providers"),
        "max-hold-age": Whole(unit="seconds"),
        "tenant-resource-limits": ListOf(item=TENANT, what="limits of tenants"),
    },
    old=oldkeys.TOP_LEVEL,
    rules=(_numbers_are_meant,),
)

SECRET_IMAGE = Section(
    what="disk image's secrets",
    keys={"name": NAME, "env-vars": ENV_VARS},
    required=frozenset({"name", "env-vars"}),
)

SECURE = Section(
    what="secure file",
    keys={
        "zookeeper-servers": _SERVERS,
        "zookeeper-tls": TLS,
        "diskimages": ListOf(item=SECRET_IMAGE, what="secrets of disk images"),
    },
)
