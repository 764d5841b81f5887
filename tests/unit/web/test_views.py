"""Rows and text of records (spec cli-web.md 1.1 and 3)."""

from dataclasses import replace

import pytest

from poolmgr.model.image import Upload, UploadState
from poolmgr.model.node import Node, NodeState
from poolmgr.model.request import NodeRequest, RequestState
from poolmgr.model.snapshot import Snapshot
from poolmgr.web.views import (
    NODE_COLUMNS,
    NODE_DETAIL_COLUMNS,
    REQUEST_COLUMNS,
    age_text,
    cells,
    node_row,
    node_rows,
    provider_image_rows,
    provider_node_rows,
    request_rows,
)

NODE = Node(
    id="0000000007",
    state=NodeState.READY,
    state_time=1000.0,
    labels=("debian", "linux"),
    provider="rax",
    pool="main",
    external_id="srv-1",
    public_ipv4="192.0.2.7",
    connection_port=22,
)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "00:00:00:00"),
        (59.9, "00:00:00:59"),
        (3661, "00:01:01:01"),
        (86400, "01:00:00:00"),
        (123 * 86400 + 5, "123:00:00:05"),
        (-3, "00:00:00:00"),
    ],
)
def test_an_age_is_days_hours_minutes_seconds(seconds, text):
    assert age_text(seconds) == text


def test_a_node_row_has_the_keys_of_the_web_in_their_order():
    row = node_row(NODE, locked=True, now=1061.0)
    assert list(row) == [
        "id", "provider", "label", "server_id", "public_ipv4", "ipv6", "state", "age", "locked", "pool",
        "hostname", "private_ipv4", "AZ", "username", "connection_port", "launcher", "allocated_to",
        "hold_job", "comment", "user_data", "driver_data",
        "slot",
    ]  # fmt: skip
    assert row["slot"] is None
    assert row["label"] == ["debian", "linux"]
    assert row["age"] == "00:00:01:01"
    assert row["locked"] == "locked"


def test_a_static_node_shows_its_host_and_slot():
    host = replace(NODE, external_id="board1", hostname="board1", slot=0)
    row = node_row(host, locked=False, now=0.0)
    assert (row["server_id"], row["hostname"], row["slot"]) == ("board1", "board1", 0)


def test_columns_and_titles_of_list_are_those_of_the_reference():
    assert [c.title for c in NODE_COLUMNS] == [
        "ID", "Provider", "Label", "Server ID", "Public IPv4", "IPv6", "State", "Age", "Locked",
    ]  # fmt: skip
    assert [c.title for c in NODE_DETAIL_COLUMNS[9:]] == [
        "Pool", "Hostname", "Private IPv4", "AZ", "Username", "Port", "Launcher", "Allocated To", "Hold Job",
        "Comment", "User Data", "Driver Data",
        "Slot",  # ours
    ]  # fmt: skip
    assert [c.title for c in REQUEST_COLUMNS] == [
        "Request ID", "Priority", "State", "Requestor", "Node Types", "Nodes", "Declined By", "Event ID",
    ]  # fmt: skip


def test_every_column_shows_a_key_of_its_row():
    node = node_row(NODE, locked=False, now=0.0)
    snapshot = Snapshot()
    snapshot.put_request(NodeRequest(id="200-0000000001"))
    assert {c.key for c in NODE_DETAIL_COLUMNS} == set(node)
    assert {c.key for c in REQUEST_COLUMNS} == set(request_rows(snapshot)[0])


def test_a_port_that_is_no_number_is_not_shown():
    node = Node(id="1", connection_port={"token": "secret"})
    assert node_row(node, locked=False, now=0.0)["connection_port"] == "redacted"


def test_text_joins_lists_and_leaves_missing_values_empty():
    row = node_row(NODE, locked=False, now=1000.0)
    assert cells([row], NODE_COLUMNS) == [
        ["0000000007", "rax", "debian,linux", "srv-1", "192.0.2.7", "", "ready", "00:00:00:00", "unlocked"]
    ]


def test_nodes_come_by_id_with_their_locks_and_one_can_be_picked():
    snapshot = Snapshot()
    for node_id in ("0000000009", "0000000003"):
        snapshot.put_node(Node(id=node_id, provider="p"))
    snapshot.put_node_contender("0000000009", "x__lock__0000000001")
    rows = node_rows(snapshot, now=0.0)
    assert [(r["id"], r["locked"]) for r in rows] == [("0000000003", "unlocked"), ("0000000009", "locked")]
    assert [r["id"] for r in node_rows(snapshot, now=0.0, node_id="0000000009")] == ["0000000009"]
    assert node_rows(snapshot, now=0.0, node_id="0000000001") == []


def test_requests_come_in_the_order_they_are_served():
    snapshot = Snapshot()
    snapshot.put_request(NodeRequest(id="200-0000000001", relative_priority=5, labels=("a", "a")))
    snapshot.put_request(NodeRequest(id="200-0000000002", declined_by=("x",)))
    snapshot.put_request(NodeRequest(id="100-0000000003", state=RequestState.PENDING))
    rows = request_rows(snapshot)
    assert [r["id"] for r in rows] == ["100-0000000003", "200-0000000002", "200-0000000001"]
    assert rows[2]["node_types"] == ["a", "a"]


def test_what_a_provider_has_is_told_by_image_build_and_node():
    snapshot = Snapshot()
    for upload_id, state in (("0000000002", UploadState.READY), ("0000000001", UploadState.FAILED)):
        snapshot.put_upload(Upload(id=upload_id, image="debian", build="b1", provider="rax", state=state))
    snapshot.put_upload(Upload(id="0000000001", image="debian", build="b1", provider="other"))
    snapshot.put_node(NODE)
    assert provider_image_rows(snapshot, "rax") == [
        {"image": "debian", "id": "b1", "upload_ids": ["0000000001", "0000000002"]}
    ]
    assert provider_node_rows(snapshot, "rax") == [{"id": "0000000007", "server_id": "srv-1"}]
    assert provider_node_rows(snapshot, "none") == []
