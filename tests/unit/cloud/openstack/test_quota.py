from __future__ import annotations

import pytest

from poolmgr.cloud.openstack.quota import compute_quotas, limits_of, network_quotas, volume_quotas
from poolmgr.model.server import Quota


def test_limits_leave_out_what_is_unlimited_or_unknown():
    absolute = {"maxTotalInstances": 20, "maxTotalCores": -1, "totalInstancesUsed": 3}
    assert limits_of(compute_quotas(absolute)) == {"instances": 20}
    assert limits_of(compute_quotas({"maxTotalInstances": 0, "maxTotalRAMSize": 1024})) == {
        "instances": 0,
        "ram": 1024,
    }


def test_compute():
    absolute = {"maxTotalInstances": -1, "totalInstancesUsed": 3, "maxServerMeta": 128}
    assert compute_quotas(absolute) == (Quota(service="compute", resource="instances", limit=None, used=3),)


def test_volumes():
    absolute = {
        "maxTotalVolumes": 10,
        "totalVolumesUsed": 2,
        "maxTotalVolumeGigabytes": 1000,
        "totalGigabytesUsed": 40,
    }
    assert volume_quotas(absolute) == (
        Quota(service="block-storage", resource="volumes", limit=10, used=2),
        Quota(service="block-storage", resource="volume-gb", limit=1000, used=40),
    )


@pytest.mark.parametrize(
    ("told", "limit", "used"),
    [
        ({"limit": 50, "used": 3, "reserved": 0}, 50, 3),
        ({"limit": -1, "used": 0, "reserved": 0}, None, 0),
        (50, 50, None),
        (-1, None, None),
    ],
)
def test_networks_with_details_and_without(told, limit, used):
    found = network_quotas({"floatingip": told, "rbac_policy": 10})
    assert found == (Quota(service="network", resource="floating-ips", limit=limit, used=used),)


def test_a_cloud_that_tells_nothing():
    assert compute_quotas({}) == volume_quotas({}) == network_quotas({}) == ()
