"""A machine that runs from an image which the real diskimage-builder made and a builder uploaded: login by ssh.

Needs what tools/images.sh leaves. Runs inside the network namespace of the variant `qemu`, where the addresses are.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from poolmgr.model.image import UploadState
from tests.integration.images.real_site import IMAGE, KEPT, REAL_IMAGE, RealSite, copy_of
from tests.integration.openstack.site import CLOUDS_YAML, eventually, real_site

pytestmark = pytest.mark.openstack_vm

KEY = "suite-image-vm"
CLOUD = "pool-a"
#: A boot under emulation takes three minutes when the machine is calm.
PATIENCE = 1200.0


@pytest.fixture
def key(tmp_path) -> Path:
    path = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return path


@pytest.fixture
def site(tmp_path, admin):
    assert any((KEPT / "images").glob(f"{IMAGE}-*.qcow2")), f"no image in {KEPT}: run tools/images.sh first"
    site = RealSite(
        copy_of(KEPT, tmp_path / "site"),
        image=REAL_IMAGE,
        providers=[{"name": CLOUD, "cloud": CLOUD, "rate": 0, "diskimages": [{"name": IMAGE}], "pools": []}],
        clouds_yaml=CLOUDS_YAML,
    )
    site.builder.start()
    yield site
    site.close()


def test_a_machine_from_a_built_image_answers_ssh(site, admin, key):
    before = admin.left()
    project = real_site(CLOUD, cores=None)
    project.cloud.import_key(KEY, key.with_suffix(".pub").read_text())
    owner = project.owner()
    try:
        upload = eventually(
            lambda: next((one for one in site.uploads() if one.state is UploadState.READY), None),
            within=PATIENCE,
        )
        server = project.boot(
            owner, image=upload.external_id, image_is_id=True, flavor_name="m1.small", key_name=KEY
        )
        address = project.expose(server, owner).interface_ip
        assert eventually(lambda: login(address, key), within=PATIENCE).startswith("Debian")
        project.remove(server, owner)
        site.change(providers=[{**one, "diskimages": []} for one in site.config["providers"]])
        eventually(lambda: site.uploads() == [], within=PATIENCE)
        assert admin.left() == before
    finally:
        project.cloud.delete_key(KEY)
        project.cloud.close()


def login(address: str, key: Path) -> str:
    """What the machine is, as it says itself; "" as long as nobody can log in."""
    options = [
        "StrictHostKeyChecking=no",
        "UserKnownHostsFile=/dev/null",
        "BatchMode=yes",
        "ConnectTimeout=10",
    ]
    command = ["ssh", "-F", "none", "-i", str(key), *(word for one in options for word in ("-o", one))]
    ask = ". /etc/os-release && echo $PRETTY_NAME && sudo -n true"
    done = subprocess.run(
        [*command, f"debian@{address}", ask], capture_output=True, text=True, timeout=120, check=False
    )
    return done.stdout.strip() if done.returncode == 0 else ""
