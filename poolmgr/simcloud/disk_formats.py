"""Disk images as other programs accept them: raw, qcow2 and dynamic VHD, all of the same content.

The layouts are those of the published formats (QEMU docs/interop/qcow2.rst; Microsoft's VHD specification 1.0). Images
are made in one pass and never read back.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from random import Random

_PIECE = 1 << 20
_SECTOR = 512
_CLUSTER_BITS = 16
_CLUSTER = 1 << _CLUSTER_BITS
_COPIED = 1 << 63  # qcow2: the cluster has a reference count of exactly one
_VHD_BLOCK = 2 << 20


def content(size: int, seed: int) -> Iterator[bytes]:
    """`size` bytes in pieces of at most 1 MiB, the same ones for the same seed; no sixteen of them are zeros."""
    rng = Random(seed)
    for start in range(0, size, _PIECE):
        yield rng.randbytes(min(_PIECE, size - start))


def write_raw(path: Path, *, data: int, size: int, seed: int) -> None:
    """A disk of `size` bytes, the first `data` of which are filled, the rest a hole. Raises OSError."""
    with path.open("wb") as file:
        for piece in content(data, seed):
            file.write(piece)
        file.truncate(size)


def write_qcow2(path: Path, *, data: int, size: int, seed: int) -> None:
    """The same disk as a qcow2 of version 2, with right reference counts. Raises OSError."""
    data_clusters = _up(data, _CLUSTER)
    tables = max(1, _up(_up(size, _CLUSTER), _CLUSTER // 8))  # of the second level; each maps 8192 clusters
    first_level = max(1, _up(tables * 8, _CLUSTER))
    counters = _counter_clusters(2 + first_level + tables + data_clusters)
    first_at = (2 + counters) * _CLUSTER
    tables_at = first_at + first_level * _CLUSTER
    data_at = tables_at + tables * _CLUSTER
    used = data_at // _CLUSTER + data_clusters
    header = struct.pack(
        ">4sIQIIQIIQQIIQ",
        b"QFI\xfb",
        2,  # version
        0,  # no backing file
        0,
        _CLUSTER_BITS,
        size,
        0,  # not encrypted
        tables,
        first_at,
        _CLUSTER,  # the table of reference counts
        1,
        0,  # no snapshots
        0,
    )
    with path.open("wb") as file:
        _at(file.fileno(), 0, header)
        _at(file.fileno(), _CLUSTER, _words(">Q", ((2 + n) * _CLUSTER for n in range(counters))))
        _at(file.fileno(), 2 * _CLUSTER, struct.pack(">H", 1) * used)
        _at(
            file.fileno(), first_at, _words(">Q", (tables_at + n * _CLUSTER | _COPIED for n in range(tables)))
        )
        entries = (data_at + n * _CLUSTER | _COPIED for n in range(data_clusters))
        _at(file.fileno(), tables_at, _words(">Q", entries))
        file.seek(data_at)
        for piece in content(data, seed):
            file.write(piece)
        file.truncate(used * _CLUSTER)


def write_vhd(path: Path, *, data: int, size: int, seed: int) -> None:
    """The same disk as a dynamic VHD. Raises OSError."""
    blocks, filled = _up(size, _VHD_BLOCK), _up(data, _VHD_BLOCK)
    table_at = 3 * _SECTOR
    data_at = table_at + _up(max(1, blocks) * 4, _SECTOR) * _SECTOR
    stride = _SECTOR + _VHD_BLOCK  # each block has a bitmap of its sectors before it
    table = _words(">I", ((data_at + n * stride) // _SECTOR for n in range(filled)))
    table = table.ljust(data_at - table_at, b"\xff")  # all ones: no block there
    footer = _vhd_footer(size, seed)
    with path.open("wb") as file:
        file.write(footer)
        file.write(_vhd_header(table_at, blocks))
        file.write(table)
        for block, piece in enumerate(_blocks(content(data, seed), _VHD_BLOCK)):
            file.seek(data_at + block * stride)
            file.write(b"\xff" * _SECTOR)
            file.write(piece)
        file.seek(data_at + filled * stride)
        file.write(footer)


WRITERS = {"raw": write_raw, "qcow2": write_qcow2, "vhd": write_vhd}


def _up(amount: int, unit: int) -> int:
    """How many units hold the amount."""
    return -(-amount // unit)


def _counter_clusters(others: int) -> int:
    """Clusters of 16-bit reference counts, which count themselves too."""
    needed = 1
    while needed * (_CLUSTER // 2) < others + needed:
        needed += 1
    return needed


def _words(layout: str, values: Iterator[int]) -> bytes:
    return b"".join(struct.pack(layout, value) for value in values)


def _at(descriptor: int, offset: int, text: bytes) -> None:
    os.pwrite(descriptor, text, offset)


def _blocks(pieces: Iterator[bytes], size: int) -> Iterator[bytes]:
    """The same bytes in pieces of `size`, which is a multiple of theirs; the last may be shorter."""
    held = b""
    for piece in pieces:
        held += piece
        if len(held) == size:
            yield held
            held = b""
    if held:
        yield held


def _vhd_footer(size: int, seed: int) -> bytes:
    footer = struct.pack(
        ">8sIIQI4sI4sQQHBBII16sB",
        b"conectix",
        2,  # features: this bit is always set
        0x00010000,
        _SECTOR,  # where the header of a dynamic disk is
        seed % (1 << 31),  # seconds since 2000: any time will do
        b"qem2",  # whose disks QEMU takes to be as long as they say, whatever the geometry is
        0x00010000,
        b"Wi2k",
        size,
        size,
        *_geometry(size // _SECTOR),
        3,  # dynamic
        0,  # the checksum, below
        Random(seed).randbytes(16),
        0,
    ).ljust(_SECTOR, b"\0")
    return _summed(footer, 64)


def _vhd_header(table_at: int, blocks: int) -> bytes:
    header = struct.pack(
        ">8sQQIIII", b"cxsparse", (1 << 64) - 1, table_at, 0x00010000, blocks, _VHD_BLOCK, 0
    ).ljust(2 * _SECTOR, b"\0")
    return _summed(header, 36)


def _summed(text: bytes, place: int) -> bytes:
    """With the ones' complement of the sum of all bytes at `place`, where there are zeros."""
    return text[:place] + struct.pack(">I", ~sum(text) & 0xFFFFFFFF) + text[place + 4 :]


def _geometry(sectors: int) -> tuple[int, int, int]:
    """Cylinders, heads and sectors a track, for readers that still ask."""
    heads, track = 16, 63
    return min(65535, sectors // (heads * track)), heads, track
