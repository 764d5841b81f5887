"""The shape of an `openstack` provider (`spec/config.md` section 6)."""

from __future__ import annotations

import math
import string
from collections.abc import Iterator, Mapping

import voluptuous as vol

from poolmgr.config import oldkeys
from poolmgr.config.rates import RATE
from poolmgr.config.schema_provider import POOL_KEYS, PROVIDER_KEYS, concurrency_is_meant
from poolmgr.config.shape import (
    COUNT,
    FLAG,
    MAPPING,
    NAME,
    PORT,
    SECONDS,
    TEXT,
    TEXT_MAPPING,
    TEXTS,
    Advice,
    ListOf,
    Part,
    Section,
    Shape,
    Value,
    Whole,
    frozen,
)

REQUEST_FIELDS = (
    "id",
    "labels",
    "requestor",
    "requestor_data",
    "relative_priority",
    "event_id",
    "created_time",
    "tenant_name",
)
_IMAGE_NAME_FIELDS = {"image_name": "image", "timestamp": "1700000000", "upload_id": "0000000001"}


def _rate(value: object) -> float:
    if not isinstance(value, (int, float, str)):
        raise vol.Invalid("not a number")
    try:
        seconds = float(value)
    except ValueError as error:
        raise Advice("") from error
    if not math.isfinite(seconds) or seconds < 0:
        raise Advice("")
    return seconds


def _image_name_format(value: object) -> str:
    if not isinstance(value, str):
        raise vol.Invalid("not a text")
    try:
        name = value.format(**_IMAGE_NAME_FIELDS)
    except (KeyError, IndexError, ValueError, AttributeError, TypeError) as error:
        raise Advice("a brace itself is written {{ or }}") from error
    if not name:
        raise vol.Invalid("no name")
    return value


def _network(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, dict) and value.keys() & oldkeys.NETWORK_MAP_KEYS:
        name = value.get("net-id", value.get("net-label", value.get("name")))
        raise Advice(
            f"networks are texts now: write '- {name}'" if isinstance(name, str) else "networks are texts"
        )
    raise vol.Invalid("not a network")


NETWORKS = Value(
    schema=vol.All([_network], frozen), allowed="a list of names or ids of networks", empty=tuple
)

_CONNECTION: Mapping[str, Shape] = {"connection-type": TEXT, "connection-port": PORT}

PROVIDER_DISKIMAGE = Section(
    what="provider's disk image",
    keys={"name": NAME, "pause": FLAG, "meta": MAPPING, "config-drive": FLAG, **_CONNECTION},
    required=frozenset({"name"}),
    old=oldkeys.IMAGE,
    advice={
        "metadata": "it is 'meta' here ('metadata' is a key of a top-level disk image)",
        "username": "it is a key of the top-level disk image",
        "python-path": "it is a key of the top-level disk image",
        "shell-type": "it is a key of the top-level disk image",
    },
)


def _one_way_to_the_image(image: Part) -> None:
    if {"image-id", "image-name"} <= image.given:
        image.at("image-name").error(
            "both 'image-id' and 'image-name' are given", allowed="one of them, or none"
        )


CLOUD_IMAGE = Section(
    what="cloud image",
    keys={
        "name": NAME,
        "image-id": NAME,
        "image-name": NAME,
        "config-drive": FLAG,
        "username": TEXT,
        "python-path": TEXT,
        "shell-type": TEXT,
        **_CONNECTION,
    },
    required=frozenset({"name"}),
    old=oldkeys.IMAGE,
    rules=(_one_way_to_the_image,),
)


def _one_image(label: Part) -> None:
    images = {"diskimage", "cloud-image"} & label.given
    if len(images) != 1:
        what = "both 'diskimage' and 'cloud-image' are given" if images else "the label has no image"
        label.spot.error(what, found="", allowed="either 'diskimage' or 'cloud-image'")


def _some_flavor(label: Part) -> None:
    if not {"min-ram", "flavor-name"} & label.given:
        label.spot.error("the label has no flavor", found="", allowed="'flavor-name', 'min-ram' or both")


