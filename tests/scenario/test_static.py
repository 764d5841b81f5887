"""Static providers as others see them, on records."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from poolmgr.config.settings import Label, TenantLimits
from poolmgr.model.component import Component, ComponentKind, ComponentState
from poolmgr.model.fleet import ProviderMode, ProviderOrder
from poolmgr.model.node import Node, NodeState
from poolmgr.model.request import MIN_READY_REQUESTOR, RequestState
from poolmgr.policy.static import LAUNCHER
from tests.fakes import ManualExecutor
from tests.scenario.harness import STEP, Fuse
from tests.scenario.static_site import KEY, Machine, StaticSite, host, racks


def ready_site(*nodes: Any, **more: Any) -> StaticSite:
    """A site with a launcher that has registered all slots."""
    provider_keys = {k: more.pop(k) for k in ("pool", "max_concurrency", "priority") if k in more}
    site = StaticSite(racks(*nodes, **provider_keys), **more)
    site.start()
    slots = sum(node.max_parallel_jobs for node in nodes)
    assert site.run(lambda: len(site.free()) == slots, seconds=5)
    return site


# Registration


def test_every_slot_of_every_host_becomes_a_ready_node() -> None:
    site = ready_site(host("h1", max_parallel_jobs=2), host("h2", labels=("bare", "big"), username="root"))
    nodes = {(n.hostname, n.slot): n for n in site.nodes()}
    assert set(nodes) == {("h1", 0), ("h1", 1), ("h2", 0)}
    big = nodes["h2", 0]
    assert (big.labels, big.username, big.host_keys) == (("bare", "big"), "root", (KEY,))
    assert (big.external_id, big.interface_ip, big.public_ipv4) == ("h2", "h2", "192.0.2.1")
    assert (big.launcher, big.provider, big.pool, big.resources) == (LAUNCHER, "racks", "main", None)
    (pool,) = site.pools()
    assert (pool.supported_labels, pool.paused) == (("bare", "big"), False)


def test_port_type_and_timeout_reach_the_scan() -> None:
    site = ready_site(host(connection_port=2222, connection_type="network_cli", timeout=7.5))
    assert site.machines["h1"].asked == [(2222, "network_cli", 7.5)]
    (node,) = site.nodes()
    assert (node.connection_port, node.connection_type) == (2222, "network_cli")


def test_priority_and_attributes_of_the_pool_are_told() -> None:
    site = ready_site(host(), pool={"priority": 7, "node_attributes": {"executor-zone": "lab"}})
    assert [pool.priority for pool in site.pools()] == [7]
    assert [node.attributes for node in site.nodes()] == [{"executor-zone": "lab"}]


def test_without_host_key_checking_nothing_connects_and_the_configured_keys_are_told() -> None:
    site = StaticSite(racks(host(host_key_checking=False, host_keys=("ssh-rsa X",))))
    site.machines["h1"].up = False
    site.start()
    request = site.submit()
    assert site.run(lambda: site.fulfilled(request), seconds=5)
    site.run(seconds=200)
    assert site.machines["h1"].asked == []
    assert site.nodes()[0].host_keys == ("ssh-rsa X",)


def test_a_host_with_other_keys_than_configured_is_refused_until_it_has_them() -> None:
    site = StaticSite(racks(host(host_keys=(KEY,))))
    site.machines["h1"].keys = ("ssh-rsa OTHER",)
    process = site.start()
    site.run(seconds=30)
    assert site.nodes() == []
    assert process.stats.up == {"h1": False}
    site.machines["h1"].keys = ("ssh-rsa OTHER", KEY)
    assert site.run(lambda: len(site.free()) == 1, seconds=65)
    assert process.stats.up == {"h1": True}


def test_a_host_that_is_down_comes_when_it_is_up_and_holds_up_nobody() -> None:
    site = StaticSite(racks(host("h1"), host("h2")))
    site.machines["h1"].up = False
    site.start()
    assert site.run(lambda: [n.hostname for n in site.free()] == ["h2"], seconds=2)
    site.run(seconds=300)
    tries = len(site.machines["h1"].asked)
    assert 8 <= tries <= 14  # pauses grow up to a minute
    site.machines["h1"].up = True
    assert site.run(lambda: len(site.free()) == 2, seconds=61)


def test_looks_run_elsewhere_so_a_host_that_hangs_holds_up_nothing() -> None:
    site = StaticSite(racks(host("h1"), host("h2")))
    executor = ManualExecutor()
    site.start(executor=executor)
    site.run(seconds=30)
    assert len(executor) == 2  # one look at each, however long it takes
    assert site.nodes() == []
    executor.run_all()
    assert site.run(lambda: len(site.free()) == 2, seconds=2)


def test_what_is_registered_is_found_again_after_a_crash() -> None:
    site = ready_site(host(max_parallel_jobs=3))
    before = {n.id for n in site.nodes()}
    site.processes[0].die()
    site.start()
    site.run(seconds=30)
    assert {n.id for n in site.nodes()} == before


def test_a_clean_stop_leaves_the_nodes_and_withdraws_the_pool() -> None:
    site = ready_site(host())
    site.processes[0].stop()
    assert len(site.free()) == 1
    assert site.pools() == []


@pytest.mark.parametrize("state", [NodeState.INIT, NodeState.BUILDING])
def test_a_record_that_was_never_finished_is_replaced(state: NodeState) -> None:
    site = StaticSite(racks(host()))
    at = site.clock.time()
    lock, node = site.client.create_node(
        Node(
            state=state, state_time=at, provider="racks", pool="main", hostname="h1", username="zuul", slot=0,
            labels=("bare",), launcher=LAUNCHER,
        )
    )  # fmt: skip
    site.client.unlock(lock)
    site.start()
    assert site.run(lambda: len(site.free()) == 1, seconds=20)
    assert [n.id for n in site.nodes()] != [node.id]


def test_records_of_old_without_slot_are_kept_and_get_one() -> None:
    site = ready_site(host(max_parallel_jobs=2))
    site.processes[0].stop()
    for node in site.nodes():
        site.client.save_node(replace(node, slot=None))
    ids = {n.id for n in site.nodes()}
    site.start()
    assert site.run(lambda: {n.slot for n in site.free()} == {0, 1}, seconds=5)
    assert {n.id for n in site.nodes()} == ids


# Requests


def test_a_node_is_handed_out_used_and_registered_anew() -> None:
    site = ready_site(host())
    (before,) = site.nodes()
    request = site.submit(tenant_name="t")
    assert site.run(lambda: site.fulfilled(request), seconds=2)
    (node,) = site.nodes()
    assert (node.id, node.allocated_to, node.tenant_name) == (before.id, request, "t")
    held = site.begin(request)
    site.run(seconds=30)
    assert [n.state for n in site.nodes()] == [NodeState.IN_USE]
    scans = len(site.machines["h1"].asked)
    site.end(held)
    assert site.run(lambda: len(site.free()) == 1, seconds=5)
    (after,) = site.nodes()
    assert after.id != before.id
    assert (after.slot, after.allocated_to, after.tenant_name) == (0, None, None)
    assert len(site.machines["h1"].asked) > scans  # by what is found now


def test_a_label_without_free_node_waits_and_holds_up_no_other() -> None:
    site = ready_site(host("h1"), host("h2", labels=("other",)))
    first, second = site.submit(), site.submit()
    assert site.run(lambda: site.fulfilled(first), seconds=2)
    other = site.submit("other")
    assert site.run(lambda: site.fulfilled(other), seconds=2)
    waiting = site.request(second)
    assert (waiting.state, waiting.declined_by) == (RequestState.REQUESTED, ())
    assert not any(pool.paused for pool in site.pools())
    site.end(site.begin(first))
    assert site.run(lambda: site.fulfilled(second), seconds=5)


def test_a_request_of_several_nodes_holds_none_until_all_are_free() -> None:
    site = ready_site(host("h1"), host("h2"))
    one = site.submit()
    assert site.run(lambda: site.fulfilled(one), seconds=2)
    two = site.submit("bare", "bare")
    site.run(seconds=30)
    assert len(site.free()) == 1
    single = site.submit()
    assert site.run(lambda: site.fulfilled(single), seconds=2)
    site.end(site.begin(one))
    site.end(site.begin(single))
    assert site.run(lambda: site.fulfilled(two), seconds=5)
    assert len(set(site.request(two).nodes)) == 2


def test_a_stream_of_small_requests_cannot_keep_a_larger_one_waiting_for_ever() -> None:
    site = ready_site(host("h1"), host("h2"))
    jobs = [site.submit(), site.submit()]
    assert site.run(lambda: site.fulfilled(*jobs), seconds=2)
    large = site.submit("bare", "bare")
    running = [(4 * i, site.begin(job)) for i, job in enumerate(jobs)]  # never both free at once
    waiting: list[str] = []

    def go_on() -> bool:
        nonlocal running
        for at, held in running:
            if at <= 0:
                site.end(held)
                waiting.append(site.submit())
        running = [(at - STEP, held) for at, held in running if at > 0]
        for job in [job for job in waiting if site.fulfilled(job)]:
            waiting.remove(job)
            running.append((8.0, site.begin(job)))
        return site.fulfilled(large)

    assert not site.run(go_on, seconds=250)
    assert site.run(go_on, seconds=80)


def test_nodes_come_in_the_order_of_the_labels_and_where_nothing_else_fits() -> None:
    site = ready_site(host("h1", labels=("a", "b")), host("h2", labels=("a",)))
    request = site.submit("a", "b")
    assert site.run(lambda: site.fulfilled(request), seconds=2)
    by_id = {n.id: n.hostname for n in site.nodes()}
    assert [by_id[i] for i in site.request(request).nodes] == ["h2", "h1"]


def test_more_nodes_than_there_are_slots_fail_at_once() -> None:
    site = ready_site(host(max_parallel_jobs=2))
    request = site.submit("bare", "bare", "bare")
    assert site.run(lambda: site.state(request) is RequestState.FAILED, seconds=2)


def test_min_ready_requests_are_declined() -> None:
    site = ready_site(host())
    request = site.submit(requestor=MIN_READY_REQUESTOR, reuse=False)
    assert site.run(lambda: site.state(request) is RequestState.FAILED, seconds=2)
    assert len(site.free()) == 1


def test_a_tenant_without_room_for_servers_still_gets_static_nodes() -> None:
    site = ready_site(host(), tenants=[TenantLimits(name="t", limits={"instances": 0, "cores": 0})])
    request = site.submit(tenant_name="t")
    assert site.run(lambda: site.fulfilled(request), seconds=2)


def test_max_concurrency_zero_takes_nothing_and_max_servers_zero_declines() -> None:
    site = ready_site(host(), max_concurrency=0)
    request = site.submit()
    site.run(seconds=20)
    assert site.state(request) is RequestState.REQUESTED
    site = ready_site(host(), pool={"limits": {"instances": 0}})
    request = site.submit()
    assert site.run(lambda: site.state(request) is RequestState.FAILED, seconds=2)


def test_pinning_and_priority_of_other_pools_are_respected() -> None:
    site = ready_site(host())
    other = site.client.register(
        Component(
            kind=ComponentKind.POOL, hostname="x", state=ComponentState.RUNNING, version="1", id="other",
            name="main", provider_name="cloud", supported_labels=("bare",), priority=50,
        )
    )  # fmt: skip
    request = site.submit()
    site.run(seconds=5)
    assert site.state(request) is RequestState.REQUESTED
    site.client.update_component(replace(other, priority=100))
    assert site.run(lambda: site.fulfilled(request), seconds=2)
    site.end(site.begin(request))
    pinned = site.submit(provider="cloud")
    site.run(seconds=5)
    assert site.state(pinned) is RequestState.REQUESTED


def test_a_cancelled_request_leaves_its_node_free() -> None:
    site = ready_site(host())
    request = site.submit()
    assert site.run(lambda: site.fulfilled(request), seconds=2)
    site.client.delete_request(request)
    assert site.run(lambda: len(site.free()) == 1, seconds=5)


# Liveness


def test_a_host_is_asked_before_its_node_is_handed_out() -> None:
    site = ready_site(host("h1"), host("h2"))
    site.run(seconds=30)  # long ago by now
    first = next(n.hostname for n in site.free())
    assert first is not None
    site.machines[first].up = False
    request = site.submit()
    assert site.run(lambda: site.fulfilled(request), seconds=5)
    handed_out = site.request(request).nodes
    assert [n.hostname for n in site.nodes() if n.id in handed_out] != [first]
    assert site.run(lambda: len(site.nodes()) == 1, seconds=65)  # the dead one is deregistered


def test_a_request_waits_while_the_only_host_does_not_answer() -> None:
    site = ready_site(host())
    site.run(seconds=30)
    site.machines["h1"].up = False
    request = site.submit()
    assert site.run(lambda: site.nodes() == [], seconds=5)
    assert site.state(request) is RequestState.REQUESTED
    site.machines["h1"].up = True
    assert site.run(lambda: site.fulfilled(request), seconds=61)


def test_a_host_that_dies_while_free_is_noticed_and_comes_back() -> None:
    site = ready_site(host())
    site.machines["h1"].up = False
    assert site.run(lambda: site.nodes() == [], seconds=70)
    site.machines["h1"].up = True
    assert site.run(lambda: len(site.free()) == 1, seconds=61)


def test_hosts_that_are_down_are_told_in_the_providers_status() -> None:
    site = ready_site(host("h1"), host("h2"))
    site.machines["h2"].up = False
    site.run(seconds=70)

    def alarms() -> tuple[str, ...]:
        with site.client.reading() as snapshot:
            status = snapshot.provider_status("racks")
        assert status is not None
        return status.alarms

    assert alarms() == ("host zuul@h2:22 is down: h2 port 22: Connection refused",)
    site.machines["h2"].up = True
    assert site.run(lambda: alarms() == (), seconds=65)


def test_a_promised_or_busy_node_survives_the_death_of_its_host() -> None:
    site = ready_site(host(max_parallel_jobs=2))
    promised = site.submit()
    assert site.run(lambda: site.fulfilled(promised), seconds=2)
    site.machines["h1"].up = False
    assert site.run(lambda: len(site.nodes()) == 1, seconds=70)
    held = site.begin(promised)
    site.run(seconds=100)
    site.end(held)
    assert site.run(lambda: site.nodes() == [], seconds=5)


def test_keys_that_change_while_free_are_written_or_refused() -> None:
    site = ready_site(host("h1"), host("h2", host_keys=(KEY,)))
    for machine in site.machines.values():
        machine.keys = ("ssh-ed25519 NEW",)
    assert site.run(lambda: len(site.nodes()) == 1, seconds=700)
    (node,) = site.nodes()
    assert (node.hostname, node.host_keys) == ("h1", ("ssh-ed25519 NEW",))


# Settings that change


def test_slots_and_hosts_are_added_and_removed_at_run_time() -> None:
    site = ready_site(host("h1", max_parallel_jobs=2))
    site.reload(host("h1", max_parallel_jobs=3), host("h2"))
    assert site.run(lambda: len(site.free()) == 4, seconds=15)
    site.reload(host("h1"))
    assert site.run(lambda: [(n.hostname, n.slot) for n in site.nodes()] == [("h1", 0)], seconds=5)


def test_changes_are_written_into_free_nodes_and_not_into_others() -> None:
    site = ready_site(host("h1"), host("h2"))
    request = site.submit()
    assert site.run(lambda: site.fulfilled(request), seconds=2)
    ids = {n.id for n in site.nodes()}
    site.reload(host("h1", labels=("new",), shell_type="cmd"), host("h2", labels=("new",), shell_type="cmd"))
    assert site.run(lambda: [n.labels for n in site.free()] == [("new",)], seconds=5)
    assert {n.id for n in site.nodes()} == ids
    (promised,) = [n for n in site.nodes() if n.allocated_to]
    assert (promised.labels, promised.shell_type) == (("bare",), None)
    site.end(site.begin(request))
    assert site.run(
        lambda: all(n.shell_type == "cmd" for n in site.free()) and len(site.free()) == 2, seconds=15
    )


def test_another_user_or_port_does_not_double_a_busy_machine() -> None:
    site = ready_site(host())
    request = site.submit()
    assert site.run(lambda: site.fulfilled(request), seconds=2)
    held = site.begin(request)
    site.reload(host(username="root"))
    site.run(seconds=30)
    assert len(site.nodes()) == 1
    site.end(held)
    assert site.run(lambda: [n.username for n in site.free()] == ["root"], seconds=15)


def test_a_removed_host_that_is_busy_is_not_registered_when_it_ends() -> None:
    site = ready_site(host("h1"), host("h2"))
    request = site.submit()
    assert site.run(lambda: site.fulfilled(request), seconds=2)
    held = site.begin(request)
    busy = held[0][1].hostname
    site.reload(*(host(name) for name in ("h1", "h2") if name != busy))
    site.run(seconds=20)
    assert len(site.nodes()) == 2
    site.end(held)
    site.run(seconds=20)
    assert [n.hostname for n in site.nodes()] != [busy]
    assert len(site.nodes()) == 1


@pytest.mark.parametrize("how", ["order", "removed"])
def test_a_provider_that_is_drained_gives_up_what_is_free_and_then_the_rest(how: str) -> None:
    site = ready_site(host("h1"), host("h2"))
    request = site.submit()
    assert site.run(lambda: site.fulfilled(request), seconds=2)
    held = site.begin(request)
    if how == "order":
        site.client.order_provider(ProviderOrder(provider="racks", mode=ProviderMode.DRAINING))
    else:
        site.removed = True
        site.reconfigure()
    site.run(seconds=20)
    assert [n.state for n in site.nodes()] == [NodeState.IN_USE]
    site.end(held)
    assert site.run(lambda: site.nodes() == [], seconds=5)
    if how == "order":
        site.client.withdraw_provider_order("racks")
        assert site.run(lambda: len(site.free()) == 2, seconds=15)


def test_a_paused_provider_hands_out_nothing_and_keeps_its_nodes() -> None:
    site = ready_site(host())
    site.client.order_provider(ProviderOrder(provider="racks", mode=ProviderMode.PAUSED))
    request = site.submit()
    site.run(seconds=20)
    assert site.state(request) is RequestState.REQUESTED
    assert len(site.free()) == 1
    site.client.withdraw_provider_order("racks")
    assert site.run(lambda: site.fulfilled(request), seconds=5)


# Ages and orders of operators


def test_a_deleted_node_is_registered_anew() -> None:
    site = ready_site(host())
    (before,) = site.nodes()
    lock, node = site.client.lock_node(before.id)
    site.client.save_node(node.moved(NodeState.DELETING, at=site.clock.time()), lock)
    site.client.unlock(lock)
    assert site.run(lambda: [n.id for n in site.free()] not in ([], [before.id]), seconds=15)


def test_max_ready_age_and_max_hold_age() -> None:
    site = ready_site(host(), labels=[Label(name="bare", max_ready_age=100.0)], max_hold_age=50.0)
    (before,) = site.nodes()
    assert site.run(lambda: [n.id for n in site.free()] not in ([], [before.id]), seconds=130)
    request = site.submit()
    assert site.run(lambda: site.fulfilled(request), seconds=5)
    site.end(site.begin(request), NodeState.HOLD)
    site.run(seconds=40)
    assert [n.state for n in site.nodes()] == [NodeState.HOLD]
    assert site.run(lambda: len(site.free()) == 1, seconds=40)


# Crashes


@pytest.mark.parametrize("after", [False, True])
def test_a_launcher_killed_at_any_act_leaves_no_slot_twice_and_takes_nothing_promised(after: bool) -> None:
    """`StaticSite.check` looks for slots that are there twice in each cycle."""
    at = 1
    while _killed_at(at, after=after):
        at += 1
    assert at > 25  # acts: registration, requests, a reload, use, registration again


BOTH = (host("h1", max_parallel_jobs=2), host("h2", labels=("bare", "x")))


def _killed_at(at: int, *, after: bool) -> bool:
    """Whether there was such an act."""
    site = StaticSite(racks(*BOTH))
    fuse = Fuse(at, after=after)
    first = site.start(fuse)
    site.run(lambda: len(site.free()) == 3 or not first.alive, seconds=10)
    one, two = site.submit(), site.submit("bare", "x")
    site.run(lambda: site.fulfilled(one, two) or not first.alive, seconds=10)
    if first.alive:
        held = site.begin(one)
        site.reload(host("h1", max_parallel_jobs=2, shell_type="cmd"))
        site.run(seconds=3)
        site.end(held)
        site.run(seconds=5)
    killed = not first.alive
    if not killed:
        first.stop()
    site.reload(*BOTH)
    promised = {n for r in _ids(site) if site.fulfilled(r) for n in site.request(r).nodes}
    site.start()
    site.run(seconds=30)
    assert promised <= {n.id for n in site.nodes(NodeState.READY)}
    for _ in range(2):
        for request in _ids(site):
            if site.fulfilled(request):
                site.end(site.begin(request))
        assert site.run(lambda: site.fulfilled(*_ids(site)), seconds=60), at
    assert site.run(lambda: len(site.free()) == 3, seconds=60), (at, site.nodes())
    return killed


def _ids(site: StaticSite) -> list[str]:
    with site.client.reading() as snapshot:
        return sorted(r.id for r in snapshot.requests())


def test_a_foreign_node_at_a_host_keeps_its_slot() -> None:
    site = StaticSite(racks(host()))
    at = site.clock.time()
    site.client.register(
        Component(
            kind=ComponentKind.POOL, hostname="x", state=ComponentState.RUNNING, version="1", id="other",
            name="main", provider_name="others", supported_labels=("x",),
        )
    )  # fmt: skip
    lock, _ = site.client.create_node(
        Node(state=NodeState.READY, state_time=at, provider="others", hostname="h1", username="zuul", slot=0)
    )
    site.client.unlock(lock)
    site.machines["h1"] = Machine()
    site.start()
    site.run(seconds=30)
    assert [n.provider for n in site.nodes()] == ["others"]
