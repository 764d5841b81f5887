"""What was told, as it can be read again."""

from __future__ import annotations

import re

from poolmgr.model.component import Component, ComponentKind
from poolmgr.observe import names
from poolmgr.observe.board import Board, Total
from poolmgr.observe.census import take_census
from poolmgr.observe.names import METRICS
from poolmgr.observe.stats import NullStats, Recorder, stats_from


def test_counters_and_timers_add_up_and_gauges_do_not():
    board = Board()
    stats = Recorder([board])
    for seconds in (1.5, 2.5):
        stats.launch("ready", provider="north", zone=None, requestor=None, seconds=seconds)
        stats.leaked("north", "ports", 3)
        stats.max_servers({"north": seconds})
    totals = board.totals()
    assert totals[names.LAUNCH_PROVIDER] == {("north", "ready"): Total(2, 4.0)}
    assert totals[names.LEAKED] == {("north", "ports"): Total(2, 6.0)}
    assert totals[names.MAX_SERVERS][("north",)].sum == 2.5
    assert names.LAUNCH_ZONE not in totals


def test_a_gauge_of_what_is_gone_is_gone():
    board = Board()
    stats = Recorder([board])
    stats.max_servers({"north": 5, "south": 6, "east": None})
    stats.max_servers({"south": 6})
    assert set(board.totals()[names.MAX_SERVERS]) == {("south",)}


def test_what_is_so_for_the_whole_system_is_told_only_where_it_is_asked_for():
    own, whole = Board(), Board(whole=True)
    pool = Component(kind=ComponentKind.POOL, hostname="h", name="main", provider_name="north")
    Recorder([own, whole]).census(take_census([], [], [pool]))
    assert own.totals() == {}
    assert whole.totals()[names.ADDRESSABLE] == {("north", "main"): Total(1, 0)}


def test_of_two_versions_of_the_files_the_later_is_in_force():
    board = Board()
    recorder = Recorder([board])
    recorder.configuration("launcher", "host", "abc")
    recorder.configuration("launcher", "host", "def")
    assert set(board.totals()[names.CONFIG]) == {("launcher", "host", "def")}


def test_every_name_for_prometheus_is_its_own_and_can_be_used():
    found = [metric.prometheus for metric in METRICS]
    assert len(set(found)) == len(found)
    assert all(re.fullmatch(r"(nodepool|poolmgr)_[a-z_]+[a-z]", name) for name in found), found
    assert names.PROVIDER_NODES.prometheus == "nodepool_provider_nodes"
    assert names.LAUNCH.prometheus == "nodepool_launch_seconds"


def test_who_listens_is_told_with_and_without_statsd():
    board = Board()
    for environ in ({}, {"STATSD_HOST": "127.0.0.1"}):
        stats = stats_from(environ, sinks=[board])
        stats.leaked("north", "ports")
        stats.close()
    assert board.totals()[names.LEAKED][("north", "ports")].times == 2
    assert isinstance(stats_from({}), NullStats)
