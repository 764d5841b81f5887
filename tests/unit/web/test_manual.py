"""The manual names every endpoint and every key, ours and the reference's."""

import re
from pathlib import Path

import pytest

from poolmgr.model.component import Component, ComponentKind
from poolmgr.model.image import Build, BuildState, ImageOrder, Order, Upload
from poolmgr.model.node import Node
from poolmgr.model.request import NodeRequest
from poolmgr.model.snapshot import Snapshot
from poolmgr.web.tables import ENDPOINTS, Question

MANUAL = Path(__file__).parents[3] / "doc" / "web.rst"


def full_snapshot():
    snapshot = Snapshot()
    snapshot.put_image("debian")
    snapshot.put_build(Build(image="debian", id="0f", state=BuildState.READY, url="http://b1"))
    snapshot.put_upload(Upload(image="debian", build="0f", provider="north", id="1"))
    snapshot.put_order(ImageOrder(image="debian", kind=Order.BUILD))
    snapshot.put_node(Node(id="1", provider="north"))
    snapshot.put_request(NodeRequest(id="1"))
    snapshot.put_component(Component(kind=ComponentKind.POOL, znode="x", supported_labels=("a",)))
    return snapshot


@pytest.mark.parametrize("path", ENDPOINTS)
def test_the_manual_has_every_key_of_a_table(path):
    (row,) = ENDPOINTS[path].rows(full_snapshot(), Question(now=0.0, retry_max=60.0))
    entries = re.split(r"^   \* - ", MANUAL.read_text(), flags=re.MULTILINE)
    (entry,) = [text for text in entries if text.startswith(f"``{path}``")]
    assert [key for key in row if f"``{key}``" not in entry] == []


@pytest.mark.parametrize("path", ENDPOINTS)
def test_every_column_has_its_key(path):
    endpoint = ENDPOINTS[path]
    (row,) = endpoint.rows(full_snapshot(), Question(now=0.0, retry_max=60.0))
    assert [column.key for column in (*endpoint.columns, *endpoint.more) if column.key not in row] == []
