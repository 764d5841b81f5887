"""What every store does with images: orders, builds, uploads, their locks, and all of it as texts."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from poolmgr.errors import BadRecord, Conflict, LockBusy, LockLost, RecordGone, StoreUnavailable
from poolmgr.model.image import Build, BuildState, ImageOrder, Order, Upload, UploadState
from poolmgr.model.snapshot import Snapshot
from poolmgr.store import paths
from poolmgr.store.api import Change, ChangeKind, Store
from tests.sites import Site, eventually

IMAGES = "/nodepool/images"
BUILD = Build(
    id="b" * 32,
    image="img",
    state_time=1.0,
    builder="host.example.org",
    builder_id="uuid",
    formats="qcow2,raw",
)
UPLOAD = Upload(image="img", build=BUILD.id, provider="north", state_time=2.0)
UPLOADS = paths.uploads("img", BUILD.id, "north")


def raw(site: Site, path: str) -> dict[str, Any]:
    data = site.get(path)
    assert data is not None
    return json.loads(data)


class Seen:
    """What a store shows now, as attributes of its snapshot."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        def ask(*args: Any) -> Any:
            with self._store.reading() as snapshot:
                answer = getattr(snapshot, name)(*args)
                return (
                    answer if isinstance(answer, bool | Build | Upload | ImageOrder | None) else list(answer)
                )

        return ask


def built(store: Store, **changes: Any) -> Build:
    lock = store.lock_builds("img")
    try:
        return store.create_build(replace(BUILD, **changes), lock)
    finally:
        store.unlock(lock)


def uploaded(store: Store, **changes: Any) -> Upload:
    lock = store.lock_uploads("img", BUILD.id, "north")
    try:
        return store.create_upload(replace(UPLOAD, **changes), lock)
    finally:
        store.unlock(lock)


# Orders


def test_an_order_stands_with_its_words_until_it_is_withdrawn(site, store, other):
    order = store.order_image(ImageOrder(image="img", kind=Order.BUILD, by="me@here", reason="why not"))
    assert raw(site, f"{IMAGES}/img/request-build") == {"by": "me@here", "reason": "why not"}
    assert order.at > 1e9
    assert Seen(store).order("img", Order.BUILD) == order
    eventually(lambda: Seen(other).order("img", Order.BUILD) == order)
    assert Seen(other).orders(Order.BUILD) == [order]
    assert Seen(other).orders(Order.PAUSE) == []
    assert Seen(other).images() == ["img"]
    assert other.withdraw_order("img", Order.BUILD)
    assert not store.withdraw_order("img", Order.BUILD)
    assert Seen(other).order("img", Order.BUILD) is None
    eventually(lambda: Seen(store).order("img", Order.BUILD) is None)


def test_an_order_without_words_is_as_the_references(site, store):
    store.order_image(ImageOrder(image="img", kind=Order.PAUSE))
    assert site.get(f"{IMAGES}/img/pause") == b""


def test_the_first_order_stands(store, other):
    first = store.order_image(ImageOrder(image="img", kind=Order.PAUSE, by="first"))
    assert other.order_image(ImageOrder(image="img", kind=Order.PAUSE, by="second")) == first


@pytest.mark.parametrize("data", [b"", b"{}", b"nonsense", b"[1]", b'{"by": 7}'])
def test_an_order_stands_whatever_it_says(site, store, data):
    site.put(f"{IMAGES}/img/pause", data)
    found = eventually(lambda: Seen(store).order("img", Order.PAUSE))
    assert (found.by, found.kind, found.image) == (None, Order.PAUSE, "img")
    assert found.at > 1e9
    assert Seen(site.store()).order("img", Order.PAUSE) == found
    site.remove(f"{IMAGES}/img/pause")
    eventually(lambda: Seen(store).order("img", Order.PAUSE) is None)


@pytest.mark.parametrize("name", ["", "..", "a/b", "lock", "a\n"])
def test_names_that_are_no_part_of_a_path_are_refused(site, store, name):
    before = site.paths()
    for act in (
        lambda: store.order_image(ImageOrder(image=name)),
        lambda: store.withdraw_order(name, Order.BUILD),
        lambda: store.lock_builds(name),
        lambda: store.lock_uploads("img", BUILD.id, name),
        lambda: store.lock_uploads("img", name, "north"),
        lambda: store.create_upload(replace(UPLOAD, provider=name)),
        lambda: store.read_upload(f"{IMAGES}/{name}"),
        lambda: store.delete_build(replace(BUILD, id=name, version=0)),
    ):
        with pytest.raises(BadRecord):
            act()
    assert site.paths() == before


