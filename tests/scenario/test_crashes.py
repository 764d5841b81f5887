"""kill -9 before and after every act on the outside world: nothing is lost, nothing leaks."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.scenario.harness import Fuse, Site, label, provider

#: Every server leaves its volume behind.
ORPHANS = {"faults": [{"kind": "leaked-volume"}]}
#: What a cloud is like, how it is used, and what its label says.
WAYS: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "direct": ({"shape": "direct"}, {}, {}),
    "nat": ({"shape": "nat"}, {}, {}),
    "partial lists": ({"shape": "nat"}, {"lists_changes": True}, {}),
    "precreated ports": ({"shape": "nat"}, {"precreates_ports": True}, {}),
    "boot from volume": ({"shape": "direct", **ORPHANS}, {}, {"boot_from_volume": True}),
}


def crash_run(way: str, at: int, *, after: bool) -> int:
    """One run with a crash at act number `at`, then a new process; returns how many acts the first one made."""
    cloud, options, settings = WAYS[way]
    site = Site(
        {"one": {"boot": 1.0, **cloud}},
        [provider("one", [label("small", **settings)])],
        cloud_options=options,
    )
    fuse = Fuse(at, after=after)
    site.start(fuse)
    requests = [site.submit("small"), site.submit("small", "small")]
    open_requests = set(requests)

    def done() -> bool:
        for request in list(open_requests):
            if site.fulfilled(request):
                site.use(request)
                open_requests.discard(request)
        if not any(process.alive for process in site.processes):
            site.start()
        return not open_requests

    assert site.run(done), (at, after, site.left())
    assert site.run(lambda: done() and site.is_clean(), seconds=200), (at, after, site.left())
    assert len(site.processes) == (2 if at < 10_000 else 1)
    return fuse.count


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("way", WAYS)
def test_a_crash_at_any_act_loses_and_leaks_nothing(way: str, after: bool) -> None:
    total = crash_run(way, 10_000, after=after)
    assert 20 < total < 200
    for at in range(1, total + 1):
        crash_run(way, at, after=after)


def lost_answer_run(at: int, *, expire: bool) -> int:
    """One run in which the answer of transaction number `at` never comes; returns how many acts there were."""
    site = Site({"one": {"shape": "nat", "boot": 1.0}}, [provider("one")])
    fuse = Fuse(at)
    process = site.start(fuse)
    fuse.instead = process.memory.lose_next_answer
    requests = {site.submit("small"), site.submit("small", "small")}

    def done() -> bool:
        for request in [r for r in requests if site.fulfilled(r)]:
            site.use(request)
            requests.discard(request)
        if not process.memory.connected:
            if expire:
                process.memory.expire()
            else:
                process.memory.resume()
        return not requests

    assert site.run(done, seconds=400), (at, expire, site.left())
    assert site.run(lambda: done() and site.is_clean(), seconds=200), (at, expire, site.left())
    return fuse.count


@pytest.mark.parametrize("expire", [False, True], ids=["suspended", "expired"])
def test_an_answer_lost_at_any_write_loses_and_leaks_nothing(expire: bool) -> None:
    total = lost_answer_run(10_000, expire=expire)
    for at in range(1, total + 1):
        lost_answer_run(at, expire=expire)


@pytest.mark.parametrize(("seed", "at_once"), [(1, False), (2, True)])
def test_ten_crashes_in_a_run_of_200_requests_lose_and_leak_nothing(seed: int, at_once: bool) -> None:
    """`at_once`: with everything that makes clouds difficult."""
    rng = random.Random(seed)
    difficult = ORPHANS if at_once else {}
    clouds = {
        "one": {"shape": "direct", "boot": 2.0, **difficult},
        "two": {"shape": "nat", "boot": 2.0, **difficult},
    }
    labels = [label("small", boot_from_volume=at_once)]
    options = {"precreates_ports": at_once, "lists_changes": at_once}
    providers = [provider("one", labels), provider("two", labels)]
    site = Site(clouds, providers, seed=seed, cloud_options=options)
    site.start(Fuse(rng.randrange(1, 400), after=rng.random() < 0.5))
    waiting: set[str] = set()
    submitted = 0

    def done() -> bool:
        nonlocal submitted
        while submitted < 200 and len(waiting) < 20:
            waiting.add(site.submit(*["small"] * rng.choice([1, 1, 1, 2, 3])))
            submitted += 1
        for request in [r for r in waiting if site.fulfilled(r)]:
            site.use(request)
            waiting.discard(request)
        if not site.processes[-1].alive:
            kills = len(site.processes)
            fuse = Fuse(rng.randrange(1, 400), after=rng.random() < 0.5) if kills < 10 else None
            site.start(fuse)
        return submitted == 200 and not waiting

    assert site.run(done, seconds=1000), site.left()
    assert site.run(lambda: done() and site.is_clean(), seconds=200), site.left()
    assert len(site.processes) > 5, "it was killed often enough"
