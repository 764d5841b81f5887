"""What arrives at a statsd server, on a real UDP socket."""

from __future__ import annotations

import math
import socket
from collections.abc import Iterator

import pytest

from poolmgr.errors import ConfigError
from poolmgr.model.component import Component, ComponentKind
from poolmgr.model.node import Node, NodeState
from poolmgr.model.request import NodeRequest, RequestState
from poolmgr.observe.api_name import ApiCall
from poolmgr.observe.census import FleetFacts, take_census
from poolmgr.observe.sender import RESOLVE_AGAIN
from poolmgr.observe.stats import NullStats, StatsdStats, stats_from
from tests.fakes import FakeClock


class Sink:
    """A statsd server that only listens. Loopback delivers before `sendto` returns, so nothing here waits."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.setblocking(False)
        self.port: int = self._socket.getsockname()[1]

    def datagrams(self) -> list[str]:
        received = []
        while True:
            try:
                received.append(self._socket.recv(65536).decode("ascii"))
            except BlockingIOError:
                return received

    def lines(self) -> list[str]:
        return [line for datagram in self.datagrams() for line in datagram.split("\n")]

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def sink() -> Iterator[Sink]:
    sink = Sink()
    yield sink
    sink.close()


@pytest.fixture
def stats(sink: Sink) -> Iterator[StatsdStats]:
    stats = StatsdStats("127.0.0.1", sink.port)
    yield stats
    stats.close()


def census_of(*providers: str, nodes: int = 0):
    pools = [
        Component(kind=ComponentKind.POOL, name="main", provider_name=p, supported_labels=("small",))
        for p in providers
    ]
    made = [Node(provider=providers[0], labels=("small",), state=NodeState.READY) for _ in range(nodes)]
    return take_census(made, [NodeRequest(id="200-1", labels=("small",))], pools)


def test_a_launch_counts_and_times_under_all_its_names(sink, stats):
    more = {"requestor": "NodePool:min-ready", "image": "noble"}
    stats.launch("ready", provider="north", zone="az1", seconds=12.3456, **more)
    assert sink.lines() == [
        "nodepool.launch.ready:1|c",
        "nodepool.launch.ready:12346.000000|ms",
        "nodepool.launch.provider.north.ready:1|c",
        "nodepool.launch.provider.north.ready:12346.000000|ms",
        "nodepool.launch.provider.north.az1.ready:1|c",
        "nodepool.launch.provider.north.az1.ready:12346.000000|ms",
        "nodepool.launch.requestor.NodePool_min-ready.ready:1|c",
        "nodepool.launch.requestor.NodePool_min-ready.ready:12346.000000|ms",
        "nodepool.launch.image.noble.ready:1|c",
        "nodepool.launch.image.noble.ready:12346.000000|ms",
    ]


def test_a_launch_without_zone_requestor_and_image_leaves_those_names_out(sink, stats):
    stats.launch("error.quota", provider="north", zone=None, requestor=None, seconds=0.0)
    assert {line.split(":")[0] for line in sink.lines()} == {
        "nodepool.launch.error.quota",
        "nodepool.launch.provider.north.error.quota",
    }


def test_census_sends_every_state_with_its_zeros(sink, stats):
    stats.census(census_of("north", nodes=3))
    lines = set(sink.lines())
    for level in ("", "provider.north.", "label.small."):
        assert f"nodepool.{level}nodes.ready:3|g" in lines
        for state in ("building", "testing", "in-use", "used", "hold", "deleting", "failed", "init"):
            assert f"nodepool.{level}nodes.{state}:0|g" in lines
        for state in ("aborted", "deleted"):
            assert f"nodepool.{level}nodes.{state}:0|g" in lines
    assert "nodepool.provider.north.pool.main.addressable_requests:1|g" in lines
    assert "poolmgr.requests.requested:1|g" in lines


def test_gauges_of_a_vanished_provider_get_one_last_zero(sink, stats):
    stats.census(census_of("south", "north", nodes=2))
    sink.lines()
    stats.census(census_of("north"))
    lines = sink.lines()
    assert "nodepool.provider.south.nodes.ready:0|g" in lines
    assert "nodepool.provider.south.pool.main.addressable_requests:0|g" in lines
    stats.census(census_of("north"))
    assert not [line for line in sink.lines() if "south" in line]


def test_what_is_ordered_for_providers_and_whether_a_reload_failed(sink, stats):
    stats.provider_orders({"north": 2, "south": 0}, {"north": 3, "south": math.inf})
    stats.reload_failed("launcher", "host", True)
    assert sink.lines() == [
        "poolmgr.provider.north.mode:2|g",
        "poolmgr.provider.south.mode:0|g",
        "poolmgr.provider.north.max_servers_in_force:3|g",
        "poolmgr.launcher.host.reload_failed:1|g",
    ]


def test_hosts_that_are_down_and_a_last_zero_for_those_that_are_gone(sink, stats):
    stats.static_hosts("racks", {"h1.example.org": True, "h2": False})
    assert sink.lines() == [
        "poolmgr.provider.racks.hosts_down:1|g",
        "poolmgr.provider.racks.host.h1_example_org.down:0|g",
        "poolmgr.provider.racks.host.h2.down:1|g",
    ]
    stats.static_hosts("racks", {"h1.example.org": True})
    assert "poolmgr.provider.racks.host.h2.down:0|g" in sink.lines()


def test_one_providers_deferrals_do_not_zero_anothers(sink, stats):
    stats.deferred("north", {("main", "quota"): 2})
    stats.deferred("south", {("main", "quota"): 1})
    stats.deferred("north", {})
    assert sink.lines() == [
        "poolmgr.provider.north.pool.main.deferred.quota:2|g",
        "poolmgr.provider.south.pool.main.deferred.quota:1|g",
        "poolmgr.provider.north.pool.main.deferred.quota:0|g",
    ]


def test_no_datagram_is_longer_than_512_bytes_and_none_is_sent_per_line(sink, stats):
    stats.census(census_of(*(f"provider-{n:02}" for n in range(20)), nodes=5))
    datagrams = sink.datagrams()
    assert max(map(len, datagrams)) <= 512
    assert min(map(len, datagrams[:-1])) > 400


def test_unlimited_is_never_sent(sink, stats):
    stats.max_servers({"north": math.inf, "south": None, "east": 40, "west": 0})
    stats.tenant_limits({"tenant-a": {"cores": 100, "instances": math.inf, "ram": None}})
    assert sink.lines() == [
        "nodepool.provider.east.max_servers:40|g",
        "nodepool.provider.west.max_servers:0|g",
        "nodepool.tenant_limits.tenant-a.cores:100|g",
    ]


def test_queues_leaks_cycles_and_ended_requests(sink, stats):
    stats.queues("nl01", {"zk.client.connection_queue": 3, "zk.node_cache.event_queue": 0})
    stats.leaked("north", "ports", 4)
    stats.cycle("north", 0.25)
    stats.request_finished("fulfilled", 2.0)
    assert sink.lines() == [
        "nodepool.launcher.nl01.zk.client.connection_queue:3|g",
        "nodepool.launcher.nl01.zk.node_cache.event_queue:0|g",
        "nodepool.provider.north.leaked.ports:4|c",
        "poolmgr.provider.north.cycle:250.000000|ms",
        "poolmgr.request.fulfilled:1|c",
        "poolmgr.request.fulfilled:2000.000000|ms",
    ]


def api_call(status: int | None, seconds: float) -> ApiCall:
    return ApiCall(service="compute", method="post", name="servers", status=status, seconds=seconds)


@pytest.mark.parametrize(
    ("status", "seconds", "tails"),
    [
        (202, 0.5, ["attempted:1|c", "202:1|c", "202:500.000000|ms"]),
        (500, 1.5, ["attempted:1|c", "500:1|c", "500:1500.000000|ms", "over_1000:1|c"]),
        (None, 60.0, ["attempted:1|c", "failed:1|c"]),
    ],
)
def test_api_calls_by_answer(sink, stats, status, seconds, tails):
    stats.api_call("nodepool.task.north", api_call(status, seconds))
    assert sink.lines() == [f"nodepool.task.north.compute.POST.servers.{tail}" for tail in tails]


def test_a_dotted_label_is_escaped_only_when_asked(sink):
    escaping = StatsdStats("127.0.0.1", sink.port, escape_all=True)
    escaping.max_servers({"rax.dfw": 5})
    escaping.close()
    assert sink.lines() == ["nodepool.provider.rax_dfw.max_servers:5|g"]


def test_nothing_is_raised_when_nobody_listens_or_after_the_end(sink, stats):
    sink.close()
    stats.cycle("north", 0.1)
    stats.cycle("north", 0.1)  # the second one meets the first one's refusal
    stats.close()
    stats.cycle("north", 0.1)
    stats.close()


def test_a_host_that_does_not_resolve_is_looked_up_again_later(caplog):
    clock = FakeClock()
    stats = StatsdStats("a" * 64 + ".invalid", clock=clock)  # a label over 63 characters asks no name server
    for _ in range(3):
        stats.cycle("north", 0.1)
    assert len(caplog.records) == 1
    assert "No metrics" in caplog.text
    clock.advance(RESOLVE_AGAIN)
    stats.cycle("north", 0.1)
    assert len(caplog.records) == 2


def test_environment_without_statsd_sends_nothing():
    assert isinstance(stats_from({}), NullStats)
    assert isinstance(stats_from({"STATSD_HOST": "", "STATSD_PREFIX": "x"}), NullStats)


def test_environment_with_only_a_port_means_this_machine(sink):
    stats = stats_from({"STATSD_PORT": str(sink.port)})
    stats.cycle("north", 1.0)
    stats.close()
    assert sink.lines() == ["poolmgr.provider.north.cycle:1000.000000|ms"]


@pytest.mark.parametrize("port", ["statsd", "0", "70000", "-1"])
def test_a_port_that_is_none_is_the_operators_to_mend(port):
    with pytest.raises(ConfigError, match="STATSD_PORT"):
        stats_from({"STATSD_HOST": "127.0.0.1", "STATSD_PORT": port})


def test_what_would_need_a_name_for_each_value_is_not_sent(sink, stats):
    stats.configuration("launcher", "host", "abc")
    stats.listed("north", 12.5)
    assert sink.lines() == ["poolmgr.provider.north.last_listing:12|g"]


def test_what_launchers_agree_on(sink, stats):
    facts = FleetFacts(
        peers=2,
        owners={"north": "h1", "south": None},
        alarms={"north": 1},
        held_back={("north", "server"): 12},
        use={("north", None): {"cores": 4}, ("north", "main"): {"cores": 3}},
        oldest={RequestState.REQUESTED: 7.5},
    )
    stats.fleet(facts)
    assert set(sink.lines()) == {
        "poolmgr.launchers:2|g",
        "poolmgr.provider.north.owned:1|g",
        "poolmgr.provider.south.owned:0|g",
        "poolmgr.provider.north.alarms:1|g",
        "poolmgr.provider.north.held_back.server:12|g",
        "poolmgr.provider.north.used.cores:4|g",
        "poolmgr.provider.north.pool.main.used.cores:3|g",
        "poolmgr.request_age.requested:7.5|g",
    }


def test_what_pools_may_have_and_why_they_take_nothing(sink, stats):
    stats.pool_limits({("north", "main"): {"cores": 8, "ram": None, "instances": math.inf}})
    stats.quota("north", {"cores": 100})
    stats.pools_paused("north", {"main": "quota"})
    stats.pools_paused("north", {})
    assert sink.lines() == [
        "poolmgr.provider.north.pool.main.limit.cores:8|g",
        "poolmgr.provider.north.quota.cores:100|g",
        "poolmgr.provider.north.pool.main.paused.quota:1|g",
        "poolmgr.provider.north.pool.main.paused.quota:0|g",
    ]