# Builds


def test_one_build_of_an_image_at_a_time(site, store, other):
    lock = store.lock_builds("img")
    (contender,) = [path for path in site.paths() if "__lock__" in path]
    assert re.fullmatch(IMAGES + r"/img/builds/lock/[0-9a-f]{32}__lock__\d{10}", contender)
    assert Seen(store).build_locked("img")
    eventually(lambda: Seen(other).build_locked("img"))
    assert not Seen(other).build_locked("another")
    with pytest.raises(LockBusy):
        other.lock_builds("img")
    store.unlock(lock)
    eventually(lambda: not Seen(other).build_locked("img"))
    assert other.lock_builds("img").valid


def test_a_build_from_its_record_to_its_end(site, store, other):
    lock = store.lock_builds("img")
    build = store.create_build(BUILD, lock)
    assert (build, build.version) == (BUILD, 1)
    assert raw(site, f"{IMAGES}/img/builds/{BUILD.id}") == {
        "state": "building",
        "state_time": 1.0,
        "builder": "host.example.org",
        "builder_id": "uuid",
        "formats": "qcow2,raw",
        "username": "zuul",
        "python_path": "/usr/bin/python2",
        "shell_type": None,
    }
    assert Seen(store).build("img", BUILD.id) == build
    eventually(lambda: Seen(other).builds_of("img") == [build])
    ready = store.save_build(replace(build, state=BuildState.READY, duration=4.0), lock)
    assert Seen(store).builds() == [ready]
    store.unlock(lock)
    eventually(lambda: Seen(other).builds() == [ready])
    with pytest.raises(Conflict):
        other.delete_build(build)
    other.delete_build(ready)
    assert Seen(other).builds() == []
    eventually(lambda: Seen(store).builds() == [])
    assert [path for path in site.paths() if BUILD.id in path or "__lock__" in path] == []
    store.delete_build(ready)  # gone already
    with pytest.raises(RecordGone):
        store.save_build(ready)


def test_a_build_is_made_once_and_only_under_its_images_lock(site, store, other):
    lock = store.lock_builds("img")
    store.create_build(BUILD, lock)
    with pytest.raises(Conflict):
        store.create_build(BUILD, lock)
    with pytest.raises(LockLost):
        store.create_build(replace(BUILD, image="another", id="c" * 32), lock)
    for path in [path for path in site.paths() if "__lock__" in path]:
        site.remove(path)
    with pytest.raises(LockLost):
        store.create_build(replace(BUILD, id="c" * 32), lock)
    assert not lock.valid
    assert [build.id for build in Seen(site.store()).builds()] == [BUILD.id]


def test_a_build_saved_under_a_lock_that_was_taken_away_is_refused(site, store, other):
    lock = store.lock_builds("img")
    build = store.create_build(BUILD, lock)
    site.expire(store)
    assert not lock.valid
    with pytest.raises(LockLost):
        store.save_build(replace(build, state=BuildState.FAILED), lock)
    again = store.lock_builds("img")  # what was built is good all the same
    assert store.save_build(replace(build, state=BuildState.READY), again).state is BuildState.READY


def test_a_build_with_uploads_is_not_deleted(site, store, other):
    build = built(store)
    upload = uploaded(store)
    site.contend(f"{IMAGES}/img/builds/{BUILD.id}/lock")
    with pytest.raises(Conflict):
        other.delete_build(build)
    other.delete_upload(upload)
    site.contend(f"{UPLOADS}/lock")  # someone begins another
    site.put(f"{UPLOADS}/0000000009/lock")  # brought back by nodepool-builder's lock
    other.delete_build(build)
    assert [path for path in site.paths() if BUILD.id in path] == []
    assert not Seen(other).upload_locked("img", BUILD.id, "north")


# Uploads


def test_one_upload_of_a_build_to_a_provider_at_a_time(site, store, other):
    built(store)
    lock = store.lock_uploads("img", BUILD.id, "north")
    assert Seen(store).upload_locked("img", BUILD.id, "north")
    eventually(lambda: Seen(other).upload_locked("img", BUILD.id, "north"))
    assert not Seen(other).upload_locked("img", BUILD.id, "south")
    with pytest.raises(LockBusy):
        other.lock_uploads("img", BUILD.id, "north")
    assert other.lock_uploads("img", BUILD.id, "south").valid
    store.unlock(lock)
    eventually(lambda: not Seen(other).upload_locked("img", BUILD.id, "north"))
    assert other.lock_uploads("img", BUILD.id, "north").valid


