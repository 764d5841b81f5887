#!/usr/bin/env python3
"""What the OpenStack layer costs, beside what it may cost: calls of a server's life, CPU of a poll and of an import.

    tools/bench/cloud.py [--servers 1000] [--polls 5] [--json]

simcloud runs in a thread of this process; the poll's figure is the CPU time of the calling thread alone. The layer is
imported in a fresh interpreter, whose own start does not count. Exits 1 when there are more calls than there may be;
CPU and memory depend on the machine, so there too much is only marked.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.contract.clouds import METADATA, OWNER, CallsOf, Stage, clouds, openstack  # noqa: E402 - the path is set

IMPORT = """
import sys, time
began = time.process_time()
import poolmgr.cloud.openstack
spent = time.process_time() - began
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(spent, int(status["VmRSS"].split()[0]) / 1024)
"""


@dataclass(frozen=True)
class Figure:
    """`limit` None: for information."""

    name: str
    value: float
    unit: str
    limit: float | None = None

    @property
    def too_much(self) -> bool:
        return self.limit is not None and self.value > self.limit

    def __str__(self) -> str:
        limit = "" if self.limit is None else f"at most {self.limit:g}"
        verdict = "too much" if self.too_much else "" if self.limit is None else "ok"
        return f"{self.name:48} {self.value:>8g} {self.unit:6} {limit:14} {verdict}"


def imports(times: int = 15) -> Iterator[Figure]:
    """The least of several."""
    runs = []
    for _ in range(times):
        done = subprocess.run(
            [sys.executable, "-c", IMPORT], cwd=ROOT, check=True, capture_output=True, text=True, timeout=60
        )
        runs.append(tuple(float(word) for word in done.stdout.split()))
    yield Figure("import: CPU", round(min(cpu for cpu, _ in runs), 3), "s", 0.30)
    yield Figure("import: resident memory", round(min(rss for _, rss in runs), 1), "MiB", 36.0)


def polls(servers: int, times: int) -> Iterator[Figure]:
    """CPU of one listing of `servers` servers with their addresses: the first and the median."""
    with openstack("direct") as stage:
        pluggable = tuple(n.id for n in stage.far.networking.networks.values() if n.pluggable)
        with stage.far.lock:
            for number in range(servers):
                stage.far.compute.put_foreign(
                    name=f"np{number:010d}", metadata=METADATA, networks=pluggable, flavor=None
                )
        stage.cloud.connect()
        costs = []
        for _ in range(times):
            began = time.thread_time()
            with CallsOf(stage) as poll:
                listing = stage.cloud.list_servers()
            costs.append(1000 * (time.thread_time() - began))
            assert len(listing.items) == servers
            assert all(server.addresses.interface_ip for server in listing.items.values())
        yield Figure(
            f"poll of {servers} servers: calls", sum(poll.made.values()), "calls", 1 + servers // 1001
        )
        limit = 60.0 * servers / 1000
        yield Figure(f"poll of {servers} servers: CPU, first", round(costs[0], 1), "ms", limit)
        yield Figure(f"poll of {servers} servers: CPU", round(statistics.median(costs), 1), "ms", limit)


#: Shape and settings of a cloud, and the calls that making a server with its address, and deleting it, may take there
#: beside shares of the lists that everyone waits for: what cloud.md 3.6 and 4 allow. Where each port is a thing of its
#: own it takes a call more to delete; floating IPs of nova's kind have to be looked for.
LIVES: Mapping[str, tuple[str, Mapping[str, Any], int, int]] = {
    "without floating IP": ("direct", {}, 1, 1),
    "with floating IP": ("nat", {}, 3, 2),
    "with floating IP, port made ahead": ("nat", {"port_mode": "precreate"}, 3, 3),
    "with floating IP of nova": ("novafip", {}, 4, 3),
}


def lives() -> Iterator[Figure]:
    for name, (shape, settings, create, delete) in LIVES.items():
        with clouds(shape) as (_, login):
            stage = login(settings=settings)
            made, deleted = life(stage)
            yield Figure(f"server {name}: create", made, "calls", create)
            yield Figure(f"server {name}: delete", deleted, "calls", delete)


def life(stage: Stage) -> tuple[int, int]:
    """The calls of one server once caches are warm: from its spec to its address, and until nothing is left."""
    one_life(stage)
    return one_life(stage)


def one_life(stage: Stage) -> tuple[int, int]:
    spec = stage.spec()
    with CallsOf(stage) as create:
        server_id = stage.cloud.create_server(spec)
    stage.clock.advance(5.0)
    server = stage.cloud.list_servers().items[server_id]
    with CallsOf(stage) as expose:
        addresses = stage.cloud.expose(server, owner=OWNER, auto_floating_ip=True)
    assert addresses.public_v4
    with CallsOf(stage) as delete:
        stage.cloud.delete_server(server_id)
    stage.clock.advance(5.0)
    floating_ips = [f.id for f in stage.cloud.list_floating_ips().items.values() if OWNER.same(f.owner)]
    ports = [p.id for p in stage.cloud.list_ports().items.values() if OWNER.same(p.owner)]
    with CallsOf(stage) as leftovers:
        for floating_ip in floating_ips:
            stage.cloud.delete_floating_ip(floating_ip)
        for port in ports:
            stage.cloud.delete_port(port)
    assert stage.left() == (0, 0, 0)
    return calls(create) + calls(expose), calls(delete) + calls(leftovers)


def calls(block: CallsOf) -> int:
    return sum(block.made.values())


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--servers", type=int, default=1000)
    parser.add_argument("--polls", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    figures = []
    for figure in (*imports(), *polls(options.servers, options.polls), *lives()):
        figures.append(figure)
        if not options.json:
            print(figure, flush=True)
    if options.json:
        print(json.dumps([asdict(figure) | {"too_much": figure.too_much} for figure in figures]))
    return 1 if any(figure.too_much and figure.unit == "calls" for figure in figures) else 0


if __name__ == "__main__":
    sys.exit(main())
