from __future__ import annotations

import os

import pytest

from poolmgr.builder.build_log import add_exit_code, last_lines, log_path, prune_logs

IDS = [f"{n:032x}" for n in range(1, 5)]


@pytest.fixture
def logs(tmp_path):
    """Of `img` four, the first is the oldest; of others newer ones."""
    names = [f"img-{one}.log" for one in IDS]
    names += [
        f"img-arm64-{IDS[0]}.log",
        f"img-2-{IDS[1]}.log",
        "img-0000000007.log",
        "img-notes.log",
        "img-1.txt",
    ]
    for age, name in enumerate(names):
        (tmp_path / name).write_text("x")
        os.utime(tmp_path / name, (1000.0 + age, 1000.0 + age))
    return tmp_path


@pytest.mark.parametrize(("retention", "kept"), [(2, 2), (1, 1), (0, 1), (7, 5), (-1, 5)])
def test_only_logs_of_this_very_image_are_counted_and_removed(logs, retention, kept):
    before = {path.name for path in logs.iterdir()}
    of_image = [*(f"img-{one}.log" for one in IDS), "img-0000000007.log"]  # by age
    prune_logs(logs, "img", retention)
    assert {path.name for path in logs.iterdir()} == before - set(of_image[: len(of_image) - kept])


def test_a_name_that_goes_on_is_another_image(logs):
    prune_logs(logs, "img-arm64", 1)
    assert (logs / f"img-arm64-{IDS[0]}.log").exists()
    assert len(list(logs.glob("img-*.log"))) == 8


def test_the_end_of_a_log(tmp_path):
    path = log_path(tmp_path, "img", IDS[0])
    path.write_bytes(b"start\n" * 50000 + b"l\xff1\n" + b"x" * 5000)
    add_exit_code(path, 3)
    assert path.read_bytes().endswith(b"Exit code: 3\n")
    first, second = last_lines(path, 2)
    assert (first, second[:10]) == ("l\ufffd1", "x" * 10)


def test_a_log_that_is_not_there(tmp_path):
    assert last_lines(tmp_path / "none") == []
    add_exit_code(tmp_path / "nowhere" / "none", 1)