def test_an_upload_from_its_record_to_its_end(site, store, other):
    built(store)
    lock = store.lock_uploads("img", BUILD.id, "north")
    upload = store.create_upload(UPLOAD, lock)
    assert upload.path == f"{UPLOADS}/{upload.id}"
    assert re.fullmatch(r"\d{10}", upload.id)
    assert raw(site, upload.path) == {
        "state": "uploading",
        "state_time": 2.0,
        "external_id": None,
        "external_name": None,
        "format": None,
        "username": "zuul",
        "python_path": "/usr/bin/python2",
        "shell_type": None,
    }
    assert Seen(store).uploads_of("img", BUILD.id) == [upload]
    eventually(lambda: Seen(other).uploads_to("img", "north") == [upload])
    ready = store.save_upload(replace(upload, state=UploadState.READY, external_id="x", sent=7), lock)
    store.unlock(lock)
    assert other.read_upload(upload.path) == ready
    eventually(lambda: Seen(other).newest_upload("img", "north") == ready)
    own, read = other.lock_upload(ready)
    assert read == ready
    with pytest.raises(LockBusy):
        store.lock_upload(ready)
    deleting = other.save_upload(replace(read, state=UploadState.DELETING), own)
    with pytest.raises(Conflict):
        other.delete_upload(ready, own)
    other.delete_upload(deleting, own)
    assert not own.valid
    assert Seen(other).uploads() == []
    eventually(lambda: Seen(store).uploads() == [])
    store.delete_upload(deleting)  # gone already
    for act in (
        lambda: store.read_upload(ready.path),
        lambda: store.save_upload(ready),
        lambda: store.lock_upload(ready),
    ):
        with pytest.raises(RecordGone):
            act()
    assert uploaded(store).id > upload.id


def test_a_lock_of_uploads_guards_one_build_in_one_provider(store):
    built(store)
    lock = store.lock_uploads("img", BUILD.id, "north")
    upload = store.create_upload(UPLOAD, lock)
    with pytest.raises(LockLost):
        store.create_upload(replace(UPLOAD, provider="south"), lock)
    with pytest.raises(LockLost):
        store.delete_upload(upload, lock)
    elsewhere = store.lock_uploads("img", BUILD.id, "south")
    with pytest.raises(LockLost):
        store.save_upload(upload, elsewhere)


def test_an_upload_whose_lock_was_taken_away_leaves_no_record(site, store):
    built(store)
    lock = store.lock_uploads("img", BUILD.id, "north")
    for path in [path for path in site.paths() if "__lock__" in path]:
        site.remove(path)
    with pytest.raises(LockLost):
        store.create_upload(UPLOAD, lock)
    assert Seen(store).uploads() == []
    assert [path for path in site.paths() if paths.place_of(path).kind is paths.Kind.UPLOAD] == []
    upload = uploaded(store)
    own, _ = store.lock_upload(upload)
    for path in [path for path in site.paths() if "__lock__" in path]:
        site.remove(path)
    for act in (lambda: store.save_upload(upload, own), lambda: store.delete_upload(upload, own)):
        with pytest.raises(LockLost):
            act()
    assert store.read_upload(upload.path) == upload


def test_locks_and_uploads_do_not_bring_back_what_was_deleted(site, store, other):
    build = built(store)
    upload = uploaded(store)
    other.delete_upload(upload)
    lock = store.lock_uploads("img", BUILD.id, "north")
    other.delete_build(build)
    before = site.paths()
    for act in (
        lambda: store.create_upload(UPLOAD, lock),
        lambda: store.lock_uploads("img", BUILD.id, "north"),
        lambda: store.lock_uploads("img", BUILD.id, "south"),
        lambda: store.lock_upload(upload),
    ):
        with pytest.raises(RecordGone):
            act()
    store.unlock(lock)
    assert site.paths() == before


def test_what_a_foreign_lock_brought_back_is_no_build_to_upload(site, store):
    site.put(f"{IMAGES}/img/builds/{BUILD.id}/lock")
    with pytest.raises(RecordGone):
        store.lock_uploads("img", BUILD.id, "north")
    assert [path for path in site.paths() if "__lock__" in path] == []


def test_a_lost_answer_leaves_no_contender_behind(site, store):
    built(store)
    site.lose_next_answer(store)
    with pytest.raises(StoreUnavailable):
        store.lock_uploads("img", BUILD.id, "north")
    eventually(lambda: not store.connected)
    site.resume(store)
    assert [path for path in site.paths() if "__lock__" in path] == []
    assert store.lock_uploads("img", BUILD.id, "north").valid


