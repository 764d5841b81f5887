#!/usr/bin/env python3
"""CPU and wall time of a host key scan, by number of key types, and of an attempt that meets no SSH yet.

    tools/bench/probe.py [--scans N]

The server runs in a process of its own, so that the CPU figures are the client's alone. The wall time is that of
both: paramiko's server needs more than its client.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from poolmgr.cloud.probe import SshProber
from poolmgr.errors import ProbeError
from poolmgr.runtime.clock import SystemClock

KEY_TYPES = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa")


def serve(key_types: tuple[str, ...], pipe: Connection) -> None:
    from tests.contract.ssh_server import Listener, ssh_script

    logging.disable()  # a client that leaves without a login is worth a line each to paramiko's server
    with Listener(ssh_script(key_types) if key_types else hang_up) as listener:
        pipe.send(listener.port)
        pipe.recv()
        pipe.send(listener.connections)


def hang_up(connection: socket.socket) -> None:
    """As simcloud, sshd with too many connections, and many a firewall: take the connection and close it."""


def measure(scans: int, scan: Callable[[], object]) -> tuple[float, float]:
    """Milliseconds of CPU and of time for one scan."""
    scan()  # imports and caches are not what we count
    cpu, wall = time.process_time(), time.monotonic()
    for _ in range(scans):
        scan()
    cpu, wall = time.process_time() - cpu, time.monotonic() - wall
    return 1000 * cpu / scans, 1000 * wall / scans


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--scans", type=int, default=100)
    scans = parser.parse_args().scans
    prober = SshProber(SystemClock())
    context = multiprocessing.get_context("spawn")
    print("key types | CPU ms | wall ms | connections (a scan)")
    for count in range(len(KEY_TYPES) + 1):
        ours, theirs = context.Pipe()
        server = context.Process(target=serve, args=(KEY_TYPES[:count], theirs))
        server.start()
        port = ours.recv()

        def scan(port: int = port) -> None:
            with suppress(ProbeError):  # of the server without keys
                prober.host_keys("127.0.0.1", port, connection_type="ssh", timeout=10)

        cpu, wall = measure(scans, scan)
        ours.send("stop")
        print(f"{count:9} | {cpu:6.2f} | {wall:7.2f} | {ours.recv() / (scans + 1):.1f}", flush=True)
        server.join()


if __name__ == "__main__":
    main()
