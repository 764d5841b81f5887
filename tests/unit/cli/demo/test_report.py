"""The figures of a run."""

import pytest

from poolmgr.cli.demo.images import ImageTally
from poolmgr.cli.demo.report import Costs, Left, percentile, report, summary_lines
from poolmgr.cli.demo.traffic import Tally


@pytest.mark.parametrize(
    ("values", "share", "result"),
    [
        ([], 0.5, 0.0),
        ([3.0], 0.95, 3.0),
        ([4, 1, 3, 2], 0.5, 2),
        (list(range(1, 101)), 0.95, 95),
        ([1, 2], 1.0, 2),
    ],
)
def test_percentile_is_one_of_the_values(values, share, result):
    assert percentile(values, share) == result


def test_the_report_has_the_keys_of_the_issue():
    tally = Tally(submitted=3, fulfilled=2, failed=1, nodes=4, latencies=[1.0, 3.0])
    tally.nodes_by_cloud.update({"north": 4})
    left = Left(servers=1, znodes=("/nodepool/nodes/1",))
    costs = Costs(launcher_cpu_s=0.1, api_calls=12, zookeeper_writes=50, metrics=7)
    assert report(boot=2.0, tally=tally, left=left, costs=costs, clouds=["north", "south"]) == {
        "requests": 3,
        "fulfilled": 2,
        "failed": 1,
        "latency_s": {"p50": 1.0, "p95": 3.0, "max": 3.0},
        "boot_s": 2.0,
        "nodes_by_cloud": {"north": 4, "south": 0},
        "left": {
            "servers": 1,
            "ports": 0,
            "floating_ips": 0,
            "images": 0,
            "objects": 0,
            "files": 0,
            "znodes": 1,
        },
        "metrics": 7,
        "launcher_cpu_s_per_1000_nodes": 25.0,
        "api_calls_per_node": 3.0,
        "zookeeper_writes_per_node": 12.5,
    }


def test_with_a_builder_the_report_counts_what_it_made():
    images = ImageTally(builds={"a", "b"}, formats={"1": "raw", "2": "qcow2", "3": "raw"}, booted={"1"})
    result = report(boot=2.0, tally=Tally(nodes=4), left=Left(), costs=Costs(), clouds=[], images=images)
    assert result["images"] == {
        "builds": 2,
        "uploads": 3,
        "uploads_by_format": {"qcow2": 1, "raw": 2},
        "booted_from": 1,
        "failed": 0,
    }
    told = summary_lines(result, [], Left(files=("x.raw",)))
    assert "images: 2 builds, 3 uploads (1 as qcow2, 2 as raw); nodes booted from 1 of them" in told
    assert "left on disk: x.raw" in told


def test_what_was_not_measured_is_null():
    costs = Costs(launcher_cpu_s=None, zookeeper_writes=None)
    result = report(boot=2.0, tally=Tally(nodes=4), left=Left(), costs=costs, clouds=[])
    assert result["launcher_cpu_s_per_1000_nodes"] is None
    assert result["zookeeper_writes_per_node"] is None


def test_anything_left_counts():
    assert not Left()
    assert Left(ports=1)
    assert Left(znodes=("/x",))
    assert Left(images=1)
    assert Left(files=("x.raw",))
