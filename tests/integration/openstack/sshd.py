"""A real OpenSSH server that plays every machine of the `fake` variant.

Its floating and direct addresses are in 127.77/16 and 127.78/16 (devstack/README.rst), so whatever listens on all of
127/8 answers for each of them.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.zookeeper import free_port


@contextmanager
def running_sshd(directory: Path) -> Iterator[int]:
    """The port of an OpenSSH server that lives as long as the block."""
    sshd = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
    if sshd is None:
        pytest.fail("these tests need a real SSH server: apt-get install openssh-server")
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where it locks itself in before a login
    keys = []
    for kind in ("ed25519", "ecdsa"):
        key = directory / f"host_{kind}"
        subprocess.run(
            ["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", str(key)], check=True, stdin=subprocess.DEVNULL
        )
        keys.append(key)
    port = free_port()
    config = directory / "sshd_config"
    lines = [
        f"Port {port}",
        "ListenAddress 0.0.0.0",
        *(f"HostKey {key}" for key in keys),
        "MaxStartups 500",
        "UsePAM no",
        "PidFile none",
    ]
    config.write_text("\n".join(lines) + "\n")
    with (directory / "sshd.log").open("wb") as log:
        process = subprocess.Popen([sshd, "-D", "-e", "-f", str(config)], stderr=log)
    try:
        _wait(port, process, directory / "sshd.log")
        yield port
    finally:
        process.terminate()
        process.wait(10)


def _wait(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.78.1.1", port), timeout=1).close()
            return
        except OSError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, "sshd does not answer"
            time.sleep(0.1)
