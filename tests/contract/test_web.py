"""The web app over real HTTP, in front of a store in memory."""

import http.client
import json
import socket
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from poolmgr.config.settings import Settings
from poolmgr.errors import ConfigError
from poolmgr.model.component import Component, ComponentKind
from poolmgr.model.image import Build, BuildState, ImageOrder, Order, Upload, UploadState
from poolmgr.model.node import Node, NodeState
from poolmgr.model.request import NodeRequest
from poolmgr.observe.board import Board
from poolmgr.store.memory import MemoryStore
from poolmgr.web import app
from poolmgr.web.server import WebServer
from tests.fakes import FakeClock
from tests.sites import eventually

TABLES = (
    "/image-list", "/dib-image-list", "/dib-request-list", "/image-status", "/manifest-list", "/node-list",
    "/request-list", "/label-list",
)  # fmt: skip
JSON = {"Accept": "application/json"}


@dataclass
class Daemon:
    """A `Source` as a test wants it."""

    store: MemoryStore
    build_logs: Path | None = None
    manifests: Path | None = None
    url: str | None = "http://me.example:8006"
    settings: Settings = field(default_factory=Settings)
    board: Board = field(default_factory=Board)
    not_ready: str | None = None
    not_alive: str | None = None

    def ready(self):
        return self.not_ready

    def live(self):
        return self.not_alive


class Site:
    """A daemon's web server, and clients of it. `begin` gives it a new store and directory."""

    def __init__(self):
        self.clock = FakeClock()
        self.daemon = Daemon(MemoryStore())
        self.server = WebServer(self.daemon, self.clock, address="127.0.0.1", port=0)
        self.server.start()

    def begin(self, directory):
        self.clock.advance(10.0)  # what is cached is forgotten
        self.now = self.clock.time()
        self.directory = directory
        self.store = MemoryStore()
        self.store.start()
        vars(self.daemon).update(vars(Daemon(self.store, build_logs=directory, manifests=directory)))
        return self

    def close(self):
        assert self.server.stop(30.0)

    def get(self, path, headers=(), method="GET"):
        with self.asked(path, headers, method) as answer:
            return answer.status, dict(answer.headers), answer.read().decode()

    @contextmanager
    def asked(self, path, headers=(), method="GET"):
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=30)
        try:
            connection.request(method, path, headers=dict(headers))
            with connection.getresponse() as answer:
                yield answer
        finally:
            connection.close()

    def add_node(self, **changes):
        lock, node = self.store.create_node(
            Node(
                state=NodeState.READY,
                state_time=self.now - 65,
                labels=("debian",),
                provider="north",
                **changes,
            )
        )
        self.store.unlock(lock)
        return node

    def add_build(self, **changes):
        build = Build(**{"id": "0f", "image": "debian", "state_time": self.now, **changes})
        lock = self.store.lock_builds(build.image)
        made = self.store.create_build(build, lock)
        self.store.unlock(lock)
        return made

    def write_log(self, text, name="debian-0f.log"):
        with (self.directory / name).open("a") as file:
            file.write(text)


@pytest.fixture(scope="module")
def running():
    made = Site()
    yield made
    made.close()


@pytest.fixture
def site(running, tmp_path):
    yield running.begin(tmp_path)
    running.store.close()


@pytest.mark.parametrize("path", TABLES)
def test_every_table_is_text_or_json(site, path):
    status, headers, text = site.get(path)
    assert (status, headers["content-type"]) == (200, "text/plain; charset=UTF-8")
    assert text.startswith("+--")
    assert headers["access-control-allow-origin"] == "*"
    assert headers["cache-control"] == "max-age=1, public"
    status, headers, text = site.get(path, JSON)
    assert (status, headers["content-type"], json.loads(text)) == (200, "application/json", [])


