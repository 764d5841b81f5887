"""The builder's uploads over HTTP, to clouds of each shape that fail in each way: what serves goes on serving.

How the cloud layer tries again is tested in test_image_uploads; here, what the builder makes of the end of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from poolmgr.cloud.openstack.upload_attempt import UploadPolicy
from poolmgr.config.settings import DiskImage
from poolmgr.model.image import Upload, UploadState
from poolmgr.simcloud.server import running
from poolmgr.simcloud.world import World
from tests.contract.clouds import openstack_cloud
from tests.contract.uploads import TIMEOUTS
from tests.fakes import FakeClock
from tests.scenario.harness import Fuse
from tests.scenario.uploading import CONTENT, UploadSite

SHAPES = ("nat", "v1only", "import", "tasks")
PUTS = ["image.PUT.*", "object-store.PUT.object"]


class HttpSite(UploadSite):
    """Clouds behind HTTP, in a thread of this process. `stack` ends it all."""

    def __init__(self, directory: Path, stack: ExitStack, *args: Any, **more: Any) -> None:
        self._stack = stack
        self.cloud_settings: dict[str, Any] = {}
        clock = FakeClock(time.time())  # tokens end by the machine's clock
        super().__init__(directory, *args, clock=clock, **more)

    def open_world(self, config: Mapping[str, Any]) -> World:
        self._sim = self._stack.enter_context(running(config, self.clock.time))
        return self._sim.world

    def connect(self, name: str, fuse: Fuse, deployment: str) -> Any:
        cloud = openstack_cloud(
            self._sim,
            self.clock,
            name=name,
            timeouts=TIMEOUTS,
            settings=self.cloud_settings,
            upload_policy=UploadPolicy(import_timeout=200.0),
        )
        self._stack.callback(cloud.close)
        return cloud


@contextmanager
def http_site(directory: Path, shape: str, **more: Any) -> Iterator[HttpSite]:
    with ExitStack() as stack:
        yield HttpSite(directory, stack, {"one": {"shape": shape, **more}})


def with_one_ready(site: UploadSite) -> Upload:
    """An upload that serves, and a newer build that is to follow."""
    site.build()
    site.start()
    assert site.run(site.ready), site.left()
    (old,) = site.uploads()
    site.clock.advance(60.0)
    site.build(content=CONTENT[::-1])
    return old


def serves(site: UploadSite) -> Upload | None:
    with site.client.reading() as snapshot:
        return snapshot.newest_upload("debian", "one")


def assert_clean(site: UploadSite) -> None:
    """Each image is named by a READY record and whole, and each READY record's image is there; nothing else is."""
    ready = {u.external_id for u in site.uploads(UploadState.READY)}
    assert {(i.id, i.status, i.size) for i in site.images()} == {(i, "active", len(CONTENT)) for i in ready}
    assert site.objects() == []
    assert site.locks() == []
    assert all(u.external_id is None for u in site.uploads(UploadState.FAILED))


STAYS: dict[str, Callable[[UploadSite], None]] = {
    "401": lambda s: s.strike("refuse", operations=PUTS, status=401, after_bytes=3000),
    "503": lambda s: s.strike("http-503", operations=PUTS),
    "429": lambda s: s.strike("throttle", operations=PUTS),
    "dropped connection": lambda s: s.strike("drop", operations=PUTS, after_bytes=3000),
    "active, but another one": lambda s: s.strike("converted-image"),
    "active with half of the bytes": lambda s: s.strike("short-image"),
    "no images may be made": lambda s: s.strike(
        "refuse", operations=["image.POST.*", "object-store.PUT.*"], status=403, message="not you"
    ),
}


@pytest.mark.parametrize("fault", sorted(STAYS))
@pytest.mark.parametrize("shape", SHAPES)
def test_a_fault_that_stays_harms_nothing_that_serves_and_leaves_nothing(shape, fault, tmp_path):
    with http_site(tmp_path, shape) as site:
        old = with_one_ready(site)
        STAYS[fault](site)
        assert site.run(lambda: site.uploads(UploadState.FAILED), seconds=200), site.left()
        assert_clean(site)
        assert serves(site) == old
        (failed,) = site.uploads(UploadState.FAILED)
        assert failed.reason
        assert failed.failures == 1
        site.calm()
        assert site.run(lambda: site.ready(2), seconds=200), site.left()
        assert_clean(site)
        assert serves(site) != old


