from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolmgr.config.settings import Pool
from poolmgr.model.component import Component
from poolmgr.model.fleet import Peer
from poolmgr.model.node import Node, NodeState
from poolmgr.model.request import NodeRequest, RequestState
from poolmgr.model.resources import Resources, short_of, total
from poolmgr.policy.capacity import Capacity, pool_capacity
from poolmgr.policy.requests import (
    Decline,
    Defer,
    LabelFacts,
    PoolFacts,
    Skip,
    Take,
    Verdict,
    awaited,
    covering,
    decline,
    judge,
    to_launch,
)
from tests.unit.policy.worlds import pool, snapshot_of

SMALL: Resources = {"instances": 1, "cores": 2}
LARGE: Resources = {"instances": 1, "cores": 8}
MINE = pool("me", ["small", "large"])


def request(*labels: str, **fields: Any) -> NodeRequest:
    return NodeRequest(id="200-0000000001", labels=labels, **fields)


def facts(**fields: Any) -> PoolFacts:
    labels = {"small": LabelFacts(need=SMALL), "large": LabelFacts(need=LARGE)}
    return PoolFacts(**{"id": "me", "provider": "north", "priority": 100, "labels": labels, **fields})


def verdict(asked: NodeRequest, mine: PoolFacts | None = None, *pools: Component, **how: Any) -> Verdict:
    candidates = covering(asked.labels, [MINE, *pools])
    return judge(asked, mine or facts(), candidates, **{"ready": {}, "tenant": {}, **how})


def labels(**changed: LabelFacts) -> dict[str, LabelFacts]:
    return {"small": LabelFacts(need=SMALL), "large": LabelFacts(need=LARGE), **changed}


# Whose turn it is


@pytest.mark.parametrize("state", [s for s in RequestState if s is not RequestState.REQUESTED])
def test_only_requests_that_wait_are_looked_at(state):
    assert verdict(request("small", state=state)) == Skip("state")


def test_what_we_declined_we_leave_alone():
    assert verdict(request("small", declined_by=("me",))) == Skip("declined")


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ([pool("s", ["small"], "south")], Skip("pinned")),
        ([pool("s", ["small"], "south", paused=True)], Skip("pinned")),
        ([], Take("fits")),  # nobody left there: a preference, not a demand
        ([pool("s", ["large"], "south")], Take("fits")),  # cannot serve it
        ([pool("gone", ["small"], "south")], Take("fits")),  # has declined it
        ([pool("o", ["small"], "other")], Take("fits")),
    ],
)
def test_a_pinned_request_is_left_to_the_provider_it_names(others, expected):
    assert verdict(request("small", provider="south", declined_by=("gone",)), None, *others) == expected


def test_a_request_pinned_to_us_is_ours():
    other = pool("s", ["small"], "south")
    assert verdict(request("small", provider="north"), None, other) == Take("fits")


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (pool("o", ["small"], priority=99), Skip("priority")),
        (pool("o", ["small"], priority=100), Take("fits")),
        (pool("o", ["small"], priority=101), Take("fits")),
        (pool("o", ["small"], priority=1, paused=True), Take("fits")),
        (pool("o", ["large"], priority=1), Take("fits")),
        (pool("gone", ["small"], priority=1), Take("fits")),
    ],
)
def test_pools_of_higher_priority_go_first_unless_they_are_full(other, expected):
    assert verdict(request("small", declined_by=("gone",)), None, other) == expected


def test_labels_we_lack_are_left_to_pools_that_have_them_and_declined_when_there_is_none():
    other = pool("o", ["small", "arm"], "south")
    assert verdict(request("small", "arm"), None, other) == Skip("labels")
    assert verdict(request("small", "arm", declined_by=("o",)), None, other) == Decline("label")
    assert verdict(request("small", "arm")) == Decline("label")


# What can never be


@pytest.mark.parametrize(
    ("awaited", "expected"),
    [
        ([], Decline("label")),
        ([frozenset({"other", "small"})], Skip("awaited")),  # its launcher has been started a moment ago
        ([frozenset({"small"})], Decline("label")),
    ],
)
def test_a_label_of_a_configured_pool_that_is_not_registered_yet_is_not_declined(awaited, expected):
    assert verdict(request("other", "small"), facts(awaited=awaited)) == expected


