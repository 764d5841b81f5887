"""What `hold` and `delete` make of a node."""

import pytest

from poolmgr.cli.delete import marked
from poolmgr.cli.hold import hold
from poolmgr.errors import Refused
from poolmgr.model.node import Node, NodeState

NODE = Node(id="1", state=NodeState.READY, state_time=5.0, comment="old", hold_expiration=7)


def test_a_hold_stores_reason_and_expiry():
    node = hold(NODE, 9.0, reason="look at it", expires=60)
    assert (node.state, node.state_time) == (NodeState.HOLD, 9.0)
    assert (node.comment, node.hold_expiration) == ("look at it", 60)


def test_a_hold_without_them_leaves_what_is_there():
    node = hold(NODE, 9.0, reason=None, expires=None)
    assert (node.comment, node.hold_expiration) == ("old", 7)


@pytest.mark.parametrize("state", [NodeState.DELETING, NodeState.DELETED])
def test_a_node_on_its_way_out_cannot_be_held(state):
    with pytest.raises(Refused, match="too late"):
        hold(Node(id="1", state=state), 9.0, reason=None, expires=None)


def test_delete_marks_a_node_once():
    node = marked(NODE, 9.0)
    assert (node.state, node.state_time) == (NodeState.DELETING, 9.0)
    assert marked(node, 11.0) is node
