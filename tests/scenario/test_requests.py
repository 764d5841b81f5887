"""How requests share what there is: tenants, pools, quotas; and what happens when one is cancelled."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

import pytest

from poolmgr.config.settings import BootImage, Label, PoolLabel, TenantLimits
from poolmgr.model.fleet import Peer
from poolmgr.model.node import NodeState
from poolmgr.model.request import NodeRequest, RequestState
from poolmgr.simcloud.faults import Fault, FaultKind
from tests.fakes import ManualExecutor
from tests.scenario.harness import Fuse, Process, Site, label, provider

R = TypeVar("R")
DIRECT = {"shape": "direct", "boot": 2.0}


def tenants_served(site: Site, waiting: dict[str, str], count: int) -> Counter[str]:
    """Use what is fulfilled until `count` of `waiting` (request -> tenant) were; how many of each tenant were."""
    served: Counter[str] = Counter()

    def done() -> bool:
        for request in [r for r in waiting if site.fulfilled(r)]:
            served[waiting.pop(request)] += 1
            site.use(request)
        return served.total() >= count

    assert site.run(done, seconds=2000)
    return served


@pytest.mark.parametrize("launchers", [1, 2])
def test_tenants_share_a_short_pool_however_much_one_asks_for(launchers: int) -> None:
    site = Site({"one": DIRECT}, [provider("one", pool={"limits": {"instances": 4}})], fair_tenants=True)
    waiting = {site.submit("small", tenant_name="many"): "many" for _ in range(100)}
    waiting |= {site.submit("small", tenant_name="some"): "some" for _ in range(10)}
    waiting |= {site.submit("small", tenant_name="one"): "one" for _ in range(1)}
    for _ in range(launchers):
        site.start()
    served = tenants_served(site, waiting, 24)
    assert served["one"] == 1
    assert served["some"] == 10
    assert sum(tenants_served(site, waiting, len(waiting)).values()) > 80


def test_without_fair_tenants_who_came_first_is_served_first() -> None:
    site = Site({"one": DIRECT}, [provider("one", pool={"limits": {"instances": 4}})])
    waiting = {site.submit("small", tenant_name="many"): "many" for _ in range(20)}
    waiting |= {site.submit("small", tenant_name="one"): "one"}
    site.start()
    assert tenants_served(site, waiting, 16)["one"] == 0


def test_a_tenant_that_has_much_already_lets_others_go_first() -> None:
    site = Site({"one": DIRECT}, [provider("one", pool={"limits": {"instances": 3}})], fair_tenants=True)
    site.start()
    has = [site.submit("small", tenant_name="rich") for _ in range(3)]
    assert site.run(lambda: site.fulfilled(*has))
    more = [site.submit("small", tenant_name="rich") for _ in range(2)]
    late = [site.submit("small", tenant_name="poor") for _ in range(2)]
    site.use(has[0])
    assert site.run(lambda: site.fulfilled(late[0]))
    assert site.state(more[0]) is RequestState.REQUESTED


# Cancelled


def cancelled_run(at: int, *, nodes: int = 2, min_ready: int = 0) -> int:
    """A request is deleted before act number `at`, another waits behind it; returns how many acts there were."""
    labels = [Label(name="small", min_ready=min_ready)] if min_ready else []
    site = Site(
        {"one": DIRECT},
        [provider("one", pool={"limits": {"instances": 2 + min_ready}})],
        labels=labels,
    )
    fuse = Fuse(at)
    doomed = site.submit(*["small"] * nodes)
    fuse.instead = lambda: site.cancel(doomed)
    site.start(fuse)
    late = ""

    def done() -> bool:
        nonlocal late
        if not late and site.clock.monotonic() > 2:
            late = site.submit("small", "small")
        if site.fulfilled(doomed):
            site.use(doomed)
        return bool(late) and site.fulfilled(late)

    assert site.run(done), (at, site.left())
    site.use(late)
    if not min_ready:
        assert site.run(site.is_clean, seconds=200), (at, site.left())
        return fuse.count
    site.run(seconds=30)
    assert [n.allocated_to for n in site.nodes()] == [None] * min_ready, at
    assert site.count("servers") == min_ready
    return fuse.count


@pytest.mark.parametrize("min_ready", [0, 1])
def test_a_request_cancelled_between_any_two_acts_leaves_nothing_and_lets_the_next_have_its_nodes(
    min_ready: int,
) -> None:
    total = cancelled_run(10_000, min_ready=min_ready)
    for at in range(1, min(total, 30) + 1):
        cancelled_run(at, min_ready=min_ready)


def test_the_nodes_of_a_cancelled_request_serve_several_that_come_a_moment_later() -> None:
    site = Site({"one": {**DIRECT, "boot": 60.0}}, [provider("one")])
    site.start()
    first = site.submit("small", "small", "small")
    assert site.run(lambda: site.count("servers") == 3)
    before = {n.id for n in site.nodes()}
    site.cancel(first)
    site.run(seconds=1)
    pair, single = site.submit("small", "small"), site.submit("small")
    assert site.run(lambda: site.fulfilled(pair, single))
    assert {n.id for n in (*site.use(pair), *site.use(single))} == before


def test_spares_do_not_linger_where_another_label_waits_for_their_room() -> None:
    labels = [label("small"), label("large", flavor_name="large")]
    site = Site(
        {"one": {**DIRECT, "boot": 60.0}}, [provider("one", labels, pool={"limits": {"instances": 1}})]
    )
    site.start()
    first = site.submit("small")
    assert site.run(lambda: site.count("servers") == 1)
    other = site.submit("large")
    site.run(seconds=1)
    site.cancel(first)
    site.run(seconds=0.5)
    assert [n.state for n in site.nodes()] == [NodeState.DELETING]
    assert site.run(lambda: site.fulfilled(other))


def test_who_adopts_a_request_fills_its_places_within_its_tenant_s_limit() -> None:
    slow = {**DIRECT, "boot": 20.0, "faults": [{"kind": "slow-delete", "seconds": 200, "times": 1}]}
    tenants = [TenantLimits(name="t", limits={"instances": 2})]
    site = Site({"one": slow}, [provider("one")], tenants=tenants)
    first = site.start()
    request = site.submit("small", "small", tenant_name="t")
    assert site.run(lambda: len([n for n in site.nodes(NodeState.BUILDING) if n.external_id]) == 2)
    first.die()
    lock, node = site.client.lock_node(site.nodes()[0].id)
    site.client.save_node(node.moved(NodeState.DELETING, at=site.clock.time()), lock)  # poolmgr delete
    site.client.unlock(lock)
    site.start()
    most = 0

    def served() -> bool:
        nonlocal most
        most = max(most, sum(node.tenant_name == "t" for node in site.nodes()))
        return site.fulfilled(request)

    assert site.run(served, seconds=900)
    assert most == 2, "the deleted one counts as long as it is there"


def test_a_cancelled_request_of_a_tenant_at_its_limit_makes_room_for_the_next_one() -> None:
    tenants = [TenantLimits(name="t", limits={"instances": 1})]
    site = Site({"one": {**DIRECT, "boot": 30.0}}, [provider("one")], tenants=tenants)
    site.start()
    first = site.submit("small", tenant_name="t")
    assert site.run(lambda: site.count("servers") == 1)
    site.cancel(first)
    second = site.submit("small", tenant_name="t")
    site.run(seconds=4)
    assert site.state(second) is RequestState.PENDING
    assert len(site.nodes()) == 1
    assert site.run(lambda: site.fulfilled(second))
    site.cancel(second)
    third = site.submit("small", tenant_name="t")
    assert site.run(lambda: site.fulfilled(third), seconds=10)
    assert len(site.nodes()) == 1


def test_a_waiting_request_that_is_cancelled_lets_those_behind_it_go() -> None:
    site = Site({"one": DIRECT}, [provider("one", pool={"limits": {"instances": 2}})])
    site.start()
    first = site.submit("small")
    assert site.run(lambda: site.fulfilled(first))
    big, small = site.submit("small", "small"), site.submit("small")
    site.run(seconds=3)
    assert site.state(small) is RequestState.REQUESTED  # the room is kept for the pair
    site.cancel(big)
    assert site.run(lambda: site.fulfilled(small), seconds=10)


class LateAnswers(ManualExecutor):
    """Calls are made at once; what they answer waits while `hold` is set."""

    hold = False

    def submit(self, job: Callable[[], R]) -> Future[R]:
        result = job()
        future = super().submit(lambda: result)
        if not self.hold:
            self.run_one()
        return future


def test_a_server_whose_create_call_was_in_flight_is_removed_when_it_is_known() -> None:
    site = Site({"one": {**DIRECT, "boot": 5.0}}, [provider("one")])
    calls = LateAnswers()
    site.start(executors={"one": calls})
    site.run(seconds=2)
    request = site.submit("small")
    calls.hold = True
    site.run(seconds=2)
    assert site.count("servers") == 1
    assert [n.external_id for n in site.nodes()] == [None]
    site.cancel(request)
    site.run(seconds=10)
    assert site.count("servers") == 1
    calls.hold = False
    while calls:
        calls.run_one()
    assert site.run(site.is_clean, seconds=20), site.left()


# Room


def test_free_ready_nodes_of_other_labels_make_room_for_a_request() -> None:
    labels = [label("small"), label("large", flavor_name="large")]
    site = Site(
        {"one": DIRECT},
        [provider("one", labels, pool={"limits": {"instances": 2}})],
        labels=[Label(name="small", min_ready=2)],
    )
    site.start()
    assert site.run(lambda: len(site.nodes(NodeState.READY)) == 2)
    site.run(seconds=2)
    oldest = min(site.nodes(), key=lambda n: n.state_time)
    request = site.submit("large")
    assert site.run(lambda: site.fulfilled(request), seconds=60)
    assert len(site.nodes()) == 2
    assert oldest.id not in {n.id for n in site.nodes()} or len({n.state_time for n in site.nodes()}) == 1
    site.run(seconds=60)
    assert sorted(n.label for n in site.nodes()) == ["large", "small"]


def test_free_nodes_that_would_not_make_enough_room_stay() -> None:
    labels = [label("small"), label("large", flavor_name="large")]
    site = Site(
        {"one": DIRECT},
        [provider("one", labels, pool={"limits": {"instances": 2}})],
        labels=[Label(name="small", min_ready=1)],
    )
    site.start()
    taken = site.submit("large")
    assert site.run(lambda: site.fulfilled(taken) and len(site.nodes(NodeState.READY)) == 2)
    request = site.submit("large", "large")
    site.run(seconds=60)
    assert len(site.nodes(NodeState.READY)) == 2
    site.use(taken)
    assert site.run(lambda: site.fulfilled(request))


def test_no_free_node_goes_for_what_another_provider_has_room_for() -> None:
    labels = [label("small"), label("large", flavor_name="large")]
    one = provider("one", labels, pool={"limits": {"instances": 1}, "priority": 50})
    site = Site(
        {"one": DIRECT, "two": DIRECT},
        [one, provider("two", [label("large", flavor_name="large")])],
        labels=[Label(name="small", min_ready=1)],
    )
    site.start()
    assert site.run(lambda: len(site.nodes(NodeState.READY)) == 1)
    (free,) = site.nodes()
    request = site.submit("large")
    assert site.run(lambda: site.fulfilled(request))
    site.run(seconds=10)
    assert {n.provider: n.id for n in site.nodes(NodeState.READY)}["one"] == free.id
    pinned = site.submit("large", provider="one")
    assert site.run(lambda: site.fulfilled(pinned))
    assert "one" in {n.provider for n in site.nodes() if n.allocated_to == pinned}


def two_providers_on_one_quota(instances: int, **more: float) -> Site:
    clouds = {"shared": {**DIRECT, "quota": {"instances": instances}}}
    providers = [
        provider(name, [label(name)], cloud="shared", pool={"limits": {"instances": 50}})
        for name in ("one", "two")
    ]
    return Site(clouds, providers, **more)  # type: ignore[arg-type]


class SlowCalls(ManualExecutor):
    """Calls take some time each, so that those of several providers interleave."""

    def __init__(self, site: Site, rng: random.Random) -> None:
        super().__init__()
        self._site, self._rng = site, rng

    def submit(self, job: Callable[[], R]) -> Future[R]:
        future = super().submit(job)
        self._site.clock.after(self._rng.uniform(0.05, 0.5), lambda: self.run_one() if self else None)
        return future


def serve_all(site: Site, *, pairs: int, seconds: float) -> bool:
    """Whether so many requests for two nodes, for either provider in turn, are all served."""
    waiting = {site.submit(*[("one", "two")[n % 2]] * 2) for n in range(pairs)}

    def done() -> bool:
        for request in [r for r in waiting if site.fulfilled(r)]:
            waiting.discard(request)
            site.use(request)
        return not waiting

    return site.run(done, seconds=seconds)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("quota", "pairs"), [(2, 2), (3, 2), (3, 6)])
def test_requests_that_hold_a_part_of_a_shared_quota_each_are_all_served(
    quota: int, pairs: int, seed: int
) -> None:
    """Each provider sees all of the quota free, and takes one request that would fit."""
    site = two_providers_on_one_quota(quota, idle_hold=20.0)
    rng = random.Random(seed)
    site.start(executors={name: SlowCalls(site, rng) for name in site.providers})
    site.run(seconds=5)
    assert serve_all(site, pairs=pairs, seconds=1500), site.left()
    assert site.run(site.is_clean, seconds=200), site.left()


def test_without_a_bound_two_requests_would_hold_what_the_other_one_waits_for() -> None:
    """So that the test above does test something."""
    stuck = 0
    for seed in range(3):
        site = two_providers_on_one_quota(2, idle_hold=1e9)
        rng = random.Random(seed)
        site.start(executors={name: SlowCalls(site, rng) for name in site.providers})
        site.run(seconds=5)
        stuck += not serve_all(site, pairs=2, seconds=300)
    assert stuck


@pytest.mark.parametrize("idle_hold", [10.0, 40.0])
def test_ready_nodes_are_not_held_idle_longer_than_allowed(idle_hold: float) -> None:
    """The room for the second node was taken by someone else's server, which stays for long."""
    site = two_providers_on_one_quota(2, idle_hold=idle_hold)
    process = site.start()
    cloud = site.world.clouds["shared"]
    create, calls = process.clouds["one"].create_server, itertools.count()
    theirs = []

    def overtaken(spec: Any) -> str:
        if next(calls) == 1:
            theirs.append(cloud.compute.put_foreign(name="theirs", metadata={}, networks=[]).id)
        return create(spec)

    process.clouds["one"].create_server = overtaken  # type: ignore[method-assign]
    request = site.submit("one", "one")
    assert site.run(lambda: len(site.nodes(NodeState.READY)) == 1)
    began = site.clock.monotonic()
    assert site.run(lambda: not site.nodes(), seconds=idle_hold + 60)
    assert idle_hold <= site.clock.monotonic() - began <= idle_hold + 20
    assert site.state(request) is RequestState.REQUESTED
    assert (site.request(request) or NodeRequest()).declined_by == ()
    cloud.compute.delete(theirs[0])
    assert site.run(lambda: site.fulfilled(request), seconds=600)


