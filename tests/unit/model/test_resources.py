from __future__ import annotations

import math

import pytest

from poolmgr.model.resources import counted, minus, short_of, tightest, total


def test_amounts_are_summed_name_by_name():
    assert total([{"cores": 2, "ram": 512}, {"cores": 1.5}, {}]) == {"cores": 3.5, "ram": 512}


@pytest.mark.parametrize(
    "value", ["8", None, [1], True, -4, math.nan, math.inf, -math.inf, pytest.param(10**400, id="huge")]
)
def test_what_is_no_sensible_amount_counts_as_nothing(value):
    assert counted({"cores": value, "ram": 512}) == {"ram": 512}
    assert total([{"cores": value}, {"cores": 2}]) == {"cores": 2}


def test_a_record_without_resources_has_no_amounts():
    assert counted(None) == {}


def test_what_is_left_of_limits_is_negative_where_too_much_is_used_and_unlimited_names_stay_absent():
    assert minus({"cores": 4, "ram": 512}, {"cores": 6, "instances": 9}) == {"cores": -2, "ram": 512}


@pytest.mark.parametrize(
    ("need", "available", "short"),
    [
        ({"cores": 4}, {"cores": 4}, None),
        ({"cores": 5}, {"cores": 4}, "cores"),
        ({"cores": 5}, {}, None),  # absent: no limit
        ({"cores": 5}, {"ram": 0}, None),
        ({"ram": 9, "cores": 5}, {"ram": 1, "cores": 1}, "cores"),  # the first by name
        ({"cores": 0}, {"cores": -3}, None),  # needs none of what is overdrawn
        ({}, {"cores": -3}, None),
        ({"cores": 1}, {"cores": 1 - 1e-12}, None),  # what sums of fractions leave
    ],
)
def test_short_of(need, available, short):
    assert short_of(need, available) == short


def test_the_tightest_limit_of_each_name_holds():
    assert tightest([{"cores": 4, "ram": 9}, {"cores": 2}, {"volumes": 1}]) == {
        "cores": 2,
        "ram": 9,
        "volumes": 1,
    }
