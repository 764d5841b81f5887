"""Swift of a pretend cloud over real HTTP: listings, large objects, and what is wrong with them."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
import requests

from tests.contract.sim_api import Api, api

STORE = "object-store"


@pytest.fixture
def direct():
    with api() as client:
        yield client


def test_objects(direct: Api):
    store = "object-store"
    assert direct.call("PUT", store, "/c").status_code == 201
    assert direct.call("PUT", store, "/c").status_code == 202
    etag = hashlib.md5(b"abc").hexdigest()
    headers = {"ETag": etag, "X-Object-Meta-Mine": "yes", "X-Delete-After": "60"}
    put = direct.call("PUT", store, "/c/a/b", data=b"abc", headers=headers)
    assert (put.status_code, put.headers["Etag"]) == (201, etag)
    got = direct.call("GET", store, "/c/a/b")
    assert (got.content, got.headers["X-Object-Meta-Mine"]) == (b"abc", "yes")
    assert [o["name"] for o in direct.get(store, "/c?format=json&prefix=a/")] == ["a/b"]
    assert direct.call("GET", store, "/c").text == "a/b\n"
    assert direct.call("DELETE", store, "/c").status_code == 409
    assert direct.call("PUT", store, "/c/x", data=b"abc", headers={"ETag": "0" * 32}).status_code == 422
    direct.clock.go(61)
    assert direct.call("GET", store, "/c/a/b").status_code == 404
    info = requests.get(direct.urls[store].split("/v1/")[0] + "/info", timeout=10).json()
    assert info["slo"]["max_manifest_segments"] == 1000


def test_the_object_store_lists_containers_and_refuses_bad_manifests(direct: Api):
    store = "object-store"
    direct.call("PUT", store, "/c")
    assert direct.get(store, "?format=json") == [{"name": "c", "count": 0, "bytes": 0}]
    assert direct.call("POST", store, "/c").status_code == 204
    for body in (b"no json", b"{}", b"[]", b'[{"path": "c/nope"}]'):
        answer = direct.call("PUT", store, "/c/o?multipart-manifest=put", data=body)
        assert answer.status_code == 400
    assert direct.call("DELETE", store, "/c/o").status_code == 404
    assert direct.call("DELETE", store, "/c").status_code == 204
    assert direct.call("GET", store, "/c").status_code == 404


def segments(client: Api, count: int = 3) -> list[dict[str, Any]]:
    """Objects s/big/<n> of three bytes each, as lines of a manifest."""
    client.call("PUT", STORE, "/s")
    client.call("PUT", STORE, "/c")
    made = []
    for n in range(count):
        etag = client.call("PUT", STORE, f"/s/big/{n:03}", data=b"ab%d" % n).headers["Etag"]
        made.append({"path": f"/s/big/{n:03}", "etag": etag, "size_bytes": 3})
    return made


def test_listings_come_in_pages():
    with api(object_store={"listing-limit": 2}) as client:
        segments(client, 5)
        seen: list[str] = []
        while names := [o["name"] for o in client.get(STORE, f"/s?format=json&marker={(seen or [''])[-1]}")]:
            assert len(names) <= 2
            seen += names
        assert seen == [f"big/{n:03}" for n in range(5)]
        assert client.call("GET", STORE, "/s?limit=3").status_code == 412
        assert client.call("GET", STORE, "/s?prefix=big/003").text == "big/003\n"
        assert client.call("GET", STORE, "/s?end_marker=big/001&limit=1").text == "big/000\n"
        assert client.call("GET", STORE, "").text == "c\ns\n"


def test_a_static_large_object(direct: Api):
    lines = segments(direct)
    put = direct.call("PUT", STORE, "/c/big?multipart-manifest=put", lines)
    whole = hashlib.md5("".join(line["etag"] for line in lines).encode()).hexdigest()
    assert (put.status_code, put.headers["Etag"]) == (201, f'"{whole}"')
    head = direct.call("HEAD", STORE, "/c/big").headers
    assert (head["Content-Length"], head["X-Static-Large-Object"], head["Etag"]) == (
        "9",
        "True",
        f'"{whole}"',
    )
    assert direct.call("GET", STORE, "/c/big").content == b"ab0ab1ab2"
    manifest = direct.get(STORE, "/c/big?multipart-manifest=get")
    assert [(m["name"], m["hash"], m["bytes"]) for m in manifest] == [
        (line["path"], line["etag"], 3) for line in lines
    ]
    report = direct.call("DELETE", STORE, "/c/big?multipart-manifest=delete").json()
    assert (report["Number Deleted"], report["Errors"]) == (4, [])
    assert direct.state("/objects") == {"c": [], "s": []}


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"etag": "0" * 32}, "s/big/001, Etag Mismatch"),
        ({"size_bytes": 4}, "s/big/001, Size Mismatch"),
        ({"path": "/s/nope"}, "s/nope, 404 Not Found"),
        ({"path": "/s/empty", "etag": None, "size_bytes": 0}, "s/empty, Too Small"),
    ],
)
def test_a_manifest_is_checked(direct: Api, wrong: dict[str, Any], says: str):
    lines = segments(direct)
    direct.call("PUT", STORE, "/s/empty")
    lines[1].update(wrong)
    answer = direct.call("PUT", STORE, "/c/big?multipart-manifest=put", lines)
    assert answer.status_code == 400
    assert says in answer.text
    assert direct.call("HEAD", STORE, "/c/big").status_code == 404


def test_limits_of_large_objects():
    limits = {"max-file-size": 4, "max-manifest-segments": 2}
    with api(object_store=limits) as client:
        lines = segments(client)
        assert client.call("PUT", STORE, "/c/o", data=b"abcde").status_code == 413
        assert client.call("PUT", STORE, "/c/o", data=iter([b"abc", b"de"])).status_code == 413
        assert client.call("PUT", STORE, "/c/big?multipart-manifest=put", lines).status_code == 413
        client.state("/settings", "POST", {"object-store": {"min-segment-size": 4}})
        assert client.call("PUT", STORE, "/c/big?multipart-manifest=put", lines[:2]).status_code == 400
        info = requests.get(client.urls[STORE].split("/v1/")[0] + "/info", timeout=10).json()
        assert (info["swift"]["max_file_size"], info["slo"]["min_segment_size"]) == (4, 4)


def test_a_large_object_that_lost_a_segment_is_a_conflict(direct: Api):
    direct.call("PUT", STORE, "/c/big?multipart-manifest=put", lines := segments(direct))
    direct.call("DELETE", STORE, lines[1]["path"])
    assert direct.call("GET", STORE, "/c/big").status_code == 409
    report = direct.call("DELETE", STORE, "/c/big?multipart-manifest=delete").json()
    assert (report["Number Deleted"], report["Number Not Found"]) == (3, 1)


def test_a_store_without_slo_keeps_a_manifest_as_the_object_it_looks_like():
    with api(object_store={"slo": False}) as client:
        lines = segments(client)
        assert client.call("PUT", STORE, "/c/big?multipart-manifest=put", lines).status_code == 201
        assert json.loads(client.call("GET", STORE, "/c/big").content) == lines
        assert "slo" not in requests.get(client.urls[STORE].split("/v1/")[0] + "/info", timeout=10).json()
        assert client.call("DELETE", STORE, "/c/big?multipart-manifest=delete").status_code == 204


def test_a_dynamic_large_object_is_whatever_has_its_prefix(direct: Api):
    segments(direct)
    direct.call("PUT", STORE, "/c/big", headers={"X-Object-Manifest": "s/big/"})
    assert direct.call("HEAD", STORE, "/c/big").headers["Content-Length"] == "9"
    direct.call("PUT", STORE, "/s/bigger", data=b"xyz")
    assert direct.call("GET", STORE, "/c/big").content == b"ab0ab1ab2"
    direct.call("PUT", STORE, "/c/big", headers={"X-Object-Manifest": "s/big"})
    assert direct.call("GET", STORE, "/c/big").content == b"ab0ab1ab2xyz"
    report = direct.call("DELETE", STORE, "/c/big?multipart-manifest=delete").json()
    assert report["Errors"] == [["/c/big", "400 Bad Request: Not an SLO manifest"]]


def test_one_segment_may_fail(direct: Api):
    segments(direct, 0)
    direct.plan("http-503", "object-store.PUT.object", name="big/001", times=1)
    answers = [direct.call("PUT", STORE, f"/s/big/{n:03}", data=b"x").status_code for n in (0, 1, 1)]
    assert answers == [201, 503, 201]


def test_times_of_objects_are_whole_seconds(direct: Api):
    direct.call("PUT", STORE, "/c")
    bad = direct.call("PUT", STORE, "/c/o", data=b"x", headers={"X-Delete-After": "soon"})
    assert bad.status_code == 400
    at = str(int(direct.clock.now) + 60)
    direct.call("PUT", STORE, "/c/o", data=b"x", headers={"X-Delete-At": at})
    assert direct.call("HEAD", STORE, "/c/o").headers["X-Delete-At"] == at
    direct.clock.go(61)
    assert direct.call("HEAD", STORE, "/c/o").status_code == 404


def test_an_image_of_a_large_object_has_the_hashes_of_all_its_bytes():
    with api("tasks") as client:
        data = bytes(range(256)) * 9000
        client.call("PUT", STORE, "/images")
        lines = []
        for n in range(3):
            client.call("PUT", STORE, f"/images/s/{n}", data=data[n * 768_000 : (n + 1) * 768_000])
            lines.append({"path": f"images/s/{n}"})
        client.call("PUT", STORE, "/images/i?multipart-manifest=put", lines)
        body = {"type": "import", "input": {"import_from": "images/i"}}
        task = client.call("POST", "image", "/tasks", body).json()["id"]
        client.clock.go(5)
        shown = client.get("image", f"/images/{client.get('image', f'/tasks/{task}')['result']['image_id']}")
        assert (shown["size"], shown["checksum"]) == (len(data), hashlib.md5(data).hexdigest())
        assert shown["os_hash_value"] == hashlib.sha512(data).hexdigest()