def test_what_every_registered_pool_has_declined_waits_for_a_configured_one_that_is_not_registered():
    asked = request("small")
    assert decline(asked, ["me"], ["me"], at=5.0).state is RequestState.FAILED
    waiting = decline(asked, ["me"], ["me"], at=5.0, awaited=[frozenset({"small", "large"})])
    assert waiting.state is RequestState.REQUESTED
    assert waiting.declined_by == ("me",)
    assert decline(asked, ["me"], ["me"], at=5.0, awaited=[frozenset({"large"})]).state is RequestState.FAILED


def test_a_request_for_nothing_is_declined():
    assert verdict(request()) == Decline("empty")


@pytest.mark.parametrize(
    ("mine", "reason"),
    [
        (facts(disabled=True), "disabled"),  # max-servers 0
        (facts(labels={"large": LabelFacts(need=LARGE)}), "label"),
        (facts(labels=labels(small=LabelFacts(need=SMALL, broken="no flavor fits"))), "broken"),
        (facts(capacity=Capacity(ceiling={"cores": 1})), "too-big"),
        (facts(capacity=Capacity(ceiling={"instances": 0})), "too-big"),
    ],
)
def test_what_this_pool_can_never_serve_it_declines(mine, reason):
    assert verdict(request("small"), mine) == Decline(reason)


@pytest.mark.parametrize("paused", [{"paused": "quota"}, {"launches_left": 0}, {"launching_forbidden": True}])
def test_a_pool_that_launches_nothing_now_still_declines(paused):
    assert verdict(
        request("small", "small"), facts(capacity=Capacity(ceiling={"cores": 3}), **paused)
    ) == Decline("too-big")


def test_a_whole_request_must_fit_below_the_ceiling_whatever_is_free_now():
    mine = facts(capacity=Capacity(ceiling={"cores": 16}, available={"cores": 0}))
    assert verdict(request("large", "large"), mine) == Defer("quota-cores")
    assert verdict(request("large", "large", "small"), mine) == Decline("too-big")


# What has to wait


@pytest.mark.parametrize(
    ("mine", "reason"),
    [
        (facts(paused="quota"), "quota"),
        (facts(paused="cloud"), "cloud"),
        (facts(launches_left=0), "max-concurrency"),
        (facts(launching_forbidden=True), "max-concurrency"),
        (facts(labels=labels(small=LabelFacts(need=SMALL, waiting="image"))), "image"),
        (facts(labels=labels(small=LabelFacts())), "cloud"),  # its flavor is not known yet
        (facts(capacity=Capacity(available={"cores": 1})), "quota-cores"),
        (facts(capacity=Capacity(available={"instances": 0})), "quota-instances"),
        (facts(capacity=Capacity(available={"cores": -4})), "quota-cores"),
    ],
)
def test_what_cannot_be_launched_now_waits(mine, reason):
    assert verdict(request("small"), mine) == Defer(reason)


def test_temporary_conditions_never_decline():
    """Neither a missing image, nor a cloud that is away, nor other people's use of the project (launcher.md 17.13)."""
    mine = facts(
        labels=labels(small=LabelFacts(waiting="image")),
        paused="cloud",
        capacity=Capacity(available={"cores": -100}),
    )
    assert isinstance(verdict(request("small"), mine), Defer)


def test_a_min_ready_request_waits_at_quota_instead_of_churning():
    mine = facts(capacity=Capacity(available={"cores": 1}))
    asked = request("small", reuse=False, requestor="NodePool:min-ready")
    assert verdict(asked, mine) == Defer("quota-cores")


def test_the_tenants_limit_covers_ready_nodes_too():
    assert verdict(request("small"), tenant={"cores": 1}, ready={"small": 9}) == Defer("tenant")
    assert verdict(request("small"), tenant={"cores": 2}) == Take("fits")
    assert verdict(request("small", "small"), tenant={"cores": 3}) == Defer("tenant")


@pytest.mark.parametrize(
    "mine",
    [
        facts(paused="quota"),
        facts(capacity=Capacity(available={"cores": 0})),
        facts(launches_left=0),
        facts(labels=labels(small=LabelFacts(need=SMALL, waiting="image"))),
    ],
)
def test_ready_nodes_are_given_out_though_nothing_can_be_launched(mine):
    assert verdict(request("small", "small"), mine, ready={"small": 2}) == Take("ready")
    assert isinstance(verdict(request("small", "small"), mine, ready={"small": 1}), Defer)


