"""A builder on real OpenStack services: its image goes to two projects, servers boot from it, and all of it goes again.

The image is that of tools/images.sh, built by the real diskimage-builder, where that has run on this machine; else one
that only looks like an image. Which of them is printed.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from poolmgr.model.image import BuildState, Upload, UploadState
from poolmgr.model.server import ServerStatus
from tests.integration.images.real_site import IMAGE, KEPT, REAL_IMAGE, RealSite, copy_of
from tests.integration.openstack.site import CLOUDS_YAML, PATIENCE, eventually

pytestmark = pytest.mark.openstack

#: Projects, and the format of the images that each gets.
FORMATS = {"pool-a": "qcow2", "pool-b": "raw"}
PRETENDED = {
    **REAL_IMAGE,
    "dib-cmd": f"{shlex.quote(sys.executable)} -m poolmgr.simcloud.dib",
    "env-vars": {"SIMDIB_SIZE": str(8 << 20), "SIMDIB_SECONDS": "0.5"},
}
#: More than the uploads of a real image take on a busy machine, in seconds.
LONG = 900.0


def providers() -> list[dict[str, Any]]:
    return [
        {"name": name, "cloud": name, "rate": 0, "diskimages": [{"name": IMAGE}], "pools": []}
        for name in FORMATS
    ]


def clouds_yaml(directory: Path) -> Path:
    """The logins, with the format of each project's images."""
    document = yaml.safe_load(CLOUDS_YAML.read_text())
    for name, image_format in FORMATS.items():
        document["clouds"][name]["image_format"] = image_format
    path = directory / "clouds.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


@pytest.fixture(scope="module")
def site(tmp_path_factory, admin):
    """An installation that goes on from that of tools/images.sh, on the same file system."""
    directory = tmp_path_factory.mktemp("images")
    real = any((KEPT / "images").glob(f"{IMAGE}-*.manifest.json"))
    if real:
        copy_of(KEPT, directory)
    print("a real image of", KEPT) if real else print("a pretended image: tools/images.sh has made none")
    site = RealSite(
        directory,
        image=REAL_IMAGE if real else PRETENDED,
        providers=providers(),
        clouds_yaml=clouds_yaml(directory),
    )
    site.builder.start()
    yield site
    site.close()


def uploaded(site: RealSite) -> dict[str, Upload] | None:
    """The uploads by provider once all are ready."""
    site.builder.check()
    found = {one.provider: one for one in site.uploads() if one.state is UploadState.READY}
    return found if found.keys() == FORMATS.keys() else None


def images(admin) -> tuple[str, ...]:
    return admin.left()["images"]


def test_a_builder_serves_two_projects_a_server_boots_and_nothing_stays(site, admin, projects):
    before = admin.left()
    uploads = eventually(lambda: uploaded(site), within=LONG)
    build = site.build(BuildState.READY)
    print("build", build.name, "of", {name: build.file(name).size for name in build.format_names}, "bytes")
    assert {one.build for one in uploads.values()} == {build.id}
    for name, image_format in FORMATS.items():
        image = projects[name].cloud.get_image(uploads[name].external_id)
        file = build.file(image_format)
        assert (image.size, image.md5, image.disk_format) == (file.size, file.md5, image_format)
        assert (image.owner.build, image.owner.image) == (build.id, IMAGE)
        assert image.properties["owner_specified.poolmgr.sha256"] == file.sha256

    for name, upload in uploads.items():
        project = projects[name]
        owner = project.owner()
        server = project.boot(owner, image=upload.external_id, image_is_id=True)
        assert server.status is ServerStatus.ACTIVE
        project.remove(server, owner)

    gone = uploads["pool-a"]
    site.command(
        "image-delete",
        "--provider",
        "pool-a",
        "--image",
        IMAGE,
        "--build-id",
        gone.build,
        "--upload-id",
        gone.id,
    )
    eventually(lambda: gone.external_id not in images(admin), within=PATIENCE)
    assert uploads["pool-b"].external_id in images(admin)

    site.change(providers=[{**one, "diskimages": []} for one in site.config["providers"]])
    eventually(lambda: site.uploads() == [], within=PATIENCE)
    assert admin.left() == before
    assert site.builder.stop()
