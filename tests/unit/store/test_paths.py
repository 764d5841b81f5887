"""Paths, there and back."""

from __future__ import annotations

import pytest

from poolmgr.model.component import ComponentKind
from poolmgr.model.image import Order, Upload
from poolmgr.store import paths
from poolmgr.store.paths import Kind, place_of

CONTENDER = "0123456789abcdef0123456789abcdef__lock__0000000001"
UPLOADS = paths.uploads("img", "b1", "p")


@pytest.mark.parametrize(
    ("path", "kind", "ids"),
    [
        ("/nodepool/requests", Kind.ROOT, ()),
        ("/nodepool/requests-lock", Kind.ROOT, ()),
        (paths.request("200-0000000001"), Kind.REQUEST, ("200-0000000001",)),
        (paths.request_lock("200-1"), Kind.REQUEST_LOCK, ("200-1",)),
        (f"{paths.request_lock('200-1')}/{CONTENDER}", Kind.REQUEST_CONTENDER, ("200-1", CONTENDER)),
        (paths.node("0000000001"), Kind.NODE, ("0000000001",)),
        (paths.node_lock("0000000001"), Kind.NODE_LOCK, ("0000000001",)),
        (f"{paths.node_lock('1')}/{CONTENDER}", Kind.NODE_CONTENDER, ("1", CONTENDER)),
        (paths.component(ComponentKind.POOL), Kind.COMPONENT_KIND, ("pool",)),
        (paths.component(ComponentKind.POOL, "host1"), Kind.COMPONENT, ("pool", "host1")),
        (paths.election("stats"), Kind.ELECTION, ("stats",)),
        (f"{paths.election('stats')}/{CONTENDER}", Kind.ELECTION_CONTENDER, ("stats", CONTENDER)),
        (paths.build("img", "b1"), Kind.BUILD, ("img", "b1")),
        (f"{paths.uploads('img', 'b1', 'p')}/0000000001", Kind.UPLOAD, ("img", "b1", "p", "0000000001")),
        (paths.uploads("img", "b1", "p"), Kind.IMAGE_FOLDER, ()),
        ("/nodepool/images/img", Kind.IMAGE, ("img",)),
        (paths.order("img", Order.PAUSE), Kind.ORDER, ("img", "pause")),
        (paths.order("img", Order.BUILD), Kind.ORDER, ("img", "request-build")),
        ("/nodepool/images/img/other", Kind.OTHER, ()),
        (paths.builds("img"), Kind.IMAGE_FOLDER, ()),
        ("/nodepool/images/img/builds/lock", Kind.BUILDS_LOCK, ("img",)),
        (f"/nodepool/images/img/builds/lock/{CONTENDER}", Kind.BUILDS_CONTENDER, ("img", CONTENDER)),
        ("/nodepool/images/img/builds/lock/other", Kind.OTHER, ()),
        ("/nodepool/images/img/other/lock", Kind.OTHER, ()),
        (paths.lock(paths.build("img", "b1")), Kind.RECORD_LOCK, ("img", "b1")),
        (f"{paths.build('img', 'b1')}/lock/{CONTENDER}", Kind.RECORD_CONTENDER, ("img", "b1", CONTENDER)),
        (f"{paths.build('img', 'b1')}/lock/{CONTENDER}/more", Kind.OTHER, ()),
        (f"{paths.build('img', 'b1')}/providers", Kind.IMAGE_FOLDER, ()),
        (f"{paths.build('img', 'b1')}/providers/lock", Kind.OTHER, ()),
        (f"{UPLOADS}/lock", Kind.UPLOADS_LOCK, ("img", "b1", "p")),
        (f"{UPLOADS}/lock/{CONTENDER}", Kind.UPLOADS_CONTENDER, ("img", "b1", "p", CONTENDER)),
        (f"{UPLOADS}/0000000001/lock", Kind.RECORD_LOCK, ("img", "b1", "p", "0000000001")),
        (
            f"{UPLOADS}/0000000001/lock/{CONTENDER}",
            Kind.RECORD_CONTENDER,
            ("img", "b1", "p", "0000000001", CONTENDER),
        ),
        ("/nodepool/requests/lock", Kind.OTHER, ()),
        ("/nodepool/nodes/lock", Kind.OTHER, ()),
        ("/nodepool/nodes/1/lock/something", Kind.OTHER, ()),
        ("/nodepool/nodes/1/other", Kind.OTHER, ()),
        ("/nodepool/launchers/x", Kind.OTHER, ()),
        ("/poolmgr/peers", Kind.ROOT, ()),
        ("/poolmgr/providers", Kind.ROOT, ()),
        (paths.peer("host0000000001"), Kind.PEER, ("host0000000001",)),
        ("/poolmgr/peers/host0000000001/more", Kind.OTHER, ()),
        (paths.provider("north"), Kind.PROVIDER, ("north",)),
        ("/poolmgr/providers/north/lock", Kind.PROVIDER_LOCK, ("north",)),
        (f"/poolmgr/providers/north/lock/{CONTENDER}", Kind.PROVIDER_CONTENDER, ("north", CONTENDER)),
        ("/poolmgr/providers/north/lock/other", Kind.OTHER, ()),
        (f"/poolmgr/providers/north/order/{CONTENDER}", Kind.OTHER, ()),
        (paths.provider_order("north"), Kind.PROVIDER_ORDER, ("north",)),
        (paths.approval("north"), Kind.APPROVAL, ("north",)),
        (paths.provider_status("north"), Kind.PROVIDER_STATUS, ("north",)),
        ("/poolmgr/providers/north/other", Kind.OTHER, ()),
        ("/poolmgr/providers/a%2fb/order", Kind.OTHER, ()),  # ours is spelled %2F
        ("/poolmgr/nodes/1", Kind.OTHER, ()),
        ("/poolmgr/tenants", Kind.ROOT, ()),
        ("/poolmgr/tenants/a%2Fb", Kind.PROMISES, ("a/b",)),
        ("/poolmgr/tenants/%", Kind.PROMISES, ("",)),
        ("/poolmgr/tenants/a%2fb", Kind.OTHER, ()),
        ("/poolmgr/tenants/t/more", Kind.OTHER, ()),
        ("/nodepool", Kind.OTHER, ()),
        ("/zuul/nodes/1", Kind.OTHER, ()),
        (paths.DEPLOYMENT, Kind.OTHER, ()),
        ("/", Kind.OTHER, ()),
        ("", Kind.OTHER, ()),
    ],
)
def test_a_path_says_what_it_is(path, kind, ids):
    assert place_of(path) == (kind, ids)