# What the cache shows


def everything(snapshot: Snapshot) -> tuple[Any, ...]:
    records = (*snapshot.builds(), *snapshot.uploads())
    return (
        sorted(snapshot.images()),
        sorted(records, key=lambda one: one.id),
        [snapshot.order("img", kind) for kind in Order],
        snapshot.build_locked("img"),
        snapshot.upload_locked("img", BUILD.id, "north"),
        snapshot.image_unreadable("img"),
    )


def shown(store: Store) -> tuple[Any, ...]:
    with store.reading() as snapshot:
        return everything(snapshot)


def test_a_new_store_shows_all_that_is_there_and_one_that_was_away_what_changed(site, store, other):
    built(store)
    upload = uploaded(store)
    store.order_image(ImageOrder(image="img", kind=Order.BUILD))
    locks = [
        store.lock_builds("img"),
        store.lock_uploads("img", BUILD.id, "north"),
        store.lock_upload(upload)[0],
    ]
    site.put(f"{UPLOADS}/0000000077", {"state": "exploded"})
    eventually(lambda: Seen(store).image_unreadable("img"))
    assert shown(site.store()) == shown(store)
    eventually(lambda: shown(other) == shown(store))
    site.suspend(other)
    for lock in locks:
        store.unlock(lock)
    store.delete_upload(upload)
    site.remove(f"{UPLOADS}/0000000077")
    store.withdraw_order("img", Order.BUILD)
    store.order_image(ImageOrder(image="img", kind=Order.PAUSE))
    store.order_image(ImageOrder(image="another"))
    eventually(lambda: not Seen(store).image_unreadable("img"))
    site.resume(other)
    assert shown(other) == shown(store)
    site.suspend(other)
    for path in (f"{IMAGES}/img", f"{IMAGES}/another"):
        site.remove(path)
    site.resume(other)
    eventually(lambda: Seen(store).images() == [])
    assert shown(other) == shown(store) == ([], [], [None, None], False, False, False)


def test_a_lock_of_a_record_survives_a_break(site, store, other):
    built(store)
    upload = uploaded(store)
    own, _ = store.lock_upload(upload)
    site.suspend(store)
    site.resume(store)
    assert own.valid
    store.delete_upload(upload, own)


def test_an_image_with_unreadable_records_is_known_to_have_some(site, store):
    site.put(f"{IMAGES}/img/builds/{BUILD.id}", b"nonsense")
    eventually(lambda: Seen(store).image_unreadable("img"))
    site.put(f"{UPLOADS}/0000000001", {"state": "exploded"})
    site.put(f"{IMAGES}/img/builds/{BUILD.id}", {"state": "ready"})
    eventually(lambda: Seen(store).builds() != [])
    assert Seen(store).image_unreadable("img")
    assert not Seen(store).image_unreadable("another")
    with pytest.raises(BadRecord):
        store.read_upload(f"{UPLOADS}/0000000001")
    with pytest.raises(BadRecord):
        store.lock_upload(replace(UPLOAD, id="0000000001"))
    assert [path for path in site.paths() if "__lock__" in path] == []
    site.remove(f"{UPLOADS}/0000000001")
    eventually(lambda: not Seen(store).image_unreadable("img"))


def test_each_change_of_an_image_is_reported_with_its_name(site, store, other):
    changes: list[Change] = []
    other.subscribe(changes.append)

    def told() -> bool:
        return bool(changes) and set(changes) == {Change(ChangeKind.IMAGE, "img")}

    def after(act: Any) -> Any:
        changes.clear()
        result = act()
        eventually(told)
        return result

    after(lambda: store.order_image(ImageOrder(image="img", kind=Order.BUILD)))
    after(lambda: store.withdraw_order("img", Order.BUILD))
    lock = after(lambda: store.lock_builds("img"))
    build = after(lambda: store.create_build(BUILD, lock))
    build = after(lambda: store.save_build(build, lock))
    after(lambda: store.unlock(lock))
    lock = after(lambda: store.lock_uploads("img", BUILD.id, "north"))
    upload = after(lambda: store.create_upload(UPLOAD, lock))
    after(lambda: store.unlock(lock))
    lock, _ = after(lambda: store.lock_upload(upload))
    after(lambda: store.unlock(lock))
    after(lambda: store.delete_upload(upload))
    after(lambda: store.delete_build(build))


