from __future__ import annotations

import random

import pytest

from poolmgr.simcloud.fault_kinds import KINDS
from poolmgr.simcloud.faults import Fault, FaultKind, Faults

CREATE = "compute.POST.servers"


def struck(fault: Fault, calls: list[tuple[str, str]]) -> list[bool]:
    faults = Faults([fault], random.Random(1))
    return [faults.strike(operation, name).of(fault.kind) is not None for operation, name in calls]


def test_a_script_strikes_the_named_call_and_no_other():
    fault = Fault(kind=FaultKind.HTTP_500, operations=(CREATE,), skip=2, times=1)
    assert struck(fault, [(CREATE, "n")] * 5) == [False, False, True, False, False]


def test_a_name_pattern_picks_servers():
    fault = Fault(kind=FaultKind.ERROR_SERVER, name="*-0003")
    assert struck(fault, [(CREATE, "np-0001"), (CREATE, "np-0003")]) == [False, True]


def test_operations_are_patterns():
    fault = Fault(kind=FaultKind.SLOW, operations=("network.*", "image.GET.*"))
    calls = [("network.GET.ports", ""), ("image.POST.images", ""), ("image.GET.images", "")]
    assert struck(fault, calls) == [True, False, True]


def test_without_operations_the_login_is_spared():
    fault = Fault(kind=FaultKind.HTTP_503)
    assert struck(fault, [("identity.POST.tokens", ""), ("compute.GET.limits", "")]) == [False, True]


@pytest.mark.parametrize("kind", [FaultKind.NO_VALID_HOST, FaultKind.QUOTA, FaultKind.LOST_ANSWER])
def test_a_fault_of_creation_strikes_only_creation(kind: FaultKind):
    assert struck(Fault(kind=kind), [("compute.GET.servers_detail", ""), (CREATE, "n")]) == [False, True]


def test_chance_strikes_about_as_often_as_it_says_and_the_same_way_each_time():
    fault = Fault(kind=FaultKind.HTTP_500, probability=0.3)
    first = struck(fault, [("compute.GET.limits", "")] * 1000)
    assert first == struck(fault, [("compute.GET.limits", "")] * 1000)
    assert 250 < sum(first) < 350


def test_several_faults_may_strike_one_call():
    faults = Faults([Fault(kind=FaultKind.SLOW), Fault(kind=FaultKind.QUOTA)], random.Random(1))
    assert set(faults.strike(CREATE, "n").faults) == {FaultKind.SLOW, FaultKind.QUOTA}


def test_what_struck_is_counted_and_cleared_faults_strike_no_more():
    faults = Faults([Fault(kind=FaultKind.SLOW)], random.Random(1))
    faults.strike(CREATE)
    assert faults.struck() == {"slow": 1}
    faults.clear()
    assert not faults.strike(CREATE).faults


def test_an_action_can_be_told_from_others_of_its_operation():
    faults = Faults([Fault(kind=FaultKind.REFUSE, operations=("a.POST.b:stop",))], random.Random(1))
    assert not faults.strike("a.POST.b", detail="start").faults
    assert faults.strike("a.POST.b", detail="stop").faults


def test_a_text_gives_words_status_and_kind_that_the_fault_may_replace():
    fault = Fault(kind=FaultKind.REFUSE, text="neutron-quota")
    assert (fault.status, fault.refusal_kind, "Quota exceeded" in fault.words) == (409, "OverQuota", True)
    other = Fault(kind=FaultKind.REFUSE, text="neutron-quota", status=403, message="no")
    assert (other.status, other.words) == (403, "no")


def test_every_kind_has_its_row_and_every_row_names_known_services():
    services = ("compute", "network", "image", "block-storage", "object-store", "*")
    assert set(KINDS) == set(FaultKind)
    for kind, row in KINDS.items():
        assert row.does, kind
        assert all(o.split(".")[0] in services and o.count(".") == 2 for o in row.operations), kind
