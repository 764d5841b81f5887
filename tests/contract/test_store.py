"""What every store does, whatever it is kept in: one suite over memory and a real ZooKeeper."""

from __future__ import annotations

import json
import re
import threading
from dataclasses import replace
from typing import Any

import pytest

from poolmgr.errors import BadRecord, Conflict, LockBusy, LockLost, RecordGone, StoreUnavailable
from poolmgr.model.component import Component, ComponentKind, ComponentState
from poolmgr.model.image import Upload, UploadState
from poolmgr.model.node import Node, NodeState
from poolmgr.model.request import NodeRequest, RequestState
from poolmgr.store.api import Change, ChangeKind, Store
from poolmgr.store.tree_store import TreeStore
from tests.sites import Site, eventually

REQUEST = NodeRequest(
    state_time=1.0, labels=("small", "small"), requestor="zuul", requestor_data={"job": 1}, event_id="e"
)
NODE = Node(
    state=NodeState.BUILDING,
    state_time=1.0,
    created_time=1.0,
    labels=("small",),
    provider="north",
    pool="main",
    launcher="launcher-pool",
    resources={"cores": 2, "instances": 1},
)
POOL = Component(
    kind=ComponentKind.POOL,
    hostname="host",
    state=ComponentState.RUNNING,
    version="1",
    id="pool-id",
    name="main",
    provider_name="north",
    supported_labels=("small",),
)
CONTENDER = re.compile(r"[0-9a-f]{32}__lock__[0-9]{10}")
REQUEST_KEYS = {
    *("state", "state_time", "node_types", "nodes", "declined_by", "reuse", "requestor", "requestor_data"),
    *("provider", "relative_priority", "event_id", "created_time", "tenant_name"),
}


def new_request(store: Store, **changes: Any) -> NodeRequest:
    return store.create_request(replace(REQUEST, **changes), priority=200)


def raw(site: Site, path: str) -> dict[str, Any]:
    data = site.get(path)
    assert data is not None
    return json.loads(data)


def shown_node(store: Store, node_id: str) -> Node | None:
    with store.reading() as snapshot:
        return snapshot.node(node_id)


def shown_request(store: Store, request_id: str) -> NodeRequest | None:
    with store.reading() as snapshot:
        return snapshot.request(request_id)


def node_locked(store: Store, node_id: str) -> bool:
    with store.reading() as snapshot:
        return snapshot.node_locked(node_id)


def request_locked(store: Store, request_id: str) -> bool:
    with store.reading() as snapshot:
        return snapshot.request_locked(request_id)


def pools(store: Store) -> list[Component]:
    with store.reading() as snapshot:
        return list(snapshot.pools())


def below(site: Site, folder: str) -> list[str]:
    return [path for path in site.paths() if path.startswith(f"{folder}/")]


# Requests


def test_a_new_request_has_a_three_digit_priority_and_every_key(site, store):
    request = store.create_request(REQUEST, priority=99)
    assert re.fullmatch(r"099-\d{10}", request.id)
    stored = raw(site, f"/nodepool/requests/{request.id}")
    assert set(stored) == REQUEST_KEYS
    assert stored["node_types"] == ["small", "small"]
    assert (stored["nodes"], stored["state"], stored["provider"]) == ([], "requested", None)


def test_a_request_reads_as_it_was_stored(store, other):
    request = new_request(store, relative_priority=3, tenant_name="t", created_time=4.5)
    assert other.read_request(request.id) == request
    assert other.read_request(request.id).version == request.version == 0


def test_own_writes_show_at_once_and_others_soon(store, other):
    request = new_request(store)
    assert shown_request(store, request.id) == request
    eventually(lambda: shown_request(other, request.id) == request)
    lock, request = other.lock_request(request.id)
    pending = other.save_request(request.moved(RequestState.PENDING, at=2.0), lock)
    assert shown_request(other, request.id) == pending
    assert request_locked(other, request.id)
    eventually(lambda: shown_request(store, request.id) == pending and request_locked(store, request.id))
    other.unlock(lock)
    assert not request_locked(other, request.id)
    eventually(lambda: not request_locked(store, request.id))
    store.delete_request(request.id)
    assert shown_request(store, request.id) is None
    eventually(lambda: shown_request(other, request.id) is None)


def test_a_request_that_is_gone_cannot_be_read_saved_or_locked_and_stays_gone(site, store):
    request = new_request(store)
    lock, request = store.lock_request(request.id)
    store.delete_request(request.id)
    store.delete_request(request.id)  # gone already is fine
    with pytest.raises(RecordGone):
        store.read_request(request.id)
    with pytest.raises(RecordGone):
        store.save_request(request)
    with pytest.raises(RecordGone):
        store.save_request(request, lock)
    with pytest.raises(RecordGone):
        store.finish_request(request, lock)
    store.unlock(lock)
    assert store.drop_request_lock(request.id)
    with pytest.raises(RecordGone):
        store.lock_request(request.id)
    assert below(site, "/nodepool/requests") == []
    assert below(site, "/nodepool/requests-lock") == []


def test_a_copy_that_is_not_the_newest_is_not_saved(store, other):
    request = new_request(store)
    newer = other.save_request(replace(other.read_request(request.id), relative_priority=7))
    with pytest.raises(Conflict):
        store.save_request(request.moved(RequestState.PENDING, at=2.0))
    assert store.read_request(request.id) == newer


