"""What every store does with what launchers agree on under /poolmgr: peers, owners, orders, approvals, statuses."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from poolmgr.errors import Conflict, LockBusy, LockLost, RecordGone
from poolmgr.model.component import Component, ComponentKind
from poolmgr.model.fleet import (
    Peer,
    ProviderMode,
    ProviderOrder,
    ProviderStatus,
    ReclaimApproval,
    TenantPromises,
)
from poolmgr.model.snapshot import Snapshot
from poolmgr.store.api import Change, ChangeKind, Store
from tests.sites import LateClock, Site, eventually

PEER = Peer(
    id="a" * 32,
    hostname="host",
    pid=7,
    version="1",
    started_at=3.5,
    providers=("north", "south"),
    offers={"north": {"main": ["small"]}},
    min_ready={"small": 2},
)
ORDER = ProviderOrder(
    provider="north",
    mode=ProviderMode.PAUSED,
    max_servers=3,
    since=1.0,
    until=9.0,
    by="me@here",
    reason="why",
)
STATUS = ProviderStatus(
    provider="north", owner="a" * 32, hostname="host", since=2.0, held_back={"server": 12}, alarms=("stuck",)
)
APPROVAL = ReclaimApproval(provider="north", at=4.0, up_to=12, by="me@here")
NORTH = "/poolmgr/providers/north"
CONTENDER = re.compile(r"[0-9a-f]{32}__lock__[0-9]{10}")


def raw(site: Site, path: str) -> dict[str, Any]:
    data = site.get(path)
    assert data is not None
    return json.loads(data)


def snapshot_of(store: Store) -> Snapshot:
    with store.reading() as snapshot:
        return snapshot


def peers(store: Store) -> list[Peer]:
    with store.reading() as snapshot:
        return list(snapshot.peers())


def order_of(store: Store, provider: str = "north") -> ProviderOrder | None:
    with store.reading() as snapshot:
        return snapshot.provider_order(provider)


def approval_of(store: Store) -> ReclaimApproval | None:
    with store.reading() as snapshot:
        return snapshot.approval("north")


def status_of(store: Store) -> ProviderStatus | None:
    with store.reading() as snapshot:
        return snapshot.provider_status("north")


def owned(store: Store, provider: str = "north") -> bool:
    with store.reading() as snapshot:
        return snapshot.provider_owned(provider)


def view(store: Store) -> Any:
    with store.reading() as snapshot:
        found = (snapshot.peers(), snapshot.provider_statuses())
        own = (snapshot.provider_order("north"), snapshot.approval("north"), snapshot.provider_owned("north"))
        return *(sorted(records, key=repr) for records in found), *own


# Peers


def test_a_peer_is_announced_and_shown(site, store, other):
    peer = store.announce(PEER)
    assert re.fullmatch(r"host\d{10}", peer.znode)
    assert raw(site, f"/poolmgr/peers/{peer.znode}") == {
        "id": "a" * 32,
        "hostname": "host",
        "pid": 7,
        "version": "1",
        "started_at": 3.5,
        "providers": ["north", "south"],
        "offers": {"north": {"main": ["small"]}},
        "min_ready": {"small": 2},
        "draining": False,
    }
    assert peers(store) == [peer]
    eventually(lambda: peers(other) == [peer])
    store.close()
    eventually(lambda: peers(other) == [])


def test_a_peer_is_written_only_when_it_differs(site, store):
    peer = store.announce(PEER)
    before = store.writes
    assert store.update_peer(peer) == peer
    assert store.writes == before
    draining = store.update_peer(replace(peer, draining=True))
    assert store.writes == before + 1
    assert peers(store) == [draining]
    assert raw(site, f"/poolmgr/peers/{peer.znode}")["draining"] is True
    store.retract(draining)
    assert peers(store) == []
    with pytest.raises(RecordGone):
        store.update_peer(draining)
    store.retract(draining)


def test_a_peer_and_a_component_of_one_name_are_two_things(store):
    pool = store.register(Component(kind=ComponentKind.POOL, hostname="host", name="main"))
    peer = store.announce(PEER)
    assert pool.znode == peer.znode
    store.retract(peer)
    assert peers(store) == []
    with store.reading() as snapshot:
        assert list(snapshot.pools()) == [pool]


def test_after_a_lost_session_a_peer_is_announced_again(site, store, other):
    peer = store.announce(PEER)
    gone = store.announce(replace(PEER, id="b" * 32))
    store.retract(gone)
    site.expire(store)
    (again,) = peers(store)
    assert again.id == peer.id
    assert again.znode != peer.znode
    eventually(lambda: peers(other) == [again])
    changed = store.update_peer(replace(peer, draining=True))
    assert changed.znode == again.znode
    eventually(lambda: peers(other) == [changed])


def test_a_peer_that_someone_removed_or_spoiled_is_put_right(site, store, other, caplog):
    peer = store.announce(PEER)
    eventually(lambda: peers(other) == [peer])
    site.put(f"/poolmgr/peers/{peer.znode}", b"nonsense")
    eventually(lambda: peers(other) == [])
    assert caplog.text.count("skipping a record that cannot be read") >= 1
    peer = store.update_peer(replace(peer, pid=8))
    eventually(lambda: peers(other) == [peer])
    site.remove(f"/poolmgr/peers/{peer.znode}")
    eventually(lambda: peers(store) == [])
    assert store.update_peer(peer).znode > peer.znode
    eventually(lambda: [one.pid for one in peers(other)] == [8])


# Owners


def test_one_owns_a_provider_at_a_time(site, store, other):
    assert not owned(store)
    lock = store.lock_provider("north")
    assert lock.valid
    assert lock.path == f"{NORTH}/lock"
    assert [name for name in site.paths() if CONTENDER.fullmatch(name.removeprefix(f"{lock.path}/"))]
    assert owned(store)
    eventually(lambda: owned(other))
    with pytest.raises(LockBusy):
        other.lock_provider("north")
    other.unlock(other.lock_provider("south"))
    store.unlock(lock)
    assert not lock.valid
    assert not owned(store)
    second = other.lock_provider("north")
    with pytest.raises(LockBusy):
        store.lock_provider("north")
    assert second.valid


def test_a_contender_of_anyone_keeps_us_out(site, store):
    site.contend(f"{NORTH}/lock")
    eventually(lambda: owned(store))
    with pytest.raises(LockBusy):
        store.lock_provider("north")
    assert len([path for path in site.paths() if "__lock__" in path]) == 1


def test_a_lost_session_ends_ownership(site, store, other):
    lock = store.lock_provider("north")
    site.expire(store)
    assert not lock.valid
    eventually(lambda: not owned(other))
    second = other.lock_provider("north")
    site.suspend(other)
    site.resume(other)
    assert second.valid


def test_ownership_ends_when_someone_removes_its_folder(site, store):
    lock = store.lock_provider("north")
    site.remove(NORTH)
    eventually(lambda: not owned(store))
    with pytest.raises(LockLost):
        store.save_provider_status(STATUS, lock)
    assert not lock.valid
    assert store.lock_provider("north").valid


@pytest.mark.parametrize("name", ["a/b", "..", "", "lock", "100 %", "\x07\ud800\ue000"])
def test_a_provider_may_have_any_name(site, store, other, name):
    lock = store.lock_provider(name)
    order = store.order_provider(replace(ORDER, provider=name))
    store.save_provider_status(replace(STATUS, provider=name), lock)
    eventually(lambda: owned(other, name) and order_of(other, name) == order)
    assert len([path for path in site.paths() if path.count("/") == 3 and "/providers/" in path]) == 1


# Statuses


def test_the_owner_tells_its_status(site, store, other):
    lock = store.lock_provider("north")
    status = store.save_provider_status(STATUS, lock)
    assert raw(site, f"{NORTH}/status") == {
        "owner": "a" * 32,
        "hostname": "host",
        "since": 2.0,
        "mode": "running",
        "held_back": {"server": 12},
        "held_since": None,
        "alarms": ["stuck"],
    }
    assert status_of(store) == status == STATUS
    eventually(lambda: status_of(other) == status)
    writes = store.writes
    assert store.save_provider_status(STATUS, lock) == status
    assert store.writes == writes
    changed = store.save_provider_status(replace(STATUS, alarms=()), lock)
    assert changed.version == status.version + 1
    eventually(lambda: status_of(other) == changed)
    site.put(f"{NORTH}/status", b"nonsense")
    eventually(lambda: status_of(store) is None)
    site.remove(f"{NORTH}/status")
    assert store.save_provider_status(STATUS, lock) == STATUS
    eventually(lambda: status_of(other) == STATUS)


def test_a_former_owner_tells_nothing_and_uses_nothing(site, store, other):
    lock = store.lock_provider("north")
    approval = store.approve_reclaim(APPROVAL)
    status = store.save_provider_status(STATUS, lock)
    (contender,) = [path for path in site.paths() if "__lock__" in path]
    with store.reading():  # it has not heard of it yet
        site.remove(contender)
        theirs = other.lock_provider("north")
        newer = other.save_provider_status(replace(status, owner="b" * 32), theirs)
        for act in (
            lambda: store.save_provider_status(replace(STATUS, alarms=()), lock),
            lambda: store.use_approval(approval, lock),
        ):
            lock.valid = True
            with pytest.raises(LockLost):
                act()
    assert status_of(other) == newer
    assert approval_of(other) == approval
    assert not lock.valid
    for wrong in (store.lock_provider("south"), lock):
        with pytest.raises(LockLost):
            store.save_provider_status(STATUS, wrong)
        with pytest.raises(LockLost):
            store.use_approval(approval, wrong)


# Orders


def test_an_order_stands_until_another_takes_its_place_or_it_is_withdrawn(site, store, other):
    assert not store.withdraw_provider_order("north")
    order = store.order_provider(ORDER)
    assert raw(site, f"{NORTH}/order") == {
        "mode": "paused",
        "max_servers": 3,
        "since": 1.0,
        "until": 9.0,
        "by": "me@here",
        "reason": "why",
    }
    assert order_of(store) == order == ORDER
    eventually(lambda: order_of(other) == order)
    second = other.order_provider(replace(ORDER, mode=ProviderMode.DRAINING, until=None))
    assert second.version > order.version
    eventually(lambda: order_of(store) == second)
    assert store.withdraw_provider_order("north")
    assert order_of(store) is None
    eventually(lambda: order_of(other) is None)
    assert not other.withdraw_provider_order("north")
    assert order_of(store, "south") is None


@pytest.mark.parametrize(
    "data", [b"nonsense", b"", {"mode": "exploded"}, {"mode": "running", "until": "soon"}]
)
def test_an_order_that_cannot_be_read_pauses(site, store, other, caplog, data):
    store.order_provider(replace(ORDER, mode=ProviderMode.DRAINING))
    site.put(f"{NORTH}/order", data)
    for one in (store, other, site.store()):
        eventually(lambda one=one: order_of(one).reason == "order cannot be read")
        order = order_of(one)
        assert (order.provider, order.mode, order.max_servers) == ("north", ProviderMode.PAUSED, None)
        assert order.stands(1e12)
    assert caplog.text.count(f"{NORTH}/order") == 3  # once in each store
    assert store.order_provider(ORDER) == order_of(store) == ORDER
    assert store.withdraw_provider_order("north")
    eventually(lambda: order_of(other) is None)


# Approvals


def test_an_approval_counts_once(site, store, other):
    approval = other.approve_reclaim(APPROVAL)
    assert raw(site, f"{NORTH}/approval") == {"at": 4.0, "up_to": 12, "by": "me@here"}
    eventually(lambda: approval_of(store) == approval == APPROVAL)
    lock = store.lock_provider("north")
    assert store.use_approval(approval, lock)
    assert approval_of(store) is None
    eventually(lambda: approval_of(other) is None)
    assert not store.use_approval(approval, lock)


def test_another_approval_is_not_used_in_place_of_one(site, store, other):
    lock = store.lock_provider("north")
    first = store.approve_reclaim(APPROVAL)
    second = other.approve_reclaim(replace(APPROVAL, up_to=50))
    assert not store.use_approval(first, lock)
    assert not store.use_approval(APPROVAL, lock)  # never read
    eventually(lambda: approval_of(store) == second)
    assert store.use_approval(second, lock)


def test_an_approval_that_cannot_be_read_is_none(site, store):
    store.approve_reclaim(APPROVAL)
    site.put(f"{NORTH}/approval", {"up_to": "all"})
    eventually(lambda: approval_of(store) is None)


# What others see


def test_each_change_is_reported_with_its_provider(store, other):
    changes: list[Change] = []
    other.subscribe(changes.append)

    peer = store.announce(PEER)
    about_peer = Change(ChangeKind.FLEET, peer.znode)
    eventually(lambda: about_peer in changes)
    store.retract(peer)
    eventually(lambda: changes.count(about_peer) > 1)
    changes.clear()
    lock = store.lock_provider("no/rth")
    named = replace(APPROVAL, provider="no/rth")
    for act in (
        lambda: store.save_provider_status(replace(STATUS, provider="no/rth"), lock),
        lambda: store.order_provider(replace(ORDER, provider="no/rth")),
        lambda: store.withdraw_provider_order("no/rth"),
        lambda: store.approve_reclaim(named),
        lambda: store.use_approval(snapshot_of(store).approval("no/rth"), lock),
        lambda: store.unlock(lock),
    ):
        told = len(changes)
        act()
        eventually(lambda told=told: len(changes) > told)
        assert set(changes) == {Change(ChangeKind.FLEET, provider="no/rth")}


def test_a_new_store_shows_all_and_one_that_was_away_what_changed(site, store, other):
    lock = store.lock_provider("north")
    peer = store.announce(PEER)
    store.save_provider_status(STATUS, lock)
    store.order_provider(ORDER)
    store.approve_reclaim(APPROVAL)
    assert view(site.store()) == view(store)
    eventually(lambda: view(other) == view(store))
    site.suspend(other)
    store.unlock(lock)
    store.retract(peer)
    store.withdraw_provider_order("north")
    site.remove(f"{NORTH}/approval")
    site.remove(f"{NORTH}/status")
    site.resume(other)
    eventually(lambda: view(store) == ([], [], None, None, False))
    assert view(other) == view(store)
    site.suspend(other)
    lock = store.lock_provider("north")
    store.order_provider(ORDER)
    site.resume(other)
    assert view(other) == view(store) == ([], [], ORDER, None, True)


def test_all_that_is_removed_from_outside_is_gone_and_can_come_back(site, store):
    store.order_provider(ORDER)
    store.announce(PEER)
    site.remove("/poolmgr")
    eventually(lambda: view(store) == ([], [], None, None, False))
    store.announce(PEER)
    store.approve_reclaim(APPROVAL)
    assert store.lock_provider("north").valid
    eventually(lambda: owned(store) and approval_of(store) == APPROVAL and len(peers(store)) == 1)


# How sure we are of our session


def test_silence_of_the_server_is_noticed_before_the_session_can_be_over(site):
    clock = LateClock()
    store = site.store(clock=clock)
    eventually(lambda: store.fresh)
    site.silence(store)
    clock.late += 5.0
    eventually(lambda: store.fresh)
    clock.late += 3.0
    assert not store.fresh
    site.suspend(store)
    site.resume(store)
    eventually(lambda: store.fresh)


# Promises to tenants


def promises_of(store: Store, tenant: str = "a/b") -> TenantPromises:
    with store.reading() as snapshot:
        return snapshot.promises(tenant)


def test_a_promise_is_made_only_on_top_of_the_last_one(site, store, other):
    first = store.promise(
        replace(promises_of(store), promised={"200-1": {"at": 1.0, "resources": {"cores": 2}}})
    )
    assert raw(site, "/poolmgr/tenants/a%2Fb") == {
        "promised": {"200-1": {"at": 1.0, "resources": {"cores": 2}}}
    }
    assert promises_of(store) == first
    eventually(lambda: promises_of(other) == first)
    with pytest.raises(Conflict):
        other.promise(TenantPromises(tenant="a/b"))
    second = other.promise(replace(promises_of(other), promised={}))
    with pytest.raises(Conflict):
        store.promise(first)
    eventually(lambda: promises_of(store) == second)
    third = store.promise(replace(second, promised={"200-2": {}}))
    assert third.version > second.version
    assert promises_of(store, "other") == TenantPromises(tenant="other")


def test_promises_that_cannot_be_read_are_replaced_and_those_removed_are_none(site, store, caplog):
    made = store.promise(TenantPromises(tenant="t", promised={"200-1": {}}))
    site.put("/poolmgr/tenants/t", b"nonsense")
    eventually(lambda: promises_of(store, "t").promised == {})
    assert "skipping a record that cannot be read" in caplog.text
    with pytest.raises(Conflict):
        store.promise(made)
    store.promise(replace(promises_of(store, "t"), promised={"200-2": {}}))
    site.remove("/poolmgr/tenants/t")
    eventually(lambda: promises_of(store, "t").version == -1)
    with pytest.raises(Conflict):
        store.promise(replace(made, version=0))
    store.promise(promises_of(store, "t"))


def test_a_promise_is_a_change_of_the_fleet(store, other):
    seen: list[Change] = []
    other.subscribe(seen.append)
    store.promise(TenantPromises(tenant="t"))
    eventually(lambda: Change(ChangeKind.FLEET, "t") in seen)