def test_nodes_requests_labels_and_builds_are_shown(site):
    node = site.add_node()
    site.add_node()
    site.store.create_request(NodeRequest(labels=("a", "b"), requestor="zuul"), priority=100)
    site.store.register(Component(kind=ComponentKind.POOL, hostname="l1", supported_labels=("zz", "debian")))
    site.add_build(state=BuildState.READY, formats="qcow2")
    assert [row["state"] for row in json.loads(site.get("/node-list", JSON)[2])] == ["ready", "ready"]
    (row,) = json.loads(site.get(f"/node-list?node_id={node.id}", JSON)[2])
    assert (row["id"], row["label"], row["age"]) == (node.id, ["debian"], "00:00:01:05")
    assert json.loads(site.get("/node-list?node_id=0000000099", JSON)[2]) == []
    assert json.loads(site.get("/request-list", JSON)[2])[0]["node_types"] == ["a", "b"]
    assert json.loads(site.get("/label-list", JSON)[2]) == [{"label": "debian"}, {"label": "zz"}]
    (build,) = json.loads(site.get("/dib-image-list", JSON)[2])
    assert (build["id"], build["formats"], build["age"]) == ("debian-0f", ["qcow2"], site.now)
    assert (
        "| debian-0f | debian |         | qcow2   | ready | 00:00:00:00 |" in site.get("/dib-image-list")[2]
    )


#: The reference's keys with the types of their values, in its order; ours come behind them.
REFERENCE = {
    "/image-list": {
        "id": str,
        "upload_id": str,
        "provider": str,
        "image": str,
        "external_name": str,
        "external_id": str,
        "state": str,
        "age": int,
    },
    "/dib-image-list": {
        "id": str,
        "image": str,
        "builder": str,
        "formats": list,
        "state": str,
        "age": int,
    },
    "/image-status": {"image": str, "paused": bool, "build_request": str, "build_request_age": int},
    "/node-list": {
        "id": str,
        "provider": str,
        "label": list,
        "server_id": str,
        "public_ipv4": str,
        "ipv6": str,
        "state": str,
        "age": str,
        "locked": str,
        "pool": str,
        "hostname": str,
        "private_ipv4": str,
        "AZ": str,
        "username": str,
        "connection_port": int,
        "launcher": str,
        "allocated_to": str,
        "hold_job": str,
        "comment": str,
        "user_data": dict,
        "driver_data": dict,
    },
    "/request-list": {
        "id": str,
        "relative_priority": int,
        "state": str,
        "requestor": str,
        "node_types": list,
        "nodes": list,
        "declined_by": list,
        "event_id": str,
    },
    "/label-list": {"label": str},
}


@pytest.mark.parametrize("path", REFERENCE)
def test_json_has_the_references_keys_and_types(site, path):
    site.add_node(
        pool="main",
        external_id="s1",
        public_ipv4="192.0.2.1",
        public_ipv6="2001:db8::1",
        private_ipv4="10.0.0.1",
        hostname="np1",
        az="z1",
        username="zuul",
        connection_port=22,
        launcher="l1",
        allocated_to="200-0",
        hold_job="job",
        comment="why",
        user_data={"a": 1},
        driver_data={"b": 2},
    )
    site.store.create_request(
        NodeRequest(labels=("debian",), requestor="zuul", declined_by=("x",), event_id="e"), priority=100
    )
    site.store.register(Component(kind=ComponentKind.POOL, hostname="h", supported_labels=("debian",)))
    site.add_build(state=BuildState.READY, builder="b1", formats="raw,qcow2")
    site.store.create_upload(
        Upload(
            image="debian",
            build="0f",
            provider="north",
            external_name="debian-1",
            external_id="i1",
            state=UploadState.READY,
        )
    )
    site.store.order_image(ImageOrder(image="debian", kind=Order.BUILD))
    status, headers, text = site.get(path, JSON)
    assert (status, headers["content-type"]) == (200, "application/json")
    (row,) = json.loads(text)
    wanted = REFERENCE[path]
    assert list(row)[: len(wanted)] == list(wanted)
    assert {key: type(row[key]) for key in wanted} == wanted


@pytest.mark.parametrize(
    ("fields", "header"),
    [
        ("state,id", "| ID | State |"),  # in the fixed order
        ("id,nonsense", "| ID |"),
        ("nonsense", "||"),
        ("", "| ID | Image | Builder | Formats | State | Age |"),
        ("id,phase,log", "| ID | Phase | Log |"),  # what else there is
    ],
)
def test_fields_choose_columns_of_text(site, fields, header):
    assert site.get(f"/dib-image-list?fields={fields}")[2].splitlines()[1] == header
    assert json.loads(site.get(f"/dib-image-list?fields={fields}", JSON)[2]) == []
    site.add_build()
    site.clock.advance(1.0)
    assert site.get(f"/dib-image-list?fields={fields}")[0] == 200


