from __future__ import annotations

import pytest

from poolmgr.runtime.mounts import devices_on, mounts_below, within


def test_mounts_are_found_by_where_they_are():
    assert "/" in [one.point for one in mounts_below("/")]
    assert "/proc" in [one.point for one in mounts_below("/proc")]


def test_nothing_hangs_on_files_of_an_empty_directory(tmp_path):
    assert mounts_below(str(tmp_path)) == []
    assert devices_on(str(tmp_path)) == []


@pytest.mark.parametrize(
    ("path", "directory", "answer"),
    [("/a", "/a", True), ("/a/b", "/a", True), ("/ab", "/a", False), ("/a", "/", True), ("/", "/a", False)],
)
def test_within(path, directory, answer):
    assert within(path, directory) is answer
