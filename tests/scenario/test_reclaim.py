"""The fuse before unexplained deletions, its approval, and the ledger, in whole launchers."""

from __future__ import annotations

from typing import Any

import pytest

from poolmgr.model.fleet import ReclaimApproval
from poolmgr.model.server import Owner
from tests.scenario.harness import Site, label, provider

GONE = "0000999999"


def site_of(**more: Any) -> Site:
    return Site({"one": {"shape": "nat", "boot": 2.0}}, [provider("one", [label("small")], **more)])


def leak(site: Site, count: int, *, kind: str = "servers") -> None:
    cloud = site.world.clouds["one"]
    owner = Owner(provider="one", node_id=GONE, deployment=site.client.deployment())
    with cloud.lock:
        for _ in range(count):
            if kind == "servers":
                cloud.compute.put_foreign(name="np", metadata=owner.metadata(), networks=[])
            else:
                external = cloud.networking.network_named("ext-net").id
                cloud.networking.create_floating_ip(external, description=owner.tag())


def held(site: Site) -> dict[str, int]:
    with site.client.reading() as snapshot:
        status = snapshot.provider_status("one")
    return dict(status.held_back) if status else {}


def approve(site: Site, up_to: int) -> None:
    now = site.clock.time()
    site.client.approve_reclaim(ReclaimApproval(provider="one", at=now, up_to=up_to, by="me"))


def test_a_few_leaks_go_by_themselves_with_their_proof_in_the_ledger() -> None:
    site = site_of()
    leak(site, 2)
    process = site.start()
    assert site.run(site.is_clean, seconds=120), site.left()
    lines = [line for line in process.ledger.last() if line["event"] == "delete"]
    assert len(lines) == 2
    for line in lines:
        assert (line["kind"], line["provider"], line["why"]) == ("server", "one", "leaked, below-fuse")
        assert line["deployment"] == site.client.deployment()
        first, second = line["evidence"]["listings"]
        assert line["evidence"]["records_seen"] < first < second <= line["time"]
        assert line["peer"]
    outcomes = [line["outcome"] for line in process.ledger.last() if line["event"] == "outcome"]
    assert outcomes == ["accepted", "accepted"]


def test_many_leaks_of_all_kinds_together_wait_for_approval(caplog: pytest.LogCaptureFixture) -> None:
    site = site_of()
    leak(site, 6)
    leak(site, 6, kind="floating IPs")
    site.start()
    site.run(seconds=300)
    assert (site.count("servers"), site.count("floating_ips")) == (6, 6)
    assert held(site) == {"floatingips": 6, "instances": 6}
    assert caplog.text.count("held back (fuse)") == 1
    with site.client.reading() as snapshot:
        status = snapshot.provider_status("one")
    assert status is not None
    assert any("poolmgr reclaim" in line for line in status.alarms)
    approve(site, 12)
    assert site.run(site.is_clean, seconds=120), site.left()
    site.run(seconds=60)
    assert held(site) == {}
    with site.client.reading() as snapshot:
        assert snapshot.approval("one") is None


def test_more_than_was_approved_is_held_again(caplog: pytest.LogCaptureFixture) -> None:
    site = site_of()
    leak(site, 11)
    site.start()
    site.run(seconds=100)
    leak(site, 3)
    assert site.run(lambda: held(site) == {"instances": 14}, seconds=100)
    approve(site, 11)
    site.run(seconds=100)
    assert site.count("servers") == 14
    assert held(site) == {"instances": 14}
    assert caplog.text.count("more than was approved") == 1
    with site.client.reading() as snapshot:
        assert snapshot.approval("one") is None
    approve(site, 14)
    assert site.run(site.is_clean, seconds=100), site.left()


def test_a_trickle_does_not_go_round_the_fuse() -> None:
    site = site_of(reclaim_fuse=4)
    site.start()
    for _ in range(6):
        leak(site, 2)
        site.run(seconds=100)
    assert site.count("servers") == 8, "four went, and then no more"
    assert held(site) == {"instances": 8}


def test_what_is_held_stays_held_by_the_next_owner() -> None:
    site = site_of()
    leak(site, 11)
    first = site.start()
    site.run(seconds=100)
    assert held(site) == {"instances": 11}
    first.die()
    site.start()
    site.run(seconds=200)
    assert held(site) == {"instances": 11}
    assert site.count("servers") == 11


def test_what_is_held_stays_held_by_the_next_owner_however_few_they_are() -> None:
    site = site_of(reclaim_fuse=4)
    first = site.start()
    for _ in range(3):  # four go, and two are too many within the hour
        leak(site, 2)
        site.run(seconds=100)
    assert held(site) == {"instances": 2}
    first.die()
    site.start()
    site.run(seconds=300)
    assert site.count("servers") == 2, "two alone would be below the fuse"
    assert held(site) == {"instances": 2}
    approve(site, 2)
    assert site.run(site.is_clean, seconds=120), site.left()
    assert site.run(lambda: held(site) == {}, seconds=60)


