"""The launcher's behaviour as others see it, on records and on what is in the clouds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from poolmgr.config.settings import Label, TenantLimits
from poolmgr.model.fleet import ProviderMode, ProviderOrder
from poolmgr.model.node import NodeState
from poolmgr.model.request import RequestState
from poolmgr.store.tree import Delete
from tests.scenario.harness import Site, changed, label, provider

DIRECT = {"shape": "direct", "boot": 2.0}
NAT = {"shape": "nat", "boot": 2.0}


@pytest.mark.parametrize("shape", ["direct", "nat", "novanet", "v6"])
def test_a_request_is_fulfilled_used_and_nothing_is_left(shape: str) -> None:
    site = Site({"one": {"shape": shape, "boot": 2.0}}, [provider("one")])
    site.start()
    request = site.submit("small")
    assert site.run(lambda: site.fulfilled(request))
    (node,) = site.use(request)
    assert node.interface_ip
    assert node.host_keys
    assert node.labels == ("small",)
    assert node.resources == {"instances": 1, "cores": node.resources["cores"], "ram": node.resources["ram"]}
    assert site.run(site.is_clean), site.left()


def test_a_multi_node_request_gets_its_nodes_in_order_from_one_pool_and_zone() -> None:
    clouds = {"one": {**DIRECT, "zones": ["a", "b", "c"]}}
    site = Site(clouds, [provider("one", [label("small"), label("large", flavor_name="large")])])
    site.start()
    request = site.submit("large", "small", "large")
    assert site.run(lambda: site.fulfilled(request))
    nodes = site.use(request)
    assert [n.label for n in nodes] == ["large", "small", "large"]
    assert len({n.az for n in nodes}) == 1
    assert len({n.id for n in nodes}) == 3


def test_ready_nodes_are_reused_before_anything_is_launched() -> None:
    site = Site({"one": DIRECT}, [provider("one")], labels=[Label(name="small", min_ready=2)])
    site.start()
    assert site.run(lambda: len([n for n in site.nodes(NodeState.READY) if not n.allocated_to]) == 2)
    before = {n.id for n in site.nodes()}
    request = site.submit("small", "small")
    assert site.run(lambda: site.fulfilled(request), seconds=5)
    assert {n.id for n in site.use(request)} == before


def test_min_ready_is_kept_and_not_overshot_by_two_launchers() -> None:
    site = Site({"one": DIRECT}, [provider("one")], labels=[Label(name="small", min_ready=3)])
    site.start()
    site.start()
    site.run(seconds=60)
    ready = [n for n in site.nodes() if n.state is NodeState.READY and not n.allocated_to]
    assert len(ready) == len(site.nodes()) == 3
    with site.client.reading() as snapshot:
        assert not list(snapshot.requests())


def test_a_request_at_quota_waits_and_is_served_when_a_node_is_given_back() -> None:
    site = Site({"one": DIRECT}, [provider("one", pool={"limits": {"instances": 1}})])
    site.start()
    first, second = site.submit("small"), site.submit("small")
    assert site.run(lambda: site.fulfilled(first))
    assert site.state(second) is RequestState.REQUESTED
    site.use(first)
    assert site.run(lambda: site.fulfilled(second))


def test_a_request_at_quota_blocks_neither_another_label_nor_one_that_a_ready_node_serves() -> None:
    labels = [label("small"), label("large", flavor_name="large")]
    site = Site(
        {"one": DIRECT},
        [provider("one", labels, pool={"limits": {"cores": 4}})],
        labels=[Label(name="small", min_ready=1)],
    )
    site.start()
    assert site.run(lambda: len(site.nodes(NodeState.READY)) == 1)
    too_much = site.submit("large", priority=100)
    site.run(seconds=2)
    assert site.state(too_much) is RequestState.REQUESTED
    served = site.submit("small")
    assert site.run(lambda: site.fulfilled(served), seconds=5)


def test_an_unknown_label_is_declined_by_all_and_so_failed() -> None:
    site = Site({"one": DIRECT, "two": DIRECT}, [provider("one"), provider("two")])
    site.start()
    site.run(seconds=2)
    request = site.submit("nobody-has-this")
    assert site.run(lambda: site.state(request) is RequestState.FAILED, seconds=5)
    record = site.request(request)
    assert record is not None
    assert record.nodes == ()
    assert len(record.declined_by) == 2


def test_a_request_with_fifty_labels_is_served() -> None:
    site = Site(
        {"one": {**DIRECT, "quota": {"instances": 100, "cores": 1000, "ram": 1000000}}}, [provider("one")]
    )
    site.start()
    request = site.submit(*["small"] * 50)
    assert site.run(lambda: site.fulfilled(request))
    assert len({n.id for n in site.use(request)}) == 50


def test_a_request_too_big_for_the_cloud_is_declined_at_once() -> None:
    site = Site({"one": {**DIRECT, "quota": {"instances": 2}}}, [provider("one")])
    site.start()
    site.run(seconds=1)
    request = site.submit("small", "small", "small")
    assert site.run(lambda: site.state(request) is RequestState.FAILED, seconds=5)


def test_higher_priority_is_served_first() -> None:
    site = Site({"one": DIRECT}, [provider("one", pool={"limits": {"instances": 1}})])
    process = site.start()
    site.run(seconds=1)
    low = site.submit("small", priority=300)
    high = site.submit("small", priority=100)
    assert process.alive
    assert site.run(lambda: site.fulfilled(high))
    assert site.state(low) is RequestState.REQUESTED


def test_a_pinned_request_goes_to_its_provider() -> None:
    site = Site({"one": DIRECT, "two": DIRECT}, [provider("one"), provider("two")])
    site.start()
    site.run(seconds=1)
    requests = [site.submit("small", provider="two") for _ in range(4)]
    assert site.run(lambda: site.fulfilled(*requests))
    assert {n.provider for n in site.nodes()} == {"two"}


def test_tenant_limits_hold_and_others_are_served_meanwhile() -> None:
    tenants = [TenantLimits(name="small-one", limits={"instances": 1})]
    site = Site({"one": DIRECT}, [provider("one")], tenants=tenants)
    site.start()
    first = site.submit("small", tenant_name="small-one")
    second = site.submit("small", tenant_name="small-one")
    other = site.submit("small", tenant_name="other")
    assert site.run(lambda: site.fulfilled(first, other))
    site.run(seconds=10)
    assert site.state(second) is RequestState.REQUESTED
    site.use(first)
    assert site.run(lambda: site.fulfilled(second))


def test_a_cancelled_request_is_noticed_at_once_and_its_building_nodes_go() -> None:
    site = Site({"one": {**DIRECT, "boot": 60.0}}, [provider("one")])
    site.start()
    request = site.submit("small", "small")
    assert site.run(lambda: site.count("servers") == 2)
    site.cancel(request)
    assert site.run(site.is_clean, seconds=20), site.left()


def test_building_nodes_of_a_cancelled_request_serve_the_next_one() -> None:
    site = Site({"one": {**DIRECT, "boot": 60.0}}, [provider("one", pool={"limits": {"instances": 1}})])
    site.start()
    first = site.submit("small")
    assert site.run(lambda: site.count("servers") == 1)
    second = site.submit("small")
    site.run(seconds=30)
    site.cancel(first)
    assert site.run(lambda: site.fulfilled(second), seconds=35)


def test_used_nodes_are_deleted_held_ones_kept_until_they_expire() -> None:
    site = Site({"one": DIRECT}, [provider("one")], max_hold_age=100.0)
    site.start()
    request = site.submit("small")
    assert site.run(lambda: site.fulfilled(request))
    (node_id,) = site.request(request).nodes  # type: ignore[union-attr]
    lock, node = site.client.lock_node(node_id)
    site.client.delete_request(request)
    site.client.save_node(node.moved(NodeState.HOLD, at=site.clock.time()), lock)
    site.client.unlock(lock)
    site.run(seconds=60)
    assert [n.state for n in site.nodes()] == [NodeState.HOLD]
    assert site.run(site.is_clean, seconds=90), site.left()


def test_ready_nodes_age_out() -> None:
    labels = [Label(name="small", min_ready=1, max_ready_age=50.0)]
    site = Site({"one": DIRECT}, [provider("one")], labels=labels)
    site.start()
    assert site.run(lambda: len(site.nodes(NodeState.READY)) == 1)
    (first,) = site.nodes()
    assert site.run(lambda: first.id not in {n.id for n in site.nodes()}, seconds=120)


def test_a_disabled_pool_declines_and_its_nodes_live_on() -> None:
    site = Site({"one": DIRECT}, [provider("one")])
    process = site.start()
    held = site.submit("small")
    assert site.run(lambda: site.fulfilled(held))
    site.providers["one"] = changed(site.providers["one"], limits={"instances": 0})
    process.reconfigure()
    site.run(seconds=2)
    request = site.submit("small")
    assert site.run(lambda: site.state(request) is RequestState.FAILED, seconds=5)
    assert [n.state for n in site.nodes()] == [NodeState.READY]


def test_after_a_clean_stop_the_next_launcher_goes_on_with_the_same_server() -> None:
    site = Site({"one": {**DIRECT, "boot": 30.0}}, [provider("one")])
    process = site.start()
    request = site.submit("small")
    assert site.run(lambda: site.count("servers") == 1)
    process.stop()
    assert site.state(request) is RequestState.PENDING
    with site.client.reading() as snapshot:
        assert not list(snapshot.pools())
        assert not snapshot.request_locked(request)
    site.start()
    assert site.run(lambda: site.fulfilled(request), seconds=40)
    assert site.created() == 1
    site.use(request)
    assert site.run(site.is_clean), site.left()


def test_a_lost_session_drops_everything_and_the_same_process_recovers() -> None:
    site = Site({"one": {**DIRECT, "boot": 10.0}}, [provider("one")])
    process = site.start()
    requests = [site.submit("small") for _ in range(3)]
    assert site.run(lambda: site.count("servers") == 3)
    process.memory.expire()
    assert site.run(lambda: site.fulfilled(*requests))
    for request in requests:
        site.use(request)
    assert site.run(site.is_clean), site.left()


def test_a_server_whose_create_call_outlived_the_session_is_taken_back_at_once() -> None:
    """As when the process was frozen between its last look at the lock and the call."""
    site = Site({"one": {**DIRECT, "boot": 10.0}}, [provider("one")])
    process = site.start()
    cloud = process.clouds["one"]
    create, late = cloud.create_server, iter([True])

    def outlived(spec: Any) -> str:
        if next(late, False):
            process.memory.expire()
        return create(spec)

    cloud.create_server = outlived  # type: ignore[method-assign]
    request = site.submit("small")
    began = site.clock.monotonic()
    assert site.run(lambda: site.fulfilled(request))
    assert site.count("servers") == 1
    site.use(request)
    assert site.run(site.is_clean), site.left()
    assert site.clock.monotonic() - began < 120  # sweeps would have waited longer


def test_who_has_heard_nothing_of_the_store_for_long_makes_and_deletes_nothing() -> None:
    site = Site({"one": {**DIRECT, "boot": 1.0}}, [provider("one")])
    process = site.start()
    old = [site.submit("small"), site.submit("small")]
    assert site.run(lambda: site.fulfilled(*old))
    process.memory.fall_silent()
    site.run(seconds=8)  # of a session's 10
    site.use(old[0])
    site.run(seconds=60)
    assert site.count("servers") == 2
    new = site.submit("small")
    site.run(seconds=60)
    assert site.count("servers") == 2
    process.memory.resume()
    assert site.run(lambda: site.fulfilled(new))
    for request in (old[1], new):
        site.use(request)
    assert site.run(site.is_clean), site.left()


def test_what_the_cloud_allows_when_it_listed_last_and_why_a_pool_is_shut_are_told() -> None:
    site = Site({"one": {**DIRECT, "quota": {"instances": 7, "cores": 1000}}}, [provider("one")])
    process = site.start()
    site.run(seconds=60)
    told = process.stats
    assert (told.quotas["one"]["instances"], told.quotas["one"]["cores"]) == (7, 1000)
    assert told.paused == {"one": {}}
    assert site.clock.time() - 60 < told.last_listing["one"] <= site.clock.time()
    site.client.order_provider(ProviderOrder(provider="one", mode=ProviderMode.PAUSED))
    site.run(seconds=30)
    assert told.paused == {"one": {"main": "paused"}}


def test_a_pool_whose_component_record_is_removed_registers_anew() -> None:
    site = Site({"one": DIRECT}, [provider("one")])
    site.start()
    site.run(seconds=1)
    with site.client.reading() as snapshot:
        (pool,) = snapshot.pools()
    with site.tree.lock:
        site.tree.apply((Delete(f"/nodepool/components/pool/{pool.znode}"),), 0)
    site.tree.tell()
    request = site.submit("small")
    assert site.run(lambda: site.fulfilled(request))
    with site.client.reading() as snapshot:
        assert [p.id for p in snapshot.pools()] == [pool.id]


def test_what_changed_before_the_lock_was_taken_is_judged_again() -> None:
    site = Site({"one": DIRECT, "two": DIRECT}, [provider("one"), provider("two")])
    process = site.start()
    site.run(seconds=1)
    lock_request = process.memory.lock_request
    late = iter([True])

    def pinned_meanwhile(request_id: str) -> Any:
        if next(late, False):
            record = site.client.read_request(request_id)
            site.client.save_request(replace(record, provider="two"))
        return lock_request(request_id)

    process.memory.lock_request = pinned_meanwhile  # type: ignore[method-assign]
    request = site.submit("small")
    assert site.run(lambda: site.fulfilled(request))
    assert [n.provider for n in site.use(request)] == ["two"]