def test_a_copy_that_was_never_read_is_not_saved(store):
    request = new_request(store)
    with pytest.raises(Conflict):
        store.save_request(replace(request, version=-1))


def test_an_ephemeral_request_goes_with_its_session(site, store, other):
    request = store.create_request(REQUEST, priority=900, ephemeral=True)
    eventually(lambda: shown_request(other, request.id))
    store.close()
    eventually(lambda: shown_request(other, request.id) is None)
    assert below(site, "/nodepool/requests") == []


def test_unknown_keys_survive_a_save(site, store):
    path = "/nodepool/requests/200-0000000009"
    site.put(path, {"state": "requested", "node_types": ["a"], "new_in_zuul_99": {"x": [1]}})
    lock, request = store.lock_request("200-0000000009")
    store.save_request(request.moved(RequestState.PENDING, at=2.0), lock)
    assert raw(site, path)["new_in_zuul_99"] == {"x": [1]}
    assert set(raw(site, path)) == REQUEST_KEYS | {"new_in_zuul_99"}


def test_a_record_that_is_too_large_is_refused_and_the_store_goes_on(store):
    with pytest.raises(BadRecord):
        new_request(store, requestor_data="x" * 2_000_000)
    assert store.connected
    assert new_request(store).version == 0


# Locks


def test_a_lock_has_kazoos_names_and_one_holder(site, store, other):
    request = new_request(store)
    lock, _ = store.lock_request(request.id)
    assert lock.path == f"/nodepool/requests-lock/{request.id}"
    (contender,) = below(site, lock.path)
    assert CONTENDER.fullmatch(contender.rpartition("/")[2])
    for one in (store, other):
        with pytest.raises(LockBusy):
            one.lock_request(request.id)
    assert below(site, lock.path) == [contender]
    store.unlock(lock)
    assert not lock.valid
    store.unlock(lock)  # once more is fine
    relock, _ = other.lock_request(request.id)
    assert relock.valid


def test_a_busy_lock_is_found_out_without_writing(site, store):
    request = new_request(store)
    site.contend(f"/nodepool/requests-lock/{request.id}")
    eventually(lambda: request_locked(store, request.id))
    writes = store.writes
    with pytest.raises(LockBusy):
        store.lock_request(request.id)
    assert store.writes == writes


def test_locking_reads_again(site, store):
    request = new_request(store)
    site.put(f"/nodepool/requests/{request.id}", {"state": "requested", "relative_priority": 50})
    assert store.lock_request(request.id)[1].relative_priority == 50


def test_locking_what_cannot_be_read_leaves_nothing_locked(site, store):
    site.put("/nodepool/requests/200-0000000009", b"{")
    site.put("/nodepool/nodes/0000000009", {"state": "no such state"})
    with pytest.raises(BadRecord, match="200-0000000009"):
        store.lock_request("200-0000000009")
    with pytest.raises(BadRecord, match="0000000009"):
        store.lock_node("0000000009")
    assert [path for path in site.paths() if "__lock__" in path] == []


def test_a_node_is_only_made_while_its_provider_is_owned(site: Site, store: Store) -> None:
    owner = store.lock_provider("north")
    other = site.store()
    lock, node = store.create_node(replace(NODE, provider="north", state=NodeState.READY), owner=owner)
    assert (node.state, lock.valid) == (NodeState.READY, True)
    contender = next(p for p in site.paths() if p.startswith("/poolmgr/providers/north/lock/"))
    site.remove(contender)
    taken = other.lock_provider("north")
    with pytest.raises(LockLost):
        store.create_node(replace(NODE, provider="north"), owner=owner)
    with pytest.raises(LockLost):
        other.create_node(replace(NODE, provider="south"), owner=taken)
    assert raw_nodes(site) == [node.id]
    other.unlock(taken)


def raw_nodes(site: Site) -> list[str]:
    return [p.rpartition("/")[2] for p in site.paths() if p.rpartition("/")[0] == "/nodepool/nodes"]


def test_a_lock_of_a_deleted_node_does_not_bring_it_back(site, store, other):
    lock, node = store.create_node(NODE)
    store.delete_node(node, lock)
    for timeout in (0.0, 5.0):
        with pytest.raises(RecordGone):
            other.lock_node(node.id, timeout=timeout)
    assert below(site, "/nodepool/nodes") == []


def test_a_node_without_lock_directory_can_be_locked(site, store):
    site.put("/nodepool/nodes/0000000003", {"state": "ready"})
    lock, node = store.lock_node("0000000003")
    assert node.state is NodeState.READY
    assert len(below(site, lock.path)) == 1


def test_waiting_for_a_lock_ends_when_it_is_released(store, other):
    lock, node = store.create_node(NODE)
    waiting = _in_thread(lambda: other.lock_node(node.id, timeout=60.0))
    eventually(lambda: len(_contenders(store, node.id)) == 2)
    node = store.save_node(node.moved(NodeState.READY, at=5.0), lock)
    store.unlock(lock)
    relock, reread = waiting.result()
    assert relock.valid
    assert reread == node


def test_waiting_for_a_lock_ends_when_the_time_is_over_and_leaves_the_queue(site, store, other):
    lock, node = store.create_node(NODE)
    with pytest.raises(LockBusy):
        other.lock_node(node.id, timeout=0.01)
    assert len(below(site, lock.path)) == 1
    assert lock.valid