def test_max_concurrency_0_takes_nothing_not_even_what_is_ready():
    """config.md: the provider's pools accept nothing at all."""
    assert verdict(request("small"), facts(launching_forbidden=True), ready={"small": 1}) == Defer(
        "max-concurrency"
    )


def test_a_request_larger_than_max_concurrency_is_taken_whole():
    """config.md: no new request at or above the limit. Compared with its size, it could wait for ever."""
    assert verdict(request(*["small"] * 5), facts(launches_left=1)) == Take("fits")


def test_without_reuse_ready_nodes_do_not_count():
    mine = facts(capacity=Capacity(available={"cores": 0}))
    assert verdict(request("small", reuse=False), mine, ready={"small": 1}) == Defer("quota-cores")


def test_only_what_is_missing_has_to_fit():
    mine = facts(capacity=Capacity(available={"cores": 2}))
    assert verdict(request("small", "large"), mine, ready={"large": 1}) == Take("fits")
    assert verdict(request("small", "large"), mine, ready={"small": 1}) == Defer("quota-cores")


def test_a_request_waits_behind_an_earlier_one_for_the_same_label_only():
    assert verdict(request("small"), crowded={"small"}) == Defer("behind")
    assert verdict(request("small"), crowded={"large"}) == Take("fits")
    assert verdict(request("small", "large"), crowded={"large"}) == Defer("behind")
    assert verdict(request("small", "large"), crowded={"large"}, ready={"large": 1}) == Take("fits")


def test_a_pool_that_has_all_nodes_ready_goes_before_one_that_would_launch():
    assert verdict(request("small"), ready_elsewhere=True) == Skip("ready-elsewhere")
    assert verdict(request("small"), ready_elsewhere=True, ready={"small": 1}) == Take("ready")


# Parts


def test_covering_pools_have_all_labels_and_an_id():
    pools = [pool("a", ["small"]), pool("b", ["small", "large"]), pool("", ["small", "large"])]
    assert [p.id for p in covering(["small", "large", "small"], pools)] == ["b"]
    assert [p.id for p in covering(["small"], pools)] == ["a", "b"]


@pytest.mark.parametrize(
    ("wanted", "have", "missing"),
    [
        (["a", "b"], {}, ["a", "b"]),
        (["a", "b", "a"], {"a": 1}, ["b", "a"]),
        (["a", "a"], {"a": 5, "b": 1}, []),
        ([], {"a": 1}, []),
    ],
)
def test_to_launch(wanted, have, missing):
    assert to_launch(wanted, have) == missing


# Declining


@pytest.mark.parametrize(
    ("declined_by", "registered", "state"),
    [
        ((), ["me"], RequestState.FAILED),
        ((), ["me", "other"], RequestState.REQUESTED),
        (("other",), ["me", "other"], RequestState.FAILED),
        (("dead",), ["me", "other"], RequestState.REQUESTED),  # ids of dead pools do no harm
        (("dead",), ["me"], RequestState.FAILED),
        ((), [], RequestState.REQUESTED),  # no pool registered: it waits
    ],
)
def test_a_declined_request_fails_when_every_registered_pool_has_declined(declined_by, registered, state):
    declined = decline(request("small", declined_by=declined_by), ["me"], registered, at=5.0)
    assert declined.state is state
    assert declined.declined_by == (*declined_by, "me")
    assert declined.state_time == 5.0


def test_a_pool_declines_once_and_hands_over_no_nodes():
    asked = request("small", declined_by=("me",), nodes=("1",), state=RequestState.PENDING)
    declined = decline(asked, ["me", "two", "two"], ["me", "other"], at=5.0)
    assert declined.declined_by == ("me", "two")
    assert declined.nodes == ()


# For all worlds

