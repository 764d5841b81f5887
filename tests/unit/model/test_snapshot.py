"""The snapshot's indexes against brute force over plain dicts: after any sequence of events, the same answers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from poolmgr.model.component import Component, ComponentKind
from poolmgr.model.image import Build, Upload, UploadState
from poolmgr.model.node import GARBAGE_WHEN_UNLOCKED, Node, NodeState
from poolmgr.model.request import NodeRequest, RequestState
from poolmgr.model.resources import counted, total
from poolmgr.model.snapshot import Snapshot

NODE_IDS = [f"{n:010}" for n in range(3)]
REQUEST_IDS = [f"200-{n:010}" for n in range(3)]
PROVIDERS = ["north", "south"]
POOLS = ["main", "-", "", None]
LABELS = ["small", "large"]
TENANTS = ["t1", "t2"]
IMAGES = ["bookworm", "trixie"]
CONTENDERS = ["a", "b"]

amounts = st.one_of(
    st.integers(0, 8),
    st.sampled_from([0.1, 0.2, 0.5, 1.7]),
    st.sampled_from(["8", None, True, -1, float("nan"), float("inf")]),
)
resources = st.none() | st.dictionaries(st.sampled_from(["cores", "instances", "ram"]), amounts)
nodes = st.builds(
    Node,
    id=st.sampled_from(NODE_IDS),
    state=st.sampled_from(NodeState),
    labels=st.lists(st.sampled_from(LABELS), max_size=3).map(tuple),
    provider=st.sampled_from([*PROVIDERS, None]),
    pool=st.sampled_from(POOLS),
    allocated_to=st.sampled_from([*REQUEST_IDS, None, ""]),
    tenant_name=st.sampled_from([*TENANTS, None, ""]),
    resources=resources,
)
requests = st.builds(NodeRequest, id=st.sampled_from(REQUEST_IDS), state=st.sampled_from(RequestState))
components = st.builds(
    Component,
    znode=st.sampled_from(["h1", "h2"]),
    kind=st.sampled_from(ComponentKind),
    id=st.text(max_size=1),
)
uploads = st.builds(
    Upload,
    id=st.sampled_from(["1", "2"]),
    image=st.sampled_from(IMAGES),
    build=st.sampled_from(["b1", "b2"]),
    provider=st.sampled_from(PROVIDERS),
    state=st.sampled_from(UploadState),
    state_time=st.integers(0, 10**6).map(float),
    external_id=st.sampled_from(["image-1", "", None]),
)


def ids(things: Iterable[Any]) -> list[str]:
    return sorted(thing.id for thing in things)


class SnapshotMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.snapshot = Snapshot()
        self.nodes: dict[str, Node] = {}
        self.unreadable: set[str] = set()
        self.node_locks: dict[str, set[str]] = {}
        self.requests: dict[str, NodeRequest] = {}
        self.request_locks: dict[str, set[str]] = {}
        self.components: dict[tuple[ComponentKind, str], Component] = {}
        self.uploads: dict[str, Upload] = {}

    # Events, in any order and any number of times

    @rule(node=nodes)
    def put_node(self, node: Node) -> None:
        self.snapshot.put_node(node)
        self.nodes[node.id] = node
        self.unreadable.discard(node.id)

    @rule(node_id=st.sampled_from(NODE_IDS))
    def drop_node(self, node_id: str) -> None:
        self.snapshot.drop_node(node_id)
        self.nodes.pop(node_id, None)
        self.unreadable.discard(node_id)

    @rule(node_id=st.sampled_from(NODE_IDS))
    def put_unreadable_node(self, node_id: str) -> None:
        self.snapshot.put_unreadable_node(node_id)
        self.nodes.pop(node_id, None)
        self.unreadable.add(node_id)

    @rule(node_id=st.sampled_from(NODE_IDS), contender=st.sampled_from(CONTENDERS))
    def put_node_contender(self, node_id: str, contender: str) -> None:
        self.snapshot.put_node_contender(node_id, contender)
        self.node_locks.setdefault(node_id, set()).add(contender)

    @rule(node_id=st.sampled_from(NODE_IDS), contender=st.sampled_from([*CONTENDERS, None]))
    def drop_node_contender(self, node_id: str, contender: str | None) -> None:
        self.snapshot.drop_node_contender(node_id, contender)
        self.node_locks[node_id] = self.node_locks.get(node_id, set()) - {contender} if contender else set()

    @rule(request=requests)
    def put_request(self, request: NodeRequest) -> None:
        self.snapshot.put_request(request)
        self.requests[request.id] = request

    @rule(request_id=st.sampled_from(REQUEST_IDS))
    def drop_request(self, request_id: str) -> None:
        self.snapshot.drop_request(request_id)
        self.requests.pop(request_id, None)

    @rule(request_id=st.sampled_from(REQUEST_IDS), contender=st.sampled_from(CONTENDERS))
    def put_request_contender(self, request_id: str, contender: str) -> None:
        self.snapshot.put_request_contender(request_id, contender)
        self.request_locks.setdefault(request_id, set()).add(contender)

    @rule(request_id=st.sampled_from(REQUEST_IDS), contender=st.sampled_from([*CONTENDERS, None]))
    def drop_request_contender(self, request_id: str, contender: str | None) -> None:
        self.snapshot.drop_request_contender(request_id, contender)
        left = self.request_locks.get(request_id, set()) - {contender} if contender else set()
        self.request_locks[request_id] = left

    @rule(component=components)
    def put_component(self, component: Component) -> None:
        self.snapshot.put_component(component)
        self.components[component.kind, component.znode] = component

    @rule(kind=st.sampled_from(ComponentKind), znode=st.sampled_from(["h1", "h2"]))
    def drop_component(self, kind: ComponentKind, znode: str) -> None:
        self.snapshot.drop_component(kind, znode)
        self.components.pop((kind, znode), None)

    @rule(upload=uploads)
    def put_upload(self, upload: Upload) -> None:
        self.snapshot.put_upload(upload)
        self.uploads[upload.path] = upload

    @rule(upload=uploads)
    def drop_upload(self, upload: Upload) -> None:
        self.snapshot.drop_upload(upload.path)
        self.uploads.pop(upload.path, None)

    # Questions

    def locked(self, node: Node) -> bool:
        return bool(self.node_locks.get(node.id))

    @invariant()
    def nodes_are_found_by_everything_they_are_asked_by(self) -> None:
        snapshot, every = self.snapshot, list(self.nodes.values())
        assert ids(snapshot.nodes()) == ids(every)
        for node_id in NODE_IDS:
            assert snapshot.node(node_id) is self.nodes.get(node_id)
            assert snapshot.node_locked(node_id) == bool(self.node_locks.get(node_id))
            assert snapshot.node_unreadable(node_id) == (node_id in self.unreadable)
        for provider in ["", *PROVIDERS]:
            here = [n for n in every if (n.provider or "") == provider]
            assert ids(snapshot.nodes_of(provider)) == ids(here)
            for state in NodeState:
                assert ids(snapshot.nodes_of(provider, state)) == ids(n for n in here if n.state is state)
        for request_id in REQUEST_IDS:
            assert ids(snapshot.nodes_for(request_id)) == ids(
                n for n in every if n.allocated_to == request_id
            )

    @invariant()
    def nodes_that_need_something_done_are_found(self) -> None:
        every = list(self.nodes.values())
        ready = [n for n in every if n.state is NodeState.READY]
        for label in LABELS:
            free = [n for n in ready if label in n.labels and not n.allocated_to]
            assert ids(self.snapshot.ready(label)) == ids(free)
        for provider in ["", *PROVIDERS]:
            here = [n for n in every if (n.provider or "") == provider]
            garbage = [n for n in here if n.state in GARBAGE_WHEN_UNLOCKED and not self.locked(n)]
            assert ids(self.snapshot.garbage(provider)) == ids(garbage)
            promised = [n for n in here if n.state is NodeState.READY and n.allocated_to]
            assert ids(self.snapshot.promised(provider)) == ids(promised)
        orphans = [n for n in ready if n.allocated_to and n.allocated_to not in self.requests]
        assert ids(self.snapshot.orphans()) == ids(n for n in orphans if not self.locked(n))

    @invariant()
    def sums_are_those_of_the_nodes(self) -> None:
        snapshot, every = self.snapshot, list(self.nodes.values())
        for provider in ["", *PROVIDERS]:
            here = [n for n in every if (n.provider or "") == provider]
            assert use(snapshot.use(provider)) == use_of(here)
            for pool in POOLS:
                if pool is not None:
                    assert use(snapshot.use(provider, pool)) == use_of(n for n in here if n.pool == pool)
            assert ids(snapshot.unpriced(provider)) == ids(n for n in here if not counted(n.resources))
        for tenant in TENANTS:
            assert use(snapshot.use_by_tenant(tenant)) == use_of(n for n in every if n.tenant_name == tenant)
        for name in {"", *(n.tenant_name or "" for n in every)}:
            assert snapshot.nodes_by_tenant(name) == sum((n.tenant_name or "") == name for n in every)

    @invariant()
    def strays_are_being_built_for_nobody(self) -> None:
        strays = (
            n
            for n in self.nodes.values()
            if n.state is NodeState.BUILDING and n.allocated_to not in self.requests
        )
        assert ids(self.snapshot.strays()) == ids(strays)

    @invariant()
    def requests_are_found_by_state(self) -> None:
        snapshot = self.snapshot
        assert ids(snapshot.requests()) == sorted(self.requests)
        for state in RequestState:
            assert ids(snapshot.requests(state)) == ids(r for r in self.requests.values() if r.state is state)
        for request_id in REQUEST_IDS:
            assert snapshot.request(request_id) is self.requests.get(request_id)
            assert snapshot.request_locked(request_id) == bool(self.request_locks.get(request_id))
        assert sorted(snapshot.request_locks()) == sorted(
            i for i, names in self.request_locks.items() if names
        )

    @invariant()
    def components_are_found_by_kind(self) -> None:
        for kind in ComponentKind:
            expected = [c for (k, _), c in self.components.items() if k is kind]
            assert ids(self.snapshot.components(kind)) == ids(expected)
        pools = [c for (k, _), c in self.components.items() if k is ComponentKind.POOL]
        assert ids(self.snapshot.pools()) == ids(pools)

    @invariant()
    def the_newest_usable_upload_of_each_provider_is_found(self) -> None:
        assert sorted(u.path for u in self.snapshot.uploads()) == sorted(self.uploads)
        for image in IMAGES:
            for provider in PROVIDERS:
                usable = [
                    u.state_time
                    for u in self.uploads.values()
                    if (u.image, u.provider, u.state) == (image, provider, UploadState.READY)
                    and u.external_id
                ]
                newest = self.snapshot.newest_upload(image, provider)
                assert (newest.state_time if newest else None) == max(usable, default=None)
                assert newest is None or newest is self.uploads[newest.path]

    def teardown(self) -> None:
        """With everything gone all indexes are empty: no tenant, request or lock of last year costs memory."""
        snapshot = self.snapshot
        for node_id in NODE_IDS:
            snapshot.drop_node(node_id)
            snapshot.drop_node_contender(node_id)
        for request_id in REQUEST_IDS:
            snapshot.drop_request(request_id)
            snapshot.drop_request_contender(request_id)
        for key in self.components:
            snapshot.drop_component(*key)
        for path in self.uploads:
            snapshot.drop_upload(path)
        assert [name for name, index in vars(snapshot).items() if index] == []


def use(sums: Any) -> dict[str, float]:
    """Sums without what came to nothing, to nine digits: fractions leave remainders."""
    return {name: round(value, 6) for name, value in sums.items() if abs(value) > 1e-6}


def use_of(some: Iterable[Node]) -> dict[str, float]:
    return use(total(n.resources or {} for n in some))


TestSnapshot = SnapshotMachine.TestCase
TestSnapshot.settings = settings(max_examples=80, stateful_step_count=50, deadline=None, derandomize=True)


def test_fractions_that_come_and_go_leave_no_remainder():
    """A remainder of 1e-17 would make the last core of a quota too small for a node that needs one."""
    snapshot = Snapshot()
    parts = [Node(id=str(n), provider="north", resources={"cores": c}) for n, c in enumerate([0.1, 0.2, 0.3])]
    for node in parts:
        snapshot.put_node(node)
    for node in parts:
        snapshot.drop_node(node.id)
    assert snapshot.use("north") == {}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), pytest.param(10**400, id="huge"), -5, "8"])
def test_one_record_with_a_senseless_amount_does_not_spoil_the_sums(value):
    snapshot = Snapshot()
    snapshot.put_node(Node(id="1", provider="north", pool="main", resources={"cores": 2}))
    snapshot.put_node(Node(id="2", provider="north", pool="main", resources={"cores": value}))
    assert snapshot.use("north") == snapshot.use("north", "main") == {"cores": 2}
    snapshot.drop_node("2")
    assert snapshot.use("north") == {"cores": 2}


def test_a_pool_may_have_any_name():
    snapshot = Snapshot()
    snapshot.put_node(Node(id="1", provider="north", pool="-", resources={"cores": 2}))
    snapshot.put_node(Node(id="2", provider="north", pool=None, resources={"cores": 4}))
    assert snapshot.use("north", "-") == {"cores": 2}
    assert snapshot.use("north") == {"cores": 6}


def test_builds_are_kept_by_image_and_id():
    snapshot = Snapshot()
    snapshot.put_build(Build(image="bookworm", id="1"))
    snapshot.put_build(Build(image="trixie", id="1"))
    snapshot.drop_build("bookworm", "1")
    assert [b.image for b in snapshot.builds()] == ["trixie"]


def test_dropping_what_was_never_there_is_harmless():
    snapshot = Snapshot()
    snapshot.drop_node("1")
    snapshot.drop_request("1")
    snapshot.drop_component(ComponentKind.POOL, "h1")
    snapshot.drop_build("bookworm", "1")
    snapshot.drop_upload("/nodepool/images/x")
    snapshot.drop_node_contender("1", "a")
    snapshot.drop_node_contender("1")
    snapshot.drop_request_contender("1", "a")


def test_a_node_is_garbage_from_the_moment_its_last_contender_has_gone():
    snapshot = Snapshot()
    snapshot.put_node_contender("1", "a")
    snapshot.put_node(Node(id="1", provider="north", state=NodeState.USED))
    snapshot.put_node_contender("1", "b")
    assert ids(snapshot.garbage("north")) == []
    snapshot.drop_node_contender("1", "a")
    assert ids(snapshot.garbage("north")) == []
    snapshot.drop_node_contender("1", "b")
    assert ids(snapshot.garbage("north")) == ["1"]


def test_the_newest_ready_upload_of_any_build_is_booted():
    snapshot = Snapshot()
    for build, number, state, at, image_id in [
        ("b1", "1", UploadState.READY, 10.0, "old"),
        ("b2", "1", UploadState.READY, 30.0, "newest"),
        ("b1", "2", UploadState.READY, 20.0, "older"),
        ("b3", "1", UploadState.UPLOADING, 40.0, None),
        ("b3", "2", UploadState.READY, 50.0, None),  # a record of nothing
    ]:
        snapshot.put_upload(
            Upload(
                image="bookworm",
                build=build,
                provider="north",
                id=number,
                state=state,
                state_time=at,
                external_id=image_id,
            )
        )
    newest = snapshot.newest_upload("bookworm", "north")
    assert newest is not None
    assert newest.external_id == "newest"
    assert snapshot.newest_upload("bookworm", "south") is None


# Images


def test_locks_of_builds_and_uploads_last_as_long_as_someone_contends():
    snapshot = Snapshot()
    for contender in ("a", "b"):
        snapshot.put_build_contender("img", contender)
        snapshot.put_upload_contender("img", "b1", "north", contender)
    snapshot.drop_build_contender("img", "a")
    snapshot.drop_upload_contender("img", "b1", "north", "a")
    assert snapshot.build_locked("img")
    assert snapshot.upload_locked("img", "b1", "north")
    assert not snapshot.upload_locked("img", "b2", "north")
    snapshot.drop_build_contender("img", "b")
    snapshot.drop_upload_contender("img", "b1", "north")
    assert not snapshot.build_locked("img")
    assert not snapshot.upload_locked("img", "b1", "north")


def test_an_image_is_unreadable_as_long_as_one_of_its_records_is():
    snapshot = Snapshot()
    snapshot.put_unreadable_image("img", "/1")
    snapshot.put_unreadable_image("img", "/2")
    snapshot.drop_unreadable_image("img", "/1")
    assert snapshot.image_unreadable("img")
    snapshot.drop_unreadable_image("img", "/2")
    snapshot.drop_unreadable_image("img", "/2")
    assert not snapshot.image_unreadable("img")


def test_uploads_and_builds_are_found_from_all_sides_until_they_are_gone():
    snapshot = Snapshot()
    build = Build(image="img", id="b1")
    uploads = [Upload(image="img", build="b1", provider=name, id="0000000001") for name in ("north", "south")]
    snapshot.put_build(build)
    for upload in uploads:
        snapshot.put_upload(upload)
    assert list(snapshot.builds_of("img")) == [build] == [snapshot.build("img", "b1")]
    assert list(snapshot.uploads_of("img", "b1")) == uploads
    assert list(snapshot.uploads_to("img", "south")) == uploads[1:]
    assert snapshot.upload(uploads[0].path) == uploads[0]
    snapshot.drop_upload(uploads[0].path)
    snapshot.drop_build("img", "b1")
    assert list(snapshot.uploads_of("img", "b1")) == uploads[1:]
    assert not snapshot.uploads_to("img", "north")
    assert not snapshot.builds_of("img")


def test_nodes_are_found_by_the_upload_they_boot_from():
    snapshot = Snapshot()
    path = "/nodepool/images/img/builds/b/providers/p/images/0000000001"
    snapshot.put_node(Node(id="1", image_id=path))
    snapshot.put_node(Node(id="2", image_id="debian"))
    assert [node.id for node in snapshot.nodes_from(path)] == ["1"]
    snapshot.put_node(Node(id="1"))
    assert not snapshot.nodes_from(path)
