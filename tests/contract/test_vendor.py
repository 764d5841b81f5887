"""Vendors' profiles over real HTTPS: redirects, certificates, sizes, nonsense."""

from __future__ import annotations

import http.server
import socket
import ssl
import threading

import pytest

from poolmgr.cloud.vendor import LARGEST, fetched
from poolmgr.errors import CloudUnavailable, Rejected
from tests.certificates import Authority
from tests.fakes import FakeClock


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.headers_seen.append(dict(self.headers))
        status, headers, body = self.server.pages.get(self.path, (404, {}, b""))
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        """Quiet."""


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    authority = Authority(tmp_path_factory.mktemp("certificates"))
    authority.issue("localhost")
    return authority


@pytest.fixture
def web(authority):
    """A web server at https://localhost with `pages` by path: (status, headers, body)."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.ca.parent / "localhost.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.pages, server.headers_seen = {}, []
    server.url = f"https://localhost:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def get(authority, web, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")
    return lambda path: fetched(web.url + path, FakeClock(), verify=str(authority.ca))


def test_the_text_is_returned(web, get):
    web.pages["/a"] = (200, {}, '{"name": "Z\u00fcrich"}'.encode())
    assert get("/a") == '{"name": "Zürich"}'


def test_redirects_are_followed(web, get):
    web.pages |= {"/a": (302, {"Location": "/b"}, b""), "/b": (301, {"Location": web.url + "/c"}, b"")}
    web.pages["/c"] = (200, {}, b"good")
    assert get("/a") == "good"


def test_passwords_of_netrc_are_not_sent(web, get, tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("machine localhost login me password hidden-word\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    web.pages["/a"] = (200, {}, b"good")
    get("/a")
    assert ["Authorization" in headers for headers in web.headers_seen] == [False]


@pytest.mark.parametrize(
    ("page", "message"),
    [
        ((404, {}, b""), "answers 404 Not Found"),
        ((302, {"Location": "http://localhost/a"}, b""), "http://localhost/a is not https"),
        ((302, {"Location": "/a"}, b""), "one redirect too many"),
        ((200, {}, b"x" * (LARGEST + 1)), "larger than 262,144 bytes"),
        ((200, {}, b"\xff\xfe"), "not UTF-8"),
    ],
)
def test_answers_that_are_no_use(web, get, page, message):
    web.pages["/a"] = page
    with pytest.raises(Rejected, match=message):
        get("/a")


def test_a_certificate_that_nobody_vouches_for(web, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")
    with pytest.raises(CloudUnavailable, match="does not answer: SSLError"):
        fetched(web.url + "/a", FakeClock())


def test_nobody_there(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with pytest.raises(CloudUnavailable, match="does not answer: ConnectionError"):
            fetched(f"https://localhost:{free.getsockname()[1]}/a", FakeClock())


def test_an_answer_that_takes_too_long(web, authority, monkeypatch):
    """Each byte counts against the whole time, not only the silence between them."""
    monkeypatch.setenv("NO_PROXY", "*")
    clock = FakeClock()
    now = iter(range(0, 1000, 6))
    clock.monotonic = lambda: float(next(now))
    web.pages["/a"] = (200, {}, b"good")
    with pytest.raises(CloudUnavailable, match="takes longer than 10 seconds"):
        fetched(web.url + "/a", clock, verify=str(authority.ca))
