"""The server that a trial asks for: as a node of its label would have, from the fresh image."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from poolmgr.cloud.api import Trial
from poolmgr.cloud.library.wishes import OWNER_PREFIXES
from poolmgr.errors import Rejected
from poolmgr.model.server import Flavor, ServerSpec
from poolmgr.policy.flavors import choose_flavor
from poolmgr.policy.properties import configured_properties

#: What a host name may not have in it.
_OTHER = re.compile(r"[^A-Za-z0-9-]+")


def trial_spec(trial: Trial, flavors: Iterable[Flavor], *, call: str, marks: Mapping[str, str]) -> ServerSpec:
    """`marks` say whose it is; `call` tells it from other trials. Raises Rejected when no flavor fits the label."""
    label, pool = trial.label, trial.pool
    flavor = choose_flavor(flavors, label)
    if flavor is None:
        wanted = label.flavor_name or f"{label.min_ram_mib} MiB"
        raise Rejected(f"label {label.name}: the cloud has no flavor {wanted}")
    properties = configured_properties(label)
    return ServerSpec(
        name=server_name(trial, call),
        flavor=flavor,
        image=trial.image_id,
        image_is_id=True,
        # A label's own words must not make it a node of somebody's.
        metadata={k: v for k, v in properties.items() if not k.startswith(OWNER_PREFIXES)} | dict(marks),
        networks=label.networks,
        security_groups=pool.security_groups,
        key_name=label.key_name,
        az=_zone(pool.availability_zones, call),
        config_drive=label.image.config_drive,
        userdata=label.userdata,
        boot_from_volume=label.boot_from_volume,
        volume_gib=label.volume_gib,
    )


def server_name(trial: Trial, call: str) -> str:
    return f"trial-{_OTHER.sub('-', trial.owner.image)[:40]}-{call[:8]}"


def _zone(zones: tuple[str, ...], call: str) -> str | None:
    """One of those that the pool may use, another for each trial; None: the cloud chooses."""
    return zones[sum(call.encode()) % len(zones)] if zones else None
