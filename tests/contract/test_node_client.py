"""The client over real stores: what Zuul's side of a request does, and what happens when it goes wrong."""

import time

import pytest

from poolmgr.cli.client import LOCK_TIMEOUT, NodeClient
from poolmgr.cli.orders import Stage, Wanted
from poolmgr.errors import RecordGone, StoreUnavailable
from poolmgr.model.node import NodeState
from poolmgr.model.request import NodeRequest, RequestState
from poolmgr.runtime.clock import SystemClock
from tests.scripted_launcher import ScriptedLauncher
from tests.sites import MemorySite, ZooKeeperSite, eventually


class Stepping(SystemClock):
    """The machine's clock, which a test may put forward."""

    ahead = 0.0

    def monotonic(self):
        return super().monotonic() + self.ahead


@pytest.fixture(params=["memory", "zookeeper"])
def site(request):
    if request.param == "memory":
        one = MemorySite()
    else:
        one = ZooKeeperSite(request.getfixturevalue("zookeeper_hosts"))
    yield one
    one.close()


@pytest.fixture
def pair(site):
    """The client's store and another one."""
    return site.store(), site.store()


@pytest.fixture
def store(pair):
    return pair[0]


@pytest.fixture
def launcher(pair):
    return ScriptedLauncher(pair[1])


@pytest.fixture
def clock():
    return Stepping()


@pytest.fixture
def client(store, clock):
    return NodeClient(store, clock, requestor="test", user_data={"who": "test"})


def step_until(client, order, *stages):
    """Drive the client until the order is in one of `stages`."""
    for _ in range(200):
        client.step()
        if order.stage in stages:
            return
        client.wait(0.05)
    pytest.fail(f"the order stayed {order.stage}")


def test_a_request_says_what_is_wanted(store, client):
    order = client.submit(
        Wanted(labels=("a", "b"), priority=100, relative_priority=3, tenant="t", provider="p")
    )
    request = store.read_request(order.request.id)
    assert request.id.startswith("100-")
    assert (request.state, request.labels, request.relative_priority) == (
        RequestState.REQUESTED,
        ("a", "b"),
        3,
    )
    assert (request.tenant_name, request.provider, request.requestor) == ("t", "p", "test")
    assert request.created_time == request.state_time
    assert len(request.event_id) == 32


def test_it_takes_over_the_nodes_as_an_executor_does(store, client, launcher):
    order = client.submit(Wanted(labels=("a", "b")))
    ids = launcher.fulfil(order.request.id)
    step_until(client, order, Stage.HELD)
    assert [node.id for node in order.nodes] == list(ids)
    assert [node.label for node in order.nodes] == ["a", "b"]
    assert order.latency >= 0.0
    with pytest.raises(RecordGone):
        store.read_request(order.request.id)
    for node_id in ids:
        node = store.read_node(node_id)
        assert (node.state, node.user_data) == (NodeState.IN_USE, {"who": "test"})
    with store.reading() as snapshot:
        assert all(snapshot.node_locked(node_id) for node_id in ids)


def test_it_gives_nodes_back_as_used_and_unlocked(store, client, launcher):
    order = client.submit(Wanted(labels=("a",)))
    (node_id,) = launcher.fulfil(order.request.id)
    step_until(client, order, Stage.HELD)
    client.release(order)
    client.release(order)
    assert order.stage is Stage.RELEASED
    assert store.read_node(node_id).state is NodeState.USED
    with store.reading() as snapshot:
        assert not snapshot.node_locked(node_id)
    assert client.orders == []


def test_each_step_tells_only_what_moved(client, launcher):
    first, second = client.submit(Wanted(labels=("a",))), client.submit(Wanted(labels=("a",)))
    launcher.fulfil(second.request.id)
    step_until(client, second, Stage.HELD)
    assert client.step() == []
    assert first.stage is Stage.WAITING
    launcher.fulfil(first.request.id)
    step_until(client, first, Stage.HELD)