def test_waiting_for_a_lock_ends_when_the_node_is_deleted(site, store, other):
    lock, node = store.create_node(NODE)
    waiting = _in_thread(lambda: other.lock_node(node.id, timeout=60.0))
    eventually(lambda: len(_contenders(store, node.id)) == 2)
    store.delete_node(node, lock)  # who waits for it is removed with it
    with pytest.raises((RecordGone, LockBusy)):
        waiting.result()
    assert below(site, "/nodepool/nodes") == []


def test_foreign_contenders_hold_and_wait_like_ours(site, store):
    lock, node = store.create_node(NODE)
    store.unlock(lock)
    foreign = site.contend(f"/nodepool/nodes/{node.id}/lock")
    with pytest.raises(LockBusy):
        store.lock_node(node.id)
    site.remove(foreign)
    lock, _ = store.lock_node(node.id)
    site.contend(f"/nodepool/nodes/{node.id}/lock")  # behind us
    assert store.save_node(store.read_node(node.id), lock).version == 2


def test_children_of_a_lock_that_do_not_contend_do_not_count(site, store):
    request = new_request(store)
    site.put(f"/nodepool/requests-lock/{request.id}/something")
    lock, _ = store.lock_request(request.id)
    assert lock.valid


# Fencing


def test_a_write_with_a_lock_that_was_taken_away_is_refused(site, store):
    request = new_request(store)
    lock, request = store.lock_request(request.id)
    node_lock, node = store.create_node(NODE)
    before = site.get(f"/nodepool/requests/{request.id}"), site.get(f"/nodepool/nodes/{node.id}")
    for path in below(site, lock.path) + below(site, node_lock.path):
        site.remove(path)
    with pytest.raises(LockLost):
        store.save_request(request.moved(RequestState.PENDING, at=2.0), lock)
    with pytest.raises(LockLost):
        store.save_node(node.moved(NodeState.READY, at=2.0), node_lock)
    assert (
        site.get(f"/nodepool/requests/{request.id}"),
        site.get(f"/nodepool/nodes/{node.id}"),
    ) == before
    assert not lock.valid
    assert not node_lock.valid
    with pytest.raises(LockLost):
        store.delete_node(node, node_lock)
    assert site.get(f"/nodepool/nodes/{node.id}") is not None


def test_deleting_finds_out_that_the_lock_was_taken_away(site, store):
    lock, node = store.create_node(NODE)
    for path in below(site, lock.path):
        site.remove(path)
    with pytest.raises(LockLost):
        store.delete_node(node, lock)
    assert site.get(f"/nodepool/nodes/{node.id}") is not None


def test_a_lock_only_guards_its_own_record(store):
    lock, _ = store.create_node(NODE)
    _, node = store.create_node(NODE)
    with pytest.raises(LockLost):
        store.save_node(node, lock)


def test_finishing_unlocks_nodes_and_request_in_one_write(site, store, other):
    request = new_request(store)
    lock, request = store.lock_request(request.id)
    held = [store.create_node(replace(NODE, allocated_to=request.id)) for _ in range(2)]
    nodes = [(node, node_lock) for node_lock, node in held]
    writes = store.writes
    ids = tuple(node.id for node, _ in nodes)
    done = store.finish_request(request.moved(RequestState.FULFILLED, at=9.0, nodes=ids), lock, nodes)
    assert store.writes == writes + 1
    assert raw(site, f"/nodepool/requests/{request.id}")["nodes"] == list(ids)
    assert not any(held_lock.valid for held_lock in (lock, *(one for one, _ in held)))
    assert not any("__lock__" in path for path in site.paths())
    assert shown_request(store, request.id) == done
    assert not node_locked(store, ids[0])
    eventually(lambda: shown_request(other, request.id) == done and not node_locked(other, ids[0]))


def test_finishing_changes_nothing_when_one_lock_is_lost(site, store):
    request = new_request(store)
    lock, request = store.lock_request(request.id)
    first, second = store.create_node(NODE), store.create_node(NODE)
    for path in below(site, second[0].path):
        site.remove(path)
    done = request.moved(RequestState.FULFILLED, at=9.0)
    with pytest.raises(LockLost):
        store.finish_request(done, lock, [first[::-1], second[::-1]])
    assert store.read_request(request.id) == request
    assert (first[0].valid, second[0].valid, lock.valid) == (True, False, True)
    assert store.finish_request(done, lock, [first[::-1]]).state is RequestState.FULFILLED


def test_finishing_a_request_that_someone_changed_or_deleted_unlocks_nothing(site, store, other):
    request = new_request(store)
    lock, request = store.lock_request(request.id)
    node_lock, node = store.create_node(NODE)
    other.save_request(replace(other.read_request(request.id), relative_priority=9))
    done = request.moved(RequestState.FULFILLED, at=9.0)
    with pytest.raises(Conflict):
        store.finish_request(done, lock, [(node, node_lock)])
    other.delete_request(request.id)
    with pytest.raises(RecordGone):
        store.finish_request(done, lock, [(node, node_lock)])
    assert lock.valid
    assert store.save_node(node, node_lock).version == node.version + 1


# Nodes


