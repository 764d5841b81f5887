"""The page for Prometheus, over real HTTP, read with Prometheus' own parser."""

from __future__ import annotations

import http.client
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_parser
from prometheus_client.parser import text_string_to_metric_families as parser

from poolmgr.config.settings import Settings
from poolmgr.model.component import Component, ComponentKind
from poolmgr.model.fleet import Peer, ProviderStatus
from poolmgr.model.node import Node, NodeState
from poolmgr.model.request import NodeRequest
from poolmgr.observe.api_name import ApiCall
from poolmgr.observe.board import Board
from poolmgr.observe.stats import Recorder
from poolmgr.store.memory import MemoryStore
from poolmgr.web.server import WebServer
from tests.fakes import FakeClock

ODD = 'la"b\\el\nünd {x="y"}'


@dataclass
class Daemon:
    store: MemoryStore
    board: Board = field(default_factory=Board)
    build_logs: Path | None = None
    manifests: Path | None = None
    url: str | None = None
    settings: Settings = field(default_factory=Settings)

    def ready(self):
        return None

    def live(self):
        return None


class Site:
    def __init__(self):
        self.clock = FakeClock()
        self.store = MemoryStore()
        self.daemon = Daemon(self.store)
        self.stats = Recorder([self.daemon.board])
        self.server = WebServer(self.daemon, self.clock, address="127.0.0.1", port=0)
        self.server.start()

    def get(self, accept="text/plain"):
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=30)
        try:
            connection.request("GET", "/metrics", headers={"Accept": accept})
            answer = connection.getresponse()
            assert answer.status == 200
            return answer.getheader("Content-Type"), answer.read().decode()
        finally:
            connection.close()

    def samples(self, parse=parser, accept="text/plain"):
        """By name: the labels of each series, and its value."""
        found = {}
        for family in parse(self.get(accept)[1]):
            for sample in family.samples:
                found.setdefault(sample.name, {})[frozenset(sample.labels.items())] = sample.value
        return found


@pytest.fixture
def site():
    made = Site()
    yield made
    made.store.close()
    assert made.server.stop(30.0)


def of(**labels):
    return frozenset(labels.items())


def test_the_state_of_the_whole_system_is_that_of_the_store_now(site):
    store, now = site.store, site.clock.time()
    store.start()
    pool = Component(
        kind=ComponentKind.POOL,
        hostname="h",
        name="main",
        provider_name="north",
        supported_labels=("small",),
    )
    store.register(pool)
    _, node = store.create_node(
        Node(
            state=NodeState.READY,
            provider="north",
            pool="main",
            labels=("small",),
            resources={"cores": 4, "ram": 8192},
        )
    )
    for age in (30, 400):
        store.create_request(NodeRequest(labels=("small",), created_time=now - age), priority=200)
    store.announce(Peer(id="a" * 32, hostname="h1"))
    lock = store.lock_provider("north")
    status = ProviderStatus(
        provider="north", owner="a" * 32, hostname="h1", alarms=("x", "y"), held_back={"server": 12}
    )
    store.save_provider_status(status, lock)
    found = site.samples()
    assert found["nodepool_nodes"][of(state="ready")] == 1
    assert found["nodepool_nodes"][of(state="building")] == 0
    assert found["nodepool_provider_nodes"][of(provider="north", state="ready")] == 1
    assert found["nodepool_label_nodes"][of(label="small", state="ready")] == 1
    assert found["nodepool_provider_pool_addressable_requests"][of(provider="north", pool="main")] == 2
    assert found["poolmgr_requests"][of(state="requested")] == 2
    assert found["poolmgr_request_age"][of(state="requested")] == pytest.approx(400)
    assert found["poolmgr_request_age"][of(state="pending")] == 0
    assert found["poolmgr_provider_used"][of(provider="north", resource="cores")] == 4
    assert found["poolmgr_provider_pool_used"][of(provider="north", pool="main", resource="ram")] == 8192
    assert found["poolmgr_launchers"][of()] == 1
    assert found["poolmgr_provider_owned"] == {of(provider="north"): 1}
    assert found["poolmgr_provider_owner"] == {of(provider="north", hostname="h1"): 1}
    assert found["poolmgr_provider_alarms"][of(provider="north")] == 2
    assert found["poolmgr_provider_held_back"][of(provider="north", kind="server")] == 12
    assert found["poolmgr_store_connected"][of()] == 1
    store.unlock(lock)
    store.save_node(node.moved(NodeState.IN_USE, at=now))
    found = site.samples()
    assert found["poolmgr_provider_owned"][of(provider="north")] == 0
    assert "poolmgr_provider_owner" not in found
    assert found["nodepool_nodes"][of(state="in-use")] == 1