def test_a_failed_request_is_deleted_and_says_who_declined(store, client, launcher):
    order = client.submit(Wanted(labels=("a",)))
    launcher.fail(order.request.id, "pool-1", "pool-2")
    step_until(client, order, Stage.FAILED)
    assert order.reason == "declined by 2 pool(s)"
    assert order.request.declined_by == ("pool-1", "pool-2")
    with pytest.raises(RecordGone):
        store.read_request(order.request.id)
    assert client.orders == []


def test_a_request_that_someone_deletes_is_lost(pair, client):
    order = client.submit(Wanted(labels=("a",)))
    pair[1].delete_request(order.request.id)
    step_until(client, order, Stage.LOST)
    assert "deleted by someone else" in order.reason


@pytest.mark.parametrize("work", ["none", "pending", "fulfilled"])
def test_cancelling_deletes_the_request_however_far_it_is(store, client, launcher, work):
    order = client.submit(Wanted(labels=("a",)))
    if work == "pending":
        launcher.start_work(order.request.id)
    elif work == "fulfilled":
        launcher.fulfil(order.request.id)
    client.release(order)
    assert order.stage is Stage.RELEASED
    with pytest.raises(RecordGone):
        store.read_request(order.request.id)


def test_a_busy_node_lock_is_waited_for(pair, client, launcher):
    order = client.submit(Wanted(labels=("a", "b")))
    ids = launcher.fulfil(order.request.id)
    busy, _ = pair[1].lock_node(ids[1])
    step_until(client, order, Stage.ACCEPTING)
    pair[1].unlock(busy)
    step_until(client, order, Stage.HELD)


def test_a_node_lock_that_stays_busy_fails_the_order_and_frees_the_others(pair, client, launcher, clock):
    order = client.submit(Wanted(labels=("a", "b")))
    ids = launcher.fulfil(order.request.id)
    pair[1].lock_node(ids[1])
    step_until(client, order, Stage.ACCEPTING)
    clock.ahead = LOCK_TIMEOUT
    step_until(client, order, Stage.FAILED)
    assert "stayed locked" in order.reason
    with pair[0].reading() as snapshot:
        assert not snapshot.node_locked(ids[0])
        assert snapshot.request(order.request.id) is None  # its own writes it sees at once


def test_a_node_that_vanished_fails_the_order(pair, client, launcher):
    order = client.submit(Wanted(labels=("a",)))
    (node_id,) = launcher.fulfil(order.request.id)
    lock, node = pair[1].lock_node(node_id)
    pair[1].delete_node(node, lock)
    step_until(client, order, Stage.FAILED)
    assert "gone" in order.reason


def test_a_node_that_belongs_to_another_request_is_refused(pair, client, launcher):
    order = client.submit(Wanted(labels=("a",)))
    (node_id,) = launcher.fulfil(order.request.id)
    lock, node = pair[1].lock_node(node_id)
    pair[1].save_node(node.moved(node.state, at=1.0, allocated_to="200-0000009999"), lock)
    pair[1].unlock(lock)
    step_until(client, order, Stage.FAILED)
    assert "200-0000009999" in order.reason
    assert pair[1].read_node(node_id).state is NodeState.READY


def test_fewer_nodes_than_wanted_are_refused(pair, client):
    order = client.submit(Wanted(labels=("a", "a")))
    lock, request = pair[1].lock_request(order.request.id)
    pair[1].finish_request(request.moved(RequestState.FULFILLED, at=time.time()), lock)
    step_until(client, order, Stage.FAILED)
    assert "0 nodes for 2 labels" in order.reason


def test_closing_leaves_nothing_of_ours(store, client, launcher):
    held = client.submit(Wanted(labels=("a",)))
    (node_id,) = launcher.fulfil(held.request.id)
    step_until(client, held, Stage.HELD)
    client.submit(Wanted(labels=("b",)))
    foreign = store.create_request(NodeRequest(requestor="test", requestor_data={"x": 1}), priority=200)
    client.close()
    with store.reading() as snapshot:
        assert [request.id for request in snapshot.requests()] == [foreign.id]
    assert store.read_node(node_id).state is NodeState.USED