def test_a_new_node_is_locked_in_the_same_write_that_gives_it_its_state(site, store, other):
    seen: list[Node | None] = []
    other.subscribe(lambda change: seen.append(shown_node(other, change.id)))
    writes = store.writes
    lock, node = store.create_node(NODE)
    assert store.writes == writes + 2
    assert re.fullmatch(r"\d{10}", node.id)
    assert node == replace(NODE, id=node.id)
    assert node.version == 1
    assert shown_node(store, node.id) == node
    assert node_locked(store, node.id)
    eventually(lambda: shown_node(other, node.id) == node and node_locked(other, node.id))
    with other.reading() as snapshot:
        assert list(snapshot.garbage("north")) == []
    stored = raw(site, f"/nodepool/nodes/{node.id}")
    assert (stored["ssh_port"], stored["connection_port"], stored["host_keys"]) == (22, 22, [])
    assert lock.valid


def test_a_new_node_in_init_is_only_locked(site, store):
    lock, node = store.create_node(replace(NODE, state=NodeState.INIT))
    assert (node.state, node.version) == (NodeState.INIT, 0)
    assert len(below(site, lock.path)) == 1


def test_a_whole_life_of_a_node_takes_few_writes(site, store, other):
    """A request, its node, the client's use of it, and the end: at most 20 transactions (issue 2)."""
    before = store.writes, other.writes
    request = new_request(other)
    eventually(lambda: shown_request(store, request.id))
    lock, request = store.lock_request(request.id)
    request = store.save_request(request.moved(RequestState.PENDING, at=2.0), lock)
    node_lock, node = store.create_node(replace(NODE, allocated_to=request.id))
    node = store.save_node(replace(node, external_id="server"), node_lock)
    node = store.save_node(node.moved(NodeState.READY, at=3.0, interface_ip="192.0.2.1"), node_lock)
    store.finish_request(
        request.moved(RequestState.FULFILLED, at=4.0, nodes=(node.id,)), lock, [(node, node_lock)]
    )
    client_lock, used = other.lock_node(node.id, timeout=30.0)
    other.delete_request(request.id)
    used = other.save_node(used.moved(NodeState.IN_USE, at=5.0), client_lock)
    other.save_node(used.moved(NodeState.USED, at=6.0), client_lock)
    other.unlock(client_lock)
    eventually(lambda: shown_node(store, node.id).state is NodeState.USED and not node_locked(store, node.id))
    assert store.drop_request_lock(request.id)
    node_lock, node = store.lock_node(node.id)
    node = store.save_node(node.moved(NodeState.DELETING, at=7.0), node_lock)
    store.delete_node(node, node_lock)
    assert (store.writes - before[0], other.writes - before[1]) == (11, 6)
    assert below(site, "/nodepool/nodes") == below(site, "/nodepool/requests") == []
    assert below(site, "/nodepool/requests-lock") == []


def test_deleting_takes_lock_and_everyone_who_waits_along(site, store, other):
    lock, node = store.create_node(NODE)
    eventually(lambda: shown_node(other, node.id))
    site.contend(lock.path)
    site.put(f"/nodepool/nodes/{node.id}/left/over")
    store.delete_node(node, lock)
    assert below(site, "/nodepool/nodes") == []
    assert not lock.valid
    assert shown_node(store, node.id) is None
    eventually(lambda: shown_node(other, node.id) is None and not node_locked(other, node.id))


def test_deleting_what_is_gone_is_fine(site, store):
    lock, node = store.create_node(NODE)
    site.remove(f"/nodepool/nodes/{node.id}")
    store.delete_node(node, lock)
    assert not lock.valid


def test_deleting_a_node_that_someone_changed_is_refused(site, store):
    lock, node = store.create_node(NODE)
    site.put(f"/nodepool/nodes/{node.id}", {"state": "in-use"})
    with pytest.raises(Conflict):
        store.delete_node(node, lock)
    assert store.read_node(node.id).state is NodeState.IN_USE
    assert lock.valid


def test_zuuls_and_unknown_keys_of_a_node_survive_a_save(site, store):
    path = "/nodepool/nodes/0000000007"
    written = {"state": "ready", "type": "old-style", "id": "0000000007", "ssh_port": 2222, "future": True}
    site.put(path, {**written, "host_keys": None, "hold_expiration": "soon"})
    lock, node = store.lock_node("0000000007")
    assert node.labels == ("old-style",)
    assert (node.connection_port, node.username, node.host_keys, node.hold_expiration) == (
        2222,
        "zuul",
        (),
        0,
    )
    store.save_node(node, lock)
    stored = raw(site, path)
    assert (stored["id"], stored["future"], stored["type"]) == ("0000000007", True, ["old-style"])
    assert (stored["ssh_port"], stored["connection_port"], stored["host_keys"]) == (2222, 2222, [])


# What the cache shows


def test_a_new_store_shows_all_that_is_there(site, store):
    request = new_request(store)
    lock, node = store.create_node(NODE)
    store.lock_request(request.id)
    store.register(POOL)
    upload = store.create_upload(Upload(image="i", build="b" * 32, provider="north", external_id="x"))
    late = site.store()
    with late.reading() as snapshot:
        assert snapshot.node(node.id) == node
        assert snapshot.request(request.id) == request
        assert snapshot.node_locked(node.id)
        assert snapshot.request_locked(request.id)
        assert list(snapshot.request_locks()) == [request.id]
        assert [pool.id for pool in snapshot.pools()] == ["pool-id"]
        assert list(snapshot.uploads()) == [upload]
    assert lock.valid


