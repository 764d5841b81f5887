"""min-ready, whoever counts: one launcher or several, with room or without."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from poolmgr.config.settings import Label
from poolmgr.model.node import NodeState
from poolmgr.model.request import RequestState
from tests.scenario.harness import TUNING, Process, Site, changed, label, provider

DIRECT = {"shape": "direct", "boot": 2.0}


def free(site: Site) -> int:
    return sum(n.state is NodeState.READY and not n.allocated_to for n in site.nodes())


def requests(site: Site) -> int:
    with site.client.reading() as snapshot:
        return len(snapshot.requests())


@pytest.mark.parametrize("launchers", [1, 3])
def test_min_ready_is_never_overshot_and_spread_by_free_capacity(launchers: int) -> None:
    providers = [provider(name, pool={"limits": {"instances": 5}}) for name in ("one", "two")]
    clouds = {"one": DIRECT, "two": DIRECT}
    site = Site(clouds, providers, labels=[Label(name="small", min_ready=4)])
    for _ in range(launchers):
        site.start()
    most = 0

    def watch() -> bool:
        nonlocal most
        most = max(most, len(site.nodes()))
        return False

    site.run(watch, seconds=60)
    assert most == free(site) == 4
    assert Counter(n.provider for n in site.nodes()) == {"one": 2, "two": 2}
    assert requests(site) == 0
    taken = site.submit("small", "small")
    assert site.run(lambda: site.fulfilled(taken), seconds=10)
    site.run(watch, seconds=60)
    assert free(site) == 4
    assert most == 6


def test_the_preferred_provider_has_them_while_it_has_room() -> None:
    first, second = provider("one", pool={"limits": {"instances": 2}}), provider("two")
    providers = [changed(first, priority=50), second]
    site = Site({"one": DIRECT, "two": DIRECT}, providers, labels=[Label(name="small", min_ready=3)])
    site.start()
    site.run(lambda: free(site) == 3, seconds=60)
    assert Counter(n.provider for n in site.nodes()) == {"one": 2, "two": 1}


def test_what_a_full_cloud_cannot_have_another_one_makes() -> None:
    """Its own quota is known to nobody but who asks it."""
    clouds = {"one": {**DIRECT, "quota": {"instances": 1}}, "two": DIRECT}
    providers = [provider("one", pool={"limits": {"instances": 50}}), provider("two")]
    site = Site(clouds, providers, labels=[Label(name="small", min_ready=4)])
    site.start()
    assert site.run(lambda: free(site) == 4, seconds=120)


def writes(processes: list[Process]) -> int:
    return sum(process.memory.writes for process in processes)


@pytest.mark.parametrize("limit", ["pool", "cloud", "broken"])
def test_a_full_pool_does_not_churn(limit: str) -> None:
    """An hour of two launchers that cannot have what min-ready wants, in cycles as they are when nothing happens."""
    cloud = {**DIRECT, "quota": {"instances": 2}} if limit == "cloud" else DIRECT
    pool = {"limits": {"instances": 2}} if limit == "pool" else {}
    small = label("small", flavor_name="none such") if limit == "broken" else label("small")
    site = Site(
        {"one": cloud}, [provider("one", [small], pool=pool)], labels=[Label(name="small", min_ready=6)]
    )
    processes = [site.start(), site.start()]
    site.run(seconds=60)
    before = writes(processes)
    there = {n.id for n in site.nodes()}
    site.run(seconds=3600, step=10.0)
    assert {n.id for n in site.nodes()} == there
    assert len(there) == (0 if limit == "broken" else 2)
    with site.client.reading() as snapshot:
        assert all(pool.paused is (limit != "broken") for pool in snapshot.pools())
    assert writes(processes) - before < 100


def test_a_waiting_min_ready_request_is_served_when_there_is_room_again() -> None:
    site = Site(
        {"one": DIRECT},
        [provider("one", pool={"limits": {"instances": 2}})],
        labels=[Label(name="small", min_ready=1)],
    )
    site.start()
    taken = [site.submit("small") for _ in range(2)]
    assert site.run(lambda: site.fulfilled(*taken))
    site.run(seconds=30)
    assert requests(site) == 3
    site.use(taken[0])
    assert site.run(lambda: free(site) == 1, seconds=30)


@pytest.mark.parametrize("clean", [True, False], ids=["stopped", "killed"])
@pytest.mark.parametrize("at", [0.5, 1.0, 2.0, 2.5, 3.0])
def test_when_another_launcher_takes_over_nothing_is_lost_or_made_twice(at: float, clean: bool) -> None:
    site = Site({"one": DIRECT}, [provider("one")], labels=[Label(name="small", min_ready=3)])
    first, _ = site.start(), site.start()
    site.run(seconds=at)
    if clean:
        first.stop()
    else:
        first.die()
    most = 0

    def watch() -> bool:
        nonlocal most
        living = (NodeState.BUILDING, NodeState.READY)
        most = max(most, sum(n.state in living for n in site.nodes()))
        return False

    site.run(watch, seconds=60)
    assert free(site) == len(site.nodes()) == 3
    assert most == 3


def test_what_was_built_for_a_maker_that_is_gone_is_finished_by_the_others() -> None:
    """Its requests go with its session; the workers that build for them are alive."""
    site = Site(
        {"one": {**DIRECT, "boot": 20.0}}, [provider("one")], labels=[Label(name="small", min_ready=2)]
    )
    worker = site.start()
    labels, site.labels = site.labels, {}
    maker = site.start()
    for one in maker.workers.values():
        one.stop(1.0)
    maker.workers.clear()
    site.labels = labels
    worker.janitor.drain()
    assert site.run(lambda: site.count("servers") == 2, seconds=20)
    nodes = {n.id for n in site.nodes()}
    maker.die()
    assert site.run(lambda: free(site) == 2, seconds=60)
    assert {n.id for n in site.nodes()} == nodes


def test_min_ready_lowered_lets_spares_go() -> None:
    site = Site(
        {"one": {**DIRECT, "boot": 60.0}},
        [provider("one")],
        labels=[Label(name="small", min_ready=1)],
        tuning=replace(TUNING, spare_grace=0.0),
    )
    process = site.start()
    assert site.run(lambda: site.count("servers") == 1)
    request = site.submit("small")
    assert site.run(lambda: site.count("servers") == 2)
    site.cancel(request)
    site.run(seconds=5)
    assert [n.state for n in site.nodes() if n.state is not NodeState.DELETING] == [NodeState.BUILDING]
    site.labels = {"small": Label(name="small")}
    process.reconfigure()
    site.run(seconds=120)
    assert free(site) == 1  # a request that was made is served


def test_min_ready_of_a_label_whose_pool_declines_waits_longer_and_longer() -> None:
    site = Site(
        {"one": DIRECT},
        [provider("one", [label("small", flavor_name="none such")])],
        labels=[Label(name="small", min_ready=2)],
    )
    site.start()
    made: set[str] = set()

    def watch() -> bool:
        with site.client.reading() as snapshot:
            made.update(
                r.id for r in snapshot.requests() if r.state is RequestState.REQUESTED or r.is_min_ready
            )
        return False

    site.run(watch, seconds=1000)
    assert len(made) <= 2 + 6