@pytest.mark.parametrize("accept", ["", "image/png", ";;;=,q=", "application/json;q=x", "*/*;q=0"])
def test_an_odd_accept_header_gets_text(site, accept):
    status, headers, _ = site.get("/node-list", {"Accept": accept})
    assert (status, headers["content-type"]) == (200, "text/plain; charset=UTF-8")


def test_an_answer_is_good_for_a_second(site):
    site.add_node()
    first = json.loads(site.get("/node-list", JSON)[2])
    site.add_node()
    assert json.loads(site.get("/node-list", JSON)[2]) == first
    assert "ready" in site.get("/node-list")[2]  # another type is another answer
    site.clock.advance(1.0)
    assert len(json.loads(site.get("/node-list", JSON)[2])) == 2


def test_what_did_not_change_is_not_sent_again(site):
    site.add_build(state=BuildState.READY)
    _, headers, _ = site.get("/dib-image-list", JSON)
    asked = {**JSON, "If-Modified-Since": headers["last-modified"]}
    site.clock.advance(100.0)
    status, headers, body = site.get("/dib-image-list", asked)
    assert (status, body, headers["cache-control"]) == (304, "", "max-age=1, public")
    site.add_build(id="10")
    site.clock.advance(1.0)
    assert site.get("/dib-image-list", asked)[0] == 200
    assert site.get("/dib-image-list", {"If-Modified-Since": "yesterday"})[0] == 200


def test_many_different_questions_cost_no_memory(site):
    cache = site.server._app._cache
    before = len(cache)
    for number in range(30):
        site.get(f"/node-list?node_id={number}&x={number}")
        site.get(f"/image-list?fields=a{number}")
    assert len(cache) <= before + 1


def test_without_zookeeper_tables_say_so(site):
    site.store.suspend()
    for path in TABLES:
        status, headers, text = site.get(path)
        assert (status, text) == (503, "no connection to ZooKeeper\n")
        assert headers["retry-after"] == "5"
    assert json.loads(site.get("/node-list", JSON)[2]) == {"error": "no connection to ZooKeeper"}
    assert site.get("/ready")[0] == 503
    assert site.get("/live")[0] == 200
    site.store.resume()
    eventually(lambda: site.get("/node-list")[0] == 200)


def test_ready_and_live_say_why_not(site):
    assert site.get("/ready", JSON)[::2] == (200, "OK")
    assert site.get("/live")[::2] == (200, "OK")
    site.daemon.not_ready, site.daemon.not_alive = "no cycle yet", "worker north hangs for 900 s"
    assert site.get("/ready")[::2] == (503, "no cycle yet\n")
    assert site.get("/live")[::2] == (503, "worker north hangs for 900 s\n")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/node-list/", 404),
        ("GET", "/metrics/", 404),
        ("POST", "/node-list", 405),
        ("DELETE", "/node-list", 405),
        ("HEAD", "/node-list", 200),
    ],
)
def test_what_there_is_not(site, method, path, status):
    answered, _, body = site.get(path, method=method)
    assert answered == status
    assert ("/node-list" in body) == (status == 404)


def test_a_build_log_is_shown_whole_or_its_end(site):
    site.write_log("one\ntwo\nthree\n")
    status, headers, text = site.get("/build-log/debian-0f")
    assert (status, text, headers["content-length"]) == (200, "one\ntwo\nthree\n", "14")
    assert headers["content-type"].startswith("text/plain")
    assert headers["x-content-type-options"] == "nosniff"
    assert site.get("/build-log/debian-0f?tail=2")[2] == "two\nthree\n"
    assert site.get("/build-log/debian-0f", method="HEAD")[2] == ""
    for wrong in ("x", "-1", "1e9", "99999999999"):
        assert site.get(f"/build-log/debian-0f?tail={wrong}")[0] == 400


@pytest.mark.parametrize(
    "name",
    [
        "..%2f..%2fetc%2fpasswd-1",
        "%2e%2e-1",
        "debian-0f%00",
        "debian-0f%0a",
        "debian",
        "x" * 3000 + "-1",
        "a/b-1",
    ],
)
def test_nothing_else_is_ever_shown(site, name):
    site.write_log("x")
    for kind in ("build-log", "manifest"):
        assert site.get(f"/{kind}/{name}")[0] == 404


