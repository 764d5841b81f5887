"""The files of the demo."""

import json
from dataclasses import replace

import pytest

from poolmgr.cli.demo.plan import (
    DEMO_CLOUDS,
    DEMO_IMAGE,
    DEMO_LABELS,
    DEMO_TENANTS,
    Plan,
    as_file,
    builder_config,
    launcher_config,
    simcloud_config,
)
from poolmgr.config.load import load
from poolmgr.simcloud.config import load as load_simcloud
from poolmgr.simcloud.shapes import SHAPES

PLAN = Plan(clouds=DEMO_CLOUDS, labels=DEMO_LABELS, tenants=DEMO_TENANTS)
WITH_IMAGE = replace(PLAN, image=DEMO_IMAGE)


def test_the_demo_has_every_shape_of_cloud_that_launchers_tell_apart():
    assert {cloud.shape for cloud in DEMO_CLOUDS} == {"direct", "nat", "novanet", "v6", "tasks"} & set(SHAPES)


def test_the_pretend_clouds_are_what_simcloud_takes():
    config = load_simcloud(simcloud_config(PLAN))
    assert [cloud.name for cloud in config.clouds] == [cloud.name for cloud in DEMO_CLOUDS]
    assert all(cloud.boot.seconds == PLAN.boot for cloud in config.clouds)


def test_min_ready_can_be_switched_off():
    config = launcher_config(PLAN, zookeeper_port=1, ssh_port=2, ready=False)
    assert {label["min-ready"] for label in config["labels"]} == {0}


@pytest.mark.parametrize("port", [2181, None])
def test_the_launchers_file_is_valid(port, tmp_path):
    file = tmp_path / "np.yaml"
    file.write_text(as_file(launcher_config(PLAN, zookeeper_port=port, ssh_port=2022)))
    settings = load(str(file), environ={}, strict=True).settings
    assert list(settings.providers) == [cloud.name for cloud in DEMO_CLOUDS]
    assert settings.labels["debian-small"].min_ready == 2


def test_with_a_builder_labels_boot_from_its_image(tmp_path):
    file = tmp_path / "np.yaml"
    file.write_text(as_file(launcher_config(WITH_IMAGE, zookeeper_port=1, ssh_port=2022)))
    settings = load(str(file), environ={}, strict=True).settings
    for provider in settings.providers.values():
        (pool,) = provider.pools.values()
        assert {label.image.name for label in pool.labels.values()} == {DEMO_IMAGE.name}
        assert all(label.image.is_disk_image for label in pool.labels.values())
        assert {label.image.connection_port for label in pool.labels.values()} == {2022}


@pytest.mark.parametrize("listed", [True, False])
def test_the_builders_file_is_valid(listed, tmp_path):
    file = tmp_path / "np.yaml"
    config = builder_config(
        WITH_IMAGE,
        zookeeper_port=1,
        directory="/d",
        python="/usr/bin/python 3",
        web_port=8,
        paused=True,
        listed=listed,
    )
    file.write_text(as_file(config))
    settings = load(str(file), environ={}, strict=True).settings
    image = settings.diskimages[DEMO_IMAGE.name]
    assert image.build.dib_cmd == "'/usr/bin/python 3' -m poolmgr.simcloud.dib"
    assert image.pause
    assert settings.images_dir == "/d/images"
    assert settings.builder_webapp.port == 8
    assert [len(provider.diskimages) for provider in settings.providers.values()] == [int(listed)] * 5


def test_a_pool_has_the_labels_of_its_cloud_only():
    config = launcher_config(PLAN, zookeeper_port=1, ssh_port=2)
    labels = {p["name"]: [label["name"] for label in p["pools"][0]["labels"]] for p in config["providers"]}
    assert "floating" in labels["sim-nat"]
    assert "floating" not in labels["sim-direct"]


def test_files_can_be_read_back():
    assert json.loads(as_file({"a": [1]})) == {"a": [1]}
