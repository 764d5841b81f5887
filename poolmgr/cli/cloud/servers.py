"""Servers as the verbs of `poolmgr cloud` print them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from poolmgr.cli.table import print_rows
from poolmgr.model.server import META_LIBRARY_READY, Owner, Server
from poolmgr.policy.leftovers import is_librarys
from poolmgr.web.views import Column, Row, age_text

if TYPE_CHECKING:
    from poolmgr.cloud import Connection  # half a second to load: not for `--help`

COLUMNS = (
    Column("id", "ID"),
    Column("name", "Name"),
    Column("status", "Status"),
    Column("address", "Address"),
    Column("flavor", "Flavor"),
    Column("age", "Age"),
    Column("owner", "Owner"),
)


def server_row(server: Server, *, now: float, half_made: bool = False) -> Row:
    """`server` for printing. `now`: epoch seconds; `age` is "" where the cloud does not tell when it was made."""
    addresses = asdict(server.addresses)
    return {
        "id": server.id,
        "name": server.name,
        "status": server.status_text or server.status.value,
        "half_made": half_made,
        "address": addresses.pop("interface_ip"),
        **addresses,
        "flavor": server.flavor_name,
        "image_id": server.image_id,
        "az": server.az,
        "created_at": server.created_at,
        "age": "" if server.created_at is None else age_text(now - server.created_at),
        "owner": owner_text(server.owner),
        "fault": server.fault,
        "volumes": list(server.volumes),
        "metadata": dict(server.metadata),
    }


def owner_text(owner: Owner | None) -> str:
    """Who made it: this library, a launcher, or, "", someone else."""
    if owner is None:
        return ""
    return "library" if is_librarys(owner) else f"node {owner.node_id} of {owner.provider}"


def half_made_of(cloud: Connection, servers: tuple[Server, ...]) -> frozenset[str]:
    """Ids of those of `servers` that are half made; what it takes to know is asked only when one of them may be."""
    open_ones = [s for s in servers if is_librarys(s.owner) and META_LIBRARY_READY not in s.metadata]
    return frozenset(s.id for s in cloud.leftovers().servers) if open_ones else frozenset()


def print_servers(rows: Sequence[Row], *, as_json: bool) -> None:
    """Rows of `server_row`, as a table or as a JSON array."""
    if not as_json:
        rows = [
            {**row, "status": row["status"] + (", half made" if row["half_made"] else "")} for row in rows
        ]
    print_rows(rows, COLUMNS, as_json=as_json)
