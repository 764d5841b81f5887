"""What the store has to do with ZooKeeper and kazoo alone: the recipe's own locks, TLS, restarts, broken streams."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from kazoo.client import KazooClient

from poolmgr.errors import ConfigError, LockBusy, StoreError
from poolmgr.model.image import Build, Upload
from poolmgr.model.node import Node, NodeState
from poolmgr.runtime.clock import SystemClock
from poolmgr.runtime.zookeeper_server import ServerTls, ZooKeeperServer
from poolmgr.store.api import ChangeKind
from poolmgr.store.tree import Get
from poolmgr.store.zookeeper import TlsFiles, ZooKeeperStore
from tests.certificates import Authority
from tests.sites import LateClock, ZooKeeperSite, eventually
from tests.zookeeper import Proxy, free_port

NODE = Node(state=NodeState.BUILDING, labels=("small",), provider="north")


@pytest.fixture
def site(zookeeper_hosts: str) -> Iterator[ZooKeeperSite]:
    site = ZooKeeperSite(zookeeper_hosts)
    yield site
    site.close()


@pytest.fixture
def zuul(zookeeper_hosts: str, site: ZooKeeperSite) -> Iterator[KazooClient]:
    """A client as Zuul has one."""
    client = KazooClient(zookeeper_hosts)
    client.start_async().wait(30)
    yield client
    client.stop()
    client.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ZooKeeperServer]:
    """A server of this test's own, to be stopped and started."""
    server = ZooKeeperServer(tmp_path / "zookeeper")
    server.start()
    yield server
    server.stop()


def started(store: ZooKeeperStore) -> ZooKeeperStore:
    deadline = time.monotonic() + 60
    store.start(stop=lambda: time.monotonic() > deadline)
    assert store.connected
    return store


# Locks beside kazoo's own recipe


def test_kazoo_sees_our_lock_and_gets_it_after_us(site, zuul):
    store = site.store()
    lock, node = store.create_node(NODE)
    theirs = zuul.Lock(f"/nodepool/nodes/{node.id}/lock")
    assert not theirs.acquire(blocking=False)
    waiter = threading.Thread(target=lambda: theirs.acquire(timeout=60), daemon=True)
    waiter.start()
    eventually(lambda: len(zuul.get_children(lock.path)) == 2)
    assert store.save_node(node, lock).version == node.version + 1
    store.unlock(lock)
    waiter.join(60)
    assert theirs.is_acquired
    with pytest.raises(LockBusy):
        store.lock_node(node.id)
    theirs.release()


def test_we_see_kazoos_lock_and_get_it_after_it(site, zuul):
    store = site.store()
    lock, node = store.create_node(NODE)
    store.unlock(lock)
    theirs = zuul.Lock(f"/nodepool/nodes/{node.id}/lock", "someone")
    theirs.acquire()
    with pytest.raises(LockBusy):
        store.lock_node(node.id)
    threading.Timer(0.05, theirs.release).start()
    relock, _ = store.lock_node(node.id, timeout=60)
    assert not zuul.Lock(relock.path).acquire(blocking=False)


def test_a_request_lock_made_by_zuul_is_used_as_it_is(site, zuul):
    store = site.store()
    site.put("/nodepool/requests/200-0000000001", {"state": "requested"})
    with zuul.Lock("/nodepool/requests-lock/200-0000000001"), pytest.raises(LockBusy):
        store.lock_request("200-0000000001")
    lock, _ = store.lock_request("200-0000000001")
    assert lock.valid


def test_kazoos_election_sees_our_candidate(site, zuul):
    store = site.store()
    ours = store.elect("stats", "host-1")
    theirs = zuul.Election("/nodepool/elections/stats", "host-2")
    assert eventually(lambda: ours.leading)
    assert theirs.contenders() == ["host-1"]


def test_builders_of_both_kinds_respect_each_others_locks(site, zuul):
    """nodepool-builder takes kazoo's locks for a build, an upload, and to delete a record."""
    store = site.store()
    with zuul.Lock("/nodepool/images/img/builds/lock"):
        with pytest.raises(LockBusy):
            store.lock_builds("img")
        with store.reading() as snapshot:
            assert snapshot.build_locked("img")
    ours = store.lock_builds("img")
    assert not zuul.Lock(ours.path).acquire(blocking=False)
    build = store.create_build(Build(id="b" * 32, image="img"), ours)
    with (
        zuul.Lock(f"/nodepool/images/img/builds/{build.id}/providers/north/images/lock"),
        pytest.raises(LockBusy),
    ):
        store.lock_uploads("img", build.id, "north")
    lock = store.lock_uploads("img", build.id, "north")
    upload = store.create_upload(Upload(image="img", build=build.id, provider="north"), lock)
    with zuul.Lock(f"{upload.path}/lock"), pytest.raises(LockBusy):
        store.lock_upload(upload)
    assert not zuul.Lock(lock.path).acquire(blocking=False)


