from __future__ import annotations

import pytest

from poolmgr.config.settings import Pool, TenantLimits
from poolmgr.model.node import Node, NodeState
from poolmgr.model.server import Owner, Quota, ServerStatus, Volume
from poolmgr.policy.capacity import (
    Capacity,
    network_use,
    pool_capacity,
    tenant_available,
    unmanaged_network,
    unmanaged_use,
    unmanaged_volumes,
)
from tests.unit.policy.worlds import DEPLOYMENT, OTHER_DEPLOYMENT, server, snapshot_of

PRICES = {"small": {"instances": 1, "cores": 2}}


def node(id_: str, pool: str = "main", provider: str = "north", state=NodeState.READY, **fields) -> Node:
    resources = fields.pop("resources", {"instances": 1, "cores": 2})
    return Node(
        id=id_, pool=pool, provider=provider, state=state, labels=("small",), resources=resources, **fields
    )


def capacity(pool: Pool, *nodes: Node, limits=None, unmanaged=None) -> Capacity:
    return pool_capacity(
        "north",
        pool,
        snapshot_of(*nodes),
        cloud_limits=limits or {},
        unmanaged=unmanaged or {},
        prices=PRICES,
    )


def test_what_is_left_of_the_cloud_is_its_limit_less_all_nodes_and_others_use():
    room = capacity(
        Pool(name="main"),
        node("1"),
        node("2", pool="other"),
        node("3", provider="south"),
        limits={"cores": 20},
        unmanaged={"cores": 5},
    )
    assert room == Capacity(ceiling={"cores": 20}, available={"cores": 11})


def test_what_is_left_of_a_pool_is_its_limit_less_its_own_nodes():
    room = capacity(Pool(name="main", limits={"instances": 4}), node("1"), node("2", pool="other"))
    assert room == Capacity(ceiling={"instances": 4}, available={"instances": 3})


def test_the_tighter_limit_holds():
    pool = Pool(name="main", limits={"cores": 8})
    room = capacity(pool, node("1"), node("2", pool="other"), limits={"cores": 9})
    assert room == Capacity(ceiling={"cores": 8}, available={"cores": 5})


def test_a_pool_may_ignore_the_clouds_limits_but_not_its_own():
    pool = Pool(name="main", limits={"cores": 8}, ignore_provider_quota=True)
    room = capacity(pool, node("1"), limits={"cores": 1, "ram": 1}, unmanaged={"cores": 100})
    assert room == Capacity(ceiling={"cores": 8}, available={"cores": 6})


def test_without_limits_there_is_no_end():
    assert capacity(Pool(name="main"), node("1")) == Capacity()


@pytest.mark.parametrize("state", list(NodeState))
def test_a_node_counts_in_every_state(state):
    room = capacity(Pool(name="main", limits={"cores": 8}), node("1", state=state))
    assert room.available == {"cores": 6}


@pytest.mark.parametrize(
    ("labels", "cores"),
    [(("small",), 2), (("unknown",), 0), ((), 0)],
)
def test_a_node_without_resources_counts_by_its_label_and_at_least_as_one_instance(labels, cores):
    foreign = Node(id="1", pool="main", provider="north", labels=labels)
    elsewhere = Node(id="2", pool="other", provider="north", labels=labels)
    room = capacity(
        Pool(name="main", limits={"cores": 8, "instances": 8}),
        foreign,
        elsewhere,
        limits={"instances": 20},
    )
    assert room.available == {"cores": 8 - cores, "instances": 7}
    shared = capacity(Pool(name="main"), foreign, elsewhere, limits={"instances": 20, "cores": 20})
    assert shared.available == {"instances": 18, "cores": 20 - 2 * cores}


def test_others_use_does_not_lower_the_ceiling():
    """Else a request would be declined for good because of what others happen to run now (launcher.md 17.13)."""
    room = capacity(Pool(name="main"), limits={"cores": 4}, unmanaged={"cores": 4})
    assert room.ceiling == {"cores": 4}
    assert room.available == {"cores": 0}


@pytest.mark.parametrize(
    ("mark", "counts"),
    [
        ({"node": "1"}, False),
        ({"node": "1", "deployment": None}, False),  # Nodepool made it, for the same node
        ({"node": "1", "deployment": OTHER_DEPLOYMENT}, True),  # their node of the same id
        ({"node": "1", "provider": "south"}, True),
        ({"node": "2"}, True),  # leaked
        ({"node": "3"}, True),  # a node of another provider
        ({"node": None}, True),
        ({"provider": None}, True),
    ],
)
def test_servers_that_are_no_nodes_of_ours_are_others_use(mark, counts):
    snapshot = snapshot_of(node("1"), node("3", provider="south"))
    seen = [server("s-1", resources={"instances": 1, "cores": 4}, **mark)]
    use = unmanaged_use(seen, "north", snapshot, deployment=DEPLOYMENT)
    assert use == ({"instances": 1, "cores": 4} if counts else {})