def test_changes_name_what_changed_and_the_nodes_provider(site, store, other):
    changes: list[Change] = []
    undo = other.subscribe(changes.append)
    lock, node = store.create_node(NODE)
    eventually(lambda: shown_node(other, node.id) == node)
    eventually(lambda: Change(ChangeKind.NODE, node.id, "north") in changes)
    changes.clear()
    store.delete_node(node, lock)
    eventually(lambda: Change(ChangeKind.NODE, node.id, "north") in changes)
    request = new_request(store)
    eventually(lambda: Change(ChangeKind.REQUEST, request.id) in changes)
    undo()
    undo()
    changes.clear()
    new_request(store)
    last = new_request(other)
    eventually(lambda: shown_request(store, last.id))
    assert changes == []


def test_own_writes_are_reported_too(store):
    changes: list[Change] = []
    store.subscribe(changes.append)
    request = new_request(store)
    eventually(lambda: Change(ChangeKind.REQUEST, request.id) in changes)


def test_a_subscriber_may_write(store):
    written: list[str] = []

    def on_change(change: Change) -> None:
        if change.kind is ChangeKind.REQUEST and not written:
            written.append("")
            threading.Thread(target=lambda: written.append(new_request(store).id)).start()

    store.subscribe(on_change)
    new_request(store)
    eventually(lambda: len(written) == 2 and shown_request(store, written[1]))


def test_unreadable_records_are_skipped_kept_and_logged_once_with_their_path(site, store, caplog):
    site.put("/nodepool/nodes/0000000001", b"\xff not json")
    site.put("/nodepool/nodes/0000000002", {"state": "exploded"})
    site.put("/nodepool/requests/200-0000000003", {"state": "requested", "node_types": "x"})
    site.put("/nodepool/components/pool/host0000000001", b"[]")
    site.put("/nodepool/nodes/0000000005", {"state": "ready"})
    eventually(lambda: shown_node(store, "0000000005"))
    site.put("/nodepool/nodes/0000000001", b"still not json")
    site.put("/nodepool/nodes/0000000005", {"state": "used"})
    eventually(lambda: shown_node(store, "0000000005").state is NodeState.USED)
    with store.reading() as snapshot:
        assert [node.id for node in snapshot.nodes()] == ["0000000005"]
        assert snapshot.node_unreadable("0000000001")
        assert snapshot.node_unreadable("0000000002")
        assert list(snapshot.requests()) == list(snapshot.pools()) == []
    logged = [record.getMessage() for record in caplog.records if "cannot be read" in record.getMessage()]
    for path in (
        "/nodes/0000000001",
        "/nodes/0000000002",
        "/requests/200-0000000003",
        "/pool/host0000000001",
    ):
        assert len([line for line in logged if path in line]) == 1
    assert store.purge_empty() == 0
    assert site.get("/nodepool/nodes/0000000001") == b"still not json"


def test_a_record_that_becomes_readable_or_unreadable_is_shown_so(site, store):
    path = "/nodepool/nodes/0000000001"
    site.put(path, b"{")
    site.put(path, {"state": "ready", "provider": "north"})
    eventually(lambda: shown_node(store, "0000000001"))
    site.put(path, {"state": "exploded"})
    eventually(lambda: shown_node(store, "0000000001") is None)
    assert _unreadable(store, "0000000001")
    site.remove(path)
    eventually(lambda: not _unreadable(store, "0000000001"))


def test_empty_znodes_that_nobody_has_locked_are_removed(site, store):
    site.put("/nodepool/nodes/0000000001/lock")  # as locking a deleted node leaves it
    site.put("/nodepool/nodes/0000000002")
    site.put("/nodepool/requests/200-0000000003")
    contender = site.contend("/nodepool/nodes/0000000004/lock")
    site.put("/nodepool/nodes/0000000005", {"state": "ready"})
    eventually(lambda: shown_node(store, "0000000005") and node_locked(store, "0000000004"))
    assert store.purge_empty() == 3
    assert below(site, "/nodepool/requests") == []
    assert [path for path in below(site, "/nodepool/nodes") if path.count("/") == 3] == [
        "/nodepool/nodes/0000000004",
        "/nodepool/nodes/0000000005",
    ]
    site.remove(contender)
    eventually(lambda: not node_locked(store, "0000000004"))
    assert store.purge_empty() == 1
    assert store.purge_empty() == 0


def test_an_empty_znode_that_gets_data_meanwhile_is_not_removed(site, store):
    site.put("/nodepool/nodes/0000000001")
    site.put("/nodepool/nodes/0000000002", {"state": "ready"})
    eventually(lambda: shown_node(store, "0000000002"))
    site.put("/nodepool/nodes/0000000001", {"state": "ready"})
    assert store.purge_empty() == 0
    assert store.read_node("0000000001").state is NodeState.READY


def test_foreign_things_in_the_tree_do_no_harm(site, store):
    site.put("/nodepool/requests/lock", b"x")
    site.put("/nodepool/nodes/lock", b"x")
    site.put("/nodepool/components/starship/host0000000000", {"state": "flying"})
    site.put("/nodepool/launchers/abc", b"{}")
    site.put("/nodepool/images/img/pause")
    site.put("/nodepool/images/img/builds/lock/something")
    site.put("/nodepool/something/else", b"x")
    site.put("/elsewhere", b"x")
    request = new_request(store)
    assert site.store().read_request(request.id) == request
    with store.reading() as snapshot:
        assert list(snapshot.nodes()) == list(snapshot.builds()) == list(snapshot.uploads()) == []
        assert list(snapshot.requests()) == [request]


