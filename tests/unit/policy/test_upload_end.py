from __future__ import annotations

from dataclasses import replace

import pytest

from poolmgr.config.settings import DiskImage, OpenStackProvider, ProviderImage, Settings, StaticProvider
from poolmgr.model.image import Build, BuildState, Upload, UploadState
from poolmgr.model.snapshot import Snapshot
from poolmgr.policy.upload_end import UploadEnd, upload_end

BUILD = Build(id="b", image="debian", state=BuildState.READY)
UPLOAD = Upload(id="1", image="debian", build="b", provider="north")


def settings(*, pause: bool = False, listed: bool = True, image: bool = True) -> Settings:
    lists = {"debian": ProviderImage(name="debian", pause=pause)} if listed else {}
    return Settings(
        diskimages={"debian": DiskImage(name="debian")} if image else {},
        providers={"north": OpenStackProvider(name="north", cloud="c", diskimages=lists)},
    )


def snapshot(build: Build | None = BUILD, upload: Upload | None = UPLOAD) -> Snapshot:
    found = Snapshot()
    if build is not None:
        found.put_build(build)
    if upload is not None:
        found.put_upload(upload)
    return found


def test_it_goes_on():
    assert upload_end(snapshot(), settings(), UPLOAD) is None


@pytest.mark.parametrize(
    ("build", "upload", "why"),
    [
        (BUILD, None, UploadEnd.DELETED),
        (BUILD, replace(UPLOAD, state=UploadState.DELETING), UploadEnd.DELETED),
        (replace(BUILD, state=BuildState.DELETING), UPLOAD, UploadEnd.BUILD_DELETED),
        (None, UPLOAD, UploadEnd.BUILD_DELETED),
    ],
)
def test_what_the_store_ends(build, upload, why):
    assert upload_end(snapshot(build, upload), settings(), UPLOAD) is why


def test_an_unreadable_record_is_not_a_deleted_one():
    found = snapshot(BUILD, None)
    found.put_unreadable_image("debian", UPLOAD.path)
    assert upload_end(found, settings(), UPLOAD) is None


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        (settings(pause=True), UploadEnd.PAUSED),
        (settings(listed=False), UploadEnd.NOT_LISTED),
        (settings(image=False), UploadEnd.NOT_LISTED),
        (replace(settings(), providers={}), UploadEnd.NOT_LISTED),
        (replace(settings(), providers={"north": StaticProvider(name="north")}), UploadEnd.NOT_LISTED),
    ],
)
def test_what_the_settings_end(wanted, why):
    assert upload_end(snapshot(), wanted, UPLOAD) is why
