"""The names dashboards query, and what may stand in them."""

from __future__ import annotations

import pytest

from poolmgr.observe import names


def test_dots_stay_where_the_reference_leaves_them():
    assert (
        names.LABEL_NODES.name(label="ubuntu-22.04", state="ready")
        == "nodepool.label.ubuntu-22.04.nodes.ready"
    )


def test_requestors_and_tenants_lose_dots_and_colons():
    launch = names.LAUNCH_REQUESTOR.name(requestor="NodePool:min-ready", result="error.quota")
    assert launch == "nodepool.launch.requestor.NodePool_min-ready.error.quota"
    limit = names.TENANT_LIMIT.name(tenant="a.b:c", resource="volume-gb")
    assert limit == "nodepool.tenant_limits.a_b_c.volume-gb"


def test_all_values_lose_their_dots_when_asked_to():
    name = names.LAUNCH_ZONE.name(escape_all=True, provider="p.1", zone="z.a", result="error.status")
    assert name == "nodepool.launch.provider.p_1.z_a.error.status"
    queue = names.QUEUE.name(escape_all=True, hostname="nl01.example.org", queue="zk.client.connection_queue")
    assert queue == "nodepool.launcher.nl01_example_org.zk.client.connection_queue"


@pytest.mark.parametrize("value", ["a:1|c\nforged", "a b", "a|b", "grün", "\x00"])
def test_no_value_can_break_a_line_or_forge_another(value):
    name = names.PROVIDER_NODES.name(provider=value, state="ready")
    assert name.isascii()
    assert not set(name) & set(":| \n\x00")


def test_every_metric_is_in_the_table_once():
    templates = [metric.template for metric in names.METRICS]
    assert len(templates) == len(set(templates))
    assert names.API_FAILED in names.METRICS


@pytest.mark.parametrize("metric", names.METRICS, ids=lambda metric: metric.template)
def test_a_metric_is_the_references_or_plainly_ours(metric):
    assert metric.template.split(".")[0] in {"nodepool", "poolmgr", "{prefix}"}
    assert metric.types in {("g",), ("c",), ("ms",), ("c", "ms"), ()}
    assert metric.name(**dict.fromkeys(metric.parts, "x")).count("x") >= len(metric.parts)
