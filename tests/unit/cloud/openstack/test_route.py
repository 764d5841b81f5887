from __future__ import annotations

import pytest

from poolmgr.cloud.openstack.route import has_v6_route

ZERO = "0" * 32
LINK_LOCAL = "fe80" + "0" * 28
#        destination prefix source prefix next hop metric refs use flags device
DEFAULT = f"{ZERO} 00 {ZERO} 00 {LINK_LOCAL} 00000400 00000001 00000000 00000003     eth0"
REJECT = f"{ZERO} 00 {ZERO} 00 {ZERO} ffffffff 00000001 00000000 00200200       lo"
UNREACHABLE = f"{ZERO} 00 {ZERO} 00 {ZERO} 00000400 00000001 00000000 00000203     eth0"
LINK = f"{LINK_LOCAL} 40 {ZERO} 00 {ZERO} 00000100 00000001 00000000 00000001     eth0"


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ([LINK, DEFAULT], True),
        ([LINK], False),
        ([REJECT], False),
        ([UNREACHABLE], False),
        (["nonsense"], False),
        ([], False),
    ],
)
def test_a_way_to_the_ipv6_internet_is_a_default_route(tmp_path, lines, found):
    table = tmp_path / "ipv6_route"
    table.write_text("\n".join(lines))
    assert has_v6_route(table) is found


def test_a_machine_without_ipv6_has_none(tmp_path):
    assert not has_v6_route(tmp_path / "missing")
