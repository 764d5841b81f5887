"""Whether this machine has a way to the IPv6 internet."""

from __future__ import annotations

from pathlib import Path

UP, REJECT = 0x0001, 0x0200  # flags of linux/route.h and linux/ipv6_route.h


def has_v6_route(table: Path = Path("/proc/net/ipv6_route")) -> bool:
    """Whether the kernel's table has a default route; False where it cannot be read."""
    try:
        return any(map(_is_default, table.read_text(encoding="ascii").splitlines()))
    except (OSError, UnicodeDecodeError):
        return False


def _is_default(line: str) -> bool:
    """Columns: destination, its prefix length, source, its prefix length, next hop, metric, ..., flags, device."""
    fields = line.split()
    if len(fields) < 10 or fields[1] != "00" or set(fields[0]) != {"0"} or fields[9] == "lo":
        return False
    flags = int(fields[8], 16)
    return bool(flags & UP) and not flags & REJECT
