"""What operators order for providers, carried out by whole launchers."""

from __future__ import annotations

from typing import Any

import pytest

from poolmgr.config.settings import Label
from poolmgr.model.fleet import ProviderMode, ProviderOrder
from poolmgr.model.node import NodeState
from poolmgr.model.request import RequestState
from tests.scenario.harness import Site, provider

CLOUD = {"shape": "direct", "boot": 2.0}
PAUSED, DRAINING, RUNNING = ProviderMode.PAUSED, ProviderMode.DRAINING, ProviderMode.RUNNING


def site_of(*names: str, **more: Any) -> Site:
    """Providers of these names; the first is preferred."""
    clouds = dict.fromkeys(names, CLOUD)
    providers = [
        provider(name, pool={"priority": priority, "limits": {"instances": 10}})
        for priority, name in enumerate(names, 1)
    ]
    site = Site(clouds, providers, **more)
    site.start()
    return site


def order(site: Site, name: str, mode: ProviderMode = RUNNING, **fields: Any) -> None:
    site.client.order_provider(ProviderOrder(provider=name, mode=mode, since=site.clock.time(), **fields))


def published(site: Site) -> dict[str | None, bool]:
    with site.client.reading() as snapshot:
        return {pool.provider_name: pool.paused for pool in snapshot.pools()}


def make_ready(site: Site) -> str:
    """One free ready node, without min-ready; its id."""
    asked = site.submit()
    assert site.run(lambda: site.fulfilled(asked))
    site.cancel(asked)
    assert site.run(lambda: [n.allocated_to for n in site.nodes(NodeState.READY)] == [None])
    return site.nodes()[0].id


@pytest.mark.parametrize("mode", [PAUSED, DRAINING])
def test_requests_wait_for_a_closed_provider_and_are_not_declined(mode):
    site = site_of("north")
    site.run(seconds=5.0)
    order(site, "north", mode)
    asked = site.submit()
    assert not site.run(lambda: site.state(asked) is not RequestState.REQUESTED, seconds=60.0)
    request = site.request(asked)
    assert request is not None
    assert request.declined_by == ()
    assert site.count("servers") == 0
    assert published(site) == {"north": True}
    site.client.withdraw_provider_order("north")
    assert site.run(lambda: site.fulfilled(asked))
    assert published(site) == {"north": False}


@pytest.mark.parametrize("mode", [PAUSED, DRAINING])
def test_providers_of_lower_priority_go_on_meanwhile(mode):
    site = site_of("north", "south")
    order(site, "north", mode)
    site.run(seconds=5.0)
    asked = [site.submit() for _ in range(3)]
    assert site.run(lambda: site.fulfilled(*asked))
    assert {node.provider for node in site.nodes()} == {"south"}


def test_an_order_ends_by_itself_without_anyone_doing_anything():
    site = site_of("north")
    site.run(seconds=5.0)
    order(site, "north", PAUSED, until=site.clock.time() + 30.0)
    asked = site.submit()
    began = site.clock.monotonic()
    assert site.run(lambda: site.state(asked) is not RequestState.REQUESTED)
    assert site.clock.monotonic() - began == pytest.approx(30.0, abs=1.0)
    assert site.run(lambda: site.fulfilled(asked))


def test_a_worker_asks_to_be_woken_when_an_order_ends():
    site = site_of("north")
    site.run(seconds=5.0)
    order(site, "north", PAUSED, until=site.clock.time() + 3.0)
    assert site.processes[0].workers["north"].cycle() <= 3.0


def test_an_order_survives_a_launcher():
    site = site_of("north")
    order(site, "north", PAUSED)
    site.run(seconds=5.0)
    site.processes[0].die()
    site.start()
    asked = site.submit()
    assert not site.run(lambda: site.state(asked) is not RequestState.REQUESTED, seconds=30.0)


def test_what_is_being_launched_is_finished_by_a_paused_provider():
    site = site_of("north")
    asked = site.submit()
    assert site.run(lambda: site.count("servers") == 1)
    order(site, "north", PAUSED)
    assert site.run(lambda: site.fulfilled(asked))


def test_a_paused_provider_keeps_its_ready_nodes_and_gives_them_out_afterwards():
    site = site_of("north")
    node = make_ready(site)
    order(site, "north", PAUSED)
    asked = site.submit()
    assert not site.run(lambda: site.state(asked) is not RequestState.REQUESTED, seconds=30.0)
    assert [n.id for n in site.nodes(NodeState.READY)] == [node]
    site.client.withdraw_provider_order("north")
    assert site.run(lambda: site.fulfilled(asked))
    assert [n.id for n in site.nodes()] == [node]


def test_a_provider_that_is_drained_has_nothing_in_the_end_and_takes_nothing_from_anyone():
    site = site_of("north")
    make_ready(site)
    used = site.submit("small", reuse=False)
    assert site.run(lambda: site.fulfilled(used))
    order(site, "north", DRAINING)
    assert site.run(lambda: len(site.nodes()) == 1)
    assert site.request(used) is not None
    assert [n.allocated_to for n in site.nodes()] == [used]  # promised: it stays
    site.run(seconds=60.0)
    assert len(site.nodes()) == 1
    site.use(used)
    assert site.run(site.is_clean), site.left()


def test_a_request_that_is_cancelled_while_its_provider_is_drained_leaves_nothing():
    site = site_of("north")
    asked = site.submit("small", "small")
    assert site.run(lambda: site.count("servers") == 2)
    order(site, "north", DRAINING)
    site.cancel(asked)
    assert site.run(site.is_clean), site.left()


def test_min_ready_does_not_fight_a_drain():
    site = site_of("north", labels=[Label(name="small", min_ready=2)])
    assert site.run(lambda: len(site.nodes(NodeState.READY)) == 2)
    order(site, "north", DRAINING)
    assert site.run(lambda: site.count("servers") == 0)
    site.run(seconds=120.0)
    assert site.count("servers") == 0
    site.client.withdraw_provider_order("north")
    assert site.run(lambda: len(site.nodes(NodeState.READY)) == 2)


def test_an_ordered_limit_counts_over_all_nodes_and_kills_none():
    site = site_of("north")
    first = [site.submit() for _ in range(3)]
    assert site.run(lambda: site.fulfilled(*first))
    order(site, "north", max_servers=2)
    more = site.submit()
    assert not site.run(lambda: site.state(more) is not RequestState.REQUESTED, seconds=30.0)
    assert len(site.nodes(NodeState.READY)) == 3
    site.use(first[0])
    assert not site.run(lambda: site.state(more) is not RequestState.REQUESTED, seconds=30.0)
    site.use(first[1])
    assert site.run(lambda: site.fulfilled(more))
    assert len(site.nodes()) == 2


def test_what_is_larger_than_an_ordered_limit_waits_and_is_not_declined():
    site = site_of("north")
    order(site, "north", max_servers=1)
    site.run(seconds=5.0)
    asked = site.submit("small", "small")
    site.run(seconds=30.0)
    request = site.request(asked)
    assert request is not None
    assert (request.state, request.declined_by) == (RequestState.REQUESTED, ())
    order(site, "north", max_servers=2)
    assert site.run(lambda: site.fulfilled(asked))
