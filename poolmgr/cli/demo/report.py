"""The figures of a run, as issue and bench want them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from poolmgr.cli.demo.images import ImageTally
from poolmgr.cli.demo.traffic import Tally


@dataclass(frozen=True, kw_only=True)
class Left:
    """What is still there after everything was given back: things in all clouds, local image files, znodes by path.

    Images are those that the project has made; those that the clouds offer do not count.
    """

    servers: int = 0
    ports: int = 0
    floating_ips: int = 0
    images: int = 0
    objects: int = 0
    files: tuple[str, ...] = ()
    znodes: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self != Left()


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What a run took. `None`: not measured (no ZooKeeper, or no process of its own)."""

    launcher_cpu_s: float | None = None
    api_calls: int = 0
    zookeeper_writes: int | None = None
    metrics: int = 0


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` (0 to 1) of `values` do not exceed; 0.0 of none."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def latency_summary(latencies: Sequence[float]) -> dict[str, float]:
    return {
        "p50": round(percentile(latencies, 0.5), 3),
        "p95": round(percentile(latencies, 0.95), 3),
        "max": round(max(latencies, default=0.0), 3),
    }


def report(
    *,
    boot: float,
    tally: Tally,
    left: Left,
    costs: Costs,
    clouds: Sequence[str],
    images: ImageTally | None = None,
) -> dict[str, Any]:
    """The keys of `--report`; per-node figures are over the nodes that requests got. `images` None: no builder."""
    return {
        "requests": tally.submitted,
        "fulfilled": tally.fulfilled,
        "failed": tally.failed,
        "latency_s": latency_summary(tally.latencies),
        "boot_s": boot,
        "nodes_by_cloud": {cloud: tally.nodes_by_cloud[cloud] for cloud in clouds},
        **({"images": images.as_report()} if images else {}),
        "left": {**asdict(left), "files": len(left.files), "znodes": len(left.znodes)},
        "metrics": costs.metrics,
        "launcher_cpu_s_per_1000_nodes": _per(costs.launcher_cpu_s, tally.nodes, 1000),
        "api_calls_per_node": _per(costs.api_calls, tally.nodes, 1),
        "zookeeper_writes_per_node": _per(costs.zookeeper_writes, tally.nodes, 1),
    }


def _per(amount: float | None, nodes: int, unit: int) -> float | None:
    return None if amount is None or not nodes else round(amount * unit / nodes, 2)


def summary_lines(result: Mapping[str, Any], failures: Sequence[str], left: Left) -> list[str]:
    """A report for people."""
    latency, per_node = result["latency_s"], "costs per node: "
    per_node += f"{_told(result['api_calls_per_node'])} API calls, "
    per_node += f"{_told(result['zookeeper_writes_per_node'])} ZooKeeper writes"
    kinds = result["left"].items()
    return [
        f"requests: {result['fulfilled']} of {result['requests']} fulfilled, {result['failed']} failed",
        f"latency: p50 {latency['p50']:.2f} s, p95 {latency['p95']:.2f} s, max {latency['max']:.2f} s",
        f"boot time of the servers: {result['boot_s']:g} s",
        "nodes: " + ", ".join(f"{count} from {cloud}" for cloud, count in result["nodes_by_cloud"].items()),
        *_image_lines(result.get("images")),
        per_node + (", those of the builder included" if "images" in result else ""),
        f"launcher CPU per 1000 nodes: {_told(result['launcher_cpu_s_per_1000_nodes'])} s",
        f"metrics: {result['metrics']} names",
        "left: " + ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in kinds),
        *(f"failed: {line}" for line in failures),
        *(f"left on disk: {path}" for path in left.files),
        *(f"left in ZooKeeper: {path}" for path in left.znodes),
    ]


def _image_lines(images: Mapping[str, Any] | None) -> list[str]:
    if images is None:
        return []
    formats = ", ".join(f"{count} as {name}" for name, count in images["uploads_by_format"].items())
    made = f"images: {images['builds']} builds, {images['uploads']} uploads ({formats})"
    return [f"{made}; nodes booted from {images['booted_from']} of them"]


def _told(value: float | None) -> str:
    return "unmeasured" if value is None else f"{value:g}"
