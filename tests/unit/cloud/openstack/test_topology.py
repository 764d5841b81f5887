from __future__ import annotations

import pytest

from poolmgr.cloud.openstack.errors import StaleName
from poolmgr.cloud.openstack.topology import (
    Network,
    Subnet,
    Topology,
    groups_for_all,
    network_of,
    networks_to_attach,
    router_of,
    subnet_of,
)
from poolmgr.config.settings import CloudNetwork
from poolmgr.errors import Rejected


def topology(*networks, subnets=(), project_id="own"):
    return Topology(
        networks={network.id: network for network in networks},
        subnets={subnet.id: subnet for subnet in subnets},
        project_id=project_id,
    )


PRIVATE = Network(id="p", name="private", project_id="own")
OTHER = Network(id="o", name="private", project_id="other", shared=True)
DIRECT = Network(id="d", name="direct", external=True, shared=True)
PUBLIC = Network(id="x", name="public", external=True)


def test_a_network_is_found_by_id_and_by_name():
    assert topology(PRIVATE, DIRECT).pick("d") is DIRECT
    assert topology(PRIVATE, DIRECT).pick("private") is PRIVATE


def test_of_several_with_one_name_the_projects_own_is_meant():
    assert topology(PRIVATE, OTHER).pick("private") is PRIVATE
    with pytest.raises(Rejected, match="several have this name: o, p; use one of the ids"):
        topology(PRIVATE, OTHER, project_id="third").pick("private")


def test_a_network_that_is_not_there_names_those_that_are():
    with pytest.raises(
        StaleName, match=r"network nope: not found \(networks of the project: direct, private\)"
    ):
        topology(PRIVATE, DIRECT).pick("nope")


def test_a_network_that_is_switched_off_is_refused():
    with pytest.raises(Rejected, match="admin_state_up is false"):
        topology(Network(id="n", name="n", admin_up=False)).pick("n")


@pytest.mark.parametrize(
    ("asked", "configured", "networks", "chosen"),
    [
        (["direct", "private"], [], [PRIVATE, DIRECT], [DIRECT, PRIVATE]),
        (["direct"], [CloudNetwork(name="private", default_interface=True)], [PRIVATE, DIRECT], [DIRECT]),
        (
            *([], [CloudNetwork(name="direct", default_interface=True)]),
            *([PRIVATE, DIRECT], [DIRECT]),
        ),
        ([], [CloudNetwork(name="private", nat_destination=True)], [PRIVATE, DIRECT], [PRIVATE]),
        (
            [],
            [
                CloudNetwork(name="private", nat_destination=True),
                CloudNetwork(name="direct", default_interface=True),
            ],
            [PRIVATE, DIRECT],
            [DIRECT],
        ),
        ([], [], [PRIVATE, PUBLIC, DIRECT], [PRIVATE]),
        ([], [], [DIRECT, PUBLIC], [DIRECT]),
    ],
)
def test_the_networks_a_server_gets(asked, configured, networks, chosen):
    assert networks_to_attach(asked, configured, topology(*networks)) == tuple(chosen)


def test_several_possible_networks_are_refused_and_named():
    with pytest.raises(Rejected, match=r"several networks: a \(1\), b \(2\); name one"):
        networks_to_attach([], [], topology(Network(id="2", name="b"), Network(id="1", name="a")))


def test_a_project_without_a_usable_network_is_refused():
    with pytest.raises(Rejected, match="no network"):
        networks_to_attach([], [], topology(PUBLIC))


def test_a_network_without_subnets_is_refused_and_never_chosen():
    bare = Network(id="b", name="bare", bare=True)
    with pytest.raises(StaleName, match=r"network bare \(b\): it has no subnet"):
        networks_to_attach(["bare"], [], topology(bare))
    assert networks_to_attach([], [], topology(bare, PRIVATE)) == (PRIVATE,)


INSECURE = Network(id="q", name="open", port_security=False)


@pytest.mark.parametrize(
    ("networks", "groups", "left"),
    [
        ([PRIVATE], ["g"], ["g"]),
        ([INSECURE], ["g"], ()),
        ([PRIVATE, INSECURE], [], []),
    ],
)
def test_security_groups_are_for_networks_with_port_security(networks, groups, left):
    assert groups_for_all(networks, groups) == left


def test_security_groups_for_a_part_of_a_servers_networks_are_refused():
    with pytest.raises(Rejected, match="cannot be applied on network open"):
        groups_for_all([PRIVATE, INSECURE], ["g"])


def test_the_network_whose_subnet_has_an_address():
    subnets = [
        Subnet(id="s1", network_id="p", cidr="10.0.0.0/24"),
        Subnet(id="s2", network_id="o", cidr="10.1.0.0/24"),
        Subnet(id="s3", network_id="o", cidr="2001:db8::/64", ip_version=6),
    ]
    found = topology(PRIVATE, OTHER, subnets=subnets)
    assert found.holding((PRIVATE, OTHER), "10.1.0.7") is OTHER
    assert found.holding((PRIVATE, OTHER), "2001:db8::7") is OTHER
    assert found.holding((PRIVATE, OTHER), "192.0.2.1") is None


def test_records_from_the_network_api():
    raw = {
        "id": "n",
        "name": "net",
        "router:external": True,
        "provider:physical_network": None,
        "shared": False,
        "tenant_id": "t",
        "admin_state_up": True,
        "port_security_enabled": False,
    }
    assert network_of(raw) == Network(id="n", name="net", external=True, project_id="t", port_security=False)
    assert network_of({"id": "n"}) == Network(id="n", name="")
    assert network_of({"id": "n", "subnets": []}).bare
    assert not network_of({"id": "n", "subnets": ["s"]}).bare
    assert subnet_of({"id": "s", "network_id": "n", "cidr": "10.0.0.0/8", "ip_version": 4}).gateway_ip is None
    interfaces = [
        {"device_id": "r", "fixed_ips": [{"subnet_id": "s1", "ip_address": "10.0.0.1"}]},
        {"device_id": "other", "fixed_ips": [{"subnet_id": "s2", "ip_address": "10.1.0.1"}]},
    ]
    router = router_of({"id": "r", "external_gateway_info": {"network_id": "x"}}, interfaces)
    assert (router.gateway_network_id, router.subnet_ids) == ("x", frozenset({"s1"}))
    assert router_of({"id": "r", "external_gateway_info": None}, []).gateway_network_id is None