def test_a_server_of_unknown_flavor_is_at_least_an_instance():
    seen = [server(node=None), server(node=None)]
    assert unmanaged_use(seen, "north", snapshot_of(), deployment=DEPLOYMENT) == {"instances": 2}


def test_a_tenant_may_have_its_limit_less_all_its_nodes_anywhere():
    tenants = {"t1": TenantLimits(name="t1", limits={"cores": 10, "licences": 1})}
    snapshot = snapshot_of(
        node("1", tenant_name="t1"),
        node("2", provider="south", tenant_name="t1", state=NodeState.IN_USE),
        node("3", tenant_name="t2"),
        Node(id="4", provider="static", tenant_name="t1"),  # no resources: counts as nothing
    )
    assert tenant_available("t1", tenants, snapshot) == {"cores": 6, "licences": 1}
    assert tenant_available("t2", tenants, snapshot) == {}
    assert tenant_available(None, tenants, snapshot) == {}


@pytest.mark.parametrize(("status", "count"), [(ServerStatus.DELETED, 0), (ServerStatus.SOFT_DELETED, 1)])
def test_a_deleted_server_takes_nothing_and_a_soft_deleted_one_goes_on_doing_so(status, count):
    use = unmanaged_use([server("s-1", status, node="7")], "north", snapshot_of(), deployment=DEPLOYMENT)
    assert use.get("instances", 0) == count


def owner(node_id: str, deployment: str = DEPLOYMENT) -> Owner:
    return Owner(provider="north", node_id=node_id, deployment=deployment)


@pytest.mark.parametrize(
    ("volume", "foreign"),
    [
        (Volume(id="v", size_gib=50), True),
        (Volume(id="v", size_gib=50, owner=owner("1")), False),
        (Volume(id="v", size_gib=50, owner=owner("9")), True),  # its node is gone: nobody else counts it
        (Volume(id="v", size_gib=50, owner=owner("1", OTHER_DEPLOYMENT)), True),
        (Volume(id="v", size_gib=50, server_ids=("s-1",)), False),  # new: the mark is on its way
        (Volume(id="v", size_gib=50, server_ids=("s-2",)), True),
        (Volume(id="v", size_gib=50, server_ids=("s-unknown",)), True),
    ],
)
def test_volumes_of_nodes_are_priced_with_their_nodes(volume, foreign):
    servers = {"s-1": server("s-1", node="1"), "s-2": server("s-2", node=None)}
    use = unmanaged_volumes([volume], servers, "north", snapshot_of(node("1")), deployment=DEPLOYMENT)
    assert use == ({"volumes": 1, "volume-gb": 50} if foreign else {"volumes": 0, "volume-gb": 0})


PLUGS = {("main", "small"): {"ports": 2, "floating-ips": 1}}


def test_nodes_take_ports_and_floating_ips_that_their_records_do_not_tell():
    nodes = snapshot_of(node("1"), node("2"), node("3", pool="other"), node("4", provider="south"))
    assert network_use("north", nodes, PLUGS) == {"ports": 4, "floating-ips": 2}


def test_a_node_without_resources_is_priced_as_a_whole_elsewhere():
    assert network_use("north", snapshot_of(node("1", resources=None)), PLUGS) == {}


@pytest.mark.parametrize(
    ("state", "external_id", "others"),
    [
        (NodeState.READY, "s-1", {"ports": 5, "floating-ips": 2}),
        (NodeState.BUILDING, "s-1", {"ports": 5, "floating-ips": 3}),  # it has no floating IP yet
        (NodeState.BUILDING, None, {"ports": 7, "floating-ips": 3}),  # nothing of it is there yet
    ],
)
def test_what_others_use_of_the_network_is_all_but_what_our_nodes_can_have(state, external_id, others):
    quotas = [
        Quota(service="network", resource="ports", limit=10, used=7),
        Quota(service="network", resource="floating-ips", limit=5, used=3),
    ]
    nodes = snapshot_of(node("1", state=state, external_id=external_id))
    assert unmanaged_network(quotas, "north", nodes, PLUGS) == others


def test_a_use_that_nobody_tells_is_none():
    quotas = [Quota(service="network", resource="ports", limit=10)]
    assert unmanaged_network(quotas, "north", snapshot_of(), PLUGS) == {}


def test_what_the_network_is_used_for_is_room_less():
    room = pool_capacity(
        "north",
        Pool(name="main"),
        snapshot_of(node("1")),
        cloud_limits={"ports": 10},
        unmanaged={"ports": 3},
        prices=PRICES,
        network_use={"ports": 2},
    )
    assert room.available == {"ports": 5}
