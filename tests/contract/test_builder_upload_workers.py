"""The upload workers of a builder as they run: with threads, real time, and providers that come and go."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from poolmgr.builder.uploads import Uploads
from poolmgr.model.image import UploadState
from poolmgr.policy.image_tuning import ImageTuning
from poolmgr.runtime.clock import SystemClock
from poolmgr.runtime.executor import ThreadExecutor
from tests.scenario.uploading import Uploader, UploadSite, provider
from tests.sites import eventually

QUICK = ImageTuning(cycle_spacing=0.01)


class Running:
    """A builder's uploads, started; what the store tells wakes them, as the crew does it."""

    def __init__(self, site: UploadSite) -> None:
        self.site = site
        self.executors = {name: ThreadExecutor(f"upload-{name}", 2) for name in site.world.clouds}
        self.process = Uploader(site, executors=self.executors)
        self.all_places = dict(self.process.providers)
        self.uploads = Uploads(self.process.parts)
        self.process.memory.subscribe(lambda _: self.uploads.wake())

    def offer(self, *names: str) -> None:
        """The providers in force from now on."""
        self.site.settings = replace(self.site.settings, providers={name: provider(name) for name in names})
        self.process.providers.clear()
        self.process.providers.update({name: self.all_places[name] for name in names})
        self.uploads.apply()

    def close(self) -> None:
        self.uploads.stop(5.0)
        for executor in self.executors.values():
            executor.stop()
        self.process.memory.close()


@pytest.fixture
def builder(tmp_path) -> Iterator[Running]:
    site = UploadSite(tmp_path, {"one": "nat", "two": "nat"}, tuning=QUICK, clock=SystemClock())
    running = Running(site)
    yield running
    running.close()


def test_builds_are_uploaded_as_they_come_to_all_providers(builder):
    builder.uploads.start()
    builder.site.build()
    eventually(lambda: builder.site.ready(2) and not builder.site.locks())
    for cloud in ("one", "two"):
        builder.site.assert_one_ready(cloud)
    assert builder.uploads.stalled(builder.site.clock.monotonic()) is None
    eventually(lambda: builder.uploads.describe() == "uploads to one: none\nuploads to two: none")


def test_providers_come_and_go(builder):
    builder.offer("one")
    builder.uploads.start()
    builder.site.build()
    eventually(lambda: builder.site.ready(1))
    builder.offer("two")
    eventually(lambda: builder.site.ready(2))
    assert {u.provider for u in builder.site.uploads(UploadState.READY)} == {"one", "two"}

    def only_two() -> bool:
        builder.uploads.apply()
        return builder.uploads.describe() == "uploads to two: none"

    eventually(only_two)  # whoever was at work when its provider went stays until it is done


def test_before_the_start_and_after_the_stop_nothing_is_uploaded(builder):
    builder.site.build()
    builder.uploads.apply()
    builder.uploads.wake()
    assert builder.uploads.describe() == "uploads: no provider"
    assert builder.uploads.stop(1.0)
    builder.uploads.start()
    assert builder.site.uploads() == []


def test_a_stop_ends_what_hangs_in_a_rate_limit_and_takes_its_image_back(builder):
    builder.site.settings = replace(builder.site.settings, upload_rate_limit=0.001)
    builder.site.build(content=b"x" * 600_000)
    builder.uploads.start()
    eventually(
        lambda: len(builder.site.uploads()) == 2 and all(u.external_id for u in builder.site.uploads())
    )
    assert builder.uploads.stop(10.0)
    assert builder.site.uploads() == []
    builder.site.assert_nothing("one")
    builder.site.assert_nothing("two")


def test_a_stop_does_not_wait_longer_than_it_may(builder):
    held, entered = threading.Event(), threading.Event()
    images = builder.all_places["one"].images
    upload_image = images.upload_image

    def hangs(*args, **more):
        entered.set()
        held.wait(30.0)
        return upload_image(*args, **more)

    images.upload_image = hangs
    try:
        builder.site.build()
        builder.uploads.start()
        assert entered.wait(10.0)
        eventually(lambda: builder.site.uploads(UploadState.READY, "two"))
        assert not builder.uploads.stop(0.1)
    finally:
        held.set()
    eventually(lambda: not builder.site.uploads(provider="one"))
