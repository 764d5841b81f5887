from __future__ import annotations

import pytest

from poolmgr.config.settings import BootImage, PoolLabel
from poolmgr.model.node import Node
from poolmgr.model.request import NodeRequest
from poolmgr.model.server import owner_of_metadata
from poolmgr.policy.properties import configured_properties, dynamic_properties, owner_metadata

REQUEST = NodeRequest(
    id="200-0000000001",
    labels=("small", "large"),
    requestor="zuul",
    requestor_data={"job_name": "unit"},
    relative_priority=3,
    event_id="e1",
    created_time=12.5,
    tenant_name="t1",
)


def label(**fields) -> PoolLabel:
    return PoolLabel(name="small", image=BootImage(name="i", is_disk_image=True), **fields)


def test_the_metadata_says_whose_server_it_is_in_the_keys_that_nodepool_reads():
    node = Node(id="0000000007", provider="north", pool="main", labels=("small",))
    metadata = owner_metadata(node, image="bookworm", deployment="d1", attempt=2)
    assert metadata == {
        "nodepool_node_id": "0000000007",
        "nodepool_provider_name": "north",
        "nodepool_pool_name": "main",
        "groups": "north,bookworm,small",
        "poolmgr_deployment": "d1",
        "poolmgr_attempt": "2",
    }
    owner = owner_of_metadata(metadata)
    assert owner is not None
    assert (owner.provider, owner.node_id, owner.deployment, owner.attempt) == ("north", node.id, "d1", 2)


def test_configured_properties_are_strings_whatever_yaml_made_of_them():
    assert configured_properties(label(instance_properties={"a": 1, 2: True, "c": "x"})) == {
        "a": "1",
        "2": "True",
        "c": "x",
    }


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("{request.id}", "200-0000000001"),
        ("{request.labels}", "['small', 'large']"),
        ("{request.labels[1]}", "large"),
        ("{request.requestor}-{request.tenant_name}", "zuul-t1"),
        ("{request.requestor_data[job_name]}", "unit"),
        ("{request.relative_priority} {request.event_id} {request.created_time}", "3 e1 12.5"),
        ("plain", "plain"),
        ("{request.nothing}", None),
        ("{node.id}", None),
        ("{}", None),
        ("{0}", None),
        ("{request.labels[9]}", None),
        ("{request.requestor_data[no]}", None),
        ("{request.id", None),
        ("{request.id!z}", None),
        ("{request.relative_priority[1]}", None),
        ("{request.requestor_data:>9}", None),
    ],
)
def test_dynamic_properties_are_filled_in_from_the_request(template, value):
    assert list(dynamic_properties(label(dynamic_instance_properties={"p": template}), REQUEST)) == [
        ("p", value)
    ]


def test_without_a_request_there_are_no_dynamic_properties():
    assert list(dynamic_properties(label(dynamic_instance_properties={"p": "x"}), None)) == []
