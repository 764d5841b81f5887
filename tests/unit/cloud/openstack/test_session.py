"""Logging in and sending, without a socket: requests' transport is replaced by one that answers as told."""

from __future__ import annotations

import itertools
import json
import ssl
from dataclasses import replace

import pytest
import requests
from requests.adapters import BaseAdapter
from urllib3.exceptions import (
    ConnectTimeoutError,
    MaxRetryError,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
)

from poolmgr.cloud.openstack.login import auth_plugin
from poolmgr.cloud.openstack.session import Session
from poolmgr.config.settings import CloudSettings
from poolmgr.errors import AuthFailed, CloudUnavailable, ConfigError, OutcomeUnknown, Throttled
from tests.fakes import FakeClock

AUTH = {
    "auth_url": "http://keystone/v3",
    "username": "ci",
    "password": "hush",
    "project_name": "ci",
    "user_domain_id": "default",
    "project_domain_id": "default",
}
SETTINGS = CloudSettings(name="north", auth_type="v3password", auth=AUTH)


def token_body():
    times = {"expires_at": "2099-01-01T00:00:00.000000Z", "issued_at": "2020-01-01T00:00:00.000000Z"}
    names = {"project": {"id": "p-1"}, "user": {"id": "u-1"}}
    return {"token": {**times, **names, "methods": ["password"], "catalog": []}}


class Wire(BaseAdapter):
    """Answers by (method, URL), one after the other, the last for ever; an exception is raised."""

    def __init__(self, **answers):
        super().__init__()
        self.sent = []
        self.answers = {("POST", "http://keystone/v3/auth/tokens"): [(201, token_body())]}
        self.tokens = 0

    def plan(self, method, url, *answers):
        self.answers[method, url] = list(answers)

    def send(self, request, **_):
        self.sent.append(request)
        planned = self.answers[request.method, request.url]
        answer = planned.pop(0) if len(planned) > 1 else planned[0]
        if isinstance(answer, Exception):
            raise answer
        status, body = answer
        response = requests.Response()
        response.status_code = status
        response.url = request.url
        response.request = request
        response._content = json.dumps(body).encode()
        if request.url.endswith("/auth/tokens"):
            self.tokens += 1
            response.headers["X-Subject-Token"] = f"token-{self.tokens}"
        return response

    def close(self):
        """Nothing to close."""

    def to(self, url):
        return [request for request in self.sent if request.url == url]


URL = "http://nova/v2.1/servers"


@pytest.fixture
def wire():
    return Wire()


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def session(wire, clock):
    numbers = itertools.count()
    return Session(SETTINGS, wire, clock, new_id=lambda: str(next(numbers)))


def test_a_call_carries_the_token_and_an_id_of_its_own(session, wire):
    wire.plan("GET", URL, (200, {"servers": []}))
    assert session.send("compute", "GET", URL).json() == {"servers": []}
    session.send("compute", "GET", URL)
    first, second = wire.to(URL)
    assert first.headers["X-Auth-Token"] == second.headers["X-Auth-Token"] == "token-1"
    ids = [request.headers["X-Openstack-Request-Id"] for request in (first, second)]
    assert ids == ["req-0", "req-1"]
    assert wire.tokens == 1


def test_a_call_without_login_carries_no_token(session, wire):
    wire.plan("GET", URL, (200, {}))
    session.send("compute", "GET", URL, authenticated=False)
    assert "X-Auth-Token" not in wire.to(URL)[0].headers
    assert wire.tokens == 0


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_401_is_answered_with_a_new_token_once(session, wire, method):
    wire.plan(method, URL, (401, {}), (200, {"fine": 1}))
    assert session.send("compute", method, URL).json() == {"fine": 1}
    assert [request.headers["X-Auth-Token"] for request in wire.to(URL)] == ["token-1", "token-2"]
    wire.plan(method, URL, (401, {"error": {"message": "no"}}))
    with pytest.raises(AuthFailed):
        session.send("compute", method, URL)
    assert wire.tokens == 3


@pytest.mark.parametrize(
    ("error", "method", "leaf"),
    [
        (requests.exceptions.ReadTimeout(), "GET", CloudUnavailable),
        (requests.exceptions.ReadTimeout(), "DELETE", CloudUnavailable),
        (requests.exceptions.ReadTimeout(), "POST", OutcomeUnknown),
        (requests.exceptions.ConnectionError(ProtocolError("reset")), "POST", OutcomeUnknown),
        (requests.exceptions.ChunkedEncodingError("cut"), "POST", OutcomeUnknown),
        (requests.exceptions.SSLError("EOF occurred in violation of protocol"), "POST", OutcomeUnknown),
        (requests.exceptions.SSLError(ssl.SSLCertVerificationError(1, "no")), "POST", CloudUnavailable),
        (requests.exceptions.ConnectTimeout(), "POST", CloudUnavailable),
        (
            requests.exceptions.ConnectionError(
                MaxRetryError(None, URL, NewConnectionError(None, "refused"))  # type: ignore[arg-type]
            ),
            *("POST", CloudUnavailable),
        ),
        (
            requests.exceptions.ConnectionError(
                MaxRetryError(None, URL, NameResolutionError("nova", None, OSError()))  # type: ignore[arg-type]
            ),
            *("POST", CloudUnavailable),
        ),
        (
            requests.exceptions.ConnectTimeout(MaxRetryError(None, URL, ConnectTimeoutError())),  # type: ignore[arg-type]
            *("POST", CloudUnavailable),
        ),
    ],
)
def test_what_a_missing_answer_means(session, wire, error, method, leaf):
    wire.plan(method, URL, error)
    with pytest.raises(leaf) as caught:
        session.send("compute", method, URL, body={} if method == "POST" else None)
    assert type(caught.value) is leaf
    assert str(caught.value).startswith(f"cloud north: compute: {method} /v2.1/servers at nova: ")