def test_uploads_come_with_data_and_empty_ones_may_vanish(site, store, caplog):
    upload = Upload(image="img", build="0" * 32, provider="north", state=UploadState.READY, state_time=1.0)
    first = store.create_upload(replace(upload, external_id="old"))
    folder = first.path.rpartition("/")[0]
    site.put(f"{folder}/0000000007")  # as import-image-data makes and removes them
    site.remove(f"{folder}/0000000007")
    second = {"state": "ready", "state_time": 2, "external_id": "new", "x": 1}
    site.put(f"{folder}/0000000008", second)
    site.put(f"/nodepool/images/img/builds/{'0' * 32}", {"state": "ready"})

    def newest() -> str | None:
        with store.reading() as snapshot:
            found = snapshot.newest_upload("img", "north")
            return found.external_id if found else None

    eventually(lambda: newest() == "new")
    site.remove(f"{folder}/0000000008")
    eventually(lambda: newest() == "old")
    eventually(lambda: [build.id for build in _builds(store)] == ["0" * 32])
    assert "cannot be read" not in caplog.text
    site.remove("/nodepool/images/img")
    eventually(lambda: newest() is None and _builds(store) == [])


# Lock directories of requests


def test_lock_directories_go_when_the_request_is_gone_and_nobody_contends(site, store, other):
    request = new_request(store)
    lock, _ = store.lock_request(request.id)
    assert not store.drop_request_lock(request.id)  # it exists
    store.unlock(lock)
    assert not store.drop_request_lock(request.id)
    site.put("/nodepool/requests-lock/200-0000000077")
    assert list(store.stale_request_locks()) == ["200-0000000077"]
    lock, _ = other.lock_request(request.id)
    store.delete_request(request.id)
    assert not store.drop_request_lock(request.id)  # someone has it
    other.unlock(lock)
    assert set(store.stale_request_locks()) == {"200-0000000077", request.id}
    assert store.drop_request_lock(request.id)
    assert store.drop_request_lock(request.id)  # gone already
    assert store.drop_request_lock("200-0000000077")
    assert below(site, "/nodepool/requests-lock") == []


# Components


def test_a_component_is_published_with_sorted_keys_and_shown(site, store, other):
    pool = store.register(POOL)
    assert re.fullmatch(r"host\d{10}", pool.znode)
    data = site.get(f"/nodepool/components/pool/{pool.znode}")
    assert list(json.loads(data)) == sorted(json.loads(data))
    assert json.loads(data) == {
        "hostname": "host",
        "id": "pool-id",
        "kind": "pool",
        "model_api": 0,
        "name": "main",
        "paused": False,
        "priority": 100,
        "provider_name": "north",
        "state": "running",
        "supported_labels": ["small"],
        "version": "1",
    }
    assert pools(store) == [pool]
    eventually(lambda: pools(other) == [pool])
    launcher = store.register(Component(kind=ComponentKind.LAUNCHER, hostname="host"))
    stored = raw(site, f"/nodepool/components/launcher/{launcher.znode}")
    assert set(stored) == {"hostname", "kind", "model_api", "state", "version"}


def test_a_component_is_written_only_when_it_differs(site, store, other):
    pool = store.register(POOL)
    writes = store.writes
    assert store.update_component(replace(pool, version="1")) == pool
    assert store.writes == writes
    paused = store.update_component(replace(pool, paused=True))
    assert store.writes == writes + 1
    assert paused.stat_version == 1
    assert store.update_component(replace(pool, paused=True)) == paused  # from the first copy as well
    assert store.writes == writes + 1
    eventually(lambda: pools(other) == [paused])


def test_a_component_that_someone_else_wrote_or_removed_is_put_right(site, store):
    pool = store.register(POOL)
    site.put(f"/nodepool/components/pool/{pool.znode}", {"state": "stopped", "kind": "pool"})
    again = store.update_component(replace(pool, priority=5))
    assert raw(site, f"/nodepool/components/pool/{pool.znode}")["priority"] == 5
    site.remove(f"/nodepool/components/pool/{pool.znode}")
    renewed = store.update_component(replace(again, priority=6))
    assert raw(site, f"/nodepool/components/pool/{renewed.znode}")["priority"] == 6
    assert store.update_component(replace(pool, priority=6)) == renewed


def test_a_component_can_be_withdrawn(site, store, other):
    pool = store.register(POOL)
    eventually(lambda: pools(other))
    store.unregister(pool)
    store.unregister(pool)
    assert below(site, "/nodepool/components/pool") == []
    eventually(lambda: not pools(other))
    with pytest.raises(RecordGone):
        store.update_component(pool)


def test_a_component_of_unknown_state_still_counts(site, store):
    site.put("/nodepool/components/pool/x0000000001", {"state": "meditating", "id": "x", "kind": "pool"})
    assert eventually(lambda: pools(store))[0].id == "x"


# Elections


