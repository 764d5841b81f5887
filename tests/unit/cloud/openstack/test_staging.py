"""Where an image lies in an object store on its way: pure."""

from __future__ import annotations

import pytest

from poolmgr.cloud.openstack.object_store import MAX_OBJECT, StoreLimits, limits_of
from poolmgr.cloud.openstack.staging import is_marked, layout_of, marks_for, owner_in
from poolmgr.model.cloud_image import ImageOwner, ImageSpec

OWNER = ImageOwner(provider="north", image="débian", build="b-1", upload="0000000001", deployment="d-1")
GIB = 1 << 30


def spec(size, **more):
    return ImageSpec(**{"name": "a/b", "path": "/p", "size": size, "owner": OWNER, **more})


@pytest.mark.parametrize(
    ("size", "limits", "segment", "count"),
    [
        (GIB, StoreLimits(), GIB, 1),
        (GIB + 1, StoreLimits(), GIB, 2),
        (10 * GIB, StoreLimits(static=True), GIB, 10),
        (10 * GIB, StoreLimits(max_object=GIB // 2), GIB, 20),
        (
            100,
            StoreLimits(static=True, max_segments=3),
            10,
            3,
        ),  # longer segments, so that there are few enough
        (100, StoreLimits(max_segments=3), 10, 10),  # of no matter where there is no manifest
        (100, StoreLimits(static=True, max_segments=3, max_object=20), 10, 5),  # the store will refuse it
        (1, StoreLimits(static=True), 10, 1),
    ],
)
def test_segments_cover_the_file_and_are_about_equal(size, limits, segment, count):
    layout = layout_of(spec(size), "t-1", limits, segment=segment)
    assert len(layout.segments) == count
    assert layout.in_one_piece is (count == 1)
    end = 0
    for each in layout.segments:
        assert each.offset == end
        assert 0 < each.length <= limits.max_object
        end += each.length
    assert end == size
    lengths = [each.length for each in layout.segments]
    assert max(lengths) - min(lengths) <= max(1, count)


def test_paths_have_the_token_the_upload_and_no_slash_too_many():
    layout = layout_of(spec(25), "t-1", StoreLimits(static=True), segment=10)
    assert layout.path == "images/poolmgr-a_b-t-1"
    assert [each.path for each in layout.segments] == [
        f"images_segments/poolmgr-a_b-t-1/0000000001/0000000{number}" for number in (1, 2, 3)
    ]
    assert layout.prefix == "images_segments/poolmgr-a_b-t-1/0000000001/"
    nobodys = layout_of(spec(25, owner=None), "t-1", StoreLimits(), segment=10)
    assert nobodys.segments[0].path == "images_segments/poolmgr-a_b-t-1/t-1/00000001"


def test_the_owner_can_be_read_from_an_objects_headers():
    headers = marks_for(spec(1), "t-1")
    assert headers["X-Delete-After"] == "86400"
    assert all(value.isascii() for value in headers.values())
    assert is_marked(headers)
    assert owner_in(headers) == OWNER
    nobodys = marks_for(spec(1, owner=None), "t-1")
    assert is_marked(nobodys)
    assert owner_in(nobodys) is None
    assert not is_marked({"content-length": "1"})


@pytest.mark.parametrize(
    ("info", "limits"),
    [
        ({}, StoreLimits()),
        ({"swift": {"max_file_size": 99}}, StoreLimits(max_object=99)),
        (
            {"slo": {"min_segment_size": 2, "max_manifest_segments": 7}},
            StoreLimits(static=True, min_segment=2, max_segments=7),
        ),
        (
            {"slo": {}, "swift": {"max_file_size": "nonsense"}},
            StoreLimits(static=True, max_object=MAX_OBJECT),
        ),
        ({"slo": None, "swift": []}, StoreLimits()),
    ],
)
def test_what_a_store_says_of_its_limits(info, limits):
    assert limits_of(info) == limits
