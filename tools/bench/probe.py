#!/usr/bin/env python3
"""CPU and wall time of a host key scan, by number of key types, beside what paramiko's client takes for the same.

    tools/bench/probe.py [--scans N]

The server runs in a process of its own, so that the CPU figures are the client's alone.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import socket
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from poolmgr.cloud.probe import SshProber
from poolmgr.runtime.clock import SystemClock

KEY_TYPES = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa")


def serve(key_types: tuple[str, ...], pipe: Connection) -> None:
    from tests.contract.ssh_server import Listener, ssh_script

    logging.disable()  # a client that leaves without a login is worth a line each to paramiko's server
    with Listener(ssh_script(key_types)) as listener:
        pipe.send(listener.port)
        pipe.recv()


def with_paramiko(port: int, key_types: tuple[str, ...]) -> None:
    import paramiko

    for key_type in key_types:
        with socket.create_connection(("127.0.0.1", port), 10) as connection:
            transport = paramiko.Transport(connection)
            options = transport.get_security_options()
            options.kex = ("curve25519-sha256@libssh.org",)
            options.key_types = ("rsa-sha2-512",) if key_type == "ssh-rsa" else (key_type,)
            transport.start_client(timeout=10)
            transport.get_remote_server_key()
            transport.close()


def measure(scans: int, scan: Callable[[], object]) -> str:
    scan()  # imports and caches are not what we count
    cpu, wall = time.process_time(), time.monotonic()
    for _ in range(scans):
        scan()
    cpu, wall = time.process_time() - cpu, time.monotonic() - wall
    return f"{1000 * cpu / scans:8.2f} {1000 * wall / scans:8.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--scans", type=int, default=100)
    scans = parser.parse_args().scans
    prober = SshProber(SystemClock())
    context = multiprocessing.get_context("spawn")
    print("key types | probe: CPU ms, wall ms | paramiko: CPU ms, wall ms (a scan)")
    for count in (1, 2, 3):
        types = KEY_TYPES[:count]
        ours, theirs = context.Pipe()
        server = context.Process(target=serve, args=(types, theirs))
        server.start()
        port = ours.recv()

        def probe(port: int = port) -> None:
            prober.host_keys("127.0.0.1", port, connection_type="ssh", timeout=10)

        def paramiko(port: int = port, types: tuple[str, ...] = types) -> None:
            with_paramiko(port, types)

        print(f"{count:9} | {measure(scans, probe)} | {measure(scans, paramiko)}")
        ours.send("stop")
        server.join()


if __name__ == "__main__":
    main()
