from __future__ import annotations

import pytest

from poolmgr.cli.cloud import clean
from poolmgr.cli.cloud.create_server import metadata_of, text_of
from poolmgr.cli.cloud.servers import owner_text, print_servers, server_row
from poolmgr.errors import ConfigError
from poolmgr.model.server import LIBRARY, Addresses, FloatingIp, Owner, Port, Server, ServerStatus, Volume
from poolmgr.policy.leftovers import Leftovers

NOW = 1_700_000_000.0
OWNER = Owner(provider="north", node_id="call-1", deployment=LIBRARY)
SERVER = Server(
    id="s-1",
    name="web",
    status=ServerStatus.OTHER,
    status_text="SHUTOFF",
    addresses=Addresses(interface_ip="192.0.2.7", private_v4="10.0.0.7"),
    metadata=OWNER.metadata(),
    created_at=NOW - 3700,
    flavor_name="small",
)


def test_a_server_as_a_row():
    row = server_row(SERVER, now=NOW)
    assert {key: row[key] for key in ("id", "name", "status", "address", "private_v4", "flavor", "age")} == {
        "id": "s-1",
        "name": "web",
        "status": "SHUTOFF",
        "address": "192.0.2.7",
        "private_v4": "10.0.0.7",
        "flavor": "small",
        "age": "00:01:01:40",
    }
    assert server_row(Server(id="s-2", name="", status=ServerStatus.BUILD), now=NOW)["age"] == ""


@pytest.mark.parametrize(
    ("owner", "text"),
    [
        (None, ""),
        (OWNER, "library"),
        (Owner(provider="north", node_id="0000000007"), "node 0000000007 of north"),
    ],
)
def test_whose_a_server_is(owner, text):
    assert owner_text(owner) == text


def test_the_table_says_what_is_half_made_and_json_has_it_apart(capsys):
    rows = [server_row(SERVER, now=NOW, half_made=True)]
    print_servers(rows, as_json=False)
    assert "| SHUTOFF, half made | 192.0.2.7 | small  | 00:01:01:40 | library |" in capsys.readouterr().out
    print_servers(rows, as_json=True)
    assert '"status": "SHUTOFF",\n    "half_made": true' in capsys.readouterr().out


def test_what_is_left_over_kind_by_kind():
    found = Leftovers(
        servers=(SERVER,),
        floating_ips=(FloatingIp(id="f-1", address="192.0.2.9", port_id=None, owner=OWNER),),
        ports=(Port(id="p-1", device_id="", owner=OWNER),),
        volumes=(Volume(id="v-1", name="data", owner=OWNER, created_at=NOW - 60),),
    )
    assert [tuple(row.values()) for row in clean.rows(found, now=NOW)] == [
        ("server", "s-1", "web", "00:01:01:40", "call-1"),
        ("floating IP", "f-1", "192.0.2.9", "", "call-1"),
        ("port", "p-1", "", "", "call-1"),
        ("volume", "v-1", "data", "00:00:01:00", "call-1"),
    ]


def test_metadata_of_the_command_line():
    assert metadata_of(["a=1", "b=x=y", "c="]) == {"a": "1", "b": "x=y", "c": ""}
    for wrong in ("a", "=1"):
        with pytest.raises(ConfigError, match="must be KEY=VALUE"):
            metadata_of([wrong])


def test_userdata_of_a_file(tmp_path):
    file = tmp_path / "data"
    file.write_text("#cloud-config\n")
    assert text_of(str(file)) == "#cloud-config\n"
    with pytest.raises(ConfigError, match="No such file"):
        text_of(str(tmp_path / "none"))
