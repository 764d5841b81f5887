"""Uploads and the janitor together, over many builds and all that goes wrong: what serves goes on serving."""

from __future__ import annotations

import random
from contextlib import suppress
from dataclasses import replace

import pytest

from poolmgr.config.settings import ProviderImage
from poolmgr.errors import Conflict, RecordGone
from poolmgr.model.image import BuildState, UploadState
from poolmgr.policy.image_tuning import ImageTuning
from tests.scenario.harness import Fuse
from tests.scenario.uploading import UploadSite

CLOUDS = {"one": "nat", "two": "import", "three": "tasks"}
TROUBLE = ("http-503", "drop", "lost-answer", "short-image", "slow-image", "image-in-use", "failed-task")
BUILDS = 12
TUNING = ImageTuning(late_import=600.0, sweep_interval=60.0, sweep_age=90.0)


class Life:
    """Chance at work on a site."""

    def __init__(self, site: UploadSite, rng: random.Random) -> None:
        self.site, self.rng = site, rng
        self.served: set[str] = set()

    def disturb(self) -> None:
        cloud = self.rng.choice(sorted(CLOUDS))
        match self.rng.randrange(8):
            case 0 | 1 | 2:
                self.site.strike(self.rng.choice(TROUBLE), cloud, times=self.rng.randrange(1, 5))
            case 3:
                self._pause(cloud, paused=self.rng.random() < 0.3)
            case 4:
                self._delete_some_upload()
            case 5:
                self._delete_some_build()
            case 6:
                process = self.site.processes[-1]
                if process.alive:
                    process.memory.expire()
            case _:
                pass

    def start_again(self) -> None:
        if not any(process.alive for process in self.site.processes):
            self.site.start(Fuse(self.rng.randrange(5, 80), after=self.rng.random() < 0.5))

    def look(self) -> None:
        """Whoever boots now, finds the image there and whole, once there was one."""
        for cloud in CLOUDS:
            with self.site.client.reading() as snapshot:
                newest = snapshot.newest_upload("debian", cloud)
            if newest is None:
                assert cloud not in self.served, self.site.left()
                continue
            self.served.add(cloud)
            statuses = {image.id: (image.status, image.size) for image in self.site.images(cloud)}
            assert statuses.get(newest.external_id or "") == ("active", newest.size), self.site.left()

    def _pause(self, cloud: str, *, paused: bool) -> None:
        self.site.change(cloud, diskimages={"debian": ProviderImage(name="debian", pause=paused)})

    def _delete_some_upload(self) -> None:
        """Not one that serves: that one would be missed."""
        found = [upload for upload in self.site.uploads() if upload.state is UploadState.UPLOADING]
        if found:
            with suppress(Conflict, RecordGone):  # a person would look again
                self.site.delete(self.rng.choice(found))

    def _delete_some_build(self) -> None:
        with self.site.client.reading() as snapshot:
            builds = [b for b in snapshot.builds() if b.state is BuildState.READY]
            spare = [
                build
                for build in builds
                if not any(u.state is UploadState.READY for u in snapshot.uploads_of("debian", build.id))
            ]
        if spare:
            with suppress(Conflict, RecordGone):
                self.site.client.save_build(replace(self.rng.choice(spare), state=BuildState.DELETING))


@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=pytest.mark.integration) for n in (1, 2))])
def test_whatever_happens_an_image_serves_and_nothing_is_left_over(seed, tmp_path):
    site = UploadSite(tmp_path, CLOUDS, tuning=TUNING, max_parallel_uploads=2)
    site.tidied = True
    life = Life(site, random.Random(seed))
    for _ in range(BUILDS):
        site.build()
        for _ in range(life.rng.randrange(1, 20)):
            life.start_again()
            life.disturb()
            site.run(seconds=10)
            life.look()
    for cloud in CLOUDS:
        site.calm(cloud)
        life._pause(cloud, paused=False)
    for process in site.processes:
        if process.alive:
            process.die()
    newest = site.build()
    site.start()
    assert site.run(
        lambda: sum(u.build == newest.id for u in site.uploads(UploadState.READY)) == 3, seconds=8000
    )
    site.run(seconds=1500)
    life.look()
    assert len(site.processes) > 5
    for cloud in CLOUDS:
        kept = site.uploads(provider=cloud)
        assert {upload.state for upload in kept} == {UploadState.READY}, site.left()
        assert len(kept) <= 2
        assert {image.id for image in site.images(cloud)} == {upload.external_id for upload in kept}, (
            site.left()
        )
        assert site.objects(cloud) == [], site.left()
    assert site.locks() == []
