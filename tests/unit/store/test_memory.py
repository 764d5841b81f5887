"""The tree in memory behaves as ZooKeeper's does."""

from __future__ import annotations

import pytest

from poolmgr.errors import StoreUnavailable
from poolmgr.model.node import Node, NodeState
from poolmgr.model.request import NodeRequest
from poolmgr.store.memory import MemoryStore, MemoryTree
from poolmgr.store.tree import Check, Create, Delete, Refusal, Refused, SetData


def made(*paths: str) -> MemoryTree:
    tree = MemoryTree()
    for path in paths:
        tree.apply((Create(path),), 0)
    return tree


@pytest.mark.parametrize(
    ("operation", "why"),
    [
        (Create("/a"), Refusal.EXISTS),
        (Create("/no/parent"), Refusal.NO_NODE),
        (SetData("/no", b"", -1), Refusal.NO_NODE),
        (SetData("/a", b"", 5), Refusal.BAD_VERSION),
        (Delete("/no"), Refusal.NO_NODE),
        (Delete("/a/b", 5), Refusal.BAD_VERSION),
        (Delete("/a"), Refusal.NOT_EMPTY),
        (Check("/no"), Refusal.NO_NODE),
        (Check("/a", 5), Refusal.BAD_VERSION),
    ],
)
def test_what_cannot_be_done_is_refused_with_its_reason_and_undoes_all_before_it(operation, why):
    tree = made("/a", "/a/b", "/c")
    before = tree.paths(), tree.get("/a")
    with pytest.raises(Refused) as refused:
        tree.apply((Create("/d"), SetData("/a", b"new", 0), Delete("/c"), operation), 0)
    assert (refused.value.why, refused.value.path) == (why, operation.path)
    assert refused.value.index == 3
    assert (tree.paths(), tree.get("/a")) == before


def test_later_operations_of_a_transaction_see_the_earlier_ones():
    tree = made("/a", "/a/b")
    done = tree.apply((Delete("/a/b"), Delete("/a"), Create("/a"), SetData("/a", b"x", 0), Check("/a", 1)), 0)
    assert [one.path for one in done] == ["/a/b", "/a", "/a", "/a", "/a"]
    data, stat = tree.get("/a")
    assert (data, stat.version) == (b"x", 1)
    assert done[3].stat == stat
    assert done[2].stat is None  # as on the wire


def test_sequences_count_creations_of_any_kind_and_never_repeat():
    tree = made("/a", "/a/x")
    create = Create("/a/n-", sequence=True)
    first = tree.apply((create,), 0)[0].path
    tree.apply((Delete(first),), 0)
    second = tree.apply((create,), 0)[0].path
    assert (first, second) == ("/a/n-0000000001", "/a/n-0000000002")


def test_ephemerals_end_with_their_session_only():
    tree = made("/a")
    tree.apply((Create("/a/one", ephemeral=True),), 7)
    tree.apply((Create("/a/two", ephemeral=True),), 8)
    tree.end(7)
    assert tree.children("/a") == ["two"]


def test_everything_is_the_same_in_each_run():
    def run() -> list[str]:
        store = MemoryStore()
        store.start()
        store.create_node(Node(state=NodeState.BUILDING))
        return store.tree.paths()

    assert run() == run()


def test_changes_are_told_before_the_call_returns_and_callbacks_may_write():
    tree = MemoryTree()
    store, other = MemoryStore(tree), MemoryStore(tree)
    store.start()
    other.start()
    seen: list[str] = []

    def on_change(change):
        seen.append(change.id)
        if len(seen) == 1:
            lock, _ = other.create_node(Node(provider="b"))
            other.unlock(lock)

    other.subscribe(on_change)
    _, node = store.create_node(Node(provider="a"))
    assert node.id in seen
    with other.reading() as snapshot:
        assert {n.provider for n in snapshot.nodes()} == {"a", "b"}


def test_an_expired_store_may_stay_away():
    store = MemoryStore()
    store.start()
    lock, node = store.create_node(Node())
    store.expire(reconnect=False)
    assert not store.connected
    assert not lock.valid
    with pytest.raises(StoreUnavailable):
        store.read_node(node.id)
    store.resume()
    assert store.connected
    assert store.lock_node(node.id)[0].valid


@pytest.mark.parametrize("before", [True, False], ids=["before the write", "after it"])
@pytest.mark.parametrize("act", ["create_node", "lock_node"])
def test_a_lock_whose_session_ends_while_it_is_taken_is_none(act, before):
    store = MemoryStore()
    store.start()
    lock, node = store.create_node(Node())
    store.unlock(lock)
    commit = store._memory.commit

    def with_expiry(write, *reads):
        contends = any(isinstance(one, Create) and one.ephemeral for one in write.operations)
        if contends and before:
            store.expire()
        answers = commit(write, *reads)
        if contends and not before:
            store.expire()
        return answers

    store._memory.commit = with_expiry  # type: ignore[method-assign]
    with pytest.raises(StoreUnavailable):
        store.create_node(Node()) if act == "create_node" else store.lock_node(node.id)
    assert not any("__lock__" in path for path in store.tree.paths())


@pytest.mark.parametrize("act", ["create_node", "lock_node"])
def test_a_contender_whose_answer_is_lost_goes_even_if_its_thread_learns_of_it_after_the_new_connection(act):
    store = MemoryStore()
    store.start()
    lock, node = store.create_node(Node())
    store.unlock(lock)
    commit = store._memory.commit

    def lost_and_found(write, *reads):
        if not any(isinstance(one, Create) and one.ephemeral for one in write.operations):
            return commit(write, *reads)
        store.lose_next_answer()
        try:
            return commit(write, *reads)
        finally:
            store.resume()

    store._memory.commit = lost_and_found  # type: ignore[method-assign]
    with pytest.raises(StoreUnavailable):
        store.create_node(Node()) if act == "create_node" else store.lock_node(node.id)
    assert not any("__lock__" in path for path in store.tree.paths())


def test_a_store_that_is_stopped_at_its_start_or_never_started_can_be_closed():
    store = MemoryStore()
    store.start(stop=lambda: True)
    assert not store.connected
    store.close()


def test_a_store_closed_after_its_session_expired_takes_nothing_persistent_with_it():
    tree = MemoryTree()
    other, store = MemoryStore(tree), MemoryStore(tree)
    other.start()
    store.start()
    request = other.create_request(NodeRequest(labels=("small",)), priority=200)
    store.expire(reconnect=False)
    store.close()
    assert other.read_request(request.id).labels == ("small",)
