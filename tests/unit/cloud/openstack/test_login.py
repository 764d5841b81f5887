"""Which version of the Identity API is spoken, and what a refused login is told as."""

from __future__ import annotations

import pytest
import requests
from keystoneauth1 import exceptions as ksa

from poolmgr.cloud.openstack.login import auth_plugin, login_error, of_one_version, without_scope
from poolmgr.config.settings import CloudSettings
from poolmgr.errors import AuthFailed, CloudUnavailable, ConfigError
from poolmgr.model.trouble import Trouble

DOMAINS = {"user_domain_name": "Default", "project_domain_name": "Default"}


def settings(url: str, auth_type: str = "password", **auth: str) -> CloudSettings:
    plain = {"auth_url": url, "username": "ci", "password": "hush", "project_name": "ci", **auth}
    return CloudSettings(name="north", auth_type=auth_type, auth=plain)


def version(number: str, status: str = "stable") -> dict[str, object]:
    path = f"v{number.partition('.')[0]}" if number != "2.0" else "v2.0"
    return {
        "id": f"v{number}",
        "status": status,
        "links": [{"rel": "self", "href": f"http://inside:1/{path}/"}],
    }


def never(url: str) -> dict[str, object]:
    raise AssertionError(f"asked {url}")


@pytest.mark.parametrize(
    ("url", "offered", "kind", "spoken"),
    [
        ("https://k/v3", None, "v3password", "https://k/v3"),
        ("https://k/identity/v3/", None, "v3password", "https://k/identity/v3"),
        ("https://k/v2.0", None, "v2password", "https://k/v2.0"),
        ("https://k:5000", ["3.14", "2.0"], "v3password", "https://k:5000/v3"),
        ("https://k/identity/", ["2.0", "3.14"], "v3password", "https://k/identity/v3"),
        ("https://k:5000", ["2.0"], "v2password", "https://k:5000/v2.0"),
    ],
)
def test_a_version_in_the_url_is_believed_and_else_only_the_version_of_the_document(
    url, offered, kind, spoken
):
    asked = []

    def ask(where):
        assert offered is not None
        asked.append(where)
        return {"versions": {"values": [version(number) for number in offered]}}

    found = of_one_version(settings(url), ask)
    assert (found.auth_type, found.auth["auth_url"]) == (kind, spoken)
    assert asked == ([] if offered is None else [url.rstrip("/") + "/"])


def test_other_plugins_are_left_alone():
    given = settings("https://k", "v3applicationcredential")
    assert of_one_version(given, never) == given


def test_the_default_domain_stands_where_none_is_said():
    given = settings("https://k/v3", default_domain_id="default", project_domain_id="other")
    auth = of_one_version(given, never).auth
    assert (auth["user_domain_id"], auth["project_domain_id"]) == ("default", "other")


def test_the_options_of_version_2_have_names_of_their_own():
    plugin = auth_plugin(settings("https://k/v2.0"), never)
    assert (plugin.tenant_name, plugin.username) == ("ci", "ci")


@pytest.mark.parametrize(
    ("given", "document", "leaf", "words"),
    [
        (settings("https://k/v2.0", **DOMAINS), {}, ConfigError, "which has no domains"),
        (settings("https://k"), {}, AuthFailed, "names no version of the Identity API"),
        (settings("https://k"), {"versions": [version("4.0")]}, AuthFailed, "names no version"),
        (settings("https://k/v1"), {}, AuthFailed, "no version 1 of the Identity API"),
    ],
)
def test_a_url_that_is_not_an_identity_services(given, document, leaf, words):
    with pytest.raises(leaf, match=words) as caught:
        of_one_version(given, lambda _: document)
    assert caught.value.reason == Trouble.WRONG_AUTH_URL.value


@pytest.mark.parametrize("url", ["k/v3", "ftp://k/v3", "https:///v3"])
def test_what_is_no_url_is_refused_before_anything_is_sent(url):
    with pytest.raises(ConfigError, match=f"auth_url {url}"):
        auth_plugin(settings(url), never)


def answered(status: int, body: str = "{}") -> requests.Response:
    response = requests.Response()
    response.status_code, response.url = status, "https://k/v3/auth/tokens"
    response._content = body.encode()
    response.request = requests.Request("POST", response.url).prepare()
    return response


NOT_FOUND = '{"error": {"code": 404, "title": "Not Found", "message": "Could not find project: ci."}}'


@pytest.mark.parametrize(
    ("error", "auth_type", "trouble"),
    [
        (ksa.Unauthorized(response=answered(401)), "v3password", Trouble.LOGIN_REFUSED),
        (ksa.Unauthorized(response=answered(401)), "v3token", Trouble.TOKEN_ENDED),
        (ksa.Forbidden(response=answered(403)), "v3password", Trouble.LOGIN_FORBIDDEN),
        (ksa.NotFound(response=answered(404)), "v3password", Trouble.WRONG_AUTH_URL),
        (ksa.NotFound(response=answered(404, NOT_FOUND)), "v3password", Trouble.LOGIN_REFUSED),
        (ksa.InvalidResponse(response=answered(200, "<html>")), "v3password", Trouble.WRONG_AUTH_URL),
        (ksa.AuthorizationFailure("no"), "v3password", Trouble.LOGIN_REFUSED),
    ],
)
def test_what_keystoneauth_says_of_a_refused_login(error, auth_type, trouble):
    told = login_error(settings("https://k/v3", auth_type), error, 0.0)
    assert isinstance(told, AuthFailed)
    assert told.reason == trouble.value
    assert str(told).startswith("cloud north: identity: ")
    assert "hush" not in str(told)


def test_a_login_without_an_answer_is_no_refusal():
    error = ksa.ConnectFailure("x")
    error.__cause__ = requests.ReadTimeout("x")
    told = login_error(settings("https://user:hush@k/v3"), error, 0.0)
    assert isinstance(told, CloudUnavailable)
    assert str(told).startswith("cloud north: identity: login /v3 at k: no answer in time")


def test_a_login_for_no_project():
    assert set(without_scope(settings("https://k/v3", **DOMAINS)).auth) == {
        "auth_url",
        "username",
        "password",
        "user_domain_name",
    }