def _known_fields(label: Part) -> None:
    """A property that cannot be formatted is logged and left out at launch; say so earlier."""
    for key, value in label.get("dynamic-instance-properties", {}).items():
        if unknown := ", ".join(_unknown_fields(value)):
            label.at("dynamic-instance-properties").step(key).warning(
                f"the property will be left out: no field {unknown}",
                allowed=", ".join(f"{{request.{name}}}" for name in REQUEST_FIELDS),
            )


def _unknown_fields(text: str) -> Iterator[str]:
    try:
        fields = [name for _, name, _, _ in string.Formatter().parse(text) if name is not None]
    except ValueError as error:
        yield f"can be read ({error})"
        return
    for name in fields:
        record, _, attribute = name.partition(".")
        if record != "request" or attribute.split(".")[0].split("[")[0] not in REQUEST_FIELDS:
            yield f"{{{name}}}"


POOL_LABEL = Section(
    what="pool label",
    keys={
        "name": NAME,
        "diskimage": NAME,
        "cloud-image": NAME,
        "min-ram": Whole(unit="MiB", low=0),
        "flavor-name": NAME,
        "key-name": TEXT,
        "console-log": FLAG,
        "boot-from-volume": FLAG,
        "volume-size": Whole(unit="GiB", low=0),
        "instance-properties": MAPPING,
        "dynamic-instance-properties": TEXT_MAPPING,
        "userdata": TEXT,
        "networks": NETWORKS,
        "host-key-checking": FLAG,
    },
    required=frozenset({"name"}),
    old=oldkeys.POOL_LABEL,
    rules=(_one_image, _some_flavor, _known_fields),
)

POOL = Section(
    what="pool",
    keys={
        **POOL_KEYS,
        "max-cores": COUNT,
        "max-ram": COUNT,
        "max-volumes": COUNT,
        "max-volume-gb": COUNT,
        "ignore-provider-quota": FLAG,
        "availability-zones": TEXTS,
        "networks": NETWORKS,
        "security-groups": TEXTS,
        "auto-floating-ip": FLAG,
        "host-key-checking": FLAG,
        "labels": ListOf(item=POOL_LABEL, what="pool labels"),
    },
    required=frozenset({"name"}),
)


def _some_attempt(provider: Part) -> None:
    if provider.get("launch-retries") == 0:
        provider.at("launch-retries").warning(
            "0 counts as 1", hint="it is the number of attempts, the first included"
        )


def _uploads(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise vol.Invalid("not a number")
    if value < 1:
        raise Advice("'pause: true' of the provider's disk images stops uploads")
    return value


OPENSTACK = Section(
    what="provider",
    keys={
        **PROVIDER_KEYS,
        "cloud": NAME,
        "region-name": TEXT,
        "rate": Value(schema=_rate, allowed="seconds between API calls, 0 or more"),
        "boot-timeout": SECONDS,
        "launch-timeout": SECONDS,
        "launch-retries": Whole(unit="attempts", low=0),
        "image-upload-timeout": SECONDS,
        "image-name-format": Value(
            schema=_image_name_format,
            allowed="a text with the fields " + ", ".join(f"{{{name}}}" for name in _IMAGE_NAME_FIELDS),
        ),
        "post-upload-hook": TEXT,
        "reclaim-fuse": Whole(unit="deletions", low=0),  # ours
        "max-parallel-uploads": Value(schema=_uploads, allowed="a whole number, 1 or more"),  # ours
        "upload-rate-limit": RATE,  # ours
        "clean-floating-ips": FLAG,
        "port-cleanup-interval": SECONDS,
        "diskimages": ListOf(item=PROVIDER_DISKIMAGE, what="disk images of the provider"),
        "cloud-images": ListOf(item=CLOUD_IMAGE, what="cloud images"),
        "pools": ListOf(item=POOL, what="pools"),
    },
    required=frozenset({"name", "cloud"}),
    old=oldkeys.OPENSTACK_PROVIDER,
    rules=(concurrency_is_meant, _some_attempt),
)