def test_one_leads_and_another_follows_when_it_withdraws_or_goes(site, store, other):
    first, second = store.elect("stats", "host-1"), other.elect("stats", "host-2")
    assert eventually(lambda: first.leading)
    assert not second.leading
    contenders = below(site, "/nodepool/elections/stats")
    assert all(CONTENDER.fullmatch(path.rpartition("/")[2]) for path in contenders)
    assert [site.get(path) for path in sorted(contenders, key=lambda p: p[-10:])] == [b"host-1", b"host-2"]
    third = store.elect("stats", "host-1")
    first.withdraw()
    first.withdraw()
    assert not first.leading
    assert eventually(lambda: second.leading)
    other.close()
    assert eventually(lambda: third.leading)
    assert not second.leading


# Sessions


def test_after_a_lost_session_nothing_is_held_and_everything_stands_again(site, store, other):
    request = new_request(store)
    lock, request = store.lock_request(request.id)
    node_lock, node = store.create_node(NODE)
    pool = store.register(POOL)
    election = store.elect("stats", "host-1")
    eventually(lambda: node_locked(other, node.id) and pools(other))
    epoch = store.epoch
    site.expire(store)
    assert store.epoch == epoch + 1
    assert (lock.valid, node_lock.valid) == (False, False)
    for write in (
        lambda: store.save_request(request, lock),
        lambda: store.save_node(node, node_lock),
        lambda: store.delete_node(node, node_lock),
        lambda: store.finish_request(request, lock, [(node, node_lock)]),
    ):
        with pytest.raises(LockLost):
            write()
    store.unlock(lock)
    eventually(lambda: not node_locked(other, node.id) and not request_locked(other, request.id))
    assert not node_locked(store, node.id)
    assert shown_node(store, node.id) == node
    assert eventually(lambda: election.leading)
    (again,) = pools(store)
    assert again.znode != pool.znode
    eventually(lambda: pools(other) == [again])
    assert store.update_component(replace(pool, paused=True)).znode == again.znode
    relock, _ = store.lock_node(node.id)
    assert store.save_node(node, relock).version == node.version + 1


def test_an_own_write_of_the_old_session_loses_against_a_new_owner(site, store, other):
    lock, node = store.create_node(NODE)
    site.expire(store)
    new_lock, mine = other.lock_node(node.id)
    mine = other.save_node(mine.moved(NodeState.DELETING, at=3.0), new_lock)
    with pytest.raises(LockLost):
        store.save_node(node.moved(NodeState.READY, at=3.0), lock)
    with pytest.raises(Conflict):
        store.save_node(node.moved(NodeState.READY, at=3.0))
    assert other.read_node(node.id) == mine


def test_while_suspended_nothing_can_be_done_and_locks_are_kept(site, store, other):
    request = new_request(store)
    lock, request = store.lock_request(request.id)
    epoch = store.epoch
    sessions: list[bool] = []
    store.subscribe(lambda c: sessions.append(store.connected) if c.kind is ChangeKind.SESSION else None)
    site.suspend(store)
    assert not store.connected
    for act in (
        lambda: store.save_request(request, lock),
        lambda: store.read_request(request.id),
        lambda: store.lock_node("0000000001", timeout=5.0),
        lambda: store.create_node(NODE),
        lambda: store.delete_request(request.id),
        lambda: store.deployment(),
        lambda: store.register(POOL),
    ):
        with pytest.raises(StoreUnavailable):
            act()
    assert shown_request(store, request.id) == request  # as last seen
    eventually(lambda: False in sessions)
    site.resume(store)
    assert store.connected
    eventually(lambda: True in sessions)
    assert store.epoch == epoch
    assert lock.valid
    assert store.save_request(request, lock).version == request.version + 1


def test_what_happened_while_suspended_is_seen_afterwards(site, store, other):
    gone_lock, gone = other.create_node(NODE)
    kept_lock, kept = other.create_node(NODE)
    request = new_request(other)
    other.lock_request(request.id)
    pool = other.register(POOL)
    upload = other.create_upload(Upload(image="i", build="b", provider="p"))
    eventually(lambda: shown_node(store, kept.id) and request_locked(store, request.id) and pools(store))
    site.suspend(store)
    other.delete_node(gone, gone_lock)
    kept = other.save_node(kept.moved(NodeState.READY, at=5.0), kept_lock)
    other.unlock(kept_lock)
    new_lock, new = other.create_node(NODE)
    other.delete_request(request.id)
    site.remove(f"/nodepool/requests-lock/{request.id}")
    other.unregister(pool)
    site.remove("/nodepool/images/i")
    assert shown_node(store, gone.id) == gone
    assert upload.id
    site.resume(store)
    assert shown_node(store, gone.id) is None
    assert shown_node(store, kept.id) == kept
    assert shown_node(store, new.id) == new
    assert (node_locked(store, kept.id), node_locked(store, new.id)) == (False, True)
    assert node_locked(store, gone.id) is False
    assert shown_request(store, request.id) is None
    assert not request_locked(store, request.id)
    assert pools(store) == []
    with store.reading() as snapshot:
        assert list(snapshot.uploads()) == []
    other.unlock(new_lock)
    eventually(lambda: not node_locked(store, new.id))  # and it watches again


def test_a_lock_that_was_taken_away_while_suspended_is_void_afterwards(site, store):
    lock, _ = store.create_node(NODE)
    site.suspend(store)
    for path in below(site, lock.path):
        site.remove(path)
    site.resume(store)
    assert not lock.valid