def test_a_record_that_nodepools_lock_brought_back_means_nothing_and_is_removed(site, zuul):
    store = site.store()
    lock = store.lock_builds("img")
    build = store.create_build(Build(id="b" * 32, image="img"), lock)
    upload = store.create_upload(Upload(image="img", build=build.id, provider="north"))
    store.delete_upload(upload)
    with zuul.Lock(f"{upload.path}/lock"):  # from before it was deleted
        assert store.purge_empty() == 0
    eventually(lambda: store.purge_empty() == 1)
    assert [path for path in site.paths() if path.startswith(upload.path)] == []
    with store.reading() as snapshot:
        assert not snapshot.image_unreadable("img")
    store.delete_build(build)


# What goes over the wire


def test_own_writes_cost_no_reads(site):
    store = site.store()
    reads: list[str] = []
    fetch = store._zookeeper.fetch
    store._zookeeper.fetch = lambda path, then: (reads.append(path), fetch(path, then))  # type: ignore[method-assign]
    lock, node = store.create_node(NODE)
    for at in range(20):
        node = store.save_node(node.moved(NodeState.READY, at=float(at)), lock)
    store.delete_node(node, lock)
    eventually(lambda: store.queues["zk.node_cache.event_queue"] == 0)
    assert reads == []


def test_lock_and_record_come_in_one_round_trip(site):
    store = site.store()
    lock, node = store.create_node(NODE)
    store.unlock(lock)
    commits: list[int] = []
    commit = store._zookeeper.commit

    def counting(write, *reads):
        commits.append(len([read for read in reads if isinstance(read, Get)]))
        return commit(write, *reads)

    store._zookeeper.commit = counting  # type: ignore[method-assign]
    store._zookeeper.get = store._zookeeper.children = None  # type: ignore[assignment]
    store.lock_node(node.id)
    assert commits == [1]


# Connections