# Tenants' limits


class Laggard:
    """A store whose watches are told late: what others wrote is seen only when `catch_up` is called."""

    def __init__(self, process: Process) -> None:
        self._session: Any = process.memory._session
        self._work = self._session.work
        self._session.work = lambda: None

    def catch_up(self) -> None:
        self._work()


@pytest.mark.parametrize("nodes", [1, 2])
@pytest.mark.parametrize("launchers", [1, 3])
def test_a_tenants_limit_holds_over_all_launchers_and_providers(launchers: int, nodes: int) -> None:
    tenants = [TenantLimits(name="t", limits={"instances": 4})]
    site = Site({"one": DIRECT, "two": DIRECT}, [provider("one"), provider("two")], tenants=tenants)
    for _ in range(launchers):
        site.start()
    site.run(seconds=2)
    waiting = {site.submit(*["small"] * nodes, tenant_name="t") for _ in range(12)}
    most = 0

    def done() -> bool:
        nonlocal most
        most = max(most, sum(n.tenant_name == "t" for n in site.nodes()))
        for request in [r for r in waiting if site.fulfilled(r)]:
            waiting.discard(request)
            site.use(request)
        return not waiting

    assert site.run(done, seconds=600)
    assert most == 4


@pytest.mark.parametrize("seed", range(6))
def test_a_tenants_limit_holds_however_late_launchers_learn_what_others_did(seed: int) -> None:
    rng = random.Random(seed)
    tenants = [TenantLimits(name="t", limits={"instances": 3})]
    clouds = dict.fromkeys(("one", "two", "three"), DIRECT)
    site = Site(clouds, [provider(name) for name in clouds], tenants=tenants)
    processes = [site.start() for _ in range(3)]
    site.run(seconds=2)
    late = [Laggard(process) for process in processes]
    waiting = {site.submit("small", tenant_name="t") for _ in range(15)}
    most = 0

    def done() -> bool:
        nonlocal most
        for one in late:
            if rng.random() < 0.3:
                one.catch_up()
        most = max(most, sum(n.tenant_name == "t" for n in site.nodes()))
        for request in [r for r in waiting if site.fulfilled(r)]:
            waiting.discard(request)
            site.use(request)
        return not waiting

    assert site.run(done, seconds=900)
    assert most == 3


