from __future__ import annotations

from dataclasses import replace

import pytest

from poolmgr.model.server import (
    LIBRARY,
    META_LIBRARY_READY,
    META_LIBRARY_UNTIL,
    FloatingIp,
    Listing,
    Owner,
    Port,
    Server,
    ServerStatus,
    Volume,
)
from poolmgr.model.trial import TrialMark
from poolmgr.policy.leftovers import GRACE, Leftovers, Standing, both, leftovers, standing

NOW = 1_700_000_000.0
OWNER = Owner(provider="north", node_id="call-1", deployment=LIBRARY)
NODES = Owner(provider="north", node_id="0000000007", deployment="d-1")
LATE = {META_LIBRARY_UNTIL: str(int(NOW - GRACE - 1))}
SERVER = Server(id="s-1", name="my-server", status=ServerStatus.ACTIVE, metadata={**OWNER.metadata(), **LATE})
TAGGED = FloatingIp(id="f-1", address="192.0.2.7", port_id="p-1", owner=OWNER)


@pytest.mark.parametrize(
    ("metadata", "ips", "expected"),
    [
        ({}, [], Standing.HALF_MADE),
        ({META_LIBRARY_UNTIL: str(int(NOW - GRACE + 5))}, [], Standing.MAKING),
        ({META_LIBRARY_UNTIL: "soon"}, [], Standing.MAKING),
        ({META_LIBRARY_READY: "yes"}, [], Standing.WHOLE),
        ({}, [TAGGED], Standing.WHOLE),
        ({}, [replace(TAGGED, port_id=None)], Standing.WHOLE),  # detached by someone: it was finished once
        ({}, [replace(TAGGED, owner=None, port_id="s-1")], Standing.WHOLE),  # of the Compute service
        ({}, [replace(TAGGED, owner=NODES)], Standing.HALF_MADE),
    ],
)
def test_how_far_a_server_has_come(metadata, ips, expected):
    server = replace(SERVER, metadata={**SERVER.metadata, **metadata})
    assert standing(server, ips, now=NOW) is expected


def listed(*things, at: float = 10.0, complete: bool = True) -> Listing:
    return Listing(
        items={thing.id: thing for thing in things}, started_at=at, finished_at=at + 1, complete=complete
    )


def found(servers=(), ips=(), ports=(), volumes=(), *, at: float = 20.0, complete: bool = True) -> Leftovers:
    return leftovers(
        listed(*servers, at=at, complete=complete), listed(*ips), listed(*ports), listed(*volumes), now=NOW
    )


def test_a_half_made_server_is_left_over_and_what_it_has_is_not():
    port = Port(id="p-1", device_id="s-1", device_owner="compute:nova", owner=OWNER)
    volume = Volume(id="v-1", server_ids=("s-1",), owner=OWNER)
    assert found([SERVER], ports=[port], volumes=[volume]) == Leftovers(servers=(SERVER,))
    assert found([SERVER], [TAGGED]) == Leftovers()


@pytest.mark.parametrize("status", [ServerStatus.DELETED, ServerStatus.SOFT_DELETED])
def test_a_deleted_server_is_not_left_over(status):
    assert not found([replace(SERVER, status=status)])


def test_servers_of_others_are_never_left_over():
    node = replace(SERVER, metadata={**NODES.metadata(), **LATE})
    assert not found([node, replace(SERVER, id="s-2", metadata={})])


PORT = Port(id="p-1", device_id="s-9", device_owner="compute:nova")


@pytest.mark.parametrize(
    ("ip", "port", "left"),
    [
        (replace(TAGGED, port_id=None), PORT, True),
        (TAGGED, PORT, True),  # its port's server is gone
        (TAGGED, replace(PORT, device_id="s-1"), False),  # somebody gave it to another server
        (TAGGED, replace(PORT, device_owner="Octavia", device_id="lb-1"), False),
        (TAGGED, replace(PORT, device_owner="", device_id=""), False),  # a port that someone keeps
        (TAGGED, replace(PORT, device_owner="", device_id="", owner=OWNER), True),  # made in advance
        (TAGGED, replace(PORT, id="p-2"), False),  # bound to what we do not see
        (replace(TAGGED, owner=NODES), PORT, False),
        (replace(TAGGED, owner=None, port_id=None), PORT, False),
    ],
)
def test_which_floating_ips_are_left_over(ip, port, left):
    other = replace(SERVER, metadata={})
    assert found([other], [ip], [port]).floating_ips == ((ip,) if left else ())


@pytest.mark.parametrize(
    ("port", "left"),
    [
        (Port(id="p-1", device_id="", owner=OWNER), True),
        (Port(id="p-1", device_id="s-9", owner=OWNER), True),
        (Port(id="p-1", device_id="s-1", owner=OWNER), False),
        (Port(id="p-1", device_id="", owner=NODES), False),
        (Port(id="p-1", device_id=""), False),
    ],
)
def test_which_ports_are_left_over(port, left):
    assert found([replace(SERVER, metadata={})], ports=[port]).ports == ((port,) if left else ())


@pytest.mark.parametrize(
    ("volume", "left"),
    [
        (Volume(id="v-1", owner=OWNER), True),
        (Volume(id="v-1", owner=OWNER, server_ids=("s-1",)), False),
        (Volume(id="v-1", owner=NODES), False),
        (Volume(id="v-1"), False),
    ],
)
def test_which_volumes_are_left_over(volume, left):
    assert found([replace(SERVER, metadata={})], volumes=[volume]).volumes == ((volume,) if left else ())


@pytest.mark.parametrize("options", [{"complete": False}, {"at": 10.5}])
def test_without_a_complete_list_of_servers_after_the_others_nothing_is_believed(options):
    assert found([SERVER], [replace(TAGGED, port_id=None)], **options) == Leftovers()


def test_what_two_looks_found():
    ip = replace(TAGGED, port_id=None)
    first = Leftovers(servers=(SERVER,), floating_ips=(ip,))
    second = Leftovers(servers=(replace(SERVER, id="s-2"),), floating_ips=(ip,))
    assert both(first, second) == Leftovers(floating_ips=(ip,))
    assert both(first, second).owners() == (OWNER,)
    assert not Leftovers()


@pytest.mark.parametrize(
    ("metadata", "ips"),
    [({META_LIBRARY_READY: "yes"}, []), ({}, [TAGGED])],
)
def test_a_trials_server_is_never_to_stay(metadata, ips):
    owner = TrialMark(deployment="d-1", until=7, call="c").owner("north")
    ips = [replace(ip, owner=owner) for ip in ips]
    server = replace(SERVER, metadata={**owner.metadata(), **LATE, **metadata})
    assert standing(server, ips, now=NOW) is Standing.HALF_MADE
    early = replace(server, metadata={**server.metadata, META_LIBRARY_UNTIL: str(int(NOW))})
    assert standing(early, ips, now=NOW) is Standing.MAKING
