"""The body of a create call: pure (cloud.md 3.6).

Limits checked here are nova's (Compute API reference, "Create server"): names, metadata keys and values at most
255 characters, user data at most 65535 bytes after base64.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from poolmgr.errors import NotSupported, Rejected
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
) -> dict[str, Any]:
    """What to POST to /servers. `networks` as nova takes them, None to say nothing about them.

    Raises Rejected when something is too long, NotSupported for what is not done yet.
    """
    if spec.boot_from_volume:
        raise NotSupported("boot-from-volume is not supported yet: remove it from the label, or use Nodepool")
    if len(spec.name) > TEXT_LIMIT:
        raise Rejected(f"the server name is longer than {TEXT_LIMIT} characters: {spec.name[:40]}...")
    server: dict[str, Any] = {
        "name": spec.name,
        "imageRef": image_id,
        "flavorRef": spec.flavor.id,
        "metadata": checked_metadata(spec.metadata),
    }
    if networks is not None:
        server["networks"] = networks
    if groups:
        server["security_groups"] = [{"name": group} for group in groups]
    optional = {
        "key_name": spec.key_name,
        "availability_zone": spec.az,
        "config_drive": spec.config_drive,
        "user_data": encoded_userdata(spec.userdata),
    }
    server.update((name, value) for name, value in optional.items() if value is not None)
    return {"server": server}


def checked_metadata(metadata: Mapping[str, Any]) -> dict[str, str]:
    """`metadata` as nova takes it: descriptive values are cut off. Raises Rejected where that would harm."""
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
