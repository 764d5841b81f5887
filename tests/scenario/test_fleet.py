"""Several launchers as one: providers are spread, each is owned once, and launches survive whoever began them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from poolmgr.config.settings import Label
from poolmgr.model.node import NodeState
from poolmgr.model.request import RequestState
from tests.fakes import ManualExecutor
from tests.scenario.harness import TUNING, Fuse, Process, Site, label, provider

NAMES = ("east", "mars", "north", "south", "west")


def site_of(*names: str, boot: float = 10.0, **cloud: object) -> Site:
    clouds = {name: {"shape": "direct", "boot": boot, **cloud} for name in names}
    return Site(clouds, [provider(name) for name in names])


def owners(site: Site) -> dict[str, list[Process]]:
    """Who believes that he owns what; checked at each step of time."""
    found: dict[str, list[Process]] = {name: [] for name in site.providers}
    for process in site.processes:
        if process.alive and not process.frozen:
            for name in process.owns():
                found[name].append(process)
    assert all(len(who) <= 1 for who in found.values()), "a provider has two owners"
    return found


def shares(site: Site) -> list[int]:
    """How many providers each live launcher owns; [] while some have no owner."""
    found = owners(site)
    if not all(found.values()):
        return []
    count = Counter({id(p): 0 for p in site.processes if p.alive and not p.frozen})
    count.update(id(who[0]) for who in found.values())
    return sorted(count.values())


def spread(site: Site, *wanted: int) -> Callable[[], bool]:
    return lambda: shares(site) == sorted(wanted)


def finish(site: Site, requests: list[str]) -> None:
    """Every request is served, and then nothing is left of anything."""
    waiting = set(requests)

    def done() -> bool:
        owners(site)
        for request in [r for r in waiting if site.fulfilled(r)]:
            site.use(request)
            waiting.discard(request)
        return not waiting

    assert site.run(done, seconds=200), site.left()
    assert site.run(site.is_clean, seconds=200), site.left()


# Who owns what


def test_three_launchers_that_start_at_once_share_five_providers() -> None:
    """The first may have taken all of them before it sees the others."""
    site = site_of(*NAMES)
    for _ in range(3):
        site.start()
    assert site.run(spread(site, 1, 2, 2), seconds=10)
    with site.client.reading() as snapshot:
        for name, (process,) in owners(site).items():
            status = snapshot.provider_status(name)
            assert status is not None
            assert status.owner == process.ownership.id


def test_who_joins_gets_his_share_one_by_one_and_no_launch_is_built_again() -> None:
    site = site_of(*NAMES)
    site.start()
    requests = [site.submit("small", provider=name) for name in NAMES for _ in range(2)]
    assert site.run(lambda: site.created() == 10)
    site.start()
    changes = []

    def balanced() -> bool:
        free = [name for name, who in owners(site).items() if not who]
        changes.append(len(free))
        return shares(site) == [2, 3]

    assert site.run(balanced, seconds=20)
    assert max(changes) <= 1
    finish(site, requests)
    assert site.created() == 10


def test_a_launcher_that_comes_and_goes_at_once_moves_nothing() -> None:
    site = site_of(*NAMES)
    first = site.start()
    assert site.run(spread(site, 5))
    for _ in range(3):
        passing = site.start()
        site.run(seconds=2)
        passing.stop()
        site.run(seconds=2)
    assert first.owns() == set(NAMES)


def test_of_one_that_dies_the_others_take_the_providers_at_once() -> None:
    site = site_of(*NAMES)
    processes = [site.start() for _ in range(3)]
    assert site.run(spread(site, 1, 2, 2))
    processes[0].die()
    assert site.run(spread(site, 2, 3), seconds=1)
    processes[1].die()
    assert site.run(spread(site, 5), seconds=1)


def test_a_stopping_launcher_hands_over_what_it_builds() -> None:
    site = site_of(*NAMES)
    first = site.start()
    second = site.start()
    assert site.run(spread(site, 2, 3))
    requests = [site.submit("small", provider=name) for name in NAMES for _ in range(2)]
    assert site.run(lambda: site.created() == 10)
    first.drain()
    assert site.run(lambda: second.owns() == set(NAMES), seconds=2)
    assert not first.workers
    first.stop()
    finish(site, requests)
    assert site.created() == 10


def test_a_provider_that_only_one_can_serve_goes_to_him() -> None:
    site = site_of("north", "south")
    site.unreachable = {"north"}
    site.start()
    assert site.run(lambda: bool(owners(site)["south"]), seconds=5)
    assert not owners(site)["north"]
    site.unreachable = set()
    second = site.start()
    assert site.run(lambda: owners(site)["north"] == [second], seconds=5)


def test_a_call_that_hangs_does_not_keep_a_provider_from_being_handed_over() -> None:
    site = site_of("one", boot=2.0)
    hung = ManualExecutor()
    first = site.start(executors={"one": hung})
    site.run(seconds=1)
    hung.run_all()
    request = site.submit("small")
    site.run(seconds=1)
    second = site.start()
    site.run(seconds=1)
    first.drain()
    site.run(seconds=5)
    assert owners(site)["one"] != [second]
    assert site.run(lambda: owners(site)["one"] == [second], seconds=10)
    hung.run_all()  # the create call is sent now, after all; or rather not
    finish(site, [request])
    assert site.created() == 1


# What becomes of launches


def two_nodes(site: Site) -> list[str]:
    return [site.submit("small"), site.submit("small", "small")]


def cut(at: int, *, after: bool, names: tuple[str, ...] = ("one",), **cloud: object) -> tuple[int, Site]:
    """One run in which the first launcher dies at its act number `at` while another lives; its acts, and the site."""
    site = site_of(*names, **{"boot": 5.0, **cloud})
    fuse = Fuse(at, after=after)
    first = site.start(fuse)
    site.run(seconds=1)
    site.start()
    requests = two_nodes(site)
    waiting = set(requests)

    def done() -> bool:
        owners(site)
        for request in [r for r in waiting if site.fulfilled(r)]:
            site.use(request)
            waiting.discard(request)
        return not waiting

    assert site.run(done, seconds=120), (at, after, site.left())
    assert site.run(site.is_clean, seconds=120), (at, after, site.left())
    assert first.alive is (at >= 10_000)
    return fuse.count, site


@pytest.mark.parametrize("shape", ["direct", "nat"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_wherever_a_launcher_dies_another_goes_on_and_no_server_is_built_twice(
    shape: str, after: bool
) -> None:
    total, _ = cut(10_000, after=after, shape=shape)
    for at in range(1, total + 1):
        _, site = cut(at, after=after, shape=shape)
        assert site.created() == 3, (at, after)


def interrupted_adoption(at: int, *, after: bool) -> tuple[int, Site]:
    """The one who adopts dies at its act number `at`, and a third goes on."""
    site = site_of("one", boot=5.0)
    first = site.start()
    requests = two_nodes(site)
    assert site.run(lambda: site.created() == 3)
    first.die()
    fuse = Fuse(at, after=after)
    second = site.start(fuse)
    waiting = set(requests)

    def done() -> bool:
        owners(site)
        if not second.alive and len(site.processes) == 2:
            site.start()
        for request in [r for r in waiting if site.fulfilled(r)]:
            site.use(request)
            waiting.discard(request)
        return not waiting

    assert site.run(done, seconds=120), (at, after, site.left())
    assert site.run(lambda: done() and site.is_clean(), seconds=120), (at, after, site.left())
    return fuse.count, site


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_who_adopts_may_die_of_it_at_any_moment(after: bool) -> None:
    total, _ = interrupted_adoption(10_000, after=after)
    assert total > 20
    for at in range(1, total + 1):
        _, site = interrupted_adoption(at, after=after)
        assert site.created() == 3, (at, after)


def interrupted_handover(at: int, *, after: bool) -> tuple[int, Site]:
    """The one who hands over, as it stops, dies at its act number `at`, counted from when it began to stop."""
    site = site_of("one", boot=5.0)
    fuse = Fuse()
    first = site.start(fuse)
    requests = two_nodes(site)
    assert site.run(lambda: site.created() == 3)
    site.start()
    site.run(seconds=1)
    fuse.at, fuse.after, fuse.count = at, after, 0
    first.drain()
    finish(site, requests)
    return fuse.count, site


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_who_hands_over_may_die_of_it_at_any_moment(after: bool) -> None:
    total, _ = interrupted_handover(10_000, after=after)
    assert total >= 4
    for at in range(1, total + 1):
        _, site = interrupted_handover(at, after=after)
        assert site.created() == 3, (at, after)


def test_a_request_of_which_nothing_can_go_on_begins_anew() -> None:
    """Its pool is gone from the configuration; who finds that out must not keep the request locked for ever."""
    site = site_of("one", boot=1.0)
    first = site.start()
    ready = site.submit("small")
    assert site.run(lambda: site.fulfilled(ready))
    site.cancel(ready)
    assert site.run(lambda: not any(n.allocated_to for n in site.nodes(NodeState.READY)))
    (node,) = site.nodes(NodeState.READY)
    request = site.submit("small", "small")
    assert site.run(lambda: site.state(request) is RequestState.PENDING)
    assert {n.id for n in site.nodes() if n.allocated_to == request} > {node.id}
    first.die()
    pool = site.providers["one"].pools["main"]
    site.providers = {"one": replace(site.providers["one"], pools={"next": replace(pool, name="next")})}
    site.start()
    assert site.run(lambda: site.fulfilled(request), seconds=TUNING.adoption_grace / 2), "at once"


def test_a_whole_crowd_of_launches_is_adopted_when_their_launcher_dies() -> None:
    site = site_of("one", boot=30.0)
    first = site.start()
    requests = [site.submit("small") for _ in range(50)]
    assert site.run(lambda: site.created() == 50)
    site.start()
    first.die()
    site.run(seconds=2)
    assert all(site.state(request) is RequestState.PENDING for request in requests)
    assert site.run(lambda: site.fulfilled(*requests), seconds=40)
    finish(site, requests)
    assert site.created() == 50


def test_the_only_launcher_goes_on_after_it_was_killed() -> None:
    site = site_of("one", boot=20.0)
    first = site.start()
    requests = two_nodes(site)
    assert site.run(lambda: site.created() == 3)
    site.run(seconds=5)
    first.die()
    site.run(seconds=10)
    site.start()
    began = site.clock.monotonic()
    assert site.run(lambda: site.fulfilled(*requests))
    assert site.clock.monotonic() - began < 8, "it did not begin anew"
    finish(site, requests)
    assert site.created() == 3


def test_a_zombie_makes_nothing_and_harms_nothing() -> None:
    """Frozen beyond its session, it wakes up in the middle of what it did."""
    site = site_of("one", boot=10.0)
    slow = ManualExecutor()
    first = site.start(executors={"one": slow})
    site.run(seconds=1)
    slow.run_all()
    requests = two_nodes(site)
    site.run(seconds=1)
    assert len(slow), "create calls are about to be sent"
    first.freeze()
    site.start()
    assert site.run(lambda: site.created() == 3, seconds=60)
    first.frozen = False
    slow.run_all()
    assert site.created() == 3
    finish(site, requests)
    assert site.created() == 3


def test_requests_that_nobody_can_adopt_go_back_to_the_start() -> None:
    site = site_of("one", "two", boot=20.0)
    first = site.start()
    request = site.submit("small", provider="one")
    assert site.run(lambda: site.created() == 1)
    first.die()
    site.unreachable = {"one"}
    site.start()
    assert site.run(lambda: site.state(request) is RequestState.REQUESTED, seconds=3)
    assert site.run(lambda: site.fulfilled(request), seconds=60), "two can serve it too"


def test_ready_nodes_of_a_half_done_request_stay_with_it() -> None:
    site = site_of("one", boot=1.0)
    first = site.start()
    ready = site.submit("small")
    assert site.run(lambda: site.fulfilled(ready))
    site.cancel(ready)
    assert site.run(lambda: not any(n.allocated_to for n in site.nodes(NodeState.READY)))
    request = site.submit("small", "small")
    assert site.run(lambda: site.created() == 2)
    kept = {n.id for n in site.nodes() if n.allocated_to == request}
    first.die()
    site.start()
    assert site.run(lambda: site.fulfilled(request))
    record = site.request(request)
    assert record is not None
    assert set(record.nodes) == kept


def test_a_label_that_is_configured_no_more_is_not_adopted() -> None:
    site = Site(
        {"one": {"shape": "direct", "boot": 20.0}},
        [provider("one", [label("small"), label("other")])],
        labels=[Label(name="small"), Label(name="other")],
    )
    first = site.start()
    request = site.submit("small")
    assert site.run(lambda: site.created() == 1)
    first.die()
    site.providers = {"one": provider("one", [label("other")])}
    site.start()
    assert site.run(lambda: not site.nodes(), seconds=60)
    assert site.run(lambda: site.state(request) is RequestState.FAILED, seconds=60)


def test_a_launcher_that_does_not_take_what_it_is_given_is_not_offered_it_again_and_again() -> None:
    """It is there, but does nothing: a process that is stuck."""
    site = site_of("north", "south")
    first = site.start()
    assert site.run(spread(site, 2), seconds=1)
    second = site.start()
    site.run(seconds=1)
    second.frozen = True
    free = []

    def later() -> bool:
        free.append(tuple(name for name, who in owners(site).items() if not who))
        return False

    site.run(later, seconds=60)
    assert first.owns() == {"north", "south"}
    gaps = [names for names, before in zip(free[1:], free, strict=False) if names and not before]
    assert sorted(gaps) == [("north",), ("south",)], "each provider once"


def test_beside_a_nodepool_launcher_that_was_faster_the_request_gets_its_node_all_the_same() -> None:
    """Its cleanup resets pending requests that nobody has locked, and takes their nodes from them."""
    site = site_of("one", boot=20.0)
    first = site.start()
    request = site.submit("small")
    assert site.run(lambda: site.created() == 1)
    first.die()
    lock, record = site.client.lock_request(request)
    (node,) = site.nodes()
    node_lock, node = site.client.lock_node(node.id)
    site.client.save_node(replace(node, allocated_to=None), node_lock)
    site.client.unlock(node_lock)
    site.client.finish_request(record.moved(RequestState.REQUESTED, at=site.clock.time()), lock)
    site.start()
    finish(site, [request])
    assert site.created() == 1


def test_beside_a_nodepool_launcher_that_deleted_its_node_a_request_gets_another() -> None:
    site = site_of("one", boot=20.0)
    first = site.start()
    request = site.submit("small", "small")
    assert site.run(lambda: site.created() == 2)
    first.die()
    node = site.nodes()[0]
    node_lock, node = site.client.lock_node(node.id)
    gone = site.client.save_node(node.moved(NodeState.DELETING, at=site.clock.time()), node_lock)
    site.client.delete_node(gone, node_lock)
    site.start()
    finish(site, [request])
    assert site.created() == 3


def test_a_session_that_is_only_interrupted_keeps_its_providers_and_its_launches() -> None:
    site = site_of("one", "two", boot=10.0)
    first = site.start()
    requests = [site.submit("small", provider=name) for name in ("one", "two")]
    assert site.run(lambda: site.created() == 2)
    workers = dict(first.workers)
    first.memory.suspend()
    site.run(seconds=3)
    first.memory.resume()
    site.run(seconds=3)
    assert dict(first.workers) == workers
    finish(site, requests)
    assert site.created() == 2