# What passes, and what does not


def both(**one: Any) -> dict[str, dict[str, Any]]:
    return {"one": {**DIRECT, **one}, "two": DIRECT}


def out(site: Site, cloud: str, *, for_: float = 1e9) -> None:
    """From now on the cloud answers nothing, for so many seconds."""
    faults = site.world.clouds[cloud].faults
    faults.add(Fault(kind=FaultKind.HTTP_503, operations=("*",)))
    site.clock.after(for_, faults.clear)


def test_a_request_waits_while_the_cloud_is_away_however_long() -> None:
    site = Site({"one": {**DIRECT, "boot": 5.0}}, [provider("one", launch_timeout=60.0, launch_retries=1)])
    site.start()
    site.run(seconds=2)
    out(site, "one", for_=3000)
    request = site.submit("small")
    site.run(seconds=2900, step=5.0)
    assert site.state(request) in (RequestState.REQUESTED, RequestState.PENDING)
    assert site.run(lambda: site.fulfilled(request))


@pytest.mark.parametrize("status", [401, 503])
def test_what_a_cloud_that_went_away_has_not_begun_another_one_serves(status: int) -> None:
    """With 503 it may have begun something; it then has `idle-hold` to come back."""
    site = Site(both(), [provider("one"), provider("two", pool={"priority": 200})], idle_hold=30.0)
    process = site.start()
    site.run(seconds=2)
    kind = FaultKind.REFUSE if status == 401 else FaultKind.HTTP_503
    site.world.clouds["one"].faults.add(Fault(kind=kind, operations=("*",), status=status))
    request = site.submit("small")
    site.run(seconds=1)
    assert site.state(request) is RequestState.PENDING  # nobody knows yet that it is away
    before = process.memory.writes
    assert site.run(lambda: site.fulfilled(request), seconds=240)
    assert process.memory.writes - before < 25
    assert {n.provider for n in site.nodes(NodeState.READY)} == {"two"}


