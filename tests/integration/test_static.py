"""Static nodes with real launchers, a real ZooKeeper and real SSH servers on loopback."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from poolmgr.cli.demo.daemon_process import DaemonProcess
from poolmgr.config.load import load
from poolmgr.errors import LockBusy, RecordGone
from poolmgr.model.node import Node, NodeState
from poolmgr.model.request import NodeRequest, RequestState
from poolmgr.store.api import Store
from poolmgr.wiring.store import open_store
from tests.contract.ssh_server import Listener, key, ssh_script
from tests.sites import eventually

pytestmark = pytest.mark.integration

SESSION_TIMEOUT = 2.0
ED25519 = ("ssh-ed25519",)


class Machine:
    """A host on loopback that can be gone and come back."""

    def __init__(self, number: int) -> None:
        self.name = f"127.0.0.{number}"
        self._listener: Listener | None = Listener(ssh_script(ED25519), self.name)
        self.port = self._listener.port

    def down(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def up(self) -> None:
        if self._listener is None:
            self._listener = Listener(ssh_script(ED25519), self.name, self.port)

    def entry(self, **more: Any) -> dict[str, Any]:
        return {"name": self.name, "connection-port": self.port, "labels": ["bare"], "timeout": 2, **more}


class Place:
    """A configuration file, launchers that read it, machines, and a client."""

    def __init__(self, directory: Path, hosts: str) -> None:
        address, _, chroot = hosts.partition("/")
        host, _, port = address.partition(":")
        self._zookeeper = [{"host": host, "port": int(port), "chroot": f"/{chroot}"}]
        self.config = directory / "nodepool.yaml"
        self._directory = directory
        self.machines: list[Machine] = []
        self.launchers: list[DaemonProcess] = []
        self.write()
        self.store: Store = open_store(load(str(self.config), environ={}).settings)
        self.store.start()

    def machine(self) -> Machine:
        self.machines.append(Machine(2 + len(self.machines)))
        return self.machines[-1]

    def write(self, *entries: dict[str, Any]) -> None:
        document = {
            "zookeeper-servers": self._zookeeper,
            "zookeeper-plaintext": True,
            "zookeeper-timeout": SESSION_TIMEOUT,
            "labels": [{"name": "bare"}, {"name": "other"}],
            "providers": [
                {"name": "racks", "driver": "static", "pools": [{"name": "main", "nodes": list(entries)}]}
            ],
        }
        new = self.config.with_suffix(".new")
        new.write_text(yaml.safe_dump(document))
        new.replace(self.config)

    def launcher(self) -> DaemonProcess:
        log = self._directory / f"launcher{len(self.launchers)}.log"
        one = DaemonProcess("launcher", self.config, log, {**os.environ, "STATSD_HOST": ""})
        self.launchers.append(one)
        one.start()
        return one

    def close(self) -> None:
        for one in self.launchers:
            one.kill()
        self.store.close()
        for machine in self.machines:
            machine.down()

    # Looking

    def nodes(self) -> list[Node]:
        with self.store.reading() as snapshot:
            return sorted(snapshot.nodes(), key=lambda n: n.id)

    def free(self) -> list[Node]:
        return [n for n in self.nodes() if n.state is NodeState.READY and not n.allocated_to]

    def has_free(self, count: int) -> Callable[[], bool]:
        return lambda: len(self.free()) == count

    def check(self) -> None:
        """No slot has two nodes that can be, or are, somebody's."""
        slots = [
            (n.hostname, n.username, n.connection_port, n.slot)
            for n in self.nodes()
            if n.state in (NodeState.READY, NodeState.IN_USE)
        ]
        assert len(slots) == len(set(slots)), slots

    # As Zuul

    def submit(self, *labels: str) -> str:
        at = time.time()
        request = NodeRequest(labels=labels or ("bare",), state_time=at, created_time=at, requestor="test")
        return self.store.create_request(request, priority=200).id

    def fulfilled(self, request_id: str) -> bool:
        return self.store.read_request(request_id).state is RequestState.FULFILLED

    def begin(self, request_id: str) -> list[tuple[Any, Node]]:
        """Zuul refuses a node that is not ready, or not its request's."""
        held = []
        for node_id in self.store.read_request(request_id).nodes:
            lock, node = self.store.lock_node(node_id, timeout=5.0)
            assert (node.state, node.allocated_to) == (NodeState.READY, request_id)
            held.append((lock, self.store.save_node(node.moved(NodeState.IN_USE, at=time.time()), lock)))
        self.store.delete_request(request_id)
        return held

    def end(self, held: list[tuple[Any, Node]]) -> None:
        for lock, node in held:
            self.store.save_node(node.moved(NodeState.USED, at=time.time()), lock)
            self.store.unlock(lock)


