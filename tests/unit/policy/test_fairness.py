from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolmgr.model.request import NodeRequest
from poolmgr.policy.fairness import NOBODY, by_rank, in_turn


def asked(number: int, tenant: str | None, nodes: int = 1, *, priority: int = 200, relative: int = 0):
    return NodeRequest(
        id=f"{priority}-{number:010d}",
        labels=("small",) * nodes,
        tenant_name=tenant,
        relative_priority=relative,
    )


def order(requests: list[NodeRequest], **has: int) -> str:
    """The tenants' initials in turn."""
    return "".join(r.tenant_name or "-" for r in in_turn(requests, lambda tenant: has.get(tenant, 0)))


def many(tenants: str, **how: int) -> list[NodeRequest]:
    return [asked(number, tenant, **how) for number, tenant in enumerate(tenants)]


@pytest.mark.parametrize(
    ("waiting", "has", "expected"),
    [
        ("", {}, ""),
        ("aaa", {}, "aaa"),
        ("aaaabb", {}, "ababaa"),
        ("aaaabbc", {}, "abcabaa"),
        ("aab", {"a": 1}, "baa"),  # who has least comes first
        ("ab", {"a": 1, "b": 1}, "ab"),  # at equal numbers the older one
        ("aabb", {"a": 5}, "bbaa"),
        ("aabbb", {"a": 1}, "babab"),
        ("ccbbaa", {"a": 1, "b": 1, "c": 1}, "cbacba"),
    ],
)
def test_tenants_take_turns(waiting, has, expected):
    assert order(many(waiting), **has) == expected


def test_priority_comes_before_fairness():
    urgent = asked(9, "a", priority=100)
    assert in_turn([*many("bb"), urgent], lambda tenant: {"a": 50}.get(tenant, 0))[0] == urgent


def test_within_a_tenant_relative_priority_and_age_decide():
    last, first, second = asked(1, "a", relative=5), asked(2, "a"), asked(3, "a")
    assert in_turn([last, second, first], lambda _: 0) == [first, second, last]


def test_at_equal_numbers_relative_priority_decides_between_tenants():
    assert order([asked(1, "a", relative=2), asked(2, "b", relative=1)]) == "ba"


def test_a_request_for_many_nodes_counts_as_many():
    big = asked(0, "a", nodes=3)
    rest = [asked(1, "a"), *(asked(n, "b") for n in range(2, 6))]
    assert order([big, *rest]) == "abbbab"


def test_requests_without_a_tenant_take_turns_like_one():
    waiting = [asked(0, None), asked(1, None), asked(2, "a")]
    assert order(waiting) == "-a-"
    assert order(waiting, **{NOBODY: 2}) == "a--"


def test_by_rank_is_the_order_of_the_reference():
    late, early, urgent = asked(2, "a"), asked(1, "b"), asked(3, "a", priority=100)
    assert by_rank([late, early, urgent]) == [urgent, early, late]


waits = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 2)), max_size=40)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(waits, st.dictionaries(st.sampled_from("abc"), st.integers(0, 5)), st.integers(0, 40))
def test_no_tenant_that_waits_has_more_than_one_node_less_than_one_that_was_served(waiting, has, room):
    """However many requests are served, those of the tenant that asks most don't crowd out the others."""
    requests = [asked(n, tenant, relative=relative) for n, (tenant, relative) in enumerate(waiting)]
    turns = in_turn(requests, lambda tenant: has.get(tenant, 0))
    assert sorted(r.id for r in turns) == sorted(r.id for r in requests)
    assert in_turn(reversed(requests), lambda tenant: has.get(tenant, 0)) == turns
    served, left = turns[:room], turns[room:]
    got = Counter(r.tenant_name for r in served)
    for tenant in {r.tenant_name for r in left}:
        for other in got:
            assert has.get(tenant, 0) + got[tenant] >= has.get(other, 0) + got[other] - 1
    for tenant in "abc":
        mine = [r for r in turns if r.tenant_name == tenant]
        assert mine == by_rank(mine)
