"""What hangs on servers, in clouds that keep it or let it fall: all of ours goes in the end, and nothing else."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import pytest

from poolmgr.model.server import Owner
from poolmgr.policy.tuning import Tuning
from tests.scenario.harness import TUNING, Process, Site, label, provider

VOLUME = [label("small", boot_from_volume=True)]
MARKS = "block-storage.POST.volume_metadata"
VOLUMES_GO = "block-storage.DELETE.volume"


def site_of(
    *faults: dict[str, Any],
    labels: Any = VOLUME,
    shape: str = "direct",
    tuning: Tuning = TUNING,
    options: dict[str, Any] | None = None,
    **more: Any,
) -> Site:
    clouds = {"one": {"shape": shape, "boot": 2.0, "faults": list(faults)}}
    return Site(clouds, [provider("one", labels, **more)], tuning=tuning, cloud_options=options)


def live(site: Site, count: int = 3, *, seconds: float = 600.0) -> float:
    """Have requests served and used, and all gone; returns how long the service took (seconds)."""
    began = site.clock.monotonic()
    requests = [site.submit("small") for _ in range(count)]
    assert site.run(lambda: site.fulfilled(*requests), seconds=seconds)
    took = site.clock.monotonic() - began
    for request in requests:
        site.use(request)
    assert site.run(site.is_clean, seconds=seconds), site.left()
    return took


def calls(site: Site, operation: str) -> int:
    return site.world.clouds["one"].calls[operation]


# Volumes


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "leaked-volume"},
        {"kind": "leaked-volume", "seconds": 40.0},  # they are `detaching` as long
        {"kind": "ignored-delete", "operations": [VOLUMES_GO], "times": 5},
        {"kind": "http-500", "operations": [VOLUMES_GO], "times": 5},
        {"kind": "refuse", "operations": [VOLUMES_GO], "times": 5},
        {"kind": "error-server", "times": 2},
        {"kind": "lost-answer", "times": 2},
    ],
    ids=lambda fault: "-".join(
        [fault["kind"], *map(str, fault.get("operations", [fault.get("seconds", "")]))]
    ),
)
def test_volumes_go_with_their_nodes(fault: dict[str, Any]) -> None:
    site = site_of({"kind": "leaked-volume"}, fault)
    site.start()
    live(site)


def test_each_volume_is_marked_once_and_before_its_node_is_ready() -> None:
    site = site_of()
    site.start()
    request = site.submit("small", "small")
    assert site.run(lambda: site.fulfilled(request))
    volumes = site.world.clouds["one"].volumes.volumes.values()
    nodes = {node.id for node in site.nodes()}
    assert {v.metadata["nodepool_node_id"] for v in volumes} == nodes
    assert {v.metadata["poolmgr_deployment"] for v in volumes} == {site.client.deployment()}
    site.use(request)
    assert site.run(site.is_clean), site.left()
    assert calls(site, MARKS) == 2
    assert calls(site, "compute.GET.server") == 0


@pytest.mark.parametrize("kind", ["http-500", "refuse", "drop"])
def test_no_launch_waits_for_marks(kind: str) -> None:
    site = site_of({"kind": kind, "operations": [MARKS]}, {"kind": "leaked-volume"})
    site.start()
    undisturbed = site_of()
    undisturbed.start()
    assert live(site) == live(undisturbed)
    assert calls(site, MARKS) == 3 if kind == "refuse" else calls(site, MARKS) > 3


def test_marks_that_failed_are_made_later() -> None:
    site = site_of({"kind": "http-500", "operations": [MARKS], "times": 2})
    site.start()
    request = site.submit("small")
    assert site.run(lambda: site.fulfilled(request))
    (before,) = site.world.clouds["one"].volumes.volumes.values()
    assert not before.metadata
    site.run(seconds=60)
    (after,) = site.world.clouds["one"].volumes.volumes.values()
    assert after.metadata
    assert calls(site, MARKS) == 3


def test_nobody_else_pays_for_volumes() -> None:
    site = site_of(labels=[label("small")])
    site.start()
    live(site)
    site.run(seconds=100)
    assert not [operation for operation in site.world.clouds["one"].calls if "block-storage" in operation]


def test_volumes_of_dead_nodes_are_swept_and_no_others() -> None:
    site = site_of()
    cloud = site.world.clouds["one"]
    dead = Owner(provider="one", node_id="0000999999", deployment=site.client.deployment())
    foreign = [
        {},
        Owner(provider="two", node_id="0000999999", deployment=dead.deployment).metadata(),
        Owner(provider="one", node_id="0000999999", deployment="e" * 32).metadata(),
        Owner(provider="one", node_id="x", deployment="library").metadata(),
    ]
    with cloud.lock:
        ours = cloud.volumes.create(size_gib=1, metadata=dead.metadata()).id
        attached = cloud.volumes.create(size_gib=1, metadata=dead.metadata(), server_id="s-1").id
        kept = {cloud.volumes.create(size_gib=1, metadata=m).id for m in foreign}
    process = site.start()
    site.run(seconds=5)
    assert ours in cloud.volumes.volumes, "one look is not enough"
    assert site.run(lambda: ours not in cloud.volumes.volumes, seconds=60)
    site.run(seconds=60)
    assert set(cloud.volumes.volumes) == {*kept, attached}
    assert process.stats.leaks == [("one", "volumes")]


def test_a_service_that_is_away_keeps_us_from_sweeping_its_own_things_only() -> None:
    site = site_of({"kind": "http-503", "operations": ["block-storage.*", "network.*"]})
    cloud = site.world.clouds["one"]
    dead = Owner(provider="one", node_id="0000999999", deployment=site.client.deployment())
    with cloud.lock:
        cloud.compute.put_foreign(name="np", metadata=dead.metadata(), networks=[])
        cloud.volumes.create(size_gib=1, metadata=dead.metadata())
    site.start()
    site.run(seconds=100)
    assert site.count("servers") == 0
    assert site.count("volumes") == 1
    cloud.faults.clear()
    assert site.run(site.is_clean, seconds=200), site.left()


def test_requests_wait_for_volumes_as_for_anything_limited() -> None:
    clouds = {"one": {"boot": 2.0, "quota": {"volumes": 3, "gigabytes": 1000}}}
    site = Site(clouds, [provider("one", VOLUME)])
    cloud = site.world.clouds["one"]
    with cloud.lock:
        cloud.volumes.create(size_gib=1)  # somebody else's
    process = site.start()
    site.run(seconds=15)
    requests = [site.submit("small") for _ in range(3)]
    assert site.run(lambda: sum(map(site.fulfilled, requests)) == 2)
    site.run(seconds=100)
    assert sum(map(site.fulfilled, requests)) == 2
    site.use(next(r for r in requests if site.fulfilled(r)))
    assert site.run(lambda: sum(site.fulfilled(r) for r in requests if site.request(r)) == 2)
    assert "error.quota" not in process.stats.launches


# Ports


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "no-valid-host", "times": 2},
        {"kind": "error-server", "times": 2},
        {"kind": "quota", "times": 2},
        {"kind": "lost-answer", "times": 2},
        {"kind": "http-500", "operations": ["compute.POST.servers"], "times": 2},
        {"kind": "lost-answer", "operations": ["network.POST.ports"], "times": 2},
        {"kind": "quota", "operations": ["network.POST.ports"], "times": 2},
        {"kind": "ignored-delete", "operations": ["network.DELETE.port"], "times": 5},
        {"kind": "http-500", "operations": ["network.DELETE.port"], "times": 5},
    ],
    ids=lambda fault: "-".join([fault["kind"], *fault.get("operations", [])]),
)
@pytest.mark.parametrize("shape", ["direct", "nat"])
def test_ports_made_in_advance_go_with_their_nodes(fault: dict[str, Any], shape: str) -> None:
    site = site_of(fault, labels=[label("small")], shape=shape, options={"precreates_ports": True})
    site.start()
    live(site)


@pytest.mark.parametrize("precreates", [True, False], ids=["precreate", "nova"])
def test_marked_ports_of_dead_nodes_are_swept_and_no_others(precreates: bool) -> None:
    site = site_of(
        labels=[label("small")], options={"precreates_ports": precreates}, port_cleanup_interval=30.0
    )
    cloud = site.world.clouds["one"]
    deployment = site.client.deployment()
    dead = Owner(provider="one", node_id="0000999999", deployment=deployment)
    foreign = [
        "",
        Owner(provider="two", node_id="0000999999", deployment=deployment).tag(),
        Owner(provider="one", node_id="0000999999", deployment="e" * 32).tag(),
        Owner(provider="one", node_id="x", deployment="library").tag(),
        "poolmgr",
    ]
    (network,) = cloud.networking.networks
    with cloud.lock:
        ours = cloud.networking.create_port(network, description=dead.tag()).id
        kept = {cloud.networking.create_port(network, description=text).id for text in foreign}
    process = site.start()
    site.run(seconds=5)
    assert ours in cloud.networking.ports, "one look is not enough"
    assert site.run(lambda: ours not in cloud.networking.ports, seconds=100)
    site.run(seconds=400)
    assert set(cloud.networking.ports) == kept
    assert process.stats.leaks == [("one", "ports")]


@pytest.mark.parametrize(
    ("device_owner", "dedicated", "goes"),
    [("compute:nova", False, True), ("", False, False), ("", True, True), ("Octavia", True, False)],
)
def test_idle_ports_without_a_mark(device_owner: str, dedicated: bool, goes: bool) -> None:
    options = {"project_is_dedicated": dedicated}
    site = site_of(labels=[label("small")], options=options, port_cleanup_interval=10.0)
    cloud = site.world.clouds["one"]
    (network,) = cloud.networking.networks
    with cloud.lock:
        idle = cloud.networking.create_port(network, device_owner=device_owner).id
    site.start()
    site.run(seconds=170)
    assert idle in cloud.networking.ports, "it must have been idle for three minutes"
    site.run(seconds=60)
    assert (idle not in cloud.networking.ports) is goes


# Floating IPs


@pytest.mark.parametrize(
    ("clean", "dedicated", "goes"), [(False, False, False), (True, False, True), (False, True, True)]
)
def test_idle_floating_ips_without_a_mark_go_where_nobody_else_can_need_them(
    clean: bool, dedicated: bool, goes: bool
) -> None:
    options = {"project_is_dedicated": dedicated}
    site = site_of(labels=[label("small")], shape="nat", options=options, clean_floating_ips=clean)
    cloud = site.world.clouds["one"]
    with cloud.lock:
        external = cloud.networking.network_named("ext-net").id
        idle = cloud.networking.create_floating_ip(external).id
    site.start()
    site.run(seconds=590)
    assert idle in cloud.networking.floating_ips, "it must have been idle for ten minutes"
    site.run(seconds=40)
    assert (idle not in cloud.networking.floating_ips) is goes


def test_a_floating_ip_that_will_not_go_is_told_about_and_deleted_ever_more_rarely(
    caplog: pytest.LogCaptureFixture,
) -> None:
    operation = "network.DELETE.floatingip"
    fault = {"kind": "ignored-delete", "operations": [operation]}
    site = site_of(fault, labels=[label("small")], shape="nat")
    site.start()
    request = site.submit("small")
    assert site.run(lambda: site.fulfilled(request))
    site.use(request)
    with caplog.at_level(logging.WARNING):
        site.run(seconds=200)
        first = calls(site, operation)
        site.run(seconds=200)
    assert 5 <= first <= 7
    assert calls(site, operation) - first <= 1
    assert caplog.text.count("is still there after 3 deletions") == 1
    assert site.nodes(), "its quota is not free"
    site.world.clouds["one"].faults.clear()
    assert site.run(site.is_clean, seconds=1800), site.left()


# Servers


def use_one(site: Site) -> Process:
    process = site.start()
    request = site.submit("small")
    assert site.run(lambda: site.fulfilled(request))
    site.use(request)
    return process


def test_a_soft_deleted_server_is_deleted_for_good() -> None:
    site = site_of({"kind": "soft-delete"}, labels=[label("small")])
    use_one(site)
    assert site.run(site.is_clean, seconds=60), site.left()
    assert calls(site, "compute.DELETE.server") == 2


def test_where_that_is_refused_its_node_goes_and_its_quota_stays_taken() -> None:
    soft = {"kind": "soft-delete", "seconds": 200.0}
    refuse = {"kind": "refuse", "operations": ["compute.DELETE.server"], "skip": 1}
    clouds = {"one": {"boot": 2.0, "quota": {"instances": 1}, "faults": [soft, refuse]}}
    site = Site(clouds, [provider("one")])
    process = use_one(site)
    assert site.run(lambda: not site.nodes(), seconds=60)
    request = site.submit("small")
    site.run(seconds=100)
    assert not site.fulfilled(request)
    assert process.stats.launches == ["ready"], "it waits, and bothers the cloud not at all"
    assert process.stats.leaks == []
    assert site.run(lambda: site.fulfilled(request), seconds=600)


@pytest.mark.parametrize("kind", ["stuck-delete", "error-delete"])
def test_a_deletion_that_ends_in_error_is_repeated(kind: str) -> None:
    site = site_of({"kind": kind, "times": 1}, labels=[label("small")])
    use_one(site)
    assert site.run(site.is_clean, seconds=60), site.left()


def test_a_node_that_does_not_go_is_told_about_once_and_looked_at_ever_more_rarely(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tuning = replace(TUNING, delete_alarm=300.0)
    ignored = {
        "kind": "ignored-delete",
        "operations": ["compute.DELETE.server", "compute.POST.server_action"],
    }
    site = site_of(ignored, labels=[label("small")], tuning=tuning)
    use_one(site)
    (node,) = site.nodes()
    lists = "compute.GET.servers_detail"
    looks = [calls(site, lists)]
    for _ in range(3):
        site.run(seconds=290)
        looks.append(calls(site, lists))
        assert caplog.text.count("cannot be deleted for 5 minutes") == (len(looks) > 2)
    assert f"left of it: server {node.external_id}" in caplog.text
    assert calls(site, "compute.DELETE.server") <= 6
    assert looks[3] - looks[2] < (looks[1] - looks[0]) / 2
    site.world.clouds["one"].faults.clear()
    assert site.run(site.is_clean, seconds=1800), site.left()


def test_a_fault_that_no_list_tells_is_asked_for_once_for_each_server() -> None:
    fault = {"kind": "error-server", "message": "Quota exceeded for ram", "times": 2}
    site = site_of(fault, labels=[label("small")], options={"lists_faults": False}, launch_retries=1)
    process = site.start()
    live(site, 1)
    assert process.stats.launches == ["error.quota", "error.quota", "ready"]
    assert calls(site, "compute.GET.server") == 2


# By force


def test_a_server_that_only_goes_by_force_goes_and_counts_until_then(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tuning = replace(TUNING, delete_alarm=100.0)
    clouds = {"one": {"boot": 2.0, "quota": {"instances": 1}, "faults": [{"kind": "unforced-delete"}]}}
    site = Site(clouds, [provider("one")], tuning=tuning)
    use_one(site)
    waiting = site.submit("small")
    site.run(seconds=150)
    assert not site.fulfilled(waiting)
    assert len(site.nodes()) >= 1, "its record stays, and its quota counts"
    assert "goes on counting against the quota" in caplog.text
    assert site.run(lambda: site.fulfilled(waiting), seconds=300)
    assert "it is deleted by force after 3 deletions without effect" in caplog.text
    assert calls(site, "compute.DELETE.server") == 3
    assert calls(site, "compute.POST.server_action") == 1


def test_where_force_is_refused_it_is_deleted_as_usual() -> None:
    refuse = {"kind": "policy", "operations": ["compute.POST.server_action"]}
    site = site_of({"kind": "stuck-delete", "times": 4}, refuse, labels=[label("small")])
    use_one(site)
    assert site.run(site.is_clean, seconds=1800), site.left()
    assert calls(site, "compute.POST.server_action") >= 1


def test_a_volume_that_only_goes_by_force_goes() -> None:
    stuck = {"kind": "unforced-delete", "operations": [VOLUMES_GO]}
    site = site_of({"kind": "leaked-volume"}, stuck)
    use_one(site)
    assert site.run(site.is_clean, seconds=300), site.left()
    assert calls(site, VOLUMES_GO) == 3
    assert calls(site, "block-storage.POST.volume_action") == 1


def test_a_volume_whose_state_forbids_its_deletion_is_forced_after_long() -> None:
    tuning = replace(TUNING, force_patience=120.0)
    site = site_of({"kind": "leaked-volume"}, tuning=tuning)
    far = site.world.clouds["one"]

    def odd() -> bool:
        for volume in far.volumes.volumes.values():
            if volume.status == "available":
                far.volumes.update(volume.id, status="deleting")
        return any(v.status == "deleting" for v in far.volumes.volumes.values())

    site.start()
    request = site.submit("small")
    assert site.run(lambda: site.fulfilled(request), seconds=60)
    (volume_id,) = far.volumes.volumes
    site.use(request)
    assert site.run(odd, seconds=60)
    site.run(seconds=100)
    assert volume_id in far.volumes.volumes
    assert site.run(site.is_clean, seconds=200), site.left()
