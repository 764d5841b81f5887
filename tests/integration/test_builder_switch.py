"""A builder takes over from nodepool-builder: its records and files as that wrote them, and records of no sense."""

from __future__ import annotations

import hashlib
import json
import time
import uuid

import pytest
from kazoo.client import KazooClient

from poolmgr.model.image import BuildState, UploadState
from poolmgr.runtime.zookeeper_server import ZooKeeperServer
from tests.integration.builder_place import CLOUDS, Site
from tests.sites import eventually

pytestmark = pytest.mark.integration

FORMATS = sorted({image_format for _, image_format in CLOUDS.values()})
BUILDER_ID = "5c7e0a52-6f5b-4a0a-9d0e-0f6a0f4f7a11"
IMAGES = "/nodepool/images"


@pytest.fixture(scope="module")
def zookeeper(tmp_path_factory):
    server = ZooKeeperServer(tmp_path_factory.mktemp("zookeeper"))
    server.start()
    yield f"127.0.0.1:{server.port}"
    server.stop()


@pytest.fixture
def chroot(zookeeper):
    return f"{zookeeper}/{uuid.uuid4().hex}"


@pytest.fixture
def site(tmp_path, chroot):
    made = Site(tmp_path, chroot)
    yield made
    made.close()


@pytest.fixture
def client(chroot, site):
    """Another program on the same tree."""
    made = KazooClient(chroot)
    made.start()
    yield made
    made.stop()
    made.close()


def put(client, path, record):
    data = record if isinstance(record, bytes) else json.dumps(record).encode()
    client.create(f"{IMAGES}/{path}", data, makepath=True)


def built(directory, build_id, image_format, content):
    """An image file with what nodepool-builder has beside it."""
    path = directory / f"noble-{build_id}.{image_format}"
    path.write_bytes(content)
    for kind in ("md5", "sha256"):
        digest = hashlib.new(kind, content).hexdigest()
        path.with_name(f"{path.name}.{kind}").write_text(f"{digest}  {path}\n")


def record_of_nodepool(age):
    """Keys, and the newline that it reads with its id (builder.md 1)."""
    return {
        "state": "ready",
        "state_time": time.time() - age,
        "builder": "old.example.org",
        "builder_id": f"{BUILDER_ID}\n",
        "formats": ",".join(FORMATS),
        "username": "zuul",
        "python_path": "auto",
    }


def test_what_nodepool_built_serves_on_is_uploaded_where_it_is_missing_and_ages_out(site, client):
    builder = site.builders[0]
    (builder.images / "builder_id.txt").write_text(f"{BUILDER_ID}\n")
    (builder.images / "backup-2024.tar").write_text("mine")
    new, old = uuid.uuid4().hex, "0000000007"
    for build_id, age in ((old, 7200), (new, 3600)):
        for image_format in FORMATS:
            built(builder.images, build_id, image_format, f"{build_id} {image_format}".encode() * 1000)
        put(client, f"noble/builds/{build_id}", record_of_nodepool(age))
    site.set_image(**{"keep-builds": 2})
    builder.start()

    def serves(cloud):
        return [u for u in site.uploads(cloud) if u.state is UploadState.READY]

    eventually(lambda: all(serves(cloud) for cloud in site.clouds), within=60)
    assert {u.build for cloud in site.clouds for u in serves(cloud)} == {new}
    assert {b.id for b in site.builds()} == {old, new}  # neither was built anew

    site.set_image()  # one build is kept
    eventually(lambda: {b.id for b in site.builds()} == {new}, within=60)
    eventually(lambda: not list(builder.images.glob(f"noble-{old}*")))
    assert (builder.images / f"noble-{new}.qcow2").exists()

    site.command("image-build", "noble")
    eventually(lambda: len(site.builds()) == 1 and site.builds()[0].id not in (old, new), within=60)
    site.settles_beside({"backup-2024.tar"})
    assert "Traceback" not in builder.log()


def test_a_build_that_nodepool_is_at_is_left_to_it(site, client):
    builder = site.builders[0]
    lock = client.Lock(f"{IMAGES}/noble/builds/lock")
    lock.acquire()
    put(
        client,
        "noble/builds/0000000001",
        {"state": "building", "state_time": time.time(), "formats": "qcow2"},
    )
    builder.start()
    builder.says("is running")
    eventually(lambda: "building" in site.command("dib-image-list"))
    assert [b.id for b in site.builds()] == ["0000000001"]
    lock.release()  # it died: after a while its record is nobody's
    site.settles(60)


RUBBISH = {
    "text": b"no json",
    "list": b"[]",
    "empty": b"",
    "state": b'{"state": "shining", "state_time": 1}',
    "types": b'{"state": "ready", "state_time": "yesterday", "formats": 7}',
    "large": b"x" * 900_000,
}


def test_records_of_no_sense_disturb_no_other_image_and_are_left_alone(site, client):
    builder = site.builders[0]
    for name, data in RUBBISH.items():
        put(client, f"{name}/builds/{uuid.uuid4().hex}", data)
    put(client, "strange/builds/0000000001/providers/sim-put/images/0000000001", b"{}")
    put(client, "strange/unheard-of/deep/down", b"?")
    put(client, f"noble/builds/{uuid.uuid4().hex}/providers/sim-put/images/lock", b"")
    before = {path: client.get(path)[0] for path in rubbish_paths(client)}
    site.change(diskimages=[site.image("noble"), site.image("text")])
    builder.start()

    def good():
        return {u.provider for u in site.uploads() if u.image == "noble" and u.state is UploadState.READY}

    eventually(lambda: good() == set(site.clouds), within=60)
    first = {b.id for b in site.builds() if b.image == "noble"}
    site.command("image-build", "noble")
    eventually(
        lambda: (
            first
            and not first
            & {b.id for b in site.builds() if b.image == "noble" and b.state is BuildState.READY}
        ),
        within=60,
    )
    assert {path: client.get(path)[0] for path in rubbish_paths(client)} == before
    log = builder.log()
    assert "Traceback" not in log
    assert log.count("/nodepool/images/types/") == 1, log


def rubbish_paths(client):
    return [
        f"{IMAGES}/{name}/builds/{build}"
        for name in RUBBISH
        for build in client.get_children(f"{IMAGES}/{name}/builds")
        if build != "lock"
    ]
