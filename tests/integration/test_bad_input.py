"""A real launcher process on a real ZooKeeper and pretend clouds, given everything that should not be there."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kazoo.client import KazooClient

from poolmgr.cli.demo.plan import DemoCloud, DemoLabel, Plan, as_file, launcher_config
from poolmgr.cli.demo.processes import ProcessStack
from poolmgr.model.node import Node, NodeState
from poolmgr.model.request import NodeRequest, RequestState
from poolmgr.runtime.clock import SystemClock

pytestmark = pytest.mark.integration

PLAN = Plan(
    clouds=(DemoCloud(name="one", shape="direct"), DemoCloud(name="two", shape="nat")),
    labels=(DemoLabel(name="small"),),
    boot=0.5,
    spread=0.0,
    rate=0.001,
    session_timeout=3.0,
)
PATIENCE = 60.0  # seconds; only a failure waits so long


def eventually(what: Callable[[], object], *, within: float = PATIENCE) -> Any:
    """The first true answer of `what`."""
    end = time.monotonic() + within
    while time.monotonic() < end:
        answer = what()
        if answer:
            return answer
        time.sleep(0.05)
    raise AssertionError("it did not happen in time")


class Site:
    """A running stack, and a client's hands on it."""

    def __init__(self, directory: Path) -> None:
        self.stack = ProcessStack(PLAN, directory, SystemClock())
        self.stack.start(lambda _line: None)
        self.store = self.stack.store
        self.zookeeper = self.stack._zookeeper
        self.raw = KazooClient(self.zookeeper.hosts)
        self.raw.start()
        eventually(lambda: self.pools() == 2)

    def close(self) -> None:
        self.raw.stop()
        self.raw.close()
        self.stack.stop()

    def pools(self) -> int:
        with self.store.reading() as snapshot:
            return len(list(snapshot.pools()))

    def labels(self) -> set[str]:
        with self.store.reading() as snapshot:
            return {label for pool in snapshot.pools() for label in pool.supported_labels}

    def log(self) -> str:
        return self.stack.launcher.log_path.read_text(encoding="utf-8")

    def submit(self, *labels: str, **more: Any) -> str:
        now = time.time()
        request = NodeRequest(labels=labels, state_time=now, created_time=now, requestor="test", **more)
        return self.store.create_request(request, priority=200).id

    def state(self, request_id: str) -> RequestState:
        return self.store.read_request(request_id).state

    def serve(self, **more: Any) -> list[Node]:
        """Have one request fulfilled, and give its node back; the node as it was handed over."""
        request_id = self.submit("small", **more)
        eventually(lambda: self.state(request_id) is RequestState.FULFILLED)
        nodes = [self.store.lock_node(i) for i in self.store.read_request(request_id).nodes]
        self.store.delete_request(request_id)
        for lock, node in nodes:
            self.store.save_node(node.moved(NodeState.USED, at=time.time()), lock)
            self.store.unlock(lock)
        return [node for _, node in nodes]

    def sim(self, path: str, body: object = None, method: str = "POST") -> None:
        url = f"{self.stack._sim_facts['state_url']}{path}"
        data = json.dumps(body).encode() if body is not None else None
        headers = {"Content-Type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(url, data, headers, method=method), timeout=10):
            pass

    def configure(self, change: Callable[[dict[str, Any]], None]) -> None:
        config = launcher_config(
            PLAN, zookeeper_port=self.zookeeper.port, ssh_port=int(self.stack._sim_facts["ssh_port"])
        )
        change(config)
        self.stack.config_path.write_text(as_file(config), encoding="utf-8")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    running = Site(tmp_path)
    try:
        yield running
    finally:
        running.close()


def test_rubbish_in_the_tree_is_skipped_told_and_not_deleted(site: Site) -> None:
    rubbish = {
        "/nodepool/nodes/0000900001": b"not json",
        "/nodepool/nodes/0000900002": b'{"state": "no-such-state"}',
        "/nodepool/nodes/0000900003": b"[1, 2]",
        "/nodepool/nodes/0000900004": json.dumps({"state": "ready", "colour": "blue"}).encode(),
        "/nodepool/requests/200-0000900005": b"\xff\xfe",
        "/nodepool/requests/200-0000900006": b'{"state": "requested"}',
        "/nodepool/components/pool/elsewhere0000900007": b"{}",
        "/nodepool/images/x/builds/y/providers/one/images/0000900008": b"",
    }
    for path, data in rubbish.items():
        site.raw.create(path, data, makepath=True)
    site.serve(provider="one")
    site.serve(provider="two")
    for path, data in rubbish.items():
        if path.endswith("900006"):
            assert site.state("200-0000900006") is RequestState.FAILED, "it asks for nothing"
        else:
            assert site.raw.get(path)[0] == data
    for name in ("0000900001", "0000900002", "200-0000900005"):
        assert site.log().count(name) == 1, f"{name} is told once"


def test_unknown_labels_fail_many_labels_do_not(site: Site) -> None:
    unknown, many = site.submit("nobody-has-it"), site.submit(*["small"] * 20)
    eventually(lambda: site.state(unknown) is RequestState.FAILED)
    eventually(lambda: site.state(many) is RequestState.FULFILLED)
    request = site.store.read_request(many)
    assert len(set(request.nodes)) == 20


def test_a_bad_file_on_reload_changes_nothing_and_is_told_once(site: Site) -> None:
    site.configure(lambda config: config["providers"][0]["pools"][0].update({"max-servers": "many"}))
    eventually(lambda: "the old one stays in force" in site.log())
    site.serve(provider="one")
    time.sleep(3.0)
    assert site.log().count("the old one stays in force") == 1
    assert "max-servers" in site.log()

    def more_labels(config: dict[str, Any]) -> None:
        config["labels"].append({"name": "large"})
        label = {"name": "large", "cloud-image": "debian", "flavor-name": "large"}
        config["providers"][0]["pools"][0]["labels"].append(label)

    site.configure(more_labels)
    eventually(lambda: "large" in site.labels())
    request = site.submit("large")
    eventually(lambda: site.state(request) in (RequestState.FULFILLED, RequestState.FAILED))
    assert site.state(request) is RequestState.FULFILLED


def test_a_provider_whose_cloud_is_unknown_leaves_the_others_working(site: Site) -> None:
    wrong = {"cloud": "no-such-cloud"}
    site.configure(lambda config: config["providers"][0].update(wrong))
    eventually(lambda: "no-such-cloud" in site.log())
    assert site.serve(provider="one")[0].provider == "one", "one that runs goes on as it was"
    assert site.stack.stop_launcher()
    site.stack.launcher.start()
    eventually(lambda: site.pools() == 1)
    assert site.serve()[0].provider == "two"
    assert site.log().count("cannot be served") == 2, "once for each start"


def test_a_cloud_that_is_down_at_start_is_used_once_it_answers(site: Site) -> None:
    assert site.stack.stop_launcher()
    site.sim("one/faults", [{"kind": "drop", "operations": ["*"]}])
    site.stack.launcher.start()
    eventually(lambda: site.pools() == 2)
    pinned = site.submit("small", provider="one")
    assert site.serve(provider="two")[0].provider == "two"
    assert site.state(pinned) is RequestState.REQUESTED
    site.sim("one/faults", method="DELETE")
    eventually(lambda: site.state(pinned) is RequestState.FULFILLED)


def test_a_zookeeper_that_is_away_at_start_and_restarts_in_the_middle(site: Site) -> None:
    assert site.stack.stop_launcher()
    site.zookeeper.stop()
    site.stack.launcher.start()
    time.sleep(3.0)
    site.stack.launcher.check()
    site.zookeeper.start()
    eventually(lambda: site.store.connected and site.pools() == 2)
    site.serve()
    requests = [site.submit("small") for _ in range(6)]
    site.zookeeper.stop()
    time.sleep(1.0)
    site.zookeeper.start()
    eventually(lambda: site.store.connected)
    eventually(lambda: all(site.state(r) is RequestState.FULFILLED for r in requests))
    site.stack.launcher.check()


def test_sigterm_stops_it_cleanly_while_it_is_launching(site: Site) -> None:
    site.sim("one/faults", [{"kind": "stuck-build"}])
    site.sim("two/faults", [{"kind": "stuck-build"}])
    request = site.submit("small")
    eventually(
        lambda: site.stack.cloud_counts()["one"]["servers"] + site.stack.cloud_counts()["two"]["servers"]
    )
    assert site.stack.stop_launcher(), "exit code 0 within the stated time"
    assert site.state(request) is RequestState.PENDING, "left to whoever adopts it"
    assert site.pools() == 0
    site.sim("one/faults", method="DELETE")
    site.sim("two/faults", method="DELETE")
    site.stack.launcher.start()
    eventually(lambda: site.state(request) is RequestState.FULFILLED)