def test_an_empty_list_retires_no_nodes() -> None:
    site = site_of()
    site.start()
    requests = [site.submit("small") for _ in range(3)]
    assert site.run(lambda: site.fulfilled(*requests))
    for request in requests:
        site.cancel(request)
    cloud = site.world.clouds["one"]
    with cloud.lock:
        there = dict(cloud.compute.servers)
        cloud.compute.servers.clear()
    site.run(seconds=300)
    assert len(site.nodes()) == 3
    assert held(site) == {"nodes": 3}
    with cloud.lock:
        cloud.compute.servers.update(there)
    site.run(seconds=200)
    assert held(site) == {}
    assert len(site.nodes()) == 3


def test_a_moment_without_the_store_begins_all_proofs_anew() -> None:
    site = site_of()
    leak(site, 1)
    process = site.start()
    site.run(seconds=18)
    (worker,) = process.workers.values()
    for _ in range(10):
        worker._context.disturbances += 1
        site.run(seconds=10)
        assert site.count("servers") == 1
    assert site.run(site.is_clean, seconds=120), site.left()


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_kill_9_at_any_act_on_an_approval_deletes_no_more_than_was_approved(after: bool) -> None:
    """An approval counts at most once: what it left, if anything, is held by the next owner."""
    for at in range(1, 40):
        site = site_of()
        leak(site, 11)
        first = site.start()
        assert site.run(lambda site=site: bool(held(site)), seconds=200)
        approve(site, 11)
        first.fuse.at, first.fuse.after, first.fuse.count = at, after, 0
        site.run(lambda first=first: not first.alive, seconds=60)
        if first.alive:
            break
        site.start()
        site.run(seconds=150)
        left = site.count("servers")
        assert left <= 10 or held(site) == {"instances": left}, "what an unspent approval left is held"
        approve(site, 11)
        assert site.run(site.is_clean, seconds=200), site.left()
    assert at > 2


# What is not ours


def look_alikes(deployment: str) -> list[dict[str, str]]:
    """Metadata of servers and volumes that are not this installation's."""
    near = Owner(provider="one", node_id=GONE, deployment=deployment)
    return [
        {},
        Owner(provider="one", node_id=GONE, deployment="e" * 32).metadata(),
        Owner(provider="two", node_id=GONE, deployment=deployment).metadata(),
        Owner(provider="one ", node_id=GONE, deployment=deployment).metadata(),
        Owner(provider="ONE", node_id=GONE, deployment=deployment).metadata(),
        Owner(provider="one", node_id=GONE, deployment="library").metadata(),
        Owner(provider="one", node_id=GONE, deployment=deployment.upper() + "x").metadata(),
        {"nodepool_provider_name": "one", "poolmgr_deployment": deployment},  # half a mark
        {"nodepool_node_id": GONE, "poolmgr_deployment": deployment},
        {"nodepool_provider_name": "", "nodepool_node_id": GONE, "poolmgr_deployment": deployment},
        {**near.metadata(), "nodepool_provider_name": "x" * 255},
        {"groups": "np", "nodepool_pool_name": "main"},
        {"poolmgr_deployment": deployment},
    ]


def tags(deployment: str) -> list[str]:
    return [
        "",
        "poolmgr",
        "np0000000001",
        f"poolmgr:{deployment}:one",
        f"poolmgr:{deployment}:two:{GONE}",
        f"poolmgr:{deployment}:one:{GONE}:5",
        f"poolmgr:{'e' * 32}:one:{GONE}",
        f"poolmgr::one:{GONE}",
        f"Poolmgr:{deployment}:one:{GONE}",
        f" poolmgr:{deployment}:one:{GONE}",
        "poolmgr:" + "x" * 240,
    ]


@pytest.mark.parametrize("shape", ["direct", "nat", "novanet", "v6", "tasks"])
@pytest.mark.parametrize(
    "options", [{}, {"clean_floating_ips": True}, {"port_cleanup_interval": 30.0}], ids=str
)
def test_nothing_foreign_is_ever_touched(shape: str, options: dict[str, Any]) -> None:
    site = Site(
        {"one": {"shape": shape, "boot": 2.0}},
        [provider("one", [label("small", boot_from_volume=True)], **options)],
    )
    cloud, deployment = site.world.clouds["one"], site.client.deployment()
    with cloud.lock:
        for metadata in look_alikes(deployment):
            cloud.compute.put_foreign(name="np0000000001", metadata=metadata, networks=[])
            cloud.volumes.create(size_gib=1, metadata=metadata)
        for network in cloud.networking.networks:
            for tag in tags(deployment):
                # With clean-up of ports DOWN ones of the Compute service go, by that option's own meaning.
                for owner in ("", "network:dhcp", "network:router_interface", "Octavia"):
                    cloud.networking.create_port(network, description=tag, device_owner=owner)
        externals = [n.id for n in cloud.networking.networks.values() if n.name == "ext-net"]
        for tag in tags(deployment) if externals and not options.get("clean_floating_ips") else ():
            cloud.networking.create_floating_ip(externals[0], description=tag)

        def there() -> set[str]:
            return {
                *cloud.compute.servers,
                *cloud.volumes.volumes,
                *cloud.networking.ports,
                *cloud.networking.floating_ips,
            }

        before = there()
    site.start()
    request = site.submit("small")
    assert site.run(lambda: site.fulfilled(request))
    site.use(request)
    site.run(seconds=7200, step=5.0)
    assert before <= there()
    assert not held(site)
