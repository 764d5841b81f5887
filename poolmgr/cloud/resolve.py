"""What a host's name resolves to."""

from __future__ import annotations

import ipaddress
import socket


def address_of(name: str) -> str | None:
    """The first address of `name`, which may be one itself; None if it has none. It asks the resolver: it blocks."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, ValueError):  # ValueError: what cannot be a name
        return None
    return str(ipaddress.ip_address(str(found[0][4][0]).partition("%")[0]))