def test_what_the_daemon_has_told_is_there(site):
    stats = site.stats
    site.store.start()
    stats.launch("ready", provider="north", zone="z1", requestor="zuul", seconds=12.5, image="debian")
    stats.launch("error.quota", provider="north", zone=None, requestor="zuul", seconds=1.0)
    call = ApiCall(service="compute", method="GET", name="servers_detail", status=200, seconds=1.5)
    stats.api_call("nodepool.task.north", call)
    stats.leaked("north", "ports", 2)
    stats.request_finished("fulfilled", 3.0)
    stats.quota("north", {"cores": 100.0, "ram": float("inf")})
    stats.pool_limits({("north", "main"): {"instances": 5, "cores": None}})
    stats.pools_paused("north", {"main": "quota"})
    stats.listed("north", 1_700_000_000.7)
    stats.reload_failed("launcher", "host", True)
    stats.configuration("launcher", "host", "abc123")
    stats.build_ended("img", rc=0, seconds=60.0, at=1e9, good=True, sizes={"raw": 7})
    stats.upload_ended("img", "north", good=False, seconds=5.0, size=0)
    stats.image_ages({("img", "north"): 90.5})
    found = site.samples()
    ready = of(provider="north", result="ready")
    assert found["nodepool_launch_provider_seconds_count"][ready] == 1
    assert found["nodepool_launch_provider_seconds_sum"][ready] == 12.5
    assert found["nodepool_launch_zone_seconds_count"] == {of(provider="north", zone="z1", result="ready"): 1}
    assert found["nodepool_launch_seconds_count"][of(result="error.quota")] == 1
    api = {"prefix": "nodepool.task.north", "service": "compute", "method": "GET", "call": "servers_detail"}
    assert found["poolmgr_api_call_seconds_sum"] == {of(status="200", **api): 1.5}
    assert found["poolmgr_api_attempted_total"] == found["poolmgr_api_slow_total"] == {of(**api): 1}
    assert found["nodepool_provider_leaked_total"] == {of(provider="north", kind="ports"): 2}
    assert found["poolmgr_request_seconds_sum"] == {of(outcome="fulfilled"): 3}
    assert found["poolmgr_provider_quota"] == {of(provider="north", resource="cores"): 100}
    assert found["poolmgr_provider_pool_limit"] == {
        of(provider="north", pool="main", resource="instances"): 5
    }
    assert found["poolmgr_provider_pool_paused"] == {of(provider="north", pool="main", reason="quota"): 1}
    assert found["poolmgr_provider_last_listing"] == {of(provider="north"): 1_700_000_000}
    assert found["poolmgr_reload_failed"] == {of(daemon="launcher", hostname="host"): 1}
    assert found["poolmgr_config"] == {of(daemon="launcher", hostname="host", hash="abc123"): 1}
    assert found["nodepool_dib_image_build_size"] == {of(image="img", format="raw"): 7}
    assert found["poolmgr_image_update_failed_seconds_count"] == {of(image="img", provider="north"): 1}
    assert found["poolmgr_image_provider_age"] == {of(image="img", provider="north"): 90}


@pytest.mark.parametrize(
    ("accept", "kind", "parse"),
    [
        ("text/plain", "text/plain; version=0.0.4; charset=utf-8", parser),
        ("*/*", "text/plain; version=0.0.4; charset=utf-8", parser),
        (
            "application/openmetrics-text; version=1.0.0",
            "application/openmetrics-text; version=1.0.0",
            open_parser,
        ),
    ],
)
def test_the_text_is_of_the_kind_that_is_asked_for_and_any_name_comes_through(site, accept, kind, parse):
    site.store.start()
    site.stats.max_servers({ODD: 3})
    assert site.get(accept)[0].startswith(kind)
    found = site.samples(parse, accept)
    assert found["nodepool_provider_max_servers"] == {of(provider=ODD): 3}
    assert found["nodepool_nodes"][of(state="ready")] == 0


def test_without_the_store_there_is_what_the_daemon_knows_of_itself(site):
    site.stats.leaked("north", "ports")
    found = site.samples()
    assert found["poolmgr_store_connected"] == {of(): 0}
    assert found["nodepool_provider_leaked_total"][of(provider="north", kind="ports")] == 1
    assert "nodepool_nodes" not in found
    assert found["process_resident_memory_bytes"][of()] > 0