def test_a_log_is_followed_until_its_build_ends(site):
    build = site.add_build()
    site.write_log("one\ntwo\n")
    with site.asked("/build-log/debian-0f?follow=1&tail=1") as answer:
        assert answer.readline() == b"two\n"
        site.write_log("three\n")
        assert answer.readline() == b"three\n"
        site.write_log("four\nExit code: 0\n")
        site.store.save_build(replace(build, state=BuildState.READY))
        assert answer.read() == b"four\nExit code: 0\n"


def test_a_log_of_a_build_that_is_over_just_ends(site):
    site.add_build(state=BuildState.FAILED)
    site.write_log("one\n")
    assert site.get("/build-log/debian-0f?follow=1")[2] == "one\n"
    site.write_log("old\n", "gone-1.log")  # its record is gone
    assert site.get("/build-log/gone-1?follow=true")[2] == "old\n"


def test_only_so_many_follow_and_who_goes_makes_room(tmp_path, monkeypatch):
    monkeypatch.setattr(app, "MAX_FOLLOWERS", 1)
    site = Site().begin(tmp_path)
    site.add_build()
    site.write_log("one\n")
    with site.asked("/build-log/debian-0f?follow=1") as answer:
        assert answer.readline() == b"one\n"
        assert site.get("/build-log/debian-0f?follow=1")[0] == 503
        assert site.get("/build-log/debian-0f")[0] == 200
    eventually(lambda: follows(site))
    site.close()


def follows(site):
    with site.asked("/build-log/debian-0f?follow=1") as answer:
        return answer.status == 200


def test_stopping_ends_streams(tmp_path):
    site = Site().begin(tmp_path)
    site.add_build()
    site.write_log("one\n")
    with site.asked("/build-log/debian-0f?follow=1") as answer:
        assert answer.readline() == b"one\n"
        site.close()
        assert answer.read() == b""


def test_a_build_of_another_builder_is_there(site):
    site.add_build(url="http://other.example:8006", builder="other")
    status, headers, _ = site.get("/build-log/debian-0f?follow=1&tail=3")
    assert status == 307
    assert headers["location"] == "http://other.example:8006/build-log/debian-0f?follow=1&tail=3&redirected=1"
    assert site.get("/manifest/debian-0f")[0] == 307
    assert site.get("/build-log/debian-0f?redirected=1")[0] == 404  # not round in a circle
    site.daemon.build_logs = site.daemon.manifests = None  # a launcher
    assert site.get("/build-log/debian-0f")[0] == site.get("/manifest/debian-0f")[0] == 307


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"url": "http://me.example:8006"}, "has none here"),
        ({"builder": "old"}, "old, has no web server"),
        ({"url": "javascript:alert(1)"}, "has no web server"),
        ({"id": "10"}, "there is no build debian-0f"),
    ],
)
def test_a_log_that_is_nowhere_is_told_so(site, changes, reason):
    site.add_build(**changes)
    status, _, text = site.get("/build-log/debian-0f")
    assert status == 404
    assert reason in text


def test_a_manifest_is_served_as_json(site):
    site.write_log('{"a": 1}', "debian-0f.manifest.json")
    status, headers, text = site.get("/manifest/debian-0f")
    assert (status, headers["content-type"], json.loads(text)) == (200, "application/json", {"a": 1})


def test_a_port_that_is_taken_is_told_with_the_remedy(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        server = WebServer(Daemon(MemoryStore()), FakeClock(), address="127.0.0.1", port=port)
        with pytest.raises(ConfigError, match=rf"port {port} of 127.0.0.1: Address already in use.*`webapp`"):
            server.start()
    assert server.stop(1.0)


def test_an_address_that_is_none_is_told(tmp_path):
    server = WebServer(Daemon(MemoryStore()), FakeClock(), address="203.0.113.1", port=0)
    with pytest.raises(ConfigError, match=r"203\.0\.113\.1: Cannot assign"):
        server.start()


def test_it_listens_on_ipv6(tmp_path):
    if not socket.has_ipv6:
        pytest.fail("this machine has no IPv6")
    server = WebServer(Daemon(MemoryStore()), FakeClock(), address="::1", port=0)
    server.start()
    with socket.create_connection(("::1", server.port), timeout=30) as client:
        client.sendall(b"GET /live HTTP/1.0\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 200")
    assert server.stop(30.0)
