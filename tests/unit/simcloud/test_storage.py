"""Volumes, images, objects."""

from __future__ import annotations

import hashlib

import pytest

from poolmgr.simcloud.content import KEPT_BYTES, Digest
from poolmgr.simcloud.images import NewImage
from poolmgr.simcloud.imports import ImportRequest
from poolmgr.simcloud.manifests import delete_with_segments, put_manifest
from poolmgr.simcloud.refusal import Refusal
from tests.unit.simcloud.worlds import Scene


def digest(data: bytes) -> Digest:
    made = Digest()
    made.feed(data)
    return made


def test_a_digest_knows_size_and_hashes_and_keeps_only_little():
    small = digest(b"abc")
    assert (small.size, small.md5, small.data) == (3, hashlib.md5(b"abc").hexdigest(), b"abc")
    assert small.sha512 == hashlib.sha512(b"abc").hexdigest()
    assert digest(b"x" * (KEPT_BYTES + 1)).data is None


def test_a_volume_is_created_used_up_and_deleted():
    scene = Scene(quota={"volumes": 1, "gigabytes": 100})
    volume = scene.cloud.volumes.create(name="v", size_gib=10)
    assert volume.status == "creating"
    scene.go(1)
    assert scene.cloud.volumes.volume(volume.id).status == "available"
    with pytest.raises(Refusal, match="VolumeLimitExceeded") as caught:
        scene.cloud.volumes.create(name="w", size_gib=10)
    assert caught.value.status == 413
    scene.cloud.volumes.delete(volume.id)
    with pytest.raises(Refusal, match="GigabyteLimitExceeded"):
        scene.cloud.volumes.create(name="w", size_gib=101)


def test_a_volume_in_use_cannot_be_deleted():
    scene = Scene(boot=1)
    server = scene.create(volume_gib=5)
    scene.go(2)
    with pytest.raises(Refusal, match="Volume status must be available"):
        scene.cloud.volumes.delete(scene.server(server).volumes[0])


def test_an_image_is_queued_then_active_and_filled_once():
    images = Scene().cloud.images
    image = images.create(NewImage(name="i", disk_format="qcow2"))
    assert (image.status, image.size) == ("queued", None)
    filled = images.fill(image.id, digest(b"abc"))
    assert (filled.status, filled.size, filled.md5) == ("active", 3, hashlib.md5(b"abc").hexdigest())
    with pytest.raises(Refusal) as caught:
        images.fill(image.id, digest(b"abc"))
    assert caught.value.status == 409


def test_a_staged_image_is_imported_after_a_while():
    scene = Scene()
    images, imports = scene.cloud.images, scene.cloud.imports
    image = images.create(NewImage(name="i"))
    with pytest.raises(Refusal):
        imports.start(image.id, ImportRequest(method="glance-direct"))
    imports.stage(image.id, digest(b"abc"))
    assert images.image(image.id).status == "uploading"
    imports.start(image.id, ImportRequest(method="glance-direct"))
    assert images.image(image.id).status == "importing"
    scene.go(1)
    assert images.image(image.id).status == "active"


def test_a_world_without_a_network_fetches_nothing():
    images, imports = (scene := Scene()).cloud.images, scene.cloud.imports
    image = images.create(NewImage(name="i"))
    task = imports.start(image.id, ImportRequest(method="web-download", uri="http://example.org/i"))
    assert images.image(image.id).status == "queued"
    assert "no way out" in imports.task(task.id).message


def test_protected_and_foreign_images_stay():
    images = Scene().cloud.images
    with pytest.raises(Refusal, match="not authorized"):
        images.delete(next(iter(images.images)))
    mine = images.create(NewImage(name="i", protected=True))
    with pytest.raises(Refusal, match="protected"):
        images.delete(mine.id)
    images.update(mine.id, protected=False)
    images.delete(mine.id)


def test_where_images_come_by_task_no_other_way_works():
    scene = Scene(shape="tasks")
    images, imports, objects = scene.cloud.images, scene.cloud.imports, scene.cloud.objects
    with pytest.raises(Refusal) as caught:
        images.create(NewImage(name="i"))
    assert caught.value.status == 403
    objects.create_container("images")
    objects.put("images", "i", digest(b"abc"), headers={})
    given = {"import_from": "images/i", "image_properties": {"name": "i"}}
    task = imports.import_object(given)
    assert imports.task(task.id).status == "pending"
    scene.go(2)
    done = imports.task(task.id)
    made = images.image(done.image_id or "")
    assert (done.status, made.name, made.size, made.disk_format) == ("success", "i", 3, "vhd")
    assert made.sha512 == hashlib.sha512(b"abc").hexdigest()


def test_a_task_fails_without_its_object_or_when_told():
    scene = Scene(shape="tasks", faults=[{"kind": "failed-task", "skip": 1}])
    imports = scene.cloud.imports
    lost, told = (imports.import_object({}, scene.cloud.call("image.POST.tasks")) for _ in range(2))
    scene.go(2)
    assert imports.task(lost.id).message == "The requested object could not be found."
    assert "396" in imports.task(told.id).message


def test_objects_are_checked_against_their_etag_and_expire():
    scene = Scene()
    objects = scene.cloud.objects
    assert objects.create_container("c")
    assert not objects.create_container("c")
    with pytest.raises(Refusal) as caught:
        objects.put("c", "o", digest(b"abc"), headers={}, etag="wrong")
    assert caught.value.status == 422
    objects.put("c", "o", digest(b"abc"), headers={}, delete_after=10)
    with pytest.raises(Refusal):
        objects.delete_container("c")
    scene.go(10)
    assert objects.container("c") == {}
    objects.delete_container("c")


def test_a_static_large_object_needs_all_its_segments_and_can_take_them_along():
    objects = Scene().cloud.objects
    objects.create_container("c")
    objects.create_container("s")
    for n in range(2):
        objects.put("s", f"o/{n}", digest(b"abc"), headers={})
    segments = [{"path": f"/s/o/{n}", "etag": hashlib.md5(b"abc").hexdigest()} for n in range(3)]
    with pytest.raises(Refusal, match="s/o/2, 404"):
        put_manifest(objects, "c", "o", segments, headers={})
    stored = put_manifest(objects, "c", "o", segments[:2], headers={})
    assert stored.size == 6
    assert delete_with_segments(objects, "c", "o").deleted == 3
    assert objects.container("s") == {}


def test_a_dynamic_large_object_has_the_size_of_what_has_its_prefix():
    objects = Scene().cloud.objects
    objects.create_container("c")
    for name in ("o/1", "o/2", "ox"):
        objects.put("c", name, digest(b"abc"), headers={})
    objects.put("c", "o", Digest(), headers={"x-object-manifest": "c/o/"})
    found = objects.find("c/o")
    assert found is not None
    assert found.size == 6


def test_too_large_an_object_is_refused():
    objects = Scene(object_store={"max-file-size": 2}).cloud.objects
    objects.create_container("c")
    with pytest.raises(Refusal) as caught:
        objects.put("c", "o", digest(b"abc"), headers={})
    assert caught.value.status == 413
