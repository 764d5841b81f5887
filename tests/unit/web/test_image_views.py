"""Rows of builds, uploads and orders (cli-web.md 1.1 and 3)."""

import pytest

from poolmgr.model.image import Build, BuildState, ImageOrder, Order, Upload, UploadState
from poolmgr.model.node import Node
from poolmgr.model.snapshot import Snapshot
from poolmgr.web.image_views import (
    BUILD_COLUMNS,
    BUILD_DETAIL_COLUMNS,
    BUILD_REQUEST_COLUMNS,
    STATUS_COLUMNS,
    UPLOAD_COLUMNS,
    UPLOAD_DETAIL_COLUMNS,
    build_request_rows,
    build_rows,
    manifest_rows,
    status_rows,
    upload_rows,
)
from poolmgr.web.views import cells

NOW = 1_000_000.0
READY = Build(
    id="0f", image="debian", state=BuildState.READY, state_time=NOW - 5000.5, builder="b1.example", formats="qcow2,raw",
    started=NOW - 5600, duration=600.0, cause="requested", url="http://b1.example:8006",
    files={"qcow2": {"size": 3 * 2**30, "sha256": "ab"}, "raw": {"size": 512}},
)  # fmt: skip
UPLOAD = Upload(
    id="0000000001", image="debian", build="0f", provider="north", state=UploadState.READY, state_time=NOW - 61.5,
    external_id="img-1", external_name="debian-1", format="qcow2", size=3 * 2**30,
)  # fmt: skip


def snapshot_of(*things):
    snapshot = Snapshot()
    for thing in things:
        match thing:
            case Build():
                snapshot.put_image(thing.image)
                snapshot.put_build(thing)
            case Upload():
                snapshot.put_upload(thing)
            case ImageOrder():
                snapshot.put_image(thing.image)
                snapshot.put_order(thing)
            case Node():
                snapshot.put_node(thing)
    return snapshot


def builds(*things):
    return build_rows(snapshot_of(*things), now=NOW, retry_max=3600.0)


def uploads(*things):
    return upload_rows(snapshot_of(*things), now=NOW, retry_max=3600.0)


def test_the_keys_of_the_reference_come_first_with_its_meaning():
    (upload,) = uploads(UPLOAD)
    assert list(upload.items())[:8] == [
        ("id", "0f"), ("upload_id", "0000000001"), ("provider", "north"), ("image", "debian"),
        ("external_name", "debian-1"), ("external_id", "img-1"), ("state", "ready"), ("age", 999938),
    ]  # fmt: skip
    (build,) = builds(READY)
    assert list(build.items())[:6] == [
        ("id", "debian-0f"), ("image", "debian"), ("builder", "b1.example"), ("formats", ["qcow2", "raw"]),
        ("state", "ready"), ("age", 994999),
    ]  # fmt: skip
    (status,) = status_rows(snapshot_of(READY))
    assert list(status.items())[:4] == [
        ("image", "debian"), ("paused", False), ("build_request", None), ("build_request_age", None),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("columns", "titles"),
    [
        (
            UPLOAD_COLUMNS,
            "Build ID,Upload ID,Provider,Image,Provider Image Name,Provider Image ID,State,Age",
        ),
        (BUILD_COLUMNS, "ID,Image,Builder,Formats,State,Age"),
        (STATUS_COLUMNS, "Image,Paused,Build Request,Build Request Age"),
    ],
)
def test_the_columns_are_those_of_the_reference(columns, titles):
    assert ",".join(column.title for column in columns) == titles


def test_tables_show_ages_as_days_hours_minutes_seconds():
    assert cells(uploads(UPLOAD), UPLOAD_COLUMNS, NOW)[0][-2:] == ["ready", "00:00:01:02"]
    assert cells(builds(READY), BUILD_COLUMNS, NOW)[0] == [
        "debian-0f", "debian", "b1.example", "qcow2,raw", "ready", "00:01:23:21",
    ]  # fmt: skip


def test_all_builds_of_a_paused_image_are_shown_as_paused():
    pause = ImageOrder(image="debian", kind=Order.PAUSE, at=NOW - 9, by="ana@b1", reason="mirror")
    other = Build(id="1", image="fedora", state=BuildState.FAILED)
    paused, failed = builds(READY, other, pause)
    assert (paused["state"], paused["build_state"], failed["state"]) == ("paused", "ready", "failed")
    (status,) = status_rows(snapshot_of(READY, pause))
    assert (status["paused"], status["paused_by"], status["pause_reason"]) == (True, "ana@b1", "mirror")
    assert cells([status], STATUS_COLUMNS, NOW) == [["debian", "True", "", ""]]


def test_a_build_tells_how_far_it_is_by_how_long_the_last_took():
    going = Build(id="10", image="debian", state_time=NOW - 150, started=NOW - 150, phase="install.d")
    row = builds(READY, going)[-1]
    assert (row["progress"], row["expected"], row["eta"], row["phase"]) == (
        25,
        600.0,
        int(NOW) + 450,
        "install.d",
    )
    late = Build(id="10", image="debian", state_time=NOW - 900, started=NOW - 900)
    assert builds(READY, late)[-1]["progress"] == 99
    first = builds(going)[-1]
    assert (first["progress"], first["expected"], first["eta"]) == (None, None, None)