@pytest.fixture
def place(tmp_path: Path, zookeeper_hosts: str) -> Iterator[Place]:
    made = Place(tmp_path, zookeeper_hosts)
    yield made
    made.close()


def test_hosts_are_registered_with_their_keys_used_and_registered_anew(place: Place) -> None:
    one, two = place.machine(), place.machine()
    host_key = f"ssh-ed25519 {key('ssh-ed25519').get_base64()}"
    place.write(
        one.entry(**{"max-parallel-jobs": 2}), two.entry(labels=["bare", "other"], **{"host-key": host_key})
    )
    place.launcher()
    eventually(place.has_free(3))
    assert {(n.hostname, n.slot) for n in place.nodes()} == {(one.name, 0), (one.name, 1), (two.name, 0)}
    assert {n.host_keys for n in place.nodes()} == {(host_key,)}
    assert {n.public_ipv4 for n in place.nodes()} == {one.name, two.name}
    request = place.submit("other", "bare")
    eventually(lambda: place.fulfilled(request))
    held = place.begin(request)
    assert held[0][1].hostname == two.name
    before = {n.id for n in place.nodes()}
    place.end(held)
    eventually(place.has_free(3))
    assert len({n.id for n in place.nodes()} - before) == 2
    place.check()


def test_a_host_with_another_key_is_refused_until_the_configuration_knows_it(place: Place) -> None:
    machine = place.machine()
    place.write(machine.entry(**{"host-key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOther"}))
    launcher = place.launcher()
    eventually(lambda: "host key mismatch" in launcher.log_path.read_text())
    assert place.nodes() == []
    place.write(machine.entry(**{"host-key": f"ssh-ed25519 {key('ssh-ed25519').get_base64()}"}))
    eventually(place.has_free(1))


def test_a_host_that_goes_is_deregistered_and_comes_back(place: Place) -> None:
    one, two = place.machine(), place.machine()
    two.down()
    place.write(one.entry(), two.entry(labels=["other"]))
    place.launcher()
    eventually(place.has_free(1))  # the dead one holds up nobody
    two.up()
    eventually(place.has_free(2), within=70.0)
    two.down()
    time.sleep(11)  # until its last answer is no proof any more
    request = place.submit("other")
    eventually(place.has_free(1))
    assert not place.fulfilled(request)
    two.up()
    eventually(lambda: place.fulfilled(request), within=70.0)


def test_slots_come_and_go_with_the_file_and_busy_ones_stay(place: Place) -> None:
    one, two = place.machine(), place.machine()
    place.write(one.entry())
    place.launcher()
    eventually(place.has_free(1))
    request = place.submit()
    eventually(lambda: place.fulfilled(request))
    held = place.begin(request)
    place.write(one.entry(**{"max-parallel-jobs": 3}), two.entry(**{"shell-type": "cmd"}))
    eventually(place.has_free(3))
    assert {n.shell_type for n in place.free() if n.hostname == two.name} == {"cmd"}
    place.write(two.entry(**{"python-path": "/usr/bin/python3"}))
    eventually(lambda: [n.python_path for n in place.free()] == ["/usr/bin/python3"])
    assert [n.state for n in place.nodes() if n.hostname == one.name] == [NodeState.IN_USE]
    place.end(held)
    eventually(lambda: {n.hostname for n in place.nodes()} == {two.name})


