from __future__ import annotations

from poolmgr.model.image import Upload
from poolmgr.model.node import GARBAGE_WHEN_UNLOCKED, Node, NodeState
from poolmgr.model.request import NodeRequest, RequestState


def test_requests_are_served_by_priority_then_relative_priority_then_age():
    ids = [("200-0000000001", 5), ("100-0000000009", 0), ("200-0000000003", 0), ("200-0000000002", 0)]
    ranked = sorted((NodeRequest(id=i, relative_priority=r) for i, r in ids), key=lambda r: r.rank)
    assert [r.id for r in ranked] == ["100-0000000009", "200-0000000002", "200-0000000003", "200-0000000001"]


def test_the_priority_part_is_compared_as_a_string():
    """As the reference does (zookeeper.md 6.1): Zuul pads it to three digits, others may not."""
    ids = ["99-0000000001", "100-0000000002", "099-0000000003"]
    assert sorted(ids, key=lambda i: NodeRequest(id=i).rank) == [
        "099-0000000003",
        "100-0000000002",
        "99-0000000001",
    ]


def test_a_moved_record_is_a_new_one_and_takes_the_time_of_the_move():
    node = Node(id="1", state=NodeState.BUILDING, state_time=1.0)
    moved = node.moved(NodeState.READY, at=2.0, interface_ip="192.0.2.1")
    assert (moved.state, moved.state_time, moved.interface_ip) == (NodeState.READY, 2.0, "192.0.2.1")
    assert (node.state, node.state_time) == (NodeState.BUILDING, 1.0)
    request = NodeRequest(id="200-1").moved(RequestState.FAILED, at=3.0)
    assert (request.state, request.state_time) == (RequestState.FAILED, 3.0)


def test_records_that_differ_in_their_stored_copy_only_are_equal():
    assert Node(id="1", version=1, zxid=5) == Node(id="1", version=2, zxid=9)


def test_the_label_of_a_node_is_its_first():
    assert Node(labels=("small", "large")).label == "small"
    assert Node().label == ""


def test_the_states_that_are_garbage_when_unlocked_are_those_of_the_protocol():
    """zookeeper.md 7.2: all but ready, hold, init, and testing, which is unused."""
    kept = {NodeState.READY, NodeState.HOLD, NodeState.INIT, NodeState.TESTING}
    assert set(NodeState) - kept == GARBAGE_WHEN_UNLOCKED


def test_an_uploads_path_is_where_the_reference_keeps_it():
    upload = Upload(image="bookworm", build="ab12", provider="north", id="0000000001")
    assert upload.path == "/nodepool/images/bookworm/builds/ab12/providers/north/images/0000000001"