def test_a_project_full_of_other_peoples_servers_makes_requests_wait_unless_another_provider_has_room() -> (
    None
):
    clouds = both(quota={"instances": 2})
    site = Site(clouds, [provider("one", [label("small"), label("mine")]), provider("two")])
    for n in range(2):
        site.world.clouds["one"].compute.put_foreign(name=f"theirs-{n}", metadata={}, networks=[])
    site.start()
    site.run(seconds=5)
    waits, served, never = site.submit("mine"), site.submit("small"), site.submit("mine", "mine", "mine")
    assert site.run(lambda: site.fulfilled(served), seconds=30)
    assert site.run(lambda: site.state(never) is RequestState.FAILED, seconds=10)
    site.run(seconds=300)
    assert site.state(waits) is RequestState.REQUESTED
    assert (site.request(waits) or NodeRequest()).declined_by == ()
    compute = site.world.clouds["one"].compute
    compute.delete(next(iter(compute.servers)))
    assert site.run(lambda: site.fulfilled(waits), seconds=400)


def test_a_login_that_is_refused_makes_requests_wait() -> None:
    site = Site({"one": DIRECT}, [provider("one", launch_retries=1)])
    faults = site.world.clouds["one"].faults
    faults.add(Fault(kind=FaultKind.REFUSE, operations=("*",), status=401))
    site.start()
    request = site.submit("small")
    site.run(seconds=200)
    assert site.state(request) is RequestState.REQUESTED
    assert (site.request(request) or NodeRequest()).declined_by == ()
    faults.clear()
    assert site.run(lambda: site.fulfilled(request))