# Trouble with the store


def test_without_a_connection_nothing_moves_and_then_goes_on(site, store, client, launcher):
    order = client.submit(Wanted(labels=("a",)))
    site.suspend(store)
    assert client.step() == []
    launcher.fulfil(order.request.id)
    site.resume(store)
    step_until(client, order, Stage.HELD)


def test_a_session_lost_while_nodes_are_in_use_loses_the_order(site, store, client, launcher):
    order = client.submit(Wanted(labels=("a",)))
    launcher.fulfil(order.request.id)
    step_until(client, order, Stage.HELD)
    site.expire(store)
    step_until(client, order, Stage.LOST)
    assert "session was lost" in order.reason


def test_a_session_lost_before_the_request_is_deleted_starts_over(site, pair, client, launcher):
    order = client.submit(Wanted(labels=("a", "b")))
    ids = launcher.fulfil(order.request.id)
    busy, _ = pair[1].lock_node(ids[1])
    step_until(client, order, Stage.ACCEPTING)
    site.expire(pair[0])
    pair[1].unlock(busy)
    step_until(client, order, Stage.HELD)


def test_a_request_whose_creation_was_not_answered_is_found_and_deleted_at_the_end(site, store, client):
    site.lose_next_answer(store)
    with pytest.raises(StoreUnavailable):
        client.submit(Wanted(labels=("a",)))
    site.resume(store)
    with store.reading() as snapshot:
        assert len(snapshot.requests()) == 1
    client.close()
    with store.reading() as snapshot:
        assert not snapshot.requests()


def test_ephemeral_requests_go_with_the_session(pair, clock):
    client = NodeClient(pair[0], clock, requestor="test", ephemeral=True)
    order = client.submit(Wanted(labels=("a",)))
    pair[0].close()
    eventually(lambda: not seen(pair[1], order.request.id))


def seen(store, request_id):
    with store.reading() as snapshot:
        return snapshot.request(request_id)


# At any point: only the memory store lets a test choose it.


@pytest.fixture
def memory():
    one = MemorySite()
    yield one
    one.close()


@pytest.mark.parametrize("calls", range(5))
def test_an_answer_lost_at_any_point_of_taking_over_is_made_up_for(memory, clock, calls):
    store, launcher = memory.store(), ScriptedLauncher(memory.store())
    client = NodeClient(store, clock, requestor="test")
    order = client.submit(Wanted(labels=("a", "b")))
    ids = launcher.fulfil(order.request.id)
    cut_after(store, calls)
    client.step()
    store.resume()
    step_until(client, order, Stage.HELD)
    assert {store.read_node(node_id).state for node_id in ids} == {NodeState.IN_USE}
    client.release(order)
    assert {store.read_node(node_id).state for node_id in ids} == {NodeState.USED}


@pytest.mark.parametrize("calls", range(4))
def test_an_answer_lost_while_giving_back_is_made_up_for_by_doing_it_again(memory, clock, calls):
    store, launcher = memory.store(), ScriptedLauncher(memory.store())
    client = NodeClient(store, clock, requestor="test")
    order = client.submit(Wanted(labels=("a", "b")))
    ids = launcher.fulfil(order.request.id)
    step_until(client, order, Stage.HELD)
    cut_after(store, calls)
    try:
        client.release(order)
    except StoreUnavailable:
        assert order.stage is Stage.HELD
        store.resume()
        client.release(order)
    store.resume()  # unlocking never complains; the store makes up for it
    assert order.stage is Stage.RELEASED
    assert {store.read_node(node_id).state for node_id in ids} == {NodeState.USED}
    with store.reading() as snapshot:
        assert not any(snapshot.node_locked(node_id) for node_id in ids)


def cut_after(store, calls):
    """Let `calls` transactions pass; the answer of the one after them is lost."""
    session = store._memory
    commit = session.commit
    left = [calls]

    def counted(write, *reads):
        if left[0] == 0:
            session.commit = commit
            session.lose_next_answer()
        left[0] -= 1
        return commit(write, *reads)

    session.commit = counted
