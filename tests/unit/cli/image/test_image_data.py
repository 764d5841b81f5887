"""Backups of image records, written and put back."""

import json
import os
import stat

import pytest

from poolmgr.cli.image import export_data
from poolmgr.errors import Refused
from poolmgr.model.component import Component, ComponentKind
from poolmgr.model.image import BuildState, ImageOrder, Order

BUILD = "/nodepool/images/debian/builds/0f"


@pytest.fixture
def backup(place):
    """A file with a build, an upload and a pause, after which the build changed and the pause was lifted."""
    build = place.add_build()
    place.add_upload()
    place.store.order_image(ImageOrder(image="debian", kind=Order.PAUSE))
    path = place.directory / "backup.json"
    place.run("export-image-data", str(path))
    place.store.withdraw_order("debian", Order.PAUSE)
    place.run("dib-image-delete", build.name)
    return path


def state(place):
    return place.snapshot(lambda snapshot: snapshot.build("debian", "0f").state)


def test_an_export_is_the_records_by_path_for_its_owner_only(place, backup):
    data = json.loads(backup.read_text())
    assert set(data) == {BUILD, f"{BUILD}/providers/north/images/0000000000", "/nodepool/images/debian/pause"}
    assert json.loads(data[BUILD])["state"] == "ready"
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600


def test_an_export_replaces_a_longer_file_whole(place):
    place.add_build()
    path = place.directory / "backup.json"
    path.write_text("x" * 100_000)
    path.chmod(0o644)
    assert place.run("export-image-data", str(path)).err == f"1 record written to {path}\n"
    assert list(json.loads(path.read_text())) == [BUILD]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(os.listdir(place.directory)) == ["backup.json", "nodepool.yaml"]


def test_an_export_that_fails_leaves_what_was_there(place, monkeypatch):
    path = place.directory / "backup.json"
    path.write_text("old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Refused, match="No space left"):
        export_data.write_whole(path, "new")
    assert path.read_text() == "old"
    assert sorted(os.listdir(place.directory)) == ["backup.json", "nodepool.yaml"]


@pytest.mark.parametrize(
    ("name", "told"), [(".", "not a regular file"), ("no/where", "there is no directory")]
)
def test_an_export_goes_into_a_file_only(place, name, told):
    assert told in place.run("export-image-data", str(place.directory / name), code=1).err
    assert "not a regular file" in place.run("export-image-data", "/dev/null", code=1).err


def test_a_dry_run_tells_and_changes_nothing(place, backup):
    rows = place.rows("import-image-data", "--dry-run", str(backup))
    assert {row["path"].rpartition("/")[2]: row["action"] for row in rows} == {
        "0f": "overwrite",
        "0000000000": "same",
        "pause": "create",
    }
    assert state(place) is BuildState.DELETING
    assert place.snapshot(lambda s: s.order("debian", Order.PAUSE)) is None


def test_an_import_puts_records_back_after_asking(place, backup):
    _, errors = place.run("import-image-data", str(backup), answer="no\n", code=1)
    assert "1 record will be overwritten. Type 3 or yes" in errors
    assert state(place) is BuildState.DELETING
    errors = place.run("import-image-data", str(backup), "--yes").err
    assert errors == "3 records: 1 made, 1 overwritten, 1 the same as they were\n"
    assert state(place) is BuildState.READY
    assert place.snapshot(lambda s: s.order("debian", Order.PAUSE))


def test_an_import_into_an_empty_zookeeper_does_not_ask(place):
    path = place.directory / "backup.json"
    path.write_text(json.dumps({BUILD: json.dumps({"state": "ready", "state_time": 7.0})}))
    place.run("import-image-data", str(path))
    assert state(place) is BuildState.READY


def test_daemons_that_run_are_told_first(place):
    place.store.register(Component(kind=ComponentKind.BUILDER, hostname="b1"))
    path = place.directory / "backup.json"
    path.write_text("{}")
    assert "builders are running on b1. Type" in place.run("import-image-data", str(path), code=1).err
    place.run("import-image-data", str(path), "--yes")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "is not the JSON of an export"),
        ("[]", "one JSON object of texts by path"),
        ('{"/nodepool/images/debian/pause": null}', "one JSON object of texts by path"),
        ('{"/nodepool/nodes/1": "{}"}', "nothing was written"),
        (json.dumps({BUILD: "no json"}), "nothing was written"),
    ],
)
def test_a_file_that_is_no_export_changes_nothing(place, text, told):
    path = place.directory / "backup.json"
    path.write_text(text)
    for options in ([], ["--dry-run"]):
        assert told in place.run("import-image-data", *options, str(path), code=1).err
    assert place.store.image_data() == {}
    assert "cannot read" in place.run("import-image-data", "/no/such/file", code=1).err
