"""Providers as rows: who has them, and what operators have ordered. Times are seconds since the epoch. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from poolmgr.model.fleet import ProviderMode
from poolmgr.model.snapshot import Snapshot
from poolmgr.policy.orders import standing
from poolmgr.web.views import Column, Row, age_text

#: The mode of a provider that no running launcher has in its configuration.
UNSERVED = "unserved"


def _left(row: Row, now: float) -> str:
    return "" if row["until"] is None else age_text(row["until"] - now)


def _alarms(row: Row, _now: float) -> str:
    return "; ".join(row["alarms"])


PROVIDER_COLUMNS = (
    Column("provider", "Provider"),
    Column("mode", "Mode"),
    Column("max_servers", "Max Servers"),
    Column("nodes", "Nodes"),
    Column("owner", "Owner"),
    Column("until", "Ends In", _left),
    Column("by", "Ordered By"),
    Column("reason", "Reason"),
    Column("alarms", "Alarms", _alarms),
)


def known_providers(snapshot: Snapshot, configured: Iterable[str] = ()) -> list[str]:
    """Names of all providers that a configuration or a record tells of, sorted. `configured`: those of ours."""
    names = {*configured}
    names.update(name for peer in snapshot.peers() for name in peer.providers)
    names.update(pool.provider_name for pool in snapshot.pools() if pool.provider_name)
    names.update(
        status.provider for status in snapshot.provider_statuses() if snapshot.provider_owned(status.provider)
    )
    names.update(order.provider for order in snapshot.provider_orders())
    names.update(node.provider for node in snapshot.nodes() if node.provider)
    return sorted(names)


def provider_row(snapshot: Snapshot, provider: str, *, now: float, nodes: int, served: bool) -> Row:
    """One provider. An order that has expired is not shown; `since` is its time."""
    stands = standing(snapshot.provider_order(provider), now=now)
    order = stands.order
    status = snapshot.provider_status(provider)
    owned = status is not None and snapshot.provider_owned(provider)
    mode = stands.mode.value
    if status is not None and owned and status.mode is ProviderMode.DRAINING:
        mode = status.mode.value  # perhaps because its configuration is gone
    elif not served and not owned and not stands.closed:
        mode = UNSERVED
    return {
        "provider": provider,
        "mode": mode,
        "max_servers": order.max_servers if order else None,
        "nodes": nodes,
        "owner": status.hostname if status is not None and owned else None,
        "since": order.since if order else None,
        "until": order.until if order else None,
        "by": order.by if order else None,
        "reason": order.reason if order else None,
        "alarms": list(status.alarms) if status is not None else [],
    }


def provider_rows(snapshot: Snapshot, *, now: float, configured: Collection[str] = ()) -> list[Row]:
    """Every provider by name. `configured`: names of the configuration at hand."""
    counts = Counter(node.provider for node in snapshot.nodes())
    offered = {pool.provider_name for pool in snapshot.pools()}
    offered.update(name for peer in snapshot.peers() for name in peer.providers)
    return [
        provider_row(snapshot, name, now=now, nodes=counts[name], served=name in offered)
        for name in known_providers(snapshot, configured)
    ]


def notices(rows: Sequence[Row], *, now: float) -> list[str]:
    """A line for each thing an operator should know of: orders that stand, alarms, nodes that nobody serves."""
    lines: list[str] = []
    for row in rows:
        if row["mode"] == UNSERVED and row["nodes"]:
            lines.append(
                f"no running launcher has provider {row['provider']}, of which {row['nodes']} nodes are left"
            )
        if row["mode"] not in (ProviderMode.RUNNING.value, UNSERVED) or row["max_servers"] is not None:
            lines.append(order_text(row, now=now))
        lines.extend(f"provider {row['provider']}: {alarm}" for alarm in row["alarms"])
    return lines


def order_text(row: Row, *, now: float) -> str:
    """What stands for the provider of `row`, as a sentence without its full stop."""
    mode = ProviderMode.RUNNING.value if row["mode"] == UNSERVED else row["mode"]
    text = f"provider {row['provider']} is {mode}"
    if row["max_servers"] is not None:
        text += f", with at most {row['max_servers']} servers"
    if row["until"] is not None:
        text += f", for {age_text(row['until'] - now)} more"
    if row["by"]:
        text += f", by {row['by']}"
    if row["reason"]:
        text += f": {row['reason']}"
    return text
