from __future__ import annotations

import pytest

from poolmgr.cloud.openstack.addresses import AddressRules, Roles
from poolmgr.cloud.openstack.floating import GuestPort
from poolmgr.cloud.openstack.servers import ServerReader, flavor_of, listed_by_ports, zones_of
from poolmgr.cloud.openstack.topology import Network
from poolmgr.model.server import Addresses, Flavor, ServerStatus

READER = ServerReader(
    rules=AddressRules(role=Roles().role),
    flavors={"f-1": Flavor(id="f-1", name="small", vcpus=2, ram_mib=4096)},
)

RAW = {
    "id": "s-1",
    "name": "np1",
    "status": "ACTIVE",
    "OS-EXT-STS:task_state": None,
    "OS-EXT-AZ:availability_zone": "az1",
    "hostId": "h1",
    "metadata": {"nodepool_node_id": "1", "nodepool_provider_name": "north"},
    "addresses": {"private": [{"addr": "10.0.0.5", "version": 4, "OS-EXT-IPS:type": "fixed"}]},
    "os-extended-volumes:volumes_attached": [{"id": "v-1"}],
    "flavor": {"vcpus": 2, "ram": 4096, "disk": 20, "original_name": "small"},
    "accessIPv4": "",
    "accessIPv6": "",
}


def test_a_server_as_microversions_from_2_47_list_it():
    server = READER.read(RAW)
    assert (server.id, server.name, server.status, server.az, server.host_id) == (
        *("s-1", "np1"),
        ServerStatus.ACTIVE,
        *("az1", "h1"),
    )
    assert server.resources == {"instances": 1, "cores": 2, "ram": 4096}
    assert server.volumes == ("v-1",)
    assert server.addresses.private_v4 == "10.0.0.5"
    assert server.owner is not None
    assert server.owner.node_id == "1"


def test_when_a_server_was_made_and_of_what():
    server = READER.read({**RAW, "created": "2026-11-22T22:13:00Z", "image": {"id": "i-1"}})
    assert (server.created_at, server.flavor_name, server.image_id) == (1795385580.0, "small", "i-1")
    older = READER.read({**RAW, "flavor": {"id": "f-1"}, "image": ""})  # "": it boots from a volume
    assert (older.created_at, older.flavor_name, older.image_id) == (None, "small", None)


def test_an_older_listing_is_priced_by_the_list_of_flavors():
    assert READER.read({**RAW, "flavor": {"id": "f-1"}}).resources == {
        "instances": 1,
        "cores": 2,
        "ram": 4096,
    }
    assert READER.read({**RAW, "flavor": {"id": "unknown"}}).resources is None


def test_a_server_that_was_just_accepted_has_next_to_nothing():
    server = READER.read({"id": "s-1"})
    assert (server.status, server.addresses, server.metadata) == (ServerStatus.UNKNOWN, Addresses(), {})


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("BUILD", ServerStatus.BUILD),
        ("ERROR", ServerStatus.ERROR),
        ("DELETED", ServerStatus.DELETED),
        ("SOFT_DELETED", ServerStatus.SOFT_DELETED),
        ("SHUTOFF", ServerStatus.OTHER),
        ("HARD_REBOOT", ServerStatus.OTHER),
        ("UNKNOWN", ServerStatus.UNKNOWN),
    ],
)
def test_novas_states(text, status):
    server = READER.read({**RAW, "status": text})
    assert (server.status, server.status_text) == (status, text)


def test_the_fault_of_a_server_in_error():
    fault = {"code": 500, "message": "No valid host was found."}
    assert READER.read({**RAW, "status": "ERROR", "fault": fault}).fault == "No valid host was found."


def test_accessipv4_counts_without_any_listed_address():
    assert READER.read({**RAW, "addresses": {}, "accessIPv4": "8.8.8.8"}).addresses.public_v4 == "8.8.8.8"


def test_equal_sizes_share_one_mapping():
    assert READER.read(RAW).resources is READER.read({**RAW, "id": "s-2"}).resources


def test_zones_that_take_servers():
    infos = [
        {"zoneName": "nova", "zoneState": {"available": True}},
        {"zoneName": "internal", "zoneState": {"available": True}},
        {"zoneName": "down", "zoneState": {"available": False}},
        {"zoneName": "az1"},
    ]
    assert zones_of(infos) == ("az1", "nova")


def test_a_flavor():
    raw = {"id": 7, "name": "small", "vcpus": 2, "ram": 4096, "disk": 20}
    assert flavor_of(raw) == Flavor(id="7", name="small", vcpus=2, ram_mib=4096, disk_gib=20)


def test_addresses_are_worked_out_again_only_when_they_changed():
    reader = ServerReader(rules=READER.rules)
    first = reader.read(RAW).addresses
    assert reader.read({**RAW, "status": "SHUTOFF"}).addresses is first
    moved = {"private": [{"addr": "10.0.0.6", "version": 4, "OS-EXT-IPS:type": "fixed"}]}
    assert reader.read({**RAW, "addresses": moved}).addresses.private_v4 == "10.0.0.6"
    assert reader.read({**RAW, "accessIPv4": "8.8.8.8"}).addresses.public_v4 == "8.8.8.8"


def test_what_was_known_of_servers_that_are_gone_is_forgotten():
    reader = ServerReader(rules=READER.rules)
    for number in range(200):
        reader.read({**RAW, "id": str(number)})
    reader.forget_all_but(["7"])
    assert set(reader.known) == {"7"}


def test_addresses_can_be_had_from_ports():
    ports = [
        GuestPort(id="p-1", network_id="n", fixed_v4=("10.0.0.5",), fixed_v6=("fd00::5",), mac="aa"),
        GuestPort(id="p-2", network_id="hidden", fixed_v4=("10.1.0.5",)),
    ]
    listed = listed_by_ports(ports, {"n": Network(id="n", name="inside")})
    addresses = READER.read({**RAW, "id": "s-9", "addresses": listed}).addresses
    assert (addresses.fixed_v4, addresses.private_v6) == ("10.0.0.5", "fd00::5")
    assert [entry["addr"] for entry in listed["hidden"]] == ["10.1.0.5"]
    assert listed["inside"][0]["OS-EXT-IPS-MAC:mac_addr"] == "aa"
