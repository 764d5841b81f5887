"""Whose the images directory is."""

from __future__ import annotations

import os

import pytest

from poolmgr.builder.images_dir import ImagesDirLock, images_dir_of
from poolmgr.config.settings import Settings
from poolmgr.errors import ConfigError


@pytest.mark.parametrize(
    ("name", "told"),
    [(None, "no images-dir"), ("nowhere", "does not exist; make it"), ("file", "is no directory")],
)
def test_there_has_to_be_a_directory(tmp_path, name, told):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=told):
        images_dir_of(Settings(images_dir=None if name is None else str(tmp_path / name)))


def test_one_builder_at_a_time_has_it(tmp_path):
    assert images_dir_of(Settings(images_dir=str(tmp_path))) == tmp_path
    first = ImagesDirLock(tmp_path)
    with pytest.raises(ConfigError, match=f"another builder works there, process {os.getpid()};"):
        ImagesDirLock(tmp_path)
    first.release()
    first.release()
    ImagesDirLock(tmp_path).release()


def test_a_directory_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / ".poolmgr-builder.lock").mkdir()  # as root, nothing is refused for its mode
    with pytest.raises(ConfigError, match="cannot write there"):
        ImagesDirLock(tmp_path)


def test_a_directory_that_is_gone_or_another_one_is_told(tmp_path):
    directory, aside = tmp_path / "images", tmp_path / "aside"
    directory.mkdir()
    lock = ImagesDirLock(directory)
    assert lock.trouble() is None
    directory.rename(aside)
    assert lock.trouble() == f"images-dir {directory} is gone"
    directory.touch()
    assert lock.trouble() == f"images-dir {directory} is gone"
    directory.unlink()
    directory.mkdir()  # as an empty mount point is
    assert lock.trouble() == f"images-dir {directory} is another directory than when the builder began"
    directory.rmdir()
    aside.rename(directory)
    assert lock.trouble() is None
    lock.release()