NAMES = ["a", "b", "c"]
needs = st.fixed_dictionaries({"instances": st.just(1), "cores": st.integers(1, 4)})
limits = st.dictionaries(st.sampled_from(["instances", "cores", "ram"]), st.integers(-2, 9))
wants = st.builds(
    NodeRequest,
    id=st.just("200-1"),
    state=st.sampled_from([RequestState.REQUESTED] * 4 + [*RequestState]),
    labels=st.lists(st.sampled_from(NAMES), max_size=4).map(tuple),
    declined_by=st.lists(st.sampled_from(["me", "p1", "p2"]), max_size=2).map(tuple),
    reuse=st.booleans(),
    provider=st.sampled_from([None, None, "north", "south"]),
)
pools = st.lists(
    st.builds(
        pool,
        st.sampled_from(["p1", "p2", "me"]),
        st.lists(st.sampled_from(NAMES)),
        st.sampled_from(["north", "south"]),
        priority=st.sampled_from([50, 100, 150]),
        paused=st.booleans(),
    ),
    max_size=3,
)
label_facts = st.builds(
    LabelFacts,
    need=st.one_of(needs, needs, needs, st.none()),
    broken=st.sampled_from([None, None, None, "no flavor"]),
    waiting=st.sampled_from([None, None, None, "image"]),
)
mine = st.builds(
    PoolFacts,
    id=st.just("me"),
    provider=st.just("north"),
    priority=st.just(100),
    labels=st.dictionaries(st.sampled_from(NAMES), label_facts, min_size=1),
    disabled=st.sampled_from([False] * 5 + [True]),
    capacity=st.builds(Capacity, ceiling=limits, available=limits),
    launches_left=st.sampled_from([float("inf"), 3, 0]),
    launching_forbidden=st.sampled_from([False] * 5 + [True]),
    paused=st.sampled_from([None, None, "quota", "cloud"]),
)
counts = st.dictionaries(st.sampled_from(NAMES), st.integers(0, 3))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(wants, mine, pools, counts, limits, st.sets(st.sampled_from(NAMES)), st.booleans())
def test_what_holds_for_every_verdict(asked, own, peers, have, tenant, crowded, elsewhere):
    candidates = covering(asked.labels, peers)

    def ask(crowd: set[str]) -> Verdict:
        return judge(
            asked, own, candidates, ready=have, tenant=tenant, crowded=crowd, ready_elsewhere=elsewhere
        )

    said = ask(crowded)
    assert said.reason
    # What a request does not want never keeps it waiting.
    assert said == ask(crowded & set(asked.labels))
    if isinstance(said, Take):
        _check_taken(asked, own, candidates, have, tenant, crowded, said)
    elif not isinstance(said, (Skip, Decline)):
        assert (
            said == Defer("tenant")
            or own.launching_forbidden
            or to_launch(asked.labels, have if asked.reuse else {})
        )
    if isinstance(said, Decline):  # temporary facts decline nothing
        assert own.disabled or not asked.labels or said.reason in ("label", "broken", "too-big")


