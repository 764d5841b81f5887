from __future__ import annotations

from collections import Counter
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from poolmgr.policy.allocate import Plan, allocate, reusable
from tests.unit.policy.worlds import ready


def plan(labels, taken=None, free=None, *, zone=None, zones=()) -> Plan:
    return allocate(labels, taken or {}, free or {}, zone=zone, zones=zones)


def reused(made: Plan) -> dict[int, str]:
    return {place: node.id for place, node in made.reuse.items()}


def test_ready_nodes_come_first_and_the_rest_is_launched_in_its_place():
    made = plan(["small", "large", "small"], free={"large": [ready("1", "large")]})
    assert reused(made) == {1: "1"}
    assert made.launch == {0: "small", 2: "small"}


def test_nodes_are_reused_in_the_order_given():
    made = plan(["small", "small"], free={"small": [ready("7"), ready("3"), ready("5")]})
    assert reused(made) == {0: "7", 1: "3"}


def test_places_that_are_taken_are_left_alone():
    made = plan(["small", "large"], taken={0: ready("1")}, free={"small": [ready("2")]})
    assert reused(made) == {}
    assert made.launch == {1: "large"}


def test_a_node_is_given_out_once_though_it_has_two_labels_or_is_taken_already():
    both = ready("1")
    assert reused(plan(["small", "large"], free={"small": [both], "large": [both]})) == {0: "1"}
    assert reused(plan(["small", "small"], taken={0: both}, free={"small": [both]})) == {}


def test_a_bound_request_reuses_no_node_of_another_zone():
    made = plan(["small"], free={"small": [ready("1", az="b")]}, zone="a", zones=("a", "b"))
    assert made == Plan(reuse={}, launch={0: "small"}, zone="a")


def test_an_open_request_is_bound_by_the_node_it_reuses_and_launches_beside_it():
    made = plan(["small", "large"], free={"small": [ready("1", az="b")]}, zones=("a", "b", "c"))
    assert reused(made) == {0: "1"}
    assert made.zone == "b"


def test_the_zone_that_saves_most_launches_is_taken():
    """Else a request is taken as served by ready nodes, and then has to launch at quota all the same."""
    free = {"small": [ready("1", az="a"), ready("2", az="b"), ready("3", az="b")]}
    made = plan(["small", "small"], free=free)
    assert reused(made) == {0: "2", 1: "3"}
    assert made.zone == "b"


def test_among_equal_zones_the_preferred_node_decides():
    free = {"small": [ready("2", az="b"), ready("1", az="a")]}
    assert reused(plan(["small"], free=free)) == {0: "2"}


def test_a_node_without_zone_goes_with_any():
    free = {"small": [ready("1", az=None)], "large": [ready("2", "large", az="b")]}
    made = plan(["small", "large"], free=free)
    assert reused(made) == {0: "1", 1: "2"}
    assert made.zone == "b"
    assert plan(["small"], free=free, zones=()).zone is None


def test_new_nodes_of_an_open_request_go_to_the_zone_whose_turn_it_is():
    assert plan(["small", "small"], zones=("b", "c", "a")).zone == "b"
    assert plan(["small"]).zone is None  # no zones: the cloud chooses


def test_without_a_launch_no_zone_is_chosen():
    made = plan(["small"], taken={0: ready("1")}, zones=("a", "b"))
    assert made.zone is None


def test_reusable_counts_what_one_zone_can_give():
    free = {"small": [ready("1", az="a"), ready("2", az="b")], "large": [ready("3", "large", az="b")]}
    assert reusable(["small", "small"], free) == {"small": 1}
    assert reusable(["small", "large"], free) == {"small": 1, "large": 1}
    assert reusable(["arm"], free) == {}


def two_labelled(id_: str):
    return replace(ready(id_), labels=("a", "b"))


def test_a_node_of_two_labels_is_left_to_the_place_that_nothing_else_can_fill():
    both, only_a = two_labelled("1"), ready("2", "a")
    free = {"a": [both, only_a], "b": [both]}
    assert reused(plan(["a", "b"], free=free)) == {0: "2", 1: "1"}
    assert reusable(["a", "b"], free) == {"a": 1, "b": 1}
    assert reusable(["b", "b"], free) == {"b": 1}


def test_places_change_their_nodes_in_a_chain_until_all_have_one():
    one, two, three = (
        replace(ready(i), labels=tuple(labels)) for i, labels in (("1", "ab"), ("2", "bc"), ("3", "cd"))
    )
    free = {"a": [one], "b": [one, two], "c": [two, three], "d": [three]}
    assert reused(plan(["b", "c", "a"], free=free)) == {0: "2", 1: "3", 2: "1"}
    assert reusable(["a", "b", "c", "d"], free).total() == 3


free_nodes = st.dictionaries(
    st.sampled_from(["a", "b"]),
    st.lists(
        st.builds(ready, st.sampled_from("123456"), st.just("x"), az=st.sampled_from(["z1", "z2", None])),
        max_size=4,
    ),
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    st.lists(st.sampled_from(["a", "b"]), max_size=4),
    st.dictionaries(st.integers(0, 3), st.builds(ready, st.sampled_from("123789")), max_size=2),
    free_nodes,
    st.sampled_from([None, "z1", "z2"]),
    st.sampled_from([(), ("z1", "z2")]),
)
def test_every_plan_is_complete_in_one_zone_and_uses_no_node_twice(labels, taken, free, zone, zones):
    made = plan(labels, taken, free, zone=zone, zones=zones)
    assert sorted([*made.reuse, *made.launch]) == [p for p in range(len(labels)) if p not in taken]
    assert all(made.launch[place] == labels[place] for place in made.launch)
    for place, node in made.reuse.items():
        assert node in free[labels[place]]
        assert node.az in (None, made.zone)
    given_out = [n.id for n in made.reuse.values()]
    assert len(set(given_out)) == len(given_out)
    assert not set(given_out) & {n.id for n in taken.values()}
    if zone is not None:
        assert made.zone == zone
    if made.launch and zones:
        assert made.zone in zones
    if not taken and zone is None:
        assert reusable(labels, free) == Counter(labels[place] for place in made.reuse)


def test_a_plan_of_nothing():
    assert plan([]) == Plan(reuse={}, launch={}, zone=None)