PASSES: dict[str, Callable[[UploadSite], None]] = {
    "401": lambda s: s.strike("expired-token", operations=PUTS, times=1),
    "503": lambda s: s.strike("http-503", operations=PUTS, times=1),
    "429": lambda s: s.strike("throttle", operations=PUTS, times=1),
    "dropped connection": lambda s: s.strike("drop", operations=PUTS, times=1, after_bytes=3000),
}


@pytest.mark.parametrize("fault", sorted(PASSES))
@pytest.mark.parametrize("shape", SHAPES)
def test_a_fault_that_passes_is_no_failure(shape, fault, tmp_path):
    with http_site(tmp_path, shape) as site:
        with_one_ready(site)
        PASSES[fault](site)
        assert site.run(lambda: site.ready(2), seconds=60), site.left()
        assert_clean(site)
        assert site.uploads(UploadState.FAILED) == []


def test_a_task_that_fails_as_known_and_then_succeeds(tmp_path):
    with http_site(tmp_path, "tasks") as site:
        with_one_ready(site)
        site.strike("failed-task", times=2)
        assert site.run(lambda: site.ready(2), seconds=60), site.left()
        assert_clean(site)


def test_a_task_that_always_fails(tmp_path):
    with http_site(tmp_path, "tasks") as site:
        old = with_one_ready(site)
        site.strike("failed-task")
        assert site.run(lambda: site.uploads(UploadState.FAILED), seconds=60), site.left()
        assert "396" in (site.uploads(UploadState.FAILED)[0].reason or "")
        assert_clean(site)
        assert serves(site) == old


def test_an_import_that_is_advertised_and_gets_stuck(tmp_path):
    """Where PUT works it is used instead; where it does not, the upload fails and the old image serves on."""
    with ExitStack() as stack:
        site = HttpSite(tmp_path, stack, {"one": "import"})
        old = with_one_ready(site)
        site.strike("stuck-import")
        assert site.run(lambda: site.uploads(UploadState.FAILED), seconds=1000), site.left()
        assert_clean(site)
        assert serves(site) == old
    with ExitStack() as stack:
        (tmp_path / "put").mkdir()
        site = HttpSite(tmp_path / "put", stack, {"one": "nat"})
        site.cloud_settings = {"image_upload_method": "import"}
        with_one_ready(site)
        site.strike("stuck-import")
        assert site.run(lambda: site.ready(2), seconds=1000), site.left()
        assert_clean(site)
        assert site.uploads()[-1].method == "put"


@pytest.mark.parametrize("shape", SHAPES)
def test_a_delete_that_is_refused_leaves_what_the_record_names(shape, tmp_path):
    """As of an image in use: the janitor deletes it by its record, however long that takes."""
    with http_site(tmp_path, shape) as site:
        old = with_one_ready(site)
        site.strike("converted-image")
        site.strike("image-in-use")
        assert site.run(lambda: site.uploads(UploadState.FAILED), seconds=200), site.left()
        (failed,) = site.uploads(UploadState.FAILED)
        assert {i.id for i in site.images()} == {old.external_id, failed.external_id}
        assert serves(site) == old


def test_a_cloud_that_fetches_the_file_itself(tmp_path):
    """The address is that of the file below `images-url`."""
    with ExitStack() as stack:
        url = "http://127.0.0.1:1/images"
        site = HttpSite(tmp_path, stack, image=DiskImage(name="debian"), images_url=url)
        site.cloud_settings = {"image_upload_method": "web-download"}
        build = site.build()
        site.start()
        assert site.run(lambda: site.uploads(UploadState.FAILED), seconds=200), site.left()
        assert f"{url}/{build.name}.raw" in (site.upload().reason or "")
        assert_clean(site)
