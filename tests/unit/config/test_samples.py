"""The samples in etc/, and files shaped like those of a large production site."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from poolmgr.config.clouds import load_clouds
from poolmgr.config.load import examine, load
from poolmgr.config.problem import Severity
from poolmgr.config.settings import OpenStackProvider

ETC = Path(__file__).parents[3] / "etc"
FILES = Path(__file__).parent / "files"
CLOUDS = {"north": ("RegionOne",), "south": ("Main", "East")}
SITE = {"alpha": ("DFW", "ORD"), "beta": ("GRA1",), "arm": (), "gone": ()}
ENVIRON = {"NODEPOOL_BETA_MAX": "120", "NODEPOOL_MIRROR": "mirror.example.org"}


SECURE = {"nodepool.yaml": "nodepool-secure.yaml"}


@pytest.mark.parametrize("name", ["nodepool.yaml", "nodepool-minimal.yaml", "nodepool-builder.yaml"])
def test_a_sample_loads_without_any_finding(name):
    secure = str(ETC / SECURE[name]) if name in SECURE else None
    builder = name == "nodepool-builder.yaml"
    loaded = load(str(ETC / name), secure=secure, environ={}, strict=True, clouds=CLOUDS, builder=builder)
    assert loaded.warnings == ()
    assert loaded.settings.providers


def test_every_provider_of_the_tour_finds_its_cloud():
    clouds = load_clouds(paths=[str(ETC / "clouds.yaml")], environ={}, strict=True)
    assert clouds.warnings == ()
    assert clouds.all_regions() == CLOUDS
    loaded = load(str(ETC / "nodepool.yaml"), secure=str(ETC / "nodepool-secure.yaml"), environ={})
    users = [p for p in loaded.settings.providers.values() if isinstance(p, OpenStackProvider)]
    examined = [clouds.examine(user.cloud, user.region_name) for user in users]
    assert [one.problems for one in examined] == [()] * len(users)


def test_the_tour_shows_every_part():
    settings = load(str(ETC / "nodepool.yaml"), secure=str(ETC / "nodepool-secure.yaml"), environ={}).settings
    assert settings.zookeeper.hosts == "zk1.internal.example.org:2281,zk2.internal.example.org:2281/ci"
    assert settings.diskimages["debian-bookworm"].build.env_vars["MIRROR_TOKEN"] == "not-a-real-token"
    assert settings.providers["south"].pools["main"].labels["debian-large"].min_ram_mib == 16384
    assert settings.providers["lab"].pools["boards"].nodes[0].connection_port == 2222


def test_the_sample_of_a_builder_shows_every_key_of_images():
    text = (ETC / "nodepool-builder.yaml").read_text()
    document = yaml.safe_load(text)
    image_keys = {key for image in document["diskimages"] for key in image}
    ours = {"rebuild-cron", "qemu-img-options", "keep-builds", "keep-uploads", "validate"}
    assert image_keys >= ours | {"rebuild-age", "delete-after-upload", "keep-formats", "formats"}
    top = ["max-parallel-uploads", "upload-rate-limit", "image-retry-max", "image-orphan-grace", "images-url"]
    assert [key for key in (*top, "builder-webapp", "private-key", "username") if f"{key}:" not in text] == []
    images = load(str(ETC / "nodepool-builder.yaml"), environ={}).settings.diskimages
    assert (images["debian-bookworm"].build.rebuild_age, images["debian-rescue"].build.rebuild_cron) == (
        0,
        None,
    )
    assert images["debian-rescue"].build.validate is None


@pytest.mark.parametrize("name", ["ci-launcher.yaml", "ci-builder.yaml"])
def test_a_file_of_a_large_site_is_accepted_on_its_own_also_when_strict(name):
    examined = examine(str(FILES / name), environ=ENVIRON, strict=True, clouds=SITE, complete=False)
    assert examined.settings is not None
    assert {p.severity for p in examined.problems} == {Severity.WARNING}


def test_a_shared_list_of_labels_serves_every_provider():
    settings = examine(str(FILES / "ci-launcher.yaml"), environ=ENVIRON, clouds=SITE, complete=False).settings
    dfw, gra = settings.providers["alpha-dfw"], settings.providers["beta-gra1"]
    assert settings.providers["alpha-ord"].pools["main"].disabled
    assert settings.providers["alpha-ord"].pools["main"].labels == dfw.pools["main"].labels
    assert gra.pools["main"].limits == {"instances": 120}
    big = gra.pools["main"].labels["ubuntu-jammy-32GB"]
    assert (big.image.name, big.key_name, big.volume_gib, big.networks) == (
        "ubuntu-jammy",
        "infra-root-keys",
        80,
        ("public",),
    )


def test_images_inherit_over_two_levels():
    settings = examine(str(FILES / "ci-builder.yaml"), environ=ENVIRON, clouds=SITE, complete=False).settings
    assert list(settings.diskimages) == [
        "debian-bookworm",
        "ubuntu-noble",
        "ubuntu-noble-arm64",
        "centos-9-stream",
    ]
    build = settings.diskimages["debian-bookworm"].build
    assert build.elements[-2:] == ("dkms", "debian-minimal")
    assert build.env_vars["DIB_DISTRIBUTION_MIRROR"] == "http://mirror.example.org/debian"
    assert build.env_vars["DIB_AUTHORIZED_KEYS"].count("\n") == 2
    assert (build.rebuild_age, build.delete_after_upload, build.keep_formats) == (
        86400,
        True,
        ("qcow2",),
    )
    assert settings.diskimages["ubuntu-noble-arm64"].build.env_vars["DIB_CHECKSUM"] == "0"
    assert settings.diskimages["centos-9-stream"].build.release == "9"
    assert settings.providers["gone-west"].diskimages == {}


def test_a_site_file_with_an_unset_placeholder_says_which():
    [problem] = examine(str(FILES / "ci-launcher.yaml"), environ={}, clouds=SITE, complete=False).problems
    assert problem.what == "environment variable NODEPOOL_BETA_MAX is not set"
    assert problem.line == 85
