"""`poolmgr request` without its options: what it tells, its exit code, and that it leaves nothing."""

import json
from dataclasses import dataclass, field

import pytest

from poolmgr.cli.client import NodeClient
from poolmgr.cli.orders import Wanted
from poolmgr.cli.request import result_text
from poolmgr.cli.visit import INTERRUPTED, Visit
from poolmgr.model.node import NodeState
from poolmgr.store.memory import MemoryStore, MemoryTree
from tests.fakes import FakeClock
from tests.scripted_launcher import ScriptedLauncher

WANTED = Wanted(labels=("debian", "debian"))


@dataclass
class Stage:
    """A visit that a test can watch, and the launcher across from it."""

    clock: FakeClock = field(default_factory=FakeClock)
    tree: MemoryTree = field(default_factory=MemoryTree)
    told: list[str] = field(default_factory=list)
    shown: list[object] = field(default_factory=list)

    def __post_init__(self):
        self.store, others = MemoryStore(self.tree), MemoryStore(self.tree)
        self.store.start()
        others.start()
        self.launcher = ScriptedLauncher(others)
        self.client = NodeClient(self.store, self.clock, requestor="test")
        self.visit = Visit(self.store, self.client, self.clock, tell=self.told.append)

    def run(self, *, timeout=None, hold=0.0):
        return self.visit.run(WANTED, timeout=timeout, hold=hold, show=self.shown.append)

    @property
    def request_id(self):
        (order,) = self.client.orders
        return order.request.id

    def states(self):
        with self.store.reading() as snapshot:
            return sorted(node.state.value for node in snapshot.nodes())

    def requests(self):
        with self.store.reading() as snapshot:
            return list(snapshot.requests())


@pytest.fixture
def stage():
    made = Stage()
    yield made
    made.client.close()


def test_nodes_come_are_shown_and_go_back(stage):
    stage.clock.at(3.0, lambda: stage.launcher.fulfil(stage.request_id))
    assert stage.run(hold=10.0) == 0
    assert stage.clock.monotonic() == 13.0
    (order,) = stage.shown
    assert [node.interface_ip for node in order.nodes] == ["127.0.0.1", "127.0.0.2"]
    assert stage.states() == ["used", "used"]
    assert stage.requests() == []
    assert stage.told == [
        f"request {order.request.id} submitted for debian, debian",
        "requested",
        "fulfilled after 3.0 seconds",
        "holding for 10 seconds; Ctrl-C gives the nodes back earlier",
        "nodes given back",
    ]


def test_what_the_nodes_do_is_told_once_each(stage):
    stage.clock.at(0.7, lambda: stage.launcher.start_work(stage.request_id))
    stage.clock.at(5.0, stage.visit.stop)
    stage.run()
    assert [line for line in stage.told if line.startswith("pending")] == ["pending: 2 building on north"]


def test_nodes_are_held_until_ctrl_c(stage):
    stage.launcher_fulfils = stage.clock.at(1.0, lambda: stage.launcher.fulfil(stage.request_id))
    stage.clock.at(500.0, stage.visit.stop)
    assert stage.run(hold=None) == 0
    assert stage.clock.monotonic() == 500.0
    assert stage.states() == ["used", "used"]


@pytest.mark.parametrize("work", ["none", "pending"])
def test_ctrl_c_before_that_cancels(stage, work):
    if work == "pending":
        stage.clock.at(1.0, lambda: stage.launcher.start_work(stage.request_id))
    stage.clock.at(2.0, stage.visit.stop)
    assert stage.run() == INTERRUPTED
    assert stage.requests() == []
    assert stage.told[-1].endswith("cancelled")


def test_ctrl_c_while_it_is_being_submitted_cancels(stage):
    stage.visit.stop()
    assert stage.run() == INTERRUPTED
    assert stage.requests() == []


def test_a_timeout_cancels_and_fails(stage):
    assert stage.run(timeout=30.0) == 1
    assert stage.clock.monotonic() == 30.0
    assert stage.requests() == []
    assert "not fulfilled within 30 seconds" in stage.told[-1]


def test_a_failed_request_says_who_declined(stage):
    stage.clock.at(1.0, lambda: stage.launcher.fail(stage.request_id, "pool-a", "pool-b"))
    assert stage.run() == 1
    assert stage.told[-2:] == ["  declined by pool-a", "  declined by pool-b"]
    assert stage.shown == []


def test_a_session_lost_while_holding_fails(stage):
    stage.clock.at(1.0, lambda: stage.launcher.fulfil(stage.request_id))
    stage.clock.at(5.0, stage.store.expire)
    assert stage.run(hold=60.0) == 1
    assert stage.told[-1].startswith("nodes lost: the session was lost")


def test_the_result_has_what_a_job_needs(stage):
    stage.clock.at(1.0, lambda: stage.launcher.fulfil(stage.request_id))
    stage.run()
    (order,) = stage.shown
    result = json.loads(result_text(order, as_json=True))
    assert result["request"] == order.request.id
    assert result["latency_s"] == 1.0
    assert {"id", "label", "interface_ip", "connection_port", "host_keys", "provider"} <= set(
        result["nodes"][0]
    )
    table = result_text(order, as_json=False)
    assert "| Address " in table
    assert "127.0.0.2" in table


def test_nodes_are_in_use_while_they_are_shown(stage):
    states = []
    stage.clock.at(1.0, lambda: stage.launcher.fulfil(stage.request_id))
    stage.visit.run(
        WANTED, timeout=None, hold=0.0, show=lambda order: states.extend(n.state for n in order.nodes)
    )
    assert states == [NodeState.IN_USE, NodeState.IN_USE]
