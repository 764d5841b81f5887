"""Records as znode data: what is written, what is accepted, what is refused."""

from __future__ import annotations

import datetime
import json
from dataclasses import fields, replace
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolmgr.errors import BadRecord
from poolmgr.model.component import Component, ComponentKind, ComponentState
from poolmgr.model.image import Build, BuildState, ImageOrder, Order, Upload, UploadState
from poolmgr.model.node import Node, NodeState
from poolmgr.model.request import NodeRequest, RequestState
from poolmgr.store.codec import decode, encode

KINDS = (Node, NodeRequest, Build, Upload)
NODE_KEYS = {
    *("state", "state_time", "type", "provider", "pool", "cloud", "region", "az", "launcher", "allocated_to"),
    *("tenant_name", "requestor", "created_time", "external_id", "hostname", "interface_ip", "public_ipv4"),
    *("private_ipv4", "public_ipv6", "host_id", "connection_type", "connection_port", "ssh_port", "username"),
    *("python_path", "shell_type", "host_keys", "image_id", "resources", "attributes", "slot", "driver_data"),
    *("node_properties", "user_data", "hold_job", "comment", "hold_expiration"),
}


def written(record: object) -> dict[str, object]:
    body = json.loads(encode(record))
    assert isinstance(body, dict)
    return body


def read(kind: type, /, **body: object):
    return decode(kind, json.dumps(body).encode())


def test_a_node_is_written_with_every_key_of_the_specification():
    body = written(Node())
    assert set(body) == NODE_KEYS
    assert body["host_keys"] == body["type"] == []
    assert body["python_path"] == "auto"
    assert body["connection_port"] == body["ssh_port"] == 22
    assert body["state"] == "init"


def test_a_request_is_written_with_every_key_of_the_specification():
    body = written(NodeRequest(labels=("a",)))
    assert len(body) == 13
    assert body["node_types"] == ["a"]
    assert body["reuse"] is True


def test_keys_that_are_absent_get_the_references_defaults():
    node = read(Node, state="ready")
    assert (node.username, node.connection_port, node.connection_type) == ("zuul", 22, "ssh")
    assert (node.python_path, node.labels, node.host_keys, node.resources) == ("auto", (), (), None)
    request = read(NodeRequest, state="requested")
    assert (request.reuse, request.relative_priority, request.labels, request.nodes) == (True, 0, (), ())
    for kind, state in ((Build, "ready"), (Upload, "ready")):
        record = read(kind, state=state)
        assert (record.username, record.python_path, record.shell_type) == ("zuul", "/usr/bin/python2", None)
    assert read(Component, kind="pool").state is ComponentState.RUNNING
    assert read(Component).priority == 100


def test_null_is_none_where_none_may_be_and_else_the_default():
    assert read(Node, state="ready", username=None).username is None
    assert read(Node, state="ready", host_keys=None, type=None, state_time=None).host_keys == ()
    assert read(Node, state="ready", connection_port=None).connection_port is None
    request = read(NodeRequest, state="requested", reuse=None, relative_priority=None, nodes=None)
    assert (request.reuse, request.relative_priority, request.nodes) == (True, 0, ())


@pytest.mark.parametrize(
    ("body", "port"),
    [
        ({"ssh_port": 2222}, 2222),
        ({"connection_port": 5986}, 5986),
        ({"connection_port": 5986, "ssh_port": 22}, 5986),
        ({"connection_port": {"8080": 1}}, {"8080": 1}),
    ],
)
def test_the_old_name_of_the_port_counts_only_without_the_new_one(body, port):
    node = read(Node, state="ready", **body)
    assert node.connection_port == port
    assert node.extra == {}
    assert written(node)["ssh_port"] == written(node)["connection_port"] == port


def test_a_plain_string_as_type_is_the_only_label():
    assert read(Node, state="ready", type="small").labels == ("small",)
    with pytest.raises(BadRecord):
        read(NodeRequest, state="requested", node_types="small")