def test_what_foreign_locks_brought_back_is_removed_when_nobody_has_it_locked(site, store):
    built(store)
    upload = uploaded(store)
    other_build = f"{IMAGES}/img/builds/{'c' * 32}"
    site.put(f"{UPLOADS}/0000000008/lock")
    contender = site.contend(f"{UPLOADS}/0000000009/lock")
    site.put(f"{other_build}/providers/north/images/lock")
    kept = f"{IMAGES}/img/builds/{'d' * 32}/providers/north/images/0000000001"
    site.put(kept, {"state": "ready"})  # below a build that has no record
    eventually(lambda: len(Seen(store).uploads()) == 2 and Seen(store).images())
    eventually(lambda: len(store._cache.empty_records()) == 4)
    assert not Seen(store).image_unreadable("img")
    assert store.purge_empty() == 2
    gone = [path for path in site.paths() if "0000000008" in path or other_build in path]
    assert gone == []
    assert site.get(contender) is not None
    assert site.get(upload.path)
    assert site.get(kept)


# All of it as texts


def test_image_data_is_what_nodepools_export_has(site, store, other):
    build = built(store)
    upload = uploaded(store)
    store.order_image(ImageOrder(image="img", kind=Order.PAUSE))
    store.order_image(ImageOrder(image="img", kind=Order.BUILD))
    store.lock_builds("img")
    site.put(f"{UPLOADS}/0000000077", {"state": "ready", "x": 1})
    site.put(f"{UPLOADS}/0000000078")
    site.put(f"{UPLOADS}/0000000079", b"\xff")
    data = other.image_data()
    assert set(data) == {
        f"{IMAGES}/img/pause",
        f"{IMAGES}/img/builds/{build.id}",
        upload.path,
        f"{UPLOADS}/0000000077",
    }
    assert data[f"{IMAGES}/img/pause"] == ""
    assert json.loads(data[f"{UPLOADS}/0000000077"]) == {"state": "ready", "x": 1}


def test_image_data_can_be_written_into_an_empty_tree_and_over_what_is_there(site, store):
    text = json.dumps({"state": "ready", "state_time": 3.5, "external_id": "i", "future": [1]})
    data = {
        f"{IMAGES}/img/pause": "",
        f"{UPLOADS}/0000000007": text,
        f"{IMAGES}/img/builds/0000000003": json.dumps(
            {"state": "ready", "formats": "raw"}
        ),  # of an old release
        f"{IMAGES}/img/builds/{BUILD.id}": json.dumps({"state": "ready", "formats": "raw"}),
    }
    assert store.restore_image_data(data) == 4
    assert store.image_data() == data
    assert Seen(store).order("img", Order.PAUSE)
    found = Seen(store).upload(f"{UPLOADS}/0000000007")
    assert (found.external_id, found.extra) == ("i", {"future": [1]})
    assert len(Seen(store).builds()) == 2
    assert uploaded(store).id > "0000000007"
    changed = data | {f"{UPLOADS}/0000000007": json.dumps({"state": "deleting"})}
    assert store.restore_image_data(changed) == 4
    assert store.read_upload(f"{UPLOADS}/0000000007").state is UploadState.DELETING
    assert len(store.image_data()) == 5  # nothing is deleted


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/nodepool/nodes/0000000001", '{"state": "ready"}'),
        (f"{IMAGES}/img/request-build", ""),
        (f"{IMAGES}/img", ""),
        (f"{IMAGES}/img/builds/lock", ""),
        (f"{IMAGES}/img/builds//providers/p/images/0000000001", '{"state": "ready"}'),
        (f"{IMAGES}/img/builds/{BUILD.id}", ""),
        (f"{IMAGES}/img/builds/{BUILD.id}", '{"state": "exploded"}'),
        (f"{IMAGES}/img/builds/{BUILD.id}", "\ud800"),
        (f"{UPLOADS}/first", '{"state": "ready"}'),
        (f"{UPLOADS}/9999999999", '{"state": "ready"}'),
        (f"{IMAGES}/other/pause", "nonsense"),
        (f"{IMAGES}/img/builds/{BUILD.id}", json.dumps({"state": "ready", "x": "y" * 1_000_000})),
    ],
)
def test_image_data_that_is_none_is_refused_before_anything_is_written(site, store, path, text):
    before = site.paths()
    with pytest.raises(BadRecord):
        store.restore_image_data({f"{IMAGES}/img/pause": "", path: text})
    assert site.paths() == before
