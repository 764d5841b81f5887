"""Speed and memory of the launcher, as the issue's budgets have them. `tools/bench.sh` runs it.

Real processes: a private ZooKeeper, one process of pretend clouds, a launcher. Two parts: traffic through six
providers with requests always outstanding, then a crowd of ready nodes that nobody wants. Figures depend on what
else the machine does, those per node hardly; so this is to look at, not a test.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from poolmgr.cli.demo.flow import Course, Flow
from poolmgr.cli.demo.plan import DemoCloud, DemoLabel, Plan
from poolmgr.cli.demo.processes import ProcessStack
from poolmgr.cli.demo.report import Costs, percentile
from poolmgr.cli.demo.screen import PlainScreen
from poolmgr.cli.orders import Wanted
from poolmgr.errors import PoolmgrError
from poolmgr.model.node import NodeState
from poolmgr.runtime.clock import SystemClock
from poolmgr.runtime.signals import stop_signals

PROVIDERS = 6
BOOT = 2.0


@dataclass(frozen=True)
class Figure:
    """A measured value and the most it may be."""

    name: str
    value: float
    budget: float
    unit: str

    def __str__(self) -> str:
        verdict = "ok" if self.value <= self.budget else "TOO MUCH"
        return f"{self.name:<46} {self.value:9.2f}  of at most {self.budget:6.1f} {self.unit:<10} {verdict}"


def plan(min_ready: int, shape: str) -> Plan:
    return Plan(
        clouds=tuple(DemoCloud(name=f"cloud-{n}", shape=shape, max_servers=1000) for n in range(PROVIDERS)),
        labels=(DemoLabel(name="small", min_ready=min_ready),),
        boot=BOOT,
        spread=0.0,
        api_latency=0.02,
        rate=0.001,
    )


def single_nodes(_plan: Plan, _rng: object) -> Iterator[Wanted]:
    while True:
        yield Wanted(labels=("small",))


@contextmanager
def running(plan: Plan, course: Course) -> Iterator[tuple[Flow, ProcessStack]]:
    """All parts, up until the block ends; the logs stay when it fails."""
    directory = Path(tempfile.mkdtemp(prefix="poolmgr-bench-"))
    screen = PlainScreen(Console())
    stack = ProcessStack(plan, directory, SystemClock())
    flow = Flow(stack, course, SystemClock(), screen)
    try:
        with stop_signals(flow.interrupt):
            flow.start()
            yield flow, stack
    except BaseException:
        screen.tell(f"logs are kept in {directory}")
        raise
    else:
        shutil.rmtree(directory)
    finally:
        with suppress(PoolmgrError):
            flow.close()
        stack.stop()


def traffic(args: argparse.Namespace) -> list[Figure]:
    """Single-node requests, a number of them always outstanding."""
    course = Course(requests=args.requests, outstanding=args.outstanding, hold=args.hold, wants=single_nodes)
    with running(plan(0, args.shape), course) as (flow, stack):
        began = time.monotonic()
        flow.serve()
        took = time.monotonic() - began
        flow.drain()
        costs = stack.costs()
    tally = flow.tally
    print(f"{tally.nodes} nodes in {took:.1f} s ({tally.nodes / took:.1f} a second), {tally.failed} failed")
    return traffic_figures(costs, tally.nodes, tally.latencies)


def traffic_figures(costs: Costs, nodes: int, latencies: list[float]) -> list[Figure]:
    return [
        Figure("latency beyond the boot time, median", percentile(latencies, 0.5) - BOOT, 1.0, "s"),
        Figure("launcher CPU per 1,000 nodes", (costs.launcher_cpu_s or 0) * 1000 / nodes, 40.0, "s"),
        Figure("API calls per node", costs.api_calls / nodes, 5.0, "calls"),
        Figure(
            "ZooKeeper write transactions per node", (costs.zookeeper_writes or 0) / nodes, 20.0, "writes"
        ),
    ]


def crowd(args: argparse.Namespace) -> list[Figure]:
    """Ready nodes that nobody wants: what they cost just by being there."""
    with running(plan(args.crowd, args.shape), Course(requests=1, outstanding=1)) as (flow, stack):
        began = time.monotonic()
        while (ready := ready_nodes(stack)) < args.crowd:
            flow.look(f"waiting for {args.crowd} ready nodes")
            if time.monotonic() - began > args.patience:
                raise PoolmgrError(
                    f"only {ready} of {args.crowd} nodes were ready after {args.patience:.0f} s"
                )
            time.sleep(0.5)
        print(f"{ready} nodes were ready after {time.monotonic() - began:.0f} s")
        time.sleep(args.settle)
        used, began = stack.launcher.cpu_seconds, time.monotonic()
        time.sleep(args.idle)
        share = 100 * (stack.launcher.cpu_seconds - used) / (time.monotonic() - began)
        resident = stack.launcher.resident_mib
    return [
        Figure(f"resident memory with {ready} nodes", resident, 150.0, "MiB"),
        Figure(f"CPU while idle with {ready} ready nodes", share, 2.0, "% of a core"),
    ]


def ready_nodes(stack: ProcessStack) -> int:
    with stack.store.reading() as snapshot:
        return sum(len(snapshot.nodes_of(c.name, NodeState.READY)) for c in stack.plan.clouds)


PARTS = {"traffic": traffic, "crowd": crowd}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; default: all")
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--outstanding", type=int, default=60)
    parser.add_argument("--hold", type=float, default=0.0, help="seconds that nodes are used")
    parser.add_argument(
        "--shape", default="direct", help="of the clouds; the budgets are for direct, nat needs floating IPs"
    )
    parser.add_argument("--crowd", type=int, default=2000, help="ready nodes")
    parser.add_argument("--patience", type=float, default=600.0, help="seconds for the crowd to come")
    parser.add_argument("--settle", type=float, default=15.0, help="seconds before idling is measured")
    parser.add_argument("--idle", type=float, default=90.0, help="seconds of idling")
    args = parser.parse_args()
    if unknown := set(args.parts) - set(PARTS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    try:
        figures = [figure for part in args.parts or PARTS for figure in PARTS[part](args)]
    except PoolmgrError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print()
    for figure in figures:
        print(figure)
    return 0


if __name__ == "__main__":
    sys.exit(main())
