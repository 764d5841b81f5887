"""The pretended disk-image-create: what it takes, what it writes, how it goes wrong."""

from __future__ import annotations

import hashlib
import json
import struct

import pytest

from poolmgr.simcloud.dib import main

USUAL = ["-x", "-t", "qcow2,raw,vhd", "--checksum", "--no-tmpfs", "--qemu-img-options", "compat=0.10"]
SMALL = {"SIMDIB_SIZE": "70000"}


def build(directory, *, environ=None, arguments=USUAL, elements=("debian", "vm")):
    return main([*arguments, "-o", str(directory / "img-1"), *elements], SMALL | (environ or {}))


def test_it_writes_each_format_with_checksums_and_manifests(tmp_path, capsys):
    assert build(tmp_path, elements=["with blank", "vm"]) == 0
    names = sorted(path.name for path in tmp_path.iterdir())
    images = ["img-1.qcow2", "img-1.raw", "img-1.vhd"]
    assert names == sorted(["img-1.d", *images, *(f"{n}.{k}" for n in images for k in ("md5", "sha256"))])
    whole = (tmp_path / "img-1.vhd").read_bytes()
    assert (tmp_path / "img-1.vhd.sha256").read_text().split()[0] == hashlib.sha256(whole).hexdigest()
    manifest = json.loads((tmp_path / "img-1.d/dib-manifests/dib-manifest-dpkg-img-1").read_text())
    assert {one["package"] for one in manifest["packages"]} >= {"libc6", "openssh-server"}
    assert "| Building elements: base with blank vm" in capsys.readouterr().out


def test_a_qcow2_holds_what_the_raw_one_does(tmp_path):
    """Read as its format says (QEMU's own programs: tests/integration/test_dib_formats.py)."""
    assert build(tmp_path, environ={"SIMDIB_DISK": "200000"}) == 0
    raw, qcow2 = (tmp_path / "img-1.raw").read_bytes(), (tmp_path / "img-1.qcow2").read_bytes()
    magic, version, _, _, bits, size, _, tables, first = struct.unpack_from(">4sIQIIQIIQ", qcow2)
    assert (magic, version, bits, size) == (b"QFI\xfb", 2, 16, 200192)
    assert tables == 1
    (table,) = struct.unpack_from(">Q", qcow2, first)
    entries = struct.unpack_from(">4Q", qcow2, table & ~(1 << 63))
    clusters = [
        qcow2[e & ~(1 << 63) :][: 1 << 16].ljust(1 << 16, b"\0") if e else bytes(1 << 16) for e in entries
    ]
    assert b"".join(clusters)[: len(raw)] == raw


def test_builds_differ_unless_told_otherwise(tmp_path):
    seen = []
    for seed in ("", "", "7", "7"):
        assert build(tmp_path, environ={"SIMDIB_SEED": seed}, arguments=["-t", "raw"]) == 0
        seen.append((tmp_path / "img-1.raw").read_bytes())
    assert seen[0] != seen[1]
    assert seen[2] == seen[3]


@pytest.mark.parametrize(
    ("arguments", "elements", "complaint"),
    [(["-t", "raw,vmdk"], ["vm"], "cannot make vmdk"), ([], [], "At least one distribution root element")],
)
def test_what_it_cannot_do(tmp_path, capsys, arguments, elements, complaint):
    assert build(tmp_path, arguments=arguments, elements=elements) == 1
    assert complaint in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_an_option_it_does_not_know_is_an_error(tmp_path):
    with pytest.raises(SystemExit) as ended:
        build(tmp_path, arguments=["--bogus"])
    assert ended.value.code == 2


@pytest.mark.parametrize(
    ("fault", "code", "left"),
    [
        ("fail", 1, None),
        ("no-file", 0, {"img-1.qcow2": True}),
        ("empty-file", 0, {"img-1.qcow2": True, "img-1.raw": False}),
    ],
)
def test_faults(tmp_path, fault, code, left):
    (tmp_path / "fault").write_text(f"{fault}\n")
    environ = {"SIMDIB_FAULT_FILE": str(tmp_path / "fault")}
    assert build(tmp_path, environ=environ, arguments=["-t", "qcow2,raw"]) == code
    found = {path.name: path.stat().st_size > 0 for path in tmp_path.glob("img-1.*[!d]")}
    assert found == (left or {})


def test_an_unknown_fault_is_said(tmp_path, capsys):
    assert build(tmp_path, environ={"SIMDIB_FAULT": "gremlins"}) == 1
    assert "no such SIMDIB_FAULT: gremlins" in capsys.readouterr().out
