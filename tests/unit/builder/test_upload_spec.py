from __future__ import annotations

import pytest

from poolmgr.builder.files import ImageFiles
from poolmgr.builder.upload_spec import (
    LocalFile,
    Name,
    external_name,
    file_url,
    image_properties,
    image_spec,
    local_file,
    owner_of,
    tags_of,
)
from poolmgr.config.settings import DiskImage, OpenStackProvider, ProviderImage
from poolmgr.errors import ConfigError
from poolmgr.model.image import Build, Upload

BUILD = "a" * 32


@pytest.mark.parametrize(
    ("name_format", "name"),
    [
        ("{image_name}-{timestamp}", Name(text="debian-1700000000")),
        ("{image_name}-{upload_id}", Name(text="debian-0000000007")),
        ("ci {{x}} {timestamp}", Name(text="ci {x} 1700000000")),
        ("{image_name}", Name(text="debian-0000000007", completed=True)),
        ("fixed", Name(text="fixed-0000000007", completed=True)),
    ],
)
def test_the_name_in_the_cloud_differs_from_upload_to_upload(name_format, name):
    found = external_name(name_format, image="debian", started=1_700_000_000.9, upload_id="0000000007")
    assert found == name


@pytest.mark.parametrize(
    ("name_format", "words"),
    [
        ("{image}-{timestamp}", "there is no 'image'"),
        ("{}-{timestamp}", "cannot be used"),
        ("{image_name", "cannot be used"),
        ("{image_name.missing}", "cannot be used"),
        ("{timestamp:%Y}", "cannot be used"),
    ],
)
def test_a_bad_format_is_the_operators(name_format, words):
    with pytest.raises(ConfigError, match=words) as error:
        external_name(name_format, image="debian", started=1.0, upload_id="1")
    assert "{upload_id}" in str(error.value)


def test_properties_are_texts_and_the_provider_has_the_last_word():
    merged = image_properties(
        {"a": "manifest", "b": "manifest", "c": "manifest", "gone": 1},
        {"b": "image", "c": "image", "n": 3, "yes": True, "gone": None},
        {"c": "provider", "f": 1.5},
    )
    assert merged == {
        "a": "manifest", "b": "image", "c": "provider", "n": "3", "yes": "True", "f": "1.5",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("value", "tags"),
    [(None, ()), ("ci, debian", ("ci", "debian")), (["ci", 12], ("ci", "12")), ("", ()), ([], ())],
)
def test_tags(value, tags):
    assert tags_of(value) == tags


def test_what_a_cloud_is_asked_for():
    image = DiskImage(name="debian", metadata={"hw_disk_bus": "virtio", "min_disk": 8, "tags": ["ci"]})
    listed = ProviderImage(name="debian", meta={"hw_disk_bus": "scsi"})
    provider = OpenStackProvider(name="north", cloud="c", diskimages={"debian": listed})
    upload = Upload(
        id="0000000007", image="debian", build=BUILD, provider="north", external_name="n", format="raw"
    )
    file = LocalFile(path="/images/debian-a b.raw", size=9, md5="m", sha256="s")
    spec = image_spec(
        upload,
        file,
        image,
        provider,
        owner=owner_of(upload, "d-1"),
        manifest={"owner_specified.poolmgr.elements": "vm"},
        images_url="https://files.example.org/",
    )
    assert (spec.name, spec.path, spec.size, spec.disk_format) == ("n", file.path, 9, "raw")
    assert (spec.md5, spec.sha256, spec.tags) == ("m", "s", ("ci",))
    assert spec.properties == {
        "owner_specified.poolmgr.elements": "vm", "hw_disk_bus": "scsi", "min_disk": "8",
    }  # fmt: skip
    assert spec.url == "https://files.example.org/debian-a%20b.raw"
    assert spec.owner is not None
    assert (spec.owner.upload, spec.owner.build, spec.owner.deployment) == ("0000000007", BUILD, "d-1")


def test_where_a_cloud_fetches_it():
    assert file_url("http://x:81/images", "/var/i/a.qcow2") == "http://x:81/images/a.qcow2"


def _files(directory):
    return ImageFiles(directory, deployment="d", builder_id="b")


def test_the_builds_record_says_what_the_file_is(tmp_path):
    told = {"raw": {"size": 7, "md5": "0" * 32, "sha256": "1" * 64}}
    build = Build(id=BUILD, image="debian", files=told)
    found = local_file(_files(tmp_path), build, "raw")
    assert found == LocalFile(
        path=str(tmp_path / f"debian-{BUILD}.raw"), size=7, md5="0" * 32, sha256="1" * 64
    )


def test_a_build_of_nodepool_has_its_checksums_beside_it(tmp_path):
    path = tmp_path / f"debian-{BUILD}.qcow2"
    path.write_bytes(b"12345")
    path.with_name(path.name + ".sha256").write_text(f"{'2' * 64}  {path.name}\n")
    found = local_file(_files(tmp_path), Build(id=BUILD, image="debian"), "qcow2")
    assert found == LocalFile(path=str(path), size=5, sha256="2" * 64)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        local_file(_files(tmp_path), Build(id=BUILD, image="debian"), "raw")
