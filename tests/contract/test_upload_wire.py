"""Connections for long bodies, plain and within TLS: what they carry, how long they wait, and that they can be cut."""

from __future__ import annotations

import hashlib
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests

from poolmgr.cloud.openstack.calls import ServiceMap
from poolmgr.cloud.openstack.limiter import RateLimiter
from poolmgr.cloud.openstack.upload_body import Aborted, Body
from poolmgr.cloud.openstack.upload_wire import UploadGate
from poolmgr.runtime.clock import SystemClock
from tests.certificates import Authority

#: More than what fits into the buffers of a connection that nobody reads.
LONG = 30 << 20
PATIENT = 30.0  # seconds


class Far:
    """A server that takes bodies as it is told: `takes` False: it leaves them; `answers` False: no word."""

    def __init__(self, authority: Authority | None) -> None:
        self.takes = self.answers = True
        self.md5 = ""
        self.length = self.transfer_encoding = ""
        self.begun = threading.Event()
        self._over = threading.Event()
        far = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_PUT(self) -> None:
                far.begun.set()
                far.length = self.headers.get("Content-Length", "")
                far.transfer_encoding = self.headers.get("Transfer-Encoding", "")
                if far.takes:
                    body = self.rfile.read(int(far.length))
                    far.md5 = hashlib.md5(body, usedforsecurity=False).hexdigest()
                if not (far.takes and far.answers):
                    far._over.wait()
                    self.close_connection = True
                    return
                self.send_response(204)
                self.end_headers()

            def log_message(self, *args) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        scheme = "http"
        if authority is not None:
            scheme = "https"
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(authority.issue("localhost")[2])
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"{scheme}://localhost:{self._server.server_address[1]}/file"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._over.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture(params=["http", "https"])
def far(request, tmp_path) -> Iterator[Far]:
    far = Far(Authority(tmp_path / "ca") if request.param == "https" else None)
    yield far
    far.close()


@pytest.fixture
def path(tmp_path) -> str:
    file = tmp_path / "disk.img"
    with file.open("wb") as out:
        out.write(b"begin")
        out.truncate(LONG)
    return str(file)


def put(far: Far, body: Body, ca: str) -> int:
    clock = SystemClock()
    gate = UploadGate(
        services=ServiceMap(),
        limiter=RateLimiter(0.0, clock),
        clock=clock,
        timeouts=(PATIENT, PATIENT),
        pool_size=1,
        concurrency={},
        on_call=None,
    )
    with requests.Session() as http, body:
        http.trust_env = False
        http.mount("http://", gate)
        http.mount("https://", gate)
        http.verify = ca
        return http.put(far.url, data=body, timeout=(PATIENT, body.patience)).status_code


def test_a_body_arrives_whole_and_with_its_length(far, path, tmp_path):
    body = Body(path, 0, LONG, ("md5",), patience=PATIENT)
    assert put(far, body, str(tmp_path / "ca" / "ca.pem")) == 204
    assert far.md5 == body.digests()["md5"]
    assert (far.length, far.transfer_encoding) == (str(LONG), "")


@pytest.mark.parametrize("takes", [True, False])
def test_a_body_that_does_not_move_is_given_up_after_its_patience(far, path, tmp_path, takes):
    """Also while it is sent, where the library would go by the patience for connecting."""
    far.takes, far.answers = takes, False
    with pytest.raises(requests.RequestException):
        put(far, Body(path, 0, LONG, (), patience=0.3), str(tmp_path / "ca" / "ca.pem"))


@pytest.mark.parametrize("takes", [True, False])
def test_a_body_can_be_cut_off_wherever_it_is(far, path, tmp_path, takes):
    far.takes, far.answers = takes, False
    body = Body(path, 0, LONG, (), patience=300.0)
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(put, far, body, str(tmp_path / "ca" / "ca.pem"))
        far.begun.wait()
        while takes and not far.md5:  # all of it is there, and the other side thinks
            far.begun.wait(0.01)
        body.abort()
        with pytest.raises((requests.RequestException, OSError, Aborted)):  # Aborted between two blocks
            sending.result()
