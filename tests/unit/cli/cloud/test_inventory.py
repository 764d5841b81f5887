from __future__ import annotations

from dataclasses import replace

import pytest

from poolmgr.cli.cloud.inventory import Located, Place, group_name, inventory_of
from poolmgr.model.server import Addresses, Server, ServerStatus

PLACE = Place(cloud="north", region="DFW")
WEB = Server(
    id="11111111-aaaa",
    name="web",
    status=ServerStatus.ACTIVE,
    addresses=Addresses(interface_ip="192.0.2.7"),
    metadata={"groups": "web, 1st-tier,,web"},
    flavor_name="m1.small",
    image_id="i-1",
    az="az1",
)


def located(server: Server, place: Place = PLACE) -> Located:
    return Located(place=place, server=server, image="debian-12")


def test_one_server():
    inventory = inventory_of([located(WEB)])
    groups = ["_1st_tier", "az_az1", "cloud_north", "flavor_m1_small", "image_debian_12", "region_DFW", "web"]
    assert inventory["all"] == {"children": sorted([*groups, "ungrouped"])}
    assert {name: inventory[name] for name in groups} == {name: {"hosts": ["web"]} for name in groups}
    variables = inventory["_meta"]["hostvars"]["web"]
    assert variables["ansible_host"] == "192.0.2.7"
    assert (variables["openstack"]["id"], variables["openstack"]["cloud"]) == ("11111111-aaaa", "north")


def test_an_empty_cloud_is_an_inventory_too():
    assert inventory_of([]) == {"_meta": {"hostvars": {}}, "all": {"children": ["ungrouped"]}}


def hosts(*found: Located) -> dict[str, str]:
    """The clouds of all hosts."""
    variables = inventory_of(found)["_meta"]["hostvars"]
    return {name: of["openstack"]["cloud"] for name, of in variables.items()}


def test_servers_of_one_name_are_called_by_their_ids():
    other = located(replace(WEB, id="22222222-bbbb"), Place(cloud="south", region=None))
    db = located(replace(WEB, id="3", name="db"))
    assert hosts(located(WEB), other, db) == {
        "11111111-aaaa": "north",
        "22222222-bbbb": "south",
        "db": "north",
    }


def test_a_project_that_two_clouds_lead_to_is_told_once():
    assert hosts(located(WEB), located(WEB, Place(cloud="north-again", region=None))) == {"web": "north"}


def test_a_server_without_an_address_cannot_be_reached():
    assert hosts(located(replace(WEB, addresses=Addresses()))) == {}


@pytest.mark.parametrize(
    ("name", "safe"),
    [("web", "web"), ("eu-west.1", "eu_west_1"), ("2xl", "_2xl"), ("all", "_all"), ("über", "_ber")],
)
def test_names_of_groups_are_such_that_ansible_takes_them(name, safe):
    assert group_name(name) == safe
