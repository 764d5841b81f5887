"""Files of builds: only those, and only where they belong."""

import os

import pytest

from poolmgr.web.build_files import CHUNK, BuildName, open_file


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("debian-0f3c", BuildName("debian", "0f3c")),
        ("ubuntu-noble-arm64-0000000012", BuildName("ubuntu-noble-arm64", "0000000012")),
        ("a.b_c+d-1", BuildName("a.b_c+d", "1")),
        ("debian", None),
        ("debian-", None),
        ("-1", None),
        ("../../etc/x-1", None),
        ("..-1", None),
        (".hidden-1", None),
        ("a\0b-1", None),
        ("debian-1\n", None),
        ("debian-1/..", None),
        ("", None),
    ],
)
def test_a_name_is_an_image_and_a_build(text, name):
    assert BuildName.parse(text) == name
    assert name is None or str(name) == text


def tail_of(path, lines):
    file = open_file(path.parent, path.name)
    file.seek_tail(lines)
    text = b""
    while chunk := file.read():
        text += chunk
    file.close()
    return text


@pytest.mark.parametrize("ending", ["", "\n"])
@pytest.mark.parametrize("lines", [0, 1, 2, 7, 49_999, 50_000, 60_000])
def test_a_tail_has_so_many_lines(tmp_path, lines, ending):
    whole = [f"line {number}" for number in range(50_000)]  # several blocks
    path = tmp_path / "x.log"
    path.write_text("\n".join(whole) + ending)
    wanted = whole[len(whole) - min(lines, len(whole)) :]
    assert tail_of(path, lines).decode() == ("\n".join(wanted) + ending if wanted else "")


@pytest.mark.parametrize("text", [b"", b"\n", b"\n\n\n", b"x" * (3 * CHUNK), b"\n" + b"x" * CHUNK + b"\n"])
def test_tails_of_odd_files(tmp_path, text):
    path = tmp_path / "x.log"
    path.write_bytes(text)
    assert tail_of(path, 1) == (text.splitlines(keepends=True) or [b""])[-1]


def test_only_regular_files_right_there_are_opened(tmp_path):
    inside = tmp_path / "logs"
    inside.mkdir()
    (tmp_path / "secret").write_text("x")
    (inside / "link.log").symlink_to(tmp_path / "secret")
    (inside / "folder.log").mkdir()
    os.mkfifo(inside / "fifo.log")
    for name in ("link.log", "folder.log", "fifo.log", "none.log", "../secret", "a\0b", "x" * 5000):
        assert open_file(inside, name) is None
    assert open_file(tmp_path / "nowhere", "x.log") is None