@pytest.mark.parametrize("act", ["lock", "unlock", "create", "finish"])
def test_a_lost_answer_leaves_no_contender_behind(site, store, act):
    request = new_request(store)
    lock, node = store.create_node(NODE)
    request_lock, request = store.lock_request(request.id)
    if act == "lock":
        store.unlock(lock)
    site.lose_next_answer(store)
    try:
        if act == "lock":
            store.lock_node(node.id)
        elif act == "unlock":
            store.unlock(lock)
        elif act == "create":
            store.create_node(NODE)
        else:
            done = request.moved(RequestState.FULFILLED, at=3.0)
            store.finish_request(done, request_lock, [(node, lock)])
    except StoreUnavailable:
        pass
    else:
        assert act == "unlock"
    eventually(lambda: not store.connected)
    site.resume(store)
    held = {one.path for one in (lock, request_lock) if one.valid}
    contenders = [path for path in site.paths() if "__lock__" in path]
    assert {path.rpartition("/")[0] for path in contenders} == held
    assert held <= {request_lock.path} | ({lock.path} if act == "create" else set())


def test_a_component_whose_answer_was_lost_does_not_stay_as_a_ghost(site, store):
    site.lose_next_answer(store)
    with pytest.raises(StoreUnavailable):
        store.register(POOL)
    eventually(lambda: not store.connected)
    site.resume(store)
    assert below(site, "/nodepool/components/pool") == []
    assert pools(store) == []


def test_what_was_withdrawn_or_wanted_while_suspended_is_so_afterwards(site, store):
    pool = store.register(POOL)
    lock, node = store.create_node(NODE)
    old = store.elect("stats", "old")
    site.suspend(store)
    store.unregister(pool)
    store.unlock(lock)
    old.withdraw()
    new = store.elect("other", "new")
    assert not new.leading
    site.resume(store)
    assert pools(store) == []
    assert below(site, "/nodepool/components/pool") == []
    assert below(site, "/nodepool/elections/stats") == []
    assert not node_locked(store, node.id)
    assert below(site, lock.path) == []
    assert eventually(lambda: new.leading)


def test_waiting_for_a_lock_ends_when_the_connection_breaks(site, store, other):
    lock, node = store.create_node(NODE)
    waiting = _in_thread(lambda: other.lock_node(node.id, timeout=60.0))
    eventually(lambda: len(_contenders(store, node.id)) == 2)
    site.suspend(other)
    with pytest.raises(StoreUnavailable):
        waiting.result()
    site.resume(other)
    eventually(lambda: len(_contenders(store, node.id)) == 1)
    assert lock.valid


def test_closing_ends_the_session_and_may_be_repeated(site, store, other):
    lock, node = store.create_node(NODE)
    store.register(POOL)
    eventually(lambda: pools(other))
    store.close()
    store.close()
    assert not store.connected
    assert not lock.valid
    eventually(lambda: not pools(other) and not node_locked(other, node.id))
    with pytest.raises(StoreUnavailable):
        store.read_node(node.id)


# What is ours alone


def test_all_have_the_same_deployment_id(site, store, other):
    assert re.fullmatch(r"[0-9a-f]{32}", store.deployment())
    assert other.deployment() == store.deployment() == site.get("/poolmgr/deployment").decode()


def test_queue_lengths_have_the_metrics_names(store):
    assert set(store.queues) == {
        "zk.client.connection_queue",
        *(
            f"zk.{cache}_cache.{queue}_queue"
            for cache in ("node", "request", "image")
            for queue in ("event", "playback")
        ),
    }
    assert eventually(lambda: set(store.queues.values()) == {0})


def test_many_writers_and_readers_agree_in_the_end(site, store, other):
    def churn(one: TreeStore) -> None:
        for _ in range(15):
            lock, node = one.create_node(NODE)
            node = one.save_node(node.moved(NodeState.READY, at=2.0), lock)
            one.unlock(lock)
            lock, node = one.lock_node(node.id)
            one.delete_node(one.save_node(node.moved(NodeState.DELETING, at=3.0), lock), lock)

    threads = [_in_thread(lambda one=one: churn(one)) for one in (store, other) for _ in range(3)]
    for thread in threads:
        thread.result()
    assert below(site, "/nodepool/nodes") == []
    for one in (store, other):
        eventually(lambda one=one: _nodes(one) == [] and not _garbage(one))


class _in_thread:  # noqa: N801 - reads as a function
    """`act` in a thread of its own; `result` is what it returned or raised."""

    def __init__(self, act: Any) -> None:
        self._act = act
        self._value: Any = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._value = self._act()
        except BaseException as error:
            self._error = error

    def result(self) -> Any:
        self._thread.join(60)
        assert not self._thread.is_alive()
        if self._error is not None:
            raise self._error
        return self._value


def _contenders(store: TreeStore, node_id: str) -> frozenset[str]:
    return store._cache.contenders(f"/nodepool/nodes/{node_id}/lock")


def _nodes(store: Store) -> list[Node]:
    with store.reading() as snapshot:
        return list(snapshot.nodes())


def _garbage(store: Store) -> list[Node]:
    with store.reading() as snapshot:
        return list(snapshot.garbage("north"))


def _unreadable(store: Store, node_id: str) -> bool:
    with store.reading() as snapshot:
        return snapshot.node_unreadable(node_id)


def _builds(store: Store) -> list[Any]:
    with store.reading() as snapshot:
        return list(snapshot.builds())
