"""Providers as rows, and what an operator should know of them."""

from __future__ import annotations

from poolmgr.model.fleet import Peer, ProviderMode, ProviderOrder, ProviderStatus
from poolmgr.model.snapshot import Snapshot
from poolmgr.web.provider_views import PROVIDER_COLUMNS, known_providers, notices, provider_rows
from poolmgr.web.views import cells
from tests.unit.policy.worlds import pool, ready, snapshot_of

NOW = 1000.0
ORDER = ProviderOrder(
    provider="north",
    mode=ProviderMode.PAUSED,
    since=900.0,
    until=4600.0,
    by="ana@host",
    reason="maintenance",
)


def world() -> Snapshot:
    snapshot = snapshot_of(ready("1"), ready("2", provider="gone"), pool("p", ["small"], "reference"))
    snapshot.put_peer(Peer(znode="p", providers=("north", "south")))
    return snapshot


def rows(snapshot: Snapshot, *configured: str) -> dict[str, dict[str, object]]:
    return {row["provider"]: row for row in provider_rows(snapshot, now=NOW, configured=configured)}


def test_every_provider_that_anything_tells_of_is_known():
    snapshot = world()
    snapshot.put_provider_order(ProviderOrder(provider="ordered"))
    assert known_providers(snapshot, ["file"]) == ["file", "gone", "north", "ordered", "reference", "south"]


def test_modes_are_those_in_force():
    snapshot = world()
    snapshot.put_provider_order(ORDER)
    snapshot.put_provider_order(ProviderOrder(provider="south", mode=ProviderMode.PAUSED, until=NOW))
    found = rows(snapshot)
    assert {name: row["mode"] for name, row in found.items()} == {
        "gone": "unserved",
        "north": "paused",
        "reference": "running",
        "south": "running",  # its order has expired
    }
    assert (found["north"]["nodes"], found["north"]["until"], found["south"]["until"]) == (1, 4600.0, None)


def test_a_provider_that_is_drained_because_it_was_removed_is_shown_so():
    snapshot = world()
    snapshot.put_provider_status(ProviderStatus(provider="gone", hostname="l1", mode=ProviderMode.DRAINING))
    assert rows(snapshot)["gone"]["mode"] == "unserved"  # nobody is at it any more
    snapshot.put_owner_contender("gone", "c-1")
    row = rows(snapshot)["gone"]
    assert (row["mode"], row["owner"]) == ("draining", "l1")


def test_the_table_shows_what_is_left_of_an_order():
    snapshot = world()
    snapshot.put_provider_order(ORDER)
    snapshot.put_provider_status(ProviderStatus(provider="north", hostname="l1", alarms=("a", "b")))
    snapshot.put_owner_contender("north", "c-1")
    lines = cells(provider_rows(snapshot, now=NOW), PROVIDER_COLUMNS, NOW)
    assert ["north", "paused", "", "1", "l1", "00:01:00:00", "ana@host", "maintenance", "a; b"] in lines


def test_orders_alarms_and_nodes_without_a_launcher_are_told():
    snapshot = world()
    snapshot.put_provider_order(ORDER)
    snapshot.put_provider_order(ProviderOrder(provider="south", max_servers=3))
    snapshot.put_provider_status(ProviderStatus(provider="south", alarms=("2 servers do not go",)))
    assert notices(provider_rows(snapshot, now=NOW), now=NOW) == [
        "no running launcher has provider gone, of which 1 nodes are left",
        "provider north is paused, for 00:01:00:00 more, by ana@host: maintenance",
        "provider south is running, with at most 3 servers",
        "provider south: 2 servers do not go",
    ]


def test_nothing_is_told_where_all_is_well():
    snapshot = snapshot_of(ready("1"), pool("p", ["small"], "north"))
    assert notices(provider_rows(snapshot, now=NOW), now=NOW) == []