@pytest.mark.parametrize(
    ("stored", "seconds"), [(None, None), (0, 0), (600, 600), (1.5, 1.5), ("600", 0), ([], 0), (True, 0)]
)
def test_a_hold_expiration_that_is_no_number_is_zero(stored, seconds):
    assert read(Node, state="hold", hold_expiration=stored).hold_expiration == seconds


def test_unknown_keys_are_kept_but_never_win_over_known_ones():
    node = read(Node, state="ready", id="0000000001", zuul_99={"a": [1]})
    assert node.extra == {"id": "0000000001", "zuul_99": {"a": [1]}}
    assert node.id == ""
    assert {"id", "zuul_99"} <= set(written(node))
    assert written(replace(node, extra={"state": "nonsense"}))["state"] == "ready"


def test_opaque_values_come_back_as_they_were():
    data = {"job": "ä€😀", "n": 1.5, "deep": [{"x": None}], "big": 2**70}
    request = read(NodeRequest, state="requested", requestor_data=data)
    assert request.requestor_data == data
    assert written(request)["requestor_data"] == data


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"\xff\xfe",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b"{}",
        b'{"state": null}',
        b'{"state": "exploded"}',
        b'{"state": ["ready"]}',
        b'{"state": 5}',
        b'{"state": "ready", "state": {}}',
        b"[" * 100_000,
        b'{"state": "' + b"9" * 5000,
    ],
    ids=lambda data: repr(data[:20]),
)
def test_what_is_no_record_is_refused(kind, data):
    with pytest.raises(BadRecord):
        decode(kind, data)


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [
        (Node, "state_time", "now"),
        (Node, "state_time", True),
        (Node, "allocated_to", ["x"]),
        (Node, "provider", 5),
        (Node, "provider", {}),
        (Node, "type", [1]),
        (Node, "type", {"a": 1}),
        (Node, "host_keys", "ssh-rsa A"),
        (Node, "resources", [1]),
        (Node, "slot", "one"),
        (NodeRequest, "relative_priority", "high"),
        (NodeRequest, "relative_priority", 1.5),
        (NodeRequest, "reuse", "no"),
        (NodeRequest, "nodes", [None]),
        (NodeRequest, "declined_by", "pool"),
        (NodeRequest, "tenant_name", 3),
        (Upload, "external_id", 3),
    ],
)
def test_a_value_of_a_wrong_type_is_refused_with_its_key(kind, key, value):
    state = "requested" if kind is NodeRequest else "ready"
    with pytest.raises(BadRecord, match=key):
        read(kind, state=state, **{key: value})


def test_numbers_without_end_are_refused():
    for number in (b"NaN", b"Infinity", b"-Infinity", b"1e999"):
        with pytest.raises(BadRecord, match="state_time"):
            decode(Node, b'{"state": "ready", "state_time": %s}' % number)


def test_a_whole_number_may_come_as_a_float():
    priority = read(NodeRequest, state="requested", relative_priority=3.0).relative_priority
    assert (priority, type(priority)) == (3, int)


def test_a_build_leaves_out_what_is_empty():
    assert not {"builder", "builder_id", "formats"} & set(written(Build()))
    body = written(Build(builder="host", builder_id="id", formats="qcow2,raw"))
    assert (body["builder"], body["builder_id"], body["formats"]) == ("host", "id", "qcow2,raw")


def test_components_have_sorted_keys_and_only_pools_those_of_pools():
    pool = Component(kind=ComponentKind.POOL, hostname="h", supported_labels=("a",))
    keys = list(json.loads(encode(pool)))
    assert keys == sorted(keys)
    assert {"id", "name", "provider_name", "supported_labels", "priority", "paused"} < set(keys)
    assert set(written(Component(kind=ComponentKind.LAUNCHER))) == {
        *("hostname", "kind", "model_api", "state", "version")
    }


def test_a_component_of_an_unknown_state_is_taken_for_running():
    assert read(Component, kind="pool", state="meditating").state is ComponentState.RUNNING
    with pytest.raises(BadRecord):
        read(Component, kind="starship")


