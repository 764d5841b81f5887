"""Clouds that fail: every request is still served where it can be, and nothing is left behind."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from poolmgr.config.settings import Label
from poolmgr.model.node import NodeState
from poolmgr.model.request import RequestState
from tests.fakes import ManualExecutor
from tests.scenario.harness import TUNING, Site, label, provider


def one_cloud(*faults: dict[str, Any], shape: str = "direct", **more: Any) -> dict[str, Any]:
    return {"one": {"shape": shape, "boot": 2.0, "faults": list(faults), **more}}


BROKEN = {"kind": "error-server", "message": "Unexpected error while running command."}


def serve(site: Site, count: int = 3, *, seconds: float = 900.0) -> None:
    """Have requests served and used, and everything gone afterwards."""
    requests = [site.submit("small") for _ in range(count)]
    waiting = set(requests)

    def done() -> bool:
        for request in list(waiting):
            if site.fulfilled(request):
                site.use(request)
                waiting.discard(request)
        return not waiting

    assert site.run(done, seconds=seconds), [(r, site.state(r)) for r in waiting]
    assert site.run(site.is_clean, seconds=seconds), site.left()


@pytest.mark.parametrize("shape", ["direct", "nat"])
@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "http-500", "probability": 0.2},
        {"kind": "http-503", "probability": 0.2},
        {"kind": "throttle", "probability": 0.2, "retry_after": 1},
        {"kind": "drop", "probability": 0.2},
        {"kind": "garbage", "probability": 0.1},
        {"kind": "expired-token", "probability": 0.2},
        {"kind": "stale-list", "probability": 0.5},
        {"kind": "lost-answer", "times": 2},
        {"kind": "quota", "times": 2},
        {"kind": "no-valid-host", "times": 2},
        {"kind": "error-server", "times": 2},
        {"kind": "no-address", "times": 1},
        {"kind": "no-ssh", "times": 2},
        {"kind": "ignored-delete", "times": 2},
        {"kind": "error-delete", "times": 2},
        {"kind": "leaked-port", "times": 2},
        {"kind": "quota", "operations": ["network.POST.floatingips"], "times": 1},
        {"kind": "lost-answer", "operations": ["network.POST.floatingips"], "times": 1},
        {"kind": "http-500", "operations": ["network.DELETE.floatingip"], "times": 2},
    ],
    ids=lambda fault: "-".join([fault["kind"], *fault.get("operations", [])]),
)
def test_requests_are_served_in_spite_of(fault: dict[str, Any], shape: str) -> None:
    site = Site(one_cloud(fault, shape=shape), [provider("one")])
    site.start()
    serve(site)


def test_a_quota_error_charges_no_attempt() -> None:
    site = Site(one_cloud({"kind": "quota", "times": 1}), [provider("one", launch_retries=1)])
    site.start()
    serve(site, 1)


def test_attempts_used_up_decline_the_request_and_another_provider_serves_it() -> None:
    clouds = {**one_cloud(BROKEN), "two": {"shape": "direct", "boot": 2.0}}
    site = Site(clouds, [provider("one", launch_retries=2), provider("two")])
    process = site.start()
    requests = [site.submit("small") for _ in range(6)]
    assert site.run(lambda: site.fulfilled(*requests))
    assert {n.provider for r in requests for n in site.use(r)} == {"two"}
    assert "error.status" in process.stats.launches
    assert site.run(site.is_clean), site.left()


def test_a_request_fails_when_every_pool_has_tried_in_vain() -> None:
    site = Site(one_cloud(BROKEN), [provider("one", launch_retries=2)])
    process = site.start()
    request = site.submit("small")
    assert site.run(lambda: site.state(request) is RequestState.FAILED)
    assert process.stats.launches == ["error.status"] * 2
    assert process.stats.launched_images == {"img"}
    site.cancel(request)
    assert site.run(site.is_clean), site.left()


def test_ready_siblings_of_a_failed_multi_node_request_become_free() -> None:
    fault = {"kind": "error-server", "skip": 1}
    site = Site(one_cloud(fault), [provider("one", launch_retries=1)])
    site.start()
    request = site.submit("small", "small")
    assert site.run(lambda: site.state(request) is RequestState.FAILED)
    assert site.run(lambda: len(site.nodes()) <= 1)
    assert all(n.state is NodeState.READY and not n.allocated_to for n in site.nodes())


def test_a_label_the_cloud_rejects_is_declined_without_more_attempts() -> None:
    site = Site(one_cloud(), [provider("one", [label("small", key_name="no-such-key")])])
    process = site.start()
    requests = [site.submit("small"), site.submit("small")]
    assert site.run(lambda: all(site.state(r) is RequestState.FAILED for r in requests), seconds=60)
    tried = len(process.stats.launches)
    assert tried <= 2
    later = site.submit("small")
    assert site.run(lambda: site.state(later) is RequestState.FAILED, seconds=60)
    assert len(process.stats.launches) == tried, "the label is known to be broken"
    process.reconfigure()
    again = site.submit("small")
    assert site.run(lambda: site.state(again) is RequestState.FAILED, seconds=60)
    assert len(process.stats.launches) == tried + 1, "a new configuration gives it another chance"


def test_no_valid_host_moves_on_to_the_next_zone_and_is_no_attempt_there() -> None:
    clouds = one_cloud(zones=["a", "b"], full_zones=["a"])
    site = Site(clouds, [provider("one", pool={"availability_zones": ("a", "b")}, launch_retries=1)])
    process = site.start()
    requests = [site.submit("small") for _ in range(4)]
    assert site.run(lambda: site.fulfilled(*requests))
    assert {n.az for r in requests for n in site.use(r)} == {"b"}
    refused = process.stats.launches.count("error.capacity")
    assert refused <= 2
    more = [site.submit("small") for _ in range(4)]
    assert site.run(lambda: site.fulfilled(*more), seconds=30)
    assert process.stats.launches.count("error.capacity") == refused, "the full zone is left alone"


def test_requests_take_zones_in_turn_and_a_request_stays_in_one() -> None:
    clouds = one_cloud(zones=["a", "b", "c"])
    site = Site(clouds, [provider("one")])
    site.start()
    requests = [site.submit("small", "small") for _ in range(6)]
    assert site.run(lambda: site.fulfilled(*requests))
    zones = [{n.az for n in site.use(r)} for r in requests]
    assert all(len(used) == 1 for used in zones)
    assert Counter(z for used in zones for z in used) == {"a": 2, "b": 2, "c": 2}


def test_while_no_zone_has_room_others_serve_and_it_is_asked_ever_more_rarely(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clouds = {**one_cloud(full_zones=["nova"]), "two": {"shape": "direct", "boot": 2.0}}
    site = Site(clouds, [provider("one", launch_retries=1), provider("two", pool={"priority": 200})])
    process = site.start()
    for _ in range(18):
        request = site.submit("small")
        assert site.run(lambda request=request: site.fulfilled(request), seconds=15)
        (node,) = site.use(request)
        assert node.provider == "two"
        site.run(seconds=10)
    assert process.stats.launches.count("error.capacity") == 3  # in four minutes: at 0, 1, 3
    assert caplog.text.count("there never was room for flavor small in zone nova") == 1
    site.world.clouds["one"].compute.full_zones.clear()
    request = site.submit("small", provider="one")
    assert site.run(lambda: site.fulfilled(request), seconds=900)
    caplog.clear()
    request = site.submit("small", provider="one")
    assert site.run(lambda: site.fulfilled(request), seconds=15), "one that came up ends the shortage"


def test_a_cloud_that_is_down_at_start_is_served_by_the_others_and_used_when_it_is_back() -> None:
    down = {"kind": "drop", "operations": ["*"]}
    clouds = {**one_cloud(down), "two": {"shape": "direct", "boot": 2.0}}
    site = Site(clouds, [provider("one"), provider("two")])
    site.start()
    request = site.submit("small")
    pinned = site.submit("small", provider="one")
    assert site.run(lambda: site.fulfilled(request), seconds=30)
    assert site.state(pinned) is RequestState.REQUESTED
    site.world.clouds["one"].faults.clear()
    assert site.run(lambda: site.fulfilled(pinned), seconds=200)


def test_foreign_servers_and_floating_ips_are_never_touched() -> None:
    site = Site(one_cloud(shape="nat"), [provider("one", clean_floating_ips=False)])
    cloud = site.world.clouds["one"]
    with cloud.lock:
        looks = [
            {},
            {"nodepool_node_id": "0000000001"},
            {"nodepool_provider_name": "two", "nodepool_node_id": "0000000001"},
            {
                "nodepool_provider_name": "one",
                "nodepool_node_id": "0000000001",
                "poolmgr_deployment": "other",
            },
            # Of a Nodepool with another ZooKeeper, where providers are called the same; node 0 is the first here too.
            {"nodepool_provider_name": "one", "nodepool_node_id": "0000000000", "nodepool_pool_name": "main"},
            {"nodepool_provider_name": "one", "nodepool_node_id": "0000999999", "nodepool_pool_name": "main"},
        ]
        foreign = {
            cloud.compute.put_foreign(name=f"np{n:010d}", metadata=look, networks=[]).id
            for n, look in enumerate(looks)
        }
    site.start()
    request = site.submit("small")
    assert site.run(lambda: site.fulfilled(request))
    site.use(request)
    site.run(seconds=200)
    assert set(cloud.compute.servers) == foreign


def test_a_server_of_ours_without_a_node_is_deleted_and_counted() -> None:
    site = Site(one_cloud(), [provider("one")])
    cloud = site.world.clouds["one"]
    metadata = {
        "nodepool_provider_name": "one",
        "nodepool_node_id": "0000999999",
        "nodepool_pool_name": "main",
        "poolmgr_deployment": site.client.deployment(),
    }
    with cloud.lock:
        cloud.compute.put_foreign(name="np0000999999", metadata=metadata, networks=[])
    process = site.start()
    site.run(seconds=TUNING.leak_age - 2)
    assert site.count("servers") == 1, "it may be the server of a node that we are about to see"
    assert site.run(lambda: site.count("servers") == 0, seconds=60)
    assert process.stats.leaks == [("one", "instances")]


def test_idle_ports_go_after_two_looks_one_interval_apart() -> None:
    site = Site(one_cloud({"kind": "leaked-port"}), [provider("one", port_cleanup_interval=60.0)])
    site.start()
    serve(site, 2)


def test_a_cloud_that_hangs_stalls_itself_only_and_goes_on_when_it_answers() -> None:
    clouds = {**one_cloud(), "two": {"shape": "direct", "boot": 2.0}}
    site = Site(clouds, [provider("one"), provider("two")])
    hung = ManualExecutor()
    process = site.start(executors={"one": hung})
    site.run(seconds=2)
    hung.run_all()  # it answers the first questions, and then no more
    pinned = site.submit("small", provider="one")
    site.run(seconds=2)
    assert site.state(pinned) is RequestState.PENDING
    others = [site.submit("small", provider="two") for _ in range(3)]
    assert site.run(lambda: site.fulfilled(*others), seconds=20)
    assert site.state(pinned) is RequestState.PENDING

    def done() -> bool:
        hung.run_all()
        return site.fulfilled(pinned)

    assert site.run(done)
    assert process.alive


def test_a_cancelled_request_whose_create_call_hangs_leaves_no_server() -> None:
    site = Site(one_cloud(), [provider("one")])
    hung = ManualExecutor()
    site.start(executors={"one": hung})
    site.run(seconds=1)
    hung.run_all()
    request = site.submit("small")
    site.run(seconds=2)
    site.cancel(request)
    site.run(seconds=2)
    assert site.count("servers") == 0, "the create call has not even begun"

    def clean() -> bool:
        hung.run_all()
        return site.is_clean()

    assert site.run(clean), site.left()
    site.run(seconds=60)
    assert site.is_clean(), site.left()


@pytest.mark.parametrize("status", ["gone", "SHUTOFF", "ERROR"])
def test_a_ready_node_whose_server_is_lost_is_replaced_not_handed_over(status: str) -> None:
    site = Site(one_cloud(), [provider("one")], labels=[Label(name="small", min_ready=1)])
    site.start()
    assert site.run(lambda: len(site.nodes(NodeState.READY)) == 1)
    (first,) = site.nodes()
    cloud = site.world.clouds["one"]
    with cloud.lock:
        if status == "gone":
            cloud.compute.delete(first.external_id)
        else:
            cloud.compute.set_status(first.external_id, status)
    assert site.run(lambda: [n.id for n in site.nodes(NodeState.READY)] not in ([], [first.id]), seconds=60)
    assert site.count("servers") == 1


class LatestFirst(ManualExecutor):
    """One job at a time, what was submitted last first: the worst that threads may do to the order."""

    def run_one(self) -> None:
        if self._waiting:
            self._waiting.rotate(1)
            super().run_one()


def test_the_console_is_read_before_its_server_goes(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    clouds = {"one": {"shape": "direct", "boot": {"seconds": 1.0, "ssh": 1000.0}, "delete_seconds": 0.0}}
    labels = [label("small", console_log=True)]
    site = Site(clouds, [provider("one", labels, launch_retries=1, boot_timeout=5.0)])
    executor = LatestFirst()
    site.start(executors={"one": executor})
    request = site.submit("small")

    def look() -> bool:
        executor.run_one()
        return site.settled(request) and not site.count("servers")

    assert site.run(look, seconds=120.0)
    assert "console: " in caplog.text
