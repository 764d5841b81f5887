"""The files of builds, on a real directory."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import replace
from pathlib import Path

import pytest

from poolmgr.builder import files as files_module
from poolmgr.builder.builder_id import read_builder_id
from poolmgr.builder.durable import write_whole
from poolmgr.builder.files import ImageFiles, tmpdir_name
from poolmgr.errors import ConfigError
from poolmgr.policy.image_files import Marker
from poolmgr.runtime.mounts import Mount

BUILD, OTHER = "a" * 32, "b" * 32
MARKER = Marker(
    image="img", build=BUILD, deployment="dep", builder_id="me", formats=("qcow2", "raw"), orphan_since=1.5
)


@pytest.fixture
def files(tmp_path: Path) -> ImageFiles:
    (tmp_path / "images").mkdir()
    return ImageFiles(tmp_path / "images", deployment="dep", builder_id="me")


def make(files: ImageFiles, *names: str, text: str = "x") -> None:
    for name in names:
        (files.directory / name).write_text(text)


def names(files: ImageFiles) -> set[str]:
    return {path.name for path in files.directory.iterdir()}


def all_of_a_build(base: str) -> list[str]:
    return [
        *(f"{base}.{fmt}{more}" for fmt in ("qcow2", "raw") for more in ("", ".md5", ".sha256")),
        f"{base}.qcow2.tmp",
        f"{base}.qcow2-new",
        f"{base}.manifest.json",
    ]


FOREIGN = [
    f"img-arm64-{BUILD}.qcow2",
    f"img-arm64-{BUILD}.poolmgr.json.bak",
    f"img-{OTHER}.qcow2",
    f"img-{OTHER}.raw.tmp",
    f"img-{BUILD}.qcow2x",
    f"img-{BUILD}.txt",
    f"img-{BUILD}qcow2",
    f"img-{BUILD}",
    "img-2024010112.tar",
    "backup-2024.tar",
    "builder_id.txt",
]


def test_a_marker_comes_back_as_it_was_written(files):
    marker = replace(MARKER, tmpdir="/var/tmp/poolmgr-img-" + BUILD)
    files.mark(marker)
    assert files.markers() == (marker,)
    files.mark(MARKER)
    assert files.markers() == (MARKER,)
    assert names(files) == {f"img-{BUILD}.poolmgr.json"}


def test_only_builds_with_a_marker_of_ours_are_local(files):
    make(
        files,
        f"img-{BUILD}.qcow2",
        f"img-{BUILD}.raw.md5",
        f"img-{OTHER}.raw",
        "img-with-dash-0000000012.vhd",
    )
    assert files.local() == {}
    files.mark(replace(MARKER, builder_id="another"))
    assert files.local() == {}
    files.mark(MARKER)
    files.mark(replace(MARKER, image="img-with-dash", build="0000000012"))
    assert files.local() == {("img", BUILD): ("qcow2",), ("img-with-dash", "0000000012"): ("vhd",)}
    make(files, f"img-{BUILD}.raw")
    assert files.local()["img", BUILD] == ("qcow2", "raw")


def test_a_link_or_a_directory_in_place_of_an_image_is_no_image(files, tmp_path):
    files.mark(MARKER)
    (tmp_path / "far.raw").write_text("x")
    (files.directory / f"img-{BUILD}.raw").symlink_to(tmp_path / "far.raw")
    (files.directory / f"img-{BUILD}.qcow2").mkdir()
    assert files.local() == {}
    assert files.found() == {}


def test_found_goes_by_names_alone_and_splits_at_the_last_hyphen(files):
    make(
        files,
        f"img-arm64-{BUILD}.qcow2",
        f"img-{BUILD}.vmdk",
        f"img-{BUILD}.raw",
        f"img-{BUILD}.manifest.json",
    )
    make(
        files,
        f"ubuntu-22.04-{OTHER}.raw",
        "notes.txt",
        "img-123.raw",
        f"-{OTHER}.raw",
        f"img-{OTHER}.raw.tmp",
    )
    assert files.found() == {
        ("img-arm64", BUILD): ("qcow2",),
        ("img", BUILD): ("raw", "vmdk"),
        ("ubuntu-22.04", OTHER): ("raw",),
    }


def test_removing_takes_all_of_the_build_and_nothing_else(files, tmp_path):
    tmpdir = tmp_path / tmpdir_name("img", BUILD)
    (tmpdir / "mnt").mkdir(parents=True)
    marker = replace(MARKER, tmpdir=str(tmpdir))
    files.mark(marker)
    make(files, *all_of_a_build(f"img-{BUILD}"), *FOREIGN)
    manifests = files.directory / f"img-{BUILD}.d" / "dib-manifests"
    manifests.mkdir(parents=True)
    (manifests / "packages").write_text("x")
    far = tmp_path / "far"
    far.mkdir()
    (far / "kept").write_text("x")
    (manifests / "link").symlink_to(far)
    files.remove(marker)
    assert names(files) == set(FOREIGN)
    assert not tmpdir.exists()
    assert (far / "kept").exists()
    files.remove(marker)  # again: nothing is there


def test_links_and_directories_in_place_of_files_are_neither_followed_nor_removed(files, tmp_path):
    files.mark(MARKER)
    far = tmp_path / "far"
    far.mkdir()
    (far / "kept").write_text("x")
    (files.directory / f"img-{BUILD}.raw").symlink_to(far / "kept")
    (files.directory / f"img-{BUILD}.d").symlink_to(far)
    (files.directory / f"img-{BUILD}.qcow2").mkdir()
    (files.directory / f"img-{BUILD}.qcow2" / "kept").write_text("x")
    files.remove(MARKER)
    assert names(files) == {f"img-{BUILD}.raw", f"img-{BUILD}.d", f"img-{BUILD}.qcow2"}
    assert (far / "kept").exists()
    assert (files.directory / f"img-{BUILD}.qcow2" / "kept").exists()


@pytest.mark.parametrize("tmpdir", ["/tmp", "elsewhere", "poolmgr-img-" + OTHER, "poolmgr-img"])
def test_only_a_temporary_directory_of_the_build_s_own_name_is_removed(files, tmp_path, tmpdir):
    other = tmp_path / tmpdir
    other.mkdir(exist_ok=True)
    files.remove(replace(MARKER, tmpdir=str(other)))
    assert other.exists()


def test_a_temporary_directory_that_is_a_link_is_not_followed(files, tmp_path):
    far = tmp_path / "far"
    far.mkdir()
    link = tmp_path / tmpdir_name("img", BUILD)
    link.symlink_to(far)
    files.remove(replace(MARKER, tmpdir=str(link)))
    assert far.exists()


def test_nothing_is_removed_where_something_is_mounted(files, tmp_path, monkeypatch):
    manifests = files.directory / f"img-{BUILD}.d"
    (manifests / "dev").mkdir(parents=True)
    monkeypatch.setattr(files_module, "mounts_below", lambda path: [Mount(f"{path}/dev", "0:5")])
    files.mark(MARKER)
    with pytest.raises(ConfigError, match="dev is mounted there; unmount it"):
        files.remove(MARKER)
    assert (manifests / "dev").exists()
    assert files.markers() == (MARKER,)


def test_a_manifest_that_was_half_written_goes_too(files):
    files.mark(MARKER)
    draft = files.manifest_path("img", BUILD)
    draft.with_name(draft.name + ".draft").touch()
    files.remove(MARKER)
    assert [one for one in files.directory.iterdir() if BUILD in one.name] == []


@pytest.mark.parametrize("change", [{"deployment": "elsewhere"}, {"builder_id": "another"}])
def test_files_of_others_are_refused(files, change):
    marker = replace(MARKER, **change)
    files.mark(marker)
    make(files, f"img-{BUILD}.raw")
    with pytest.raises(ValueError):
        files.remove(marker)
    with pytest.raises(ValueError):
        files.remove_format("img", BUILD, "raw")
    assert f"img-{BUILD}.raw" in names(files)


class Stop(BaseException):
    """The process is gone."""


def test_a_crash_at_any_point_of_removing_leaves_the_marker_until_all_is_gone(files, monkeypatch):
    unlink, step = Path.unlink, 0
    while True:
        files.mark(MARKER)
        make(files, *all_of_a_build(f"img-{BUILD}"))
        (files.directory / f"img-{BUILD}.d").mkdir(exist_ok=True)
        left = [step]

        def stopping(path: Path, left: list[int] = left) -> None:
            if left[0] == 0:
                raise Stop
            left[0] -= 1
            unlink(path)

        monkeypatch.setattr(Path, "unlink", stopping)
        try:
            files.remove(MARKER)
        except Stop:
            assert files.markers() == (MARKER,)
        else:
            break
        finally:
            monkeypatch.setattr(Path, "unlink", unlink)
        files.remove(files.markers()[0])
        assert names(files) == set()
        step += 1
    assert step == len(all_of_a_build("")) + 1  # each of them, and the marker


def test_a_crash_while_a_marker_is_written_leaves_the_old_one(files, monkeypatch):
    files.mark(MARKER)
    for name in ("fsync", "replace"):

        def stop(*_: object) -> None:
            raise Stop

        with monkeypatch.context() as patch:
            patch.setattr(os, name, stop)
            with pytest.raises(Stop):
                files.mark(replace(MARKER, orphan_since=99.0))
        assert files.markers() == (MARKER,)
        make(files, f"img-{OTHER}.poolmgr.json.draft", "mine.poolmgr.json.draft", f"img-{OTHER}.draft")
        files.clear_drafts()
        assert names(files) == {
            f"img-{BUILD}.poolmgr.json",
            "mine.poolmgr.json.draft",
            f"img-{OTHER}.draft",
        }


def test_a_link_in_place_of_a_draft_is_not_written_through(files, tmp_path):
    far = tmp_path / "far"
    far.write_text("precious")
    (files.directory / f"img-{BUILD}.poolmgr.json.draft").symlink_to(far)
    with pytest.raises(ConfigError):
        files.mark(MARKER)
    assert far.read_text() == "precious"


SOUND = {"image": "img", "build": BUILD, "deployment": "dep", "builder_id": "me", "formats": ["raw"]}


@pytest.mark.parametrize(
    "text",
    [
        "",
        '{"image": "img", "bui',
        "[]",
        "null",
        "\x00\x00",
        json.dumps(SOUND | {"image": "other"}),
        json.dumps(SOUND | {"build": OTHER}),
        json.dumps(SOUND | {"deployment": ""}),
        json.dumps(SOUND | {"builder_id": None}),
        json.dumps(SOUND | {"formats": "raw"}),
        json.dumps(SOUND | {"formats": ["../raw"]}),
        json.dumps(SOUND | {"formats": [1]}),
        json.dumps(SOUND | {"tmpdir": "relative"}),
        json.dumps(SOUND | {"tmpdir": 7}),
        json.dumps(SOUND | {"orphan_since": "yesterday"}),
        json.dumps(SOUND | {"orphan_since": float("nan")}),
    ],
)
def test_a_marker_that_makes_no_sense_is_told_once_and_left(files, caplog, text):
    make(files, f"img-{BUILD}.poolmgr.json", text=text)
    make(files, f"img-{BUILD}.raw")
    for _ in range(3):
        assert files.markers() == ()
        assert files.local() == {}
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert names(files) == {f"img-{BUILD}.poolmgr.json", f"img-{BUILD}.raw"}
    make(files, f"img-{BUILD}.poolmgr.json", text=json.dumps(SOUND | {"later": "a key of a later release"}))
    assert files.local() == {("img", BUILD): ("raw",)}


def test_a_marker_that_is_a_link_or_a_directory_is_none(files, tmp_path):
    far = tmp_path / "far"
    far.write_text(json.dumps(SOUND))
    (files.directory / f"img-{BUILD}.poolmgr.json").symlink_to(far)
    (files.directory / f"img-{OTHER}.poolmgr.json").mkdir()
    assert files.markers() == ()
    assert files.marker("img", BUILD) is None
    assert files.marker("img", OTHER) is None


def test_markers_are_read_again_only_when_they_have_changed(files, monkeypatch):
    files.mark(MARKER)
    read = []
    sense = files_module._marker_from
    monkeypatch.setattr(files_module, "_marker_from", lambda *args: read.append(args) or sense(*args))
    for _ in range(3):
        files.local()
    assert len(read) == 1
    files.mark(replace(MARKER, orphan_since=None))
    assert files.markers()[0].orphan_since is None
    files.remove(MARKER)
    assert files.markers() == ()
    assert files.marker("img", BUILD) is None


def test_one_format_goes_with_its_checksums(files):
    files.mark(MARKER)
    make(files, *all_of_a_build(f"img-{BUILD}"))
    files.remove_format("img", BUILD, "raw")
    kept = {name for name in all_of_a_build(f"img-{BUILD}") if ".raw" not in name}
    assert names(files) == kept | {f"img-{BUILD}.poolmgr.json"}
    files.remove_format("img", BUILD, "raw")


@pytest.mark.parametrize(
    ("md5", "sha256", "answer"),
    [
        (f"{'1' * 32}  /images/x.raw\n", f"{'2' * 64}  /images/x.raw\n", ("1" * 32, "2" * 64)),
        ("A" * 32, "2" * 63, ("a" * 32, "")),
        ("", "é" * 64, ("", "")),
        (None, None, ("", "")),
    ],
)
def test_checksums_come_from_the_files_beside(files, md5, sha256, answer):
    for kind, text in (("md5", md5), ("sha256", sha256)):
        if text is not None:
            make(files, f"img-{BUILD}.raw.{kind}", text=text)
    assert files.checksums("img", BUILD, "raw") == answer


def test_a_directory_that_is_missing_or_not_writable_is_told_clearly(tmp_path):
    missing = ImageFiles(tmp_path / "missing", deployment="dep", builder_id="me")
    for act in (missing.markers, missing.local, missing.found, lambda: missing.mark(MARKER)):
        with pytest.raises(ConfigError, match=r"images-dir .*missing: cannot (read|write) .*No such file"):
            act()


def test_what_cannot_be_removed_is_told_and_the_marker_stays(files, monkeypatch):
    files.mark(MARKER)
    make(files, f"img-{BUILD}.raw")

    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        with pytest.raises(ConfigError, match=rf"cannot remove .*img-{BUILD}.raw: Permission denied"):
            files.remove(MARKER)
    assert files.markers() == (MARKER,)


# The builder's id

UUID_TEXT = "01234567-89ab-cdef-0123-456789abcdef"


def test_the_builder_s_id_is_made_once(tmp_path):
    assert read_builder_id(tmp_path, lambda: UUID_TEXT.replace("-", "")) == UUID_TEXT
    assert read_builder_id(tmp_path, lambda: "f" * 32) == UUID_TEXT
    assert (tmp_path / "builder_id.txt").read_text() == UUID_TEXT
    assert [path.name for path in tmp_path.iterdir()] == ["builder_id.txt"]


def test_a_newline_at_its_end_is_no_part_of_it(tmp_path):
    (tmp_path / "builder_id.txt").write_text(f"{UUID_TEXT}\n")
    assert read_builder_id(tmp_path, lambda: "f" * 32) == UUID_TEXT


@pytest.mark.parametrize("content", [b"", b"\n", b"one\ntwo", b"a b", b"\xff\xfe", b"x" * 200, b"../etc"])
def test_what_is_no_id_is_refused_and_left(tmp_path, content):
    (tmp_path / "builder_id.txt").write_bytes(content)
    with pytest.raises(ConfigError, match=r"builder_id\.txt"):
        read_builder_id(tmp_path, lambda: "f" * 32)
    assert (tmp_path / "builder_id.txt").read_bytes() == content


def test_a_builder_without_its_directory_says_so(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read or make .*missing/builder_id\.txt"):
        read_builder_id(tmp_path / "missing", lambda: "f" * 32)
    (tmp_path / "builder_id.txt").mkdir()
    with pytest.raises(ConfigError, match="cannot read or make"):
        read_builder_id(tmp_path, lambda: "f" * 32)


def test_a_file_is_replaced_whole(tmp_path):
    write_whole(tmp_path / "file", "old")
    write_whole(tmp_path / "file", "new")
    assert (tmp_path / "file").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
