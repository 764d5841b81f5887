"""What kind of disk image a file is, by its own marks: pure but for reading a few bytes.

Formats by Glance's names (Image API v2, "Disk formats"). Sources of the marks: QEMU's qcow2 and VHDX documents,
VMware's and Microsoft's (VHD) specifications, ECMA-119 for ISO 9660.
"""

from __future__ import annotations

from pathlib import Path

from poolmgr.errors import ConfigError
from poolmgr.model.trouble import Trouble

HEAD = 0x9000  # bytes; the mark of an ISO lies farthest in
FOOTER = 512

#: (offset, mark, format)
_MARKS = (
    (0, b"QFI\xfb", "qcow2"),
    (0, b"KDMV", "vmdk"),
    (0, b"COWD", "vmdk"),
    (0, b"# Disk DescriptorFile", "vmdk"),
    (0, b"conectix", "vhd"),  # a dynamic one begins with a copy of its footer
    (0, b"vhdxfile", "vhdx"),
    (0x40, b"\x7f\x10\xda\xbe", "vdi"),
    (0x8001, b"CD001", "iso"),
)
_COMPRESSED = (
    (b"\x1f\x8b", "gzip"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"BZh", "bzip2"),
    (b"PK\x03\x04", "zip"),
)
#: Formats that every file with their mark has, and no other.
_MARKED = frozenset(name for _, _, name in _MARKS)
KNOWN = ("qcow2", "raw", "vhd", "vhdx", "vmdk", "vdi", "iso", "ploop", "aki", "ari", "ami")


def format_of(head: bytes, footer: bytes) -> str:
    """The format by the first HEAD and the last FOOTER bytes of a file; `raw` where there is no mark."""
    for offset, mark, name in _MARKS:
        if head[offset : offset + len(mark)] == mark:
            return name
    return "vhd" if footer.startswith(b"conectix") else "raw"


def objection(head: bytes, footer: bytes, wanted: str | None) -> str:
    """Why a file that begins and ends so cannot be uploaded as `wanted` (None: as what it is); "" if it can."""
    found = format_of(head, footer)
    packed = next((name for mark, name in _COMPRESSED if head.startswith(mark)), None)
    if packed is not None:
        return f"it is compressed ({packed}): unpack it first"
    if found == "qcow2" and any(head[8:16]):  # offset of the name of its backing file
        return "it is only the difference to a backing file: `qemu-img convert` makes it whole"
    if wanted is None or wanted == found or (wanted == "raw" and found == "iso"):
        return ""
    if found in _MARKED:
        return f"it is {found}, not {wanted}"
    return f"it is not {wanted}" if wanted in _MARKED else ""


def disk_format(path: Path, wanted: str | None) -> str:
    """The format to upload `path` as. Raises ConfigError when it cannot be read, or contradicts `wanted`."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
            end = file.seek(0, 2)
            file.seek(max(0, end - FOOTER))
            footer = file.read(FOOTER)
    except OSError as error:
        raise Trouble.FILE_UNREADABLE.error(ConfigError, f"{path}: {error.strerror or error}") from error
    if wrong := objection(head, footer, wanted):
        raise ConfigError(f"{path}: {wrong}")
    return wanted or format_of(head, footer)
