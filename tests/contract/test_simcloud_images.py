"""Glance of a pretend cloud over real HTTP: every way in for an image, and how each goes wrong."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
import requests

from tests.contract.sim_api import Api, api


@pytest.fixture
def direct():
    with api() as client:
        yield client


def image(client: Api, **more: Any) -> dict[str, Any]:
    body = {"name": "i", "disk_format": "qcow2", "container_format": "bare", **more}
    answer = client.call("POST", "image", "/images", body)
    assert answer.status_code == 201, answer.text
    return answer.json()


OCTETS = {"Content-Type": "application/octet-stream"}


@pytest.mark.parametrize("chunked", [False, True])
def test_an_image_is_uploaded_and_its_hashes_are_right(direct: Api, chunked: bool):
    made = image(direct)
    assert made["status"] == "queued"
    data = bytes(range(256)) * 20_000
    pieces = (data[n : n + 70_001] for n in range(0, len(data), 70_001))
    put = direct.call(
        "PUT", "image", f"/images/{made['id']}/file", data=pieces if chunked else data, headers=OCTETS
    )
    assert put.status_code == 204
    shown = direct.get("image", f"/images/{made['id']}")
    assert (shown["status"], shown["size"]) == ("active", len(data))
    assert shown["checksum"] == hashlib.md5(data).hexdigest()
    assert shown["os_hash_value"] == hashlib.sha512(data).hexdigest()


def test_small_images_can_be_read_back(direct: Api):
    made = image(direct)
    path = f"/images/{made['id']}/file"
    assert direct.call("PUT", "image", path, data=b"abc").status_code == 415
    direct.call("PUT", "image", path, data=b"abc", headers=OCTETS)
    assert direct.call("GET", "image", path).content == b"abc"
    assert direct.call("PUT", "image", path, data=b"abc", headers=OCTETS).status_code == 409


def test_an_image_is_staged_and_imported(direct: Api):
    made = image(direct)
    path = f"/images/{made['id']}"
    assert direct.call("PUT", "image", f"{path}/stage", data=b"abc", headers=OCTETS).status_code == 204
    assert direct.get("image", path)["status"] == "uploading"
    body = {"method": {"name": "glance-direct"}}
    assert direct.call("POST", "image", f"{path}/import", body).status_code == 202
    assert direct.get("image", path)["status"] == "importing"
    direct.clock.go(5)
    assert direct.get("image", path)["status"] == "active"
    assert "glance-direct" in direct.get("image", "/info/import")["import-methods"]["value"]


def test_images_are_listed_in_pages_and_found_by_property(direct: Api):
    ids = {image(direct, name=f"i{n}", upload=f"u{n}")["id"] for n in range(30)}
    body = direct.get("image", "/images")
    assert len(body["images"]) == 25
    rest = direct.get("image", body["next"].removeprefix("/v2"))
    assert "next" not in rest
    listed = {i["id"] for i in body["images"] + rest["images"] if i["name"] != "debian-12"}
    assert listed == ids
    assert [i["name"] for i in direct.get("image", "/images?upload=u7")["images"]] == ["i7"]
    assert [i["name"] for i in direct.get("image", "/images?status=active")["images"]] == ["debian-12"]


def test_an_image_is_patched_and_deleted_once(direct: Api):
    made = image(direct, protected=True, colour="red")
    path = f"/images/{made['id']}"
    assert direct.call("DELETE", "image", path).status_code == 403
    patch = [
        {"op": "replace", "path": "/protected", "value": False},
        {"op": "add", "path": "/size_hint", "value": "1"},
        {"op": "remove", "path": "/colour"},
    ]
    kind = {"Content-Type": "application/openstack-images-v2.1-json-patch"}
    patched = direct.call("PATCH", "image", path, patch, headers=kind).json()
    assert (patched["protected"], patched["size_hint"], "colour" in patched) == (False, "1", False)
    assert direct.call("DELETE", "image", path).status_code == 204
    gone = direct.call("DELETE", "image", path)
    assert gone.status_code == 404
    assert "No image found with ID" in gone.text
    assert gone.headers["Content-Type"].startswith("text/html")


def test_properties_must_be_text(direct: Api):
    answer = direct.call("POST", "image", "/images", {"name": "i", "cores": 4})
    assert answer.status_code == 400
    assert "is not of type 'string'" in answer.text


# -- what befalls uploads --------------------------------------------------------------------------------


def put(client: Api, image_id: str, data: Any, headers: dict[str, str] = OCTETS) -> requests.Response:
    return client.call("PUT", "image", f"/images/{image_id}/file", data=data, headers=headers)


class Reads:
    """A file that tells how much of it was read."""

    def __init__(self, size: int) -> None:
        self.size, self.sent = size, 0

    def __len__(self) -> int:
        return self.size

    def read(self, amount: int = -1) -> bytes:
        piece = bytes(min(amount, self.size - self.sent))
        self.sent += len(piece)
        return piece


@pytest.mark.parametrize("after_bytes", [None, 0, 100_000])
@pytest.mark.parametrize(("kind", "status"), [("expired-token", 401), ("http-503", 503), ("throttle", 429)])
def test_an_upload_is_refused_at_any_point_and_the_image_stays_queued(
    direct: Api, kind: str, status: int, after_bytes: int | None
):
    made, body = image(direct), Reads(400_000)
    direct.plan(kind, "image.PUT.image_file", times=1, after_bytes=after_bytes)
    answer = put(direct, made["id"], body)
    assert answer.status_code == status
    if kind == "expired-token":
        direct.log_in()
    assert direct.get("image", f"/images/{made['id']}")["status"] == "queued"
    # What a careless client does next: it sends the same file from where it stands now, which is its end.
    again = put(direct, made["id"], body.read(body.size))
    assert again.status_code == 204
    shown = direct.get("image", f"/images/{made['id']}")
    assert (shown["status"], shown["size"]) == ("active", 0)


def test_a_token_that_ends_during_an_upload_is_refused_at_its_end(direct: Api):
    made = image(direct)

    def pieces() -> Iterator[bytes]:
        yield b"a" * 10
        while not direct.state("/calls").get("image.PUT.image_file"):
            pass
        direct.state("/tokens", "DELETE")
        yield b"b" * 10

    assert put(direct, made["id"], pieces()).status_code == 401
    direct.log_in()
    assert direct.get("image", f"/images/{made['id']}")["status"] == "queued"


@pytest.mark.parametrize("more", [{"kind": "drop"}, {"kind": "hang", "seconds": 0.05}])
def test_a_connection_that_breaks_during_an_upload_stores_nothing(direct: Api, more: dict[str, Any]):
    made = image(direct)
    direct.plan(more.pop("kind"), "image.PUT.image_file", after_bytes=1000, **more)
    with pytest.raises(requests.ConnectionError):
        put(direct, made["id"], bytes(1 << 23))
    assert direct.get("image", f"/images/{made['id']}")["status"] == "queued"


def test_requests_after_an_early_answer_are_answered_on_the_same_connection(direct: Api):
    made = image(direct)
    direct.plan("http-503", "image.PUT.image_file", times=3, after_bytes=1)
    assert [put(direct, made["id"], iter([b"x" * 90_000] * 3)).status_code for _ in range(4)] == [
        503,
        503,
        503,
        204,
    ]
    assert direct.get("image", f"/images/{made['id']}")["size"] == 270_000


def test_an_upload_of_many_bytes_is_kept_on_disk_and_can_be_read_back(direct: Api):
    made, data = image(direct), bytes(range(256)) * 20_000
    put(direct, made["id"], data)
    assert direct.call("GET", "image", f"/images/{made['id']}/file").content == data
    (listed,) = [i for i in direct.state("/images") if i["mine"]]
    assert listed["received"] == [len(data), hashlib.md5(data).hexdigest()]
    assert "content" not in listed


def test_a_front_end_that_wants_a_content_length(direct: Api):
    made = image(direct)
    direct.plan("no-chunked", "image.PUT.image_file")
    assert put(direct, made["id"], iter([b"abc"])).status_code == 411
    assert put(direct, made["id"], b"abc").status_code == 204


def test_too_large_an_image(direct: Api):
    direct.state("/settings", "POST", {"image-api": {"max-bytes": 10}})
    made = image(direct)
    assert put(direct, made["id"], bytes(11)).status_code == 413
    assert put(direct, made["id"], bytes(10)).status_code == 204


def test_an_image_may_be_saved_long_after_its_upload(direct: Api):
    made = image(direct)
    direct.plan("slow-image", "image.PUT.image_file", seconds=30)
    put(direct, made["id"], b"abc")
    for status in ("saving", "active"):
        assert direct.get("image", f"/images/{made['id']}")["status"] == status
        direct.clock.go(31)


def test_a_converted_image_is_another_one(direct: Api):
    made = image(direct)
    direct.plan("converted-image", "image.PUT.image_file")
    put(direct, made["id"], b"abc")
    shown = direct.get("image", f"/images/{made['id']}")
    assert (shown["status"], shown["size"]) == ("active", 515)
    assert shown["checksum"] != hashlib.md5(b"abc").hexdigest()
    (listed,) = [i for i in direct.state("/images") if i["mine"]]
    assert listed["received"] == [3, hashlib.md5(b"abc").hexdigest()]


def test_a_short_image_is_active_with_half_of_its_bytes(direct: Api):
    made = image(direct)
    direct.plan("short-image", "image.PUT.image_file")
    put(direct, made["id"], b"abcdef")
    shown = direct.get("image", f"/images/{made['id']}")
    assert (shown["status"], shown["size"]) == ("active", 3)


def test_an_old_glance_has_no_sha512(direct: Api):
    direct.state("/settings", "POST", {"image-api": {"sha512": False}})
    made = image(direct)
    put(direct, made["id"], b"abc")
    shown = direct.get("image", f"/images/{made['id']}")
    assert (shown["os_hash_algo"], shown["checksum"]) == (None, hashlib.md5(b"abc").hexdigest())


def test_an_image_in_use_stays(direct: Api):
    path = f"/images/{image(direct)['id']}"
    direct.plan("image-in-use", "image.DELETE.image", times=1)
    answer = direct.call("DELETE", "image", path)
    assert answer.status_code == 409
    assert "it is in use" in answer.text
    direct.plan("ignored-delete", "image.DELETE.image", times=1)
    assert direct.call("DELETE", "image", path).status_code == 204
    assert direct.call("DELETE", "image", path).status_code == 204
    assert direct.call("GET", "image", path).status_code == 404


# -- interoperable import --------------------------------------------------------------------------------


def start_import(client: Api, image_id: str, method: str = "glance-direct", **more: Any) -> requests.Response:
    body = {"method": {"name": method, **({"uri": more.pop("uri")} if "uri" in more else {})}, **more}
    return client.call("POST", "image", f"/images/{image_id}/import", body)


def staged(client: Api) -> str:
    made = image(client)
    put_stage = client.call("PUT", "image", f"/images/{made['id']}/stage", data=b"abc", headers=OCTETS)
    assert put_stage.status_code == 204
    return made["id"]


@pytest.mark.parametrize("refusal", [403, 404, 405])
def test_where_only_import_works_the_upload_is_refused(refusal: int):
    with api("import", image_api={"refusal": refusal}) as client:
        made = image(client)
        assert put(client, made["id"], b"abc").status_code == refusal
        assert client.get("image", f"/images/{made['id']}")["status"] == "queued"


def test_where_only_the_upload_works_nothing_tells_of_import():
    with api(image_api={"methods": ["put"]}) as client:
        body = {"name": "i", "disk_format": "raw", "container_format": "bare"}
        answer = client.call("POST", "image", "/images", body)
        assert "OpenStack-image-import-methods" not in answer.headers
        assert client.call("GET", "image", "/info/import").status_code == 404
        assert client.call("GET", "image", "/info/stores").status_code == 404
        assert start_import(client, answer.json()["id"]).status_code == 404
        stage = client.call("PUT", "image", f"/images/{answer.json()['id']}/stage", data=b"x", headers=OCTETS)
        assert stage.status_code == 404


def test_an_import_goes_to_the_stores_it_names():
    with api("import") as client:
        shown = client.get("image", "/info/stores")["stores"]
        assert [(s["id"], s.get("default")) for s in shown] == [("fast", "true"), ("cheap", None)]
        image_id = staged(client)
        assert start_import(client, image_id, stores=["slow"]).status_code == 400
        assert start_import(client, image_id, stores=["cheap"]).status_code == 202
        during = client.get("image", f"/images/{image_id}")
        assert (during["status"], during["os_glance_importing_to_stores"]) == ("importing", "cheap")
        client.clock.go(5)
        after = client.get("image", f"/images/{image_id}")
        assert (after["status"], after["stores"], after["size"]) == ("active", "cheap", 3)
        assert start_import(client, image_id, "copy-image", all_stores=True).status_code == 202
        client.clock.go(5)
        assert client.get("image", f"/images/{image_id}")["stores"] == "cheap,fast"


@pytest.mark.parametrize("message", ["", "importing", "queued"])
def test_an_import_that_is_stuck_stays_where_it_is(message: str):
    with api("import") as client:
        client.plan("stuck-import", "image.POST.image_import", message=message)
        image_id = staged(client)
        assert start_import(client, image_id).status_code == 202
        client.clock.go(3000)
        assert client.get("image", f"/images/{image_id}")["status"] == (message or "uploading")
        (task,) = client.get("image", f"/images/{image_id}/tasks")["tasks"]
        assert task["status"] == "pending"


def test_an_import_that_fails_leaves_the_image_queued_and_says_why():
    with api("import") as client:
        client.plan("failed-import", "image.POST.image_import", message="no space", times=1)
        image_id = staged(client)
        start_import(client, image_id)
        client.clock.go(5)
        shown = client.get("image", f"/images/{image_id}")
        assert (shown["status"], shown["os_glance_failed_import"]) == ("queued", "fast")
        (task,) = client.get("image", f"/images/{image_id}/tasks")["tasks"]
        assert (task["type"], task["status"], task["message"]) == ("api_image_import", "failure", "no space")


@pytest.fixture
def served() -> Iterator[Callable[[bytes], str]]:
    """Serves bytes over HTTP; gives their address."""
    bodies: dict[str, bytes] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = bodies.get(self.path)
            self.send_response(200 if body is not None else 404)
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()

        def serve(body: bytes) -> str:
            bodies[f"/{len(bodies)}"] = body
            return f"http://127.0.0.1:{server.server_port}/{len(bodies) - 1}"

        yield serve
        server.shutdown()
        thread.join()


def finished(client: Api, image_id: str) -> dict[str, Any]:
    """The image once its import has come to an end; the download takes real time."""
    while True:
        client.clock.go(1)
        shown = client.get("image", f"/images/{image_id}")
        if shown["status"] != "importing":
            return shown


def test_the_cloud_downloads_an_image_itself(direct: Api, served: Callable[[bytes], str]):
    data, image_id = bytes(range(256)) * 8000, image(direct)["id"]
    assert start_import(direct, image_id, "web-download", uri=served(data)).status_code == 202
    shown = finished(direct, image_id)
    assert (shown["status"], shown["size"]) == ("active", len(data))
    assert shown["os_hash_value"] == hashlib.sha512(data).hexdigest()
    assert start_import(direct, image_id, "magic").status_code == 400


@pytest.mark.parametrize("uri", ["http://127.0.0.1:1/i", "file:///etc/passwd", "nonsense"])
def test_what_cannot_be_downloaded_is_told_in_the_task(direct: Api, uri: str):
    image_id = image(direct)["id"]
    assert start_import(direct, image_id, "web-download", uri=uri).status_code == 202
    assert finished(direct, image_id)["status"] == "queued"
    (task,) = direct.get("image", f"/images/{image_id}/tasks")["tasks"]
    assert (task["status"], uri in task["message"]) == ("failure", True)


# -- tasks -----------------------------------------------------------------------------------------------


def test_images_by_object_and_task():
    with api("tasks") as client:
        assert client.call("POST", "image", "/images", {"name": "i"}).status_code == 403
        store = "object-store"
        assert client.call("PUT", store, "/images").status_code == 201
        for n in range(2):
            client.call("PUT", store, f"/images/i/{n}", data=b"abc")
        parts = [{"path": f"images/i/{n}", "size_bytes": 3} for n in range(2)]
        client.call("PUT", store, "/images/i?multipart-manifest=put", parts)
        head = client.call("HEAD", store, "/images/i")
        assert (head.headers["Content-Length"], head.headers["X-Static-Large-Object"]) == ("6", "True")
        given = {"import_from": "images/i", "image_properties": {"name": "uploaded"}}
        client.plan("failed-task", "image.POST.tasks", times=1)
        path = (
            "/tasks/"
            + client.call("POST", "image", "/tasks", {"type": "import", "input": given}).json()["id"]
        )
        client.clock.go(5)
        failed = client.get("image", path)
        assert (failed["status"], "396" in failed["message"]) == ("failure", True)
        path = (
            "/tasks/"
            + client.call("POST", "image", "/tasks", {"type": "import", "input": given}).json()["id"]
        )
        client.clock.go(5)
        made = client.get("image", "/images/" + client.get("image", path)["result"]["image_id"])
        assert (made["name"], made["disk_format"], made["size"]) == ("uploaded", "vhd", 6)
        client.call("DELETE", store, "/images/i?multipart-manifest=delete")
        assert client.state("/objects") == {"images": []}


def test_tasks_are_not_for_everybody(direct: Api):
    body = {"type": "import", "input": {"import_from": "c/o"}}
    assert direct.call("POST", "image", "/tasks", body).status_code == 403


def test_an_image_of_a_task_may_be_seen_late():
    with api("tasks") as client:
        client.call("PUT", "object-store", "/images")
        client.call("PUT", "object-store", "/images/i", data=b"abc")
        client.plan("late-image", "image.POST.tasks", seconds=20)
        body = {"type": "import", "input": {"import_from": "images/i"}}
        task = client.call("POST", "image", "/tasks", body).json()["id"]
        client.clock.go(5)
        path = f"/images/{client.get('image', f'/tasks/{task}')['result']['image_id']}"
        assert client.call("GET", "image", path).status_code == 404
        client.clock.go(20)
        shown = client.get("image", path)
        assert (shown["status"], shown["checksum"]) == ("active", hashlib.md5(b"abc").hexdigest())


# -- Glance v1 -------------------------------------------------------------------------------------------


META = {"x-image-meta-name": "i", "x-image-meta-disk_format": "raw", "x-image-meta-container_format": "bare"}


def test_an_image_of_v1_in_one_call():
    with api("v1only") as client:
        headers = {
            **META,
            **OCTETS,
            "x-image-meta-property-owner_specified.a": "b",
            "x-image-meta-is_public": "False",
        }
        answer = client.call("POST", "image", "/images", data=b"abc", headers=headers)
        assert answer.status_code == 201
        made = answer.json()["image"]
        assert (made["status"], made["size"], made["is_public"]) == ("active", 3, False)
        head = client.call("HEAD", "image", f"/images/{made['id']}").headers
        assert head["x-image-meta-checksum"] == hashlib.md5(b"abc").hexdigest()
        assert head["x-image-meta-property-owner_specified.a"] == "b"
        assert client.call("GET", "image", f"/images/{made['id']}").content == b"abc"
        assert client.call("DELETE", "image", f"/images/{made['id']}").status_code == 200
        assert client.call("HEAD", "image", f"/images/{made['id']}").status_code == 404


def test_an_image_of_v1_in_two_calls():
    with api("v1only") as client:
        made = client.call("POST", "image", "/images", headers={**META, "x-image-meta-property-a": "1"})
        assert made.json()["image"]["status"] == "queued"
        path = f"/images/{made.json()['image']['id']}"
        keep = {"x-glance-registry-purge-props": "false", "x-image-meta-property-b": "2", **OCTETS}
        filled = client.call("PUT", "image", path, data=iter([b"abc", b"def"]), headers=keep).json()["image"]
        assert (filled["status"], filled["size"], filled["properties"]) == ("active", 6, {"a": "1", "b": "2"})
        purged = client.call("PUT", "image", path, headers={"x-image-meta-property-c": "3"}).json()["image"]
        assert (purged["status"], purged["properties"]) == ("active", {"c": "3"})
        found = client.get("image", "/images/detail?property-c=3&name=i")["images"]
        assert [i["id"] for i in found] == [made.json()["image"]["id"]]
        assert client.get("image", "/images?name=nope")["images"] == []


def test_v1_checks_what_it_is_told():
    with api("v1only") as client:
        wrong = {**META, **OCTETS, "x-image-meta-checksum": "0" * 32}
        assert client.call("POST", "image", "/images", data=b"abc", headers=wrong).status_code == 400
        odd = {**META, "x-image-meta-min_disk": "much"}
        assert client.call("POST", "image", "/images", headers=odd).status_code == 400


def test_versions_of_glance():
    for versions, shown in ((["v1"], {"v1.1", "v1.0"}), (["v2", "v1"], {"v2.15", "v2.0", "v1.1"})):
        with api(image_api={"versions": versions}) as client:
            base = client.urls["image"].rpartition("/")[0]
            answer = requests.get(base, timeout=10)
            assert answer.status_code == 300
            assert shown <= {v["id"] for v in answer.json()["versions"]}
            unknown = requests.get(f"{base}/v7/images", timeout=10)
            assert (unknown.status_code, unknown.json()) == (300, answer.json())
