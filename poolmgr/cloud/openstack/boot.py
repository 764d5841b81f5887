"""The body of a create call: pure (cloud.md 3.6).

Limits checked here are nova's (Compute API reference, "Create server"): names, metadata keys and values at most
255 characters, user data at most 65535 bytes after base64, at most 50 tags of 60 characters without `/` and `,`.
What needs a newer microversion than the cloud's is left out where that harms nobody, and refused where it does.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from poolmgr.cloud.openstack.versions import offers
from poolmgr.errors import Rejected
from poolmgr.model.server import (
    META_ATTEMPT,
    META_DEPLOYMENT,
    META_LIBRARY_CLOUD,
    META_LIBRARY_ID,
    META_LIBRARY_UNTIL,
    META_NODE_ID,
    META_POOL,
    META_PROVIDER,
    ServerSpec,
)

log = logging.getLogger(__name__)

TEXT_LIMIT = 255
USERDATA_LIMIT = 65535
TAG_LIMIT = 60
TAGS_LIMIT = 50
METADATA_ITEMS = 128  # nova's default; a cloud's own is `maxServerMeta` of its limits

TAGS_SINCE = (2, 52)
VOLUME_TYPE_SINCE = (2, 67)

#: Losing the end of one of these would lose the server.
OWNER_KEYS = frozenset(
    {
        *(META_NODE_ID, META_PROVIDER, META_POOL, META_DEPLOYMENT, META_ATTEMPT),
        *(META_LIBRARY_ID, META_LIBRARY_CLOUD, META_LIBRARY_UNTIL),
    }
)


def create_body(
    spec: ServerSpec,
    *,
    image_id: str,
    networks: Sequence[Mapping[str, str]] | str | None,
    groups: Sequence[str],
    microversion: str | None = None,
    metadata_items: int = METADATA_ITEMS,
) -> dict[str, Any]:
    """What to POST to /servers. `networks` as nova takes them, None to say nothing about them.

    Raises Rejected when something is too long, too much, or not to be had with this `microversion`.
    """
    if len(spec.name) > TEXT_LIMIT:
        raise Rejected(f"the server name is longer than {TEXT_LIMIT} characters: {spec.name[:40]}...")
    server: dict[str, Any] = {
        "name": spec.name,
        **boot_source(spec, image_id, microversion),
        "flavorRef": spec.flavor.id,
        "metadata": checked_metadata(spec.metadata, metadata_items),
    }
    if networks is not None:
        server["networks"] = networks
    if groups:
        server["security_groups"] = [{"name": group} for group in groups]
    if spec.tags and offers(microversion, TAGS_SINCE):
        server["tags"] = checked_tags(spec.tags)
    optional = {
        "key_name": spec.key_name,
        "availability_zone": spec.az,
        "config_drive": spec.config_drive,
        "user_data": encoded_userdata(spec.userdata),
    }
    server.update((name, value) for name, value in optional.items() if value is not None)
    return {"server": server, "os:scheduler_hints": dict(spec.hints)} if spec.hints else {"server": server}


def boot_source(spec: ServerSpec, image_id: str, microversion: str | None) -> dict[str, Any]:
    """The image, or a new volume of it that goes with the server (Compute API, block_device_mapping_v2)."""
    if not spec.boot_from_volume:
        return {"imageRef": image_id}
    device: dict[str, Any] = {
        "boot_index": 0,
        "uuid": image_id,
        "source_type": "image",
        "destination_type": "volume",
        "volume_size": spec.volume_gib,
        "delete_on_termination": True,
    }
    if spec.volume_type is not None:
        if not offers(microversion, VOLUME_TYPE_SINCE):
            raise Rejected(
                f"volume type {spec.volume_type}: the cloud takes one only from microversion 2.67 on, "
                f"it is used with {microversion or 'none'}: leave the type out"
            )
        device["volume_type"] = spec.volume_type
    return {"block_device_mapping_v2": [device]}


def checked_tags(tags: Sequence[str]) -> list[str]:
    """`tags` as nova takes them. Raises Rejected."""
    for tag in tags:
        if not tag or len(tag) > TAG_LIMIT or "/" in tag or "," in tag:
            raise Rejected(
                f"server tag {tag[:80]!r}: 1 to {TAG_LIMIT} characters without / and , are possible"
            )
    if len(tags) > TAGS_LIMIT:
        raise Rejected(f"{len(tags)} server tags: {TAGS_LIMIT} are possible")
    return list(tags)


def checked_metadata(metadata: Mapping[str, Any], items: int) -> dict[str, str]:
    """`metadata` as nova takes it: descriptive values are cut off. Raises Rejected where that would harm.

    `items` is how many the cloud takes; below 0: any number.
    """
    if 0 <= items < len(metadata):
        raise Rejected(
            f"{len(metadata)} items of server metadata: the cloud takes {items}; have fewer instance-properties"
        )
    checked: dict[str, str] = {}
    for key, value in metadata.items():
        text = str(value)
        if len(key) > TEXT_LIMIT or (key in OWNER_KEYS and len(text) > TEXT_LIMIT):
            raise Rejected(f"server metadata {key[:40]}: longer than {TEXT_LIMIT} characters: {text[:40]}...")
        if len(text) > TEXT_LIMIT:
            log.info("server metadata %s is cut off after %d characters", key, TEXT_LIMIT)
        checked[key] = text[:TEXT_LIMIT]
    return checked


def encoded_userdata(userdata: str | None) -> str | None:
    """`userdata` in base64. Raises Rejected when that is more than nova takes."""
    if userdata is None:
        return None
    encoded = base64.b64encode(userdata.encode()).decode()
    if len(encoded) > USERDATA_LIMIT:
        raise Rejected(f"userdata is {len(encoded)} bytes in base64, the limit is {USERDATA_LIMIT}")
    return encoded


def described(body: Mapping[str, Any]) -> str:
    """The names in a create call, for messages: Nova says "Invalid key_name provided" and not which."""
    server = body["server"]
    image = server.get("imageRef") or next(
        (device["uuid"] for device in server.get("block_device_mapping_v2", ()) if "uuid" in device), None
    )
    networks = server.get("networks")
    if isinstance(networks, list):
        networks = ", ".join(word for network in networks for word in network.values())
    named = {
        "server": server["name"],
        "image": image,
        "flavor": server["flavorRef"],
        "network": networks,
        "key": server.get("key_name"),
        "zone": server.get("availability_zone"),
    }
    return ", ".join(f"{word} {name}" for word, name in named.items() if name)
