"""Images as both versions of the Image API write them: pure.

Version 2 has one flat JSON object per image (Image API v2, "Show image"); version 1 has headers `x-image-meta-*`
(HEAD and POST) and, in its detailed list, an object with `properties` in it (Image API v1, "Requesting detailed
metadata").
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from poolmgr.cloud.openstack.timestamps import epoch_of
from poolmgr.errors import ConfigError
from poolmgr.model.cloud_image import (
    PROP_CALL,
    PROP_DEPLOYMENT,
    PROP_IMAGE,
    PROP_MD5,
    PROP_PROTECTED,
    PROP_SHA256,
    CloudImage,
    ImageSpec,
    ImageStatus,
)

V1_PREFIX = "x-image-meta-"
V1_PROPERTY = V1_PREFIX + "property-"
#: The import task's own record of what went wrong (Image API v2, "Image import").
FAILED_IMPORT = "os_glance_failed_import"

#: Properties of these names would be taken for the image's own fields.
_FIELDS = frozenset(
    {
        "id", "name", "status", "visibility", "protected", "os_hidden", "checksum", "os_hash_algo", "os_hash_value",
        "owner", "size", "virtual_size", "container_format", "disk_format", "created_at", "updated_at", "tags",
        "direct_url", "locations", "min_ram", "min_disk", "self", "file", "schema", "stores",
    }
)  # fmt: skip
_NUMBERS = ("min_disk", "min_ram")
#: Words of version 1, and those of version 2 that say more than we tell apart.
_STATUSES = {"pending_delete": ImageStatus.DELETED, "available": ImageStatus.ACTIVE}


def image_of(raw: Mapping[str, Any]) -> CloudImage:
    """An image as version 2 shows it."""
    text = str(raw.get("status") or "")
    return CloudImage(
        id=str(raw["id"]),
        name=str(raw.get("name") or ""),
        status=_status(text),
        status_text=text,
        size=_number(raw.get("size")),
        virtual_size=_number(raw.get("virtual_size")),
        md5=str(raw.get("checksum") or ""),
        hash_algo=str(raw.get("os_hash_algo") or ""),
        hash_value=str(raw.get("os_hash_value") or ""),
        disk_format=str(raw.get("disk_format") or ""),
        min_disk_gib=_number(raw.get("min_disk")) or 0,
        min_ram_mib=_number(raw.get("min_ram")) or 0,
        visibility=str(raw.get("visibility") or ""),
        protected=_true(raw.get("protected")),
        created_at=epoch_of(raw.get("created_at")),
        project_id=str(raw.get("owner") or ""),
        properties={k: v for k, v in raw.items() if k not in _FIELDS and isinstance(v, str)},
    )


def image_of_v1(raw: Mapping[str, Any]) -> CloudImage:
    """An image of version 1's detailed list."""
    public = "public" if _true(raw.get("is_public")) else "private"
    plain = image_of({**raw, "visibility": public, "properties": None})
    return CloudImage(
        **{name: getattr(plain, name) for name in CloudImage.__dataclass_fields__ if name != "properties"},
        properties={str(k): str(v) for k, v in (raw.get("properties") or {}).items() if v is not None},
    )


def image_of_headers(headers: Mapping[str, str]) -> CloudImage | None:
    """An image as the headers of a HEAD in version 1 describe it; None if they describe none."""
    named = {key.lower(): value for key, value in headers.items()}
    fields: dict[str, Any] = {
        key.removeprefix(V1_PREFIX).replace("-", "_"): value
        for key, value in named.items()
        if key.startswith(V1_PREFIX) and not key.startswith(V1_PROPERTY)
    }
    if not fields.get("id"):
        return None
    properties = {
        key.removeprefix(V1_PROPERTY): value for key, value in named.items() if key.startswith(V1_PROPERTY)
    }
    return image_of_v1({**fields, "properties": properties})


