"""Endpoints and versions, from catalogs and version documents that do not always tell the truth."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from poolmgr.cloud.openstack.calls import ServiceMap
from poolmgr.cloud.openstack.discovery import TTL, Discovery, Endpoint
from poolmgr.cloud.openstack.errors import Call
from poolmgr.cloud.openstack.session import Answer
from poolmgr.config.settings import CloudService, CloudSettings
from poolmgr.errors import AuthFailed, CloudUnavailable, ConfigError, NotFound
from tests.fakes import FakeClock

PROJECT = "0123456789abcdef0123456789abcdef"


def version(ident, href, status="CURRENT", **more):
    return {"id": ident, "status": status, "links": [{"rel": "self", "href": href}], **more}


NOVA = {
    "versions": [
        version("v2.0", "http://inside:8774/v2/", "SUPPORTED", version="", min_version=""),
        version("v2.1", "http://inside:8774/v2.1/", version="2.93", min_version="2.1"),
    ]
}
NOVA21 = {"version": NOVA["versions"][1]}
GLANCE = {"versions": [version(f"v2.{minor}", "http://inside/v2/", "SUPPORTED") for minor in (15, 9, 0)]}


def at(url):
    return Endpoint(url=url, microversion="2.69")


class FakeSession:
    """A token with a catalog, and version documents by URL; what is not there is 404."""

    def __init__(self, endpoints, documents):
        self.asked = []
        self.documents = documents
        self._catalog = [
            {"type": kind, "name": kind, "endpoints": [
                {"interface": "public", "region_name": "one", "url": url}
            ]}
            for kind, url in endpoints.items()
        ]  # fmt: skip

    def access(self):
        catalog = SimpleNamespace(normalize_catalog=lambda: self._catalog)
        return SimpleNamespace(has_service_catalog=lambda: True, service_catalog=catalog)

    def project_id(self):
        return PROJECT

    def user_id(self):
        return "u-1"

    def send(self, service, method, url, *, authenticated=True):
        self.asked.append(url if authenticated else f"{url} (no token)")
        found = self.documents.get(url, NotFound("404"))
        if isinstance(found, Exception):
            raise found
        content = found if isinstance(found, bytes) else json.dumps(found).encode()
        return Answer(status=200, headers={}, content=content, call=Call("c", service, method, url))


def discovery(endpoints=None, documents=None, clock=None, region="one", **services):
    session = FakeSession(endpoints or {}, documents or {})
    settings = CloudSettings(name="north", services=services)
    found = Discovery(session, settings, region, ServiceMap(), clock or FakeClock())
    return found, session


@pytest.mark.parametrize(
    ("url", "documents", "endpoint"),
    [
        # what DevStack and most clouds have
        ("http://n:8774/v2.1", {"http://n:8774/v2.1/": NOVA21}, at("http://n:8774/v2.1")),
        # with the project id, as before 2018; it is kept
        (
            f"http://n:8774/v2.1/{PROJECT}",
            {"http://n:8774/v2.1/": NOVA21},
            at(f"http://n:8774/v2.1/{PROJECT}"),
        ),
        # no document at the version, one at the root
        ("http://n/compute/v2.1", {"http://n/compute/": NOVA}, at("http://n/compute/v2.1")),
        # the catalog names an older version than there is
        ("http://n/v2", {"http://n/": NOVA}, at("http://n/v2.1")),
        # no version at all; the links name a host inside
        ("http://n:8774", {"http://n:8774/": NOVA}, at("http://n:8774/v2.1")),
        # no documents: the catalog is all there is
        ("http://n/v2.1", {}, Endpoint(url="http://n/v2.1")),
        ("http://n/v2.1", {"http://n/v2.1/": b"<html>hello</html>"}, Endpoint(url="http://n/v2.1")),
        # a cloud before microversions
        (
            "http://n/v2",
            {"http://n/v2/": {"version": version("v2.0", "http://n/v2/", version="", min_version="")}},
            Endpoint(url="http://n/v2"),
        ),
    ],
)  # fmt: skip
def test_where_compute_is(url, documents, endpoint):
    found, _ = discovery({"compute": url}, documents)
    assert found.find("compute") == endpoint


CINDER = {
    "versions": [
        version("v2.0", "http://inside:8776/v2/", "DEPRECATED", version="", min_version=""),
        version("v3.0", "http://inside:8776/v3/", version="3.70", min_version="3.0"),
    ]
}


@pytest.mark.parametrize(
    ("url", "documents", "endpoint"),
    [
        (f"http://c:8776/v3/{PROJECT}", {}, f"http://c:8776/v3/{PROJECT}"),
        (f"http://c:8776/v2/{PROJECT}", {}, f"http://c:8776/v2/{PROJECT}"),
        ("http://c/volume/v3", {}, "http://c/volume/v3"),
        # no version: what the root lists, else version 3
        ("http://c/volume", {"http://c/volume/": CINDER}, f"http://c/volume/v3/{PROJECT}"),
        ("http://c/volume/", {}, f"http://c/volume/v3/{PROJECT}"),
        # version 1 is gone since 2018, but not from catalogs
        (f"http://c:8776/v1/{PROJECT}", {"http://c:8776/": CINDER}, f"http://c:8776/v3/{PROJECT}"),
    ],
)
def test_where_block_storage_is(url, documents, endpoint):
    found, _ = discovery({"volumev3": url}, documents)
    assert found.find("block-storage") == Endpoint(url=endpoint)


def test_a_document_is_asked_for_with_the_token_only_when_it_must_be():
    found, session = discovery(
        {"compute": "http://n/v2.1"}, {"http://n/v2.1/": AuthFailed("401"), "http://n/": NOVA}
    )
    assert found.need("compute").microversion == "2.69"
    assert session.asked == ["http://n/v2.1/ (no token)", "http://n/v2.1/", "http://n/ (no token)"]


def test_a_service_that_does_not_answer_is_not_guessed_at():
    found, session = discovery({"compute": "http://n/v2.1"}, {"http://n/v2.1/": CloudUnavailable("503")})
    with pytest.raises(CloudUnavailable):
        found.find("compute")
    session.documents["http://n/v2.1/"] = NOVA21
    assert found.need("compute").microversion == "2.69"


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [("http://n:9696", "http://n:9696/v2.0"), ("http://n/net/", "http://n/net/v2.0"), ("http://n/v2.0", "http://n/v2.0")],
)  # fmt: skip
def test_where_network_is_needs_no_call(url, endpoint):
    found, session = discovery({"network": url})
    assert found.need("network").url == endpoint
    assert session.asked == []


OLD_GLANCE = {"versions": [version("v1.1", "http://inside/v1/"), version("v1.0", "http://inside/v1/")]}
BOTH = {"versions": [*GLANCE["versions"], *OLD_GLANCE["versions"]]}


@pytest.mark.parametrize(
    ("url", "documents", "asked", "endpoint"),
    [
        ("http://g:9292", {"http://g:9292/": GLANCE}, None, "http://g:9292/v2"),
        ("http://g/image/v2", {"http://g/image/": GLANCE}, None, "http://g/image/v2"),
        # the root wins over the catalog, either way
        ("http://g/v1", {"http://g/": GLANCE}, None, "http://g/v2"),
        ("http://g/v1", {"http://g/": BOTH}, None, "http://g/v2"),
        ("http://g/v2", {"http://g/": OLD_GLANCE}, None, "http://g/v1"),
        # a root that cannot be read: the catalog is believed
        ("http://g/v1", {}, None, "http://g/v1"),
        ("http://g/image/v2", {}, None, "http://g/image/v2"),
        ("http://g:9292", {}, None, "http://g:9292/v2"),
        # what the operator wants
        ("http://g/v2", {"http://g/": BOTH}, "1", "http://g/v1"),
        ("http://g/v2", {"http://g/": GLANCE}, "1", "http://g/v1"),
        ("http://g/v1", {"http://g/": OLD_GLANCE}, "2.0", "http://g/v2"),
        ("http://g/v1", {}, "1", "http://g/v1"),
    ],
)
def test_where_image_is(url, documents, asked, endpoint):
    found, _ = discovery({"image": url}, documents, image=CloudService(api_version=asked))
    assert found.need("image").url == endpoint


def test_a_root_that_does_not_answer_only_matters_where_the_catalog_names_no_version_2():
    down = {"http://g/": CloudUnavailable("503")}
    found, _ = discovery({"image": "http://g/v2"}, down)
    assert found.need("image").url == "http://g/v2"
    for url in ("http://g", "http://g/v1"):
        found, _ = discovery({"image": url}, down)
        with pytest.raises(CloudUnavailable):
            found.need("image")


def test_an_override_of_image_is_used_as_it_is():
    override = CloudService(endpoint_override="http://mine/v1")
    found, session = discovery({"image": "http://g"}, {"http://mine/": GLANCE}, image=override)
    assert found.need("image").url == "http://mine/v1"
    assert session.asked == []


def test_a_version_2_that_is_not_there_gives_way_to_version_1():
    found, _ = discovery({"image": "http://g"}, {"http://g/": GLANCE})
    assert found.need("image").url == "http://g/v2"
    assert found.lower("image")
    assert found.need("image").url == "http://g/v1"
    assert not found.lower("image")


def test_what_was_found_is_kept_for_a_day_and_survives_a_bad_one():
    clock = FakeClock()
    found, session = discovery({"compute": "http://n/v2.1"}, {"http://n/v2.1/": NOVA21}, clock)
    first = found.find("compute")
    clock.advance(TTL - 1)
    found.find("compute")
    assert len(session.asked) == 1
    clock.advance(2)
    session.documents["http://n/v2.1/"] = CloudUnavailable("503")
    assert found.find("compute") == first
    assert len(session.asked) == 2


def test_what_is_forgotten_is_looked_for_again():
    found, session = discovery({"compute": "http://n/v2.1"}, {"http://n/v2.1/": NOVA21})
    found.find("compute")
    found.forget("compute")
    found.find("compute")
    assert len(session.asked) == 2


def test_a_missing_service_is_none_or_an_error_that_names_what_there_is():
    found, _ = discovery({"compute": "http://n/v2.1"}, region="two")
    assert found.find("network") is None
    with pytest.raises(
        ConfigError, match=r"no compute service in region two .*catalog: one\); .*case matters"
    ):
        found.need("compute")


def test_settings_win_over_the_catalog():
    wanted = CloudService(endpoint_override="http://mine/v2.1/%(project_id)s/%(user_id)s")
    found, _ = discovery({"network": "http://n"}, network=CloudService(present=False), compute=wanted)
    assert found.find("network") is None
    assert found.need("compute").url == f"http://mine/v2.1/{PROJECT}/u-1"
    with pytest.raises(ConfigError, match="has_network is false"):
        found.need("network")
    broken, _ = discovery(compute=CloudService(endpoint_override="http://mine/%(nonsense)s"))
    with pytest.raises(ConfigError, match="nonsense"):
        broken.find("compute")


def test_a_microversion_that_is_not_offered_is_a_config_error():
    wanted = CloudService(default_microversion="2.99")
    found, _ = discovery({"compute": "http://n/v2.1"}, {"http://n/v2.1/": NOVA21}, compute=wanted)
    with pytest.raises(ConfigError, match=r"microversion 2\.99 is not offered"):
        found.find("compute")
    silent, _ = discovery({"compute": "http://n/v2.1"}, compute=wanted)
    with pytest.raises(ConfigError, match="tells of none"):
        silent.find("compute")
