#!/usr/bin/env python3
"""What the OpenStack layer costs: CPU of a poll, of an import, and API calls of one server's life.

    tools/bench/cloud.py [--servers 1000] [--polls 5] [--json]

simcloud runs in a thread of this process; the poll's figure is the CPU time of the calling thread alone. The layer is
imported in a fresh interpreter, whose own start does not count.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.contract.clouds import METADATA, OWNER, Stage, openstack  # noqa: E402 - after the path is set

IMPORT = """
import sys, time
began, modules = time.process_time(), len(sys.modules)
import poolmgr.cloud.openstack
spent = time.process_time() - began
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(spent, int(status["VmRSS"].split()[0]) / 1024, len(sys.modules) - modules)
"""


def imports(times: int = 5) -> dict[str, float]:
    """The least CPU seconds of several imports, resident MiB after it, modules."""
    runs = []
    for _ in range(times):
        done = subprocess.run(
            [sys.executable, "-c", IMPORT], cwd=ROOT, check=True, capture_output=True, text=True, timeout=60
        )
        runs.append(tuple(float(word) for word in done.stdout.split()))
    cpu, rss, modules = min(runs)
    return {"import_cpu_s": round(cpu, 3), "import_rss_mib": round(rss, 1), "import_modules": modules}


def polls(stage: Stage, servers: int, times: int) -> dict[str, float]:
    """CPU of one listing of `servers` servers with addresses, in milliseconds: the first and the median."""
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
        listing = stage.cloud.list_servers()
        costs.append(1000 * (time.thread_time() - began))
        assert len(listing.items) == servers
        assert all(server.addresses.interface_ip for server in listing.items.values())
    return {"poll_cpu_ms_first": round(costs[0], 1), "poll_cpu_ms": round(statistics.median(costs), 1)}


def life(stage: Stage) -> dict[str, Any]:
    """The API calls of one server's create, expose and delete once caches are warm."""
    stage.remove(stage.boot())
    spec = stage.spec("np2")
    counts: dict[str, Any] = {}

    def note(what: str, before: dict[str, int]) -> None:
        after = stage.cloud.calls
        counts[f"calls_{what}"] = sum(after.values()) - sum(before.values())

    before = dict(stage.cloud.calls)
    server_id = stage.cloud.create_server(spec)
    note("create", before)
    stage.clock.advance(5.0)
    before = dict(stage.cloud.calls)
    server = stage.cloud.list_servers().items[server_id]
    note("poll", before)
    before = dict(stage.cloud.calls)
    stage.cloud.expose(server, owner=OWNER, auto_floating_ip=True)
    note("expose", before)
    before = dict(stage.cloud.calls)
    stage.cloud.delete_server(server_id)
    note("delete", before)
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--servers", type=int, default=1000)
    parser.add_argument("--polls", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    figures: dict[str, Any] = imports()
    with openstack("direct") as stage:
        figures |= polls(stage, options.servers, options.polls)
    for shape in ("direct", "nat"):
        with openstack(shape) as stage:
            figures |= {f"{name}_{shape}": count for name, count in life(stage).items()}
    if options.json:
        print(json.dumps(figures))
        return
    for name, figure in figures.items():
        print(f"{name:24} {figure}")


if __name__ == "__main__":
    main()
