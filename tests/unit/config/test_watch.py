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


def looks(watched, count=3):
    return [watched.changed() for _ in range(count)]


def test_a_file_left_alone_is_no_change(file):
    assert looks(Watched([str(file)])) == [False] * 3


def test_each_change_is_told_once_and_when_it_has_settled(file):
    watched = Watched([str(file)])
    for ns in (10**18, 10**18 + 1):
        touch(file, ns)
        assert looks(watched) == [False, True, False]


def test_a_file_that_is_being_written_is_left_alone_until_it_is_whole(file):
    watched = Watched([str(file)])
    for size in range(2, 6):
        file.write_text("a" * size)
        assert not watched.changed()
    assert looks(watched) == [True, False, False]


def test_another_size_or_another_file_with_the_same_time_is_a_change(file, tmp_path):
    touch(file, 10**18)
    watched = Watched([str(file)])
    file.write_text("ab")
    touch(file, 10**18)
    assert looks(watched, 2) == [False, True]
    other = tmp_path / "new"
    other.write_text("xy")
    touch(other, 10**18)
    other.rename(file)
    assert looks(watched, 2) == [False, True]


def test_a_file_that_is_away_for_a_moment_is_no_change(file):
    watched = Watched([str(file)])
    times = os.stat(file).st_mtime_ns
    content = file.with_suffix(".aside")
    file.rename(content)
    assert not watched.changed()
    content.rename(file)
    assert os.stat(file).st_mtime_ns == times
    assert looks(watched) == [False] * 3


def test_a_file_that_stays_away_is_a_change_and_so_is_its_return(file):
    watched = Watched([str(file)])
    file.unlink()
    assert looks(watched) == [False, True, False]
    file.write_text("a")
    assert looks(watched) == [False, True, False]


def test_any_of_the_files_counts(file, tmp_path):
    secure = tmp_path / "secure.yaml"
    watched = Watched([str(file), str(secure)])
    secure.write_text("b")
    assert looks(watched, 2) == [False, True]
    touch(file, 10**18)
    assert looks(watched, 2) == [False, True]


def test_what_is_about_to_be_read_anyway_is_not_told(file):
    watched = Watched([str(file)])
    touch(file, 10**18)
    watched.mark()
    assert looks(watched) == [False] * 3


def test_files_that_are_named_later_are_watched_from_then_on(file, tmp_path):
    clouds, other = tmp_path / "clouds.yaml", tmp_path / "other.yaml"
    clouds.write_text("a")
    watched = Watched([str(file)])
    watched.also([str(clouds)])
    assert looks(watched) == [False] * 3
    touch(clouds, 10**18)
    assert looks(watched, 2) == [False, True]
    watched.also([str(other)])
    touch(clouds, 10**18 + 1)
    assert looks(watched) == [False] * 3
    other.write_text("b")
    assert looks(watched, 2) == [False, True]
