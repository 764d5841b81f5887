"""Limits of ports and floating IPs: requests wait for room instead of failing launches."""

import logging

import pytest

from poolmgr.model.node import NodeState
from poolmgr.policy.tuning import Tuning
from tests.scenario.harness import Site, changed, label, provider

TUNING = Tuning(sweep_interval=10.0, request_locks_interval=30.0, leak_age=30.0, quota_refresh=20.0)
#: Shape of the cloud, and its quota for two nodes; the router has a port of its own.
SHORT = [
    ("nat", {"floating-ips": 2}),
    ("nat", {"ports": 3}),
    ("direct", {"ports": 2}),
    ("novafip", {"floating-ips": 2}),
]


def site(shape, quota, **more):
    return Site({"north": {"shape": shape, "quota": quota, **more}}, [provider("north")], tuning=TUNING)


@pytest.mark.parametrize(("shape", "quota"), SHORT)
def test_what_does_not_fit_waits_and_no_launch_fails(shape, quota):
    here = site(shape, quota)
    process = here.start()
    requests = [here.submit() for _ in range(4)]
    here.run(seconds=120)
    done = [r for r in requests if here.fulfilled(r)]
    assert len(done) == 2
    assert process.stats.launches == ["ready", "ready"]
    for request in done:
        here.use(request)
    assert here.run(lambda: here.fulfilled(*(r for r in requests if r not in done)))
    assert process.stats.launches == ["ready"] * 4


@pytest.mark.parametrize(("resource", "quota"), [("floating-ips", 1), ("ports", 2)])
def test_the_reason_names_what_is_short(resource, quota, caplog):
    caplog.set_level(logging.DEBUG)
    here = site("nat", {resource: quota})
    here.start()
    first, _ = here.submit(), here.submit()
    here.run(lambda: here.fulfilled(first))
    here.run(seconds=5)
    assert f"quota-{resource}" in caplog.text


def test_other_people_s_floating_ips_are_counted_and_noticed_when_they_go():
    here = site("nat", {"floating-ips": 2})
    far = here.world.clouds["north"]
    with far.lock:
        network = far.networking.network_named("ext-net")
        taken = [far.networking.create_floating_ip(network.id, foreign=True).id for _ in range(2)]
    process = here.start()
    request = here.submit()
    assert not here.run(lambda: here.settled(request), seconds=60)
    assert process.stats.launches == []
    with far.lock:
        for one in taken:
            far.networking.delete_floating_ip(one)
    assert here.run(lambda: here.fulfilled(request), seconds=60)


@pytest.mark.parametrize(
    "changes", [{"auto_floating_ip": False}, {"ignore_provider_quota": True}], ids=lambda c: next(iter(c))
)
def test_who_needs_none_or_does_not_ask_is_not_held_up(changes):
    here = Site(
        {"north": {"shape": "nat", "quota": {"floating-ips": 0}}},
        [changed(provider("north", [label("small", host_key_checking=False)]), **changes)],
        tuning=TUNING,
    )
    process = here.start()
    here.submit()
    assert here.run(lambda: bool(process.stats.launches), seconds=60)


def test_records_tell_nothing_of_it():
    here = site("nat", {"floating-ips": 5, "ports": 50})
    here.start()
    request = here.submit()
    assert here.run(lambda: here.fulfilled(request))
    (node,) = here.nodes(NodeState.READY)
    assert set(node.resources) == {"instances", "cores", "ram"}


def test_it_costs_calls_by_the_clock_and_not_by_the_node():
    here = site("nat", {"floating-ips": 50, "ports": 500})
    process = here.start()
    requests = [here.submit() for _ in range(12)]
    assert here.run(lambda: here.fulfilled(*requests), seconds=19)
    assert process.clouds["north"].calls["network.GET.quota_details"] == 1


def test_a_network_service_that_is_away_holds_nothing_up():
    fault = {"kind": "http-503", "operations": ["network.GET.quota_details"]}
    here = site("nat", {"floating-ips": 2}, faults=[fault])
    here.start()
    request = here.submit()
    assert here.run(lambda: here.fulfilled(request))


def test_free_nodes_of_other_labels_make_room_of_ports():
    here = Site(
        {"north": {"shape": "direct", "quota": {"ports": 1}}},
        [provider("north", [label("small"), label("other")])],
        tuning=TUNING,
    )
    here.start()
    first = here.submit("small")
    assert here.run(lambda: here.fulfilled(first))
    here.cancel(first)
    second = here.submit("other")
    assert here.run(lambda: here.fulfilled(second))