def _check_taken(
    asked: NodeRequest,
    own: PoolFacts,
    candidates: list[Component],
    have: Mapping[str, int],
    tenant: Resources,
    crowded: set[str],
    said: Take,
) -> None:
    assert asked.state is RequestState.REQUESTED
    assert "me" not in asked.declined_by
    assert not own.disabled
    assert not own.launching_forbidden
    assert set(asked.labels) <= set(own.labels)
    open_to = [c for c in candidates if c.id not in asked.declined_by]
    if asked.provider == "south":
        assert not any(c.provider_name == "south" for c in open_to)
    assert not any(c.priority < 100 and not c.paused for c in open_to if c.id != "me")
    needed = [own.labels[label].need or {} for label in asked.labels]
    assert short_of(total(needed), tenant) is None
    assert short_of(total(needed), own.capacity.ceiling) is None
    missing = to_launch(asked.labels, have if asked.reuse else {})
    if said == Take("ready"):
        assert not missing
        return
    assert own.paused is None
    assert own.launches_left > 0
    assert not crowded & set(missing)
    assert all(own.labels[m].need and not own.labels[m].waiting for m in missing)
    assert short_of(total(own.labels[m].need or {} for m in missing), own.capacity.available) is None


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.lists(st.sampled_from(NAMES), min_size=1, max_size=4), mine, st.sampled_from([None, "north", "south"])
)
def test_what_ready_nodes_alone_can_serve_is_never_put_off(wanted, own, provider):
    asked = request(*wanted, provider=provider)
    said = judge(asked, own, [], ready=Counter(wanted), tenant={}, crowded=set(NAMES), ready_elsewhere=True)
    assert said == Take("ready") or isinstance(said, Decline) or own.launching_forbidden


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.dictionaries(st.sampled_from(["instances", "cores"]), st.integers(0, 12)),
    st.dictionaries(st.sampled_from(["instances", "cores"]), st.integers(0, 20)),
    st.lists(st.lists(st.sampled_from(["small", "large"]), min_size=1, max_size=4), max_size=12),
    st.booleans(),
)
def test_a_pool_that_takes_what_it_is_told_to_never_uses_more_than_it_may(own_limits, cloud, queue, ignore):
    settings_ = Pool(name="main", limits=own_limits, ignore_provider_quota=ignore)
    prices = {"small": SMALL, "large": LARGE}
    snapshot = snapshot_of(
        Node(id="b", provider="north", pool="other", resources={"cores": 3, "instances": 1})
    )
    for number, wanted in enumerate(queue):
        room = pool_capacity(
            "north", settings_, snapshot, cloud_limits=cloud, unmanaged={"cores": 1}, prices=prices
        )
        asked = NodeRequest(id=f"200-{number}", labels=tuple(wanted))
        if judge(asked, facts(capacity=room), [MINE], ready={}, tenant={}) != Take("fits"):
            continue
        for place, label in enumerate(wanted):
            snapshot.put_node(
                Node(
                    id=f"{number}-{place}",
                    state=NodeState.BUILDING,
                    provider="north",
                    pool="main",
                    labels=(label,),
                    resources=prices[label] if place % 2 else None,  # foreign records have none
                )
            )
        mine_now = [n for n in snapshot.nodes() if n.pool == "main"]
        used = total(prices[n.label] for n in mine_now)
        assert all(used.get(name, 0) <= limit for name, limit in own_limits.items())
        if not ignore:
            whole = total([used, {"cores": 1}, {"cores": 3, "instances": 1}])
            assert all(whole.get(name, 0) <= limit for name, limit in cloud.items())


# A provider that an operator has paused or drained


@pytest.mark.parametrize("why", ["paused", "draining"])
def test_a_closed_pool_lets_everything_wait_even_what_ready_nodes_would_serve(why):
    assert verdict(request("small"), facts(closed=why), ready={"small": 1}) == Defer(why)


def test_a_closed_pool_declines_only_what_its_configuration_rules_out():
    broken = labels(small=LabelFacts(need=SMALL, broken="no flavor fits"))
    assert verdict(request("small"), facts(closed="paused", labels=broken)) == Defer("paused")
    too_big = Capacity(ceiling={"instances": 1})
    assert verdict(request("small", "small"), facts(closed="paused", capacity=too_big)) == Defer("paused")
    assert verdict(request("arm"), facts(closed="paused")) == Decline("label")
    assert verdict(request("small"), facts(closed="paused", disabled=True)) == Decline("disabled")


def test_a_pool_of_lower_priority_serves_what_a_closed_one_lets_wait():
    preferred = pool("first", ["small"], priority=1, paused=True)  # as it is published
    assert verdict(request("small"), facts(priority=200), preferred) == Take("fits")


def test_pools_that_are_configured_but_not_registered_are_awaited_of_live_peers_too():
    own = {("north", "a"): frozenset(["x"]), ("north", "b"): frozenset(["y"])}
    snapshot = snapshot_of(pool("1", ["x"], "north", name="a"), pool("2", ["q"], "west", name="c"))
    assert awaited(own, snapshot) == [frozenset(["y"])]
    snapshot.put_peer(Peer(znode="p1", offers={"south": {"c": ["z", "zz"]}, "west": {"c": ["q"]}}))
    snapshot.put_peer(Peer(znode="p2", offers={"east": {"c": ["e"]}}, draining=True))
    snapshot.put_peer(Peer(znode="p3", offers={"bad": 7, "worse": {"c": 7}}))
    assert awaited(own, snapshot) == [frozenset(["y"]), frozenset(["z", "zz"])]
    snapshot.drop_peer("p1")
    assert awaited({}, snapshot) == []
