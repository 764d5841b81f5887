"""Images as the two versions of the Image API write them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from poolmgr.cloud.openstack.image_record import (
    image_of,
    image_of_headers,
    image_of_v1,
    marks_of,
    new_image,
    new_image_headers,
    patch_of,
    properties_of,
)
from poolmgr.errors import ConfigError
from poolmgr.model.cloud_image import ImageOwner, ImageSpec, ImageStatus, owner_of_properties

OWNER = ImageOwner(provider="north", image="debian", build="b-1", upload="0000000001", deployment="d-1")
SPEC = ImageSpec(name="debian-1", path="/p", size=5, md5="aa", sha256="bb", owner=OWNER, disk_format="raw")

#: As Glance Zed shows an image (shortened).
V2 = {
    "hw_disk_bus": "virtio",
    "owner_specified.poolmgr.image": "debian",
    "nodepool_upload_id": "0000000001",
    "nodepool_provider_name": "north",
    "name": "debian-1",
    "disk_format": "raw",
    "container_format": "bare",
    "visibility": "private",
    "size": 5,
    "virtual_size": None,
    "status": "active",
    "checksum": "aa",
    "protected": False,
    "min_ram": 512,
    "min_disk": 8,
    "owner": "p1",
    "os_hidden": False,
    "os_hash_algo": "sha512",
    "os_hash_value": "cc",
    "id": "i-1",
    "created_at": "2026-11-22T22:13:00Z",
    "updated_at": "2026-11-22T22:13:04Z",
    "tags": ["ci"],
    "self": "/v2/images/i-1",
    "file": "/v2/images/i-1/file",
    "schema": "/v2/schemas/image",
}


def test_an_image_of_version_2():
    image = image_of(V2)
    assert (image.id, image.name, image.status, image.size) == ("i-1", "debian-1", ImageStatus.ACTIVE, 5)
    assert (image.md5, image.hash_algo, image.hash_value) == ("aa", "sha512", "cc")
    assert (image.min_disk_gib, image.min_ram_mib, image.project_id) == (8, 512, "p1")
    assert image.created_at == 1795385580.0
    assert set(image.properties) == {
        "hw_disk_bus", "owner_specified.poolmgr.image", "nodepool_upload_id", "nodepool_provider_name",
    }  # fmt: skip
    assert image.owner is not None
    assert image.owner.upload == "0000000001"


def test_an_image_of_version_1_in_a_list_and_in_headers():
    fields = {"id": "i-1", "name": "debian-1", "status": "active", "size": 5, "checksum": "aa", "min_disk": 8,
              "is_public": False, "protected": True, "owner": "p1", "created_at": "2026-11-22T22:13:00.000000",
              "properties": {"hw_disk_bus": "virtio", "none": None}}  # fmt: skip
    listed = image_of_v1(fields)
    assert (listed.visibility, listed.protected, listed.min_disk_gib) == ("private", True, 8)
    assert listed.created_at == 1795385580.0
    assert listed.properties == {"hw_disk_bus": "virtio"}
    headers = {f"X-Image-Meta-{k.title()}": str(v) for k, v in fields.items() if k != "properties"}
    headers |= {"X-Image-Meta-Property-hw_disk_bus": "virtio", "Content-Length": "0"}
    assert image_of_headers(headers) == listed
    assert image_of_headers({"Content-Length": "0"}) is None


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("queued", ImageStatus.QUEUED),
        ("pending_delete", ImageStatus.DELETED),
        ("deactivated", ImageStatus.DEACTIVATED),
        ("something new", ImageStatus.OTHER),
        (None, ImageStatus.OTHER),
    ],
)
def test_the_states_of_an_image(word, status):
    assert image_of({"id": "i", "status": word}).status is status


def test_whose_an_image_is_can_be_read_from_its_marks():
    marks = marks_of(SPEC, deployment="d-9", call="c-1")
    assert owner_of_properties(marks) == OWNER
    assert marks["owner_specified.poolmgr.md5"] == "aa"
    nobodys = marks_of(replace(SPEC, owner=None, md5="", protected=True), deployment="d-9", call="c-1")
    assert owner_of_properties(nobodys) is None
    assert nobodys == {
        "owner_specified.poolmgr.deployment": "d-9",
        "owner_specified.poolmgr.image": "debian-1",
        "owner_specified.poolmgr.call": "c-1",
        "owner_specified.poolmgr.protected": "true",
        "owner_specified.poolmgr.sha256": "bb",
    }


def test_properties_are_texts_and_the_agents_come_with_them():
    spec = replace(
        SPEC, properties={"hw_disk_bus": "scsi", "vm_mode": "xen", "min_disk": "12"}, min_ram_mib=64
    )
    properties, numbers = properties_of(spec, {"vm_mode": "hvm", "xenapi_use_agent": "False"}, {"mark": "x"})
    assert properties == {"hw_disk_bus": "scsi", "vm_mode": "xen", "xenapi_use_agent": "False", "mark": "x"}
    assert numbers == {"min_disk": 12, "min_ram": 64}
    assert properties_of(replace(spec, min_disk_gib=9), {}, {})[1]["min_disk"] == 9


@pytest.mark.parametrize("wrong", [{"owner": "x"}, {"visibility": "public"}, {"min_disk": "ten"}])
def test_what_cannot_be_a_property(wrong):
    with pytest.raises(ConfigError, match=f"debian-1: .*{next(iter(wrong))}"):
        properties_of(replace(SPEC, properties=wrong), {}, {})


def test_what_is_asked_of_version_2():
    spec = replace(SPEC, tags=("ci",), protected=True)
    assert new_image(spec, {"hw_disk_bus": "virtio"}, {"min_disk": 8, "min_ram": 0}) == {
        "name": "debian-1", "disk_format": "raw", "container_format": "bare", "visibility": "private",
        "protected": True, "tags": ["ci"], "min_disk": 8, "min_ram": 0, "hw_disk_bus": "virtio",
    }  # fmt: skip


def test_what_is_asked_of_version_1():
    headers = new_image_headers(SPEC, {"nodepool_upload_id": "1"}, {"min_disk": 8})
    assert headers["x-image-meta-name"] == "debian-1"
    assert headers["x-image-meta-is_public"] == "False"
    assert headers["x-image-meta-min_disk"] == "8"
    assert headers["x-image-meta-property-nodepool_upload_id"] == "1"
    for wrong in ("d\r\nx-evil: 1", "dé"):
        with pytest.raises(ConfigError):
            new_image_headers(replace(SPEC, name=wrong), {}, {})


def test_a_patch_names_properties_as_pointers():
    assert patch_of({"a/b~c": "x"}, {"protected": False}) == [
        {"op": "add", "path": "/a~1b~0c", "value": "x"},
        {"op": "replace", "path": "/protected", "value": False},
    ]
