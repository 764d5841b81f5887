"""What a file is, by its marks, and what it cannot be uploaded as."""

from __future__ import annotations

import struct

import pytest

from poolmgr.cloud.library.disk_format import FOOTER, disk_format, format_of, objection
from poolmgr.errors import ConfigError

QCOW2 = b"QFI\xfb" + struct.pack(">IQ", 3, 0) + bytes(500)
OVERLAY = b"QFI\xfb" + struct.pack(">IQ", 3, 0x1000) + bytes(500)
VHD_FOOTER = b"conectix".ljust(FOOTER, b"\0")
ISO = bytes(0x8001) + b"CD001" + bytes(100)
VDI = bytes(0x40) + b"\x7f\x10\xda\xbe" + bytes(100)
RAW = b"\xeb\x63\x90" + bytes(1000)


@pytest.mark.parametrize(
    ("head", "footer", "kind"),
    [
        (QCOW2, b"", "qcow2"),
        (b"KDMV" + bytes(100), b"", "vmdk"),
        (b"# Disk DescriptorFile\nversion=1", b"", "vmdk"),
        (b"conectix" + bytes(100), b"", "vhd"),
        (RAW, VHD_FOOTER, "vhd"),
        (b"vhdxfile" + bytes(100), b"", "vhdx"),
        (VDI, b"", "vdi"),
        (ISO, b"", "iso"),
        (RAW, bytes(FOOTER), "raw"),
        (b"", b"", "raw"),
    ],
)
def test_what_a_file_is(head, footer, kind):
    assert format_of(head, footer) == kind
    assert objection(head, footer, None) == ""
    assert objection(head, footer, kind) == ""


@pytest.mark.parametrize(
    ("head", "wanted", "words"),
    [
        (QCOW2, "raw", "it is qcow2, not raw"),
        (RAW, "qcow2", "it is not qcow2"),
        (QCOW2, "vhd", "it is qcow2, not vhd"),
        (RAW, "ploop", ""),  # has no mark that we know
        (ISO, "raw", ""),  # many are both
        (ISO, "qcow2", "it is iso, not qcow2"),
        (OVERLAY, None, "backing file"),
        (b"\x1f\x8b" + bytes(10), None, "compressed (gzip)"),
        (b"\xfd7zXZ\x00" + bytes(10), "raw", "compressed (xz)"),
        (b"\x28\xb5\x2f\xfd" + bytes(10), "raw", "compressed (zstd)"),
    ],
)
def test_what_contradicts_a_file(head, wanted, words):
    found = objection(head, b"", wanted)
    assert words in found
    assert bool(found) is bool(words)


def test_a_files_beginning_and_end_are_looked_at(tmp_path):
    file = tmp_path / "disk"
    file.write_bytes(RAW * 100 + VHD_FOOTER)
    assert disk_format(file, None) == "vhd"
    with pytest.raises(ConfigError, match="it is vhd, not raw"):
        disk_format(file, "raw")
    file.write_bytes(b"x")
    assert disk_format(file, None) == "raw"
    with pytest.raises(ConfigError, match="No such file"):
        disk_format(tmp_path / "none", None)