def marks_of(spec: ImageSpec, *, deployment: str, call: str) -> dict[str, str]:
    """The properties that say whose an image is, and with what bytes. `call`: this very upload's own id."""
    if spec.owner is not None:
        marks = spec.owner.properties()
    else:
        marks = {PROP_DEPLOYMENT: deployment, PROP_IMAGE: spec.name, PROP_CALL: call}
    if spec.protected:
        marks[PROP_PROTECTED] = "true"
    sums = {PROP_SHA256: spec.sha256, PROP_MD5: spec.md5}
    return {**marks, **{name: value for name, value in sums.items() if value}}


def properties_of(
    spec: ImageSpec, agent: Mapping[str, str], marks: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, int]]:
    """(properties, the fields `min_disk` and `min_ram`) that an image of `spec` is to have.

    `agent` is the cloud's `disable_vendor_agent`; what `spec` says wins over it. Raises ConfigError for a property
    that would be a field.
    """
    wanted = {**agent, **spec.properties}
    reserved = sorted(name for name in wanted if name in _FIELDS and name not in _NUMBERS)
    if reserved:
        raise ConfigError(f"image {spec.name}: {', '.join(reserved)} cannot be set as a property")
    numbers = {"min_disk": spec.min_disk_gib, "min_ram": spec.min_ram_mib}
    for name in _NUMBERS:
        text = wanted.pop(name, None)
        if text is not None and not numbers[name]:
            if not str(text).isdecimal():
                raise ConfigError(f"image {spec.name}: {name} must be a whole number, not {text}")
            numbers[name] = int(text)
    return {**{name: str(value) for name, value in wanted.items()}, **marks}, numbers


def new_image(spec: ImageSpec, properties: Mapping[str, str], numbers: Mapping[str, int]) -> dict[str, Any]:
    """The body of version 2's `POST /images`. Only our own project sees the image."""
    return {
        **properties,
        **numbers,
        "name": spec.name,
        "disk_format": spec.disk_format,
        "container_format": "bare",
        "visibility": "private",
        "protected": spec.protected,
        "tags": list(spec.tags),
    }


def new_image_headers(
    spec: ImageSpec, properties: Mapping[str, str], numbers: Mapping[str, int]
) -> dict[str, str]:
    """The headers of version 1's `POST /images`. There are no tags in version 1.

    Raises ConfigError for what does not go into a header.
    """
    fields = {
        "name": spec.name,
        "disk_format": spec.disk_format,
        "container_format": "bare",
        "is_public": "False",
        "protected": str(spec.protected),
        "size": str(spec.size),
        **{name: str(value) for name, value in numbers.items()},
    }
    headers = {V1_PREFIX + name: value for name, value in fields.items()}
    headers |= {V1_PROPERTY + name: value for name, value in properties.items()}
    for name, value in headers.items():
        if not (name + value).isascii() or not (name + value).isprintable():
            raise ConfigError(f"image {spec.name}: version 1 of the Image API takes no {name} of {value!r}")
    return headers


def patch_of(
    properties: Mapping[str, str], fields: Mapping[str, Any] | None = None
) -> list[Mapping[str, Any]]:
    """The JSON patch (RFC 6902) that sets properties and fields. `add` replaces what is there."""
    steps: list[Mapping[str, Any]] = [
        {"op": "add", "path": _pointer(name), "value": value} for name, value in properties.items()
    ]
    steps += [
        {"op": "replace", "path": _pointer(name), "value": value} for name, value in (fields or {}).items()
    ]
    return steps


def _pointer(name: str) -> str:
    return "/" + name.replace("~", "~0").replace("/", "~1")


def _status(text: str) -> ImageStatus:
    word = text.lower()
    try:
        return _STATUSES.get(word) or ImageStatus(word)
    except ValueError:
        return ImageStatus.OTHER


def _number(value: object) -> int | None:
    text = str(value)
    return int(text) if text.isdecimal() else None


def _true(value: object) -> bool:
    return str(value).lower() == "true"