class HastyClock(SystemClock):
    """Time runs a thousand times as fast while one waits."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self._ahead

    def wait(self, event: threading.Event, seconds: float) -> None:
        if not event.wait(seconds / 1000):
            self._ahead += seconds


def test_a_zookeeper_that_is_away_is_logged_each_ten_seconds_until_told_to_stop(caplog):
    clock = HastyClock()
    store = ZooKeeperStore(f"127.0.0.1:{free_port()}", clock=clock)
    stop_at = clock.monotonic() + 35
    store.start(stop=lambda: clock.monotonic() > stop_at)
    assert not store.connected
    lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(lines) == 3
    assert "refused" in lines[-1]
    store.close()


def test_a_store_that_was_never_started_can_be_closed():
    store = ZooKeeperStore("127.0.0.1:1")
    store.close()
    assert not store.connected


def test_a_zookeeper_that_comes_later_is_found(server):
    server.stop()
    store = ZooKeeperStore(server.hosts)
    starting = threading.Thread(target=lambda: started(store), daemon=True)
    starting.start()
    server.start()
    starting.join(60)
    assert store.connected
    store.close()


def test_work_goes_on_after_a_server_restart_and_nothing_is_left_locked(server):
    store = started(ZooKeeperStore(server.hosts))
    ended = threading.Event()
    lives: list[bool] = []

    def work() -> None:
        while not ended.is_set():
            eventually(lambda: store.connected or ended.is_set(), within=60)
            lock = None
            try:
                lock, node = store.create_node(NODE)
                node = store.save_node(node.moved(NodeState.READY, at=1.0), lock)
                store.delete_node(node, lock)
            except StoreError:
                lives.append(False)
                if lock is not None:  # as every owner does: drop the work
                    store.unlock(lock)
            else:
                lives.append(True)

    workers = [threading.Thread(target=work, daemon=True) for _ in range(3)]
    for worker in workers:
        worker.start()
    for stop in (server.stop, server.kill):
        eventually(lambda: True in lives)
        stop()
        eventually(lambda: not store.connected)
        server.start()
        eventually(lambda: store.connected, within=60)
        lives.clear()
    eventually(lambda: True in lives)
    ended.set()
    for worker in workers:
        worker.join(60)
    for node in _nodes(store):  # cut off in the middle of their lives
        lock, node = store.lock_node(node.id, timeout=10.0)
        store.delete_node(node, lock)
    late = started(ZooKeeperStore(server.hosts))
    assert _nodes(late) == _nodes(store) == []
    late.close()
    store.close()


def test_a_stream_that_makes_no_sense_breaks_the_connection_only(site, caplog):
    store = site.store()
    lock, node = store.create_node(NODE)
    states: list[bool] = []
    store.subscribe(lambda c: states.append(store.connected) if c.kind is ChangeKind.SESSION else None)
    site.inject(store, b"\0\0\0\4oops")
    with suppress(StoreError):  # the nonsense comes with this answer, or came with one to a ping
        store.read_node(node.id)
    eventually(lambda: True in states)
    assert lock.valid
    assert store.save_node(node, lock).version == node.version + 1
    assert any(record.exc_info for record in caplog.records)


def test_the_list_of_servers_can_change_without_losing_the_session(zookeeper_hosts):
    server, _, chroot = zookeeper_hosts.partition("/")
    old, new = Proxy(server), Proxy(server)
    store = started(ZooKeeperStore(f"{old.address}/{chroot}"))
    lock, node = store.create_node(NODE)
    store.set_hosts(f"{new.address}/{chroot}")
    old.cut()
    eventually(lambda: not store.connected)
    eventually(lambda: store.connected)
    assert (store.epoch, lock.valid) == (0, True)
    assert store.save_node(node, lock).version == node.version + 1
    with pytest.raises(ConfigError, match="chroot"):
        store.set_hosts(f"{new.address}/elsewhere")
    store.close()
    new.cut()


def test_a_thousand_znodes_are_read_at_start_and_after_a_break(site):
    store = site.store()
    for batch in range(10):
        transaction = site._outside.transaction()
        for number in range(100):
            path = f"/nodepool/nodes/{batch:05d}{number:05d}"
            transaction.create(path, b'{"state": "ready", "provider": "north"}')
            transaction.create(f"{path}/lock")
            transaction.create(f"{path}/lock/{'a' * 32}__lock__", sequence=True)
        transaction.commit()
    late = site.store()
    assert len(_nodes(late)) == 1000
    site.suspend(store)
    site.remove("/nodepool/nodes/0000300007")
    site.resume(store)
    assert len(_nodes(store)) == 999
    eventually(lambda: len(_nodes(late)) == 999)
    with store.reading() as snapshot:
        assert all(snapshot.node_locked(node.id) for node in snapshot.nodes())


# TLS


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ours")


@pytest.fixture
def tls_server(tmp_path: Path, authority: Authority) -> Iterator[ZooKeeperServer]:
    _, _, both = authority.issue("server")
    server = ZooKeeperServer(tmp_path / "zookeeper", tls=ServerTls(key_and_cert=both, ca=authority.ca))
    server.start()
    yield server
    server.stop()


def files(signed_by: Authority, trusts: Authority) -> TlsFiles:
    cert, key, _ = signed_by.issue("client")
    return TlsFiles(cert=str(cert), key=str(key), ca=str(trusts.ca))


def refused(server: ZooKeeperServer, tls: TlsFiles | None) -> str:
    """Why a client does not get in."""
    store = ZooKeeperStore(server.hosts, tls=tls)
    deadline = time.monotonic() + 30
    store.start(stop=lambda: bool(store._zookeeper.trouble) or time.monotonic() > deadline)
    assert not store.connected
    trouble = store._zookeeper.trouble
    store.close()
    return trouble


def test_mutual_tls(tls_server, authority, tmp_path):
    tls = files(authority, authority)
    store, other = (started(ZooKeeperStore(f"{tls_server.hosts}/chroot", tls=tls)) for _ in range(2))
    lock, node = store.create_node(NODE)
    for at in range(50):
        node = store.save_node(replace(node, comment="x" * 20000).moved(NodeState.READY, at=float(at)), lock)
    eventually(lambda: _nodes(other) == [node])
    store.delete_node(node, lock)
    eventually(lambda: _nodes(other) == [])
    store.close()
    other.close()


def test_only_clients_and_servers_of_the_authority_talk(tls_server, authority, tmp_path):
    stranger = Authority(tmp_path / "strangers")
    assert "certificate verify failed" in refused(tls_server, files(authority, trusts=stranger))
    assert refused(tls_server, files(stranger, trusts=authority))
    assert refused(tls_server, None)


def test_tls_files_that_cannot_be_used_are_named(authority, tmp_path):
    good = files(authority, authority)
    other_key = str(authority.issue("other")[1])
    locked = authority.issue("locked", password=b"secret")
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("-----BEGIN NONSENSE-----\n")
    for bad, named in (
        (replace(good, cert="/no/such.crt"), "/no/such.crt"),
        (replace(good, key="/no/such.key"), "/no/such.key"),
        (replace(good, ca="/no/such.pem"), "/no/such.pem"),
        (replace(good, ca=str(garbage)), "garbage.pem"),
        (replace(good, cert=str(garbage)), "garbage.pem"),
        (replace(good, key=other_key), "other.key"),
        (replace(good, cert=str(locked[0]), key=str(locked[1])), "locked.key"),
    ):
        with pytest.raises(ConfigError, match=named):
            ZooKeeperStore("127.0.0.1:1", tls=bad)


def _nodes(store: ZooKeeperStore) -> list[Node]:
    with store.reading() as snapshot:
        return list(snapshot.nodes())


# How sure we are of our session


def test_a_process_that_stood_still_knows_at_once_that_it_knows_nothing(site):
    clock = LateClock()
    store = site.store(clock=clock)
    assert store.fresh
    site.silence(store)  # so that no ping can come between
    clock.late += 8.0  # of 10
    assert not store.fresh
    assert store.connected
    site.resume(store)
    store.deployment()  # it is answered: the session lives
    assert store.fresh


def test_pings_alone_keep_it_fresh_until_the_server_falls_silent(site):
    store = site.store(timeout=2.0)
    before = store._session.proven_at
    eventually(lambda: store._session.proven_at > before)
    site.silence(store)
    eventually(lambda: not store.fresh)


def test_the_timeout_that_counts_is_the_one_that_the_server_grants(site):
    store = site.store(timeout=100_000.0)
    assert 0 < store._session.timeout < 100
