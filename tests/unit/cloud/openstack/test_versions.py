from __future__ import annotations

import pytest

from poolmgr.cloud.openstack.versions import (
    Version,
    best_microversion,
    endpoint_in,
    offers,
    regions_in,
    root_of,
    version_in_path,
    versioned_url,
    versions_in,
    without_project,
)


def entry(ident, status="CURRENT", href="http://inside/v2.1/", **more):
    return {"id": ident, "status": status, "links": [{"rel": "self", "href": href}], **more}


@pytest.mark.parametrize("shape", [
    {"versions": [entry("v2.1", version="2.93", min_version="2.1")]},
    {"versions": {"values": [entry("v2.1", version="2.93", min_version="2.1")]}},
    {"version": entry("v2.1", version="2.93", min_version="2.1")},
])  # fmt: skip
def test_versions_are_read_from_every_shape_of_document(shape):
    assert versions_in(shape) == (Version(number=(2, 1), path="/v2.1/", minimum=(2, 1), maximum=(2, 93)),)


def test_unusable_entries_are_left_out_and_the_newest_comes_first():
    listed = [
        entry("v2.0", "SUPPORTED", version="", min_version=""),
        entry("v2.1"),
        entry("v3.0", "EXPERIMENTAL"),
        {"id": "v4.0", "status": "CURRENT"},
        {"status": "CURRENT", "links": []},
        "nonsense",
    ]
    assert [version.number for version in versions_in({"versions": listed})] == [(2, 1), (2, 0)]


@pytest.mark.parametrize("document", [{}, {"versions": "x"}, {"versions": None}, {"error": {"code": 404}}])
def test_what_is_no_version_document_lists_nothing(document):
    assert versions_in(document) == ()


@pytest.mark.parametrize(
    ("url", "version", "root"),
    [
        ("http://h:8774/v2.1/0123", (2, 1), "http://h:8774"),
        ("http://h/compute/v2.1", (2, 1), "http://h/compute"),
        ("http://h:9292", None, "http://h:9292"),
        ("http://h/image/", None, "http://h/image"),
        ("http://h/v2/abc", (2, 0), "http://h"),
    ],
)
def test_version_and_root_of_a_url(url, version, root):
    assert version_in_path(url) == version
    assert root_of(url) == root


def test_of_a_link_only_the_version_counts():
    inside = Version(number=(2, 1), path="http://10.0.0.1:8774/v2.1/")
    assert versioned_url("https://cloud.example/compute", inside) == "https://cloud.example/compute/v2.1"
    nameless = Version(number=(2, 15), path="")
    assert versioned_url("https://cloud.example/image", nameless) == "https://cloud.example/image/v2.15"


def test_a_project_id_at_the_end_is_cut_off():
    assert without_project("http://h/v2.1/p-1/", "p-1") == "http://h/v2.1"
    assert without_project("http://h/v1/AUTH_p-1", "p-1") == "http://h/v1"
    assert without_project("http://h/v2.1/", "p-1") == "http://h/v2.1"


@pytest.mark.parametrize(
    ("minimum", "maximum", "sent"),
    [
        ((2, 1), (2, 96), "2.69"),
        ((2, 1), (2, 68), "2.67"),
        ((2, 1), (2, 67), "2.67"),
        ((2, 1), (2, 60), "2.52"),
        ((2, 1), (2, 50), "2.47"),
        ((2, 1), (2, 38), "2.37"),
        ((2, 1), (2, 36), None),
        ((2, 70), (2, 96), None),
        (None, None, None),
    ],
)
def test_the_highest_step_of_the_ladder_that_the_server_knows(minimum, maximum, sent):
    assert best_microversion(minimum, maximum, None) == sent


def test_a_wanted_microversion_is_sent_or_refused():
    assert best_microversion((2, 1), (2, 96), "2.90") == "2.90"
    with pytest.raises(ValueError, match=r"2\.97 is not offered \(offered: 2\.1 to 2\.96\)"):
        best_microversion((2, 1), (2, 96), "2.97")
    with pytest.raises(ValueError, match="none"):
        best_microversion(None, None, "2.67")


CATALOG = [
    {
        "type": "volumev2",
        "name": "cinder",
        "endpoints": [{"interface": "public", "region_name": "one", "url": "http://volume2"}],
    },
    {
        "type": "compute",
        "name": "nova",
        "endpoints": [
            {"interface": "internal", "region_name": "one", "url": "http://inside"},
            {"interface": "public", "region_name": "one", "url": "http://one"},
            {"interface": "public", "region_name": "two", "url": "http://two"},
        ],
    },
]


@pytest.mark.parametrize(
    ("types", "more", "url"),
    [
        (("compute",), {"region": "two"}, "http://two"),
        (("compute",), {}, "http://one"),
        (("compute",), {"interfaces": ("internal", "public")}, "http://inside"),
        (("compute",), {"interfaces": ("internal", "public"), "region": "two"}, "http://two"),
        (("block-storage", "volumev3", "volumev2"), {}, "http://volume2"),
        (("compute",), {"region": "TWO"}, None),
        (("compute",), {"name": "other"}, None),
        (("network",), {}, None),
    ],
)
def test_the_endpoint_that_a_catalog_gives(types, more, url):
    asked = {"name": None, "interfaces": ("public",), "region": None, **more}
    found = endpoint_in(CATALOG, types, **asked)
    assert (found.url if found else None) == url


def test_regions_of_a_catalog():
    assert regions_in(CATALOG) == ("one", "two")


@pytest.mark.parametrize(
    ("microversion", "since", "has"),
    [
        (None, (2, 47), False),
        ("2.37", (2, 47), False),
        ("2.9", (2, 47), False),
        ("2.47", (2, 47), True),
        ("2.67", (2, 47), True),
        ("2.100", (2, 47), True),
    ],
)
def test_what_came_with_a_microversion(microversion, since, has):
    assert offers(microversion, since) is has
