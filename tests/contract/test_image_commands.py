"""`poolmgr cloud`: the verbs for images, on a pretend cloud in real time."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from poolmgr.cli import main
from poolmgr.simcloud.faults import Fault, FaultKind
from poolmgr.simcloud.images import NewImage
from poolmgr.simcloud.server import RunningSim, running

CONTENT = b"\xeb\x63\x90" + bytes(range(256)) * 2000
QCOW2 = b"QFI\xfb" + bytes(600)


@pytest.fixture
def sim(tmp_path, monkeypatch) -> Iterator[RunningSim]:
    with running({"ssh": {"enabled": False}, "clouds": {"north": {"shape": "nat"}}}) as sim:
        file = sim.write_clouds_yaml(tmp_path / "clouds.yaml")
        for name in [name for name in os.environ if name.startswith("OS_")]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(file))
        monkeypatch.chdir(tmp_path)
        Path("disk.img").write_bytes(CONTENT)
        yield sim


@pytest.fixture
def run(sim, capsys) -> Callable[..., tuple[str, str]]:
    def run(*arguments: str, code: int = 0) -> tuple[str, str]:
        """What a command printed to stdout and stderr."""
        assert main.main(["cloud", *arguments]) == code
        printed = capsys.readouterr()
        return printed.out, printed.err

    return run


def far_images(sim: RunningSim) -> list:
    far = sim.world.clouds["north"]
    with far.lock:
        return [image for image in far.images.images.values() if image.mine]


def test_an_image_from_its_upload_to_its_end(sim, run):
    out, err = run("upload-image", "north", "disk.img", "--name", "mine", "--property", "hw_disk_bus=virtio",
                   "--min-disk", "8", "--min-ram", "512", "--tag", "ci", "--protected")  # fmt: skip
    told = dict(line.split(maxsplit=1) for line in out.splitlines())
    (image,) = far_images(sim)
    assert told == {
        "id": image.id,
        "name": "mine",
        "status": "active",
        "disk_format": "raw",
        "size": str(len(CONTENT)),
        "md5": hashlib.md5(CONTENT, usedforsecurity=False).hexdigest(),
        "sha256": hashlib.sha256(CONTENT).hexdigest(),
        "sha512": hashlib.sha512(CONTENT).hexdigest(),
    }
    assert (image.min_disk, image.min_ram, image.tags) == (8, 512, ("ci",))
    assert (image.visibility, image.protected) == ("private", True)
    assert image.properties["hw_disk_bus"] == "virtio"
    lines = err.splitlines()
    assert "looking for what is there already" in lines
    assert any(line.startswith("sending: ") and "(100 %)" in line for line in lines)

    out, _ = run("list-images", "north")
    assert out.splitlines()[3].replace("|", " ").split()[:4] == [image.id, "mine", "active", "raw"]
    (row,) = json.loads(run("list-images", "north", "--json")[0])
    assert (row["id"], row["size"], row["owner"]) == (image.id, len(CONTENT), "library")
    run("delete-image", "north", "mine")
    assert far_images(sim) == []
    assert "no image mine" in run("delete-image", "north", "mine", code=1)[1]


def test_the_same_file_is_not_uploaded_twice_and_another_not_under_its_name(sim, run):
    first = json.loads(run("upload-image", "north", "disk.img", "--json")[0])
    assert (first["name"], first["cloud"]) == ("disk", "north")
    again = json.loads(run("upload-image", "north", "disk.img", "--json")[0])
    assert again["id"] == first["id"]
    Path("disk.img").write_bytes(CONTENT + b"more")
    _, err = run("upload-image", "north", "disk.img", code=1)
    assert first["id"] in err
    assert "choose another name" in err
    assert [image.id for image in far_images(sim)] == [first["id"]]


def test_what_a_file_is_decides_the_format_and_contradictions_are_refused(sim, run):
    Path("a.img").write_bytes(QCOW2)
    assert json.loads(run("upload-image", "north", "a.img", "--json")[0])["disk_format"] == "qcow2"
    assert "it is qcow2, not raw" in run("upload-image", "north", "a.img", "--disk-format", "raw", code=1)[1]
    assert "it is not qcow2" in run("upload-image", "north", "disk.img", "--disk-format", "qcow2", code=1)[1]
    assert "No such file" in run("upload-image", "north", "none.img", code=1)[1]
    assert "must be KEY=VALUE" in run("upload-image", "north", "disk.img", "--property", "x", code=1)[1]
    assert len(far_images(sim)) == 1


def test_the_way_can_be_chosen(sim, run):
    run("upload-image", "north", "disk.img", "--method", "import")
    calls = sim.world.clouds["north"].calls
    assert calls["image.PUT.image_stage"] == 1
    assert calls["image.PUT.image_file"] == 0


def test_a_builders_image_is_deleted_by_force_only(sim, run):
    far = sim.world.clouds["north"]
    marks = {"nodepool_provider_name": "prov", "nodepool_upload_id": "0000000001", "nodepool_build_id": "b-1"}
    with far.lock:
        image = far.images.add(NewImage(name="debian-1", properties=marks), status="active")
    (row,) = json.loads(run("list-images", "north", "--json")[0])
    assert row["owner"] == "upload 0000000001 of build b-1, prov"
    assert "--force" in run("delete-image", "north", image.id, code=1)[1]
    run("delete-image", "north", "debian-1", "--force")
    assert far_images(sim) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_an_upload_and_leaves_nothing(sim, number):
    far = sim.world.clouds["north"]
    with far.lock:
        far.faults.add(Fault(kind=FaultKind.HANG, operations=("image.PUT.image_file",)))
    command = [sys.executable, "-m", "poolmgr.cli.main", "cloud", "upload-image", "north", "disk.img"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            lines = []
            while not lines or "(100 %)" not in lines[-1]:
                lines.append(process.stderr.readline())
                assert lines[-1], lines
            process.send_signal(number)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    assert "the upload was cancelled" in err
    assert (out, far_images(sim)) == ("", [])
