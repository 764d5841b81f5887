"""The launcher, a process of its own, on three clouds of real OpenStack services, killed in the middle.

Nothing runs inside the servers of Nova's fake driver; a real SSH server answers at all their addresses.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from typing import Any

import pytest

from poolmgr.cli.client import NodeClient
from poolmgr.cli.demo.traffic import Traffic
from poolmgr.cli.orders import Wanted
from poolmgr.store.remains import remains
from poolmgr.store.zookeeper.walk import all_paths
from tests.integration.openstack.launcher_run import LauncherRun
from tests.integration.openstack.site import eventually
from tests.integration.openstack.sshd import running_sshd

pytestmark = pytest.mark.openstack

REQUESTS = int(os.environ.get("POOLMGR_OPENSTACK_REQUESTS", "80"))
OUTSTANDING = 60
MIN_READY = 30
#: Together less than what is asked for at once; pool-c has its cloud's quota of 20, and no limit of its own.
MAX_SERVERS = {"pool-a": 14, "pool-b": 14, "pool-c": None}
#: Without any request fulfilled for so long something is broken, in seconds.
PATIENCE = 300.0


def config(ssh_port: int, *, ready: bool) -> dict[str, Any]:
    return {
        "labels": [{"name": "small", "min-ready": MIN_READY if ready else 0}],
        "providers": [provider(name, ssh_port) for name in MAX_SERVERS],
    }


def provider(name: str, ssh_port: int) -> dict[str, Any]:
    behind_nat = name == "pool-c"
    limit = MAX_SERVERS[name]
    pool = {
        "name": "main",
        "networks": ["private" if behind_nat else "direct"],
        "availability-zones": ["az1", "az2"],
        "labels": [{"name": "small", "cloud-image": "fake-image", "flavor-name": "m1.nano"}],
        **({"max-servers": limit} if limit else {}),
    }
    return {
        "name": name,
        "driver": "openstack",
        "cloud": name,
        "rate": 0.05,
        "launch-timeout": 600,
        "boot-timeout": 600,
        "cloud-images": [{"name": "fake-image", "username": "root", "connection-port": ssh_port}],
        "pools": [pool],
    }


@pytest.fixture
def run(tmp_path, zookeeper_hosts) -> Iterator[LauncherRun]:
    with running_sshd(tmp_path) as port:
        run = LauncherRun(tmp_path, zookeeper_hosts, lambda ready: config(port, ready=ready))
        try:
            yield run
        finally:
            run.close()


def wants() -> Iterator[Wanted]:
    """Mostly single nodes, now and then two or three, of several priorities."""
    rng = random.Random(7)
    while True:
        labels = ("small",) * rng.choices((1, 2, 3), weights=(30, 2, 1))[0]
        yield Wanted(labels=labels, priority=rng.choice((100, 200, 300)), relative_priority=0)


def test_requests_on_three_clouds_and_a_crash(admin, run):
    before = admin.left()
    run.start(pools=len(MAX_SERVERS))
    eventually(lambda: run.ready() >= MIN_READY, within=600.0)

    client = NodeClient(run.store, run.clock, requestor="suite")
    traffic = Traffic(client, run.clock, wants(), requests=REQUESTS, outstanding=OUTSTANDING, hold=0.5)
    crashes = 0
    progress, since = -1, time.monotonic()
    while not traffic.done:
        traffic.step()
        tally = traffic.tally
        if tally.fulfilled + tally.failed != progress:
            progress, since = tally.fulfilled + tally.failed, time.monotonic()
        assert time.monotonic() - since < PATIENCE, f"no progress after {progress} requests"
        if tally.fulfilled >= REQUESTS // 2 and not crashes:
            run.launcher.kill()
            run.launcher.start()
            crashes = 1
        run.launcher.check()
        traffic.wait(0.25)
    assert crashes == 1
    assert traffic.tally.failures == []
    assert traffic.tally.fulfilled == REQUESTS
    assert set(traffic.tally.nodes_by_cloud) == set(MAX_SERVERS)

    run.write_config(ready=False)
    eventually(run.emptied, within=600.0)
    assert run.launcher.stop()
    client.close()
    assert remains(all_paths(run.zookeeper)) == ()
    assert admin.left() == before
