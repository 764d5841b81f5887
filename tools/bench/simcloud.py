"""What simcloud can do: requests per second of one core, and what SSH handshakes cost.

    .venv/bin/python tools/bench/simcloud.py [--servers 1000] [--requests 4000]

The simulator runs in a process of its own; the figure that counts is requests per second of CPU it used, since the
wall time also holds this client and whatever else runs here.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
CLOUDS = {
    "ssh": {"key-types": ["ed25519", "ecdsa"]},
    "clouds": {"one": {"boot": 0.01, "delete_seconds": 0.01}},
}


class Connection:
    """One keep-alive connection that sends what it is given and reads whole answers."""

    def __init__(self, host: str, port: int) -> None:
        self._socket = socket.create_connection((host, port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, request: bytes) -> tuple[int, bytes, bytes]:
        """(status, head, body) of the answer."""
        self._socket.sendall(request)
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._socket.recv(65536)
        head, _, body = data.partition(b"\r\n\r\n")
        length = 0
        for line in head.split(b"\r\n"):
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        pieces, got = [body], len(body)
        while got < length:
            pieces.append(self._socket.recv(1 << 18))
            got += len(pieces[-1])
        return int(head.split(b" ")[1]), head, b"".join(pieces)

    def close(self) -> None:
        self._socket.close()


def request(method: str, url: str, token: str = "", body: object = None) -> bytes:
    path = "/" + url.split("/", 3)[3]
    data = b"" if body is None else json.dumps(body).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: sim\r\nX-Auth-Token: {token}\r\n"
    head += "X-OpenStack-Nova-API-Version: 2.67\r\nAccept: application/json\r\nUser-Agent: bench\r\n"
    return head.encode() + f"Content-Length: {len(data)}\r\n\r\n".encode() + data


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(name: str, pid: int, count: int, job: Callable[[], object], unit: str = "requests") -> None:
    """Run `job` `count` times, one after the other, and print a line about process `pid`."""
    cpu, wall = cpu_seconds(pid), time.perf_counter()
    for _ in range(count):
        job()
    cpu, wall = max(0.01, cpu_seconds(pid) - cpu), time.perf_counter() - wall
    print(
        f"{name:34} {count / cpu:8.0f} {unit}/s of CPU {count / wall:8.0f} {unit}/s of wall time  "
        f"{1000 * cpu / count:6.2f} ms CPU each"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--servers", type=int, default=1000)
    parser.add_argument("--requests", type=int, default=4000)
    options = parser.parse_args()
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        json.dump(CLOUDS, file)
        file.flush()
        process = subprocess.Popen(
            [sys.executable, "-m", "poolmgr.simcloud", file.name], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        try:
            run(process, options)
        finally:
            process.terminate()
            process.wait()


def run(process: subprocess.Popen[str], options: argparse.Namespace) -> None:
    assert process.stdout is not None
    about = json.loads(process.stdout.readline())
    auth = about["clouds_yaml"]["clouds"]["one"]["auth"]
    host, port = about["url"].removeprefix("http://").split(":")
    connection = Connection(host, int(port))
    domain = {"name": auth["user_domain_name"]}
    user = {"name": auth["username"], "password": auth["password"], "domain": domain}
    scope = {"project": {"name": auth["project_name"], "domain": domain}}
    login = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}, "scope": scope}}
    _, head, body = connection.ask(request("POST", auth["auth_url"] + "/auth/tokens", "", login))
    token = next(h.split(b": ")[1] for h in head.split(b"\r\n") if h.startswith(b"X-Subject-Token")).decode()
    urls = {s["type"]: s["endpoints"][0]["url"] for s in json.loads(body)["token"]["catalog"]}

    def get(service: str, path: str) -> bytes:
        return request("GET", urls[service] + path, token)

    flavor = json.loads(connection.ask(get("compute", "/flavors/detail"))[2])["flavors"][0]["id"]
    image = json.loads(connection.ask(get("image", "/v2/images"))[2])["images"][0]["id"]
    network = json.loads(connection.ask(get("network", "/v2.0/networks"))[2])["networks"][0]["id"]
    server = {"name": "n", "flavorRef": flavor, "imageRef": image, "networks": [{"uuid": network}]}
    create = request("POST", urls["compute"] + "/servers", token, {"server": server})

    def repeated(what: bytes) -> Callable[[], None]:
        def ask() -> None:
            status, _, _ = connection.ask(what)
            assert status < 300, status

        return ask

    pid = process.pid
    measure("create a server", pid, options.servers, repeated(create))
    time.sleep(0.5)
    listed = json.loads(connection.ask(get("compute", "/servers/detail"))[2])["servers"]
    one = get("compute", f"/servers/{listed[0]['id']}")
    measure("show a server", pid, options.requests, repeated(one))
    measure("limits", pid, options.requests, repeated(get("compute", "/limits")))
    measure(
        "a token",
        pid,
        options.requests // 4,
        repeated(request("POST", auth["auth_url"] + "/auth/tokens", "", login)),
    )
    measure(f"list {len(listed)} servers in detail", pid, 100, repeated(get("compute", "/servers/detail")))
    measure(
        f"ports of one server of {len(listed)}",
        pid,
        200,
        repeated(get("network", f"/v2.0/ports?device_id={listed[0]['id']}&fields=id")),
    )
    handshakes(pid, listed[0]["addresses"]["public"][0]["addr"], about["ssh_port"])
    connection.close()


def handshakes(pid: int, address: str, port: int) -> None:
    sys.path.insert(0, str(ROOT))
    from poolmgr.cloud.probe import SshProber
    from poolmgr.runtime.clock import SystemClock

    prober = SshProber(SystemClock())

    def scan() -> object:
        return prober.host_keys(address, port, connection_type="ssh", timeout=10)

    measure("SSH scan (two key types)", pid, 200, scan, "scans")


if __name__ == "__main__":
    main()
