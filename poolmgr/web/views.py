"""Records as rows, for everyone who looks: the commands and the HTTP endpoints. Those of images: `image_views`.

A row is a dict with the JSON keys of spec cli-web.md 3, in that order; `cells` makes text of it with the column
titles of 1.1. Everything here is pure: what is looked at and `now` come in by argument.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from poolmgr.model.node import Node
from poolmgr.model.request import NodeRequest
from poolmgr.model.snapshot import Snapshot

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a text table: the row's `key`, under `title`.

    `text`: what to show instead of the value, from the row and `now` in epoch seconds; None: the value.
    """

    key: str
    title: str
    text: Callable[[Row, float], str] | None = None


NODE_COLUMNS = (
    Column("id", "ID"),
    Column("provider", "Provider"),
    Column("label", "Label"),
    Column("server_id", "Server ID"),
    Column("public_ipv4", "Public IPv4"),
    Column("ipv6", "IPv6"),
    Column("state", "State"),
    Column("age", "Age"),
    Column("locked", "Locked"),
)
NODE_DETAIL_COLUMNS = (
    *NODE_COLUMNS,
    Column("pool", "Pool"),
    Column("hostname", "Hostname"),
    Column("private_ipv4", "Private IPv4"),
    Column("AZ", "AZ"),
    Column("username", "Username"),
    Column("connection_port", "Port"),
    Column("launcher", "Launcher"),
    Column("allocated_to", "Allocated To"),
    Column("hold_job", "Hold Job"),
    Column("comment", "Comment"),
    Column("user_data", "User Data"),
    Column("driver_data", "Driver Data"),
    Column("slot", "Slot"),  # ours: of a static host
)
REQUEST_COLUMNS = (
    Column("id", "Request ID"),
    Column("relative_priority", "Priority"),
    Column("state", "State"),
    Column("requestor", "Requestor"),
    Column("node_types", "Node Types"),
    Column("nodes", "Nodes"),
    Column("declined_by", "Declined By"),
    Column("event_id", "Event ID"),
)
LABEL_COLUMNS = (Column("label", "Label"),)
PROVIDER_IMAGE_COLUMNS = (
    Column("image", "Image Name"),
    Column("id", "Build ID"),
    Column("upload_ids", "Upload IDs"),
)
PROVIDER_NODE_COLUMNS = (Column("id", "ID"), Column("server_id", "Server ID"))


_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def age_text(seconds: float) -> str:
    """`seconds` as DD:HH:MM:SS: days unbounded, at least two digits. A time in the future has age 0."""
    whole = max(0, int(seconds))
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    day, hour = divmod(hours, 24)
    return f"{day:02d}:{hour:02d}:{minute:02d}:{second:02d}"


def size_text(size: float) -> str:
    """Bytes as people read them: `3.4 GiB`."""
    unit = 0
    while size >= 1024 and unit < len(_UNITS) - 1:
        size /= 1024
        unit += 1
    return f"{size:.0f} B" if unit == 0 else f"{size:.1f} {_UNITS[unit]}"


def node_row(node: Node, *, locked: bool, now: float) -> Row:
    """One node; `age` is the time in its state. Ports that are not numbers may hold credentials: not shown."""
    port = node.connection_port
    return {
        "id": node.id,
        "provider": node.provider,
        "label": list(node.labels),
        "server_id": node.external_id,
        "public_ipv4": node.public_ipv4,
        "ipv6": node.public_ipv6,
        "state": node.state.value,
        "age": age_text(now - node.state_time),
        "locked": "locked" if locked else "unlocked",
        "pool": node.pool,
        "hostname": node.hostname,
        "private_ipv4": node.private_ipv4,
        "AZ": node.az,
        "username": node.username,
        "connection_port": port if isinstance(port, int) else "redacted",
        "launcher": node.launcher,
        "allocated_to": node.allocated_to,
        "hold_job": node.hold_job,
        "comment": node.comment,
        "user_data": node.user_data,
        "driver_data": node.driver_data,
        "slot": node.slot,
    }


def node_rows(snapshot: Snapshot, *, now: float, node_id: str | None = None) -> list[Row]:
    """All nodes by id, or only `node_id`; an unknown one gives no rows."""
    if node_id is None:
        nodes: Iterable[Node] = sorted(snapshot.nodes(), key=lambda n: n.id)
    else:
        one = snapshot.node(node_id)
        nodes = [one] if one else []
    return [node_row(n, locked=snapshot.node_locked(n.id), now=now) for n in nodes]


def request_row(request: NodeRequest) -> Row:
    return {
        "id": request.id,
        "relative_priority": request.relative_priority,
        "state": request.state.value,
        "requestor": request.requestor,
        "node_types": list(request.labels),
        "nodes": list(request.nodes),
        "declined_by": list(request.declined_by),
        "event_id": request.event_id,
    }


def request_rows(snapshot: Snapshot) -> list[Row]:
    """All open requests, the one served first on top."""
    return [request_row(r) for r in sorted(snapshot.requests(), key=lambda r: r.rank)]


def provider_image_rows(snapshot: Snapshot, provider: str) -> list[Row]:
    """The provider's uploads, whatever their state, by image and build; upload ids sorted."""
    found: dict[tuple[str, str], list[str]] = {}
    for upload in snapshot.uploads():
        if upload.provider == provider:
            found.setdefault((upload.image, upload.build), []).append(upload.id)
    return [
        {"image": image, "id": build, "upload_ids": sorted(ids)}
        for (image, build), ids in sorted(found.items())
    ]


def provider_node_rows(snapshot: Snapshot, provider: str) -> list[Row]:
    nodes = sorted(snapshot.nodes_of(provider), key=lambda n: n.id)
    return [{"id": n.id, "server_id": n.external_id} for n in nodes]


def label_rows(snapshot: Snapshot) -> list[Row]:
    """Labels that some pool of some running launcher offers, by name."""
    return [{"label": name} for name in sorted({n for p in snapshot.pools() for n in p.supported_labels})]


def cells(rows: Iterable[Row], columns: Sequence[Column], now: float = 0.0) -> list[list[str]]:
    """The text of each row's `columns`. `now`, in epoch seconds, is for columns that show a time as an age."""
    return [[_cell(row, column, now) for column in columns] for row in rows]


def _cell(row: Row, column: Column, now: float) -> str:
    return column.text(row, now) if column.text else _text(row.get(column.key))


def _text(value: Any) -> str:
    """Lists joined with commas, missing values empty, other structures as compact JSON."""
    if value is None:
        return ""
    if isinstance(value, (list, tuple)):
        return ",".join(_text(v) for v in value)
    if isinstance(value, dict):
        return json.dumps(value, separators=(",", ":"), sort_keys=True, default=str)
    return str(value)
