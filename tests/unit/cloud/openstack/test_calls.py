from __future__ import annotations

import pytest

from poolmgr.cloud.openstack.calls import CallCounter, ServiceMap, call_name
from poolmgr.observe.api_name import ApiCall


@pytest.fixture
def services():
    found = ServiceMap()
    found.learn("http://cloud.example/compute/v2.1", "compute")
    found.learn("http://cloud.example/network/v2.0/", "network")
    return found


@pytest.mark.parametrize(
    ("url", "service", "path"),
    [
        ("http://cloud.example/compute/v2.1/servers/detail?limit=5", "compute", "/servers/detail"),
        ("http://cloud.example/network/v2.0/ports", "network", "/ports"),
        ("http://cloud.example/identity/v3/auth/tokens", "identity", "/auth/tokens"),
        ("http://cloud.example/compute/", "identity", "/"),  # a version document
        ("http://cloud.example/compute/v2.1/", "compute", "/"),
        ("http://cloud.example/compute/v2.10/servers", "identity", "/"),  # a base is whole path parts
    ],
)
def test_calls_belong_to_the_service_with_the_longest_base(services, url, service, path):
    assert services.locate(url) == (service, path)


def test_calls_are_counted_by_service_method_and_name():
    counter = CallCounter()
    for status in (200, None):
        counter.add(ApiCall(service="compute", method="GET", name="server", status=status, seconds=0.1))
    assert counter.counts() == {"compute.GET.server": 2}


@pytest.mark.parametrize(
    ("service", "path", "name"),
    [
        ("compute", "/servers/detail", "servers_detail"),
        ("object-store", "", "account"),
        ("object-store", "/images", "container"),
        ("object-store", "/images/detail", "object"),
        ("object-store", "/images_segments/poolmgr-x/0001/00000001", "object"),
    ],
)
def test_what_a_container_holds_does_not_name_metrics(service, path, name):
    assert call_name(service, path) == name
