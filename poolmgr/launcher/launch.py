"""One launch: what is known about a node on its way to READY, and the server it asks for."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import NamedTuple

from poolmgr.config.settings import Pool, PoolLabel
from poolmgr.launcher.context import Context
from poolmgr.model.node import Node
from poolmgr.model.request import NodeRequest
from poolmgr.model.server import Addresses, Flavor, Server, ServerSpec
from poolmgr.observe.context import context_logger
from poolmgr.policy.launch import After, LaunchFacts, Result
from poolmgr.policy.properties import configured_properties, dynamic_properties, owner_metadata
from poolmgr.store.api import Lock

log = logging.getLogger(__name__)


class Failure(NamedTuple):
    """How an attempt ended, and what follows."""

    result: Result
    reason: str
    after: After
    charged: bool  # it counts against launch-retries
    zone: str | None  # of the next attempt


class Launch:
    """One node on its way to READY. Only `Launches` and `Failures` change it."""

    def __init__(
        self,
        node: Node,
        lock: Lock,
        *,
        pool: Pool,
        label: PoolLabel,
        flavor: Flavor,
        request: NodeRequest | None,
        zones: Sequence[str],
        now: float,
        facts: LaunchFacts | None = None,
    ) -> None:
        """`facts`: where it stands, if it is one of another launcher's that goes on."""
        self.node = node
        self.lock = lock
        self.pool = pool
        self.label = label
        self.flavor = flavor
        self.request = request  # as it was when the launch began; None for nobody
        self.zones = zones  # where the next attempt may go when its zone is full; () keeps the zone
        self.tried: set[str | None] = set()  # zones that had no room, since an attempt last counted
        self.facts = facts or LaunchFacts(node_id=node.id, since=now, attempt_since=now)
        self.started = self.facts.attempt_since
        self.server: Server | None = None  # as last listed ACTIVE
        self.active_at: float | None = None  # when it was first seen ACTIVE in this attempt
        self.failure: Failure | None = None  # decided, but not yet carried out: the store was away
        self.addresses = Addresses()

    @property
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        event = self.request.event_id if self.request else None
        request_id = self.request.id if self.request else None
        return context_logger(log, event=event, request=request_id, node=self.node.id)


def server_spec(launch: Launch, context: Context) -> tuple[ServerSpec | None, str | None]:
    """The create call's contents and the node's `image_id`; None while the image is not there."""
    label, node = launch.label, launch.node
    image = label.image
    image_ref, is_id, image_path = image.image_id or image.image_name, bool(image.image_id), image.name
    if image.is_disk_image:
        with context.store.reading() as snapshot:
            upload = snapshot.newest_upload(image.name, context.name)
        if upload is None:
            return None, None
        image_ref, is_id, image_path = upload.external_id, True, upload.path
    metadata = configured_properties(label)
    for key, value in dynamic_properties(label, launch.request):
        if value is None:
            launch.log.warning("cannot fill in dynamic-instance-properties %s", key)
        else:
            metadata[key] = value
    deployment = context.parts.deployment
    metadata |= owner_metadata(node, image=image.name, deployment=deployment, attempt=launch.facts.attempt)
    spec = ServerSpec(
        name=f"np{node.id}",
        flavor=launch.flavor,
        image=image_ref or image.name,
        image_is_id=is_id,
        metadata=metadata,
        networks=label.networks,
        security_groups=launch.pool.security_groups,
        key_name=label.key_name,
        az=node.az,
        config_drive=image.config_drive,
        userdata=label.userdata,
        boot_from_volume=label.boot_from_volume,
        volume_gib=label.volume_gib,
    )
    return spec, image_path


def count(launch: Launch, context: Context, result: Result) -> None:
    """The metrics of an attempt's end."""
    server = launch.server
    context.stats.launch(
        result.value,
        provider=context.name,
        zone=server.az if server else None,
        requestor=launch.node.requestor,
        seconds=context.clock.monotonic() - launch.started,
        image=launch.label.image.name,
    )
