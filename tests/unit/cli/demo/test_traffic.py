"""The demo's requests and their tally."""

import itertools
import random

import pytest

from poolmgr.cli.client import NodeClient
from poolmgr.cli.demo.images import ImageTally
from poolmgr.cli.demo.plan import DEMO_CLOUDS, DEMO_LABELS, DEMO_TENANTS, Plan, labels_of
from poolmgr.cli.demo.screen import summary, view_of
from poolmgr.cli.demo.traffic import Traffic, mixed_wants
from poolmgr.cli.orders import Wanted
from poolmgr.store.memory import MemoryStore, MemoryTree
from tests.fakes import FakeClock
from tests.scripted_launcher import ScriptedLauncher

PLAN = Plan(clouds=DEMO_CLOUDS, labels=DEMO_LABELS, tenants=DEMO_TENANTS)


def wants(count, seed=1, plan=PLAN):
    return list(itertools.islice(mixed_wants(plan, random.Random(seed)), count))


def test_the_mix_has_everything():
    mix = wants(200)
    assert {len(w.labels) for w in mix} == {1, 2, 3}
    assert {w.priority for w in mix} == {100, 200, 300}
    assert {w.tenant for w in mix} == {None, "alpha", "beta"}
    assert {label for w in mix for label in w.labels} == {label.name for label in DEMO_LABELS}
    assert any(w.provider for w in mix)


def test_every_request_fits_into_one_cloud():
    offers = {cloud.name: {label.name for label in labels_of(PLAN, cloud)} for cloud in PLAN.clouds}
    for wanted in wants(200):
        homes = [name for name, labels in offers.items() if set(wanted.labels) <= labels]
        assert homes
        assert wanted.provider is None or wanted.provider in homes
        assert wanted.tenant is None or len(wanted.labels) <= PLAN.tenants[wanted.tenant]


def test_the_mix_hangs_on_the_seed_alone():
    assert wants(50, seed=3) == wants(50, seed=3) != wants(50, seed=4)


@pytest.fixture
def scene():
    return Scene()


class Scene:
    def __init__(self):
        tree = MemoryTree()
        self.store, others = MemoryStore(tree), MemoryStore(tree)
        self.store.start()
        others.start()
        self.clock = FakeClock()
        self.launcher = ScriptedLauncher(others, provider="sim-nat")
        self.client = NodeClient(self.store, self.clock, requestor="test")

    def traffic(self, *, requests, outstanding=2, hold=1.0):
        wanted = itertools.repeat(Wanted(labels=("debian-small",)))
        return Traffic(self.client, self.clock, wanted, requests=requests, outstanding=outstanding, hold=hold)

    def waiting(self):
        with self.store.reading() as snapshot:
            return sorted(request.id for request in snapshot.requests())


def test_as_many_as_wanted_are_outstanding(scene):
    traffic = scene.traffic(requests=5)
    traffic.step()
    assert len(scene.waiting()) == 2
    scene.launcher.fulfil(scene.waiting()[0])
    traffic.step()
    assert (len(scene.waiting()), traffic.held, traffic.tally.submitted) == (2, 1, 3)


def test_nodes_go_back_when_their_time_is_over_and_the_wait_ends_then(scene):
    traffic = scene.traffic(requests=1, hold=3.0)
    traffic.step()
    scene.launcher.fulfil(scene.waiting()[0])
    traffic.step()
    traffic.step()  # its own writes have woken it once more
    assert traffic.held == 1
    traffic.wait(60.0)
    assert scene.clock.monotonic() == 3.0
    traffic.step()
    assert (traffic.held, traffic.done) == (0, True)


def test_the_tally_counts_requests_and_nodes(scene):
    traffic = scene.traffic(requests=2)
    traffic.step()
    first, second = scene.waiting()
    scene.clock.advance(2.0)
    scene.launcher.fulfil(first)
    scene.launcher.fail(second, "pool")
    traffic.step()
    tally = traffic.tally
    assert (tally.fulfilled, tally.failed, tally.nodes) == (1, 1, 1)
    assert tally.latencies == [2.0]
    assert tally.nodes_by_cloud == {"sim-nat": 1}
    assert tally.failures == [f"{second} (debian-small): failed: declined by 1 pool(s)"]
    assert not traffic.done


def test_nodes_lost_while_in_use_are_a_failure(scene):
    traffic = scene.traffic(requests=1, hold=60.0)
    traffic.step()
    scene.launcher.fulfil(scene.waiting()[0])
    traffic.step()
    scene.store.expire()
    traffic.step()
    assert (traffic.tally.fulfilled, traffic.tally.failed, traffic.held) == (0, 1, 0)
    assert traffic.done


def test_a_store_that_is_away_only_delays(scene):
    traffic = scene.traffic(requests=2)
    scene.store.suspend()
    traffic.step()
    assert traffic.tally.submitted == 0
    scene.store.resume()
    traffic.step()
    assert traffic.tally.submitted == 2


def test_one_line_tells_how_it_goes(scene):
    traffic = scene.traffic(requests=3)
    traffic.step()
    first, second = scene.waiting()
    scene.launcher.fulfil(first)
    scene.launcher.fail(second, "pool")
    traffic.step()
    with scene.store.reading() as snapshot:
        looks = {"phase": "serving", "requests": 3, "elapsed": 1.0, "metrics": 5, "images": ImageTally()}
        view = view_of(PLAN, snapshot, traffic, **looks)
    assert summary(view) == (
        "serving: requests 1/3 fulfilled, 1 waiting, 1 failed; nodes: 1 in-use; latency p50 0.0 s"
    )
