"""Builds by the real diskimage-builder: killed in the middle, and carried to the end and to two clouds.

One installation goes through all of it, in the order of the tests: a build takes minutes.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess

import psutil
import pytest

from poolmgr.model.image import BuildState, UploadState
from poolmgr.simcloud import running
from tests.integration.images.real_site import IMAGE, KEPT, REAL_IMAGE, RealSite, eventually, fetched, fresh

pytestmark = [pytest.mark.images, pytest.mark.integration]

#: By name: the shape, and the format of its images.
CLOUDS = {"north": ("nat", "qcow2"), "south": ("direct", "raw")}
PATIENCE = 1500.0


@pytest.fixture(scope="module")
def sim(tmp_path_factory):
    assert os.geteuid() == 0, "diskimage-builder mounts, so this needs root"
    assert shutil.which("disk-image-create"), "no diskimage-builder: tools/images.sh installs it"
    clouds = {name: {"shape": shape} for name, (shape, _) in CLOUDS.items()}
    with running({"ssh": {"enabled": False}, "clouds": clouds}) as sim:
        yield sim


@pytest.fixture(scope="module")
def site(sim, tmp_path_factory):
    site = RealSite(
        fresh(KEPT),
        image=REAL_IMAGE,
        providers=[
            {"name": name, "cloud": name, "rate": 0, "diskimages": [{"name": IMAGE}]} for name in CLOUDS
        ],
        clouds_yaml=sim.write_clouds_yaml(tmp_path_factory.mktemp("clouds") / "clouds.yaml"),
    )
    yield site
    site.close()


@pytest.fixture(scope="module")
def built(site):
    """The build once it is everywhere; its record, and what is said of it meanwhile."""
    site.builder.start()

    def everywhere():
        site.builder.check()
        site.build(BuildState.READY)
        ready = [upload.provider for upload in site.uploads() if upload.state is UploadState.READY]
        return sorted(ready) == sorted(CLOUDS)

    eventually(everywhere, within=PATIENCE)
    return site.build(BuildState.READY)


def told(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_a_builder_that_is_killed_leaves_nothing_of_its_build(site):
    """It has a system in its chroot by then, with the machine's own trees mounted in it."""
    site.builder.start()
    first = eventually(lambda: site.build(BuildState.BUILDING), within=60)
    eventually(lambda: any(one.startswith("mount ") for one in site.left()), within=PATIENCE)
    assert any("disk-image-create" in one for one in site.left())
    site.builder.kill()
    eventually(lambda: site.left() == [], within=120)
    assert psutil.Process().children() != []  # the services that this needs are not among what went
    site.builder.start()
    eventually(lambda: next((b for b in site.builds() if b.id != first.id), None), within=60)
    site.builder.stop()
    eventually(lambda: site.left() == [], within=120)
    # The first one's record may stay until nobody builds the image, which a new build can be quick enough to delay.
    assert {b.id for b in site.builds()} <= {first.id}


def test_the_record_tells_of_whole_files(site, built):
    assert built.format_names == ("qcow2", "raw")
    assert (built.rc, built.reason, built.failures) == (0, None, 0)
    for image_format in built.format_names:
        path = site.images / f"{built.name}.{image_format}"
        file = built.file(image_format)
        assert file.size == path.stat().st_size
        for name in ("md5", "sha256"):
            assert told(f"{name}sum", str(path)).split()[0] == getattr(file, name)


def test_qemu_knows_both_files_and_finds_the_same_disk_in_them(site, built):
    qcow2, raw = (str(site.images / f"{built.name}.{one}") for one in built.format_names)
    info = json.loads(told("qemu-img", "info", "--output=json", qcow2))
    assert (info["format"], info["virtual-size"]) == ("qcow2", os.stat(raw).st_size)
    assert "identical" in told("qemu-img", "compare", "-f", "qcow2", "-F", "raw", qcow2, raw)


def test_the_disk_has_a_partition_to_boot_from(site, built):
    table = json.loads(told("sfdisk", "--json", str(site.images / f"{built.name}.raw")))["partitiontable"]
    assert table["label"] == "dos"
    [partition] = table["partitions"]
    assert (partition["bootable"], partition["type"]) == (True, "83")


def test_the_manifest_lists_packages_and_elements(site, built):
    manifest = json.loads(fetched(f"{built.url}/manifest/{built.name}"))
    versions = {package["name"]: package["version"] for package in manifest["packages"]}
    assert {"bash", "cloud-init", "isc-dhcp-client", "openssh-server"} <= versions.keys()
    assert any(name.startswith("linux-image-") for name in versions)
    assert all(versions.values())
    assert manifest["elements"] == REAL_IMAGE["elements"]
    assert {name: file["sha256"] for name, file in manifest["files"].items()} == {
        name: built.file(name).sha256 for name in built.format_names
    }


def test_the_log_is_served_to_its_end(built):
    log = fetched(f"{built.url}/build-log/{built.name}")
    assert log.splitlines()[-1] == "Exit code: 0"
    assert "poolmgr: released" not in log, "diskimage-builder left something mounted"


def test_the_commands_show_it(site, built):
    [row] = json.loads(site.command("dib-image-list", "--json"))
    assert (row["id"], row["state"], row["exit_code"]) == (built.name, "ready", 0)
    assert row["sizes"].keys() == set(built.format_names)
    assert built.name in site.command("dib-image-list")


def test_the_clouds_have_these_very_bytes(site, built, sim):
    for name, (_, image_format) in CLOUDS.items():
        [upload] = [one for one in site.uploads() if one.provider == name]
        [image] = [one for one in json.loads(fetched(f"{sim.url}/_sim/{name}/images")) if one["mine"]]
        file = built.file(image_format)
        assert (image["id"], image["size"]) == (upload.external_id, file.size)
        assert upload.sha256 == file.sha256


def test_nothing_else_is_left(site, built):
    eventually(lambda: site.left() == [], within=30)
    ends = {"poolmgr.json", "manifest.json", "d"} | {
        f"{one}{kind}" for one in built.format_names for kind in ("", ".md5", ".sha256")
    }
    wanted = {f"{built.name}.{end}" for end in ends} | {"builder_id.txt", ".poolmgr-builder.lock"}
    eventually(lambda: {path.name for path in site.images.iterdir()} == wanted, within=60)


def test_providers_that_do_not_want_it_any_more_lose_it(site, built, sim):
    """The installation is kept as it is then: with its build, and in no cloud."""
    site.change(providers=[{**one, "diskimages": []} for one in site.config["providers"]])
    eventually(lambda: site.uploads() == [], within=120)
    for name in CLOUDS:
        assert [one for one in json.loads(fetched(f"{sim.url}/_sim/{name}/images")) if one["mine"]] == []
    assert site.build(BuildState.READY).id == built.id
    assert site.builder.stop()