def test_an_upload_tells_how_far_it_is_by_its_bytes():
    going = Upload(
        id="2", image="debian", build="0f", provider="north", phase="sending", sent=250, size=1000,
        started=NOW - 100, state_time=NOW - 100, method="put",
    )  # fmt: skip
    (row,) = uploads(going)
    assert (row["progress"], row["eta"], row["sent"]) == (25, int(NOW) + 300, 250)
    shown = dict(
        zip(
            [c.title for c in UPLOAD_DETAIL_COLUMNS], cells([row], UPLOAD_DETAIL_COLUMNS, NOW)[0], strict=True
        )
    )
    assert (shown["Progress"], shown["Left"], shown["Size"]) == ("25 %", "00:00:05:00", "1000 B")
    (row,) = uploads(Upload(id="2", image="debian", build="0f", provider="north", size=1000, started=NOW))
    assert (row["progress"], row["eta"]) == (0, None)


def test_a_failure_tells_why_and_when_it_is_tried_again_until_something_newer_happens():
    failed = Build(
        id="2", image="debian", state=BuildState.FAILED, state_time=NOW - 10, reason="rc 1", failures=2, rc=1
    )
    row = builds(READY, failed)[-1]
    assert (row["reason"], row["failures"], row["exit_code"]) == ("rc 1", 2, 1)
    assert row["next_attempt"] > NOW - 10
    shown = dict(
        zip([c.title for c in BUILD_DETAIL_COLUMNS], cells([row], BUILD_DETAIL_COLUMNS, NOW)[0], strict=True)
    )
    assert (shown["Failures"], shown["Reason"]) == ("2", "rc 1")
    again = Build(id="3", image="debian", state_time=NOW - 1)
    assert builds(READY, failed, again)[1]["next_attempt"] is None
    assert builds(READY)[0]["next_attempt"] is None
    leaving = Build(id="4", image="debian", state=BuildState.DELETING, state_time=NOW)
    assert builds(failed, leaving)[0]["next_attempt"] is not None


def test_nodes_that_boot_from_an_upload_are_counted():
    nodes = [Node(id=str(n), image_id=UPLOAD.path) for n in range(3)]
    assert uploads(UPLOAD, *nodes)[0]["nodes"] == 3
    assert builds(READY, UPLOAD, *nodes)[0]["nodes"] == 3
    assert builds(READY)[0]["nodes"] == 0


def test_sizes_log_and_manifest_of_a_build():
    (row,) = builds(READY)
    assert (row["sizes"], row["sha256"]) == ({"qcow2": 3 * 2**30, "raw": 512}, {"qcow2": "ab"})
    assert row["log"] == "http://b1.example:8006/build-log/debian-0f"
    assert row["manifest"] == "http://b1.example:8006/manifest/debian-0f"
    assert "qcow2 3.0 GiB, raw 512 B" in cells([row], BUILD_DETAIL_COLUMNS, NOW)[0]


def test_a_record_of_nodepool_builder_has_less_to_tell():
    row = builds(Build(id="0000000001", image="debian", builder="b2", formats="raw", state=BuildState.READY))[
        0
    ]
    assert (row["log"], row["manifest"], row["sizes"], row["started"]) == (None, None, {}, None)
    assert cells([row], BUILD_DETAIL_COLUMNS, NOW)[0][:5] == [
        "debian-0000000001",
        "debian",
        "b2",
        "raw",
        "ready",
    ]


def test_requests_with_who_and_why_the_oldest_first():
    orders = [
        ImageOrder(image="debian", at=NOW - 60, by="ana@b1", reason="CVE"),
        ImageOrder(image="alpine", at=NOW - 5),
    ]
    going = Build(id="1", image="alpine", state_time=NOW)
    too_early = Build(id="1", image="debian", state_time=NOW, started=NOW - 61)
    rows = build_request_rows(snapshot_of(*orders, going, too_early))
    assert rows == [
        {"image": "debian", "state": "pending", "age": 999940, "requested_by": "ana@b1", "reason": "CVE"},
        {"image": "alpine", "state": "building", "age": 999995, "requested_by": None, "reason": None},
    ]
    assert cells(rows, BUILD_REQUEST_COLUMNS, NOW)[0] == ["debian", "pending", "00:00:01:00", "ana@b1", "CVE"]
    assert [r["build_request"] for r in status_rows(snapshot_of(*orders, going))] == ["building", "pending"]


def test_manifests_are_listed_for_builds_that_have_one():
    failed = Build(id="2", image="debian", state=BuildState.FAILED, url="http://b1.example:8006")
    old = Build(id="0000000001", image="debian", state=BuildState.READY)
    (row,) = manifest_rows(snapshot_of(READY, failed, old))
    assert (row["id"], row["manifest"]) == ("debian-0f", "http://b1.example:8006/manifest/debian-0f")
