"""The lines `poolmgr request` tells."""

import pytest

from poolmgr.cli.visit import label_warnings, progress_text
from poolmgr.model.component import Component, ComponentKind
from poolmgr.model.node import Node, NodeState
from poolmgr.model.request import NodeRequest, RequestState
from poolmgr.model.snapshot import Snapshot


def node(state, provider="north"):
    return Node(id="1", state=state, provider=provider)


@pytest.mark.parametrize(
    ("request_", "nodes", "text"),
    [
        (NodeRequest(), [], "requested"),
        (NodeRequest(declined_by=("a", "b")), [], "requested, declined by 2 so far"),
        (
            NodeRequest(state=RequestState.PENDING),
            [node(NodeState.BUILDING), node(NodeState.READY), node(NodeState.BUILDING)],
            "pending: 2 building, 1 ready on north",
        ),
    ],
)
def test_progress_tells_state_and_nodes(request_, nodes, text):
    assert progress_text(request_, nodes) == text


def snapshot_with_labels(*labels):
    snapshot = Snapshot()
    snapshot.put_component(Component(znode="h1", kind=ComponentKind.POOL, supported_labels=labels))
    return snapshot


def test_labels_that_a_pool_offers_need_no_warning():
    assert label_warnings(["debian"], snapshot_with_labels("debian")) == []


def test_an_unknown_label_is_told_once_with_the_nearest_known_one():
    lines = label_warnings(["debain", "debain"], snapshot_with_labels("debian", "fedora"))
    assert lines == ["no running launcher offers label debain; did you mean debian?"]


def test_an_unknown_label_without_a_near_one_is_told_what_there_is():
    (line,) = label_warnings(["zzz"], snapshot_with_labels("fedora", "debian"))
    assert line.endswith("(offered: debian, fedora)")


def test_without_launchers_the_wait_is_explained():
    assert label_warnings(["debian"], Snapshot()) == [
        "no launcher is running: the request waits until one starts"
    ]
