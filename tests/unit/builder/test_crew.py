"""A builder's workers as one: woken by what concerns them, stopped side by side, and told apart when one is stuck."""

from __future__ import annotations

import threading

import pytest

from poolmgr.builder.context import Activity, Identity, Parts
from poolmgr.builder.crew import Crew
from poolmgr.config.settings import Settings
from poolmgr.model.component import ComponentKind, ComponentState
from poolmgr.model.image import ImageOrder, Order
from poolmgr.model.node import Node
from poolmgr.observe.stats import NullStats
from poolmgr.policy.image_tuning import ImageTuning
from poolmgr.runtime.clock import SystemClock
from poolmgr.store.memory import MemoryStore, MemoryTree


class Member:
    def __init__(self, log, name):
        self.log, self.name = log, name
        self.wakes = self.applied = 0
        self.stuck = None
        self.together = None
        self.on_stop = lambda: True

    def start(self):
        self.log.append(f"start {self.name}")

    def wake(self):
        self.wakes += 1

    def apply(self):
        self.applied += 1

    def stop(self, timeout):
        self.log.append(f"stop {self.name}")
        return self.on_stop()

    def describe(self):
        return self.name

    def stalled(self, now):
        return self.stuck


@pytest.fixture
def tree():
    return MemoryTree()


@pytest.fixture
def store(tree):
    store = MemoryStore(tree)
    store.start()
    yield store
    store.close()


@pytest.fixture
def members():
    log = []
    return {name: Member(log, name) for name in ("builds", "uploads", "janitor")}


@pytest.fixture
def crew(store, members):
    parts = Parts(
        store=store,
        stats=NullStats(),
        clock=SystemClock(),
        tuning=ImageTuning(),
        identity=Identity(id="b", hostname="host", fqdn="host.example.org", deployment="d"),
        new_id=lambda: "0" * 32,
        settings=Settings,
        providers=dict,
        stray_provider=lambda cloud, region: None,
        activity=Activity(),
    )
    crew = Crew(parts, **members, build_workers=1)
    yield crew
    crew.stop(5.0)


def components(tree):
    with_other = MemoryStore(tree)
    with_other.start()
    with with_other.reading() as snapshot:
        found = [(c.hostname, c.state) for c in snapshot.components(ComponentKind.BUILDER)]
    with_other.close()
    return found


def test_it_is_registered_while_it_works(tree, crew, members):
    assert crew.ready() == "starting or stopping"
    crew.start()
    assert components(tree) == [("host", ComponentState.RUNNING)]
    assert crew.ready() is None
    assert crew.stop(5.0)
    assert components(tree) == []
    assert crew.ready() is not None
    assert sorted(members["builds"].log[:3]) == ["start builds", "start janitor", "start uploads"]


def test_changes_of_images_wake_all_and_those_of_nodes_nobody(store, crew, members):
    crew.start()
    store.create_node(Node(provider="north"))
    assert [m.wakes for m in members.values()] == [0, 0, 0]
    store.order_image(ImageOrder(image="noble", kind=Order.PAUSE))
    assert all(m.wakes for m in members.values())
    crew.stop(5.0)
    woken = [m.wakes for m in members.values()]
    store.withdraw_order("noble", Order.PAUSE)
    assert [m.wakes for m in members.values()] == woken


def test_all_are_stopped_at_the_same_time(crew, members):
    together = threading.Barrier(3, timeout=20.0)
    for member in members.values():
        member.on_stop = lambda: together.wait() >= 0
    crew.start()
    assert crew.stop(20.0)


def test_one_that_does_not_stop_or_crashes_makes_the_end_unclean(crew, members, caplog):
    members["uploads"].on_stop = lambda: 1 / 0
    crew.start()
    assert not crew.stop(5.0)
    assert "ZeroDivisionError" in caplog.text
    assert "stop janitor" in members["janitor"].log


def test_one_that_is_stuck_is_told_as_long_as_the_crew_works(crew, members):
    members["janitor"].stuck = "the janitor is stuck"
    assert crew.live() is None
    crew.start()
    assert crew.live() == "the janitor is stuck"
    assert crew.describe() == "janitor\nbuilds\nuploads"


def test_new_connections_are_told_to_uploads(crew, members):
    crew.start()
    crew.apply(providers=False)
    assert (members["uploads"].applied, members["builds"].wakes) == (0, 1)
    crew.apply(providers=True)
    assert members["uploads"].applied == 1