def test_a_post_that_only_asks_may_be_unanswered(session, wire):
    wire.plan("POST", URL, requests.exceptions.ReadTimeout())
    with pytest.raises(CloudUnavailable, match="no answer in time"):
        session.send("compute", "POST", URL, repeatable=True)


def test_a_create_is_not_in_doubt_while_the_login_fails(session, wire):
    wire.plan("POST", "http://keystone/v3/auth/tokens", requests.exceptions.ReadTimeout())
    with pytest.raises(CloudUnavailable):
        session.send("compute", "POST", URL, body={})
    assert wire.to(URL) == []


@pytest.mark.parametrize(
    ("status", "leaf"),
    [(401, AuthFailed), (403, AuthFailed), (404, AuthFailed), (429, Throttled), (500, CloudUnavailable)],
)
def test_what_a_refused_login_means(session, wire, status, leaf):
    wire.plan("POST", "http://keystone/v3/auth/tokens", (status, {"error": {"message": "no"}}))
    with pytest.raises(leaf) as caught:
        session.send("compute", "GET", URL)
    assert type(caught.value) is leaf
    assert "hush" not in str(caught.value)


def test_refused_credentials_are_tried_again_ever_later(session, wire, clock):
    wire.plan("POST", "http://keystone/v3/auth/tokens", (401, {"error": {"message": "no"}}))
    tried = []
    for _ in range(4000):
        before = wire.tokens
        with pytest.raises(AuthFailed):
            session.send("compute", "GET", URL)
        if wire.tokens > before:
            tried.append(clock.monotonic())
        clock.advance(1.0)
    assert tried == [0.0, 60.0, 180.0, 480.0, 1080.0, 2880.0]


def test_a_login_that_works_again_is_forgiven(session, wire, clock):
    url = "http://keystone/v3/auth/tokens"
    wire.plan("POST", url, (401, {}), (201, token_body()))
    wire.plan("GET", URL, (200, {}))
    with pytest.raises(AuthFailed):
        session.send("compute", "GET", URL)
    clock.advance(60.0)
    session.send("compute", "GET", URL)


def test_a_service_that_is_down_is_asked_for_a_login_each_time(session, wire):
    wire.plan("POST", "http://keystone/v3/auth/tokens", (503, {}))
    for _ in range(3):
        with pytest.raises(CloudUnavailable):
            session.send("compute", "GET", URL)
    assert wire.tokens == 3


@pytest.mark.parametrize(
    ("auth_type", "auth", "message"),
    [
        ("nonsense", AUTH, "nonsense"),
        ("v3password", {"username": "ci", "user_domain_id": "default"}, "auth_url"),
    ],
)
def test_credentials_that_no_plugin_takes_are_a_config_error(auth_type, auth, message):
    with pytest.raises(ConfigError, match=message):
        auth_plugin(CloudSettings(name="north", auth_type=auth_type, auth=auth), lambda _: {})


def test_an_answer_that_is_no_json_object_is_no_answer(session, wire):
    wire.plan("GET", URL, (200, ["list"]))
    with pytest.raises(CloudUnavailable, match="200 without a JSON object"):
        session.send("compute", "GET", URL).json()


@pytest.mark.parametrize(
    ("settings", "verify"),
    [
        ({}, "/env/bundle.pem"),
        ({"verify": False}, False),
        ({"cacert": "/mine.pem"}, "/mine.pem"),
    ],
)
def test_certificates_are_checked_as_clouds_yaml_says_and_else_as_the_environment_does(
    wire, clock, monkeypatch, settings, verify
):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/env/bundle.pem")
    seen = []
    send = wire.send
    wire.send = lambda request, **more: seen.append(more["verify"]) or send(request, **more)
    wire.plan("GET", URL, (200, {}))
    session = Session(replace(SETTINGS, **settings), wire, clock, new_id=lambda: "1")
    session.send("compute", "GET", URL)
    assert seen == [verify, verify]


def test_proxies_come_from_the_environment_and_passwords_do_not(wire, clock, monkeypatch, tmp_path):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine nova login me password hush\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("http_proxy", "http://proxy:3128")
    monkeypatch.setenv("no_proxy", "keystone")
    seen = {}
    send = wire.send
    wire.send = lambda request, **more: seen.update({request.url: more["proxies"]}) or send(request, **more)
    wire.plan("GET", URL, (200, {}))
    Session(SETTINGS, wire, clock, new_id=lambda: "1").send("compute", "GET", URL)
    assert seen[URL]["http"] == "http://proxy:3128"
    assert "http" not in seen["http://keystone/v3/auth/tokens"]
    assert "Authorization" not in wire.to(URL)[0].headers
