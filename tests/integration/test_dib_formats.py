"""The pretended disk-image-create's disks, judged by QEMU's own program."""

import json
import subprocess

import pytest

from poolmgr.simcloud.dib import main

pytestmark = pytest.mark.integration


def qemu_img(*arguments):
    return subprocess.run(["qemu-img", *arguments], check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize(("size", "disk"), [(1 << 20, 1 << 20), ((3 << 20) + 5, 1 << 30), (0, 1 << 20)])
def test_qemu_accepts_them_and_finds_them_alike(tmp_path, size, disk):
    environ = {"SIMDIB_SIZE": str(size), "SIMDIB_DISK": str(disk), "SIMDIB_SEED": "7"}
    assert main(["-t", "raw,qcow2,vhd", "-o", str(tmp_path / "img"), "vm"], environ) == 0
    qemu_img("check", str(tmp_path / "img.qcow2"))
    for name, image_format in (("img.qcow2", "qcow2"), ("img.vhd", "vpc")):
        told = json.loads(qemu_img("info", "--output=json", str(tmp_path / name)))
        assert (told["format"], told["virtual-size"]) == (image_format, disk)
        told = qemu_img(
            "compare", "-f", "raw", "-F", image_format, str(tmp_path / "img.raw"), str(tmp_path / name)
        )
        assert "identical" in told