class Traffic:
    """Jobs that use nodes all the time, and notice when one is taken away."""

    def __init__(self, place: Place, rng: random.Random, *, jobs: int) -> None:
        self._place = place
        self._rng = rng
        self._waiting = [place.submit() for _ in range(jobs)]
        self._running: list[tuple[float, list[tuple[Any, Node]]]] = []
        self.done = 0

    def go_on(self, *, more: bool = True) -> None:
        """One look at everything."""
        place, now = self._place, time.monotonic()
        place.check()
        for request in list(self._waiting):
            if place.fulfilled(request):
                try:
                    held = place.begin(request)
                except LockBusy:
                    continue
                self._waiting.remove(request)
                self._running.append((now + self._rng.random() * 0.3, held))
        for one in [one for one in self._running if one[0] <= now]:
            self._running.remove(one)
            for _, node in one[1]:
                assert place.store.read_node(node.id).state is NodeState.IN_USE
            place.end(one[1])
            self.done += 1
            if more:
                self._waiting.append(place.submit())

    @property
    def waiting(self) -> list[NodeRequest]:
        return [self._place.store.read_request(request) for request in self._waiting]

    @property
    def over(self) -> bool:
        return not (self._waiting or self._running)


def _go(traffic: Traffic, seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        traffic.go_on()
        time.sleep(0.005)


def _finish(place: Place, traffic: Traffic, slots: int) -> None:
    deadline = time.monotonic() + 60
    while not traffic.over:
        traffic.go_on(more=False)
        assert time.monotonic() < deadline, f"left waiting: {traffic.waiting}"
        time.sleep(0.005)
    eventually(place.has_free(slots), within=60.0)
    assert len(place.nodes()) == slots


@pytest.mark.parametrize("seed", [2])
def test_killed_again_and_again_no_slot_is_doubled_and_no_promised_node_taken(
    place: Place, seed: int
) -> None:
    rng = random.Random(seed)
    place.write(*(place.machine().entry(**{"max-parallel-jobs": 2}) for _ in range(3)))
    launcher = place.launcher()
    eventually(place.has_free(6))
    traffic = Traffic(place, rng, jobs=4)
    for _ in range(8):
        before = traffic.done
        while traffic.done < before + 3:  # so that it is killed at work, not while it starts
            _go(traffic, 0.05)
            launcher.check()
        _go(traffic, rng.random() * 0.5)
        launcher.kill()
        launcher.start()
    _finish(place, traffic, 6)
    assert traffic.done > 24


def test_an_owner_that_slept_past_its_session_registers_nothing_twice(place: Place) -> None:
    rng = random.Random(3)
    place.write(*(place.machine().entry(**{"max-parallel-jobs": 2}) for _ in range(2)))
    first, second = place.launcher(), place.launcher()
    eventually(place.has_free(4))
    traffic = Traffic(place, rng, jobs=3)
    for number in range(4):
        sleeper = (first, second)[number % 2]
        assert sleeper.pid is not None
        os.kill(sleeper.pid, signal.SIGSTOP)
        _go(traffic, 2 * SESSION_TIMEOUT + rng.random())
        os.kill(sleeper.pid, signal.SIGCONT)
        _go(traffic, 1.0)
    _finish(place, traffic, 4)


def test_a_node_of_a_record_that_is_gone_is_no_trouble(place: Place) -> None:
    """`poolmgr erase`, or a person with a ZooKeeper shell."""
    place.write(place.machine().entry())
    place.launcher()
    eventually(place.has_free(1))
    (node,) = place.nodes()
    lock, node = place.store.lock_node(node.id)
    place.store.delete_node(node, lock)
    with pytest.raises(RecordGone):
        place.store.read_node(node.id)
    eventually(place.has_free(1))
