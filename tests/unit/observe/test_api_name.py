"""Names of cloud API calls, as the dashboards of metrics.md 6 query them."""

from __future__ import annotations

import pytest

from poolmgr.observe.api_name import api_call_name, api_prefix

PROJECT = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://nova.example.org/v2.1/servers/detail?limit=1000&marker=x", "servers_detail"),
        ("/v2.1/servers/7f0c", "server"),
        ("/v2.1/servers", "servers"),
        ("/v2.1/servers/7f0c/action", "server_action"),
        ("/v2.1/limits", "limits"),
        (f"/v3/{PROJECT}/limits", "limits"),
        (f"/v2.1/{PROJECT}/flavors/detail", "flavors_detail"),
        ("/v2.1/os-availability-zone", "os-availability-zone"),
        ("/v2.0/floatingips", "floatingips"),
        ("/v2.0/floatingips/f-1", "floatingip"),
        ("/v2.0/floatingips/f-1.json", "floatingip"),
        ("/v2.0/networks.json", "networks"),
        ("/v2.0/ports/p-1", "port"),
        (f"/v3/{PROJECT}/volumes/detail", "volumes_detail"),
        ("/v2/images", "images"),
        ("/v2/images/i-1/file", "image_file"),
        ("https://cloud.example.org/image/v2/images/i-1", "image"),  # the reference says image_image
        ("https://cloud.example.org/compute/v2.1/servers", "servers"),
        ("https://keystone.example.org/v3/auth/tokens", "tokens"),
        ("https://nova.example.org/", "discovery"),
        ("https://nova.example.org/v2.1/", "discovery"),
    ],
)
def test_name_of_a_call(url, name):
    assert api_call_name(url) == name


def test_a_project_id_of_another_shape_is_left_out_when_known():
    assert api_call_name("/v2/team-7/servers/detail", "team-7") == "servers_detail"
    assert api_call_name("/v2/team-7/servers", "team-7") == "servers"


@pytest.mark.parametrize(
    ("configured", "environ", "prefix"),
    [
        (None, {}, "nodepool.task.north"),
        (None, {"STATSD_PREFIX": "site"}, "site"),
        ("nodepool.task.other", {"STATSD_PREFIX": "site"}, "nodepool.task.other"),
    ],
)
def test_prefix_of_api_metrics(configured, environ, prefix):
    assert api_prefix(configured, environ, provider="north") == prefix
