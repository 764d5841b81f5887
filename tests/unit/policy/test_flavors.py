from __future__ import annotations

import pytest

from poolmgr.config.settings import BootImage, PoolLabel
from poolmgr.model.server import Flavor
from poolmgr.policy.flavors import choose_flavor, price

FLAVORS = [
    Flavor(id="4", name="m1.large", vcpus=4, ram_mib=8192),
    Flavor(id="1", name="m1.tiny", vcpus=1, ram_mib=512),
    Flavor(id="3", name="c1.large", vcpus=8, ram_mib=8192, disk_gib=80),
    Flavor(id="2", name="m1.small", vcpus=1, ram_mib=2048),
]


def label(**fields) -> PoolLabel:
    return PoolLabel(name="small", image=BootImage(name="i", is_disk_image=True), **fields)


@pytest.mark.parametrize(
    ("fields", "chosen"),
    [
        ({"flavor_name": "m1.small"}, "2"),
        ({"flavor_name": "4"}, "4"),  # by id
        ({"flavor_name": "m1"}, None),  # exact without min-ram
        ({"flavor_name": "M1.small"}, None),
        ({"min_ram_mib": 512}, "1"),
        ({"min_ram_mib": 513}, "2"),
        ({"min_ram_mib": 8192}, "3"),  # equal memory: by name, not by cores (config.md)
        ({"min_ram_mib": 8000, "flavor_name": "m1"}, "4"),
        ({"min_ram_mib": 512, "flavor_name": "large"}, "3"),
        ({"min_ram_mib": 8193}, None),
        ({"min_ram_mib": 512, "flavor_name": "gpu"}, None),
        ({}, None),
    ],
)
def test_the_flavor_of_a_label(fields, chosen):
    flavor = choose_flavor(FLAVORS, label(**fields))
    assert (flavor.id if flavor else None) == chosen


def test_a_node_costs_its_flavor_and_a_volume_if_it_boots_from_one():
    assert price(FLAVORS[0], label()) == {"instances": 1, "cores": 4, "ram": 8192}
    assert price(FLAVORS[0], label(boot_from_volume=True, volume_gib=20)) == {
        "instances": 1,
        "cores": 4,
        "ram": 8192,
        "volumes": 1,
        "volume-gb": 20,
    }
