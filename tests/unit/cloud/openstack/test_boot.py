from __future__ import annotations

import base64

import pytest

from poolmgr.cloud.openstack.boot import checked_metadata, create_body, described
from poolmgr.errors import Rejected
from poolmgr.model.server import META_GROUPS, META_NODE_ID, Flavor, ServerSpec

FLAVOR = Flavor(id="f-1", name="small", vcpus=1, ram_mib=1024)


def spec(**more):
    basic = {"name": "np1", "flavor": FLAVOR, "image": "i-1", "image_is_id": True, "metadata": {}}
    return ServerSpec(**{**basic, **more})


def body(networks=({"uuid": "n-1"},), groups=(), microversion="2.67", **more):
    return create_body(
        spec(**more), image_id="i-1", networks=networks, groups=groups, microversion=microversion
    )["server"]


def test_a_plain_server_names_ids_only_and_nothing_that_was_not_asked_for():
    assert body() == {
        "name": "np1",
        "imageRef": "i-1",
        "flavorRef": "f-1",
        "metadata": {},
        "networks": ({"uuid": "n-1"},),
    }


def test_everything_that_can_be_asked_for_is_in_the_body():
    made = body(
        networks=[{"uuid": "n-1"}, {"port": "p-2"}],
        groups=("g-1",),
        key_name="infra",
        az="az2",
        config_drive=True,
        userdata="#cloud-config\n",
        metadata={"a": "b"},
    )
    assert made["networks"] == [{"uuid": "n-1"}, {"port": "p-2"}]
    assert made["security_groups"] == [{"name": "g-1"}]
    assert (made["key_name"], made["availability_zone"], made["config_drive"]) == ("infra", "az2", True)
    assert base64.b64decode(made["user_data"]) == b"#cloud-config\n"
    assert made["metadata"] == {"a": "b"}


@pytest.mark.parametrize(("networks", "said"), [("auto", "auto"), (None, None)])
def test_networks_may_be_left_to_nova_or_not_be_mentioned(networks, said):
    assert body(networks=networks).get("networks") == said


def test_userdata_beyond_novas_limit_is_refused_before_the_call():
    body(userdata="x" * 49_149)
    with pytest.raises(Rejected, match="65536 bytes in base64"):
        body(userdata="x" * 49_152)


def test_a_long_description_is_cut_and_a_long_owner_is_refused():
    assert len(body(metadata={META_GROUPS: "g" * 300})["metadata"][META_GROUPS]) == 255
    with pytest.raises(Rejected, match="nodepool_node_id"):
        body(metadata={META_NODE_ID: "0" * 256})
    with pytest.raises(Rejected):
        body(metadata={"k" * 256: "v"})


def test_values_of_metadata_become_text():
    assert body(metadata={"n": 5})["metadata"] == {"n": "5"}


def test_a_server_boots_from_a_new_volume_that_goes_with_it():
    made = body(boot_from_volume=True, volume_gib=30)
    assert "imageRef" not in made
    assert made["block_device_mapping_v2"] == [
        {
            "boot_index": 0,
            "uuid": "i-1",
            "source_type": "image",
            "destination_type": "volume",
            "volume_size": 30,
            "delete_on_termination": True,
        }
    ]


def test_a_volume_type_needs_a_newer_microversion():
    (device,) = body(boot_from_volume=True, volume_type="fast")["block_device_mapping_v2"]
    assert device["volume_type"] == "fast"
    with pytest.raises(Rejected, match=r"volume type fast: .* 2\.67 on, it is used with 2\.60"):
        body(boot_from_volume=True, volume_type="fast", microversion="2.60")
    with pytest.raises(Rejected, match="used with none"):
        body(boot_from_volume=True, volume_type="fast", microversion=None)


@pytest.mark.parametrize(("microversion", "tags"), [("2.52", ["a"]), ("2.47", None), (None, None)])
def test_tags_are_left_out_where_the_cloud_takes_none(microversion, tags):
    assert body(tags=("a",), microversion=microversion).get("tags") == tags


@pytest.mark.parametrize("tags", [("",), ("a/b",), ("a,b",), ("t" * 61,), tuple(map(str, range(51)))])
def test_tags_that_nova_would_refuse(tags):
    with pytest.raises(Rejected, match="server tag"):
        body(tags=tags)


def test_hints_for_the_scheduler_stand_beside_the_server():
    made = create_body(spec(hints={"group": "g-1"}), image_id="i", networks=None, groups=())
    assert made["os:scheduler_hints"] == {"group": "g-1"}
    assert "os:scheduler_hints" not in create_body(spec(), image_id="i", networks=None, groups=())


@pytest.mark.parametrize(("items", "fits"), [(3, True), (2, False), (0, False), (-1, True)])
def test_more_metadata_than_the_cloud_takes_is_refused(items, fits):
    metadata = {"a": "1", "b": "2", "c": "3"}
    if fits:
        assert checked_metadata(metadata, items) == metadata
    else:
        with pytest.raises(Rejected, match=f"3 items of server metadata: the cloud takes {items}"):
            checked_metadata(metadata, items)


def test_a_name_that_is_too_long_is_refused():
    with pytest.raises(Rejected, match="longer than 255"):
        body(name="n" * 256)


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"imageRef": "i"}, "server np1, image i, flavor f"),
        (
            {"imageRef": "i", "networks": [{"uuid": "n"}, {"port": "p"}]},
            "server np1, image i, flavor f, network n, p",
        ),
        ({"imageRef": "i", "networks": "auto"}, "server np1, image i, flavor f, network auto"),
        (
            {"imageRef": "i", "key_name": "k", "availability_zone": "z"},
            "server np1, image i, flavor f, key k, zone z",
        ),
        ({"block_device_mapping_v2": [{"uuid": "v"}]}, "server np1, image v, flavor f"),
    ],
)
def test_messages_say_what_a_create_call_asks_for(more, text):
    assert described({"server": {"name": "np1", "flavorRef": "f", "user_data": "secret", **more}}) == text
