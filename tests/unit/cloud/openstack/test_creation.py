from __future__ import annotations

import pytest

from poolmgr.cloud.openstack.creation import GIB, disk_need
from poolmgr.model.cloud_image import CloudImage, ImageStatus


@pytest.mark.parametrize(
    ("image", "gib"),
    [
        ({}, 0),
        ({"size": 1}, 1),
        ({"size": GIB}, 1),
        ({"size": GIB, "virtual_size": 2 * GIB + 1}, 3),
        ({"size": 5 * GIB, "min_disk_gib": 8}, 8),
        ({"size": 9 * GIB, "min_disk_gib": 8}, 9),
    ],
)
def test_what_a_volume_of_an_image_must_hold(image, gib):
    assert disk_need(CloudImage(id="i", name="i", status=ImageStatus.ACTIVE, **image)) == gib
