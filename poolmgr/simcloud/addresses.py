"""Addresses for the guests of pretend clouds, all reachable on this machine's loopback without root.

Linux answers on the whole of 127.0.0.0/8. For IPv6 there is only ::1, so a guest's public IPv6 address is the
IPv4-mapped form of a loopback address (::ffff:127.3.0.9): a client that opens an IPv6 socket to it really
reaches that guest. It is the one kind of IPv6 address that is unique for each guest here.

Guests may also have addresses that lead nowhere, to see what clients make of them: shared (100.64/10), unique local,
and such as Python calls global. Those are out of ranges given back long ago, so that no host on the Internet is
ever meant: 192.88.99.0/24 (RFC 7526) and 3ffe::/16 (RFC 3701).
"""

from __future__ import annotations

from collections import deque
from ipaddress import ip_network


class AddressPool:
    """The host addresses of one range, handed out in turn, so that a freed one comes back as late as possible."""

    def __init__(self, cidr: str) -> None:
        self.network = ip_network(cidr)
        start = int(self.network.network_address)
        self._next = start + 10  # leaves room for the gateway and DHCP
        self._last = start + min(self.network.num_addresses, 1 << 20) - 2
        self._freed: deque[str] = deque()

    def take(self) -> str | None:
        """A free address, or None when all are in use."""
        if self._next <= self._last:
            self._next += 1
            return str(type(self.network.network_address)(self._next - 1))
        return self._freed.popleft() if self._freed else None

    def give_back(self, address: str) -> None:
        self._freed.append(address)


def mapped(address: str) -> str:
    """The IPv6 address under which a client reaches the IPv4 `address`."""
    return f"::ffff:{address}"


def unmapped(address: str) -> str:
    """The address as a socket of the guest sees it: IPv4 even if it was reached through its mapped form."""
    return address.removeprefix("::ffff:")
