"""Looking at the demo's clouds and its ZooKeeper from outside, past the code that is being shown."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from poolmgr.errors import CloudUnavailable, StoreUnavailable

_TIMEOUT = 10.0
#: Loopback is never reached through a proxy, whatever the environment says.
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))

Counts = Mapping[str, Mapping[str, Any]]


def cloud_counts(state_url: str) -> Counts:
    """What is in each pretend cloud, counted past its API (simcloud.state). Raises CloudUnavailable."""
    try:
        with _DIRECT.open(state_url, timeout=_TIMEOUT) as answer:
            counts: Counts = json.load(answer)
            return counts
    except (OSError, ValueError) as error:
        raise CloudUnavailable(f"the pretend clouds do not answer at {state_url}: {error}") from error


def total(counts: Counts, kind: str) -> int:
    """The sum over all clouds of one kind of thing."""
    return sum(int(cloud[kind]) for cloud in counts.values())


def transactions(host: str, port: int) -> int:
    """The number of write transactions a ZooKeeper server has seen since it was made: its zxid.

    The word `srvr` is allowed by default since ZooKeeper 3.5 (administrator's guide, 4lw.commands.whitelist). A
    server that never lost its leadership counts in the lower half of the number only.
    Raises StoreUnavailable.
    """
    try:
        with socket.create_connection((host, port), timeout=_TIMEOUT) as connection:
            connection.sendall(b"srvr")
            answer = b"".join(iter(lambda: connection.recv(4096), b"")).decode("ascii", "replace")
    except OSError as error:
        raise StoreUnavailable(f"ZooKeeper at {host}:{port} does not answer: {error}") from error
    for line in answer.splitlines():
        name, _, value = line.partition(":")
        if name == "Zxid":
            return int(value.strip(), 16) & 0xFFFFFFFF
    raise StoreUnavailable(f"ZooKeeper at {host}:{port} does not tell its zxid: {answer[:200]!r}")
