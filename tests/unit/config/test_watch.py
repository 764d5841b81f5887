from __future__ import annotations

import os

import pytest

from poolmgr.config.watch import Watched


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "nodepool.yaml"
    path.write_text("a")
    return path


def touch(path, ns):
    os.utime(path, ns=(ns, ns))


def test_a_file_left_alone_is_no_change(file):
    watched = Watched([str(file)])
    assert [watched.changed() for _ in range(3)] == [False] * 3


def test_each_change_is_told_once_so_a_bad_file_is_reported_once(file):
    watched = Watched([str(file)])
    for ns in (10**18, 10**18 + 1):
        touch(file, ns)
        assert [watched.changed(), watched.changed()] == [True, False]


def test_another_size_or_another_file_with_the_same_time_is_a_change(file, tmp_path):
    touch(file, 10**18)
    watched = Watched([str(file)])
    file.write_text("ab")
    touch(file, 10**18)
    assert watched.changed()
    other = tmp_path / "new"
    other.write_text("xy")
    touch(other, 10**18)
    other.rename(file)
    assert watched.changed()


def test_a_file_that_is_away_is_no_change_and_its_return_is_one(file):
    watched = Watched([str(file)])
    file.unlink()
    assert [watched.changed(), watched.changed()] == [False, False]
    file.write_text("a")
    assert [watched.changed(), watched.changed()] == [True, False]


def test_any_of_the_files_counts(file, tmp_path):
    secure = tmp_path / "secure.yaml"
    watched = Watched([str(file), str(secure)])
    assert not watched.changed()
    secure.write_text("b")
    assert watched.changed()
    touch(file, 10**18)
    assert watched.changed()


def test_forgetting_has_the_next_look_tell_a_change(file):
    watched = Watched([str(file)])
    watched.forget()
    assert [watched.changed(), watched.changed()] == [True, False]