def test_a_label_without_its_image_waits_for_it_or_is_served_elsewhere() -> None:
    image = BootImage(name="built", is_disk_image=True)
    mine = PoolLabel(name="mine", image=image, flavor_name="small")
    disk = PoolLabel(name="small", image=image, flavor_name="small")
    site = Site(both(), [provider("one", [disk, mine]), provider("two", pool={"priority": 200})])
    site.start()
    waits, served = site.submit("mine"), site.submit("small")
    assert site.run(lambda: site.fulfilled(served), seconds=60)
    site.run(seconds=30)
    assert site.state(waits) is RequestState.REQUESTED


def test_a_label_that_only_a_live_peers_provider_has_waits_for_its_pool() -> None:
    site = Site({"one": DIRECT}, [provider("one")])
    site.start()
    peer = site.client.announce(Peer(id="p", hostname="other", offers={"two": {"main": ["theirs"]}}))
    site.run(seconds=2)
    waits, fails = site.submit("theirs"), site.submit("nobody-has-this")
    assert site.run(lambda: site.state(fails) is RequestState.FAILED, seconds=5)
    site.run(seconds=60)
    assert site.state(waits) is RequestState.REQUESTED
    site.client.retract(peer)
    assert site.run(lambda: site.state(waits) is RequestState.FAILED, seconds=5)