@pytest.mark.parametrize(
    ("name", "sequence"),
    [
        (CONTENDER, "0000000001"),
        ("anything__lock__-2147483648", "-2147483648"),
        ("__lock__0000000001", "0000000001"),
        ("abc__lock__123", None),
        ("abc__rlock__0000000001", None),
        ("abc_lock_0000000001", None),
        ("abc__lock__0000000001x", None),
        ("lock", None),
    ],
)
def test_who_contends_is_told_by_the_name(name, sequence):
    assert paths.sequence_of(name) == sequence


def test_an_upload_has_the_path_that_its_record_says():
    upload = Upload(image="img", build="b1", provider="p", id="0000000001")
    assert upload.path == f"{paths.uploads('img', 'b1', 'p')}/0000000001"


@pytest.mark.parametrize("name", ["ubuntu-noble", "a b", "ü", "...", "locks", "1"])
def test_most_names_may_be_part_of_a_path(name):
    assert paths.usable(name)


@pytest.mark.parametrize("name", ["", ".", "..", "lock", "a/b", "a\n", "\x00", "\x7f", "\ue000", "\ufffe"])
def test_names_that_zookeeper_refuses_or_that_mean_something_else_may_not(name):
    assert not paths.usable(name)


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("north", "north"),
        ("a b:c@d", "a b:c@d"),
        ("a/b", "a%2Fb"),
        ("%2F", "%252F"),
        (".", "%2E"),
        ("..", "%2E%2E"),
        ("...", "%2E%2E%2E"),
        ("a.b", "a.b"),
        ("", "%"),
        ("%", "%25"),
        ("lock", "lock"),
        ("grün", "gr%C3%BCn"),
        ("a\x00\n\x7f", "a%00%0A%7F"),
        ("\ud800", "%ED%A0%80"),
        ("\ue000\uffff", "%EE%80%80%EF%BF%BF"),
    ],
)
def test_any_name_of_a_provider_has_a_folder_of_its_own(name, folder):
    assert paths.provider(name) == f"{paths.PROVIDERS}/{folder}"
    assert place_of(paths.provider_order(name)) == (Kind.PROVIDER_ORDER, (name,))
    assert folder == "%" or paths.usable(folder.replace("lock", "x"))


def test_the_root_of_a_path():
    assert paths.root_of(paths.node("1")) == paths.NODES
    assert paths.root_of(paths.provider_order("a/b")) == paths.PROVIDERS
    assert paths.root_of(paths.peer("host1")) == paths.PEERS
