"""The dashboard in etc/grafana: what it asks for, and that it can be drawn."""

from __future__ import annotations

import re

import pytest
import yaml

from tests.dashboard import DASHBOARD, PATH, finds, queries, targets

API = "stats.timers.nodepool.task.*."
#: What the dashboards of a large site ask of Nodepool: rows 1 to 26 and 28 to 32 of metrics.md, section 6.
REFERENCE = [
    "stats.gauges.nodepool.provider.*",
    *(
        f"stats.gauges.nodepool.provider.*.nodes.{state}"
        for state in ("building", "ready", "in-use", "used", "deleting", "hold", "failed")
    ),
    "stats.gauges.nodepool.provider.*.max_servers",
    *(
        f"stats.gauges.nodepool.label.*.nodes.{state}"
        for state in ("building", "ready", "in-use", "deleting")
    ),
    "stats_counts.nodepool.launch.provider.*.ready",
    "stats_counts.nodepool.launch.provider.*.error.*",
    "stats.timers.nodepool.launch.provider.*.ready.mean",
    *(
        f"{API}{call}.*.mean"
        for call in (
            *("compute.POST.servers", "compute.GET.server", "compute.DELETE.server"),
            *("compute.GET.servers_detail", "compute.GET.limits", "compute.GET.flavors_detail"),
            *("network.GET.floatingips", "network.GET.networks", "network.GET.ports", "network.GET.subnets"),
        )
    ),
    "stats.timers.nodepool.dib_image_build.*",
    "stats.gauges.nodepool.dib_image_build.*.status.rc",
    "stats.gauges.nodepool.dib_image_build.*.*.size",
    "stats.timers.nodepool.dib_image_build.*.status.duration.mean",
    "stats.gauges.nodepool.dib_image_build.*.status.last_build",
    "stats.gauges.poolmgr.requests.requested",
]


@pytest.mark.parametrize("query", REFERENCE)
def test_it_asks_for_what_the_references_dashboards_show(query):
    assert query in queries()


def test_every_panel_has_a_place_of_its_own_and_something_to_show():
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = set()
    for panel in panels:
        grid = panel["gridPos"]
        assert grid["x"] + grid["w"] <= 24
        own = {
            (x, y)
            for x in range(grid["x"], grid["x"] + grid["w"])
            for y in range(grid["y"], grid["y"] + grid["h"])
        }
        assert not own & cells, panel["title"]
        cells |= own
        assert panel["type"] == "row" or panel["targets"]
        assert all(target["datasource"]["uid"] == "${datasource}" for target in panel.get("targets", ()))


@pytest.mark.parametrize(("title", "target"), list(targets()))
def test_a_series_is_named_by_all_that_tells_it_from_others(title, target):
    assert target.count("(") == target.count(")")
    found = re.fullmatch(r"aliasByNode\((?:scale\()?(stats[^,()]*)(?:, 1000\))?, ([\d, ]+)\)", target)
    if found is None:
        assert target.startswith(("alias(", "aliasByNode(sumSeriesWithWildcards(")), title
        return
    levels = found[1].split(".")
    named = [int(number) for number in found[2].split(", ")]
    assert max(named) < len(levels)
    assert {i for i, level in enumerate(levels) if "*" in level or "$" in level} <= set(named)


def test_a_query_is_for_series_of_its_type_and_depth():
    sent = {("nodepool.launch.provider.a.ready", "c"), ("nodepool.provider.a.nodes.ready", "g")}
    assert finds("stats_counts.nodepool.launch.provider.*.ready", sent)
    assert not finds("stats.timers.nodepool.launch.provider.*.ready.mean", sent)
    assert not finds("stats_counts.nodepool.launch.provider.*", {("nodepool.launch.x", "c")})
    assert finds("stats.gauges.nodepool.provider.*", sent)
    assert not finds("stats.gauges.nodepool.provider.*.nodes.hold", sent)
    assert not finds("elsewhere.nodepool.provider.*", sent)


def test_the_sample_for_provisioning_can_be_read():
    sample = yaml.safe_load((PATH.parent / "provisioning.yaml").read_text())
    assert sample["providers"][0]["options"]["path"]