def test_what_is_not_stored_is_not_stored():
    node = Node(id="0000000001", version=3, zxid=4)
    assert not {"version", "zxid", "extra"} & set(written(node))
    again = decode(Node, encode(node), id="0000000001", version=7, zxid=8)
    assert (again, again.version, again.zxid) == (node, 7, 8)


def test_values_from_configuration_files_can_be_stored():
    attributes = MappingProxyType(
        {"zone": MappingProxyType({"a": (1, 2)}), "day": datetime.date(2026, 11, 22)}
    )
    assert written(Node(attributes=attributes))["attributes"] == {"zone": {"a": [1, 2]}, "day": "2026-11-22"}


def test_what_json_cannot_say_or_zookeeper_not_hold_is_refused():
    with pytest.raises(BadRecord, match="object"):
        encode(Node(user_data=object()))
    with pytest.raises(BadRecord, match="fit"):
        encode(NodeRequest(requestor_data="x" * 1_000_001))


TEXT = st.text(max_size=8)
OPAQUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
LABELS = st.lists(TEXT, max_size=3).map(tuple)
TIMES = st.floats(allow_nan=False, allow_infinity=False)


@given(
    st.builds(
        NodeRequest,
        state=st.sampled_from(RequestState),
        state_time=TIMES,
        labels=LABELS,
        nodes=LABELS,
        reuse=st.booleans(),
        requestor_data=OPAQUE,
        provider=st.none() | TEXT,
        relative_priority=st.integers(),
        created_time=st.none() | TIMES,
    )
)
def test_a_request_comes_back_as_it_was(request):
    assert decode(NodeRequest, encode(request)) == request


@given(
    st.builds(
        Node,
        state=st.sampled_from(NodeState),
        state_time=TIMES,
        labels=LABELS,
        host_keys=LABELS,
        external_id=OPAQUE,
        connection_port=OPAQUE,
        resources=st.none() | st.dictionaries(TEXT, st.integers()),
        slot=st.none() | st.integers(),
        driver_data=OPAQUE,
        extra=st.dictionaries(TEXT.map("x-{}".format), OPAQUE),
    )
)
def test_a_node_comes_back_as_it_was(node):
    again = decode(Node, encode(node))
    assert again == node
    assert again.extra == node.extra


@given(st.binary(max_size=60))
def test_any_bytes_are_a_record_or_refused(data):
    for kind in (*KINDS, Component):
        try:
            decode(kind, data)
        except BadRecord:
            continue


def test_every_record_has_a_default_for_each_key_but_state():
    for kind in (*KINDS, Component):
        names = {f.metadata.get("key", f.name) for f in fields(kind) if f.metadata.get("stored", True)}
        assert "state" in names
    assert decode(Build, b'{"state": "failed"}').state is BuildState.FAILED
    assert decode(Upload, b'{"state": "uploading"}').state is UploadState.UPLOADING


@pytest.mark.parametrize(("kind", "keys"), [(Build, 5), (Upload, 8)])
def test_what_is_ours_alone_is_left_out_while_it_says_nothing(kind, keys):
    record = kind(state=kind().state, state_time=1.0)
    assert len(written(record)) == keys  # as nodepool-builder writes them
    said = replace(record, reason="why", failures=2, duration=0.0)
    assert written(said).keys() - written(record).keys() == {"reason", "failures", "duration"}
    assert decode(kind, encode(said)) == said


def test_files_of_a_build_and_providers_without_it_survive():
    files = {"raw": {"size": 7, "sha256": "ab"}}
    build = Build(formats="raw", files=files, withdrawn=("north",))
    read = decode(Build, encode(build))
    assert (read.files, read.withdrawn, read.file("raw").size) == (files, ("north",), 7)
    assert written(Build()).keys().isdisjoint({"files", "withdrawn"})


def test_an_order_without_words_has_no_keys():
    assert written(ImageOrder(image="i", kind=Order.PAUSE, at=5.0, version=3)) == {}
    assert written(ImageOrder(by="me@here")) == {"by": "me@here"}
